"""``--show-config`` and ``--write-config``."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sparts import logs
from sparts.builtin.config.text import toml, written_config
from sparts.kernel.runner import parse_command_line
from sparts.option_types import (
    Endpoint,
    duration,
    endpoint,
    file_mask,
    listof,
    path,
    port,
    regex,
    size,
)
from sparts.options import option, state_of

from tests.core.commands import sparts
from tests.core.option_owners import environment, parsed, service_of, task_of
from tests.core.scripts import script_of


class Colour(Enum):
    RED = 1
    BLUE = 2


TASK = task_of(
    "Worker",
    prefix="work",
    __doc__="Works hard.\n\nAnd more.",
    port=option(type=int, default=lambda cls: cls.DEFAULT_PORT, help="100% of the port"),
    DEFAULT_PORT=1,
    pause=option(type=duration, default="250ms"),
    peer=option(type=endpoint, default="[::1]:80"),
    match=option(type=regex, default=r"a\d+\""),
    colour=option(default=Colour.RED, help="which (default %(default)s)"),
    where=option(default=Path("/a b")),
    tags=option(type=listof(int), default="1,2"),
    names=option(nargs="*", default=["é", 'q"']),
    fast=option(type=bool, default=True),
    loggers=option(type=logs.level_for, action="append", default=[logs.level_for("a=INFO")]),
    token=option(secret=True, default="the-default-token", help="secret, not %(default)s"),
    bare=option(required=False),
)
SERVICE = service_of(TASK, limit=option(type=int, default=10, choices=[10, 20]))


def printed(capsys: pytest.CaptureFixture[str], service: Any, *argv: str) -> str:
    """What is printed before the exit with status 0."""
    with pytest.raises(SystemExit) as end:
        sys.exit(service.initFromOptions(parse_command_line(service, argv)))
    assert end.value.code == 0
    return capsys.readouterr().out


def test_show_config_prints_every_value_with_its_source(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text("[work]\npause = '2s'\n")
    file = str(tmp_path / "x.toml")
    service = service_of(TASK, DEFAULT_PORT=8, limit=option(type=int, default=10))
    with environment(MYSERVICE_WORK_FAST="no"):
        text = printed(capsys, service, "--config", file, "--limit", "20", "--show-config")
    lines = text.splitlines()
    assert {*lines} >= {
        "limit = 20  # command line: --limit",
        "[Worker]",
        "fast = false  # environment: MYSERVICE_WORK_FAST",
        f"pause = 2.0  # file: {file}: [work] pause",
        "port = 8  # service class: MyService.DEFAULT_PORT",
        'where = "/a b"  # task class: Worker',
        "#bare =  # task class: Worker",
    }
    assert tomllib.loads(text)["Worker"]["tags"] == [1, 2]
    names = {line.lstrip("#").partition(" ")[0] for line in lines}
    assert names >= {"level", "logfile", "tasks", "stop_timeout"}


def test_show_config_masks_secrets_wherever_they_came_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text("[work]\ntoken = 'token-of-the-file'\n")
    (tmp_path / "token").write_text("token-of-its-own-file")
    sources: list[tuple[list[str], dict[str, str]]] = [
        (["--work-token", "token-of-the-flag"], {}),
        (["--config", str(tmp_path / "x.toml")], {}),
        ([], {"MYSERVICE_WORK_TOKEN": "token-of-the-variable"}),
        ([], {"MYSERVICE_WORK_TOKEN_FILE": str(tmp_path / "token")}),
        ([], {}),
    ]
    for argv, variables in sources:
        with environment(**variables):
            text = printed(capsys, SERVICE, *argv, "--show-config")
        assert 'token = "********"' in text
        assert not re.search("token-of|the-default", text)


def test_written_config_changes_nothing_and_uncommented_gives_defaults(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = printed(capsys, SERVICE, "--write-config")
    defaults = vars(parsed(SERVICE))
    kept = {
        name: value
        for name, value in defaults.items()
        if name != "config" and not name.startswith("_sparts")
    }
    live = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    # All but the secret and the one without default.
    assert len(tomllib.loads(live)["Worker"]) == 10
    for content in (text, live):
        (tmp_path / "x.toml").write_text(content)
        found = vars(parsed(SERVICE, "--config", str(tmp_path / "x.toml")))
        assert kept == {name: found[name] for name in kept}


def test_written_config_comments_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, SERVICE, "--write-config")
    assert "\n# Works hard.\n[Worker]\n" in text
    assert "# 100% of the port\n# Variable: MYSERVICE_WORK_PORT\n#port = 1\n" in text
    assert "# One of 10, 20.\n" in text
    assert "#token =\n" in text
    assert "the-default-token" not in text
    assert "MYSERVICE_WORK_TOKEN_FILE" in text


def test_written_config_needs_no_required_option(capsys: pytest.CaptureFixture[str]) -> None:
    service = service_of(task_of(key=option(type=int, required=True)))
    assert "# Required.\n" in printed(capsys, service, "--write-config")
    assert "#key =  # " in printed(capsys, service, "--show-config")


@given(
    st.text() | st.lists(st.text()) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats()
)
@example("\x7f\x80\u2028")
def test_any_value_as_toml_reads_back(value: Any) -> None:
    found = tomllib.loads(f"x = {toml(value)}")["x"]
    assert repr(found) == repr(value)


class Swapped(Enum):
    """Members whose values are each other's names."""

    A = "B"
    B = "A"


