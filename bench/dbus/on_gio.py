"""Echoes on D-Bus, by Gio."""

from __future__ import annotations

from typing import Any

from gi.repository import Gio, GLib

XML = """
<node><interface name="org.example.Bench"><method name="Echo">
<arg direction="in" type="s"/><arg direction="out" type="s"/>
</method></interface></node>
"""


def on_call(*args: Any) -> None:
    """Return the argument."""
    parameters, invocation = args[5], args[6]
    (text,) = parameters.unpack()
    invocation.return_value(GLib.Variant("(s)", (text,)))


connection = Gio.bus_get_sync(Gio.BusType.SESSION)
interface = Gio.DBusNodeInfo.new_for_xml(XML).interfaces[0]
connection.register_object("/bench", interface, on_call, None, None)
Gio.bus_own_name_on_connection(connection, "org.example.Bench", 0, None, None)
GLib.MainLoop().run()
