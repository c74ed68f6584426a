"""Options that change while the service runs: validated, told, whole."""

from __future__ import annotations

import argparse
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.option_types import port
from sparts.options import option, reload_options, set_option, source_of

from tests.core.option_owners import (
    environment,
    made,
    parser_of,
    pretend_running,
    service_of,
    task_of,
)
from tests.threads import in_threads, run_in_threads


def noting(name: str = "Web") -> Any:
    """A task that notes which options were reported to it, and can pretend to run."""

    def on_options_changed(self: Any, names: frozenset[str]) -> None:
        self.told.append((names, self.port, threading.current_thread()))

    task = task_of(
        name,
        prefix=name.lower(),
        port=option(type=port, default=80, choices=[80, 81, 82]),
        fixed=option(type=int, default=1, reloadable=False),
        place=option(default="here", reloadable="restart"),
        need=option(type=int, default=1, required=True),
        on_options_changed=on_options_changed,
    )
    task.told = []
    return task


def configured(folder: Path, text: str, *tasks: Any, **declared: Any) -> tuple[Any, Path]:
    """A service with a configuration file of this text, and the file."""
    file = folder / "x.toml"
    file.write_text(text)
    return made(service_of(*tasks, **declared), "--config", str(file)), file


def test_set_option_converts_at_once() -> None:
    task = noting()
    service = made(service_of(task))
    service.setOption("web-port", "81")
    assert service.getOption("web_port") == 81
    assert service.requireTask(task).port == 81
    service.requireTask(task).setTaskOption("port", 82)
    assert service.getOption("web_port") == 82
    assert str(source_of(service.options, "web_port")) == "run time"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("web_port", "x", "setting --web-port: expected a port from 0 to 65535, got 'x'"),
        ("web_port", 83, "setting --web-port: expected one of 80, 81, 82, got 83"),
        ("web_port", True, "setting --web-port: expected a port from 0 to 65535, got True"),
        ("web_need", None, "setting --web-need: a value is required"),
        ("web_fixed", 2, "--web-fixed cannot change while the service runs: restart it."),
        ("web_prot", 2, "No option is named 'web_prot'. Did you mean 'web_port'?"),
        ("logfile", "x", "--logfile cannot change while the service runs: restart it."),
        ("level", "LOUD", "setting --level: expected a log level"),
    ],
)
def test_set_option_refuses_by_rules_of_every_source(name: str, value: Any, message: str) -> None:
    service = made(service_of(noting()))
    before = service.options
    with pytest.raises(OptionError) as error:
        service.setOption(name, value)
    assert str(error.value).startswith(message)
    assert service.options is before


def test_tasks_learn_of_changes_in_the_setting_thread() -> None:
    web, idle = noting("Web"), noting("Idle")
    told: list[Any] = []
    service = made(service_of(web, idle, on_options_changed=lambda self, names: told.append(names)))
    pretend_running(service, web)
    service.setOption("web_port", 81)
    assert web.told == [(frozenset({"web_port"}), 81, threading.current_thread())]
    assert told == [frozenset({"web_port"})]
    assert idle.told == []


@pytest.mark.parametrize("error", [ValueError, GeneratorExit])
def test_failing_task_keeps_others_informed(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any, names: frozenset[str]) -> None:
        raise error("cannot")

    bad, good = task_of("Bad", prefix=None, on_options_changed=fail), noting()
    service = made(service_of(bad, good))
    pretend_running(service, bad, good)
    service.setOption("web_port", 81)
    assert len(good.told) == 1
    assert "Bad could not take its changed options" in caplog.text


def test_whoever_keeps_the_namespace_reads_one_state(tmp_path: Path) -> None:
    """A reader never sees one option of a reload without the other."""
    service, file = configured(tmp_path, "a = 0\nb = 0\n", a=option(type=int), b=option(type=int))
    mixed: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            options = service.options
            if options.a != options.b:
                mixed.append((options.a, options.b))

    with in_threads(read):
        for value in range(1, 40):
            file.write_text(f"a = {value}\nb = {value}\n")
            reload_options(service)
        done.set()
    assert mixed == []
    assert (service.options.a, service.options.b) == (39, 39)


def test_concurrent_setters_lose_nothing(often_switching: None) -> None:
    names = [f"o{number}" for number in range(8)]
    declared: dict[str, Any] = {name: option(type=int, default=0) for name in names}
    service = made(service_of(**declared))

    def count(name: str) -> None:
        for value in range(200):
            set_option(service, name, value)

    run_in_threads(*(partial(count, name) for name in names))
    assert [service.getOption(name) for name in names] == [199] * len(names)


# -- reload ----------------------------------------------------------------------------------------


def test_reload_names_what_changed(tmp_path: Path) -> None:
    task = noting()
    service, file = configured(tmp_path, "[web]\nport = 81\n", task, a=option(type=int, default=1))
    pretend_running(service, task)
    file.write_text("[web]\nport = 82\n")
    with environment(MYSERVICE_A="2"):
        assert reload_options(service) == {"web_port", "a"}
        assert reload_options(service) == frozenset()
    assert (service.getOption("web_port"), service.getOption("a")) == (82, 2)
    assert str(source_of(service.options, "a")) == "environment: MYSERVICE_A"
    assert [names for names, _, _ in task.told] == [{"web_port", "a"}]
    file.write_text("")
    assert reload_options(service) == {"web_port", "a"}
    assert service.getOption("web_port") == 80


