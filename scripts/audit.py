"""Ask the registry whether a version in requirements.lock is known to be vulnerable: `make audit`.

The source is the JSON API of PyPI (https://docs.pypi.org/api/json/), whose `vulnerabilities` are
those of OSV; SPARTS_AUDIT_API names another that answers alike. The exit status is 1 if one is
known. Where the registry cannot be reached or does not tell (a mirror), nothing is audited: that is
said, and is no failure.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
API = "https://pypi.org/pypi"
PROBE = ("pluggy", "1.6.0")
TIMEOUT = 20.0


def find_pins(text: str) -> list[tuple[str, str]]:
    """Find the names and versions that a lock pins."""
    return re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)


def find_known(api: str, name: str, version: str) -> list[dict[str, Any]] | None:
    """Ask for what is known of a version; None if the registry does not tell."""
    try:
        with urllib.request.urlopen(f"{api}/{name}/{version}/json", timeout=TIMEOUT) as answer:  # noqa: S310
            known = json.load(answer).get("vulnerabilities")
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return None
    return known if isinstance(known, list) else None


def audit(api: str, pins: list[tuple[str, str]]) -> Iterator[str]:
    """Give a line for each vulnerability that is known and not withdrawn."""
    for name, version in pins:
        for found in find_known(api, name, version) or ():
            if not found.get("withdrawn"):
                mended = ", ".join(found.get("fixed_in") or []) or "no version yet"
                yield f"{name} {version}: {found.get('id')}, mended in {mended}"


def main() -> int:
    """Audit the lock, and give the exit status."""
    api = os.environ.get("SPARTS_AUDIT_API", API)
    pins = find_pins(LOCK.read_text(encoding="utf-8"))
    if find_known(api, *PROBE) is None:
        print(f"audit: left out, since {api} does not report vulnerabilities here")
        return 0
    known = list(audit(api, pins))
    print("\n".join([*known, f"audit: {len(pins)} versions, {len(known)} known vulnerabilities"]))
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
