"""The services of examples/versus do the same by sparts and by hand; the docs count their lines."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ecosystem.rooms import ROOT, code_lines
from tests.processes import ServiceProcess, clean_environment

VERSUS = ROOT / "examples" / "versus"
SERVICES = ("photos", "inbox", "lines")
HANDS = pytest.mark.parametrize("hand", ["sparts", "by_hand"])
ROW = re.compile(r"^\| `(\w+)`: [^|]+\| (\d+) \| (\d+) \|", re.MULTILINE)

pytestmark = pytest.mark.one_python


@contextmanager
def started(name: str, *argv: str, cwd: Path, **env: str) -> Iterator[ServiceProcess]:
    """Run one version of a service until it has started."""
    command = [sys.executable, str(VERSUS / f"{name}.py"), *argv]
    with ServiceProcess(command, cwd=cwd, env=clean_environment(**env)) as process:
        process.read_until("All tasks started|Server Started on" if "lines" in name else "started")
        yield process


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def photos(hand: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Give the command line and the environment of the web service."""
    if hand == "sparts":
        ports = {"PHOTOS_ASGI_PORT": "0", "PHOTOS_STATUS_PORT": "0"}
        return ["--asgi-host", "127.0.0.1", "--cleanup-folder", str(folder)], ports
    return ["--cleanup-folder", str(folder)], {"PHOTOS_PORT": "0"}


@HANDS
def test_the_web_service_answers_and_finishes_at_sigterm(hand: str, tmp_path: Path) -> None:
    argv, env = photos(hand, tmp_path)
    with started(f"photos_{hand}", *argv, cwd=tmp_path, **env) as process:
        if hand == "by_hand":
            web = status = process.read_until(r"running on (http://127.0.0.1:\d+)")[1]
        else:
            found = dict(re.findall(r"(\w+) Server Started on (\S+)", process.output))
            web, status = f"http://{found['Web']}", f"http://{found['StatusHTTPTask']}"
        assert json.loads(get(f"{web}/resize/a.jpg")) == {"resized": "small-a.jpg"}
        assert get(f"{status}/readyz")
        assert re.search(rb"(?m)^\w*completed\w*(\{.*\})? 1", get(f"{status}/metrics"))
        with ThreadPoolExecutor(8) as clients:
            asked = [clients.submit(get, f"{web}/resize/{n}.jpg") for n in range(8)]
            next(as_completed(asked))
            assert process.stop(signal.SIGTERM) == 0, process.output
        assert [json.loads(each.result())["resized"] for each in asked] == [
            f"small-{n}.jpg" for n in range(8)
        ]


@HANDS
def test_the_inbox_imports_retries_and_drains_at_sigterm(hand: str, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "early.txt").write_text("four")
    with started(f"inbox_{hand}", cwd=tmp_path, IMPORTER_INBOX_PATH=str(inbox)) as process:
        (tmp_path / "bad.txt").write_bytes(b"\xff")
        (tmp_path / "bad.txt").rename(inbox / "bad.txt")
        process.read_until("bad.txt")
        (tmp_path / "late.txt").write_text("seven..")
        (tmp_path / "late.txt").rename(inbox / "late.txt")
        process.read_until("late.txt is done")
        assert process.stop(signal.SIGTERM) == 0, process.output
    names = {path.name: path.read_text("latin-1") for path in inbox.iterdir()}
    assert names == {"early.count": "4\n", "late.count": "7\n", "bad.failed": "\xff"}


@HANDS
def test_the_server_of_lines_answers_until_sigterm(hand: str, tmp_path: Path) -> None:
    argv = ["--shouting-port", "0"]
    with started(f"lines_{hand}", *argv, cwd=tmp_path, LINESERVICE_LEVEL="INFO") as process:
        port = int(re.findall(r"Server Started on 127.0.0.1:(\d+)", process.output)[0])
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(b"hel")
            client.sendall(b"lo\n")
            assert client.recv(100) == b"HELLO\n"
            process.wait_for_line(r"\d lines")
            assert process.stop(signal.SIGTERM) == 0, process.output
            assert client.recv(100) == b""


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_lines_of_code_are_those_that_page_says(page: str) -> None:
    said = {name: (int(ours), int(theirs)) for name, ours, theirs in ROW.findall(text_of(page))}
    counted: dict[str, Any] = {
        name: tuple(code_lines(VERSUS / f"{name}_{hand}.py") for hand in ("sparts", "by_hand"))
        for name in SERVICES
    }
    assert said == counted
    assert all(ours < theirs for ours, theirs in counted.values())


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")