def test_command_line_and_set_values_outlive_reload(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("a = 1\nb = 1\n")
    service = made(
        service_of(a=option(type=int), b=option(type=int)), "--config", str(file), "--a", "5"
    )
    service.setOption("b", 6)
    file.write_text("a = 2\nb = 2\n")
    assert reload_options(service) == frozenset()
    assert (service.getOption("a"), service.getOption("b")) == (5, 6)


def test_value_that_code_put_into_namespace_outlives_reload(tmp_path: Path) -> None:
    service = made(service_of(a=option(type=int, default=1)))
    service.options.a = 7  # as preprocessOptions may
    assert reload_options(service) == frozenset()
    assert service.getOption("a") == 7


@pytest.mark.parametrize("text", ["a = 'x'\nb = 2\n", "a = 2\nc = 1\n", "a = = 1", "b = 2\n", None])
def test_bad_file_leaves_every_value_as_it_was(tmp_path: Path, text: str | None) -> None:
    service, file = configured(
        tmp_path, "a = 1\nb = 1\n", a=option(type=int, required=True), b=option(type=int)
    )
    file.unlink() if text is None else file.write_text(text)
    before = service.options
    with pytest.raises(OptionError):
        reload_options(service)
    assert service.options is before
    assert (service.options.a, service.options.b) == (1, 1)


def test_reload_leaves_fixed_options_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, file = configured(tmp_path, "[web]\nfixed = 2\n", noting())
    file.write_text("[web]\nfixed = 3\nport = 81\n")
    assert reload_options(service) == {"web_port"}
    assert service.getOption("web_fixed") == 2
    assert "--web-fixed changed: it takes effect at the next start." in caplog.text


def test_change_that_needs_a_restart_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, file = configured(tmp_path, "[web]\nplace = 'there'\nport = 80\n", noting())
    file.write_text("[web]\nplace = 'nowhere'\nport = 81\n")
    assert reload_options(service) == {"web_place", "web_port"}
    service.setOption("web_port", 82)
    service.setOption("web_place", "elsewhere")
    said = "--web-place changed: it takes effect when the service restarts."
    assert [each.message for each in caplog.records] == [said, said]
    assert service.getOption("web_place") == "elsewhere"


def test_relative_config_file_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.toml").write_text("a = 1\n")
    monkeypatch.chdir(tmp_path)
    service = made(service_of(a=option(type=int)), "--config", "x.toml")
    monkeypatch.chdir("/")
    (tmp_path / "x.toml").write_text("a = 2\n")
    assert reload_options(service) == {"a"}


def test_namespace_that_argparse_alone_made_is_not_reloaded() -> None:
    service = service_of(a=option(type=int, default=1))
    instance = service(parser_of(service).parse_args(["--a", "5"]))
    assert reload_options(instance) == frozenset()
    assert instance.getOption("a") == 5
    assert reload_options(service(argparse.Namespace(a=3, tasks=None))) == frozenset()


CONTRADICTION = r"--drain-time \(30 s\) must be shorter than --stop-timeout \(25 s\)"


@pytest.mark.parametrize(
    ("name", "value"), [("drain_time", "30s"), ("drain-time", 25.0), ("stop_timeout", "10s")]
)
def test_contradiction_is_refused_at_run_time(name: str, value: Any) -> None:
    service = made(service_of(), "--drain-time", "10s", "--stop-timeout", "25s")
    before = service.options
    with pytest.raises(OptionError, match=r"--drain-time \(.* must be shorter than --stop-timeout"):
        service.setOption(name, value)
    with pytest.raises(OptionError, match=CONTRADICTION):
        service.setOption("drain_time", 30.0)
    assert service.options is before


def test_contradiction_in_a_reload_changes_nothing(tmp_path: Path) -> None:
    service, file = configured(tmp_path, "drain-time = 10\n")
    file.write_text('drain-time = 30\nlevel = "ERROR"\n')
    with pytest.raises(OptionError, match=CONTRADICTION):
        reload_options(service)
    assert (service.getOption("drain_time"), service.getOption("level")) == (10.0, "DEBUG")
    file.write_text('drain-time = 30\nstop-timeout = 40\nlevel = "ERROR"\n')
    reload_options(service)
    values = [service.getOption(name) for name in ("drain_time", "stop_timeout", "level")]
    assert values == [30.0, 40.0, "ERROR"]


def test_contradiction_after_preprocess_options_is_wrong_use() -> None:
    def preprocess(self: Any) -> None:
        self.options.drain_time = 30.0

    service = made(service_of(preprocessOptions=preprocess))
    with pytest.raises(OptionError, match=CONTRADICTION):
        service.startBG()


def test_rules_of_a_task_see_the_new_values() -> None:
    def check_options(self: Any, options: argparse.Namespace) -> None:
        if options.web_port == 81 and self.port == 80:
            raise OptionError("not from 80 to 81")

    task = noting()
    task.check_options = check_options
    service = made(service_of(task))
    with pytest.raises(OptionError, match="not from 80 to 81"):
        service.setOption("web_port", 81)
    assert task.told == []
    service.setOption("web_port", 82)
    service.setOption("web_port", 81)
