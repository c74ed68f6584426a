"""Under load nothing fails during a stop with a drain."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

from tests.http_contract import Load
from tests.processes import ServiceProcess
from tests.tornado.http_services import WAIT, ask

ROOT = Path(__file__).parents[2]
SCRIPT = "from tests.tornado.http_services import Service; Service.initFromCLI()"


def test_no_request_fails_in_stop_with_drain_time() -> None:
    """The clients stop a little after /readyz says 503, as a load balancer has them do."""
    command = [sys.executable, "-c", SCRIPT, "--http-port", "0", "--drain-time", "50s"]
    command += ["--stop-timeout", "60s"]
    with ServiceProcess(command, cwd=ROOT) as process:
        port = process.listening_port("Http")
        process.read_until_started()
        with Load(("127.0.0.1", port), keeping=6, fresh=2) as load:
            watcher = socket.create_connection(("127.0.0.1", port), WAIT)
            assert ask(watcher, "/readyz")[0] == 200
            while len(load.answers) < 100:
                assert ask(watcher, "/readyz")[0] == 200
            process.process.send_signal(signal.SIGTERM)
            while ask(watcher, "/readyz")[0] == 200:
                pass
            enough = len(load.answers) + 50
            while len(load.answers) < enough and not load.failures:
                assert ask(watcher, "/readyz")[0] == 503
        watcher.close()
        process.process.send_signal(signal.SIGINT)  # the rest of the drain is not waited for
        assert process.finish() == 0
        assert "cut off" not in process.output
