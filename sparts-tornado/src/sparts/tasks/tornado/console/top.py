"""``sparts top``: services and their tasks in a terminal, live, with keys to act. Needs textual."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from sparts.errors import message_of
from sparts.tasks.tornado.console import registry
from sparts.tasks.tornado.console.client import Client, NoAnswerError, statuses
from sparts.tasks.tornado.console.model import Model, spark
from sparts.tasks.tornado.console.render import STYLES, clock, plain, span
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, RichLog, Static

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.binding import BindingType

AGAIN = 2.0
"""Seconds until a service that does not answer is asked again."""


class Confirm(ModalScreen[bool]):
    """Asks before something that cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]
    CSS: ClassVar[str] = """
    Confirm { align: center middle; }
    Confirm Static { width: 50; padding: 1 2; border: round $warning; background: $surface; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Make the box."""
        yield Static(f"{self._question}\n\ny: yes   n: no", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)


class Services(Screen[None]):
    """All services that are announced."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look", "Look again"),
        Binding("q", "app.quit", "Quit"),
    ]

    def compose(self) -> ComposeResult:
        """Make the table."""
        yield Static("Services on this machine", id="title")
        yield DataTable(cursor_type="row")
        yield Footer()

    def on_mount(self) -> None:
        """Fill the table."""
        table = self.query_one(DataTable)
        table.add_columns("NAME", "PID", "STATUS", "READY", "UP", "URL")
        self.action_look()

    def on_screen_resume(self) -> None:
        """Look again, when a service is left."""
        if self.query_one(DataTable).columns:
            self.action_look()

    def action_look(self) -> None:
        """Look which services there are."""
        table = self.query_one(DataTable)
        table.clear()
        found = registry.find()
        title = "Services on this machine" if found else f"No service is announced. {registry.HOW}"
        self.query_one("#title", Static).update(title)
        clients = [Client(each.name, path=each.socket, url=each.url) for each in found]
        for each, told in zip(found, statuses(clients), strict=True):
            state = Text(told["status"], style=STYLES.get(told["status"], ""))
            ready = "yes" if told.get("ready") else "no"
            up = span(told.get("uptime", 0.0))
            table.add_row(
                plain(each.name), str(each.pid), state, ready, up, each.url,
                key=each.socket,
            )  # fmt: skip

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the service of a row."""
        path = str(event.row_key.value)
        found = next((each for each in registry.find() if each.socket == path), None)
        if found is not None:
            self.app.push_screen(Service(Client(found.name, path=found.socket, url=found.url)))


