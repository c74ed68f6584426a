"""``sparts amqp dead QUEUE``: what was given up, to look at, to try again or to drop."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError, UsageError, describe, text_of
from sparts.masking import lines, one_line
from sparts.option_types import Expected
from sparts.tasks.amqp.addresses import broker_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sparts.tasks.amqp.addresses import Address

    import amqp

VARIABLE = "SPARTS_AMQP_BROKER"
DEFAULT = "amqp://guest:guest@localhost/"
_SHOWN = 60
"""How many characters of an item the list shows."""
ALL = "all"


def main(argv: Sequence[str]) -> int:
    """List the dead items of a queue, requeue or drop them.

    Raises:
        UsageError: the URL is none, or there is no such queue.
        StartError: there is no connection to the broker.
    """
    wanted = _parser().parse_args(argv)
    try:
        addresses = broker_addresses(wanted.broker or os.environ.get(VARIABLE) or DEFAULT)
    except Expected as error:
        raise UsageError(f"The broker's URL must be {error}.") from None
    if not addresses:
        raise UsageError("A queue in memory is gone with its process; name a broker.")
    letters = DeadLetters(addresses, wanted.queue)
    try:
        return _act(letters, wanted)
    finally:
        letters.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparts amqp",
        description="Look after queues of AMQPQueueTask at their broker.",
        epilog=f"The broker's URL comes from the environment variable {VARIABLE}, so that no list "
        f"of processes shows its password. Without it: {DEFAULT}",
    )
    dead = parser.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "dead", help="list, show, requeue or drop the items that were given up"
    )
    dead.add_argument("queue", metavar="QUEUE", help="the queue's name, without .dead")
    dead.add_argument("--broker", metavar="URL", help="where the queue is")
    choice = dead.add_mutually_exclusive_group()
    choice.add_argument("--show", metavar="ID", help="show everything about an item")
    choice.add_argument(
        "--requeue", metavar="ID", nargs="+", help="put items into the queue again, or 'all'"
    )
    choice.add_argument("--drop", metavar="ID", nargs="+", help="delete items, or 'all'")
    dead.add_argument("--json", action="store_true", help="print all that is known of them as JSON")
    return parser


def _act(letters: DeadLetters, wanted: argparse.Namespace) -> int:
    ids = wanted.requeue or wanted.drop or ([wanted.show] if wanted.show else [])
    missing = {each for each in ids if wanted.show or each != ALL}
    found, shown = 0, []
    for number, message in letters:
        if ids and number not in ids and (ALL not in ids or wanted.show):
            continue
        found += 1
        missing.discard(number)
        if wanted.json:
            shown.append(_all_of(number, message))
        if wanted.requeue:
            letters.requeue(message)
        elif wanted.drop:
            letters.drop(message)
        elif not wanted.json:
            print((_details if wanted.show else _row)(number, message))
    done = "requeued from" if wanted.requeue else "dropped from" if wanted.drop else "in"
    if wanted.json:
        print(json.dumps(shown, indent=2, default=str))
    elif not wanted.show:
        print(f"{found} item{'' if found == 1 else 's'} {done} {wanted.queue}.dead")
    if missing:
        raise UsageError(f"There is no item {', '.join(sorted(missing))} in {wanted.queue}.dead.")
    return 0


def _row(number: str, message: amqp.Message) -> str:
    facts = _facts(message)
    body = message.body.decode("utf-8", "replace")
    item = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}..."
    text = f"{number}  {facts['died']}  attempt {facts['attempt']}  {facts['reason']}"
    return one_line(f"{text}  {facts['error'][:100]}  {item}")


def _details(number: str, message: amqp.Message) -> str:
    from sparts.tasks.amqp.messages import headers_of

    rows = {"id": number, **_facts(message)}
    rows |= {f"header {name}": value for name, value in sorted(headers_of(message).items())}
    shown = [one_line(f"{name}: {value}") for name, value in rows.items()]
    return "\n".join([*shown, "item:", lines(message.body.decode("utf-8", "replace"))])


def _all_of(number: str, message: amqp.Message) -> dict[str, Any]:
    from sparts.tasks.amqp.messages import headers_of

    body = message.body.decode("utf-8", "replace")
    try:
        item = _shown(json.loads(body), body)
    except (ValueError, RecursionError):
        item = body
    every = {**_facts(message), "headers": headers_of(message)}
    return {
        "id": number,
        **{name: _shown(value, text_of(value, repr)) for name, value in every.items()},
        "item": item,
    }


def _shown(value: Any, text: str) -> Any:
    """Return ``value`` if JSON can have it, else ``text``: it is nested deeply, say."""
    try:
        json.dumps([{"item": [value]}], indent=2, default=str)
    except (TypeError, ValueError, RecursionError):
        return text
    return value


def _facts(message: amqp.Message) -> dict[str, Any]:
    """What is known of why an item is dead: from us, or from the broker."""
    from sparts.tasks.amqp import messages

    headers = message.headers or {}
    deaths = headers.get("x-death") or [{}]
    theirs = deaths[0] if isinstance(deaths, list) and isinstance(deaths[0], dict) else {}
    return {
        "died": headers.get(messages.DIED_AT) or theirs.get("time") or "?",
        "attempt": headers.get(messages.ATTEMPT, "?"),
        "reason": headers.get(messages.REASON) or theirs.get("reason") or "?",
        "error": str(headers.get(messages.ERROR, "")),
    }


class DeadLetters:
    """What is in the dead queue of a queue, at the time of the call.

    Args:
        addresses: where the broker is.
        queue: the name of the queue of the items.
    """

    def __init__(self, addresses: tuple[Address, ...], queue: str) -> None:
        from sparts.tasks.amqp.link import Link
        from sparts.tasks.amqp.publishing import Publisher

        self.queue = queue
        logger = logging.getLogger("sparts.amqp")
        logger.addHandler(logging.NullHandler())
        self._link = Link(addresses, "sparts amqp dead", logger)
        self._publisher = Publisher(self._link)
        self._publisher.attach()
        self._link.tried.wait()
        if not self._link.connected:
            why = describe(self._link.failure) if self._link.failure else "?"
            self.close()
            raise StartError(f"No connection to {self._link.where}: {why}")

    def __iter__(self) -> Iterator[tuple[str, amqp.Message]]:
        """Give each item with its id; what is not dropped or requeued stays."""
        import amqp as library

        name, position = f"{self.queue}.dead", 1
        try:
            self._call("queue_declare", name, passive=True)
        except library.NotFound:
            hint = " Name the queue without .dead." if self.queue.endswith(".dead") else ""
            raise UsageError(f"There is no queue {name} at the broker.{hint}") from None
        message = self._call("basic_get", name)  # after this, the count has what others put back
        last = 1 + self._call("queue_declare", name, passive=True).message_count
        while message is not None:
            yield message.properties.get("message_id") or f"#{position}", message
            position += 1
            message = self._call("basic_get", name) if position <= last else None

    def requeue(self, message: amqp.Message) -> None:
        """Put an item into its queue again, as new, and drop it here when that is confirmed."""
        from sparts.tasks.amqp import messages
        from sparts.tasks.amqp.publishing import Confirmation, Publish

        fresh = messages.again(message)
        for name in (messages.ATTEMPT, messages.REASON, messages.ERROR, messages.DIED_AT):
            fresh.headers.pop(name, None)
        target = str(fresh.headers.pop(messages.FAILED_QUEUE, ""))
        if not target.startswith(f"{self.queue}."):  # that of one process; else any sender's word
            target = self.queue
        confirmation, publish = Confirmation(), Publish("", target, fresh, kept=False)
        confirmation.add(publish)
        self._publisher.publish(publish)
        if not confirmation.wait(0, 30) or confirmation.failed:
            why = describe(confirmation.failed[0][1]) if confirmation.failed else "no confirmation"
            raise StartError(f"The item could not be put into {target}: {why}")
        self.drop(message)

    def drop(self, message: amqp.Message) -> None:
        """Delete an item."""
        self._call("basic_ack", message.delivery_tag)

    def close(self) -> None:
        """Close the connection; what was only looked at is in the queue again."""

        def put_back(_: Any) -> None:
            channel = self._publisher.channel
            if channel is not None and channel.connection is not None:
                channel.basic_recover(requeue=True)  # the end of a channel does it too, but later
                channel.close()

        with contextlib.suppress(Exception):  # of a broker that has gone
            self._link.call(put_back)
        self._link.close(5)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        def call(_: Any) -> Any:
            return getattr(self._publisher.channel, method)(*args, **kwargs)

        return self._link.call(call)
