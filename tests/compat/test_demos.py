"""What the demos of sparts 0.7 show, written again and run as processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from sparts.thrift.client import ThriftClient
from sparts.thrift.fb303 import FacebookService

from tests.compat.scripts import script
from tests.dbus.daemons import Daemon
from tests.processes import LONG

LOCAL = ("--http-host", "127.0.0.1", "--http-port", "0")
THRIFT = ("--thrift-host", "127.0.0.1")


PRODUCER = """
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask

class Consumer(QueueTask):
    WORKERS = 5
    def execute(self, item, context):
        say("consumed", item)

class Producer(PeriodicTask):
    INTERVAL = 0.01
    made = 0
    def execute(self):
        self.made += 1
        self.service.requireTask("Consumer").queue.put(self.made)

Consumer.register()
Producer.register()
"""


OPTIONS = """
class Shows(VTask):
    OPT_PREFIX = "shows"
    LOOPLESS = True
    text = option(default="nothing", help="what to show [%(default)s]")
    count = option(type=int, default=lambda cls: cls.COUNT, metavar="N")
    loud = option(action="store_true", type=bool, default=False)
    COUNT = 3

    def initTask(self):
        super().initTask()
        say(repr(self.text), self.count + 1, self.loud, self.getTaskOption("text"))

class S(VService):
    TASKS = [Shows]
"""


@pytest.mark.parametrize(
    ("body", "cls", "argv", "said"),
    [
        ("", "VService", "", "All tasks started"),
        (PRODUCER, "VService", "", "consumed 3"),
        (OPTIONS, "S", "", "'nothing' 4 False nothing"),
        (OPTIONS, "S", "--shows-text much --shows-count 7 --shows-loud", "'much' 8 True much"),
    ],
    ids=["empty", "producer and consumer", "options", "options that are given"],
)
def test_demo_without_a_network(body: str, cls: str, argv: str, said: str, tmp_path: Path) -> None:
    with script(tmp_path, body, *argv.split(), end=f"{cls}.initFromCLI()") as process:
        process.read_until(said)
        assert process.stop(signal.SIGTERM) == 0


WATCHER = """
from sparts.tasks.file import DirectoryWatcherTask

class Watcher(DirectoryWatcherTask):
    INTERVAL = 0.05
    PATH = "watched"
    def onFileCreated(self, filename, stat):
        say("created", filename, stat.st_size)
    def onFileDeleted(self, filename, old_stat):
        say("deleted", filename)
    def onFileChanged(self, filename, old_stat, new_stat):
        say("changed", filename, old_stat.st_size, new_stat.st_size)

class S(VService):
    TASKS = [Watcher]
"""


def test_directory_watcher(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "old").write_text("there before")
    with script(tmp_path, WATCHER) as process:
        process.read_until("All tasks started")
        (folder / ".new").write_text("abc")
        (folder / ".new").rename(folder / "new")
        process.read_until("created new 3")
        (folder / ".new").write_text("abcdef")
        (folder / ".new").rename(folder / "new")
        process.read_until("changed new 3 6")
        (folder / "new").unlink()
        process.read_until("deleted new")
        assert process.stop() == 0
    assert not any("created old" in line for line in process.lines)


HTTP_THRIFT = """
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.tornado import TornadoHTTPTask, TornadoIOLoopTask
from sparts.tasks.tornado_thrift import TornadoThriftHandler

NBServerTask.register()
TornadoIOLoopTask.register()
FB303HandlerTask.register()

class MyHTTPTask(TornadoHTTPTask):
    DEPS = [FB303HandlerTask]
    def getApplicationConfig(self):
        handler = self.service.requireTask(FB303HandlerTask)
        return [("/thrift", TornadoThriftHandler, dict(processor=handler)),
                *super().getApplicationConfig()]

MyHTTPTask.register()
"""


def port_of(task: str, lines: list[str]) -> int:
    found = re.search(rf"{task} Server Started on 127.0.0.1\D+(\d+)", "\n".join(lines))
    assert found is not None
    return int(found[1])


def test_http_and_thrift_on_one_handler(tmp_path: Path) -> None:
    with script(tmp_path, HTTP_THRIFT, *LOCAL, *THRIFT, end="VService.initFromCLI()") as process:
        process.read_until("All tasks started")
        ports = {task: port_of(task, process.lines) for task in ("MyHTTPTask", "NBServerTask")}
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['MyHTTPTask']}/") as answer:
            assert answer.read() == b"Hello, world"
        for port, path in ((ports["NBServerTask"], None), (ports["MyHTTPTask"], "/thrift")):
            with ThriftClient.for_localhost(port, module=FacebookService, path=path) as client:
                assert client.getName() == "VService"
        assert process.stop() == 0


NON_BLOCKING = """
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.fb303 import FB303HandlerTask

