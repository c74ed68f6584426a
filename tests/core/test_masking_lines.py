"""What comes from outside makes no line of its own: in logs, on terminals, and to systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparts import logs
from sparts.builtin import systemd
from sparts.masking import lines, one_line
from sparts.testing.running import running
from sparts.vservice import VService

from tests.core.log_helpers import FakeStderr, bare_root, logging_as

EVIL = "a\n\r\t\x00\x1b[2J\x7f\x85\x9b31m\u2028\u202e\udce9ü\U0001f600"
SHOWN = r"a\n\r\t\x00\x1b[2J\x7f\x85\x9b31m\u2028\u202e\udce9ü\U0001f600"
SHOWN = SHOWN.replace(r"\U0001f600", "\U0001f600")


def test_control_characters_are_shown_as_python_writes_them() -> None:
    assert one_line(EVIL) == SHOWN
    assert lines(EVIL) == SHOWN.replace(r"\n\r\t", "\n\\r\t")


@given(st.text(st.characters()))
def test_any_text_becomes_one_encodable_line(text: str) -> None:
    shown = one_line(text)
    assert len((shown + "x").splitlines()) == 1
    assert shown.encode().decode() == shown
    assert "\x1b" not in shown
    assert one_line(shown) == shown
    assert one_line(lines(text)) == shown


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_control_character_reaches_a_log(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = FakeStderr()
    monkeypatch.setattr("sys.stderr", stderr)
    with bare_root(), logging_as(format=form) as logger:
        token = logs.log_fields.set({"request_id": EVIL})
        logger.info("told %s", EVIL.replace("\n", ""))
        logger.error("%s", "two\n  lines\nERROR:Svc:forged")
        for text in (EVIL.replace("\n", ""), "x\nINFO:Svc.Task:forged"):
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception("failed")
        logs.log_fields.reset(token)
    written = stderr.getvalue()
    assert r"\u202e" in written
    assert "forged" in written
    assert [c for c in written if c not in "\n\t" and one_line(c) != c] == []
    starts = ("INFO:", "ERROR:", "Traceback", "  ", "ValueError:", "{")
    found = written.split("\n")[:-1]
    assert [line for line in found if not line.startswith(starts)] == []
    assert [line for line in found if line.startswith(("ERROR:Svc:forged", "INFO:Svc.T"))] == []


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that takes what a service tells systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield bound


def test_text_told_to_systemd_stays_one_line(manager: socket.socket) -> None:
    status = "failed: x\nMAINPID=1\rWATCHDOG=trigger\u2028STOPPING=1"
    for text in (status, os.fsdecode(b"caf\xe9")):
        systemd.notify(f"STATUS={text}")
        assert manager.recv(65536).decode() == f"STATUS={one_line(text)}"
    systemd.notify("RELOADING=1", "MONOTONIC_USEC=5")
    assert manager.recv(65536) == b"RELOADING=1\nMONOTONIC_USEC=5"
    for text in ("ü" * 1_000_000, "\n" * 1_000_000, "€" * 1499):
        systemd.notify(f"STATUS={text}")
        told = manager.recv(65536)
        assert 2990 < len(told) <= systemd.LONGEST
        told.decode()


@pytest.mark.parametrize("address", ["/no/such", "@" + "x" * 300, "/" + "x" * 300, "/\udce9"])
def test_telling_systemd_never_raises(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("STATUS=\ud800")


def test_outside_text_reaches_systemd_in_one_line(manager: socket.socket) -> None:
    with running(VService) as service:
        service.registerWarning("caf\xe9\x9b\nMAINPID=1\nSTOPPING=1")
        while b"caf" not in (told := manager.recv(65536)):
            pass
        assert told.split(b"\n") == [r"STATUS=WARNING: café\x9b\nMAINPID=1\nSTOPPING=1".encode()]
