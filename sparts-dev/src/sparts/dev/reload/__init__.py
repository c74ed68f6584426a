"""``--reload``: while you develop, the service starts again when its source files change.

`parent` is the process that watches the files and starts the service as a child, again and again.
It imports nothing of the service. The child binds the sockets and hands them to it (`child`), so
that they stay open. `plugin` has the option, and `command` is what `sparts run --reload` calls.
"""

from __future__ import annotations

RELOADED = "SPARTS_RELOADED_BY"
"""The variable by which the parent of ``--reload`` tells a process that it is the child."""
