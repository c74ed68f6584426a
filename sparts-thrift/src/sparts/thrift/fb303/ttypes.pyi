from typing import Any, ClassVar

class fb_status:
    DEAD: ClassVar[int]
    STARTING: ClassVar[int]
    ALIVE: ClassVar[int]
    STOPPING: ClassVar[int]
    STOPPED: ClassVar[int]
    WARNING: ClassVar[int]

def __getattr__(name: str) -> Any: ...
