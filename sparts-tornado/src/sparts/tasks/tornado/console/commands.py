"""The subcommands: ``sparts ps``, ``status``, ``tail``, ``stacks``, ``get``, ``set``, ``restart``,
``stop``, ``drain`` and ``top``."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from copy import copy
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from sparts.errors import SpartsError, UsageError, nearest
from sparts.tasks.tornado.console import registry
from sparts.tasks.tornado.console.client import Client, NoAnswerError, client_of, statuses
from sparts.tasks.tornado.console.render import (
    STYLES,
    clock,
    plain,
    print_json,
    print_line,
    print_table,
    span,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN = 0.5
"""Seconds until a service whose copy was replaced is asked again."""
NAME = "a service as `sparts ps` lists it, its process number, or the URL of its status page"


def _parser(command: str, description: str, name: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"sparts {command}", description=description)
    if name:
        parser.add_argument("name", metavar="NAME", help=NAME)
    parser.add_argument(
        "--token", default="", help="token for the controls of a URL (or SPARTS_STATUS_TOKEN)"
    )
    return parser


def _parsed(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Return what the words say, in any order; after ``--``, none is an option."""
    return parser.parse_args(argv) if "--" in argv else parser.parse_intermixed_args(argv)


def ps(argv: list[str]) -> int:
    """List the services that run on this machine."""
    parser = _parser("ps", "List the services that run on this machine, or at URLs.", name=False)
    parser.add_argument("urls", nargs="*", metavar="URL", help="status pages of more services")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = _parsed(parser, argv)
    local = registry.find()
    found = [each.described() for each in local]
    clients = [Client(each.name, path=each.socket, url=each.url) for each in local]
    for url in args.urls:
        clients.append(client_of(url, args.token))
        found.append({"name": "", "pid": None, "url": url, "socket": "", "version": ""})
    for each, told in zip(found, statuses(clients), strict=True):
        each.update(_shown_of(told))
    if args.json:
        print_json(found)
    elif not found:
        print(f"No service is announced. {registry.HOW}")
    else:
        columns = ("NAME", "PID", "STATUS", "READY", "UP", "URL")
        rows = [
            (
                each["name"], each["pid"] or "", each["status"],
                {True: "yes", False: "no", None: "?"}[each.get("ready")],
                span(each["uptime"]) if "uptime" in each else "", each["url"],
            )
            for each in found
        ]  # fmt: skip
        print_table(columns, rows)
    return 0


def _shown_of(told: dict[str, Any]) -> dict[str, Any]:
    if "problem" in told:
        return told
    names = ("name", "pid", "version", "status", "status_details", "ready", "uptime")
    more = {"copies": len(told["copies"])} if "copies" in told else {}
    return {**{name: told[name] for name in names}, **more}


