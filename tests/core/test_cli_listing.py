"""`sparts tasks`, `sparts plugins` and `sparts graph`: what there is, broken or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sparts.testing.distributions import make_distribution

from tests.core.commands import TASK, make_mailer, make_plugin, make_task, sparts

HOOK = (
    "from sparts.hookspecs import hookimpl\n@hookimpl\ndef sparts_service_create(service): pass\n"
)
NET = "sparts.net"  # as if sparts-net had been uninstalled
SERVICE = """
from sparts.vservice import VService
from sparts.vtask import VTask

class Store(VTask): pass
class Disk(VTask): pass
class Web(VTask): DEPS = ["end", Store]
class Cleaner(VTask): DEPS = [Store]
class MyService(VService):
    TASKS = [Web, Cleaner, "end=mine:Disk"]

if __name__ == "__main__":
    MyService.initFromCLI()
"""


def make_zoo(folder: Path) -> Path:
    """Write one task that works, one that is broken, and one that lacks its extra."""
    make_task(folder, "Greeter")
    make_task(folder, "Boom", "acme-bombs", text="raise RuntimeError('no fuse')")
    make_task(folder, "Quits", "acme-quits", text="raise SystemExit('by itself')")
    requires = ("mail-of-tomorrow>=2; extra == 'mail'", "other-thing; extra == 'other'")
    make_mailer(folder, *requires, owner="acme-mail")
    make_task(folder, "Gone", "acme-gone", text=f"raise ImportError('no net', name={NET!r})")
    return folder


def test_every_task_is_listed_also_broken_ones(tmp_path: Path) -> None:
    done = sparts("tasks", cwd=tmp_path, path=make_zoo(tmp_path))
    assert done.status == 0, done.err
    text = " ".join(done.out.split())
    assert "acme-jobs 1.0 Greeter What Greeter does." in text
    assert "acme-bombs 1.0 Boom BROKEN: RuntimeError: no fuse" in text
    assert "acme-quits 1.0 Quits BROKEN: SystemExit: by itself" in text
    assert "acme-mail 1.0 Mailer needs acme-mail[mail]" in text
    assert "BROKEN: ImportError: no net. It comes with sparts-net: pip install sparts-net" in text
    assert "TornadoHTTPTask Serves HTTP" in text
    assert max(map(len, done.out.splitlines())) <= 80


def test_json_of_the_tasks_tells_the_same(tmp_path: Path) -> None:
    done = sparts("tasks", "--json", cwd=tmp_path, path=make_zoo(tmp_path))
    found = {each["name"]: each for each in json.loads(done.out)}
    assert found["Greeter"] == {
        "name": "Greeter",
        "distribution": "acme-jobs",
        "version": "1.0",
        "target": "acme_jobs_greeter:Greeter",
        "description": "What Greeter does.",
        "depends_on": [],
        "blocked": False,
        "needs": None,
        "broken": None,
    }
    assert "RuntimeError: no fuse" in found["Boom"]["broken"]
    assert (found["Mailer"]["needs"], found["Mailer"]["broken"]) == ("acme-mail[mail]", None)
    assert found["TornadoHTTPTask"]["depends_on"] == ["TornadoIOLoopTask"]


def test_what_module_prints_is_no_part_of_answer(tmp_path: Path) -> None:
    text = "print('imported')\n" + TASK.format(name="Loud", doc="Loud.")
    make_task(tmp_path, "Loud", text=text)
    done = sparts("tasks", "--json", cwd=tmp_path, path=tmp_path)
    assert "Loud" in {each["name"] for each in json.loads(done.out)}
    assert done.err == "imported\n"


def test_blocked_task_is_listed_and_not_imported(tmp_path: Path) -> None:
    make_task(tmp_path, "Loud", text="print('imported')")
    done = sparts("tasks", cwd=tmp_path, path=tmp_path, SPARTS_DISABLE_PLUGINS="acme-jobs")
    assert "Loud" in done.out
    assert "BLOCKED" in done.out
    assert "imported" not in done.out + done.err
    done = sparts("tasks", "Loud", cwd=tmp_path, path=tmp_path, SPARTS_DISABLE_PLUGINS="Loud")
    assert done.status == 2
    assert "BLOCKED" in done.err


def test_one_task_is_described_with_its_options(tmp_path: Path) -> None:
    done = sparts("tasks", "TornadoHTTPTask", cwd=tmp_path)
    assert done.status == 0, done.err
    assert done.out.startswith("TornadoHTTPTask, of sparts-tornado ")
    assert "needs TornadoIOLoopTask" in done.out
    assert "--http-port PORT" in done.out
    assert "env: SPARTS_HTTP_PORT" in " ".join(done.out.split())
    assert max(map(len, done.out.splitlines())) <= 80


PERIODIC = ["interval", "jitter", "run-at-start", "cron", "timezone"]
QUEUE = ["workers", "max-items", "max-attempts"]
FLAGS = {
    "PeriodicTask": PERIODIC,
    "AsyncPeriodicTask": PERIODIC,
    "PollerTask": PERIODIC,
    "DirectoryWatcherTask": [*PERIODIC, "path", "poll"],
    "QueueTask": QUEUE,
    "PriorityQueueTask": QUEUE,
    "UniqueQueueTask": QUEUE,
    "AsyncQueueTask": QUEUE,
    "EventTask": [],
    "AsyncioTask": [],
}


def test_json_of_our_tasks_has_options_and_needs(tmp_path: Path) -> None:
    found = json.loads(sparts("tasks", *FLAGS, "--json", cwd=tmp_path).out)
    assert [each["name"] for each in found] == [*FLAGS]
    for each in found:
        name, flags = each["name"], {option["flag"] for option in each["options"]}
        assert flags == {f"--{name}-{flag}" for flag in FLAGS[name]}
        assert each["depends_on"] == (["AsyncioLoopTask"] if "Async" in name else [])


def test_json_of_a_task_has_no_secret(tmp_path: Path) -> None:
    text = TASK.format(name="Greeter", doc="Greets.\n\n    At length.")
    text += "    password = option(default='hunter2', secret=True)\n"
    (tmp_path / "mine.py").write_text(text)  # of the current folder, as named
    done = sparts("tasks", "mine:Greeter", "--json", cwd=tmp_path)
    (found,) = json.loads(done.out)
    assert found["documentation"] == "Greets.\n\nAt length."
    options = {each["flag"]: each for each in found["options"]}
    greeting = options["--greeter-greeting"]
    expected = {"default": "Hello", "environment": "SPARTS_GREETER_GREETING"}
    assert greeting | expected == greeting
    assert "hunter2" not in done.out


def test_broken_and_ambiguous_tasks_cannot_be_told_of(tmp_path: Path) -> None:
    make_zoo(tmp_path)
    make_task(tmp_path, "Greeter", "beta-jobs")
    ambiguous = "'Greeter@acme-jobs' or 'Greeter@beta-jobs'"
    for name, error in (("Boom", "RuntimeError: no fuse"), ("Greeter", ambiguous)):
        done = sparts("tasks", name, cwd=tmp_path, path=tmp_path)
        assert (done.status, error in done.err) == (2, True)
    done = sparts("tasks", "Greeter@beta-jobs", cwd=tmp_path, path=tmp_path)
    assert "Greeter, of beta-jobs 1.0" in done.out


def test_plugins_are_listed_from_metadata_alone(tmp_path: Path) -> None:
    make_distribution(
        tmp_path,
        "Loud_Things",
        "3.1",
        entry_points={
            "sparts.tasks": {"Loud": "loud_module:Loud"},
            "sparts.plugins": {"loud": "loud_module"},
            "sparts.commands": {"shout": "loud_module:main"},
        },
        modules={"loud_module": "raise SystemExit('imported')"},
    )
    done = sparts("plugins", cwd=tmp_path, path=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert "loud-things 3.1\n  tasks     Loud\n  hooks     loud (loud_module)\n" in done.out
    assert "  commands  shout\n" in done.out
    found = json.loads(sparts("plugins", "--json", cwd=tmp_path, path=tmp_path).out)
    loud = next(each for each in found if each["distribution"] == "loud-things")
    plain = {"blocked": False, "built_in": False}
    assert loud == {
        "distribution": "loud-things",
        "version": "3.1",
        "tasks": [{"name": "Loud", "target": "loud_module:Loud", **plain}],
        "hooks": [{"name": "loud", "target": "loud_module", **plain}],
        "commands": [{"name": "shout", "target": "loud_module:main", **plain}],
        "blocked": False,
    }
    assert "run-reload (run --reload)" in " ".join(done.out.split())
    assert {"sparts-core", "sparts-tornado"} <= {each["distribution"] for each in found}


def test_plugins_tells_what_is_blocked(tmp_path: Path) -> None:
    make_plugin(tmp_path, "watcher", HOOK)
    make_task(tmp_path, "Greeter")
    done = sparts("plugins", cwd=tmp_path, path=tmp_path, SPARTS_DISABLE_PLUGINS="watcher")
    assert "watcher 4.2 (blocked)\n" in done.out
    assert "acme-jobs 1.0\n" in done.out
    done = sparts("plugins", cwd=tmp_path, path=tmp_path, SPARTS_LOAD_PLUGINS="Greeter,watcher")
    assert "sparts-tornado 1.0.0 (blocked)" in done.out
    assert "watcher 4.2\n" in done.out
    done = sparts("plugins", cwd=tmp_path, path=tmp_path, SPARTS_DISABLE_PLUGINS="TornadoHTTPTask")
    assert "TornadoHTTPTask (blocked), TornadoIOLoopTask" in " ".join(done.out.split())


def test_graph_of_names_is_that_of_run(tmp_path: Path) -> None:
    make_task(tmp_path, "Greeter")
    text = HOOK + "@hookimpl\ndef sparts_tasks_add(service_class): return 'Greeter'\n"
    make_plugin(tmp_path, "adder", text)
    done = sparts("graph", "TornadoHTTPTask", cwd=tmp_path, path=tmp_path)
    names = [line.split()[1] for line in done.out.splitlines()]
    assert names == ["TornadoIOLoopTask", "TornadoHTTPTask", "Greeter"]


@pytest.mark.parametrize("form", [(), ("--mermaid",)])
def test_graph_shows_start_order_and_needs(form: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SERVICE)
    lines = sparts("graph", *form, "mine:MyService", cwd=tmp_path).out.splitlines()
    nodes = ['  t1["end"]', '  t2["Store"]', '  t3["Web"]', '  t4["Cleaner"]']
    needs = ["  t3 -->|needs| t1", "  t3 -->|needs| t2", "  t4 -->|needs| t2"]
    order = ["1. end", "2. Store", "3. Web      needs end, Store", "4. Cleaner  needs Store"]
    assert lines == (["flowchart TD", *nodes, *needs] if form else order)


def test_listings_show_no_markup(tmp_path: Path) -> None:
    for words in (["tasks"], ["tasks", "QueueTask", "PeriodicTask"], ["-h"]):
        done = sparts(*words, cwd=tmp_path)
        assert done.status == 0
        told = done.out.replace("`sparts COMMAND --help`", "")
        assert "`" not in told, words
        assert "(of " not in told, words
