"""A summary of other instances, asked over HTTP when somebody looks at them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from sparts.errors import describe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tornado.simple_httpclient import SimpleAsyncHTTPClient

TIMEOUT = 3.0
"""Seconds that an instance has to answer."""
LARGEST = 4 * 1024 * 1024
"""Bytes that its answer may have."""
_COPIED = ("name", "version", "pid", "status", "status_details", "ready", "uptime")


async def ask_peers(urls: Iterable[str]) -> list[dict[str, Any]]:
    """Return a summary of the instance at each URL, or why there is none; in the loop's thread."""
    from tornado.simple_httpclient import SimpleAsyncHTTPClient  # needed only then

    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=LARGEST)
    try:
        return list(await asyncio.gather(*(_ask(client, url) for url in urls)))
    finally:
        client.close()


async def _ask(client: SimpleAsyncHTTPClient, url: str) -> dict[str, Any]:
    try:
        answer = await client.fetch(
            f"{url.rstrip('/')}/status.json",
            connect_timeout=TIMEOUT,
            request_timeout=TIMEOUT,
            follow_redirects=False,
        )
        return summary(json.loads(answer.body), url)
    except Exception as error:
        return {"url": url, "error": describe(error)}


def summary(told: dict[str, Any], url: str) -> dict[str, Any]:
    """Return what is shown of an instance, from its ``/status.json``."""
    states = [each["state"] for each in told["tasks"]]
    counts = {state: states.count(state) for state in sorted(set(states))}
    warnings = len(told["warnings"])
    copied = {name: told.get(name) for name in _COPIED}
    return {"url": url, **copied, "tasks": counts, "warnings": warnings}
