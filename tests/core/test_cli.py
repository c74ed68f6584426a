"""The `sparts` command itself: its subcommands, ours and those of plugins, and its errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sparts import entry_points
from sparts.cli import COMMANDS, FLAGS, main
from sparts.testing.distributions import make_distribution

from tests.core.commands import MODULE, SCRIPT, make_plugin, make_task, sparts
from tests.processes import captured, clean_environment

GREET = "def main(argv):\n    print('greetings', *argv)\n    return 3\n"


@pytest.mark.parametrize("by", [MODULE, SCRIPT], ids=["python -m sparts", "sparts"])
@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)], ids=str)
def test_help_names_every_command(by: list[str], words: tuple[str, ...], tmp_path: Path) -> None:
    done = sparts(*words, by=by, cwd=tmp_path)
    assert done.status == 0
    assert max(map(len, COMMANDS.values())) <= 60
    for name, summary in COMMANDS.items():
        assert re.search(f"^  {name} +{re.escape(summary)}$", done.out, re.MULTILINE)
    assert "SPARTS_DISABLE_PLUGINS" in done.out


@pytest.mark.parametrize("name", [*COMMANDS, "graph", "new", "rpc"])
def test_help_of_every_command_fits_80_columns(name: str, tmp_path: Path) -> None:
    done = sparts(name, "--help", cwd=tmp_path)
    assert done.status == 0, done.err
    assert done.out.startswith(f"usage: sparts {name}")
    assert len(done.out.splitlines()) > 6
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "No command is named 'rnu'. Did you mean 'run'?"),
        (["xyzzy"], "See `sparts --help`."),
        (["--wrong"], "A command comes first"),
        (["run"], "Name tasks or a service first"),
        (["run", "--level", "INFO"], "Name tasks or a service first"),
        (["run", "TornadoHTTTask"], "Did you mean 'TornadoHTTPTask'?"),
        (["run", "TornadoHTTPTask", "--http-prot", "1"], "--http-prot"),
        (["run", "nowhere:Service"], "No module named 'nowhere' in the current folder"),
        (["run", "broken:Service"], "'broken:Service' could not be imported: ZeroDivisionError"),
        (["run", "leaves:Service"], "'leaves:Service' could not be imported: SystemExit: 7"),
        (["run", "lacks:Service"], "comes with sparts-rpc: pip install sparts-rpc"),
        (["run", "mine:Servise"], "no 'Servise' there. Its services: mine:Ring, mine:MyService."),
        (["run", "mine:MyService", "TornadoHTTPTask"], "is a service, not a task: name it alone"),
        (["run", "mine:number"], "is not a task type"),
        (["tasks", "Nothing"], "No task is named 'Nothing'"),
        (["graph"], "the following arguments are required: NAME"),
        (["graph", "mine:Ring"], "Tasks depend on each other: A -> B -> A."),
        (["plugins", "surplus"], "unrecognized arguments: surplus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_ends_with_2_and_no_traceback(
    words: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(7)\n")
    text = "import sys\nsys.modules['sparts.rpc'] = None\nimport sparts.rpc\n"
    (tmp_path / "lacks.py").write_text(text)
    (tmp_path / "mine.py").write_text(
        "from sparts.vservice import VService\n"
        "from sparts.vtask import VTask\n"
        "number = 3\n"
        "class A(VTask): DEPS = ['mine:B']\n"
        "class B(VTask): DEPS = [A]\n"
        "class Ring(VService): TASKS = [A]\n"
        "class MyService(VService): pass\n"
    )
    done = sparts(*words, cwd=tmp_path)
    assert done.status == 2
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_command_of_plugin_is_called_with_its_words(tmp_path: Path) -> None:
    make_plugin(tmp_path, "greet", GREET, "sparts.commands")
    code = 'def main(argv):\n    """Wave to `everybody`.\n\n    More.\n    """\n    print("漢 ü")\n'
    make_plugin(tmp_path, "wave", code, "sparts.commands")
    done = sparts("greet", "-h", "you", cwd=tmp_path, path=tmp_path)
    assert (done.status, done.out) == (3, "greetings -h you\n")
    out = sparts("-h", cwd=tmp_path, path=tmp_path).out
    assert re.search(r"  greet +\(of greet 4.2\)\n", out)
    assert re.search(r"  wave +wave to everybody\n", out)
    # What the encoding of its output lacks is shown as escapes.
    done = sparts("wave", cwd=tmp_path, path=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.status, done.out) == (0, "\\u6f22 \\xfc\n")


def test_command_of_plugin_is_imported_only_when_called(tmp_path: Path) -> None:
    make_plugin(tmp_path, "loud", "print('imported')\nmain = print\n", "sparts.commands")
    make_plugin(tmp_path, "plugins", "print('imported')\n", "sparts.commands")  # a name of ours
    for words in (["-h"], ["plugins"], ["tasks"], ["graph", "PeriodicTask"]):
        done = sparts(*words, cwd=tmp_path, path=tmp_path)
        assert done.status == 0, done.err
        assert "imported" not in done.out
    assert "imported" in sparts("loud", cwd=tmp_path, path=tmp_path).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "could not be imported: ZeroDivisionError: division by zero"),
        ("main = 5", "is not a function but 5"),
    ],
)
def test_broken_command_of_a_plugin_is_named(text: str, message: str, tmp_path: Path) -> None:
    make_plugin(tmp_path, "greet", text, "sparts.commands")
    done = sparts("greet", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert f"Command 'greet' of greet 4.2 (greet_module:main) {message}" in done.err
    assert "Traceback" not in done.err


def test_command_of_two_plugins_is_refused(tmp_path: Path) -> None:
    for owner in ("one", "two"):
        points = {"sparts.commands": {"greet": "greet:main"}}
        make_distribution(tmp_path, owner, "4.2", entry_points=points, modules={"greet": GREET})
    done = sparts("greet", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert "one 4.2 and two 4.2 both provide the command 'greet'" in done.err
    assert "SPARTS_DISABLE_PLUGINS=two" in done.err
    left = sparts("greet", cwd=tmp_path, path=tmp_path, SPARTS_DISABLE_PLUGINS="two")
    assert left.out == "greetings\n"


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    for number in range(40):
        make_task(tmp_path / "site", f"Task{number}", f"owner-{number}")
    done = captured(
        ["bash", "-c", f"{MODULE[0]} -m sparts tasks --json | head -n 1; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(tmp_path / "site")),
    )
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_current_folder_is_left_out_in_safe_mode(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from sparts.vservice import VService as MyService\n")
    for by in (MODULE, SCRIPT):
        assert sparts("graph", "mine:MyService", cwd=tmp_path, by=by).out == "No tasks.\n"
    done = sparts("graph", "mine:MyService", cwd=tmp_path, by=SCRIPT, PYTHONSAFEPATH="1")
    assert done.status == 2


MISSING = {
    ("dbus-install",): ("No command is named 'dbus-install'.", "sparts-dbus"),
    ("new", "service", "acme"): ("No command is named 'new'.", "sparts-dev"),
    ("new-thrift", "service", "acme", "a.thrift"): ("'new-thrift'.", "sparts-thrift"),
    ("graph", "EventTask"): ("No command is named 'graph'.", "sparts-dev"),
    ("doctor", "--compat", "old:Service"): ("No option '--compat'.", "sparts-dev"),
    ("run", "--reload", "mine:Service"): ("No option '--reload'.", "sparts-dev"),
    ("run", "EventTask", "--reload"): ("No option '--reload'.", "sparts-dev"),
}
"""What is missing where no plugin is installed, and what it comes with."""


@pytest.mark.parametrize("words", MISSING, ids=" ".join)
def test_command_of_missing_plugin_names_what_to_install(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry_points, "installed", list)
    what, distribution = MISSING[words]
    assert main(words) == 2
    hint = f"{what} It comes with {distribution}: pip install {distribution}"
    assert hint in capsys.readouterr().err


def test_command_of_blocked_plugin_names_what_blocks(tmp_path: Path) -> None:
    done = sparts("new", "service", "acme", cwd=tmp_path, SPARTS_DISABLE_PLUGINS="sparts-dev")
    assert done.status == 2
    assert "It comes with sparts-dev, which SPARTS_DISABLE_PLUGINS, SPARTS_LOAD_PLU" in done.err


def test_command_that_a_flag_calls_is_not_listed(tmp_path: Path) -> None:
    listed = sparts("--help", cwd=tmp_path).out
    assert "  graph " in listed
    assert not [name for name in FLAGS if name in listed]
    assert FLAGS.keys() <= entry_points.known_providers(entry_points.COMMANDS).keys()
