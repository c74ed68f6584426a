"""The page at ``/``: the methods, their documentation, and a form to try each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.rpc.types import MISSING, Kind

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.rpc.types import Type


async def answer_page(send: Any, name: str, routes: Mapping[str, Any]) -> None:
    """Send the page.

    Args:
        send: ASGI's.
        name: of the service.
        routes: the methods by their paths.
    """
    style, script = _asset("page.css"), _asset("page.js")
    sections = "".join(_section(path, route.method) for path, route in routes.items())
    title = escape(name)
    body = (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n"
        f"<meta name=viewport content='width=device-width'>\n<style>{style}</style>\n"
        f"<h1>{title}</h1>\n<p><a href=openapi.json>OpenAPI</a></p>\n{sections}"
        f"<script>{script}</script>\n</html>\n"
    ).encode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; "
        f"script-src 'sha256-{_hash(script)}'; connect-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'"
    )
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _asset(name: str) -> str:
    return files("sparts.tasks.asgi.rpc").joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def signature(method: Method) -> str:
    """Return a method as Python writes it: ``distance(a: Point, b: Point) -> float``."""
    shown = []
    for each in method.parameters:
        default = "" if each.default is MISSING else f" = {each.default!r}"
        kind = f"stream of {each.type.name}" if each.is_stream else each.type.name
        shown.append(f"{each.name}: {kind}{default}")
    result = f"stream of {method.result.name}" if method.streams else method.result.name
    return f"{method.name}({', '.join(shown)}) -> {result}"


def _section(path: str, method: Method) -> str:
    example = {each.name: _example(each.type) for each in method.parameters if each.required}
    for each in method.parameters:
        if each.is_stream:
            example[each.name] = [_example(each.type)]
    errors = "".join(f"<li><code>{escape(name)}</code></li>" for name in method.errors)
    text = escape(msgspec.json.format(msgspec.json.encode(example)).decode())
    label = escape(f"Arguments of {method.qualified}")
    return (
        f"<section id='{escape(method.qualified)}'><h2>{escape(method.qualified)}</h2>\n"
        f"<pre>{escape(signature(method))}</pre>\n<p class=doc>{escape(method.doc)}</p>\n"
        + (f"<p>Errors:</p><ul>{errors}</ul>\n" if errors else "")
        + f"<form data-path='{escape(path[1:])}'><textarea aria-label='{label}' rows=4 "
        f"spellcheck=false>{text}</textarea>\n<button>Call</button></form>\n"
        f"<output aria-live=polite></output></section>\n"
    )


def _example(type_: Type, depth: int = 0) -> Any:
    match type_.kind:
        case Kind.BOOL:
            return False
        case Kind.INT:
            low, high = type_.bounds
            return min(max(0, low), high)
        case Kind.FLOAT:
            return 0.0
        case Kind.LIST | Kind.SET:
            return []
        case Kind.DICT:
            return {}
        case Kind.TUPLE:
            return [_example(each, depth) for each in type_.args]
        case Kind.OPTIONAL | Kind.NONE | Kind.ANY:
            return None
        case Kind.UNION:
            first = type_.args[0]
            found = _example(first, depth)
            return {"type": first.name, **found} if isinstance(found, dict) else found
        case Kind.ENUM:
            return next(iter(type_.cls)).value
        case Kind.STRUCT if depth < 5:
            return {f.wire_name: _example(f.type, depth + 1) for f in type_.fields if f.required}
    examples = {
        Kind.DATETIME: "2026-01-01T00:00:00Z",
        Kind.DATE: "2026-01-01",
        Kind.TIMEDELTA: "PT1S",
        Kind.UUID: "00000000-0000-0000-0000-000000000000",
        Kind.DECIMAL: "0",
    }
    return examples.get(type_.kind, "")
