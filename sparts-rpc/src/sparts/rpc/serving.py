"""The one way from a transport to a method: run it, meter it, and say what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from contextvars import copy_context
from functools import cached_property, partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError, Reason, awaiting, blocking
from sparts.errors import LoopStoppedError, UsageError, log_error
from sparts.net.coroutines import is_cancelled
from sparts.net.metering import request_id, valid_or_new_id
from sparts.rpc import steps
from sparts.rpc.errors import DeadlineExceededError, InternalError, UnavailableError
from sparts.rpc.matching import matcher
from sparts.rpc.served_calls import RPCCall, call_of, current

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.rpc.served_calls import Origin
    from sparts.rpc.task import RPCTask
    from sparts.rpc.values import Values


class Served:
    """A method of a task, as one transport serves it.

    A transport on an asyncio loop awaits `call` or iterates over `stream`; one with threads of its
    own uses `call_here` and `stream_here`. All of them take the values of all parameters in order,
    as `sparts.rpc.values.Values.read_arguments` returns them, defaults included and checked. They
    raise nothing but

    * an instance of an error that the method declares; ``method.declared(error)`` is its class,
      whose name and ``str(error)`` the caller gets;
    * `InternalError` for every other exception of the method, and for a result that is not of its
      type: the log has its id;
    * `DeadlineExceededError`, `UnavailableError` and `InvalidArgumentsError`;
    * `sparts.calls.CallRefusedError`: a plugin refuses the call;
    * `asyncio.CancelledError`, where the transport has cancelled `call`.

    A parameter that is a stream is given as a list, or as what fits the method: an iterator, or an
    asynchronous iterator if ``method.is_async``. Where the method is a stream, `call` and
    `call_here` return a list of at most ``steps.MOST_COLLECTED`` items.

    Args:
        task: the task.
        method: its method.
        transport: the name of the transport, which wrappers of calls find in ``attributes``.
    """

    took: float = 0.0
    """Milliseconds that the last `call_here` has taken."""

    def __init__(self, task: RPCTask, method: Method, transport: str) -> None:
        self.task: RPCTask = task
        self.method: Method = method
        self.transport = transport
        self._function = steps.by_position(getattr(task, method.name), method)
        self._inline = task.INLINE and not method.is_async
        self._stream, self._streams = method.stream_parameter, method.streams
        self._blocking, self._awaiting = blocking(task), awaiting(task)
        self._count = task.n_calls.labels(method.name).increment
        self._took = task.durations(method.name).add
        self._running = task.calls
        streams = method.streams or self._stream is not None
        self.direct: bool = self._inline and not streams and method.deadline is None
        """Whether `call_now` can be used."""
        self._deadline = method.deadline
        self._matches = matcher(method.result)
        self._turn = -1
        self._is_plain = not (method.is_async or streams or self._blocking)

    async def call(
        self, arguments: Sequence[Any], origin: Origin | None = None, deadline: float | None = None
    ) -> Any:
        """Call the method from a coroutine of an asyncio loop, and return its result.

        Cancel it when the caller has gone.

        Args:
            arguments: the values of all parameters, in order.
            origin: where the call comes from.
            deadline: when the caller gives up, by `time.monotonic`.
        """
        if self._streams:
            items = self.stream(arguments, origin, deadline)
            return await steps.collected(self.method, items)
        call, began = self._begin(origin, deadline), perf_counter()
        token = current.set(call)
        try:
            if call.deadline is None:
                return self._checked(await self._run(call, self._fitted(arguments)))
            async with asyncio.timeout(steps.left(call)):
                return self._checked(await self._run(call, self._fitted(arguments)))
        except BaseException as error:
            raise self._failed(call, error) from error.__cause__
        finally:
            current.reset(token)
            self._end(began)

    def call_now(self, arguments: Sequence[Any], make_origin: Any = None, raw: Any = None) -> Any:
        """Call a method that never waits, where it is `direct`, and return its result.

        It is `call` for transports that count microseconds, in a context of the call's own, as an
        asyncio task has: without a deadline, not `in_flight`, one in eight is timed (4 % faster).

        Args:
            arguments: see `call`.
            make_origin: called with ``raw`` to make the origin, if somebody asks for it.
            raw: what the transport knows of the call.
        """
        current.set(here := [self, make_origin, raw, None])
        self._turn = turn = self._turn + 1
        began = 0.0 if turn & 7 else perf_counter()
        try:
            if self._blocking is None:
                return self._checked(self._function(*arguments))
            return self._checked(self._run_plain(call_of(here), arguments))
        except BaseException as error:
            raise self._failed(call_of(here), error) from error.__cause__
        finally:
            if began:
                self._took(began)
            else:
                self._count()

    def call_here(
        self, arguments: Sequence[Any], origin: Origin | None = None, deadline: float | None = None
    ) -> Any:
        """Call the method from a thread of the transport, and return its result.

        A plain method runs in this thread, ``async def`` on the loop of the service. Not to be
        called in an event loop. See `call`.
        """
        if self._streams:
            items = self.stream_here(arguments, origin, deadline)
            return steps.collected_here(self.method, items)
        began = perf_counter()
        self._running.append(self)
        if self._deadline is not None:
            deadline = self._latest(deadline)
        current.set(here := [self, None, origin, deadline])
        try:
            if self._is_plain:
                result = self._function(*arguments)
            else:
                result = self._run_here(call_of(here), self._fitted(arguments))
            if deadline is not None and monotonic() > deadline:
                raise TimeoutError
            self._checked(result)
        except BaseException as error:
            raise self._failed(call_of(here), error) from error.__cause__
        else:
            return result
        finally:
            here.clear()
            self._running.pop()
            self.took = self._took(began)

    async def stream(
        self, arguments: Sequence[Any], origin: Origin | None = None, deadline: float | None = None
    ) -> AsyncIterator[Any]:
        """Call a method that is a stream from a coroutine, and give its items; see `call`.

        Close it (``aclose``) when the caller has gone: the method's generator is closed.
        """
        call, began = self._begin(origin, deadline), perf_counter()
        items: Any = None
        try:
            async with asyncio.timeout(steps.left(call)):
                items = self._kept(await self._run(call, self._fitted(arguments)))
            while True:
                async with asyncio.timeout(steps.left(call)):
                    await asyncio.sleep(0)  # to notice that the caller has gone, or that it is late
                    item = await self._step(call, items, "__anext__", "__next__")
                if item is steps.END:
                    break
                yield self._checked(item)
        except GeneratorExit:
            call.cancelled = True
            raise
        except BaseException as error:
            raise self._failed(call, error) from error.__cause__
        finally:
            with suppress(Exception):  # it is of interest to nobody
                await self._step(call, items, "aclose", "close")
            self._end(began)

    def stream_here(
        self, arguments: Sequence[Any], origin: Origin | None = None, deadline: float | None = None
    ) -> Iterator[Any]:
        """Call a method that is a stream from a thread, and give its items; see `call_here`.

        Close it when the caller has gone.
        """
        call, began = self._begin(origin, deadline), perf_counter()
        context = copy_context()
        context.run(current.set, call)
        items: Any = None
        try:
            items = self._kept(context.run(self._run_here, call, self._fitted(arguments)))
            step = partial(self._step_here, context, items, "__anext__", "__next__")
            for item in iter(step, steps.END):
                if call.deadline is not None and monotonic() > call.deadline:
                    raise TimeoutError
                yield self._checked(item)
        except GeneratorExit:
            call.cancelled = True
            raise
        except BaseException as error:
            raise self._failed(call, error) from error.__cause__
        finally:
            with suppress(Exception):
                self._step_here(context, items, "aclose", "close")
            self._end(began)

    # -- inside ------------------------------------------------------------------------------------

    @cached_property
    def _values(self) -> Values | None:
        """What sees whether a result is of its type; None: msgspec cannot carry that."""
        import msgspec
        from sparts.rpc.values import Values

        with suppress(UsageError, ValueError):
            return Values(self.method, msgspec.msgpack, items=True)
        return None

    def _begin(self, origin: Origin | None, deadline: float | None) -> RPCCall:
        self._running.append(self)
        return RPCCall(self, origin, self._latest(deadline))

    def _end(self, began: float) -> None:
        self._running.pop()
        self._took(began)

    def _latest(self, deadline: float | None) -> float | None:
        """Return the deadline of a call: the caller's or the method's own."""
        own = self._deadline
        if own is None:
            return deadline
        latest = monotonic() + own
        return latest if deadline is None else min(deadline, latest)

    def _fitted(self, arguments: Sequence[Any]) -> Sequence[Any]:
        stream = self._stream
        if stream is None:
            return arguments
        fit = steps.each_of if self.method.is_async else iter
        return [
            fit(value) if name == stream.name and isinstance(value, list) else value
            for name, value in zip(self.method.names, arguments, strict=True)
        ]

    async def _run(self, call: RPCCall, arguments: Sequence[Any]) -> Any:
        """Run the method where it belongs; of a stream: return its generator."""
        if not self.method.is_async:
            work = partial(self._run_plain, call, arguments)
            return work() if self._inline else await self._in_thread(work)
        loop_task = self.task.loop_task
        if loop_task.loop is asyncio.get_running_loop():
            return await self._run_async(call, arguments)
        return await asyncio.wrap_future(loop_task.call(self._run_async, call, arguments))

    def _run_here(self, call: RPCCall, arguments: Sequence[Any]) -> Any:
        if not self.method.is_async:
            return self._run_plain(call, arguments)
        return steps.waited(call, self.task.loop_task.call(self._run_async, call, arguments))

    def _run_plain(self, call: RPCCall, arguments: Sequence[Any]) -> Any:
        function, wrapper = self._function, self._blocking
        if wrapper is None:
            return function(*arguments)
        return copy_context().run(wrapper, call, partial(function, *arguments))

    async def _run_async(self, call: RPCCall, arguments: Sequence[Any]) -> Any:
        current.set(call)
        function, wrapper = self._function, self._awaiting
        if self._streams:
            function = steps.made(function)
        return await (
            function(*arguments) if wrapper is None else wrapper(call, lambda: function(*arguments))
        )

    def _kept(self, items: Any) -> Any:
        """Return the generator of a stream, if no wrapper has kept it back."""
        if items is None and self._blocking is not None:
            raise CallRefusedError(Reason.FORBIDDEN)
        return items

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """Run a function in one of the task's threads, and return its result."""
        loop = asyncio.get_running_loop()
        future, context = loop.create_future(), copy_context()

        def settle(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_result((result, error))

        def run() -> None:
            result: Any = None
            raised: BaseException | None = None
            try:
                result = context.run(work)
            except BaseException as error:
                raised = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, result, raised)

        self.task.pool.run(run)
        result, error = await future
        if error is not None:
            raise error
        return result

    async def _step(self, call: RPCCall, items: Any, of_async: str, of_plain: str) -> Any:
        """Get the next item of a generator, or close it, where it belongs; steps.END at its end."""
        if items is None:
            return steps.END
        if not self.method.is_async:
            work = partial(steps.stepped, call, items, of_plain)
            return work() if self._inline else await self._in_thread(work)
        loop_task = self.task.loop_task
        step = partial(steps.stepped_async, call, items, of_async)
        if loop_task.loop is asyncio.get_running_loop():
            return await step()
        return await asyncio.wrap_future(loop_task.call(step))

    def _step_here(self, context: Any, items: Any, of_async: str, of_plain: str) -> Any:
        if items is None:
            return steps.END
        call = context[current]
        if not self.method.is_async:
            return context.run(steps.stepped, call, items, of_plain)
        step = steps.stepped_async
        return steps.waited(call, self.task.loop_task.call(step, call, items, of_async))

    def _failed(self, call: RPCCall, error: BaseException) -> BaseException:
        """Return what the transport gets for what a method has raised."""
        task, method = self.task, self.method
        task.n_errors.labels(method.name).increment()
        if isinstance(error, TimeoutError) and call.deadline is not None:
            if monotonic() >= call.deadline:
                call.cancelled = True
                return DeadlineExceededError(f"{method.qualified} has taken too long")
        elif isinstance(error, asyncio.CancelledError | CancelledError):
            stops = not task.running and isinstance(error, asyncio.CancelledError)
            if stops or is_cancelled():
                call.cancelled = True
                return UnavailableError(f"{task.name} stops") if stops else error
        elif isinstance(error, LoopStoppedError):
            return UnavailableError(f"{task.name} stops")
        elif isinstance(error, (CallRefusedError, *method.errors.values())):
            return error
        elif isinstance(error, SystemExit | KeyboardInterrupt):
            task.exit_asked(error)
        return self._internal("failed", error)

    def _checked(self, result: Any) -> Any:
        """Return a result, or an item of a stream.

        Raises:
            InvalidArgumentsError: it is not of its type; the message names the path.
        """
        try:
            if self._matches(result):
                return result
        except (AttributeError, RecursionError):  # it lacks a field, or is deep
            pass
        if self._values is not None:
            self._values.read_result(self._values.write_result(result))
        return result

    def bad_result(self, error: BaseException) -> InternalError:
        """Return, and log, the error of a result that cannot be carried; for transports."""
        self.task.n_errors.labels(self.method.name).increment()
        return self._internal("returned what cannot be carried", error)

    def _internal(self, what: str, error: BaseException) -> InternalError:
        name, method = request_id() or valid_or_new_id(""), self.method.qualified
        log_error(self.task.logger, "%s %s: internal error %s", method, what, name, error=error)
        return InternalError(id=name)
