"""A RabbitMQ node of our own: own port, data folder, cookie and port mapper; never another's."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import amqp

from tests.processes import captured

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian's package has the scripts that any user may run."""


class Rabbit:
    """One broker process, which can be killed and started again over the same data.

    Args:
        settings: lines for ``rabbitmq.conf``, beside the address.
    """

    def __init__(self, settings: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sparts-rabbit-"))
        self._ports = _Ports(4)
        self.port, self.tls_port, self._dist_port, self._mapper_port = self._ports.numbers
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (self.folder / "plugins").write_text("[].")

    @property
    def url(self) -> str:
        """What clients are given."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        """What tells the scripts which node is meant."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"sparts{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # One scheduler and no busy waiting: the tests' machine has other work.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            " -start_epmd false",
        }

    def start(self) -> None:
        """Start the node, and return when it accepts connections."""
        if self._mapper is None:
            self._mapper = subprocess.Popen(
                ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"],  # noqa: S607
                stdin=subprocess.DEVNULL,
                env=self.environment,
            )
            self._wait_for(self._mapper_port, self._mapper)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 1MB\n"
            "vm_memory_high_watermark.absolute = 2GB\n"
            f"log.file.level = warning\n{self._settings.format(rabbit=self)}\n"
        )
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                [SCRIPTS / "rabbitmq-server"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self._wait_for(self.port, self._process)

    def _wait_for(self, port: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process accepts connections; only trying shows it."""
        for _ in range(1200):
            if process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"The broker has ended, or did not come up:\n{self.output()}")

    def control(self, *words: str, check: bool = True) -> str:
        """Run ``rabbitmqctl`` for this node, and return its output."""
        done = captured(
            [SCRIPTS / "rabbitmqctl", "--quiet", *words],
            stderr=subprocess.STDOUT,
            env=self.environment,
            timeout=120,
        )
        if check and done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(words)}: {done.stdout}\n{self.output()}")
        return done.stdout

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue; 0 if there is none."""
        with amqp.Connection(f"127.0.0.1:{self.port}") as connection:
            try:
                found = connection.channel().queue_declare(queue, passive=True)
                return int(found.message_count)
            except amqp.NotFound:
                return 0

    def evaluate(self, expression: str) -> str:
        """Run an Erlang expression in the node."""
        return self.control("eval", expression)

    def output(self) -> str:
        """What the node has printed and logged."""
        logs = sorted((self.folder / "log").glob("*.log")) if self.folder.exists() else []
        return "\n".join(
            path.read_text(errors="replace")[-4000:] for path in (self.folder / "output", *logs)
        )

    def kill(self) -> None:
        """End the node as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the node as an upgrade would."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                print("rabbitmq did not end in 60 s", file=sys.stderr)
            self.kill()

    def close(self) -> None:
        """End it all, and remove its data."""
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None
        self._ports.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Rabbit:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class _Ports:
    """Ports that no other node gets as long as these are not closed.

    A port that was free a moment ago will not do: a node takes seconds until it listens, and may
    be started again. They are below those that the kernel gives to whatever asks for any.
    """

    def __init__(self, number: int) -> None:
        for first in random.sample(range(20_000, 32_000, number), 1000):
            self.numbers = range(first, first + number)
            self._claim = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                self._claim.bind(f"\0sparts-rabbit-{first}")
                for port in self.numbers:
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
                return
            self._claim.close()
        raise RuntimeError("No ports are free.")

    def close(self) -> None:
        """Leave them to others."""
        self._claim.close()
