"""Calls of the client as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from collections import namedtuple
from concurrent.futures import Future
from typing import Any

from sparts.calls import ClientCall, client_wrapper, follow

import grpc
import grpc.aio

FIELDS = ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")


class Details(namedtuple("Details", FIELDS), grpc.ClientCallDetails):  # type: ignore[misc]
    """How a call is made."""


class StatusError(Exception):
    """A call ended with a status other than OK."""


def changed(details: Any, **values: Any) -> Details:
    """Return how to make a call, with some of it changed."""
    return Details(**{name: getattr(details, name, None) for name in FIELDS} | values)


def name_of(details: Any) -> str:
    """Return ``package.Service/Method``."""
    method: bytes | str = details.method
    return (method.decode() if isinstance(method, bytes) else method).strip("/")


def begun(task: Any, details: Any) -> tuple[Any, Future[None] | None]:
    """Begin a call with what wraps the calls of clients around it.

    Returns:
        How to make it, and what `ended` reports at its end; None: nothing wraps it.
    """
    wrapper = client_wrapper(is_async=True)
    if wrapper is None:
        return details, None
    name = name_of(details)
    service, _, method = name.rpartition("/")
    call = ClientCall(task, "grpc", name, True, attributes={"service": service, "method": method})
    end = follow(wrapper, call, Future[None])
    metadata: Any = (*(details.metadata or ()), *call.headers.items())
    if isinstance(details.metadata, grpc.aio.Metadata):
        metadata = grpc.aio.Metadata(*metadata)
    return changed(details, metadata=metadata), end


def ended(end: Future[None] | None, code: Any) -> None:
    """Report to the wrapper of a call that it has ended."""
    if end is None or end.done():
        return
    if code is grpc.StatusCode.OK:
        end.set_result(None)
    else:
        end.set_exception(StatusError(getattr(code, "name", "UNKNOWN")))
