"""An HTTP client as a task, for tasks that call others: pooled, with time limits and retries.

Underneath is Tornado's client on libcurl, which keeps connections and uses them again. Tornado's
own simple client opens one for each request.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.calls import client_wrapper
from sparts.clock import retry_delay, timeout_of
from sparts.counters import CallbackCounter, SampleType, counter, labelled, own, samples
from sparts.counters.metric import Labelled
from sparts.logs import log_fields
from sparts.option_types import duration
from sparts.options import Option, option
from sparts.shown import renamed
from sparts.tasks.tornado.client_calls import wrapped
from sparts.tasks.tornado.ioloop import TornadoTask
from sparts.tasks.tornado.retrying import IDEMPOTENT, Sending

from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse

if TYPE_CHECKING:
    from concurrent.futures import Future

_SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


class TornadoHTTPClientTask(TornadoTask):
    """Sends HTTP requests: `fetch` in coroutines on the loop, `submit` in any thread.

    Connections are kept and used again. What failed is tried again, with a growing wait, if that
    does no harm: the method is idempotent, nothing has been sent, or the server says that it did
    not act on the request. What a callback has been given is never followed by another attempt.
    """

    OPT_PREFIX: ClassVar[str | None] = "http_client"

    RETRY_AFTER: ClassVar[float] = 0.1
    """Seconds before the first retry, doubled for each more; a random part is left out."""
    RETRY_MAX_WAIT: ClassVar[float] = 10.0
    """Seconds before a retry at most. A server that asks for more by ``Retry-After`` is not asked
    again: its response is the last."""
    RETRY_WAIT: ClassVar[float] = renamed("RETRY_AFTER")
    MAX_WAIT: ClassVar[float] = renamed("RETRY_MAX_WAIT")

    connect_timeout: Option[float] = option(
        type=duration,
        default=5.0,
        metavar="DURATION",
        help="time limit for a connection to be made",
        advanced=True,
    )
    request_timeout: Option[float] = option(
        type=duration,
        default=20.0,
        metavar="DURATION",
        help="time limit for one attempt, from connecting to the end of the response",
        advanced=True,
    )
    retries: Option[int] = option(
        type=int,
        default=2,
        metavar="N",
        help="how many times a failed request is sent again",
        advanced=True,
    )
    max_connections: Option[int] = option(
        type=int,
        default=100,
        metavar="N",
        help="how many requests are sent at a time; further ones wait",
        reloadable=False,
        advanced=True,
    )
    tls_ca: Option[str] = option(
        type=str,
        metavar="FILE",
        help="trust these authorities (PEM) instead of the system's",
        reloadable=False,
        advanced=True,
    )

    requests: counter = counter(help="Requests sent, retries among them.")
    retried: counter = counter(help="Requests sent again after a failure.")
    failures: counter = counter(
        help="Requests without a response: no connection, too late, cut off."
    )
    responses: Labelled[counter] = labelled(
        counter(help="Responses by the class of their status."), "status"
    )
    in_flight: CallbackCounter = CallbackCounter(
        lambda task: len(vars(task).get("_calls", ())), help="Calls that have not ended."
    )
    request_duration_ms: samples = samples(
        types=[SampleType.COUNT, SampleType.AVG, SampleType.P50, SampleType.P99, SampleType.MAX],
        windows=[60, 3600],
        help="Time from a request to the end of its response.",
        unit="ms",
    )

    client: CurlAsyncHTTPClient
    """Tornado's client, from the start on; to be used on the loop alone."""

    def start_in_loop(self) -> Any:
        """Make the client."""
        self._calls: set[asyncio.Task[Any]] = set()
        self.client = CurlAsyncHTTPClient(
            force_instance=True,
            max_clients=self.max_connections,
            defaults={"user_agent": self._instance.name, "ca_certs": self.tls_ca or _system_ca()},
        )

    async def stop_in_loop(self) -> None:
        """Let calls end; cancel those that have not after `seconds_to_stop`."""
        calls = set(vars(self).get("_calls", ()))
        if calls:
            limit = timeout_of(self.seconds_to_stop())
            for call in (await asyncio.wait(calls, timeout=limit))[1]:
                call.cancel()
        if "client" in vars(self):
            self.client.close()

    def submit(self, request: str | HTTPRequest, /, **settings: Any) -> Future[HTTPResponse]:
        """Send a request, from any thread, and return the future of its response.

        The arguments are those of `fetch`, which also says how the future ends. Cancelling it
        cancels the request.

        Raises:
            LoopStoppedError: the loop has ended.
        """
        return self.loop_task.call(self.fetch, request, **settings)

    async def fetch(
        self,
        request: str | HTTPRequest,
        *,
        raise_error: bool = True,
        retries: int | None = None,
        idempotent: bool | None = None,
        **settings: Any,
    ) -> HTTPResponse:
        """Send a request, and return its response; on the loop, in its thread.

        Args:
            request: a URL, or a `tornado.httpclient.HTTPRequest`.
            raise_error: whether a status of 400 or more raises.
            retries: how often to try again; None: as the option says.
            idempotent: whether the request may be sent again although it may have been received;
                None: if its method says so (GET, HEAD, OPTIONS, TRACE, PUT, DELETE).
            settings: of the request, as `tornado.httpclient.HTTPRequest` takes them, such as
                ``method``, ``body``, ``headers``, ``request_timeout`` (seconds).

        Raises:
            tornado.httpclient.HTTPClientError: there was no response (its code is 599), or one of
                status 400 or more.
        """
        if isinstance(request, str):
            settings = {
                "connect_timeout": self.connect_timeout,
                "request_timeout": self.request_timeout,
                **settings,
            }
            request = HTTPRequest(request, **settings)
        elif settings:
            raise TypeError(f"These belong into the HTTPRequest: {', '.join(settings)}")
        known = log_fields.get({}).get("request_id")
        if known and "X-Request-Id" not in request.headers:
            request.headers["X-Request-Id"] = str(known)
        wrapper = client_wrapper(is_async=True)
        again = request.method in IDEMPOTENT if idempotent is None else idempotent
        send = partial(self._send, request, again, retries, raise_error)
        return await (send() if wrapper is None else wrapped(self, request, wrapper, send))

    async def _send(
        self, request: HTTPRequest, again: bool, retries: int | None, raise_error: bool
    ) -> HTTPResponse:
        call: Any = asyncio.current_task()
        self._calls.add(call)
        try:
            sending = Sending(request, again, self.client.handle_callback_exception)
            most = self.retries if retries is None else retries
            return await self._attempts(sending, most, raise_error)
        finally:
            self._calls.discard(call)

    async def _attempts(self, sending: Sending, retries: int, raise_error: bool) -> HTTPResponse:
        response = await self._attempt(sending.request)
        for attempt in range(retries):
            wait = retry_delay(attempt, self.RETRY_AFTER, self.RETRY_MAX_WAIT)
            seconds = sending.again_after(response, wait, self.RETRY_MAX_WAIT)
            if seconds is None:
                break
            own(self, TornadoHTTPClientTask.retried).increment()
            await asyncio.sleep(seconds)
            response = await self._attempt(sending.request)
        response = sending.finish(response)
        if raise_error or response.code == 599:
            response.rethrow()
        return response

    async def _attempt(self, request: HTTPRequest) -> HTTPResponse:
        own(self, TornadoHTTPClientTask.requests).increment()
        began = perf_counter()
        try:
            response = await self.client.fetch(request, raise_error=False)
        except HTTPClientError as error:
            response = error.response or HTTPResponse(request, error.code, error=error)
        own(self, TornadoHTTPClientTask.request_duration_ms).add((perf_counter() - began) * 1000.0)
        if response.code == 599:
            own(self, TornadoHTTPClientTask.failures).increment()
        else:
            own(self, TornadoHTTPClientTask.responses).labels(
                f"{response.code // 100}xx"
            ).increment()
        return response


def _system_ca() -> str | None:
    """Return the file of the system's authorities: a libcurl from a wheel does not know it."""
    found = ssl.get_default_verify_paths().cafile
    return found or (_SYSTEM_CA if os.path.exists(_SYSTEM_CA) else None)
