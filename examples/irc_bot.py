"""A bot in an IRC channel: says who has come, and answers "!uptime"."""

import time
from typing import Any

from sparts.options import option
from sparts.tasks.twisted import TwistedServiceTask
from sparts.vservice import VService
from twisted.application.internet import ClientService
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory
from twisted.words.protocols.irc import IRCClient


class Bot(IRCClient):
    def __init__(self, task: "BotTask") -> None:
        self.task = task
        self.nickname = task.nick

    def signedOn(self) -> None:  # noqa: N802
        self.join(self.task.channel)

    def joined(self, channel: str) -> None:
        self.task.logger.info("joined %s", channel)
        self.say(channel, "hello")

    def userJoined(self, user: str, channel: str) -> None:  # noqa: N802
        self.say(channel, f"welcome, {user.partition('!')[0]}")

    def privmsg(self, user: str, channel: str, message: str) -> None:
        if message == "!uptime":
            seconds = time.time() - self.task.service.start_time
            self.say(channel, f"up for {seconds:.0f} s")


class BotTask(TwistedServiceTask):
    OPT_PREFIX = "bot"
    server = option(type=str, default="tcp:127.0.0.1:6667", help="an endpoint to connect to")
    nick = option(type=str, default="sparts", help="the name of the bot")
    channel = option(type=str, default="#sparts", help="where it is")

    def make_service(self) -> Any:
        # Connects again, after a while, whenever the connection is lost.
        endpoint = clientFromString(self.reactor, self.server)
        factory: Any = Factory.forProtocol(lambda: Bot(self))
        return ClientService(endpoint, factory)


class IRCBot(VService):
    TASKS = [BotTask]


if __name__ == "__main__":
    IRCBot.initFromCLI()
