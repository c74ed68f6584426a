"""Errors and other objects that cannot be shown, as their own methods raise."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from sparts.errors import describe, message_of, text_of, traceback_of
from sparts.logs.formats import JSONFormatter, TextFormatter


class Broken(Exception):  # noqa: N818 - the name is shown
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class BrokenText(str):
    def __format__(self, spec: str) -> str:
        raise RuntimeError

    __str__ = __repr__ = Broken.__str__


def hostile() -> Exception:
    """Return an error of which next to nothing can be asked."""

    class NamelessType(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    class Hostile(Broken, metaclass=NamelessType):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError

        @property
        def __cause__(self) -> None:  # type: ignore[override]
            raise RuntimeError

    return Hostile()


def test_errors_are_described_by_type_and_message() -> None:
    assert describe(ValueError("too long")) == "ValueError: too long"
    assert message_of(ValueError("too long")) == "too long"
    assert message_of(ValueError()) == "ValueError"
    assert text_of({1: "a"}, repr) == "{1: 'a'}"


@pytest.mark.parametrize("make", [Broken, hostile])
def test_error_that_cannot_be_shown_is_described(make: Callable[[], Exception]) -> None:
    name = "Broken" if make is Broken else "Hostile"
    shown = f"<{name} that cannot be shown: SystemExit>"
    error = make()
    assert describe(error) == f"{name}: {shown}"
    assert message_of(error) == shown
    assert text_of([error], repr) == "<list that cannot be shown: SystemExit>"
    try:
        raise error
    except Exception as caught:
        text = traceback_of(caught)
    assert text.startswith("Traceback (most recent call last):")
    assert "raise error" in text


def test_text_of_a_subclass_becomes_a_plain_string() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            return BrokenText("odd")

    assert type(text_of(OddError())) is str
    assert describe(OddError()) == "OddError: odd"


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("S.A", logging.ERROR, "task.py", 7, message, args, info)


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter(["S"])])
def test_no_line_is_lost_for_unshowable_objects(formatter: logging.Formatter) -> None:
    line = formatter.format(record("took %s and %s", Broken(), 5))
    assert "took %s and %s (cannot be formatted with <Broken that cannot be shown: " in line
    assert "5: SystemExit, at task.py:7)" in line
    assert "S.A" in line
    line = formatter.format(record("it failed", error=hostile()))
    assert "it failed" in line
    assert "<Hostile that cannot be shown: SystemExit>" in line


class OddNumber(int):
    __str__ = __repr__ = Broken.__str__


class OddDict(dict[str, int]):
    def items(self) -> object:  # type: ignore[override]
        raise RuntimeError

    __iter__ = __repr__ = __str__ = items  # type: ignore[assignment]


def test_unshowable_extra_field_keeps_its_line() -> None:
    entry = record("look")
    entry.plain = 1
    entry.a, entry.b = Broken(), {"in": Broken()}
    entry.c, entry.d = OddNumber(5), OddDict(a=1)
    fields = json.loads(JSONFormatter(["S"]).format(entry))
    assert fields.keys() >= {"plain", "a", "b", "c", "d"}
    assert fields["a"] == "<Broken that cannot be shown: SystemExit>"
    assert fields["message"] == "look"
