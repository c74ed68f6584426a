"""What the controls do to a service and its tasks; who may ask for it is `control`'s."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError, describe
from sparts.options.binding import state_of
from sparts.tasks.event import EventTask
from sparts.tasks.tornado.status.acting import (
    in_lifecycle,
    restart_task,
    stop_task,
    with_dependants,
)
from sparts.tasks.tornado.status.detail import actions_of
from sparts.tasks.tornado.status.handlers import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.tornado.status.base import StatusTask
    from sparts.tasks.tornado.status.letters import DeadLetters
    from sparts.vservice import VService
    from sparts.vtask import VTask

ACTING = 60.0
"""Seconds that the stop and start of one task may take."""
DRAIN_TIME = "5s"
"""How long a service that is drained reports that it is not ready, if its options say nothing."""
ACTIONS = (
    *("verify", "option", "run", "pause", "resume", "drain", "restart", "shutdown", "scale"),
    *("retry", "discard", "dismiss"),
)


async def perform(status: StatusTask, action: str, asked: dict[str, Any]) -> str:
    """Do what is asked for; return what is said of it. In the loop of the status task.

    Raises:
        RefusedError: it cannot be done.
    """
    found: str = await getattr(_Actions(status), f"do_{action}")(asked)
    return found


def text_of(asked: dict[str, Any], key: str) -> str:
    """Return a string that a request must hold.

    Raises:
        RefusedError: it does not.
    """
    found = asked.get(key)
    if not isinstance(found, str) or not found:
        raise RefusedError(400, f"The object needs a string {key!r}.")
    return found


def prepare_drain(service: VService) -> None:
    """Have a service that will be stopped drain first."""
    if not service.getOption("drain_time"):
        with contextlib.suppress(OptionError):
            service.setOption("drain_time", DRAIN_TIME)


class _Actions:
    """Does things to the service of a status task."""

    def __init__(self, status: StatusTask) -> None:
        self._status = status

    async def do_verify(self, asked: dict[str, Any]) -> str:
        """Nothing: a caller who gets here may act."""
        return "The controls are yours."

    async def do_option(self, asked: dict[str, Any]) -> str:
        """Set an option, as `VService.setOption` does."""
        name = text_of(asked, "name")
        later = self._takes_effect_later(name)
        if later and self._status.copies:
            text = f"{name} cannot change: the parent of the copies listens. Restart the service."
            raise RefusedError(409, text)
        if "value" not in asked:
            raise RefusedError(400, "The object needs a 'value'; null for none.")
        try:
            await self._run(lambda: self._status.service.setOption(name, asked["value"]))
        except OptionError as error:
            raise RefusedError(400, str(error)) from error
        return f"{name} is set{', and takes effect when the service restarts' * later}."

    def _takes_effect_later(self, name: str) -> bool:
        state = state_of(self._status._instance.options)
        binding = state.bindings.get(name.replace("-", "_")) if state else None
        return binding is not None and binding.option.reloadable == "restart"

    async def do_run(self, asked: dict[str, Any]) -> str:
        """Have a periodic or event task run now."""
        found = self._task(asked)
        name = found.name
        if not isinstance(found, EventTask):
            raise RefusedError(400, f"{name} does not run when it is asked to.")
        if not found.running:
            raise RefusedError(409, f"{name} does not run: it is {found.state}.")
        await self._run(found.trigger)
        return f"{name} runs now."

    async def do_pause(self, asked: dict[str, Any]) -> str:
        """Have a queue, periodic or event task take nothing more to do."""
        task = self._task(asked)
        if "pause" not in actions_of(self._status, task):
            raise RefusedError(409, f"{task.name} cannot be paused now.")
        self._status.watch.gates[task.name].close()
        return f"{task.name} is paused."

    async def do_resume(self, asked: dict[str, Any]) -> str:
        """Have a paused task go on."""
        task = self._task(asked)
        if not self._status.watch.paused(task.name):
            raise RefusedError(409, f"{task.name} is not paused.")
        self._status.watch.gates[task.name].open()
        return f"{task.name} goes on."

    async def do_drain(self, asked: dict[str, Any]) -> str:
        """Stop one task after it has finished its work, or the service after a drain."""
        if "task" not in asked:
            return self._drain()
        task = self._task(asked)
        names = [each._supervisor.name for each in with_dependants(self._status.service, task)]
        await self._act(task, stop_task)
        return f"Stopped: {', '.join(names)}."

    def _drain(self) -> str:
        prepare_drain(self._status.service)
        self._status.service.shutdown()
        return "The service drains, and then stops."

    async def do_restart(self, asked: dict[str, Any]) -> str:
        """Restart one task with what depends on it, or the service."""
        if "task" not in asked:
            self._status.service.restart()
            return "The service restarts."
        names = await self._act(
            self._task(asked),
            lambda service, task: restart_task(service, task, self._status.watch.forget_checks),
        )
        return f"Restarted: {', '.join(names)}."

    async def _act(self, task: VTask, function: Callable[[VService, VTask], Any]) -> Any:
        if task.name in self._status.needed:
            raise RefusedError(409, f"{task.name} serves this page: restart the service.")
        service = self._status.service
        done = in_lifecycle(service, lambda: function(service, task))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(done), ACTING)
        except TimeoutError:
            raise RefusedError(503, f"{task.name} has not stopped yet.") from None
        except Exception as error:
            raise RefusedError(500, describe(error)) from error

    async def do_retry(self, asked: dict[str, Any]) -> str:
        """Put the item of a dead letter into its queue again."""
        letters, number = self._letter(asked)
        if not await self._run(lambda: letters.retry(number)):
            raise RefusedError(404, "That dead letter is gone.")
        return "The item is in the queue again."

    async def do_discard(self, asked: dict[str, Any]) -> str:
        """Forget a dead letter."""
        letters, number = self._letter(asked)
        if not letters.discard(number):
            raise RefusedError(404, "That dead letter is gone.")
        return "The dead letter is discarded."

    def _letter(self, asked: dict[str, Any]) -> tuple[DeadLetters, int]:
        letters = self._status.watch.letters.get(self._task(asked).name)
        number = asked.get("letter")
        if letters is None or not isinstance(number, int):
            raise RefusedError(400, "The object needs a queue's 'task' and the number 'letter'.")
        return letters, number

    async def do_dismiss(self, asked: dict[str, Any]) -> str:
        """Remove a warning of the service."""
        number = asked.get("warning")
        if not isinstance(number, int) or not self._status.service.clearWarning(number):
            raise RefusedError(404, "There is no such warning.")
        return "The warning is dismissed."

    async def do_scale(self, asked: dict[str, Any]) -> str:
        """Change the number of copies, of which there are none."""
        raise RefusedError(409, "The service does not run as several copies (--processes).")

    async def do_shutdown(self, asked: dict[str, Any]) -> str:
        """Shut the service down."""
        self._status.service.shutdown()
        return "The service shuts down."

    def _task(self, asked: dict[str, Any]) -> VTask:
        name = text_of(asked, "task")
        found: VTask | None = self._status.service.getTask(name)
        if found is None:
            raise RefusedError(404, f"No task is named {name!r}.")
        if found.supervisor.held:
            raise RefusedError(409, f"Another copy runs {name}.")
        return found

    async def _run(self, function: Callable[[], Any]) -> Any:
        return await self._status.asker.run("control", function)
