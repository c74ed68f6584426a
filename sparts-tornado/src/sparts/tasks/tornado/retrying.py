"""When the HTTP client may send a request again, by RFC 9110, and what of it callbacks see."""

from __future__ import annotations

import copy
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pycurl

from tornado.curl_httpclient import CurlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpclient import HTTPRequest, HTTPResponse

#: What may be sent again without harm (section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))

#: Answers of a server that is busy or away for the moment.
TRY_AGAIN = frozenset((429, 502, 503, 504))

#: Answers to a request that the server did not act on: it had not come as a whole, or came to the
#: wrong server (sections 15.5.9 and 15.5.20). They need another connection.
NOT_ACTED_ON = frozenset((408, 421))

#: Errors of curl that another attempt would meet again.
_FINAL = frozenset(
    getattr(pycurl, f"E_{name}")
    for name in (
        "TOO_MANY_REDIRECTS", "UNSUPPORTED_PROTOCOL", "URL_MALFORMAT", "PEER_FAILED_VERIFICATION",
        "SSL_CACERT_BADFILE", "SSL_CERTPROBLEM", "WRITE_ERROR", "FILESIZE_EXCEEDED",
        "BAD_CONTENT_ENCODING",
    )
)  # fmt: skip


class Sending:
    """A request, the attempts to send it, and what its callbacks have been given.

    Args:
        request: what to send; it is not changed.
        harmless: whether it may be sent again although the server may have acted on it.
        failed: called with a callback that raised.
    """

    def __init__(
        self, request: HTTPRequest, harmless: bool, failed: Callable[[Any], object]
    ) -> None:
        self.request: Any = copy.copy(request)
        self.request.headers = request.headers.copy()
        self.request.prepare_curl_callback = self._prepare
        self._theirs = request
        self._harmless, self._failed = harmless, failed
        if request.streaming_callback is not None:
            self.request.streaming_callback = self._chunk
        if request.header_callback is not None:
            self.request.header_callback = self._header
        self._expects = bool(request.headers.get("Expect"))
        self._fresh = self._misdirected = self._delivered = False
        self._begin()

    def _begin(self) -> None:
        self._curl: Any = None
        self._sent = 0
        self._holds_headers = False
        self._held: list[tuple[Callable[[Any], object], Any]] = []

    # -- during an attempt -------------------------------------------------------------------------

    def _prepare(self, curl: Any) -> None:
        """Set up an attempt; called by Tornado."""
        self._curl = curl
        curl.setopt(pycurl.PREREQFUNCTION, self._begins_to_send)
        if self._fresh:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
        if self._theirs.prepare_curl_callback is not None:
            self._theirs.prepare_curl_callback(curl)

    def _begins_to_send(self, *addresses: object) -> int:
        """Note that something is sent; called by libcurl before it does, also after a redirect.

        By itself, libcurl sends again what got no answer on a connection that was kept, whatever
        the method is.
        """
        answered = self._curl.info["headers"]
        if self._sent and not answered and not self._harmless:
            return int(pycurl.PREREQFUNC_ABORT)
        self._sent += 1
        answered.clear()
        return int(pycurl.PREREQFUNC_OK)

    def _chunk(self, chunk: bytes) -> None:
        """Take a part of the body; called by Tornado."""
        callback: Any = self._theirs.streaming_callback
        if self._may_repeat(self._curl.getinfo(pycurl.RESPONSE_CODE)):
            self._held.append((callback, chunk))
        else:
            self._delivered = True
            callback(chunk)

    def _header(self, line: str) -> None:
        """Take a line of the headers, from ``HTTP/1.1 200 OK`` on; called by Tornado."""
        callback: Any = self._theirs.header_callback
        if line.startswith("HTTP/"):
            status = line.split()[1:2]
            known = bool(status) and status[0].isdigit()
            self._holds_headers = known and self._may_repeat(int(status[0]))
        if self._holds_headers:
            self._held.append((callback, line))
        else:
            self._delivered = True
            callback(line)

    def _may_repeat(self, status: int) -> bool:
        return status in TRY_AGAIN or status in NOT_ACTED_ON or status in (413, 417)

    # -- after an attempt --------------------------------------------------------------------------

    def again_after(self, response: HTTPResponse, wait: float, longest: float) -> float | None:
        """Return after how many seconds to try again; None: this response is the last.

        Args:
            response: what came of the attempt.
            wait: the seconds to wait if the server asks for none.
            longest: how many seconds it may ask for.
        """
        asked = asked_for(response)
        if self._delivered or asked > longest or not self._worth_it(response):
            return None
        self._fresh = response.code in NOT_ACTED_ON
        self._misdirected = self._misdirected or response.code == 421
        if response.code == 417:
            self._expects = False
            del self.request.headers["Expect"]
        self._begin()
        return max(wait, asked)

    def _worth_it(self, response: HTTPResponse) -> bool:
        if response.code == 599:
            error = response.error
            if not isinstance(error, CurlError) or error.errno in _FINAL:
                return False
            return self._harmless or not self._sent
        if response.code == 413:
            return "Retry-After" in response.headers
        if response.code == 417:
            return self._expects
        if response.code == 421:
            return not self._misdirected
        return response.code == 408 or (self._harmless and response.code in TRY_AGAIN)

    def finish(self, response: HTTPResponse) -> HTTPResponse:
        """Give the callbacks what was held back of the last response, and return it."""
        for callback, part in self._held:
            try:
                callback(part)
            except Exception:
                self._failed(callback)
        error = response.error
        if isinstance(error, CurlError) and error.errno == pycurl.E_ABORTED_BY_CALLBACK:
            told = (
                "The connection ended without an answer. The server may have acted on the request"
            )
            response.error = CurlError(pycurl.E_GOT_NOTHING, told)
        return response


def asked_for(response: HTTPResponse) -> float:
    """Return the seconds that a server asks to wait by ``Retry-After`` (section 10.2.3), or 0."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        end = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    try:  # by the clock that the date is of
        now = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        now = time.time()
    return max(0.0, end - now)
