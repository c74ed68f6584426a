"""``-h``: groups, defaults, variables, 80 columns."""

from __future__ import annotations

import contextlib
import io
from enum import Enum
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.option_types import duration
from sparts.options import option
from sparts.vservice import VService

from tests.core.option_owners import parsed, service_of, task_of


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def output_of(service: Any, flag: str = "-h") -> str:
    """What a service prints for a flag that ends it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        service.from_args([flag])
    assert ended.value.code == 0
    return printed.getvalue()


class Hue(Enum):
    RED = 1
    BLUE = 2


ALPHA = task_of(
    "Alpha",
    prefix="alpha",
    __doc__="Does 100% of alpha.\n\nAnd more.",
    size=option(type=int, default=3),
)
BETA = task_of(
    "Beta",
    prefix=None,
    __doc__="Does beta.",
    pause=option(type=duration, default="1m", help="rest"),
)


def test_options_are_grouped_by_task() -> None:
    text = output_of(service_of(BETA, ALPHA))
    order = [
        "options of the service:",
        "--level",
        "Beta:\n  Does beta.\n",
        "--Beta-pause",
        "Alpha:\n  Does 100% of alpha.\n",
        "--alpha-size",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "And more" not in text


def test_docstring_is_inherited_and_empty_group_left_out() -> None:
    derived = type("Derived", (ALPHA,), {"OPT_PREFIX": "derived"})
    text = output_of(service_of(derived, task_of("Silent", prefix=None)))
    assert "Derived:\n  Does 100% of alpha." in text
    assert "Silent" not in text


HIDDEN: dict[str, Any] = {"secret": True, "default": "s3cr3t-default"}


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        (option(type=int, default=3), "THING [default: 3; "),
        (option(type=duration, default="1m", help="rest"), "rest [default: 60s; "),
        (option(type=duration, default=0.0), "[default: 0s; "),
        (option(choices=["a", "b"], required=True), "{a,b} [required; "),
        (option(choices=[Hue.RED], default=Hue.RED), "{RED} [default: RED; "),
        (option(type=Hue), "{RED,BLUE} ["),
        (option(help="50% of %s"), "50% of %s ["),
        (option(help="5 %% x"), "5 % x ["),
        (option(default="C", help="is %(default)s"), "is C ["),
        (option(**HIDDEN), "THING [secret; "),
        (option(**HIDDEN, help="not %(default)s"), "not ******** [secret; "),
        (option(default=None), "THING ["),
        (option(default=""), "THING ["),
        (option(default=False, type=bool), "--no-thing ["),
        (option(default=[], nargs="*"), "[THING ...] ["),
    ],
)
def test_option_shows_values_default_and_variable(declared: Any, shown: str) -> None:
    text = " ".join(output_of(service_of(thing=declared)).split())
    assert f"{shown}env: MYSERVICE_THING]" in text
    assert "s3cr3t" not in text


def test_default_from_service_is_one_that_shows() -> None:
    task = task_of(DEFAULT_PORT=1, port=option(type=int, default=lambda cls: cls.DEFAULT_PORT))
    assert "default: 8000" in output_of(service_of(task, DEFAULT_PORT=8000))


def test_help_fits_80_columns_with_long_names() -> None:
    long = task_of(
        "ALongNameOfATask",
        prefix=None,
        a_long_option_name=option(help="word " * 60),
        fast=option(type=bool, default=False, help="word " * 30),
        __doc__="This docstring is longer than the eighty columns of a terminal, and so it wraps.",
    )
    text = output_of(service_of(long))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("usage: ")
    assert len(text.partition("\n\n")[0].splitlines()) == 1


GAMMA = task_of(
    "Gamma",
    prefix="gamma",
    __doc__="Has only advanced options.",
    depth=option(type=int, default=7, advanced=True),
)


def test_help_shows_six_options_of_every_service() -> None:
    text = output_of(service_of())
    flags = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert flags == [
        "--help-all", "--tasks", "--stop-timeout", "--config", "--level", "--logfile", "--dryrun",
    ]  # fmt: skip


def test_advanced_options_are_in_help_all_only() -> None:
    service = service_of(GAMMA, ALPHA)
    short = output_of(service)
    assert "gamma" not in short
    assert "Gamma" not in short
    assert "--alpha-size" in short
    whole = output_of(service, "--help-all")
    assert "Gamma:\n  Has only advanced options.\n" in whole
    assert "--gamma-depth DEPTH" in whole
    assert "--daemon" in whole


def test_advanced_options_are_accepted_as_any_other() -> None:
    assert parsed(service_of(GAMMA), "--gamma-depth", "8").gamma_depth == 8


def test_service_may_have_an_option_help_all() -> None:
    service = service_of(help_all=option(default="mine"))
    assert parsed(service, "--help-all", "x").help_all == "x"


OPTION_OF_TELEMETRY = """
telemetry:
  What sparts-otel adds where it is installed.

  --otel-endpoint URL   send traces and metrics there by OTLP over HTTP [env:
                        MYSERVICE_OTEL_ENDPOINT]
"""


def test_http_service_has_a_short_help() -> None:
    service = type("MyService", (VService,), {"TASKS": ["TornadoHTTPTask"]})
    text = output_of(service)
    assert len(text.splitlines()) <= 40 - len(OPTION_OF_TELEMETRY.splitlines())
    for name in ("host", "port", "sock", "tls-cert", "tls-key"):
        assert f"--http-{name} " in text
    assert "--http-max-body" not in text


def test_sizes_are_shown_with_their_units() -> None:
    text = output_of(service_of("TornadoHTTPTask"), "--help-all")
    assert "[default: 10MiB;" in " ".join(text.split())


def test_flags_cannot_be_shortened() -> None:
    with pytest.raises(OptionError, match="Did you mean '--dryrun'"):
        parsed(service_of(), "--dryru")
