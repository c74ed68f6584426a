"""When a certificate expires, read from its file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sparts.net.certificates import expiry
from sparts.testing.certificates import FIRST_CERTIFICATE
from sparts.testing.running import make_service

from tests.certificates import Authority
from tests.net.listening import EchoService


@pytest.mark.parametrize("year", [2031, 2120])  # the years before 2050 have two digits in there
def test_expiry_is_that_of_the_first_certificate(tmp_path: Path, year: int) -> None:
    when = datetime(year, 3, 4, 5, 6, 7, tzinfo=UTC)
    file = tmp_path / "certificate.pem"
    file.write_text(Authority().issue("localhost", expires=when) + FIRST_CERTIFICATE)
    assert expiry(str(file)) == when.timestamp()


def test_file_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.write_text("nothing")
    with pytest.raises(ValueError, match="no certificate"):
        expiry(str(file))


def test_server_with_tls_tells_when_its_certificate_expires(pem: str) -> None:
    for argv, expected in (((), None), (("--echo-tls-cert", pem), 4733510400.0)):
        service = make_service(EchoService, *argv)
        service.tasks.create(service)
        found = {r.name: r.value for _, r in service.stats.describe_counters()}
        assert found.get("certificate_expires") == expected
