"""The `sparts` command as a process, and fake distributions for it to find."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from sparts.testing.distributions import make_distribution

from tests.processes import captured, clean_environment

MODULE = [sys.executable, "-m", "sparts"]
SCRIPT = [str(Path(sys.executable).with_name("sparts"))]

TASK = '''
from sparts.options import option
from sparts.vtask import VTask

class {name}(VTask):
    """{doc}"""
    OPT_PREFIX = "{name}".lower()
    LOOPLESS = True
    greeting = option(default="Hello", help="what it says")

    def start(self):
        self.logger.info("%s from %s", self.greeting, self.name)
'''


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def sparts(
    *words: str, cwd: Path, path: Path | None = None, by: list[str] = MODULE, **variables: str
) -> Done:
    """Run the command to its end; it finds the distributions in `path` beside those installed."""
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    done = captured([*by, *words], cwd=cwd, env=clean_environment(COLUMNS="80", **variables))
    return Done(done.returncode, done.stdout, done.stderr)


def make_task(
    folder: Path, name: str, owner: str = "acme-jobs", *, text: str = "", **more: object
) -> Path:
    """Write a distribution with one task into `folder`, and give the folder."""
    module = f"{owner.replace('-', '_')}_{name.lower()}"
    return make_distribution(
        folder,
        owner,
        entry_points={"sparts.tasks": {name: f"{module}:{name}"}},
        modules={module: text or TASK.format(name=name, doc=f"What {name} does.")},
        **more,  # type: ignore[arg-type]
    )


def make_mailer(folder: Path, *requires: str, owner: str = "acme-jobs") -> Path:
    """Write a distribution whose task imports what is missing; its extras are mail and other."""
    text, extras = "import mail_of_tomorrow.client", ["mail", "other"]
    return make_task(folder, "Mailer", owner, text=text, requires=[*requires], extras=extras)


def make_plugin(folder: Path, owner: str, text: str, group: str = "sparts.plugins") -> Path:
    """Write a distribution with one hook module, whose entry point has the owner's name."""
    module = f"{owner.replace('-', '_')}_module"
    target = f"{module}:main" if group == "sparts.commands" else module
    points = {group: {owner: target}}
    return make_distribution(folder, owner, "4.2", entry_points=points, modules={module: text})
