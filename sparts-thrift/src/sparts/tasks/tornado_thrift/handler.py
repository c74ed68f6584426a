"""A request handler of Tornado's that answers thrift calls."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.masking import one_line
from sparts.tasks.tornado import access
from sparts.thrift.calls import Caller, current
from sparts.thrift.memory import Memory, NoRoomError, Share
from sparts.thrift.processor import NOTHING, RefusedError, Router
from sparts.thrift.protocols import ByProtocol, WrongMessageError
from sparts.thrift.wire import BINARY, COMPACT, WireError, read_header
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from tornado.web import HTTPError, RequestHandler, stream_request_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_Result = TypeVar("_Result")

UNSAID = "application/x-thrift"
"""The content type of Apache's clients, whatever protocol they speak."""
_TYPES = {
    "application/vnd.apache.thrift.binary": TBinaryProtocol,
    "application/vnd.apache.thrift.compact": TCompactProtocol,
    "application/vnd.apache.thrift.json": TJSONProtocol,
    "application/json": TJSONProtocol,
    UNSAID: None,
}
_FRAME_LENGTH = 4
_log = logging.getLogger("sparts.thrift")
_16_MIB = 1 << 24
_LARGE = 1 << 16
"""Bytes from which on a message is decoded in a thread: it would hold up the loop."""
_memory = Memory(1 << 28)  # for routes that name no other


