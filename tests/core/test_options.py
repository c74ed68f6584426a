"""The declaration: names, types, defaults, and the attribute that it becomes."""

from __future__ import annotations

import argparse
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.option_types import duration
from sparts.options import Option, declared_options, option, parse_options, source_of
from sparts.vservice import VService

from tests.core.option_owners import made, parsed, parser_of, service_of, task_of
from tests.processes import captured


class Colour(Enum):
    RED = 1
    BLUE = 2


def test_task_option_has_flag_attribute_and_name() -> None:
    task = task_of(sock_group=option(type=str))
    service = made(service_of(task), "--http-sock-group", "www")
    assert service.options.http_sock_group == "www"
    assert service.requireTask(task).sock_group == "www"


def test_without_prefix_the_class_name_is_the_prefix() -> None:
    service = service_of(task_of("Poll", prefix=None, interval=option(type=float)))
    assert parsed(service, "--Poll-interval", "1", "--Poll-interval=2").Poll_interval == 2.0


def test_service_option_has_no_prefix() -> None:
    service = made(service_of(max_things=option("limit", type=int)), "--limit", "5")
    assert service.options.limit == 5
    assert service.max_things == 5


def test_underscore_is_a_dash_in_the_flag() -> None:
    declared: Option[str] = option("a_b")
    assert declared.flag("my_task") == "--my-task-a-b"
    assert declared.dest("my-task") == "my_task_a_b"


def test_value_is_typed_and_none_stays_none() -> None:
    service = service_of(
        a=option(type=int), b=option(type=int, default="7"), c=option(type=duration, default="5s")
    )
    assert [getattr(made(service), name) for name in "abc"] == [None, 7, 5.0]


def test_type_is_taken_from_default_that_tells_it() -> None:
    service = service_of(
        count=option(default=3), where=option(default=Path("/a")), colour=option(default=Colour.RED)
    )
    ns = parsed(service, "--count", "4", "--where", "/b", "--colour", "blue")
    assert (ns.count, ns.where, ns.colour) == (4, Path("/b"), Colour.BLUE)


def test_boolean_has_a_flag_for_no() -> None:
    service = service_of(fast=option(type=bool, default=True), slow=option(default=False))
    ns = parsed(service, "--no-fast", "--slow")
    assert (ns.fast, ns.slow) == (False, True)
    assert (parsed(service).fast, parsed(service).slow) == (True, False)
    assert parsed(service, "--no-fast", "--fast").fast is True


def test_nargs_and_append_make_lists() -> None:
    service = service_of(
        ports=option(type=int, nargs="*"),
        names=option(action="append"),
        pair=option(type=int, nargs=2),
    )
    ns = parsed(service, "--ports", "1", "2", "--names", "a", "--names", "b", "--pair", "3", "4")
    assert (ns.ports, ns.names, ns.pair) == ([1, 2], ["a", "b"], [3, 4])
    assert parsed(service).names is None


def test_actions_of_argparse_work() -> None:
    class Upper(argparse.Action):
        def __call__(self, parser: Any, ns: Any, values: Any, flag: str | None = None) -> None:
            setattr(ns, self.dest, values.upper())

    service = service_of(
        verbose=option(action="count", default=0),
        quiet=option(action="store_true", default=False),
        loud=option(action="store_false", default=True),
        word=option(action=Upper),
    )
    ns = parsed(service, "--verbose", "--verbose", "--quiet", "--loud", "--word", "x")
    assert (ns.verbose, ns.quiet, ns.loud, ns.word) == (2, True, False, "X")
    ns = parsed(service)
    assert (ns.verbose, ns.quiet, ns.loud, ns.word) == (0, False, True, None)
    bare = parsed(service_of(on=option(action="store_true"), off=option(action="store_false")))
    assert (bare.on, bare.off) == (False, True)


def test_plain_parse_args_gives_typed_defaults() -> None:
    service = service_of(
        task_of(port=option(type=int, default="8000")), pause=option(type=duration, default="1m")
    )
    ns = parser_of(service).parse_args(["--http-port", "9"])
    assert (ns.http_port, ns.pause) == (9, 60.0)
    assert str(source_of(ns, "http_port")) == "command line: --http-port"
    assert not source_of(ns, "pause").explicit


