"""The converters: what they take, what they refuse, and that arbitrary text is one or the other."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparts import logs
from sparts.option_types import (
    Endpoint,
    Expected,
    boolean,
    convert,
    duration,
    endpoint,
    format_size,
    listof,
    path,
    port,
    regex,
    size,
)


class Colour(Enum):
    RED = "#f00"
    Green = "#0f0"


TEXT_LIKE = st.one_of(
    st.text(),
    st.text(alphabet="0123456789.,:[]=-+eE _kKmMgGiIbBshdu"),
    st.from_regex(r"[0-9]{1,30}(\.[0-9]{0,5})?(ms|s|m|h|KiB|MB)?", fullmatch=True),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT_LIKE | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


READ: list[tuple[Any, dict[str, object]]] = [
    (duration, {"250ms": 0.25, "5s": 5.0, "2m": 120.0, "1h": 3600.0, "1h30m": 5400.0}),
    (duration, {"1.5h": 5400.0, "1d": 86400.0, "10us": pytest.approx(1e-5), " 3s ": 3.0}),
    (duration, {"7": 7.0, "0.5": 0.5}),
    (size, {"4096": 4096, "64KiB": 65536, "64kib": 65536, "64K": 65536, "64kB": 64000}),
    (size, {"1.5MiB": 1572864, "2G": 2 << 30, "1TB": 10**12, "10 MB": 10**7, "5B": 5, "0": 0}),
    (port, {"0": 0, "65535": 65535}),
    (boolean, {"yes": True, "ON": True, "1": True, "0": False, "False": False, "off": False}),
    (Colour, dict.fromkeys(("RED", "red", "#f00", "#F00"), Colour.RED)),
    (listof(int), {"1, 2,3": [1, 2, 3], "": []}),
]


@pytest.mark.parametrize(("kind", "values"), READ)
def test_text_is_read_as_its_value(kind: Any, values: dict[str, object]) -> None:
    assert {text: convert(kind, text) for text in values} == values


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        (duration, ["", "s", "-1s", "1 s", "5S", "1w"], "a duration such as 250ms, 5s, 2m or 1h"),
        (duration, ["nan", "inf", "9" * 400, "1e5"], "a duration such as 250ms, 5s, 2m or 1h"),
        (size, ["", "KiB", "-1", "1.5B", "0.1KiB", "64Ki B"], "a size such as"),
        (size, ["1EiB", "i", "5i", "5ib"], "a size such as"),
        (endpoint, ["", "db", "db:", "::1:80", "db:65536"], "host:port"),
        (endpoint, ["http://x:80", "a b:1", "u@h:1"], "host:port"),
        (partial(convert, Colour), ["blue"], "one of RED, Green"),
        (partial(convert, listof(int)), ["1,x"], "a whole number"),
        (port, ["-1", "65536", "http", "", "1.0", "٣", "8_0", "8 0"], "a port from 0 to 65535"),
    ],
)
def test_wrong_text_is_refused(kind: Any, texts: list[str], expected: str) -> None:
    for text in texts:
        with pytest.raises(Expected, match=expected):
            kind(text)


def test_endpoint_reads_back() -> None:
    texts = {"db:5432": ("db", 5432), "[::1]:80": ("::1", 80), ":80": ("", 80)}
    for text, found in {**texts, "10.0.0.1:0": ("10.0.0.1", 0)}.items():
        assert endpoint(text) == Endpoint(*found)
        assert endpoint(str(Endpoint(*found))) == found


def test_regex_compiles_or_says_where_it_is_wrong() -> None:
    assert regex("a+").match("aa")
    with pytest.raises(Expected, match=r"a regular expression \(.* at position 0\)"):
        regex("(a")


def test_path_expands_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert path("~/x") == Path("/home/me/x")
    assert path("~no-such-user/x") == Path("~no-such-user/x")
    with pytest.raises(Expected):
        path("a\0b")
    monkeypatch.setattr("os.path.expanduser", lambda name: name)  # as without HOME and an entry
    for text in ("~", "~/x"):
        with pytest.raises(Expected, match="a path without ~, as HOME is not set"):
            path(text)
    assert path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_list_is_split_at_commas() -> None:
    assert convert(listof(port), [1, "2"]) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (int, 5, 5),
        (float, 5, 5.0),
        (duration, 5, 5.0),
        (duration, 0.5, 0.5),
        (bool, True, True),
        (size, 4096, 4096),
        (port, 80, 80),
        (Path, "x", Path("x")),
        (str, "x", "x"),
        (Decimal, 1.5, Decimal("1.5")),
        (datetime.date.fromisoformat, datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)),
        (Colour, Colour.RED, Colour.RED),
        (endpoint, Endpoint("a", 1), Endpoint("a", 1)),
    ],
)
def test_typed_value_stays_what_it_is(kind: Any, raw: Any, value: Any) -> None:
    found = convert(kind, raw)
    assert found == value
    assert type(found) is type(value)


REFUSED: list[tuple[Any, list[object]]] = [
    (int, [True, 1.5, [1], {"a": 1}]),
    (str, [5]),
    (None, [True]),
    (Path, [5]),
    (float, [False]),
    (bool, [1.5]),
    (port, [65536]),
    (duration, [-1, float("nan"), datetime.time(1, 2)]),
    (listof(int), [5]),
    (endpoint, [80]),
    (regex, [5]),
]


@pytest.mark.parametrize(("kind", "values"), REFUSED)
def test_value_of_another_type_is_refused(kind: Any, values: list[object]) -> None:
    for raw in values:
        with pytest.raises(Expected):
            convert(kind, raw)


def test_refusal_of_a_custom_type_keeps_its_reason() -> None:
    def fussy(text: str) -> int:
        raise KeyError("no such planet")

    with pytest.raises(Expected, match=r"a value that fussy takes \('no such planet'\)"):
        convert(fussy, "x")


KINDS = [kind for kind, _ in [*READ, *REFUSED]]
KINDS += [re.compile, path, logs.level_name, logs.level_for, Decimal, complex]
KINDS += [datetime.date.fromisoformat, bytes.fromhex, listof(Colour)]


@given(kind=st.sampled_from(KINDS), raw=VALUES)
def test_anything_at_all_is_value_or_clear_refusal(kind: Any, raw: Any) -> None:
    try:
        convert(kind, raw)
    except Expected as refusal:
        said = str(refusal)
    else:
        said = "a value"
    assert said


@given(st.integers(min_value=0, max_value=10**9))
def test_duration_in_milliseconds_reads_back(count: int) -> None:
    assert duration(f"{count}ms") == pytest.approx(count / 1000)


@given(
    st.text(
        alphabet=st.characters(exclude_characters=",", exclude_categories=["Zs", "Cc", "Zl", "Zp"]),
        min_size=1,
    )
)
def test_text_without_comma_is_one_item(text: str) -> None:
    assert convert(listof(str), text) == [text]


@given(st.integers(min_value=0, max_value=2**62))
def test_shown_size_reads_as_the_same_number(count: int) -> None:
    assert size(format_size(count)) == count


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0B"), (1001, "1001B"), (65536, "64KiB"), (10485760, "10MiB"), (10**8, "100MB")],
)
def test_size_is_shown_in_its_largest_whole_unit(count: int, shown: str) -> None:
    assert format_size(count) == shown
