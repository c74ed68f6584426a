"""``sparts rpc``: what methods a server has, and interface files for other languages."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

from sparts.errors import UsageError
from sparts.masking import one_line
from sparts.rpc.clients import provided, providers
from sparts.rpc.interface import Interface

IDL = "idl-"
"""What the names of entry points begin with that write interface files."""


def main(argv: list[str]) -> int:
    """List the RPC methods of a server; print their IDL.

    Raises:
        UsageError: something cannot be found, or no installed distribution provides it.
    """
    parser = argparse.ArgumentParser(
        prog="sparts rpc", description="Look at the RPC methods of services."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lister = commands.add_parser("list", help="print the methods that a server has")
    lister.add_argument("url", metavar="URL", help="such as http://127.0.0.1:8090")
    idl = commands.add_parser("idl", help="print an interface file of a service")
    writers = [entry for entry in providers() if entry.name.startswith(IDL)]
    kinds = idl.add_mutually_exclusive_group(required=True) if writers else idl
    for entry in writers:
        name, text = entry.name.removeprefix(IDL), f"by {entry.distribution}"
        kinds.add_argument(f"--{name}", dest="kind", action="store_const", const=name, help=text)
    idl.add_argument("target", metavar="MODULE:SERVICE", help="the service, or an RPC task of it")
    args = parser.parse_args(argv)
    if args.command == "list":
        scheme = urlsplit(args.url).scheme
        client = provided(scheme, f"{args.url!r} cannot be asked").load()
        if not hasattr(client, "list_methods"):
            raise UsageError(f"Servers at {scheme}: URLs do not say what methods they have.")
        print("\n".join(map(one_line, client.list_methods(args.url))))
    elif not writers:
        raise UsageError("Install sparts-thrift or sparts-grpc, which write interface files.")
    else:
        write = provided(IDL + args.kind, f"--{args.kind}").load()
        print(write(interfaces_of(args.target)), end="")
    return 0


def interfaces_of(target: str) -> list[Interface]:
    """Return what the RPC tasks of a service describe.

    Raises:
        UsageError: the service cannot be found, or has no RPC task.
    """
    from sparts.cli.targets import find_tasks
    from sparts.rpc.task import RPCTask

    found = [task.interface() for task in find_tasks([target]) if issubclass(task, RPCTask)]
    if not found:
        raise UsageError(f"{target} has no RPCTask.")
    return found