def test_plain_parse_args_converts_a_default_once() -> None:
    service = service_of(word=option(type=lambda text: text + "!", default="a"))
    assert parser_of(service).parse_args([]).word == "a!"
    assert parsed(service).word == "a!"


def test_list_that_is_a_default_is_not_shared() -> None:
    service = service_of(names=option(nargs="*", default=["a"]))
    parsed(service).names.append("b")
    assert parsed(service).names == ["a"]


def test_parser_of_ones_own_keeps_its_arguments() -> None:
    class Own(VService):
        limit = option(type=int, default=1)

        @classmethod
        def _makeArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
            parser = argparse.ArgumentParser(prog="own")
            parser.add_argument("extra")
            parser.add_argument("--show-config", default="mine")
            return parser

    ns = parsed(Own, "positional", "--limit", "2", "--show-config", "x")
    assert (ns.extra, ns.limit, ns.show_config) == ("positional", 2, "x")


def test_parser_without_exit_gives_our_error() -> None:
    make = classmethod(lambda cls: argparse.ArgumentParser(exit_on_error=False))
    own = service_of(limit=option(type=int, required=True), _makeArgumentParser=make)
    with pytest.raises(OptionError, match="--limit: expected a whole number, got 'x'"):
        parsed(own, "--limit", "x")


def test_parser_still_requires_what_is_required() -> None:
    parser = parser_of(service_of(key=option(required=True)))
    parse_options(parser, ["--key", "x"])
    with pytest.raises(SystemExit):
        parser.parse_args([])


