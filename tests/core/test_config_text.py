"""``--show-config`` and ``--write-config``."""

from __future__ import annotations

import re
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sparts import logs
from sparts.cli.config import toml
from sparts.option_types import duration, endpoint, listof, regex
from sparts.options import option

from tests.core.option_owners import environment, parsed, service_of, task_of


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
        parsed(service, *argv)
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
    for line in (
        "limit = 20  # command line: --limit",
        "[Worker]",
        "fast = false  # environment: MYSERVICE_WORK_FAST",
        f"pause = 2.0  # file: {file}: [work] pause",
        "port = 8  # service class: MyService.DEFAULT_PORT",
        'where = "/a b"  # task class: Worker',
        "#bare =  # task class: Worker",
    ):
        assert line in lines
    values = tomllib.loads(text)
    assert values["Worker"]["tags"] == [1, 2]
    assert {"level", "logfile", "tasks", "stop_timeout"} - {
        line.lstrip("#").partition(" ")[0] for line in lines
    } == set()


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


def test_written_config_changes_nothing_and_uncommented_gives_the_defaults(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = printed(capsys, SERVICE, "--write-config")
    (tmp_path / "x.toml").write_text(text)
    defaults = vars(parsed(SERVICE))
    kept = {name: value for name, value in defaults.items() if not name.startswith("_sparts")}
    assert kept == {n: vars(parsed(SERVICE, "--config", str(tmp_path / "x.toml")))[n] for n in kept}
    live = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    assert (
        len(tomllib.loads(live)["Worker"]) == 10
    )  # all but the secret and the one without default
    (tmp_path / "x.toml").write_text(live)
    assert kept == {n: vars(parsed(SERVICE, "--config", str(tmp_path / "x.toml")))[n] for n in kept}


def test_written_config_comments_every_option_with_help_choices_and_variable(
    capsys: pytest.CaptureFixture[str],
) -> None:
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
def test_any_value_is_written_as_toml_that_reads_back(value: Any) -> None:
    found = tomllib.loads(f"x = {toml(value)}")["x"]
    assert repr(found) == repr(value)
