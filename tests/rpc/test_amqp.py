"""RPC over AMQP: instances that share calls, instances that end, and no server at all."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sparts.builtin.dryrun import dry_run
from sparts.errors import UsageError
from sparts.rpc import RPCTask, UnavailableError, connect, connect_async, rpc
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.testing.processes import ServiceProcess
from sparts.testing.rpc.kit import Kit
from sparts.testing.running import make_service, running, service_of

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, until
from tests.rpc.deadly import Deadly

pytestmark = [pytest.mark.one_python, pytest.mark.needs("rabbitmq-server")]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rabbit() -> Iterator[Rabbit]:
    with Rabbit() as node:
        yield node


@contextmanager
def instances(url: str, number: int) -> Iterator[None]:
    """Run processes that serve `Deadly`."""
    command = [sys.executable, "-m", "tests.rpc.deadly", "--rpc-amqp-broker", url]
    command += ["--rpc-amqp-workers", "1"]
    with contextlib.ExitStack() as stack:
        crew = [stack.enter_context(ServiceProcess(command, cwd=ROOT)) for _ in range(number)]
        for process in crew:
            process.wait_ready()
        yield


def test_instances_share_calls_and_take_over(rabbit: Rabbit, tmp_path: Path) -> None:
    with instances(rabbit.url, 3), connect(rabbit.url, Deadly) as deadly:
        with ThreadPoolExecutor(3) as threads:  # each waits until the three are there
            pids = set(threads.map(lambda _: deadly.meet(str(tmp_path), 3), range(3)))
        assert len(pids) == 3
        # The first that serves it dies, and another serves it again.
        assert deadly.die_at_first(str(tmp_path / "idempotent")) in pids
        with pytest.raises(UnavailableError, match="the method may have run"):
            deadly.die_once(str(tmp_path / "other"))
        assert (tmp_path / "other").read_text() == "begun\n"


def test_call_that_nobody_serves_is_unavailable(rabbit: Rabbit) -> None:
    class Nobody(RPCTask):
        @rpc
        def run(self) -> None: ...

    class Deserted(Nobody):
        pass

    with connect(rabbit.url, Nobody) as nobody, pytest.raises(UnavailableError) as caught:
        nobody.run()
    assert not caught.value.maybe_run
    with running(service_of(Deserted, RPCAMQPTask), "--rpc-amqp-broker", rabbit.url):
        pass
    with (
        connect(rabbit.url, Deserted) as deserted,
        pytest.raises(UnavailableError, match="Nobody serves Deserted"),
    ):
        deserted.run()


def test_call_given_up_unsent_is_never_made(rabbit: Rabbit) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def given_up(proxy: Any, sign: Any) -> None:
        call = asyncio.ensure_future(proxy.echo_async("given up"))
        await asyncio.to_thread(sign)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    async def main() -> None:
        async with connect_async(rabbit.url, Kit) as proxy:
            await proxy.nothing()
            client: Any = proxy._caller.client
            caller, connected = client._caller, client._connected

            caller.link.blocked = True  # as when the broker has no memory left
            await given_up(proxy, lambda: until(lambda: caller._outbox, "the call to wait"))
            caller.link.blocked = False

            def late(call: Any) -> Any:
                begun.set()
                assert go_on.wait(SOON)
                return connected(call)

            client._connected = late
            await given_up(proxy, lambda: begun.wait(SOON))
            go_on.set()
            assert await proxy.echo_async("made") == "made"
        assert not caller.outcomes._waiting

    with running(service_of(Kit, RPCAMQPTask), "--rpc-amqp-broker", rabbit.url) as service:
        asyncio.run(main())
        assert service.requireTask(Kit).n_calls.labels("echo_async")() == 1


def test_server_without_broker_is_refused() -> None:
    service, text = service_of(Deadly, RPCAMQPTask), "RPCAMQPTask has no broker: give --rpc-amqp-b"
    with pytest.raises(UsageError, match=text), running(service):
        pass
    with pytest.raises(UsageError, match=text):
        dry_run(service, make_service(service).options)
