"""What an editor offers behind `self.`, asked of a language server as an editor asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.test_public_names import OF_SERVICES, OF_TASKS

SOURCE = """
from sparts.vservice import VService
from sparts.vtask import VTask

class Task(VTask):
    def work(self) -> None:
        self.

class Service(VService):
    def work(self) -> None:
        self.
"""
TYPED = {"ALL_TASKS", "ENV_PREFIX"}
"""Attributes of a service that have a value only where a class sets one."""
BARE = """
    name service logger threads stop_event level logfile dryrun daemon pidfile kill runit_install
"""
"""Attributes that are only annotated, of which the server shows the type alone."""


class Server:
    """A language server, as an editor sees it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._number = 0
        self.uri = (folder / "service.py").as_uri()
        able = {"workspace": {"configuration": True}}
        place = {"uri": folder.as_uri(), "name": "editor"}
        self.ask("initialize", processId=None, capabilities=able, workspaceFolders=[place])
        self._send({"method": "initialized", "params": {}})
        document = {"uri": self.uri, "languageId": "python", "version": 1, "text": SOURCE}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message

    def ask(self, method: str, **params: Any) -> Any:
        """Return the result of a request; when the server asks for settings, it gets the Python."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" in message and "id" in message:
                items = message.get("params", {}).get("items", ())
                python = {"pythonPath": sys.executable}
                found = [python if each["section"] == "python" else {} for each in items]
                self._send({"id": message["id"], "result": found or None})
            elif message.get("id") == self._number:
                return message["result"]

    def offered(self, line: int) -> dict[str, dict[str, Any]]:
        """Return the names offered at the end of a line, but for private ones."""
        text = SOURCE.splitlines()[line]
        place = {"line": line, "character": len(text)}
        found = self.ask("textDocument/completion", textDocument={"uri": self.uri}, position=place)
        return {each["label"]: each for each in found["items"] if each["label"][0] != "_"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if os.environ.get("SPARTS_OTHER_PYTHON") == "1":
        pytest.skip("SPARTS_OTHER_PYTHON=1: the server was asked on another")
    folder = tmp_path_factory.mktemp("editor")
    (folder / "service.py").write_text(SOURCE)
    command = [str(Path(sys.executable).with_name("basedpyright-langserver")), "--stdio"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe) as process:
        yield Server(process, folder)
        process.kill()


@pytest.mark.parametrize(
    ("line", "names"),
    [(6, set(OF_TASKS.split())), (10, set(OF_SERVICES.split()) | TYPED)],
    ids=["task", "service"],
)
def test_editor_offers_documented_public_names(server: Server, line: int, names: set[str]) -> None:
    offered = server.offered(line)
    assert offered.keys() - {"work"} == names
    for name in names - TYPED - set(BARE.split()):
        found = server.ask("completionItem/resolve", **offered[name])
        _, _, text = found["documentation"]["value"].strip().partition("\n")
        assert text.strip(), f"{name} has no docstring"