class Level(IntEnum):
    NONE = 0
    SOME = 1


def mapping(text: str) -> dict[str, int]:
    """A type of somebody's own, which takes JSON."""
    found: dict[str, int] = json.loads(text)
    return found


numbers = st.floats(0, 1e18)
flags = st.lists(st.sampled_from([re.I, re.M, re.S, re.X, re.A])).map(lambda f: sum({0, *f}))
hosts = st.from_regex(r"[a-z0-9.-]{0,9}|[0-9a-f:]*:[0-9a-f]", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]))
SINGLE: dict[Any, st.SearchStrategy[Any]] = {
    None: words,
    str: words,
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    duration: numbers,
    size: st.integers(0, 2**70),
    file_mask: st.integers(0, 0o7777),
    port: st.integers(0, 65535),
    endpoint: st.builds(Endpoint, hosts, st.integers(0, 65535)),
    path: words.filter(lambda name: name and "\0" not in name and name[0] != "~").map(Path),
    regex: st.builds(re.compile, words.map(re.escape), flags),
    Colour: st.sampled_from(Colour),
    Swapped: st.sampled_from(Swapped),
    Level: st.sampled_from(Level),
    Decimal: st.decimals(allow_nan=False),
    date.fromisoformat: st.dates(),
    mapping: st.dictionaries(words, st.integers()),
    logs.level_for: st.builds(logs.LoggerLevel, st.just("a.b"), st.sampled_from(["INFO"])),
}


@st.composite
def declarations(draw: st.DrawFn) -> dict[str, Any]:
    """What an option may be declared as, its default among it."""
    kind = draw(st.sampled_from(list(SINGLE)))
    one = SINGLE[kind]
    form = draw(
        st.sampled_from(["one", "choices", "listof", "*", "+", 2, "append", "extend", "2s"])
    )
    match form:
        case "choices":
            default = draw(one)
            return {"type": kind, "choices": [default], "default": default}
        case "listof" if kind is not None:
            return {"type": listof(kind), "default": draw(st.lists(one))}
        case "*" | "append":
            how = {"nargs": "*"} if form == "*" else {"action": "append"}
            return {"type": kind, "default": draw(st.lists(one)), **how}
        case "+":
            return {"type": kind, "default": draw(st.lists(one, min_size=1)), "nargs": "+"}
        case 2:
            return {"type": kind, "default": [draw(one), draw(one)], "nargs": 2}
        case "extend":
            return {"type": kind, "default": draw(st.lists(one)), "nargs": "*", "action": "extend"}
        case "2s":
            pairs = st.lists(st.tuples(one, one).map(list), min_size=1)
            return {"type": kind, "default": draw(pairs), "nargs": 2, "action": "append"}
    return {"type": kind, "default": draw(one)}


@given(st.lists(declarations(), max_size=5), st.text())
@example([{"action": "count", "default": 3}, {"action": "store_false"}], "\x07\x85\ud800")
@example([{"type": float, "default": float("nan")}, {"default": 5, "type": str}], "")
@example([{"default": object()}, {"type": duration, "default": -1.0}, {"default": "\ud800"}], "")
def test_written_config_is_accepted_whatever_the_options(
    tmp_path_factory: pytest.TempPathFactory, declared: list[dict[str, Any]], text: str
) -> None:
    options = {f"o{i}": option(help=text, **settings) for i, settings in enumerate(declared)}
    service = service_of(task_of("Worker", prefix="work", **options))
    file = tmp_path_factory.getbasetemp() / "written.toml"
    state = state_of(parsed(service))
    assert state is not None
    found = written_config(state)
    for content in (found, re.sub(r"(?m)^#(\w+ = )", r"\1", found)):
        file.write_bytes(content.encode())
        namespace = parsed(service, "--config", str(file))
        for i, settings in enumerate(declared):
            default = settings.get("default", True)
            value = getattr(namespace, f"work_o{i}")
            assert same(value, default) or (settings["type"] is str and value == str(default))


def same(found: object, value: object) -> bool:
    """Whether two values are the same; two patterns also if their flags are written in the text."""
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(same, found, value))
    if isinstance(found, re.Pattern) and isinstance(value, re.Pattern):
        return found.flags == value.flags and found.pattern.endswith(value.pattern)
    return found == value or repr(found) == repr(value)


def test_config_is_utf_8_whatever_the_terminal_takes(tmp_path: Path) -> None:
    body = (
        "from sparts.options import option\nclass S(VService):\n    word = option(default='é€')\n"
    )
    script = [sys.executable, str(script_of(tmp_path, body))]
    for flag in ("--write-config", "--show-config"):
        done = sparts(flag, cwd=tmp_path, by=script, PYTHONIOENCODING="ascii")
        assert (done.status, done.err) == (0, "")
        assert 'word = "é€"' in done.out
