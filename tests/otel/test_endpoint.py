"""Where telemetry goes: addresses, certificates, passwords, and the console."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sparts.builtin.dryrun import dry_run
from sparts.errors import OptionError
from sparts.masking import masked
from sparts.otel.exporters import exporters
from sparts.otel.reaching import signal_endpoint
from sparts.testing.running import running, service_of

from tests.certificates import Authority
from tests.otel.collector import Collector
from tests.otel.test_metrics_and_logs import Idle, send


def checked(endpoint: str) -> int:
    """Return the exit status of a dry run."""
    cls = service_of(Idle)
    return dry_run(cls, cls.from_args(["--dryrun", "--otel-endpoint", endpoint]).options)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("http://a", "http://a/v1/traces"),
        ("http://a:1/b/", "http://a:1/b/v1/traces"),
        ("https://u:p@[::1]:1/b?key=c", "https://u:p@[::1]:1/b/v1/traces?key=c"),
    ],
)
def test_path_of_a_signal_follows_the_endpoint(endpoint: str, address: str) -> None:
    assert signal_endpoint(endpoint, "traces") == address


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "http://", "ftp://a", "http://[::1", "http://a:99999", "http://:1"],
)
def test_endpoint_without_url_is_a_usage_error(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match="URL such as http://localhost:4318"):
        service_of(Idle).from_args(["--otel-endpoint", endpoint])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with pytest.raises(OptionError, match="must be a URL of http"):
        signal_endpoint(None, "traces")


def test_empty_variable_is_as_if_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", " ")
    assert signal_endpoint("http://a", "traces") == "http://a/v1/traces"


def test_certificates_of_the_variable_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    trusted = tmp_path / "ca.pem"
    trusted.write_text(authority.certificate)
    other = tmp_path / "other.pem"
    other.write_text(Authority().certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(trusted))
    with Collector(authority.serving("127.0.0.1")) as collector:
        send(collector.endpoint)
        assert checked(collector.endpoint) == 0
    assert collector.spans
    assert collector.metrics


def test_password_of_endpoint_is_sent_and_hidden(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    send(f"http://me:hunter%2033@{collector.host}/in")
    assert checked(f"http://me:hunter%2033@{collector.host}/in") == 0
    basic = "Basic bWU6aHVudGVyIDMz"
    sent = {(path, headers["Authorization"]) for path, headers in collector.requests}
    assert sent == {("/in/v1/traces", basic), ("/in/v1/metrics", basic)}
    assert checked("http://me:hunter%2033@127.0.0.1:1") == 1
    assert "hunter" not in capsys.readouterr().out


def test_headers_and_compression_are_the_variables(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=open%20sesame")
    send(collector.endpoint)
    assert collector.spans
    assert {(h["Content-Encoding"], h["x-key"]) for _, h in collector.requests} == {
        ("gzip", "open sesame")
    }
    assert masked("open sesame, open%20sesame") == "********, ********"


@pytest.mark.parametrize("signal", ["TRACES", "METRICS", "LOGS"])
def test_console_gets_what_a_variable_sends_there(
    signal: str, collector: Collector, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "console")
    assert len(exporters(signal, {"console"}, None)) == 1
    send(collector.endpoint)
    name = {"TRACES": "name", "METRICS": "resource_metrics", "LOGS": "severity_text"}[signal]
    assert f'"{name}":' in capsys.readouterr().out
    assert not {path for path, _ in collector.requests if path.endswith(signal.lower())}


def test_unknown_exporter_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    caplog.set_level(logging.WARNING)
    with running(service_of(Idle)):
        pass
    assert "not by zipkin" in caplog.text


def test_name_that_is_no_utf8_is_sent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "caf\udce9")
    send(collector.endpoint)
    assert collector.span("Counting").resource["service.name"] == "caf\\udce9"
