"""Listens to the radio of dbus_service.py, whenever it is there, and tunes it."""

from sparts.options import option
from sparts.tasks.dbus import DBusClientTask, DBusError
from sparts.vservice import VService


class Listener(DBusClientTask):
    """Tunes a radio and tells what is heard."""

    OPT_PREFIX = "listener"
    megahertz = option(type=float, default=99.5, help="the station to tune in to")

    async def start_in_loop(self) -> None:
        await super().start_in_loop()
        self.radio = self.proxy("org.example.Radio", "/org/example/Radio")
        self.radio.on("Tuned", lambda station: self.logger.info("Now on air: %s", station))
        self.watch_name("org.example.Radio", self.on_radio)

    def on_radio(self, owner: str) -> None:
        if owner:
            self.spawn(self.tune())
        else:
            self.logger.info("There is no radio")

    async def tune(self) -> None:
        try:
            await self.radio.aio.Tune(self.megahertz)
            self.logger.info("The volume is %g", await self.radio.aio.get("Volume"))
        except DBusError as error:
            self.logger.warning("%s: %s", error.type, error)


class ListenerService(VService):
    """Listens to a radio on D-Bus."""

    TASKS = [Listener]


if __name__ == "__main__":
    ListenerService.initFromCLI()
