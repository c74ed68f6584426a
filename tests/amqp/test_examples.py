"""The examples of two services on two machines, run as two processes on one broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.amqp.rabbit import Rabbit
from tests.processes import ServiceProcess

pytestmark = pytest.mark.one_python

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_two_services_share_a_queue(rabbit: Rabbit) -> None:
    words = ["--mailer-broker", rabbit.url]
    with (
        ServiceProcess(
            [sys.executable, str(EXAMPLES / "amqp_worker.py"), *words], cwd=EXAMPLES
        ) as worker,
        ServiceProcess(
            [sys.executable, str(EXAMPLES / "amqp_shop.py"), *words], cwd=EXAMPLES
        ) as shop,
    ):
        worker.read_until("sent to someone@example.org at attempt 2")
        shop.read_until("the mail was sent, and had 19 characters")
