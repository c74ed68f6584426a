"""The handler of the fb303 interface, and of interfaces that extend it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.errors import SpartsError, message_of
from sparts.fb303 import CONTROLS, FB303
from sparts.options import Option, flag_of, option
from sparts.tasks.thrift import ThriftHandlerTask
from sparts.thrift.calls import caller
from sparts.thrift.fb303 import FacebookService
from thrift.Thrift import TApplicationException

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vservice import VService


class FB303HandlerTask(FB303, ThriftHandlerTask):  # type: ignore[misc]  # getCounters is fb303's
    """Answers what fb303 asks, from what the service says about itself.

    To extend the interface, set ``MODULE`` to a service that extends ``fb303.FacebookService``, and
    write its other methods. A method of the same name takes the place of one of fb303's, which it
    can call: ``super().getStatus()``.

    ``setOption``, ``reinitialize`` and ``shutdown`` are refused to callers on other machines unless
    ``--fb303-control`` allows them. Over HTTP, which every page in a browser on this machine can
    send, they need the token of ``--fb303-token`` or a Unix socket, whatever the address.
    """

    OPT_PREFIX: ClassVar[str | None] = "fb303"
    MAY_BE_ASYNC = tuple(name for name in vars(FB303) if not name.startswith("_"))
    MODULE: ClassVar[Any] = FacebookService
    _ANSWERS: ClassVar[frozenset[str]] = frozenset(MAY_BE_ASYNC)

    control: Option[bool] = option(
        default=False,
        help="let callers on other machines set options, reload and stop the service",
    )

    token: Option[str] = option(
        type=str,
        metavar="TOKEN",
        help="token (Authorization: Bearer TOKEN) that HTTP clients need to set options, "
        "reload and stop the service; without it, HTTP allows this over a Unix socket "
        "only",
        secret=True,
    )

    def __init__(self, service: VService) -> None:
        ThriftHandlerTask.__init__(self, service)
        FB303.__init__(self, service)

    def implementation(self, name: str) -> Callable[..., Any] | None:
        """Return this task's method of a name, with what fb303 says of who may call it."""
        if name not in FB303HandlerTask.MAY_BE_ASYNC:
            return super().implementation(name)
        method: Callable[..., Any] = getattr(self, name)
        if inspect.iscoroutinefunction(method):
            return method if name not in CONTROLS else self._checked(method)

        @functools.wraps(method)
        def answer(*arguments: Any) -> Any:
            if name in CONTROLS:
                self._check_control(name)
            try:
                return method(*arguments)
            except SpartsError as error:  # said for the caller
                raise TApplicationException(
                    TApplicationException.INTERNAL_ERROR, f"{name}: {message_of(error)}"
                ) from error

        return answer

    def _checked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def answer(*arguments: Any) -> Any:
            self._check_control(method.__name__)
            return await method(*arguments)

        return answer

    def _check_control(self, name: str) -> None:
        """Note who calls a method that changes something.

        Raises:
            TApplicationException: that caller may not.
        """
        who = caller()
        allowed, flag = self.control or (who is not None and who.local), "control"
        means = ""
        if who is not None and who.token is not None:  # over HTTP
            allowed, flag = who.knows(self.token), "token"
            means = ", sent as a bearer token or over a Unix socket,"
        if not allowed:
            self.logger.warning("%s was refused to %s", name, who or "an unknown caller")
            raise TApplicationException(
                TApplicationException.UNKNOWN,
                f"{name} is refused from {who or 'an unknown address'}: "
                f"{flag_of(type(self), flag)}{means} allows it.",
            )
        self.logger.info("%s was called from %s", name, who or "an unknown address")
