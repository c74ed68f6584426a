"""Renders each document once, however many ask for it at the same time."""

from sparts.tasks.queue import ExecuteContext, UniqueQueueTask
from sparts.vservice import VService


class Renderer(UniqueQueueTask):
    """Renders documents by name."""

    def execute(self, item: str, context: ExecuteContext) -> str:
        """Render one document."""
        self.logger.info("renders %s", item)
        return f"<h1>{item}</h1>"


class RenderService(VService):
    """Renders documents."""

    TASKS = [Renderer]

    def initService(self) -> None:  # noqa: N802
        """Ask for the same document three times, and for another."""
        renderer = self.requireTask(Renderer)
        futures = [renderer.submit(name) for name in ("start", "start", "end", "start")]
        futures[-1].add_done_callback(lambda page: self.logger.info("all got %s", page.result()))


if __name__ == "__main__":
    RenderService.initFromCLI()
