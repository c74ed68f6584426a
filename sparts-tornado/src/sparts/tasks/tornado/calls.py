"""Requests as calls that plugins wrap: `sparts.calls` says how."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from contextvars import copy_context
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from sparts.calls import Call, CallRefusedError, Reason, starting
from sparts.errors import message_of
from sparts.tasks.tornado.streams import WholeAnswers, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from sparts.calls import Wrapper

    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

    Ended: TypeAlias = Callable[[RequestHandler, "asyncio.Future[None]"], None]

STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


class HTTPCall(Call):
    """A request. ``request`` and ``handler`` are Tornado's.

    Each task has a class of its own, which holds what is the same for all requests.
    """

    kind = "http"
    is_async = True
    handler: RequestHandler
    handling: Any
    """The coroutine of the handler."""
    __init__: Any = object.__init__

    def proceed(self) -> Any:
        """Return what runs the handler when it is awaited."""
        return self.handling

    @property
    def request(self) -> HTTPServerRequest:
        """Tornado's."""
        return self.handler.request

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method and the route."""
        return f"{self.request.method} {self.route}".rstrip()

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client."""
        return client_of(self.request)

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The headers, by name in any case."""
        return self.request.headers

    @property
    def error(self) -> BaseException | None:
        """What the handler raised; Tornado has answered for it."""
        error: BaseException | None = vars(self.handler).get("_sparts_error")
        return error

    @error.setter
    def error(self, error: BaseException | None) -> None:
        vars(self.handler)["_sparts_error"] = error

    @property
    def route(self) -> str:
        """The pattern of the route that the handler stands in; empty: unknown, or not found."""
        router = self.handler.application.wildcard_router
        kind = getattr(type(self.handler), "wrapped_class", type(self.handler))
        found = [rule.matcher for rule in router.rules if rule.target is kind]
        regexes = [regex for each in found if (regex := getattr(each, "regex", None)) is not None]
        if len(regexes) > 1:
            regexes = [regex for regex in regexes if regex.match(self.request.path)]
        return str(regexes[0].pattern).rstrip("$") if regexes else ""

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What is known of the request, and the status of the response as it is now."""
        request = self.request
        return {
            "method": request.method,
            "route": self.route,
            "path": request.path,
            "scheme": request.protocol,
            "host": request.host,
            "status": self.handler.get_status(),
        }


def wrapped_by(task: Any, ended: Ended) -> Callable[[type[RequestHandler]], type[RequestHandler]]:
    """Return what makes handlers' classes whose requests the wrappers of a task wrap.

    Args:
        task: the HTTP task; plugins wrap its calls.
        ended: is called with a handler and its `asyncio.Task` when that has ended.
    """
    wrapper: Any = starting(task)
    made = type(HTTPCall.__name__, (HTTPCall,), {"task": task})
    return lambda cls: _wrapped(cls, made, wrapper, ended)


def _wrapped(
    cls: Any, made: type[HTTPCall], wrapper: Wrapper, ended: Ended
) -> type[RequestHandler]:
    execute = cls._execute

    class Wrapped(WholeAnswers, cls):  # type: ignore[misc]
        wrapped_class = cls

        def _execute(self, transforms: Any, *args: Any, **kwargs: Any) -> Any:
            """Run the handler; called by Tornado once for each request."""
            call = made()
            call.handler = self
            call.handling = handling = execute(self, transforms, *args, **kwargs)
            context = copy_context()  # what a wrapper sets is for this request of its connection
            try:
                result = context.run(wrapper, call, call.proceed)
            except Exception as error:
                result = _failed(error)
            # Of wrappers that only look, nothing is left to do: that saves a coroutine.
            if result is not handling or handling.cr_frame is None:
                result = self._end(call, result, transforms)
            # All of it is in this one function, since each further one costs 0.3 us a request.
            running = get_running_loop().create_task(result, context=context)
            running.add_done_callback(partial(ended, self))
            return running

        async def _end(self, call: HTTPCall, result: Any, transforms: Any) -> None:
            """Await what the wrapper has returned, and see to it that the request is answered."""
            problem: Exception | None = None
            try:
                if hasattr(result, "__await__"):
                    await result
            except asyncio.CancelledError as error:
                present = asyncio.current_task()
                if present is None or present.cancelling():
                    raise
                problem = RuntimeError("What the wrapper awaits was cancelled.")
                problem.__cause__ = error
            except Exception as error:
                problem = error
            if "_transforms" not in vars(self):  # the handler has not begun
                call.handling.close()
                refused = problem or CallRefusedError(Reason.FORBIDDEN)
                self.prepare = lambda: _refuse(self, refused)
                await execute(self, transforms)
            elif problem is not None:
                call.task.logger.error("A wrapper of %s failed", call.name, exc_info=problem)
                if not self._finished:
                    self.send_error(500)

        def log_exception(self, *error: Any) -> None:
            """Note what the handler raised; called by Tornado."""
            self._sparts_error = error[1]
            super().log_exception(*error)

    return Wrapped


async def _failed(problem: Exception) -> None:
    raise problem


def _refuse(handler: RequestHandler, problem: Exception) -> None:
    """Answer a request that is refused, in place of the handler's ``prepare``."""
    if not isinstance(problem, CallRefusedError):
        raise problem
    handler.set_status(STATUS[problem.reason])
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    if problem.reason is Reason.UNAUTHENTICATED:
        handler.set_header("WWW-Authenticate", "Bearer")
    if problem.retry_after is not None:
        handler.set_header("Retry-After", str(ceil(problem.retry_after)))
    handler.finish(message_of(problem))
