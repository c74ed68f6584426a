"""`sparts doctor` finds each thing that can be wrong, says what to do, and ends with status 1."""

from __future__ import annotations

from pathlib import Path

from sparts.testing.distributions import make_distribution

from tests.core.commands import SCRIPT, Done, make_mailer, make_plugin, make_task, sparts

HOOKIMPL = "from sparts.hookspecs import hookimpl\n@hookimpl\n"


def doctor(folder: Path, **variables: str) -> Done:
    """Let the doctor examine what lies in `folder`; its words on one line."""
    done = sparts("doctor", cwd=folder, path=folder, by=SCRIPT, **variables)
    assert "Traceback" not in done.err
    assert all(len(line) <= 80 or "/" in line for line in done.out.splitlines())
    return Done(done.status, " ".join(done.out.split()), done.err)


def finds(folder: Path, *parts: str, status: int = 1) -> None:
    """Let the doctor examine a folder; what it prints has these parts."""
    done = doctor(folder)
    assert done.status == status, done
    for part in parts:
        assert part in done.out


def test_all_is_well_in_this_environment(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert (done.status, done.err) == (0, "")
    assert "all is well." in done.out
    assert "WRONG" not in done.out


TASKS = {
    "Divides": ("1 / 0", "could not be imported: ZeroDivisionError: division by zero"),
    "Exits": ("raise SystemExit(3)", "could not be imported: SystemExit: 3"),
    "Lacks": ("import no_such_module", "could not be imported: ModuleNotFoundError"),
    "Five": ("Five = 5", "is not a class but 5"),
    "Boom": ("class Bang: pass\nBoom = Bang", "is a class named 'Bang'. The entry point and its"),
    "Plain": ("class Plain: pass", "<class 'of_plain_plain.Plain'> is not a task type"),
}
HOOKS = {
    "divides": ("1 / 0", "could not be imported: ZeroDivisionError"),
    "raises": ("raise KeyError('too')", "could not be imported: KeyError: 'too'"),
    "hookless": ("x = 1", "implements no hook"),
    "unknown": (HOOKIMPL + "def sparts_service_chance(): pass", "unknown hook 'sparts_service_cha"),
    "parameter": (HOOKIMPL + "def sparts_task_change(x): pass", "has no parameter x"),
    "nobody": (HOOKIMPL + "def sparts_tasks_add(): return 'Nobody'", "No task is named 'Nobody'"),
    "seven": (HOOKIMPL + "def sparts_options_add(): return 7", "7 is not a class derived"),
    "integer": (HOOKIMPL + "def sparts_options_add(): return int", "not a class derived from"),
}
COMMANDS = {
    "greet": ("1 / 0", "could not be imported: ZeroDivisionError"),
    "shout": ("main = 5", "is not a function but 5"),
}


def test_broken_plugin_is_wrong_and_hides_no_other(tmp_path: Path) -> None:
    expected = []
    for name, (text, message) in TASKS.items():
        low = name.lower()
        make_task(tmp_path, name, f"of-{low}", text=text)
        place = "" if name == "Plain" else f"'{name}' of of-{low} 1.0 (of_{low}_{low}:{name}) "
        expected += [place + message, f"SPARTS_DISABLE_PLUGINS=of-{low}"]
    for name, (text, message) in HOOKS.items():
        make_plugin(tmp_path, name, text)
        expected += [f"Hook plugin '{name}' of {name} 4.2 ({name}_module)", message]
    for name, (text, message) in COMMANDS.items():
        make_plugin(tmp_path, name, text, "sparts.commands")
        expected.append(f"Command '{name}' of {name} 4.2 ({name}_module:main) {message}")
    finds(tmp_path, *expected, "To do:", "16 wrong.")


def test_task_without_its_extra_is_not_wrong(tmp_path: Path) -> None:
    make_mailer(tmp_path, "mail-of-tomorrow>=2; extra == 'mail'")
    make_distribution(
        tmp_path,
        "acme-glib",
        entry_points={"sparts.tasks": {"Loop": "acme_glib:Loop [glib]"}},
        modules={"acme_glib": "import gi_of_tomorrow"},
        requires=["PyGObject-of-tomorrow; extra == 'glib'", "what-else; extra == 'other'"],
        extras=["glib", "other"],
    )
    finds(
        tmp_path,
        "Task 'Mailer' of acme-jobs 1.0 (acme_jobs_mailer:Mailer) needs acme-jobs[mail]: ",
        ": No module named 'mail_of_tomorrow'.",
        "pip install 'acme-jobs[mail]'",
        "needs acme-glib[glib]",
        status=0,
    )


def test_missing_module_that_no_extra_brings_is_wrong(tmp_path: Path) -> None:
    make_mailer(tmp_path, "first-thing; extra == 'mail'", "second-thing; extra == 'other'")
    finds(tmp_path, "No module named 'mail_of_tomorrow'")


def test_conflicts_of_distributions_are_wrong(tmp_path: Path) -> None:
    text = (
        "from sparts.options import OptionGroup, option\n"
        "class {name}(OptionGroup):\n"
        "    OPT_PREFIX = 'metrics'\n"
        "    port = option(type=int)\n" + HOOKIMPL + "def sparts_options_add(): return {name}\n"
    )
    greet = {"sparts.commands": {"greet": "greet_module:main"}}
    for name in ("One", "Two"):
        make_task(tmp_path, "Greeter", f"{name}-jobs")
        make_plugin(tmp_path, name.lower(), text.format(name=name))
        module = {"greet_module": "main=id"}
        make_distribution(tmp_path, f"{name}-greet", entry_points=greet, modules=module)
    make_plugin(tmp_path, "tasks", "def main(argv): pass", "sparts.commands")
    make_distribution(tmp_path, "sparts", "0.7.3")
    finds(
        tmp_path,
        "one-jobs 1.0 and two-jobs 1.0 both provide a task 'Greeter'.",
        "'Greeter@one-jobs' or 'Greeter@two-jobs'",
        "Two and One both have the option --metrics-port",
        "`sparts tasks` is a command of ours",
        "one-greet 1.0 and two-greet 1.0 both provide a command 'greet'.",
        "Keep one out: SPARTS_DISABLE_PLUGINS=two",
        "sparts 0.7.3, of which sparts-core is the successor, is installed",
        "pip uninstall sparts",
        "5 wrong.",
    )


UNMET = {
    "pluggy>=99": ("requires pluggy>=99; installed is ", "pip install 'pluggy>=99'"),
    "thing-of-tomorrow>1": ("requires thing-of-tomorrow, which is missing", "'thing-of-tom"),
    "pluggy>=98; extra == 'fast'": ("requires pluggy>=98; installed is ", "pip install"),
    "pluggy>=": ("requires 'pluggy>='", ""),
}


def test_requirement_that_is_not_met_is_wrong(tmp_path: Path) -> None:
    further = ["pluggy>=97", "parser-of-tomorrow; extra == 'quick'", "what-else; extra == 'slow'"]
    make_distribution(tmp_path, "web-server", requires=further, extras=["quick", "slow"])
    requires = [*UNMET, "web-server[quick]; extra == 'fast'"]
    make_task(tmp_path, "Greeter", requires=requires, extras=["fast"])
    finds(
        tmp_path,
        *(f"acme-jobs 1.0 {message}" for message, _ in UNMET.values()),
        *(todo for _, todo in UNMET.values()),
        "web-server 1.0 requires pluggy>=97; installed is ",
        "web-server 1.0 requires parser-of-tomorrow, which is missing.",
        "6 wrong.",
    )


def test_requirement_met_or_not_asked_is_well(tmp_path: Path) -> None:
    fine = ["pluggy>=1", "thing-of-tomorrow; python_version < '3'"]
    fine += ["thing-of-tomorrow; extra == 'fast'", "pluggy>=99; python_version < '3'"]
    make_task(tmp_path, "Greeter", requires=fine, extras=["fast"])
    finds(tmp_path, status=0)


def test_doctor_without_packaging_says_what_it_skipped(tmp_path: Path) -> None:
    hidden = "raise ImportError('hidden by the test')"
    make_distribution(tmp_path, "hider", modules={"packaging.__init__": hidden})
    make_task(tmp_path, "Greeter", requires=["pluggy>=99"])
    finds(tmp_path, "were not examined: that needs packaging.", status=0)


def test_stray_init_file_is_named(tmp_path: Path) -> None:
    stray = tmp_path / "sparts" / "__init__.py"  # so that nothing of ours can be imported
    stray.parent.mkdir()
    stray.touch()
    done = sparts("tasks", cwd=tmp_path, path=tmp_path, by=SCRIPT)
    assert done.status == 2
    assert f"{stray} makes 'sparts' an ordinary package" in done.err
    assert "Traceback" not in done.err


def test_what_is_blocked_is_told_and_not_imported(tmp_path: Path) -> None:
    make_task(tmp_path, "Boom", text="raise RuntimeError")
    done = doctor(tmp_path, SPARTS_DISABLE_PLUGINS="Boom, nobdy")
    assert done.status == 0
    assert "Blocked, so not examined: 'Boom' of acme-jobs 1.0 (acme_jobs_boom:Boom)." in done.out
    assert "SPARTS_DISABLE_PLUGINS names 'nobdy', which is nothing that is installed." in done.out


def test_task_type_with_overrides_in_vain_is_wrong(tmp_path: Path) -> None:
    text = """
from sparts.tasks.queue import QueueTask

class Mailer(QueueTask):
    '''Sends mail.'''
    WORKER = 4
    async def execute(self, item, context):
        pass
"""
    make_task(tmp_path, "Mailer", text=text)
    said = "Derive from AsyncQueueTask instead."
    finds(tmp_path, "'Mailer' of acme-jobs 1.0", said, "Mailer.WORKER", "Did you mean WORKERS?")