@stream_request_body
class TornadoThriftHandler(RequestHandler):
    """Answers thrift calls that come by POST, one in each request.

    The protocol is that of the content type: ``application/vnd.apache.thrift.binary``,
    ``.compact`` or ``.json``. With ``application/x-thrift``, which Apache's clients send, the
    first byte tells. No other content type is accepted, and no request that a browser sends for a
    page of another origin, or to a host name that is not the server's.

    Its arguments in a route are ``processor``: a `ThriftHandlerTask`, a `Router`, or a processor of
    Apache's library (which is called in a thread); ``max_frame``, the bytes that a request may
    have (16 MiB); ``memory``, what the requests of all clients may take together (256 MiB for all
    routes that name none); and ``allowed_hosts``, the names other than localhost by which clients
    may address the server (none: clients of other machines may use any,
    but for browsers).
    """

    def initialize(
        self,
        processor: Any,
        max_frame: int = _16_MIB,
        allowed_hosts: Collection[str] = (),
        memory: Memory = _memory,
    ) -> None:
        """Take the arguments of the route; called by Tornado for each request."""
        self._processor = processor
        self._allowed_hosts = allowed_hosts
        self._max_frame = max_frame
        self._chunks: list[bytes] = []
        self._share = Share(memory)
        self._refused: NoRoomError | None = None
        self._received = 0
        self._posted = False

    def prepare(self) -> None:
        """Refuse what cannot be a call before it is read; called by Tornado."""
        if self.request.method != "POST":
            return
        self._check_origin()
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > self._max_frame:
            raise HTTPError(413, "more than %d bytes", self._max_frame)
        connection: Any = self.request.connection
        connection.set_max_body_size(self._max_frame)
        if self._content_type() not in _TYPES:
            kind = one_line(self._content_type()) or "no content type"
            raise HTTPError(415, "not thrift: %s", kind)

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body; called by Tornado."""
        if self._refused is not None:
            return
        self._received += len(chunk)
        try:
            self._share.hold(self._received)
        except NoRoomError as error:
            self._chunks.clear()
            self._share.hold(0)
            self._refused = error
        else:
            self._chunks.append(chunk)

    def on_finish(self) -> None:
        """Give back the memory that the request took; called by Tornado."""
        self._share.hold(0)

    def on_connection_close(self) -> None:
        """Do the same if the client has gone before its request was whole; called by Tornado."""
        if not self._posted:
            self._share.hold(0)

    def check_origin(self, origin: str) -> bool:
        """Return whether a page of another origin may make calls; no page may, by default.

        Override it, and answer OPTIONS, to let pages of some origins in. Called in the loop's
        thread for each request that names an origin other than the server's.
        """
        return False

    def _check_origin(self) -> None:
        """Refuse what a browser sends for somebody else's page: it may reach where they cannot."""
        strict = access.by_browser(self.request)
        host = access.wrong_host(self.request, self._allowed_hosts, strict)
        problem = f"this server is not {host}" if host else access.foreign(self.request)
        origin = self.request.headers.get("Origin")
        if problem and (host or not origin or not self.check_origin(origin)):
            raise HTTPError(403, "%s", one_line(problem))

    def _content_type(self) -> str:
        """Return the content type; of several, the last if all are thrift's, or else the first.

        Apache's client adds one that it is given to its own, and both come as one. A browser sends
        ``text/plain;,application/x-thrift`` for any page, without asking the server first.
        """
        said = self.request.headers.get("Content-Type", "").split(",")
        kinds = [each.partition(";")[0].strip().lower() for each in said]
        return next((kind for kind in kinds if kind not in _TYPES), kinds[-1])

    async def post(self) -> None:
        """Make the call that the body holds."""
        self._posted = True
        if self._refused is not None:
            _log.warning("%s: refused: %s", self._caller(), self._refused)
            raise HTTPError(503, "%s", self._refused)
        body, self._chunks = b"".join(self._chunks), []
        named = _TYPES[self._content_type()]
        protocol = named or _guess(body)
        try:
            answer = await self._answer(body, protocol)
        except (WireError, WrongMessageError) as error:
            raise HTTPError(400, "no thrift message: %s", error) from error
        self.set_header("Content-Type", self._content_type() or UNSAID)
        self.finish(answer)

    async def _answer(self, body: bytes, protocol: Any) -> bytes:
        processor = self._processor
        if hasattr(processor, "processor"):  # a handler or server task
            processor = getattr(processor.processor, "router", processor.processor)
        if not isinstance(processor, Router):
            message = ByProtocol(protocol, body)
            return await self._in_thread(lambda: message.process(processor))
        if protocol is TJSONProtocol:
            return await self._answer_json(processor, body)
        return await self._answer_bytes(processor, body, protocol)

    async def _answer_bytes(self, router: Router, body: bytes, protocol: Any) -> bytes:
        if not body:
            raise WireError("it is empty")
        wire = read_header(body, 0, len(body))[0]
        if (protocol is TCompactProtocol) != (wire is COMPACT):
            said = COMPACT if protocol is TCompactProtocol else BINARY
            raise WireError(f"it is not in the {said.name} protocol")
        try:
            found = await self._decode(body, lambda: router.read(body, 0, len(body)))
        except RefusedError as refused:
            self._log_refused(refused)
            return refused.answer[_FRAME_LENGTH:]
        method, wire, sequence, arguments, cost = found
        call = (wire, sequence, arguments)
        if method.asynchronous:
            self._hold(cost)
            begun = method.handler.loop_task.call(method.run_async, *call, self._caller())
            try:
                answer: bytes = await asyncio.wrap_future(begun)
            except Exception:  # the loop has ended
                answer = method.failed(wire, sequence)
        elif method.inline:
            current.set(self._caller())
            answer = method.run(*call)
        else:
            answer = await self._in_thread(lambda: method.run(*call))
        return answer[_FRAME_LENGTH:] if answer is not NOTHING else NOTHING

    async def _answer_json(self, router: Router, body: bytes) -> bytes:
        message = ByProtocol(TJSONProtocol, body)
        found = await self._decode(body, lambda: message.read(router))
        if found is None:
            self._log_refused(message.why)
            return message.written()
        method, arguments = found
        if method.inline:
            current.set(self._caller())
            return message.write(method, method.invoke(arguments))
        if not method.asynchronous:
            return await self._in_thread(lambda: message.write(method, method.invoke(arguments)))
        self._hold(message.cost)
        current.set(self._caller())
        begun = method.handler.loop_task.call(method.invoke_async, arguments)
        outcome = await asyncio.wrap_future(begun)
        return await self._in_thread(lambda: message.write(method, outcome))

    def _hold(self, cost: int) -> None:
        """Hold memory for a coroutine, of which any number may run."""
        try:
            self._share.hold(self._share.held + cost)
        except NoRoomError as error:
            _log.warning("%s: refused: %s", self._caller(), error)
            raise HTTPError(503, "%s", error) from None

    async def _decode(self, body: bytes, read: Callable[[], _Result]) -> _Result:
        """Decode a message: a small one here, a large one in a thread."""
        return read() if len(body) < _LARGE else await self._in_thread(read)

    def _log_refused(self, why: object) -> None:
        _log.warning("%s: %s", self._caller(), why)

    def _caller(self) -> Caller:
        connection: Any = self.request.connection
        over_unix = access.over_unix_socket(self.request)
        token = None if over_unix else access.token_given(self.request)
        return Caller(connection.context.address or "", token)

    async def _in_thread(self, function: Callable[[], _Result]) -> _Result:
        caller = self._caller()

        def run() -> _Result:
            current.set(caller)
            return function()

        in_context = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(None, in_context, run)


def _guess(body: bytes) -> Any:
    """Return the protocol that a message begins like."""
    if body[:1] == b"[":
        return TJSONProtocol
    return TCompactProtocol if body[:1] == b"\x82" else TBinaryProtocol
