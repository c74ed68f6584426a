"""A service of the tests as a process: an echo over thrift that restarts when it is asked to."""

from sparts.vservice import VService

from tests.thrift.echo import EchoHandler, EchoServer


class RestartingHandler(EchoHandler):
    """Restarts the service at each `tell`; `slowly` takes 0.3 s."""

    def tell(self, text: str) -> None:
        """Restart the service."""
        self.service.restart()

    def slowly(self, text: str) -> str:
        """Give it back, later."""
        self.go_on.wait(0.3)
        return text


class RestartingServer(EchoServer):
    """Serves a `RestartingHandler`, which comes along."""

    DEPS = (RestartingHandler,)


class RestartingService(VService):
    """Restarts when a client says so."""

    TASKS = (RestartingServer, RestartingHandler)


if __name__ == "__main__":
    RestartingService.initFromCLI()
