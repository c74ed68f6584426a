"""Runs a command again and again, and logs what it says and how it ends."""

from typing import Any

from sparts.options import option
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.twisted_command import CommandTask
from sparts.vservice import VService


class Runner(PeriodicTask):
    OPT_PREFIX = "runner"
    DEPS = [CommandTask]
    INTERVAL = 60.0
    command = option(type=str, default="df -h /", help="what to run")

    def execute(self, context: Any = None) -> None:
        commands = self.service.requireTask(CommandTask)
        commands.run(
            self.command,
            on_stdout=lambda transport, line: self.logger.info("%s", line),
            on_stderr=lambda transport, line: self.logger.warning("%s", line),
            on_exit=lambda reason: self.logger.info("%s", reason.getErrorMessage()),
            encoding="utf-8",
        )


class Commands(VService):
    TASKS = [Runner]


if __name__ == "__main__":
    Commands.initFromCLI()
