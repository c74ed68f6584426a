"""TLS: the broker's certificate is checked, and a client certificate may log in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, AsyncEcho, Echo, serving, until, working
from tests.certificates import Authority
from tests.needs import require

pytestmark = pytest.mark.one_python

SETTINGS = """
listeners.ssl.1 = 127.0.0.1:{{rabbit.tls_port}}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority()
    contents = {
        "ca": authority.certificate,
        "server": authority.issue("localhost"),
        "client": authority.issue("guest"),
        "other": Authority().certificate,
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_text(content, encoding="ascii")
    return folder


@pytest.fixture(scope="module")
def tls_rabbit(certificates: Path) -> Iterator[Rabbit]:
    """Give a node that asks for client certificates."""
    require(["rabbitmq-server"])
    with Rabbit(SETTINGS.format(folder=certificates)) as node:
        yield node


def url(rabbit: Rabbit, folder: Path, authority: str = "ca.pem") -> str:
    """Return the URL of a client with a certificate."""
    files = f"ca={folder}/{authority}&cert={folder}/client.pem"
    return f"amqps://guest:guest@localhost:{rabbit.tls_port}/?{files}"


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_items_pass_over_tls(
    tls_rabbit: Rabbit, certificates: Path, queue_name: str, kind: type[Echo]
) -> None:
    with working(kind, url(tls_rabbit, certificates), queue_name) as task:
        items = ["x" * 100_000, *range(300)]
        assert task.map(items, timeout=SOON) == items
        task.put_many(range(2000))


def test_unknown_authority_is_refused(
    tls_rabbit: Rabbit, certificates: Path, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Suspicious(Echo):
        QUEUE = queue_name

    address = url(tls_rabbit, certificates, "other.pem")
    with serving(Suspicious, "--Suspicious-broker", address) as task:
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the refusal")
        assert not task.ready
