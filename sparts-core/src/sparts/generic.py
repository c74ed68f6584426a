"""Generic: classes that take type parameters, one or several, also where Python cannot yet.

``class QueueTask(VTask, Generic[Item, Result])`` is used bare, as ``QueueTask[Order]`` and as
``QueueTask[Order, str]``. Checkers see `typing.Generic` and defaults of the parameters (PEP 696);
at run time, Python 3.11 would refuse too few of them.
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Generic as Generic

    from typing_extensions import TypeVar

    Item = TypeVar("Item", default=Any)
    Result = TypeVar("Result", default=Any)
else:
    Item = Result = Any  # what a queue task takes, and what it makes of it

    class Generic:
        """Takes any parameters; a subclass finds them in its ``__orig_bases__``."""

        def __class_getitem__(cls, parameters: Any) -> Any:
            return cls if cls is Generic else GenericAlias(cls, parameters)
