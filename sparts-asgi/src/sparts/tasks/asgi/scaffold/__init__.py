"""``sparts new service NAME --asgi FRAMEWORK``: a service of an ASGI application."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

from sparts.cli.new import render_folder, tell, version_of, words_of, write_project

FRAMEWORKS = {"fastapi": ', "fastapi>=0.115"', "starlette": ', "starlette>=0.40"', "plain": ""}
"""What an application can be made with, and what a project needs for it."""


def main(argv: list[str]) -> int:
    """Write a project into a new folder, and say what to do next.

    Raises:
        UsageError: the name is none for a project, or its folder exists.
    """
    parser = argparse.ArgumentParser(
        prog="sparts new-asgi",
        description="Write a complete project for a service of an ASGI application. "
        "`sparts new service NAME --asgi FRAMEWORK` does the same.",
    )
    parser.add_argument("kind", choices=["service"], help="what to write")
    parser.add_argument(
        "name", metavar="NAME", help="the name of the distribution, such as acme-shop"
    )
    parser.add_argument(
        "framework",
        metavar="FRAMEWORK",
        choices=FRAMEWORKS,
        help=f"what the application is made with: {', '.join(FRAMEWORKS)}",
    )
    parser.add_argument(
        "--in", dest="parent", metavar="FOLDER", default=".", help="where to make its folder"
    )
    args = parser.parse_args(argv)
    tell(write_asgi_service(args.name, args.framework, Path(args.parent)))
    return 0


def write_asgi_service(name: str, framework: str, parent: Path) -> Path:
    """Write a service of an application into ``parent / name``, and return that.

    Raises:
        UsageError: see `main`.
    """
    major, minor = [*version_of("sparts-asgi").split("."), "0"][:2]
    words = {
        **words_of("service", name),
        "summary": "Serves an application over HTTP.",
        "needs": f', "sparts-asgi>={major}.{minor},<{int(major) + 1}"{FRAMEWORKS[framework]}',
    }
    templates = resources.files("sparts.tasks.asgi.scaffold") / "templates"
    files = dict(render_folder(templates / "every", words))
    files.update(render_folder(templates / framework, words))
    return write_project("service", name, parent, words, files)
