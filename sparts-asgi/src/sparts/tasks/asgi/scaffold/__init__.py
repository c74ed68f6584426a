"""``sparts new service NAME --asgi FRAMEWORK``: a service of an ASGI application."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from sparts.cli import find_command

FRAMEWORKS = {"fastapi": ', "fastapi>=0.115"', "starlette": ', "starlette>=0.40"', "plain": ""}
"""What an application can be made with, and what a project needs for it."""


def main(argv: list[str]) -> int:
    """Write a project of an HTTP API (FastAPI, Starlette).

    Raises:
        UsageError: the name is none for a project, or its folder exists.
    """
    find_command("new")  # it says what to install
    from sparts.dev import scaffold

    parser = scaffold.parser(
        "sparts new-asgi",
        "Write a complete project for a service of an ASGI application. "
        "`sparts new service NAME --asgi FRAMEWORK` does the same.",
        ["service"],
        "acme-shop",
    )
    parser.add_argument(
        "framework",
        metavar="FRAMEWORK",
        choices=FRAMEWORKS,
        help=f"what the application is made with: {', '.join(FRAMEWORKS)}",
    )
    args = parser.parse_args(argv)
    scaffold.tell(write_asgi_service(args.name, args.framework, Path(args.parent)))
    return 0


def write_asgi_service(name: str, framework: str, parent: Path) -> Path:
    """Write a service of an application into ``parent / name``, and return that.

    Raises:
        UsageError: see `main`.
    """
    from sparts.dev import scaffold

    words = {
        "summary": "Serves an application over HTTP.",
        "needs": f', "{scaffold.requirement("sparts-asgi")}"{FRAMEWORKS[framework]}',
        "arguments": '        "--@@flag@@-port",\n        "0",\n',
    }
    templates = resources.files("sparts.tasks.asgi.scaffold") / "templates"
    folders = [templates / "every", templates / framework]
    return scaffold.write_project("service", name, parent, words, folders)
