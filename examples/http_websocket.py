"""A chat over websockets: what one client says, all hear.

A stop closes each of them properly, with the code 1001 ("going away").
"""
from typing import Any, ClassVar

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService
from tornado.websocket import WebSocketHandler


class Chat(WebSocketHandler):
    clients: ClassVar[set["Chat"]] = set()

    def open(self, *args: str, **kwargs: str) -> None:
        self.clients.add(self)

    def on_message(self, message: str | bytes) -> None:
        for client in self.clients:
            client.write_message(message)

    def on_close(self) -> None:
        self.clients.discard(self)


class Web(TornadoHTTPTask):
    DEFAULT_HOST = "127.0.0.1"
    APPLICATION_SETTINGS = {"websocket_ping_interval": 30}

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/chat", Chat)]


class MyService(VService):
    TASKS = [Web]
    DEFAULT_PORT = 8000


if __name__ == "__main__":
    MyService.initFromCLI()
