"""What is loaded and what is not: blocked plugins, broken plugins, and what a scan reads."""

from __future__ import annotations

import ast
import itertools
import sys
from pathlib import Path

import pytest
from sparts import entry_points
from sparts.errors import UsageError
from sparts.testing.distributions import make_distribution

from tests.core.commands import Done, make_plugin, make_task, sparts

HOOKIMPL = "from sparts.hookspecs import hookimpl\n@hookimpl\n"
WATCHER = f"print(__name__, 'imported')\n{HOOKIMPL}def sparts_service_create(service): pass\n"
SERVICE = """
import sys
from sparts.vservice import VService

class MyService(VService):
    TASKS = {tasks}
    lives = 0

    def initService(self):
        MyService.lives += 1
        print("lives:", MyService.lives, flush=True)
        self.restart() if MyService.lives < 2 else self.shutdown()

MyService.initFromCLI()
"""


def run(folder: Path, *argv: str, tasks: str = "[]", **variables: str) -> Done:
    """Run a service that restarts once and ends; it finds what lies in `folder`."""
    script = SERVICE.format(tasks=tasks)
    by = [sys.executable, "-c", script]
    done = sparts(*argv, by=by, cwd=folder, path=folder, **variables)
    assert "Traceback" not in done.err, done.err
    return done


@pytest.mark.parametrize(
    ("argv", "variables", "imported"),
    [
        ([], {}, "watcher other"),
        (["--no-plugin", "watcher"], {}, "other"),
        (["--no-plugin=watcher", "--level", "INFO"], {}, "other"),
        (["--no-plugin", "Acme.Watch"], {}, "other"),
        (["--no-plugin", "watcher", "--no-plugin", "other"], {}, ""),
        (["--no-plugin", "nobody"], {}, "watcher other"),
        ([], {"SPARTS_DISABLE_PLUGINS": "watcher"}, "other"),
        ([], {"SPARTS_DISABLE_PLUGINS": " acme-watch , other "}, ""),
        ([], {"SPARTS_LOAD_PLUGINS": "watcher"}, "watcher"),
        ([], {"SPARTS_LOAD_PLUGINS": ""}, ""),
        ([], {"SPARTS_LOAD_PLUGINS": "watcher", "SPARTS_DISABLE_PLUGINS": "watcher"}, ""),
        (["--no-plugin", "watcher"], {"SPARTS_LOAD_PLUGINS": "watcher"}, ""),
    ],
)
def test_blocked_plugin_is_never_imported(
    argv: list[str], variables: dict[str, str], imported: str, tmp_path: Path
) -> None:
    points = {"sparts.plugins": {"watcher": "watcher_module"}}
    make_distribution(
        tmp_path, "acme-watch", entry_points=points, modules={"watcher_module": WATCHER}
    )
    make_plugin(tmp_path, "other", WATCHER)
    done = run(tmp_path, *argv, **variables)
    assert done.status == 0, done.err
    assert "lives: 2" in done.out
    names = [name for name in ("watcher", "other") if f"{name}_module imported" in done.out]
    assert names == imported.split()


def test_no_plugin_leaves_out_tasks_too(tmp_path: Path) -> None:
    make_task(tmp_path, "Greeter")
    assert run(tmp_path, tasks="['Greeter']").status == 0
    done = run(tmp_path, "--no-plugin", "acme-jobs", tasks="['Greeter']")
    assert done.status == 2
    assert "Task 'Greeter' of acme-jobs 1.0 (acme_jobs_greeter:Greeter) is kept out by" in done.err


def test_shortened_flag_is_refused(tmp_path: Path) -> None:
    make_plugin(tmp_path, "watcher", WATCHER)
    done = run(tmp_path, "--no-plug", "watcher")
    assert done.status == 2
    assert "Did you mean '--no-plugin'?" in done.err


def test_flag_after_two_dashes_is_none() -> None:
    argv = ["--no-plugin", "a", "--no-plugin=b", "--", "--no-plugin", "c"]
    assert entry_points.named_in(argv) == ["a", "b"]
    assert entry_points.named_in(["--no-plugin"]) == []


def test_name_that_was_not_kept_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "_kept_out", set())
    with pytest.raises(UsageError, match="comes too late"):
        entry_points.kept_out("watcher")
    entry_points.keep_out(["Acme_Watch"])
    assert entry_points.kept_out("Acme_Watch") == "Acme_Watch"


