"""The example with a status page, as a process."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse
from sparts.tasks.tornado.status import StatusHTTPTask

from tests.processes import ServiceProcess, clean_environment, context_switches
from tests.tornado.status_clients import TOKEN, Client, Stream
from tests.tornado.test_status import SCRIPT

EXAMPLE = Path(__file__).parents[2] / "examples" / "status.py"


def test_status_example_serves_probes_metrics_and_controls(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    command = [sys.executable, str(EXAMPLE), "--status-port", "0", "--status-control"]
    env = clean_environment(MAILSERVICE_STATUS_TOKEN_FILE=os.fspath(token))
    with ServiceProcess([*command, "--mailer-interval", "10ms"], cwd=tmp_path, env=env) as service:
        client = Client(service.listening_port("StatusHTTPTask"))
        service.read_until_started()
        assert client.ask("/livez").status == client.ask("/readyz").status == 200
        families = {family.name: family for family in parse(client.ask("/metrics").text)}
        assert families["sparts_sent"].documentation == "Mails sent."
        assert families["sparts_size_bytes"].type == "histogram"
        assert client.act("option", {"name": "db_up", "value": "no"}).status == 200
        failing = client.ask("/readyz").json()["checks"]["database"]
        assert failing["reason"] == "ConnectionError: the database does not answer"
        assert client.act("run", {"task": "Report"}).status == 200
        service.read_until(r"INFO:MailService\.Report:\d+ mails have been sent")
        assert client.act("shutdown").status == 200
        assert service.finish() == 0
    assert TOKEN not in service.output


def test_service_rests_after_its_page_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, "--status-port", "0"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        client = Client(service.listening_port("StatusHTTPTask"))
        service.read_until_started()
        stream = Stream(client)
        assert "service" in stream.next()
        stream.close()
        before = -1
        while before != (before := context_switches(service.pid)):  # never so, if it ticks on
            threading.Event().wait(2 * StatusHTTPTask.TICK)
        assert service.stop() == 0