class Service(Screen[None]):
    """One service: headline, tasks, warnings, log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("x", "act('run')", "Run"),
        Binding("p", "pause", "Pause/Resume"),
        Binding("r", "ask('restart')", "Restart task"),
        Binding("d", "ask('drain')", "Stop task"),
        Binding("w", "dismiss_warnings", "Dismiss"),
        Binding("R", "ask_service('restart')", "Restart all", show=False),
        Binding("S", "ask_service('shutdown')", "Stop all"),
        Binding("q", "app.quit", "Quit"),
    ]
    CSS: ClassVar[str] = """
    #head { height: auto; padding: 0 1; }
    #tasks { height: 1fr; }
    #warnings { height: auto; max-height: 4; padding: 0 1; color: $warning; }
    #lines { height: 1fr; border-top: solid $primary; }
    """

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.model: Model = Model()
        self._ended = threading.Event()
        self._acted = ""

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield Static(f"{self._client.name}: connecting", id="head", markup=False)
        yield DataTable(id="tasks", cursor_type="row")
        yield Static("", id="warnings", markup=False)
        yield RichLog(id="lines", max_lines=500, wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow the service."""
        self.query_one(DataTable).add_columns("TASK", "KIND", "STATE", "FIGURE", "NOW", "RECENT")
        threading.Thread(target=self._follow, name="sparts top", daemon=True).start()

    def _follow(self) -> None:
        """Read the events; in a thread of its own."""
        began = time.time()
        while not self._ended.is_set():
            why = f"{self._client.name} does not answer: it has stopped"
            try:
                for name, data in self._client.events():
                    if name == "message":
                        self._call(self._take, data)
                    elif name == "log":
                        self._call(self._add_lines, data)
            except NoAnswerError as error:
                why = message_of(error)
            if not self._ended.is_set():
                self._call(self._lost, why)
                self._ended.wait(AGAIN)
                self._client.find_again(began)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        if not self._ended.is_set():
            with suppress(Exception):  # the application ends
                self.app.call_from_thread(function, *args)

    def _lost(self, why: str) -> None:
        self.query_one("#head", Static).update(plain(why))

    def _take(self, found: dict[str, Any]) -> None:
        model = self.model
        model.take(found)
        service = model.sections["service"]
        ready = "ready" if service["ready"] else "not ready"
        line = (
            f"{service['name']} {service['version']}  {service['status']}, {ready} since "
            f"{clock(service['status_since'])}  pid {service['pid']}  "
            f"up {span(model.sections['now'] - service['start_time'])}"
        )
        reasons = [f"{each['what']}: {each['why']}" for each in service["not_ready"]]
        plot = spark(list(model.plots.get("throughput", ())), 30)
        text = "\n".join(
            [line, f"{model.headline()}  {plot}", *reasons, *filter(None, [self._acted])]
        )
        self.query_one("#head", Static).update(plain_lines(text))
        warnings = [f"{clock(each['time'])} {plain(each['text'])}" for each in model.warnings]
        self.query_one("#warnings", Static).update("\n".join(warnings[-4:]))
        self._show_tasks()

    def _show_tasks(self) -> None:
        table = self.query_one("#tasks", DataTable)
        names = [each["name"] for each in self.model.tasks]
        if [key.value for key in table.rows] != names:
            row = table.cursor_row
            table.clear()
            for name in names:
                table.add_row(*[""] * len(table.columns), key=name)
            table.move_cursor(row=row)
        for each in self.model.tasks:
            cells = self._cells(each)
            for column, cell in zip(table.columns, cells, strict=True):
                if table.get_cell(each["name"], column) != cell:
                    table.update_cell(each["name"], column, cell, update_width=True)

    def _cells(self, task: dict[str, Any]) -> tuple[Any, ...]:
        state = "PAUSED" if task["paused"] else task["state"]
        name, now = self.model.figure(task)
        plot = spark(list(self.model.plots.get(task["key"], ())), 24)
        shown = Text(state, style=STYLES.get(state, ""))
        return plain(task["name"]), task["kind"], shown, plain(name), now, plot

    def _add_lines(self, lines: list[dict[str, Any]]) -> None:
        log = self.query_one(RichLog)
        for each in lines:
            self.model.lines.append(each)
            log.write(line_of(each))

    # -- keys --------------------------------------------------------------------------------------

    @property
    def selected(self) -> dict[str, Any] | None:
        """The task of the row where the cursor is."""
        row, tasks = self.query_one("#tasks", DataTable).cursor_row, self.model.tasks
        return tasks[row] if 0 <= row < len(tasks) else None

    def action_leave(self) -> None:
        """Go back to the services, or end."""
        if isinstance(self.app, Top) and self.app.single:
            self.app.exit()
        else:
            self.app.pop_screen()

    def on_unmount(self) -> None:
        """Follow no more."""
        self._ended.set()
        self._client.end_events()

    def do(self, action: str, **body: Any) -> None:
        """Ask for an action in a thread, and show what the service says."""

        def ask() -> None:
            try:
                told = self._client.act(action, **body)
            except NoAnswerError as error:
                told = message_of(error)
            self._call(self._tell, told)

        threading.Thread(target=ask, name="sparts top acting", daemon=True).start()

    def _tell(self, text: str) -> None:
        self._acted = f"{clock(time.time())} {text}"
        self.notify(plain(text), markup=False)

    def action_act(self, action: str) -> None:
        """Do something to the task that is selected."""
        if self.selected is not None:
            self.do(action, task=self.selected["name"])

    def action_pause(self) -> None:
        """Pause the task that is selected, or have it go on."""
        if self.selected is not None:
            self.action_act("resume" if self.selected["paused"] else "pause")

    def action_ask(self, action: str) -> None:
        """Do something to the task that is selected, after a question."""
        if (task := self.selected) is None:
            return
        name, verb = task["name"], {"drain": "Stop", "restart": "Restart"}[action]
        self._confirm(f"{verb} {name}, with what needs it?", lambda: self.do(action, task=name))

    def action_ask_service(self, action: str) -> None:
        """Do something to the service, after a question."""
        verb = {"shutdown": "Stop", "restart": "Restart"}[action]
        self._confirm(f"{verb} {self._client.name}?", lambda: self.do(action))

    def _confirm(self, question: str, yes: Callable[[], None]) -> None:
        self.app.push_screen(Confirm(question), lambda sure: yes() if sure else None)

    def action_dismiss_warnings(self) -> None:
        """Dismiss all warnings."""
        for each in self.model.warnings:
            self.do("dismiss", warning=each["id"])

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show one task."""
        self.app.push_screen(TaskView(self._client, self.model, str(event.row_key.value)))


class TaskView(Screen[None]):
    """One task: numbers, panels, errors."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "Back"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, client: Client, model: Model, name: str) -> None:
        super().__init__()
        self._client, self._model, self._task_name = client, model, name

    def compose(self) -> ComposeResult:
        """Make the text."""
        with VerticalScroll():
            yield Static("", id="detail", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Ask, now and every two seconds."""
        self.set_interval(2.0, self._look)
        self._look()

    def _look(self) -> None:
        try:
            found = self._client.task(self._task_name)
        except NoAnswerError as error:
            self.query_one("#detail", Static).update(plain(message_of(error)))
            return
        lines = [
            f"{found['name']} ({found['kind']}): {found['state']}",
            *found["doc"].splitlines()[:1],
        ]
        lines += ["", "Counters"]
        lines += [f"  {n:<36} {v:>14} {r:>12}" for n, v, r in self._model.numbers(self._task_name)]
        for panel in found["panels"]:
            lines += ["", panel["title"], *(f"  {each}" for each in told_of(panel["data"]))]
        for letter in found["letters"] or ():
            lines += [
                "",
                f"Dead letter {letter['number']}: {letter['item']}",
                f"  {letter['error']}",
            ]
        for each in found["errors"]:
            lines += ["", f"{clock(each['time'])} {each['error']}"]
        self.query_one("#detail", Static).update(plain_lines("\n".join(lines)))


class Top(App[int]):
    """The application.

    Args:
        client: the only service to show; None: those that are announced.
    """

    TITLE: str | None = "sparts top"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True)  # textual has ctrl+q alone
    ]

    def __init__(self, client: Client | None = None) -> None:
        super().__init__()
        self._client = client

    @property
    def single(self) -> bool:
        """Whether one service alone is shown."""
        return self._client is not None

    def on_mount(self) -> None:
        """Show the first screen."""
        self.push_screen(Services() if self._client is None else Service(self._client))


def line_of(each: dict[str, Any]) -> Text:
    """Return a log line with its colour."""
    text = f"{clock(each['time'])} {each['level']} {each['logger']}: {plain(each['text'])}"
    return Text(text, style=STYLES.get(each["level"], ""))


def plain_lines(text: str) -> str:
    """Return lines without control characters."""
    return "\n".join(map(plain, text.split("\n")))


def told_of(data: Any) -> list[str]:
    """Return a panel's data as lines."""
    if isinstance(data, dict):
        return [f"{name}: {_cell(value)}" for name, value in data.items()]
    if isinstance(data, list):
        return [
            "  ".join(f"{name}: {_cell(value)}" for name, value in each.items())
            if isinstance(each, dict)
            else _cell(each)
            for each in data
        ] or ["none"]
    return [_cell(data)]


def _cell(value: Any) -> str:
    return clock(value["time"]) if isinstance(value, dict) and "time" in value else str(value)
