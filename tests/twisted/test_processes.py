"""Services with Twisted's reactor as real processes, and the examples."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from sparts.testing.loops import WAIT

from tests.processes import ServiceProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-X", "dev", str(EXAMPLES / name), *arguments]


HUNDRED = """
from sparts.tasks.twisted_command import CommandTask
from sparts.vservice import VService

class Many(CommandTask):
    def start_in_loop(self):
        for _ in range(100):
            self.run(["sleep", "1000"], on_exit=self.note)

    def note(self, reason):
        self.logger.info("ended by %s", reason.value.signal)

    def join(self):
        super().join()
        self.logger.info("started %d, finished %d", self.started(), self.finished())

class MyService(VService):
    TASKS = [Many]

MyService.initFromCLI()
"""


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_sigterm_while_hundred_children_run_ends_them_all(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "hundred.py"
    script.write_text(HUNDRED)
    command = [sys.executable, "-X", "dev", str(script), "--twisted-reactor", kind]
    with ServiceProcess(command, cwd=tmp_path) as process:
        process.read_until_started()
        children = Path(f"/proc/{process.process.pid}/task").glob("*/children")
        pids = [pid for path in children for pid in path.read_text().split()]
        assert len(pids) == 100
        assert process.stop(signal.SIGTERM) == 0
        assert process.output.count("ended by 15") == 100
        process.read_line("started 100, finished 100")
        assert "Warning" not in process.output
        assert not [pid for pid in pids if Path("/proc", pid).exists()]


def test_the_example_of_commands_logs_what_they_say(tmp_path: Path) -> None:
    command = example("commands.py", "--runner-command", "sh -c 'echo hello; exit 3'")
    with ServiceProcess(command, cwd=tmp_path) as process:
        process.read_until(r"Commands\.Runner:hello")
        process.read_until(r"exit code 3")
        assert process.stop() == 0
        assert "Warning" not in process.output


class Chat:
    """A client of IRC, as simple as can be."""

    def __init__(self, port: int, name: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), WAIT)
        self.lines = self.connection.makefile("r", newline="\r\n")
        self.send(f"NICK {name}", f"USER {name} 0 * :{name}", "JOIN #sparts")

    def send(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def read_until(self, pattern: str) -> None:
        for line in self.lines:
            if re.search(pattern, line):
                return
        raise AssertionError(f"The connection ended before {pattern!r} came.")

    def close(self) -> None:
        self.lines.close()
        self.connection.close()


IRC_SERVER = """
from sparts.tasks.twisted import TwistedServerTask
from sparts.vservice import VService
from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.words.service import InMemoryWordsRealm, IRCFactory, IRCUser

class AnyPassword(InMemoryUsernamePasswordDatabaseDontUse):
    def requestAvatarId(self, credentials):
        return credentials.username

class User(IRCUser):
    def irc_USER(self, prefix, params):
        pass

    def irc_NICK(self, prefix, params):
        self.name = params[0]
        self.password = "any"
        super().irc_NICK(prefix, params)

class Server(TwistedServerTask):
    OPT_PREFIX = "irc"
    DEFAULT_HOST = "127.0.0.1"

    def make_factory(self):
        realm = InMemoryWordsRealm("example.org")
        realm.createGroupOnRequest = True
        factory = IRCFactory(realm, Portal(realm, [AnyPassword()]))
        factory.protocol = User
        return factory

class IRC(VService):
    TASKS = [Server]

IRC.initFromCLI()
"""


def test_example_of_chat_answers_on_server_of_ours(tmp_path: Path) -> None:
    script = tmp_path / "irc_server.py"
    script.write_text(IRC_SERVER)
    with ServiceProcess([sys.executable, str(script)], cwd=tmp_path) as server:
        port = server.listening_port()
        command = example("irc_bot.py", "--bot-server", f"tcp:127.0.0.1:{port}")
        with (
            ServiceProcess(command, cwd=tmp_path) as bot,
            contextlib.closing(Chat(port, "ann")) as ann,
        ):
            ann.read_until("366.*#sparts")  # the end of the list of those who are there
            bot.read_until("joined #sparts")
            ann.read_until("sparts.* PRIVMSG #sparts :hello")
            with contextlib.closing(Chat(port, "bob")) as bob:
                bob.read_until("PRIVMSG #sparts :welcome, bob")
            ann.send("PRIVMSG #sparts :!uptime")
            ann.read_until(r"PRIVMSG #sparts :up for \d+ s")
            assert bot.stop() == 0
            assert "Traceback" not in bot.output
            assert "Warning" not in bot.output
        assert server.stop() == 0
        assert "Traceback" not in server.output


def test_example_of_proxy_passes_lines_both_ways(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(WAIT)
        port = target.getsockname()[1]
        command = example("line_proxy.py", "--proxy-target", f"tcp:127.0.0.1:{port}")
        with ServiceProcess(command, cwd=tmp_path) as process:
            address = ("127.0.0.1", process.listening_port())
            with socket.create_connection(address, WAIT) as client:
                client.sendall(b"one\ntwo\n")
                served, _ = target.accept()
                with served, served.makefile("rb") as lines, client.makefile("rb") as answers:
                    assert [lines.readline(), lines.readline()] == [b"one\n", b"two\n"]
                    served.sendall(b"three\n")
                    assert answers.readline() == b"three\n"
                    process.read_until("> one")
                    process.read_until("< three")
                    served.shutdown(socket.SHUT_RDWR)
                    assert answers.readline() == b""
            target.close()
            with socket.create_connection(address, WAIT) as client:
                assert client.recv(1) == b""
            process.read_until(f"tcp:127.0.0.1:{port}: Connection was refused")
            assert process.stop() == 0


@pytest.mark.parametrize(("name", "threads"), [("one_loop", 1), ("three_loops", 3)])
def test_examples_of_loops_work_in_as_many_threads(name: str, threads: int, tmp_path: Path) -> None:
    with ServiceProcess(example(f"{name}.py", "--http-port", "0"), cwd=tmp_path) as process:
        port = process.listening_port("Web")
        process.read_until_started()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT) as answer:
            found = json.load(answer)
        assert sorted(found) == ["asyncio", "tornado", "twisted"]
        assert len(set(found.values())) == threads
        assert process.stop() == 0
        assert "Warning" not in process.output
