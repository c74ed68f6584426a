"""The controls: setting an option, running a task now, restart, shutdown; for who may.

They exist only with ``--status-control``, and over the control socket that the service announces
(see `sparts.tasks.tornado.console.registry`). Each is a POST of JSON, and none works from a page of
another origin (see `access`), nor without the token, unless it comes over the Unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError, describe
from sparts.escaping import one_line
from sparts.tasks.event import EventTask
from sparts.tasks.tornado import access
from sparts.tasks.tornado.status.acting import (
    in_lifecycle,
    restart_task,
    stop_task,
    with_dependants,
)
from sparts.tasks.tornado.status.detail import actions_of
from sparts.tasks.tornado.status.handlers import Handler, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.tornado.status.base import StatusTask
    from sparts.tasks.tornado.status.letters import DeadLetters
    from sparts.vservice import VService
    from sparts.vtask import VTask

    from tornado.httputil import HTTPServerRequest

CONTROL_HEADER = "X-Sparts-Control"
"""The header that every control request carries, with any value."""
LONGEST = 65536
"""How many bytes a request may hold."""
ACTING = 60.0
"""Seconds that the stop and start of one task may take."""
DRAIN_TIME = "5s"
"""How long a service that is drained reports that it is not ready, if its options say nothing."""


def guard_of(task: StatusTask, request: HTTPServerRequest) -> str:
    """Return what guards the controls for a request: ``token``, ``socket``; ``""``: none exist."""
    if by_control_socket(task, request):
        return "socket"
    if not task.control:
        return ""
    return "socket" if access.over_unix_socket(request) else "token"


def by_control_socket(task: StatusTask, request: HTTPServerRequest) -> bool:
    """Tell whether a request came over the control socket that the service announces."""
    return task.announcement is not None and access.bound_to(request) == task.announcement.bound


class Control(Handler):
    """Does one thing to the service, and tells what it did or why not, as JSON."""

    METHODS = "POST"

    def initialize(self, task: StatusTask, action: str = "") -> None:
        """Take what is to be done, too."""
        super().initialize(task)
        self.action = action

    def prepare(self) -> None:
        """Refuse a caller who may not act."""
        super().prepare()
        if not guard_of(self.task, self.request):
            raise RefusedError(404, f"Controls exist only with {self.task.flag('control')}.")
        if self.request.method != "POST":
            return
        problem = access.foreign(self.request)
        if not problem and CONTROL_HEADER not in self.request.headers:
            problem = f"it lacks the header {CONTROL_HEADER}"
        if problem:
            self._refuse(403, f"Refused: {problem}.")
        if not access.over_unix_socket(self.request):
            given = access.token_given(self.request)
            if not access.token_is_right(given, self.task.token):
                wrong = "That is not the token." if given else "It takes the token."
                self._refuse(401, f"{wrong} ({self.task.flag('token')})")

    def _refuse(self, status: int, text: str) -> None:
        who, what = self.request.remote_ip, one_line(self.request.path)
        self.task.logger.warning(
            "Refused %s from %s: %s", what, who or "a Unix socket", one_line(text)
        )
        raise RefusedError(status, text)

    async def post(self) -> None:
        """Do it."""
        asked = self._read()
        self.task.logger.info(
            "%s, asked for over HTTP by %s", self._spelt(asked), self.request.remote_ip or "a file"
        )
        self.tell_json({"ok": True, "message": await getattr(self, f"do_{self.action}")(asked)})

    def _spelt(self, asked: dict[str, Any]) -> str:
        named = (str(asked[key]) for key in ("name", "task") if key in asked)
        return one_line(" ".join([self.action, *named]))

    def _read(self) -> dict[str, Any]:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError(415, "Send a JSON object, as Content-Type: application/json.")
        if len(self.request.body) > LONGEST:
            raise RefusedError(413, f"A request holds at most {LONGEST} bytes.")
        try:
            found = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"That is not JSON: {error}.") from error
        if not isinstance(found, dict):
            raise RefusedError(400, "Send a JSON object.")
        return found

    def _text(self, asked: dict[str, Any], key: str) -> str:
        found = asked.get(key)
        if not isinstance(found, str) or not found:
            raise RefusedError(400, f"The object needs a string {key!r}.")
        return found

    # -- what can be done --------------------------------------------------------------------------

    async def do_verify(self, asked: dict[str, Any]) -> str:
        """Nothing: a caller who gets here may act."""
        return "The controls are yours."

    async def do_option(self, asked: dict[str, Any]) -> str:
        """Set an option, as `VService.setOption` does."""
        name = self._text(asked, "name")
        if "value" not in asked:
            raise RefusedError(400, "The object needs a 'value'; null for none.")
        try:
            await self._run(lambda: self.task.service.setOption(name, asked["value"]))
        except OptionError as error:
            raise RefusedError(400, str(error)) from error
        return f"{name} is set."

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
        if "pause" not in actions_of(self.task, task):
            raise RefusedError(409, f"{task.name} cannot be paused now.")
        self.task.watch.gates[task.name].close()
        return f"{task.name} is paused."

    async def do_resume(self, asked: dict[str, Any]) -> str:
        """Have a paused task go on."""
        task = self._task(asked)
        if not self.task.watch.paused(task.name):
            raise RefusedError(409, f"{task.name} is not paused.")
        self.task.watch.gates[task.name].open()
        return f"{task.name} goes on."

    async def do_drain(self, asked: dict[str, Any]) -> str:
        """Stop one task after it has finished its work, or the service after a drain."""
        if "task" not in asked:
            return self._drain()
        task = self._task(asked)
        names = [each.name for each in with_dependants(self.task.service, task)]
        await self._act(task, stop_task)
        return f"Stopped: {', '.join(names)}."

    def _drain(self) -> str:
        service = self.task.service
        if not service.drain_time:
            with contextlib.suppress(OptionError):
                service.setOption("drain_time", DRAIN_TIME)
        service.shutdown()
        return "The service drains, and then stops."

    async def do_restart(self, asked: dict[str, Any]) -> str:
        """Restart one task with what depends on it, or the service."""
        if "task" not in asked:
            self.task.service.restart()
            return "The service restarts."
        names = await self._act(
            self._task(asked),
            lambda service, task: restart_task(service, task, self.task.watch.forget_checks),
        )
        return f"Restarted: {', '.join(names)}."

    async def _act(self, task: VTask, function: Callable[[VService, VTask], Any]) -> Any:
        if task.name in self.task.needed:
            raise RefusedError(409, f"{task.name} serves this page: restart the service.")
        service = self.task.service
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
        letters = self.task.watch.letters.get(self._task(asked).name)
        number = asked.get("letter")
        if letters is None or not isinstance(number, int):
            raise RefusedError(400, "The object needs a queue's 'task' and the number 'letter'.")
        return letters, number

    async def do_dismiss(self, asked: dict[str, Any]) -> str:
        """Remove a warning of the service."""
        number = asked.get("warning")
        if not isinstance(number, int) or not self.task.service.clearWarning(number):
            raise RefusedError(404, "There is no such warning.")
        return "The warning is dismissed."

    async def do_shutdown(self, asked: dict[str, Any]) -> str:
        """Shut the service down."""
        self.task.service.shutdown()
        return "The service shuts down."

    def _task(self, asked: dict[str, Any]) -> VTask:
        name = self._text(asked, "task")
        found: VTask | None = self.task.service.getTask(name)
        if found is None:
            raise RefusedError(404, f"No task is named {name!r}.")
        return found

    async def _run(self, function: Callable[[], Any]) -> Any:
        return await self.task.asker.run("control", function)

    def tell_error(self, text: str) -> None:
        """Answer with what was wrong, as JSON where there are controls."""
        if not guard_of(self.task, self.request):
            super().tell_error(text)
            return
        if self.get_status() == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="sparts"')
        self.tell_json({"ok": False, "message": text})


ACTIONS = (
    *("verify", "option", "run", "pause", "resume", "drain", "restart", "shutdown"),
    *("retry", "discard", "dismiss"),
)


def control_routes(task: StatusTask) -> list[Any]:
    """Return the route of each control."""
    return [(f"/control/{name}", Control, {"task": task, "action": name}) for name in ACTIONS]
