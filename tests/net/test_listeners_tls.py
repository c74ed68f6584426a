"""TLS of listeners: each fault of its files is one error, and a reload cuts nobody off."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.builtin.dryrun import dry_run
from sparts.errors import OptionError, StartError
from sparts.net.listeners import Listening
from sparts.testing import ServiceFactory
from sparts.testing.certificates import FIRST_CERTIFICATE, SECOND_CERTIFICATE
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.testing.waiting import WAIT, restart
from sparts.vtask import VTask

from tests.processes import captured

ROOT = Path(__file__).parents[2]


class Serial(Listening, VTask):
    """Speaks TLS, with one connection after the other: sends a line, then what it receives."""

    OPT_PREFIX = "serial"
    DEFAULT_HOST = "127.0.0.1"

    def initTask(self) -> None:  # noqa: N802
        assert self.ssl_context is not None
        self.context_at_init = self.ssl_context
        self.errors: list[str] = []

    def start(self) -> None:
        self.take_sockets()
        super().start()
        self.log_started()

    def _runloop(self) -> None:
        (listener,) = self._sockets
        listener.setblocking(True)
        while self.running:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,)).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with self.context_at_init.wrap_socket(connection, server_side=True) as talk:
                talk.sendall(b"hello\n")
                while received := talk.recv(100):
                    talk.sendall(received)
        except OSError as error:
            self.errors.append(str(error))

    def stop(self) -> None:
        super().stop()
        with contextlib.suppress(OSError):
            socket.create_connection(self.bound_addrs[0]).close()

    def join(self) -> None:
        super().join()
        self.close_sockets()


Service = service_of(Serial)


@pytest.fixture
def pems(tmp_path: Path) -> dict[str, str]:
    """Paths of PEM files, right ones and wrong ones."""
    first_key, _, first_cert = FIRST_CERTIFICATE.partition("-----BEGIN CERT")
    contents = {
        "first": FIRST_CERTIFICATE,
        "second": SECOND_CERTIFICATE,
        "first.cert": "-----BEGIN CERT" + first_cert,
        "first.key": first_key,
        "second.key": SECOND_CERTIFICATE.partition("-----BEGIN CERT")[0],
        "garbage": "-----BEGIN CERTIFICATE-----\nMIIgarbage\n-----END CERTIFICATE-----\n",
        "empty": "",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="ascii")
    return {name: str(tmp_path / name) for name in (*contents, "missing")}


def argv_of(pems: dict[str, str], *named: str) -> list[str]:
    """``cert=first`` as the option with the path."""
    pairs = (name.split("=") for name in named)
    return [part for name, pem in pairs for part in (f"--serial-tls-{name}", pems[pem])]


@contextlib.contextmanager
def connected(
    task: Any, trusted: str, name: str = "localhost", **settings: Any
) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=trusted)
    context.set_alpn_protocols(["http/1.1", "h2"])
    for setting, value in settings.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of old versions of TLS
            setattr(context, setting, value)
    with (
        socket.create_connection(task.bound_addrs[0][:2], WAIT) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        yield connection


def greet(task: Any, trusted: str, **settings: Any) -> tuple[str | None, str | None]:
    """Connect, and have the server say hello; give the protocol and the version agreed on."""
    with connected(task, trusted, **settings) as connection:
        assert connection.recv(6) == b"hello\n"
        return connection.selected_alpn_protocol(), connection.version()


WRONG: list[tuple[list[str], str]] = [
    (["cert=missing"], "--serial-tls-cert: cannot read {missing}: No such file or directory."),
    (["cert=garbage"],
     "--serial-tls-cert: there is no certificate in {garbage} that OpenSSL can use."),
    (["cert=empty"], "--serial-tls-cert: there is no certificate in {empty} that OpenSSL can use."),
    (["cert=first.key"],
     "--serial-tls-cert: there is no certificate in {first.key} that OpenSSL can use."),
    (["cert=first.cert"],
     "--serial-tls-cert: there is no private key in {first.cert} that OpenSSL can use (in a file "
     "of its own? Give --serial-tls-key)."),
    (["cert=first", "key=missing"],
     "--serial-tls-key: cannot read {missing}: No such file or directory."),
    (["cert=first", "key=garbage"],
     "--serial-tls-key: there is no private key in {garbage} that OpenSSL can use."),
    (["cert=first.cert", "key=second.key"],
     "--serial-tls-key: the private key in {second.key} is not the one of the certificate in "
     "{first.cert}."),
    (["cert=first", "ca=missing"],
     "--serial-tls-ca: cannot read {missing}: No such file or directory."),
    (["cert=first", "ca=garbage"],
     "--serial-tls-ca: there is no certificate in {garbage} that OpenSSL can use."),
    (["key=first"], "--serial-tls-key needs --serial-tls-cert, the certificate."),
    (["ca=first"], "--serial-tls-ca needs --serial-tls-cert, the certificate."),
]  # fmt: skip


@pytest.mark.parametrize(("named", "told"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_wrong_file_is_an_error_naming_its_option(
    named: list[str], told: str, pems: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in pems.items():
        told = told.replace("{" + name + "}", path)
    service = make_service(Service, *argv_of(pems, *named))
    assert dry_run(Service, service.options) == 1
    assert f"Wrong: listening: {told}\n" in capsys.readouterr().out
    with pytest.raises(OptionError) as caught:
        service.startBG()
    assert str(caught.value) == told


def test_right_files_pass_a_dry_run(pems: dict[str, str]) -> None:
    service = make_service(Service, *argv_of(pems, "cert=first.cert", "key=first.key", "ca=second"))
    assert dry_run(Service, service.options) == 0


@pytest.mark.needs("openssl")
def test_encrypted_key_is_error_and_asks_no_terminal(pems: dict[str, str]) -> None:
    command = ["openssl", "ec", "-in", pems["first.key"], "-aes256", "-passout", "pass:12345"]
    subprocess.run([*command, "-out", pems["missing"]], check=True, capture_output=True)
    argv = argv_of(pems, "cert=first.cert", "key=missing")
    with pytest.raises(OptionError) as caught:
        make_service(Service, *argv).startBG()
    assert str(caught.value) == (
        f"--serial-tls-key: {pems['missing']} is encrypted. Give a key without a passphrase."
    )


def test_versions_below_1_2_are_refused(pems: dict[str, str]) -> None:
    with running(Service, *argv_of(pems, "cert=first")) as service:
        task: Any = service.requireTask(Serial)
        assert task.ssl_context.minimum_version is ssl.TLSVersion.TLSv1_2
        old: Any = {
            "minimum_version": ssl.TLSVersion.TLSv1,
            "maximum_version": ssl.TLSVersion.TLSv1_1,
        }
        with pytest.raises(ssl.SSLError), connected(task, pems["first"], **old):
            pytest.fail("It speaks TLS 1.1.")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            greet(task, pems["first"], maximum_version=version)


def test_removed_certificate_authority_counts_no_more(pems: dict[str, str], tmp_path: Path) -> None:
    """Nor does a session that was begun when it counted."""
    authority = tmp_path / "authority"
    authority.write_text(SECOND_CERTIFICATE, encoding="ascii")
    argv = [*argv_of(pems, "cert=first"), "--serial-tls-ca", str(authority)]
    with running(Service, *argv) as service:
        task = service.requireTask(Serial)
        client = ssl.create_default_context(cafile=pems["first"])
        client.load_cert_chain(pems["second"])

        def ask(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
            with (
                socket.create_connection(task.bound_addrs[0], WAIT) as plain,
                client.wrap_socket(plain, server_hostname="localhost", session=session) as talk,
            ):
                assert talk.recv(6) == b"hello\n"
                return talk.session

        session = ask(None)
        authority.write_text(FIRST_CERTIFICATE, encoding="ascii")
        service._instance.reloading.reload()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(session)


def test_task_keeps_one_context_over_reloads(pems: dict[str, str]) -> None:
    class Forgets(Serial):
        def reload(self) -> None: ...

    with running_task(Forgets, *argv_of(pems, "cert=first")) as task:
        Path(pems["first"]).write_text(SECOND_CERTIFICATE, encoding="ascii")
        task.service._instance.reloading.reload()
        assert task.ssl_context is task.context_at_init
        greet(task, pems["second"])


def test_broken_certificate_at_reload_is_a_warning(
    pems: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with running(Service, *argv_of(pems, "cert=first.cert", "key=first.key")) as service:
        task = service.requireTask(Serial)
        for broken in ("", SECOND_CERTIFICATE):  # of which the second does not fit the key
            Path(pems["first.cert"]).write_text(broken, encoding="ascii")
            service._instance.reloading.reload()
            (warning,) = service.getWarnings().values()
            assert warning.startswith("Reload of listeners failed: TLS of Serial: --serial-tls-")
            greet(task, pems["first"])
        assert "Traceback" not in caplog.text
        Path(pems["first.cert"]).write_text(FIRST_CERTIFICATE, encoding="ascii")
        service._instance.reloading.reload()
        assert service.getWarnings() == {}


def test_broken_certificate_at_restart_keeps_the_old(
    pems: dict[str, str], service_factory: ServiceFactory
) -> None:
    service = service_factory(Service, *argv_of(pems, "cert=first"))
    Path(pems["first"]).write_text("", encoding="ascii")
    service = restart(service)
    (warning,) = service.getWarnings().values()
    assert warning.startswith("TLS of Serial stays as it was: --serial-tls-cert")
    greet(service.requireTask(Serial), pems["first.cert"])


def test_what_few_need_is_imported_on_demand() -> None:
    script = (
        "import sys\n"
        "from sparts.testing.running import running\n"
        "from tests.net.listening import EchoService\n"
        "with running(EchoService):\n"
        "    few = ('certificates', 'inherited', 'sharing', 'tls', 'unix_sockets')\n"
        "    few = ['ssl', *(f'sparts.net.{each}' for each in few)]\n"
        "    print('sparts.net.sockets' in sys.modules, {*few} & {*sys.modules})"
    )
    done = captured([sys.executable, "-c", script], cwd=ROOT)
    assert done.stdout == "True set()\n", done.stderr


class Negotiates(Serial):
    """Offers protocols, and has a certificate for one more name."""

    OPT_PREFIX = "serial"
    ALPN = ("h2", "http/1.1")

    other = ""

    def configure_tls(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        further = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        further.load_cert_chain(self.other)

        def choose(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
            if name == "127.0.0.1.other":
                connection.context = further

        context.sni_callback = choose


NegotiatingService = service_of(Negotiates)


def test_settings_of_a_task_survive_reloads_and_restarts(
    pems: dict[str, str], monkeypatch: pytest.MonkeyPatch, service_factory: ServiceFactory
) -> None:
    monkeypatch.setattr(Negotiates, "other", pems["second"])
    service = service_factory(NegotiatingService, *argv_of(pems, "cert=first"))
    for number in range(4):
        task = service.requireTask(Negotiates)
        assert greet(task, pems["first"]) == ("h2", "TLSv1.3")
        greet(task, pems["second"], name="127.0.0.1.other", check_hostname=False)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            greet(task, pems["first"], maximum_version=ssl.TLSVersion.TLSv1_2)
        if number == 1:
            service = restart(service)
        else:
            service._instance.reloading.reload()
    assert service.getWarnings() == {}


def test_settings_that_fail_at_reload_leave_context(
    pems: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Negotiates, "other", pems["second"])
    with running(NegotiatingService, *argv_of(pems, "cert=first")) as service:
        monkeypatch.setattr(Negotiates, "other", pems["missing"])
        service._instance.reloading.reload()
        (warning,) = service.getWarnings().values()
        assert warning.startswith("Reload of listeners failed: TLS of Negotiates: ")
        task = service.requireTask(Negotiates)
        assert greet(task, pems["first"]) == ("h2", "TLSv1.3")


def test_settings_that_fail_at_the_start_fail_it(
    pems: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Negotiates, "other", pems["missing"])
    with pytest.raises((StartError, OSError)):
        make_service(NegotiatingService, *argv_of(pems, "cert=first")).startBG()


def test_instance_before_is_not_kept_by_its_tls(
    pems: dict[str, str], service_factory: ServiceFactory
) -> None:
    service = service_factory(Service, *argv_of(pems, "cert=first"))
    task = weakref.ref(service.requireTask(Serial))
    restart(service)
    del service
    gc.unfreeze()
    gc.collect()
    assert task() is None
