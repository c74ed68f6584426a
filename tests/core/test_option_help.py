"""``-h``: groups, defaults, variables, 80 columns."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from sparts.option_types import duration
from sparts.options import option

from tests.core.option_owners import service_of, task_of


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_of(service: Any) -> str:
    text: str = service._buildArgumentParser().format_help()
    return text


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


def test_options_are_grouped_by_task_in_the_services_order_with_the_docstrings_first_line() -> None:
    text = help_of(service_of(BETA, ALPHA))
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


def test_docstring_is_inherited_and_a_task_without_options_has_no_group() -> None:
    derived = type("Derived", (ALPHA,), {"OPT_PREFIX": "derived"})
    text = help_of(service_of(derived, task_of("Silent", prefix=None)))
    assert "Derived:\n  Does 100% of alpha." in text
    assert "Silent" not in text


def test_each_option_shows_default_and_variable() -> None:
    text = " ".join(help_of(service_of(ALPHA, BETA)).split())
    assert "[default: 3; env: MYSERVICE_ALPHA_SIZE]" in text
    assert "rest [default: 60s; env: MYSERVICE_BETA_PAUSE]" in text
    assert "[env: MYSERVICE_LOGFILE]" in text


def test_required_and_choices_show() -> None:
    text = " ".join(help_of(service_of(mode=option(choices=["a", "b"], required=True))).split())
    assert "--mode {a,b} [required; env: MYSERVICE_MODE]" in text
    text = " ".join(help_of(service_of(hue=option(choices=[Hue.RED], default=Hue.RED))).split())
    assert "--hue {RED} [default: RED; env: MYSERVICE_HUE]" in text
    text = " ".join(help_of(service_of(hue=option(type=Hue))).split())
    assert "--hue {RED,BLUE} [env: MYSERVICE_HUE]" in text


def test_percent_signs_in_help_are_themselves_unless_argparse_knows_them() -> None:
    text = help_of(
        service_of(
            a=option(help="50% of %s"),
            b=option(help="5 %% x"),
            c=option(default="C", help="is %(default)s"),
        )
    )
    assert "50% of %s" in text
    assert "5 % x" in text
    assert "is C [env: MYSERVICE_C]" in text


def test_secret_default_never_shows() -> None:
    text = help_of(
        service_of(
            a=option(secret=True, default="s3cr3t-default"),
            b=option(secret=True, default="s3cr3t-default", help="not %(default)s"),
        )
    )
    assert "s3cr3t-default" not in text
    assert "[secret; env: MYSERVICE_A]" in text


def test_default_from_the_service_is_the_one_that_shows() -> None:
    task = task_of(DEFAULT_PORT=1, port=option(type=int, default=lambda cls: cls.DEFAULT_PORT))
    assert "default: 8000" in help_of(service_of(task, DEFAULT_PORT=8000))


def test_help_fits_80_columns_with_long_names_and_texts() -> None:
    long = task_of(
        "ALongNameOfATask",
        prefix=None,
        a_long_option_name=option(help="word " * 60),
        fast=option(type=bool, default=False, help="word " * 30),
        __doc__="This docstring is longer than the eighty columns of a terminal, and so it wraps.",
    )
    text = help_of(service_of(long))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("usage: ")
    assert len(text.partition("\n\n")[0].splitlines()) == 1