def status(argv: list[str]) -> int:
    """Show the state of one service and its tasks."""
    parser = _parser("status", "Show the state of one service and its tasks.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = _parsed(parser, argv)
    told = client_of(args.name, args.token).status()
    if args.json:
        print_json(told)
        return 0
    ready = "ready" if told["ready"] else "not ready"
    head = f"{told['name']} {told['version']}".strip()
    line = f"{head}: {told['status']}, {ready}, pid {told['pid']}, up {span(told['uptime'])}"
    print_line(line, STYLES.get(told["status"], ""))
    for name, why in told["checks"].items():
        if why:
            since = told["failing_since"].get(name)
            print_line(f"  {name}: {why}" + (f" (since {clock(since)})" if since else ""), "red")
    for text in told["warnings"].values():
        print_line(f"  warning: {text}", "yellow")
    rows = [
        (each["name"], each["state"], "yes" if each["ready"] else "no", each["problem"])
        for each in told["tasks"]
    ]
    print_table(("TASK", "STATE", "READY", "PROBLEM"), rows)
    if "copies" in told:
        print_table(
            ("COPY", "PID", "STATUS", "READY", "UP", "PROBLEM"),
            [
                (
                    each["number"], each.get("pid", ""), each.get("status", ""),
                    "yes" if each.get("ready") else "no",
                    span(each["uptime"]) if "uptime" in each else "", each.get("error", ""),
                )
                for each in told["copies"]
            ],
        )  # fmt: skip
    return 0


def tail(argv: list[str]) -> int:
    """Show the last log lines of one service, and follow them."""
    parser = _parser("tail", "Show the last log lines of one service, and those that come.")
    parser.add_argument("--no-follow", action="store_true", help="end after the last line")
    parser.add_argument("--level", default="DEBUG", type=str.upper, help="the lowest level shown")
    parser.add_argument("--task", default="", help="the lines of one task")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    args = _parsed(parser, argv)
    ranks = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
    if args.level not in ranks:
        raise UsageError(f"--level: {args.level!r} is none of {', '.join(ranks)}.")
    client = client_of(args.name, args.token)

    def show(lines: list[dict[str, Any]], number: int = 0) -> None:
        for each in lines:
            of_task = not args.task or f".{args.task}" in each["logger"]
            if not of_task or ranks.get(each["level"], 20) < ranks[args.level]:
                continue
            if number:
                each["copy"] = number
            if args.json:
                print(json.dumps(each), flush=True)
                continue
            text = f"{clock(each['time'])} {each['level']} {each['logger']}: {each['text']}"
            if "copy" in each:
                text += f" [copy={each['copy']}]"
            print_line(text, STYLES.get(each["level"], ""))

    if args.no_follow:
        show(client.read("log.json"))
        return 0
    for lines in _followed(client):
        show(*lines)
    return 0


def _copies(client: Client) -> list[int]:
    """Return the numbers of the copies of a service; none: it is one process."""
    return sorted({each["number"] for each in client.status().get("copies", ())})


def _followed(client: Client) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Give the log lines of a service as they come, with the number of their copy; 0: it has none.

    Raises:
        NoAnswerError: the service does not answer.
    """
    numbers = _copies(client)
    if not numbers:
        yield from ((data, 0) for name, data in client.events() if name == "log")
        return
    came: SimpleQueue[tuple[list[dict[str, Any]], int] | None] = SimpleQueue()
    for number in numbers:
        args = (copy(client), number, came)
        threading.Thread(target=_follow, args=args, name=f"copy {number}", daemon=True).start()
    for _ in numbers:
        yield from iter(came.get, None)


def _follow(client: Client, number: int, came: SimpleQueue[Any]) -> None:
    """Put the log lines of a copy, and of those that replace it, into a queue; None at the end."""
    last = 0.0
    while True:
        with suppress(NoAnswerError):
            for name, data in client.events(number):
                if name == "log" and (new := [each for each in data if each["time"] > last]):
                    last = new[-1]["time"]
                    came.put((new, number))
        try:  # the copy that answered was replaced
            if number not in _copies(client):
                break
        except NoAnswerError as error:  # a copy that starts or stops may refuse
            if isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError):
                break
        time.sleep(AGAIN)
    came.put(None)


def stacks(argv: list[str]) -> int:
    """Show where each thread and coroutine of one service is now."""
    args = _parsed(_parser("stacks", "Show where each thread and coroutine is now."), argv)
    print(plain(client_of(args.name, args.token).get("stacks")), end="")
    return 0


def get(argv: list[str]) -> int:
    """Show options of one service."""
    parser = _parser("get", "Show the options of one service, or the value of one.")
    parser.add_argument("option", nargs="?", help="as --http-port, or http_port")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = _parsed(parser, _words(argv))
    found = client_of(args.name, args.token).status()["options"]
    if args.option is not None:
        name = _option(args.option)
        if name not in found:
            near = {each.lower(): each for each in found}.get(name.lower()) or nearest(name, found)
            hint = f"Did you mean {near!r}?" if near else f"See `sparts get {args.name}`."
            raise UsageError(f"{args.name} has no option {args.option!r}. {hint}")
        if args.json:
            print_json(found[name])
        else:
            print(plain(_shown(found[name])))
    elif args.json:
        print_json(found)
    else:
        print_table(("OPTION", "VALUE"), [(name, _shown(each)) for name, each in found.items()])
    return 0


def _words(argv: list[str]) -> list[str]:
    """Return the words, the options of the service without the dashes that would make them ours."""
    ours = ("--json", "--token", "--help")
    kept = ("--", *ours)
    return [
        each if each in kept or each.startswith(ours) else each.removeprefix("--") for each in argv
    ]


def _option(text: str) -> str:
    return text.replace("-", "_")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def set_option(argv: list[str]) -> int:
    """Set an option of one service while it runs."""
    parser = _parser("set", "Set an option of one service while it runs.")
    parser.add_argument("option", help="as --http-port, or http_port")
    parser.add_argument("value", help='the new value; "" for none')
    args = _parsed(parser, _words(argv))
    client = client_of(args.name, args.token)
    print(plain(client.act("option", name=_option(args.option), value=args.value or None)))
    return 0


def scale(argv: list[str]) -> int:
    """Change how many copies of one service run."""
    parser = _parser("scale", "Change how many copies of one service run (--processes).")
    parser.add_argument("number", type=int, metavar="N", help="how many copies there are to be")
    args = _parsed(parser, argv)
    print(plain(client_of(args.name, args.token).act("scale", number=args.number)))
    return 0


def restart(argv: list[str]) -> int:
    """Restart one service, or one of its tasks."""
    return _act("restart", "Restart one service, or one of its tasks.", "restart", argv)


def stop(argv: list[str]) -> int:
    """Stop one service, or one of its tasks."""
    return _act("stop", "Stop one service, or one of its tasks.", "shutdown", argv)


def drain(argv: list[str]) -> int:
    """Have one service, or one of its tasks, finish its work and stop."""
    text = "Have one service, or one of its tasks, finish its work and stop."
    return _act("drain", text, "drain", argv)


def _act(command: str, description: str, action: str, argv: list[str]) -> int:
    parser = _parser(command, description)
    parser.add_argument("task", nargs="?", metavar="TASK", help="one of its tasks")
    args = _parsed(parser, argv)
    client = client_of(args.name, args.token)
    if args.task is None:
        print(plain(client.act(action)))
    else:
        print(plain(client.act("drain" if action == "shutdown" else action, task=args.task)))
    return 0


def top(argv: list[str]) -> int:
    """Watch services and their tasks live, and act on them."""
    parser = argparse.ArgumentParser(
        prog="sparts top", description="Watch services and their tasks live, and act on them."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=NAME)
    parser.add_argument("--token", default="", help="as for the other commands")
    args = _parsed(parser, argv)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("`sparts top` needs a terminal. `sparts ps` and `sparts status` do not.")
    try:
        from sparts.tasks.tornado.console.top import Top
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise SpartsError(
            "`sparts top` needs an extra: pip install 'sparts-tornado[console]'"
        ) from error
    client = client_of(args.name, args.token) if args.name else None
    threading.Thread(target=_end_with_terminal, daemon=True).start()
    return Top(client).run() or 0


def _end_with_terminal() -> None:
    """End this process when its terminal is gone; textual would read from it again and again."""
    terminal = select.poll()
    terminal.register(0, 0)  # nothing but that
    if any(event & select.POLLHUP for _, event in terminal.poll()):  # else this system cannot tell
        os.kill(os.getpid(), signal.SIGHUP)
