"""The one global reactor of the process: a proxy, which hands on to the reactor that lives.

Twisted has a process make one reactor and never another, and its own code (``LoopingCall``,
``deferToThread``, ``twisted.web``) finds it as ``twisted.internet.reactor``. A service makes a new
reactor at each start. So what is installed there, once, is this proxy.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from sparts import context
from sparts.errors import LoopStoppedError, StartError
from zope.interface import classImplements

from twisted.internet import interfaces
from twisted.internet.main import installReactor

if TYPE_CHECKING:
    from collections.abc import Callable

#: What every reactor of `sparts.tasks.twisted.reactors` provides.
PROVIDED = (
    interfaces.IReactorCore,
    interfaces.IReactorFDSet,
    interfaces.IReactorMulticast,
    interfaces.IReactorPluggableNameResolver,
    interfaces.IReactorPluggableResolver,
    interfaces.IReactorProcess,
    interfaces.IReactorSocket,
    interfaces.IReactorThreads,
    interfaces.IReactorTime,
    interfaces.IReactorTCP,
    interfaces.IReactorUDP,
    interfaces.IReactorUNIX,
    interfaces.IReactorUNIXDatagram,
)
_NAME = "twisted.internet.reactor"


class _Trigger:
    """A system event trigger that was asked for while no reactor lived."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.arguments = arguments
        self.keywords = keywords
        self.real: Any = None  # what the reactor gave for it


class GlobalReactor:
    """Stands for the reactor that lives now; `LoopStoppedError` where there is none.

    While none lives, ``callWhenRunning`` and ``addSystemEventTrigger`` are kept for the next one,
    ``running`` is False and ``seconds`` returns the time.
    """

    # A module, as far as the import system looks.
    __name__ = _NAME

    def __init__(self) -> None:
        vars(self).update(_owner="", _live=None, _before=[], _changing=threading.Lock())

    # -- for the reactor task ----------------------------------------------------------------------

    def _claim(self, owner: str) -> None:
        """Take the place of the process's one reactor for a task; StartError if it is taken."""
        check_installed()
        with self._changing:
            if self._owner:
                raise StartError(
                    f"{owner} cannot start: Twisted has one reactor a process, and it is that of "
                    f"{self._owner}. Have the tasks of both live on one reactor task, or run the "
                    f"services in processes of their own."
                )
            vars(self)["_owner"] = owner

    def _lead(self, reactor: Any) -> None:
        """Hand everything on to a reactor, which is about to run."""
        vars(self)["_live"] = reactor
        while self._before:
            trigger = self._before.pop(0)
            trigger.real = reactor.addSystemEventTrigger(*trigger.arguments, **trigger.keywords)

    def _leave(self) -> None:
        """Have no reactor."""
        vars(self)["_live"] = None

    def _release(self) -> None:
        """Let another task have the place."""
        vars(self).update(_owner="", _live=None)

    # -- for everybody -----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a reactor runs; see ``IReactorCore.running``."""
        return self._live is not None and bool(self._live.running)

    def seconds(self) -> float:
        """Return the time as reactors count it; see ``IReactorTime.seconds``."""
        from twisted.python.runtime import seconds

        return float(seconds() if self._live is None else self._live.seconds())

    def callWhenRunning(  # noqa: N802 - Twisted's name
        self, callable: Callable[..., Any], *args: Any, **kw: Any
    ) -> Any:
        """Call a function once a reactor runs; see ``IReactorCore.callWhenRunning``."""
        if self._live is not None:
            return self._live.callWhenRunning(callable, *args, **kw)
        return self.addSystemEventTrigger("after", "startup", callable, *args, **kw)

    def addSystemEventTrigger(  # noqa: N802 - Twisted's name
        self, phase: str, event: str, callable: Callable[..., Any], *args: Any, **kw: Any
    ) -> Any:
        """Call a function at the start or the end; see ``IReactorCore.addSystemEventTrigger``."""
        if self._live is not None:
            return self._live.addSystemEventTrigger(phase, event, callable, *args, **kw)
        trigger = _Trigger(phase, event, callable, *args, **kw)
        self._before.append(trigger)
        return trigger

    def removeSystemEventTrigger(self, trigger: Any) -> None:  # noqa: N802 - Twisted's name
        """Undo `addSystemEventTrigger`."""
        if not isinstance(trigger, _Trigger):
            self._get().removeSystemEventTrigger(trigger)
        elif trigger.real is not None:
            self._get().removeSystemEventTrigger(trigger.real)
        else:
            self._before.remove(trigger)

    def _get(self) -> Any:
        if self._live is None:
            raise LoopStoppedError(_missing())
        return self._live

    def __getattr__(self, name: str) -> Any:
        if self._live is None or name.startswith("__"):
            raise AttributeError(f"{name}: {_missing()}" if self._live is None else name)
        return getattr(self._live, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get(), name, value)

    def __repr__(self) -> str:
        return f"<the global reactor: {self._live!r}>"


def _missing() -> str:
    return (
        "No reactor lives now. One does while a service with a TwistedReactorTask runs; what needs "
        "it belongs into a task's start_in_loop."
    )


def _handing_on(name: str) -> Any:
    """Return a method that hands on; unlike one of a reactor, it may be kept over a restart."""

    def method(self: GlobalReactor, *args: Any, **keywords: Any) -> Any:
        return getattr(self._get(), name)(*args, **keywords)

    method.__name__ = name
    return method


for _interface in PROVIDED:
    for _method, _description in _interface.namesAndDescriptions(all=True):
        if hasattr(_description, "getSignatureInfo") and _method not in vars(GlobalReactor):
            setattr(GlobalReactor, _method, _handing_on(_method))
classImplements(GlobalReactor, *PROVIDED)

reactor: Any = GlobalReactor()
"""What ``from twisted.internet import reactor`` gives."""

if _NAME not in sys.modules:
    installReactor(reactor)


def _call_in_reactor(function: Callable[[], object]) -> None:
    """Call a function in the reactor's thread, or in this one if no reactor runs."""
    running: Any = sys.modules[_NAME]
    if running.running:
        running.callFromThread(function)
    else:
        function()


context.call_for_deferred = _call_in_reactor


def check_installed() -> None:
    """Raise StartError if the process has another global reactor than ours."""
    there = sys.modules.get(_NAME)
    if there is not reactor:
        kind = type(there)
        raise StartError(
            f"Another reactor was installed first ({kind.__module__}.{kind.__qualname__}): import "
            f"sparts.tasks.twisted before anything that imports twisted.internet.reactor."
        )