PORT: dict[str, Any] = {"port": option(type=int)}


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        (service_of(help=option()), "MyService cannot have the option --help: the parser has"),
        (
            service_of(task_of("One", **PORT), task_of("Two", **PORT)),
            "One and Two both have the option --http-port: give one.*OPT_PREFIX",
        ),
        (
            service_of(task_of(**PORT), http_port=option(type=int)),
            "MyService and HTTP both have the option --http-port",
        ),
        (service_of(limit=option(), LIMIT=option()), "MyService declares MYSERVICE_LIMIT twice"),
    ],
)
def test_flag_or_variable_that_is_taken_is_error(service: Any, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        service.from_args([])


def test_alias_has_options_of_its_own() -> None:
    service = service_of(f"{__name__}:Listening", f"admin={__name__}:Listening")
    sys.modules[__name__].Listening = task_of("Listening", port=option(type=int, default=1))  # type: ignore[attr-defined]
    instance = made(service, "--admin-port", "2")
    assert (instance.getTask("Listening").port, instance.getTask("admin").port) == (1, 2)


def test_subclass_may_replace_or_remove_declarations() -> None:
    class Base:
        a = option()
        b = option()
        c = option()

    class Derived(Base):
        d = option()
        a = option(type=int)  # type: ignore[assignment]
        b = None  # type: ignore[assignment]

    assert [each.name for each in declared_options(Derived)] == ["a", "c", "d"]
    assert declared_options(Derived)[0].type is int


def test_default_function_sees_service_in_place_of_task() -> None:
    task = task_of(DEFAULT_PORT=1, port=option(type=int, default=lambda cls: cls.DEFAULT_PORT))
    assert parsed(service_of(task)).http_port == 1
    ns = parsed(service_of(task, DEFAULT_PORT=8000))
    assert ns.http_port == 8000
    assert str(source_of(ns, "http_port")) == "service class: MyService.DEFAULT_PORT"


def test_service_overrides_only_with_its_own_attributes() -> None:
    task = task_of(
        __doc__="The task.",
        VERSION="7",
        version=option(default=lambda cls: cls.VERSION),
        title=option(default=lambda cls: f"{cls.__name__} {cls.__doc__}"),
    )
    ns = parsed(service_of(task, __doc__="The service."))
    assert (ns.http_version, ns.http_title) == ("7", "HTTP The task.")
    mixin = type("Mixin", (), {"VERSION": "8"})
    service = type("S", (VService, mixin), {"TASKS": [task]})
    # For Python, too, VService.VERSION comes before the mixin's.
    assert parsed(service).http_version == "7"
    assert parsed(service_of(task, VERSION="9")).http_version == "9"


def test_service_attribute_without_a_default_function_changes_nothing() -> None:
    task = task_of(DEFAULT_PORT=1, port=option(type=int, default=5))
    assert parsed(service_of(task, DEFAULT_PORT=8000, port=8000)).http_port == 5


def test_setting_the_attribute_converts_and_refuses() -> None:
    task = task_of(port=option(type=int, choices=[1, 2, None]))
    service = made(service_of(task))
    instance = service.requireTask(task)
    instance.port = "2"
    assert instance.port == 2
    assert service.getOption("http-port") == 2
    with pytest.raises(OptionError, match="setting --http-port: expected one of 1, 2"):
        instance.port = 3
    assert instance.port == 2
    instance.port = None
    assert instance.port is None


def test_namespace_made_by_hand_reads_typed_or_default() -> None:
    service = service_of(limit=option(type=int, default=3), size=option(type=int))(
        argparse.Namespace(limit="12")
    )
    assert (service.limit, service.size) == (12, None)
    service.size = "4"
    assert service.size == 4
    assert service.getOption("absent", "x") == "x"


TYPED = """
from pathlib import Path
from typing import assert_type
from sparts.option_types import Endpoint, duration, endpoint, listof
from sparts.options import Option, option
from sparts.vtask import VTask
from enum import Enum

class Colour(Enum):
    RED = 1

class T(VTask):
    port = option(type=int)
    pause = option(type=duration, default="5s", help="x")
    where = option(type=endpoint, default=lambda cls: cls.WHERE)
    many = option(type=int, nargs="*")
    more = option(type=int, action="append")
    listed = option(type=listof(float))
    on = option(action="store_true", default=False)
    yes = option(type=bool, default=True)
    colour = option(type=Colour, default=Colour.RED)
    word = option(default="w", secret=True)
    bare = option()
    count = option(default=3)
    path = option(type=Path)
    words = option("words", nargs="+")
    level = option(action="count", default=0)
    old = option("old", int, 80)

def check(t: T) -> None:
    assert_type(t.port, int)
    assert_type(t.pause, float)
    assert_type(t.where, Endpoint)
    assert_type(t.many, list[int])
    assert_type(t.more, list[int])
    assert_type(t.listed, list[float])
    assert_type(t.on, bool)
    assert_type(t.yes, bool)
    assert_type(t.colour, Colour)
    assert_type(t.word, str)
    assert_type(t.bare, str)
    assert_type(t.count, int)
    assert_type(t.path, Path)
    assert_type(t.words, list[str])
    assert_type(T.port, Option[int])
    t.port = "x"
"""


def test_mypy_sees_the_type_of_the_attribute(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "typed.py"]
    found = captured(command, cwd=tmp_path)
    errors = [line for line in found.stdout.splitlines() if "error" in line]
    assert len(errors) == 2, found.stdout  # the assignment alone, and the summary
    assert 'expression has type "str", variable has type "int"' in errors[0]


def test_service_attribute_does_not_move_a_lone_task() -> None:
    port = option(type=int, default=lambda cls: cls.DEFAULT_PORT)
    alone = task_of("Alone", "alone", port=port, DEFAULT_PORT=1, _SERVICE_DEFAULTS=False)
    other = task_of("Other", "other", port=port, DEFAULT_PORT=1)
    ns = parsed(service_of(alone, other, DEFAULT_PORT=8000))
    assert (ns.alone_port, ns.other_port) == (1, 8000)
    assert not source_of(ns, "alone_port").explicit


def test_service_is_made_from_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(task_of(port=option(type=int, default=1), host=option(default="a")))
    monkeypatch.setenv("MYSERVICE_HTTP_HOST", "b")
    made = service.from_args(["--http-port", "8"], name="other")
    assert (made.options.http_port, made.options.http_host, made.name) == (8, "b", "other")
    assert made.status == "NEW"
    with pytest.raises(OptionError, match="--http-port: expected a whole number, got 'x'"):
        service.from_args(["--http-port", "x"])
    monkeypatch.setattr("sys.argv", ["service.py", "--level", "ERROR"])
    assert service.from_args().options.level == "ERROR"
