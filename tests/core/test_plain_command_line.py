"""Plain command lines are read without argparse, and mean what argparse makes of them."""

from __future__ import annotations

import argparse
import copy
from enum import Enum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sparts import options
from sparts.errors import OptionError, UsageError
from sparts.options import Option, option
from sparts.options.sources import read_plainly
from sparts.vservice import VService

from tests.core.option_owners import parser_of


class Colour(Enum):
    """What ``--colour`` takes."""

    RED = 1
    BLUE = 2


class Many(VService):
    """One option of each form."""

    text: Option[str] = option(default="before")
    number: Option[int] = option(default=3)
    part: Option[float] = option(type=float, choices=[0.5, 1.5], required=True)
    cache: Option[bool] = option(default=True)
    on: Option[bool] = option(action="store_true")
    off: Option[bool] = option(action="store_false")
    colour: Option[Any] = option(type=Colour, default=Colour.RED)
    names: Option[list[str]] = option(nargs="*")
    again: Option[Any] = option(action="append", type=int)
    more: Option[Any] = option(action="extend", type=int)
    louder: Option[Any] = option(action="count", default=0)
    one_or_none: Option[Any] = option(nargs="?", type=int)


NAMES = (
    "text number part cache no-cache on off no-on colour names again more louder one-or-none tex"
)
FLAGS = [f"--{name}" for name in (*NAMES.split(), "tasks")]
VALUES = ["", "x", "5", "-5", "1.5", "2.5", "RED", "red", "-", "--", "a=b", "-x", "a b", "ü", "1e1"]
WORDS = st.one_of(
    st.sampled_from(FLAGS + VALUES),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(VALUES)),
)


def outcome(words: list[str], plainly: bool) -> Any:
    """Give the values of all options and where they come from, or what is wrong."""
    try:
        if plainly:
            found = Many.from_args(words).options
        else:
            found = Many(options.parse_options(parser_of(Many), words)).options
    except UsageError as error:
        return str(error)
    except SystemExit as error:
        return error.code
    state = options.state_of(found)
    assert state is not None
    return {dest: (getattr(found, dest), state.sources[dest]) for dest in state.bindings}


@given(st.lists(WORDS, max_size=5).map(lambda words: ["--part", "0.5", *words]))
@example(["--part=1.5", "--text", "", "--no-cache", "--on", "--off", "--number", "7"])
@example(["--text", "--number"])
@example(["--tasks", ""])
@example(["--number=-5", "--number", "-5"])
@example(["--more", "5", "6", "--more=7"])
def test_plain_reading_agrees_with_argparse(words: list[str]) -> None:
    assert outcome(words, plainly=True) == outcome(words, plainly=False)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--part", "0.5", "--text=a=b", "--no-cache", "--on", "--colour", "blue"],
        ["--number=-5", "--off", "--text", ""],
    ],
)
def test_usual_command_lines_are_plain(words: list[str]) -> None:
    assert read_plainly(Many, (), words) is not None


@pytest.mark.parametrize(
    "words", [["-h"], ["--help"], ["word"], ["--names", "a"], ["--number", "-5"], ["--number=x"]]
)
def test_other_command_lines_are_left_to_argparse(words: list[str]) -> None:
    assert read_plainly(Many, (), words) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"help": option()},
        {"a_b": option(), "other": option("a-b")},
        {"cache": option(default=True), "no_cache": option()},
        {"odd": option(action="append_const")},
        {"none": option(nargs=0)},
        {"letters": option(action="store", nargs="many")},
        {"pair": option(metavar=("FROM", "TO"))},
    ],
    ids=lambda odd: " ".join(odd),
)
def test_odd_declarations_are_left_to_argparse(odd: dict[str, Any]) -> None:
    odd_service: Any = type("OddService", (VService,), odd)
    assert read_plainly(odd_service, (), []) is None
    with pytest.raises(OptionError):
        odd_service.from_args([])


def test_extending_option_takes_whole_words() -> None:
    assert Many.from_args(["--part", "0.5", "--more", "10", "11", "--more=12"]).options.more == [
        *(10, 11, 12)
    ]


def test_namespace_is_one_of_argparse() -> None:
    found = Many.from_args(["--part", "0.5"]).options
    assert isinstance(found, argparse.Namespace)
    assert found == argparse.Namespace(**vars(found)) == copy.copy(found)
    assert ("part" in found, "parts" in found) == (True, False)
    assert repr(found).startswith("Namespace(")


@pytest.mark.parametrize("name", ["_makeArgumentParser", "_buildArgumentParser"])
def test_parsers_of_ones_own_are_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(VService):
        pass

    def make(cls: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = getattr(super(Own, cls), name)()
        parser.add_argument("--mine", default="given")
        return parser

    monkeypatch.setattr(Own, name, classmethod(make), raising=False)
    assert Own.from_args([]).getOption("mine") == "given"
