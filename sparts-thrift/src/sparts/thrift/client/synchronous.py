"""ThriftClient: calls a service, from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.calls import client_wrapper
from sparts.thrift.client.base import ClientBase
from sparts.thrift.client.calls import wrapped_call
from sparts.thrift.client.connections import FramedConnection, HTTPConnection
from sparts.thrift.client.endpoint import Deadline, closed_error
from sparts.thrift.client.pool import Pool

from thrift.protocol.TProtocol import TProtocolException
from thrift.transport.TTransport import TTransportException

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sparts.thrift.client.connections import Connection
    from sparts.thrift.services import ThriftMethod


class ThriftClient(ClientBase):
    """Calls a service; its methods are methods of the client. Safe for threads.

    A method raises what its interface declares, ``TApplicationException`` when the server says that
    it failed, ``TTransportException`` when the service cannot be reached, closes the connection or
    takes too long, and ``TProtocolException`` when what it answers makes no sense. All of them are
    Apache Thrift's. The arguments are those of `sparts.thrift.client.base.ClientBase`.
    """

    def _begin(self, pool_size: int) -> None:
        self._pool = Pool(self._connect, pool_size)

    def _connect_now(self) -> None:
        deadline = Deadline(self._timeout, f"Cannot connect to {self._endpoint}")
        self._pool.give_back(self._pool.take(deadline), True)

    def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the service by its name, also one that the client has itself (close).

        Raises:
            TypeError: the arguments are not those of the method, or not of their types.
        """
        wrapper = client_wrapper(is_async=False)
        if wrapper is None:
            return self._call(method, args, kwargs)
        return wrapped_call(
            wrapper,
            self._service.name,
            method,
            self._endpoint,
            lambda: self._call(method, args, kwargs),
        )

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        what, number = self._method(method), self._number()
        request = self._codec.encode(what, number, args, kwargs)
        deadline = self._deadline(method)
        failures = 0
        while True:
            try:
                return self._exchange(what, number, request, deadline)
            except TTransportException as error:
                if self._pool.closed.is_set():
                    raise closed_error() from None
                failures += 1
                delay = self._delay(what, error, failures)
            left = deadline.left()
            self._pool.closed.wait(delay if left is None else min(delay, left))

    def _exchange(
        self, method: ThriftMethod, number: int, request: bytes, deadline: Deadline
    ) -> Any:
        connection = self._pool.take(deadline)
        usable = False
        try:
            answer = connection.exchange(request, method.oneway, deadline)
            usable = True
            return None if method.oneway else self._codec.decode(method, number, answer)
        except TProtocolException:
            usable = False  # the next answer in it may be to this call
            raise
        finally:
            self._pool.give_back(connection, usable)

    def _connect(self, deadline: Deadline) -> Connection:
        part = deadline.sooner(self._connect_timeout, f"Cannot connect to {self._endpoint}")
        if self._endpoint.path:
            content_type = self._codec.content_type
            return HTTPConnection(
                self._endpoint, part, self._max_frame, content_type, self._headers
            )
        return FramedConnection(self._endpoint, part, self._max_frame)

    def close(self) -> None:
        """Close all connections; calls that other threads make end with ``TTransportException``."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
