"""A radio on D-Bus: a method, a property with a signal of its changes, a signal, more objects.

    busctl --user call org.example.Radio /org/example/Radio org.example.Radio Tune d 99.5
    busctl --user set-property org.example.Radio /org/example/Radio org.example.Radio Volume d 0.8
    gdbus introspect --session --dest org.example.Radio --object-path /org/example/Radio
"""

from sparts.tasks.dbus import (
    DBusError,
    DBusObject,
    DBusServiceTask,
    dbus_details,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.vservice import VService


class Station(DBusObject):
    """A station that the radio knows."""

    INTERFACE = "org.example.Radio.Station"

    def __init__(self, name: str, megahertz: float) -> None:
        self._name, self.megahertz = name, megahertz

    @dbus_property
    @dbus_details(emits_change="const")
    def Name(self) -> str:  # noqa: N802
        return self._name


class Radio(DBusServiceTask):
    """A radio."""

    BUS_NAME = "org.example.Radio"

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self._volume = 0.5
        self.stations = [Station("One", 99.5), Station("Two", 101.1)]
        for number, station in enumerate(self.stations):
            self.export(f"{self.path}/stations/{number}", station)

    @dbus_method
    def Tune(self, megahertz: float) -> str:  # noqa: N802
        """Tune in to a station, and return its name."""
        for station in self.stations:
            if station.megahertz == megahertz:
                self.Tuned(station._name)
                return station._name
        raise DBusError("org.example.Radio.Error.Noise", f"only noise at {megahertz} MHz")

    @dbus_property
    def Volume(self) -> float:  # noqa: N802
        """How loud it is, from 0 to 1."""
        return self._volume

    @Volume.setter
    def Volume(self, volume: float) -> None:  # noqa: N802
        if not 0 <= volume <= 1:
            raise ValueError("a volume is from 0 to 1")
        self._volume = volume

    @dbus_signal
    def Tuned(self, station: str) -> None:  # noqa: N802
        """Another station is heard."""


class RadioService(VService):
    """A radio on D-Bus."""

    TASKS = [Radio]


if __name__ == "__main__":
    RadioService.initFromCLI()
