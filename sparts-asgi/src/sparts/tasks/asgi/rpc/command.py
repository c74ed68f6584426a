"""``sparts call``: a call over HTTP from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress

import msgspec
from sparts.errors import UsageError
from sparts.tasks.asgi.rpc.plain import PlainCall


def main(argv: list[str]) -> int:
    """Call an RPC method over HTTP, and print its result as JSON.

    Raises:
        UsageError: the words are wrong.
        RPCError: the call has failed, or the server cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="sparts call",
        description="Call an RPC method over HTTP, and print its result as JSON. An error is "
        "printed as JSON too (problem details), and the exit status is 1.",
        epilog="""example: sparts call http://127.0.0.1:8090 Geo.distance '{"a": {"x": 0}}'""",
    )
    parser.add_argument("url", metavar="URL", help="http://HOST:PORT, https: or unix:/PATH")
    parser.add_argument("method", metavar="TASK.METHOD", help="such as Geo.distance")
    parser.add_argument(
        "arguments", metavar="JSON", nargs="?", default="{}", help="an object; -: standard input"
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="may be repeated"
    )
    args = parser.parse_args(argv)
    text = sys.stdin.read() if args.arguments == "-" else args.arguments
    try:
        given = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"The arguments are no JSON: {error}") from error
    if not isinstance(given, dict):
        raise UsageError("The arguments must be a JSON object, such as '{\"a\": 1}'.")
    headers = dict(part.partition(":")[::2] for part in args.header)
    call = PlainCall(args.url, args.timeout, {k.strip(): v.strip() for k, v in headers.items()})
    status, body = call.post("/" + args.method.replace(".", "/"), text.encode())
    print(_shown(body))
    if status == 404 and b"NoSuchMethodError" in body:  # no error of the service's own
        print(f"sparts call: `sparts rpc list {args.url}` lists the methods.", file=sys.stderr)
    return 0 if status == 200 else 1


def _shown(body: bytes) -> str:
    """Return a body as JSON, without what would act on the terminal."""
    with suppress(msgspec.DecodeError):
        body = msgspec.json.format(body)
    shown = body.decode(errors="replace").rstrip("\n")
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in shown)
