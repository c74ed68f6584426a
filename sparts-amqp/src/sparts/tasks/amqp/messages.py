"""What is in a message: an item, its outcome, or why it is dead.

| | item | outcome |
|---|---|---|
| ``type`` | ``sparts.item/1`` | ``sparts.outcome/1`` |
| ``content_type`` | ``application/json`` | ``application/json`` |
| body | the item | ``{"result": ...}`` or ``{"error": {"type": "...", "message": "..."}}`` |
| ``message_id`` | unlike any other | |
| ``reply_to`` | the queue for the outcome, if somebody waits for it | |
| ``correlation_id`` | whatever the sender likes | the item's; else its ``message_id`` |
| ``delivery_mode`` | 2 (kept on disk) | 2 |
| header ``x-sparts-attempt`` | which attempt is next; 1 if absent | |
| header ``x-sparts-topic`` | the topic of an event that comes again | |
| header ``traceparent``, ``tracestate`` | the trace that the item belongs to (W3C) | |

Of an item, only the body is necessary: whatever publishes JSON takes part. ``reply_to`` may be any
queue, ``amq.rabbitmq.reply-to`` among them.

A message in ``NAME.dead`` is the item with the headers ``x-sparts-reason`` (``error``,
``attempts``, ``deliveries``, ``undecodable``), ``x-sparts-error``, ``x-sparts-queue`` and
``x-sparts-died-at``. What the broker has put there itself, by its delivery limit, has the broker's
``x-death`` alone.
"""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sparts.errors import describe
from sparts.tasks.amqp.errors import ForeignError, RemoteError
from sparts.tasks.amqp.wire import UNREADABLE

import amqp
from amqp.serialization import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.context import ExecuteContext

ITEM = "sparts.item/1"
OUTCOME = "sparts.outcome/1"
JSON = "application/json"
ATTEMPT = "x-sparts-attempt"
TOPIC = "x-sparts-topic"
REASON, ERROR, FAILED_QUEUE, DIED_AT = (
    "x-sparts-reason", "x-sparts-error", "x-sparts-queue", "x-sparts-died-at",
)  # fmt: skip
"""Headers of a dead letter: a word for why, the error's text, where from, when (ISO 8601)."""
_KEPT = ("content_type", "content_encoding", "message_id", "reply_to", "type", "priority",
         "correlation_id", "timestamp", "app_id")  # fmt: skip

_ROUTES = ("CC", "BCC")
"""Headers by which the broker puts a message into further queues, at each attempt again."""
_ROOM = 100_000
"""Bytes of headers that are kept; all headers of a message must fit into one frame, of 128 KiB."""

_process, _number = uuid.uuid4().hex, itertools.count(1)


class Codec(NamedTuple):
    """How items and results become bytes, and bytes become them."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    encode_result: Callable[[Any], bytes]
    decode_result: Callable[[bytes], Any]
    max_bytes: int


def new_id() -> str:
    """Return the id of a message, unlike that of any other."""
    return f"{_process}-{next(_number)}"


def item_message(
    body: bytes,
    sent: Mapping[str, str],
    attempt: int = 1,
    reply_to: str | None = None,
    priority: int | None = None,
) -> amqp.Message:
    """Return the message of an item, with the headers ``sent`` of its trace."""
    properties: dict[str, Any] = {
        "content_type": JSON,
        "delivery_mode": 2,
        "message_id": new_id(),
        "type": ITEM,
    }
    headers: dict[str, Any] = dict(sent)
    if attempt > 1:
        headers[ATTEMPT] = attempt
    if headers:
        properties["application_headers"] = headers
    if reply_to is not None:
        properties["reply_to"] = reply_to
    if priority:
        properties["priority"] = priority
    return amqp.Message(body, **properties)


def again(message: amqp.Message, **headers: Any) -> amqp.Message:
    """Return a message of the same content, with further headers, to be published again."""
    kept = {name: message.properties[name] for name in _KEPT if name in message.properties}
    old, room = {}, _ROOM
    for name, value in headers_of(message).items():
        if name in _ROUTES or (name.startswith("x-") and not name.startswith("x-sparts-")):
            continue
        if _shallow(value) and (size := len(dumps("F", [{name: value}]))) <= room:
            old[name] = value
            room -= size
    return amqp.Message(
        message.body, delivery_mode=2, application_headers={**old, **headers}, **kept
    )


def headers_of(message: amqp.Message) -> dict[str, Any]:
    """Return the headers of a message without those whose names are no UTF-8."""
    return {name: each for name, each in (message.headers or {}).items() if isinstance(name, str)}


def _shallow(value: Any, levels: int = 20) -> bool:
    """Return whether a value is nested no deeper than ``levels``: to write what is deeper could
    need more of the stack than to read it did.
    """
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return levels > 0 and all(_shallow(each, levels - 1) for each in inner)


def check_item(message: amqp.Message, max_bytes: int) -> None:
    """See that a message can be an item; `ForeignError` if not."""
    properties = message.properties
    kind = properties.get("type") or ITEM
    if kind == UNREADABLE:
        raise ForeignError("its properties cannot be read")
    if kind.startswith("sparts.") and kind != ITEM:
        raise ForeignError(f"its type is {kind!r}, and only {ITEM!r} is known here")
    content = properties.get("content_type") or JSON
    if content.partition(";")[0].strip().lower() != JSON:
        raise ForeignError(f"its content type is {content!r}, not {JSON!r}")
    if len(message.body) > max_bytes:
        raise ForeignError(f"it has {len(message.body)} bytes, and {max_bytes} are allowed")


def deliveries(message: amqp.Message) -> int:
    """How often a message was delivered before without being acknowledged."""
    if not (message.delivery_info and message.delivery_info.get("redelivered")):
        return 0  # whatever its sender has written into the header
    count = (message.headers or {}).get("x-delivery-count")
    return max(0, count) if isinstance(count, int) else 1


def attempt_of(message: amqp.Message) -> int:
    """Which attempt at its item a delivery is: those that ended a process count, too."""
    said = (message.headers or {}).get(ATTEMPT, 1)
    return (said if isinstance(said, int) and 0 < said < 2**31 else 1) + deliveries(message)


def outcome_message(
    codec: Codec, message: amqp.Message, result: Any, error: BaseException | None
) -> amqp.Message:
    """Return the message with an item's outcome, for who waits for it."""
    body = b""
    if error is None:
        try:
            body = b'{"result":' + codec.encode_result(result) + b"}"
        except BaseException as problem:  # whatever it is, the connection's thread goes on
            error = problem
    if error is not None:
        kind, _, text = describe(error).partition(": ")
        about = {"type": kind, "message": text}
        if isinstance(error, RemoteError):
            about = {"type": error.type, "message": error.text}
        body = msgspec.json.encode({"error": about})
    return amqp.Message(
        body,
        content_type=JSON,
        delivery_mode=2,
        type=OUTCOME,
        message_id=new_id(),
        correlation_id=message.properties.get("correlation_id")
        or message.properties.get("message_id", ""),
    )


def settle(context: ExecuteContext, body: bytes, decode: Callable[[bytes], Any]) -> None:
    """End what waits for an outcome with what its message says."""
    try:
        outcome = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "error" in outcome:
            about = msgspec.json.decode(outcome["error"], type=dict[str, str])
            error = RemoteError(about.get("type", "Exception"), about.get("message", ""))
            context.set_exception(error)
            return
        result = decode(bytes(outcome["result"]))
    except BaseException as problem:  # of `decode_result`, too
        context.set_exception(RemoteError("UndecodableOutcome", describe(problem)))
        return
    context.set_result(result)
