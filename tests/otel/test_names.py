"""The attributes of spans and resources have the names of the newest semantic conventions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sparts.otel
from opentelemetry.semconv import attributes
from opentelemetry.semconv._incubating import attributes as incubating

CONSTANT = re.compile(r'^[A-Z0-9_]+: Final = \(?\s*"([^"]+)"\s*\)?\n"""(.*?)"""', re.M | re.S)
NAME = re.compile(r'"([a-z_]+(?:\.[a-z_]+)+)"')
OURS = ("sparts.", "opentelemetry.")


def conventions() -> dict[str, str]:
    """Return the names of attributes, each with what is said of it."""
    files = [
        each
        for package in (incubating, attributes)
        for folder in package.__path__
        for each in Path(folder).glob("*.py")
    ]
    return {name: said for each in files for name, said in CONSTANT.findall(each.read_text())}


def used() -> list[str]:
    """Return the names that sparts-otel has in its code."""
    files = [each for folder in sparts.otel.__path__ for each in Path(folder).glob("*.py")]
    found = {name for each in files for name in NAME.findall(each.read_text())}
    return sorted(name for name in found if not name.startswith(OURS))


@pytest.mark.parametrize("name", used())
def test_attribute_is_one_of_the_conventions(name: str) -> None:
    known = conventions()
    assert name in known
    assert not known[name].startswith("Deprecated")
