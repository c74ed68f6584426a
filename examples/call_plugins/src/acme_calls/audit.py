"""An audit log: one line for each call, with its outcome and how long it took."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.calls import Call, Wrapper
    from sparts.vtask import VTask

log = logging.getLogger("audit")


async def audit(call: Call, proceed: Callable[[], Any]) -> Any:
    """Run the handler, and write the line."""
    began = monotonic()
    error: BaseException | None = None
    try:
        return await proceed()
    except BaseException as caught:
        error = caught
        raise
    finally:
        error = error or call.error
        log.info(
            "%s %s by %s: %s, %.1f ms", call.kind, call.name, call.peer or "nobody",
            "ok" if error is None else type(error).__name__, (monotonic() - began) * 1000,
        )  # fmt: skip


@hookimpl(tryfirst=True)  # so that it sees what others refuse
def sparts_call_wrap(task: VTask, kind: str) -> Wrapper | None:
    """Log all calls."""
    return audit
