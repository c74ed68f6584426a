"""The example servers answer real clients."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from sparts.thrift.client import ThriftClient

from tests.processes import ServiceProcess, imported

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_calculator_calculates(tmp_path: Path) -> None:
    calculator = imported(EXAMPLES / "thrift_calculator.py").calculator
    command = [sys.executable, str(EXAMPLES / "thrift_calculator.py")]
    with ServiceProcess(command, cwd=tmp_path) as service:
        port = service.listening_port("NBServerTask")
        service.read_until_started()
        with ThriftClient.for_localhost(port, module=calculator) as client:
            assert client.add(40, 2) == 42
            assert client.divide(1.0, 4.0) == 0.25
            with pytest.raises(calculator.DivisionByZero):
                client.divide(1.0, 0.0)
            assert re.fullmatch(r"somebody at (127\.0\.0\.1|\[::1\]):\d+", client.whoami())
        assert service.stop() == 0


def test_two_services_share_a_port_over_http(tmp_path: Path) -> None:
    idl = imported(EXAMPLES / "thrift_multiplexed.py").idl
    command = [sys.executable, str(EXAMPLES / "thrift_multiplexed.py")]
    with ServiceProcess(command, cwd=tmp_path) as service:
        framed = service.listening_port("FramedServer")
        http = service.listening_port("HTTPServer")
        service.read_until_started()
        for port, path in ((framed, None), (http, "/")):
            words = ThriftClient.for_localhost(
                port, module=idl.Words, path=path, multiplex_service="Words"
            )
            numbers = ThriftClient.for_localhost(
                port, module=idl.Numbers, path=path, multiplex_service="Numbers"
            )
            with words, numbers:
                assert words.upper("abc") == "ABC"
                assert numbers.twice(21) == 42
        assert service.stop() == 0
