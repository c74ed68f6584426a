"""The controls: setting an option, running a task now, restart, shutdown; for who may.

They exist only with ``--status-control``, and over the control socket that the service announces
(see `sparts.tasks.tornado.console.registry`). Each is a POST of JSON, and none works from a page of
another origin (see `access`), nor without the token, unless it comes over the Unix socket.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.masking import one_line
from sparts.tasks.tornado import access
from sparts.tasks.tornado.status.actions import ACTIONS, perform
from sparts.tasks.tornado.status.handlers import Handler, RefusedError
from sparts.tasks.tornado.streams import client_of

if TYPE_CHECKING:
    from sparts.tasks.tornado.status.base import StatusTask

    from tornado.httputil import HTTPServerRequest

CONTROL_HEADER = "X-Sparts-Control"
"""The header that every control request carries, with any value."""
LONGEST = 65536
"""How many bytes a request may hold."""


def guard_of(task: StatusTask, request: HTTPServerRequest) -> str:
    """Return what guards the controls for a request: ``token``, ``socket``; ``""``: none exist."""
    if by_control_socket(task, request):
        return "socket"
    if not task.control:
        return ""
    return "socket" if access.over_unix_socket(request) else "token"


def by_control_socket(task: StatusTask, request: HTTPServerRequest) -> bool:
    """Return whether a request came over the control socket that the service announces."""
    return task.announcement is not None and access.bound_to(request) == task.announcement.bound


class Control(Handler):
    """Does one thing to the service, and answers what it did or why not, as JSON."""

    METHODS: ClassVar[str] = "POST"

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
        who, what = client_of(self.request), one_line(self.request.path)
        self.task.logger.warning(
            "Refused %s from %s: %s", what, who or "a Unix socket", one_line(text)
        )
        raise RefusedError(status, text)

    async def post(self) -> None:
        """Do it."""
        asked = self._read()
        self.task.logger.info(
            "%s, asked for over HTTP by %s",
            self._spelt(asked),
            client_of(self.request) or "a Unix socket",
        )
        copies = self.task.copies
        message = await (
            perform(self.task, self.action, asked)
            if copies is None
            else copies.act(self.action, asked)
        )
        self.tell_json({"ok": True, "message": message})

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
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"That is not JSON: {error}.") from error
        if not isinstance(found, dict):
            raise RefusedError(400, "Send a JSON object.")
        return found

    def tell_error(self, text: str) -> None:
        """Answer with what was wrong, as JSON where there are controls."""
        if not guard_of(self.task, self.request):
            super().tell_error(text)
            return
        if self.get_status() == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="sparts"')
        self.tell_json({"ok": False, "message": text})


def control_routes(task: StatusTask) -> list[Any]:
    """Return the route of each control."""
    return [(f"/control/{name}", Control, {"task": task, "action": name}) for name in ACTIONS]