BROKEN = [
    ("1 / 0", "could not be imported: ZeroDivisionError"),
    ("raise SystemExit(0)", "could not be imported: SystemExit"),
    ("import sys; sys.modules['sparts.net'] = None; import sparts.net", "pip install sparts-net"),
    ("x = 1", "implements no hook"),
    (HOOKIMPL + "def sparts_service_chance(): pass", "unknown hook"),
    (HOOKIMPL + "def sparts_service_change(x): pass", "has no parameter x"),
    (HOOKIMPL + "def sparts_tasks_add(): raise KeyError('no list')", "KeyError: 'no list'"),
    (HOOKIMPL + "def sparts_tasks_add(): return ['Nobody']", "No task is named 'Nobody'"),
    (HOOKIMPL + "def sparts_options_add(): raise OSError('no file')", "OSError: no file"),
]


FLAGS = ["--watcher-port=1", "--show-config", "--dryrun"]


@pytest.mark.parametrize(
    ("text", "message", "flag"),
    [(*broken, flag) for broken, flag in zip(BROKEN, itertools.cycle(FLAGS))],
)
def test_broken_hook_plugin_fails_the_start(
    text: str, message: str, flag: str, tmp_path: Path
) -> None:
    make_plugin(tmp_path, "watcher", text)
    for argv in ((), (flag,)):
        done = run(tmp_path, *argv)
        assert done.status == 2
        assert "Hook plugin 'watcher' of watcher 4.2 (watcher_module)" in done.err
        assert message in done.err
        assert "lives" not in done.out


COMMANDS = ["--help", "plugins", "run --help", "tasks"]


@pytest.mark.parametrize(
    ("text", "message", "command"),
    [(*broken, command) for broken, command in zip(BROKEN, itertools.cycle(COMMANDS))],
)
def test_broken_hook_plugin_never_breaks_help(
    text: str, message: str, command: str, tmp_path: Path
) -> None:
    make_plugin(tmp_path, "watcher", text)
    make_plugin(tmp_path, "other", WATCHER)
    done = run(tmp_path, "--help")
    assert (done.status, done.err) == (0, "")
    words = " ".join(done.out.split())
    assert "--stop-timeout" in words
    assert "This service cannot start. Hook plugin 'watcher' of watcher 4.2" in words
    assert message in words
    assert sparts(*command.split(), cwd=tmp_path, path=tmp_path).status == 0


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("sparts_service_create(service): raise OSError('no disk')", "OSError: no disk"),
        ("sparts_counters_add(service): raise OSError('no disk')", "OSError: no disk"),
        ("sparts_counters_add(service): return {'a': 1}", "'a' is not a function but 1"),
        ("sparts_checks_add(service): return 5", "TypeError"),
    ],
)
def test_hook_that_fails_as_instance_starts_is_named(
    hook: str, message: str, tmp_path: Path
) -> None:
    make_plugin(tmp_path, "watcher", HOOKIMPL + "def " + hook)
    done = run(tmp_path)
    assert done.status == 2
    name = hook.partition("(")[0]
    assert f"Hook plugin 'watcher' of watcher 4.2 (watcher_module) failed in {name}:" in done.err
    assert message in done.err


SCAN = """
import collections, os, sys
seen = collections.Counter()
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and "/fakes" in str(arguments[0]):
        seen[event, os.path.basename(str(arguments[0]))] += 1
sys.addaudithook(note)
from sparts.vservice import VService
class MyService(VService):
    def initService(self):
        self.shutdown()
try:
    MyService.initFromCLI()
finally:
    print({f"{event} {name}": count for (event, name), count in seen.items()})
"""


def scanned(folder: Path, **variables: str) -> dict[str, int]:
    """What a service that names only classes opens and lists in the site folder, how often."""
    by = [sys.executable, "-P", "-c", SCAN]
    done = sparts(by=by, cwd=folder, path=folder / "fakes", **variables)
    assert done.status == 0, done.err
    found: dict[str, int] = ast.literal_eval(done.out)
    return {name: count for name, count in found.items() if not name.endswith(".pyc")}


def test_scan_reads_one_file_a_distribution(tmp_path: Path) -> None:
    site = tmp_path / "fakes"
    for number in range(30):
        make_distribution(site, f"some-thing-{number}", modules={f"thing_{number}.deep.x": ""})
    (site / "entry_points.txt").write_text("no distribution's")
    found = scanned(tmp_path)
    assert found.pop("open entry_points.txt") == 30
    listed = {name: count for name, count in found.items() if name.endswith(" fakes")}
    assert found == listed  # nothing else is opened there, and no folder in it is listed
    assert listed["os.listdir fakes"] <= 2  # Python's own import system, and the scan


def test_nothing_is_scanned_where_every_plugin_is_blocked(tmp_path: Path) -> None:
    for number in range(5):
        make_distribution(tmp_path / "fakes", f"some-thing-{number}")
    assert "open entry_points.txt" not in scanned(tmp_path, SPARTS_LOAD_PLUGINS="")