NBServerTask.register()
FB303HandlerTask.register()
"""


def test_non_blocking_thrift(tmp_path: Path) -> None:
    with script(tmp_path, NON_BLOCKING, *THRIFT, end="VService.initFromCLI()") as process:
        port = process.listening_port("NBServerTask")
        process.read_until("All tasks started")
        with ThriftClient.for_localhost(port, module=FacebookService) as client:
            assert client.getStatus() == 2
            client.shutdown()
        assert process.finish() == 0


DBUS = """
from sparts.tasks.dbus import DBusMainLoopTask, DBusServiceTask
from sparts.tasks.fb303 import FB303HandlerTask

class MyDBusServiceTask(DBusServiceTask):
    BUS_NAME = "org.sparts.DBusDemo"

class MyDBusService(VService):
    TASKS = [DBusMainLoopTask, MyDBusServiceTask, FB303HandlerTask]
"""


@pytest.mark.needs("dbus", "libglib2.0-bin")
def test_dbus_service(tmp_path: Path) -> None:
    with (
        Daemon(tmp_path / "bus") as bus,
        script(
            tmp_path, DBUS, end="MyDBusService.initFromCLI()", DBUS_SESSION_BUS_ADDRESS=bus.address
        ) as process,
    ):
        process.read_until("All tasks started")
        path = "/MyDBusService/sparts"
        told = bus.gdbus("org.sparts.DBusDemo", path, "org.sparts.Service.listTasks")
        assert "MyDBusServiceTask" in told
        path = "/MyDBusService/fb303"
        told = bus.gdbus("org.sparts.DBusDemo", path, "com.facebook.fb303.Service.getName")
        assert "MyDBusService" in told
        assert process.stop() == 0


CHAT = """
from twisted.internet import threads
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import LineReceiver
from sparts.tasks.twisted import TwistedReactorTask, TwistedTask

class Talks(LineReceiver):
    def connectionMade(self):
        self.factory.task.speak(self)
    def lineReceived(self, line):
        say("heard", line.decode())

class Factory(ClientFactory):
    protocol = Talks
    def __init__(self, task):
        self.task = task

class SpamTask(TwistedTask):
    LOOPLESS = True
    OPT_PREFIX = "spam"
    host = option(default="127.0.0.1")
    port = option(type=int, default=6667)
    words = option("spam-words", default="hello")
    connector = None

    def start(self):
        self.connector = threads.blockingCallFromThread(
            self.reactor, self.reactor.connectTCP, self.host, self.port, Factory(self), timeout=5.0)
        super().start()

    def stop(self):
        if self.connector is not None:
            self.reactor.callFromThread(self.connector.disconnect)
        super().stop()

    def speak(self, client):
        client.sendLine(self.words.encode())
        self.reactor.callLater(0.05, self.speak, client)

class SpamChatBotService(VService):
    TASKS = [TwistedReactorTask, SpamTask]
"""


def test_twisted_chat(tmp_path: Path) -> None:
    end = "SpamChatBotService.initFromCLI()"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        with script(tmp_path, CHAT, "--spam-port", port, end=end) as process:
            server.settimeout(LONG)
            client = server.accept()[0]
            with client, client.makefile("rb") as lines:
                for _ in range(2):
                    client.sendall(lines.readline())
                    process.read_until("heard hello")
                assert process.stop() == 0


COMMANDS = """
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.twisted_command import CommandTask

CommandTask.register()

def on_stdout(trans, data):
    say("wrote", trans.pid, data)

class SpawnHelloWorldTask(PeriodicTask):
    INTERVAL = 60
    DEPS = [CommandTask]

    def execute(self):
        task = self.service.requireTask(CommandTask)
        command = task.run("sleep 600")
        say("spawned", command.pid)
        task.run("echo hello", on_stdout=on_stdout, on_exit=lambda *reason: say("ended"))

SpawnHelloWorldTask.register()
"""


def test_twisted_commands(tmp_path: Path) -> None:
    with script(tmp_path, COMMANDS, end="VService.initFromCLI()") as process:
        process.read_until("ended")
        process.read_until_started()
        pids = [line.split()[1] for line in process.lines if line.startswith("spawned")]
        assert any(line.startswith("wrote") and "hello" in line for line in process.lines)
        assert process.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
