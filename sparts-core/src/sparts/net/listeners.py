"""The sockets of server tasks: opened before the tasks are initialised, kept across restarts.

Listening sockets are the process's. Each instance of the service gets duplicates of them, and they
stay open across a restart, so that no connection that waits in one is reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts import systemd
from sparts.errors import StartError, UsageError, message_of
from sparts.net.options import Address as Address
from sparts.net.options import ListeningOptions, collision
from sparts.net.options import TLSFiles as TLSFiles
from sparts.net.options import format_address as format_address
from sparts.protocols import service_of
from sparts.shown import ours

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable

    from sparts.net.sockets import Opened
    from sparts.net.tls import TLS


class Listening(ListeningOptions):
    """A mixin for server tasks: the options of their sockets, and the sockets.

    The service opens them before any task is initialised. A server takes its own with
    `take_sockets`, speaks TLS on their connections where there is an `ssl_context`, gives them up
    with `stop_listening` when it stops, and calls `close_sockets` when it has ended.
    """

    _sockets: list[socket.socket]

    def take_sockets(self) -> list[socket.socket]:
        """Return this instance's non-blocking duplicates of its listening sockets.

        Connections that they accept send without delay (``TCP_NODELAY``).
        """
        self._close_duplicates()
        self._sockets = service_of(self).listeners.duplicates(ours(self).name)
        return self._sockets

    def stop_listening(self) -> list[socket.socket]:
        """Close this task's sockets, and return the connections that wait in them, non-blocking.

        Call it at the stop, from any thread that does not accept any more, and serve what it
        returns: a connection that waits in a socket which closes is reset. At a restart it returns
        none, since those are the next instance's.
        """
        self._close_duplicates()
        waiting: list[socket.socket] = []
        if not service_of(self).health.restarting:
            waiting = service_of(self).listeners.close(ours(self).name, take=True)
        return waiting

    def close_sockets(self) -> None:
        """Close the duplicates and, unless the service restarts, the process's own sockets."""
        self._close_duplicates()
        if not service_of(self).health.restarting:
            service_of(self).listeners.close(ours(self).name)

    def _close_duplicates(self) -> None:
        for sock in getattr(self, "_sockets", ()):
            sock.close()
        self._sockets = []


class Listeners:
    """All listening sockets of a process and their TLS, handed from one instance of its service to
    the next.
    """

    def __init__(self) -> None:
        self._open: dict[str, Opened] = {}  # by the name of the task
        self._tls: dict[str, TLS] = {}
        self._inherited: dict[str, list[int]] | None = None
        self._kept: dict[str, list[Any]] = {}

    def open(self, tasks: Iterable[Any]) -> None:
        """Open what the server tasks among these need, and set their ``bound_addrs``.

        What is open already stays, and what none of them needs is closed.

        Raises:
            StartError: an address or a file cannot be used; the message names the option and the
                reason.
            UsageError: the options of a task contradict each other.
        """
        servers = [task for task in tasks if isinstance(task, ListeningOptions)]
        wanted = {ours(task).name: task.address() for task in servers}
        _check_distinct(list(wanted.values()))
        for owner in [each for each in self._open if self._open[each].address != wanted.get(each)]:
            self.close(owner)
        takers = sum(isinstance(task, Listening) for task in servers)
        for task in servers:
            self._open_tls(task)
            if ours(task).name not in self._open and (opened := self._bind(task, takers)):
                self._open[ours(task).name] = opened
            opened = self._open.get(ours(task).name)
            task.bound_addrs = opened.addresses() if opened else []

    def _bind(self, task: Any, takers: int) -> Opened | None:
        """Return the sockets of a task, new or inherited; None: it binds for itself."""
        from sparts.net import sockets  # not before something listens: it costs time to import

        address: Address = task.address()
        inherited = self._inherited_for(address, isinstance(task, Listening), takers)
        if isinstance(task, Listening):
            opened = sockets.adopt(address, inherited) if inherited else sockets.bind(address)
        elif not task.RESERVE:
            return None
        elif task.service.getOption("user") or task.service.getOption("group"):
            raise UsageError(
                f"{ours(task).name} binds its port again at each start, which another user cannot: "
                f"run it without --user and --group, or have the init system choose the user."
            )
        else:
            opened = sockets.bind(address, reserve=True)
        if task.host:  # without one, a system that has one family only is nothing to warn of
            for missing in opened.missing:
                ours(task).logger.warning("%s does not listen on %s", ours(task).name, missing)
        return opened

    def _open_tls(self, task: Any) -> None:
        files = task.tls_files()
        if files is None:
            return
        from sparts.net.tls import TLS  # not before it is asked for: it costs time to import

        if ours(task).name not in self._tls:
            self._tls[ours(task).name] = TLS(files, task.prepare_tls)
            return
        try:  # a restart: what can be served goes on
            self._tls[ours(task).name].reload(task.prepare_tls)
        except Exception as error:
            service_of(task).registerWarning(
                f"TLS of {ours(task).name} stays as it was: {message_of(error)}"
            )

    def ssl_context(self, owner: str) -> ssl.SSLContext | None:
        """Return the TLS of one task; None: it has none."""
        return self._tls[owner].context if owner in self._tls else None

    def reloads(self) -> list[tuple[str, Callable[[], None]]]:
        """Return what there is to do at a reload: what it is, and the function, which may raise."""
        return [(f"TLS of {owner}", tls.reload) for owner, tls in self._tls.items()]

    def duplicates(self, owner: str) -> list[socket.socket]:
        """Return duplicates of the sockets that are open for a task."""
        return [sock.dup() for sock in self._open[owner].sockets]

    def descriptors(self) -> list[tuple[str, int]]:
        """Return all listening sockets by the names of their tasks, for other processes."""
        opened = self._open.items()
        return [(name, sock.fileno()) for name, each in opened for sock in each.sockets]

    def hand_over(self) -> list[tuple[str, int]]:
        """Return all listening sockets, which another process holds, too, from now on."""
        for opened in self._open.values():
            opened.hand_over()
        return self.descriptors()

    def keep(self, owner: str, connections: list[Any]) -> None:
        """Keep open connections of a task for the next instance of the service.

        Args:
            owner: the name of the task.
            connections: anything with a method ``close``, which is called if there is no next one.
        """
        self._kept.setdefault(owner, []).extend(connections)

    def take_kept(self, owner: str) -> list[Any]:
        """Return the connections that the instance before has kept for a task."""
        return self._kept.pop(owner, [])

    def close(self, owner: str | None = None, take: bool = False) -> list[socket.socket]:
        """Close the sockets of one task, or all; remove the files of our Unix sockets.

        Returns:
            if ``take``, the connections that waited in them, which are reset otherwise. Those in a
            socket that was inherited are neither: the process that passed it on holds it.
        """
        for name in [name for name in self._tls if owner in (None, name)]:
            del self._tls[name]
        for name in [name for name in self._kept if owner in (None, name)]:
            for connection in self.take_kept(name):
                connection.close()
        taken: list[socket.socket] = []
        for name in [name for name in self._open if owner in (None, name)]:
            taken += self._open.pop(name).close(take)
        return taken

    def give(self, uid: int) -> None:
        """Make the files of our Unix sockets another user's."""
        for opened in self._open.values():
            opened.give(uid)

    def _inherited_for(self, address: Address, takes: bool, takers: int) -> dict[str, list[int]]:
        """Return the descriptors that systemd passed for a task, by their names.

        Raises:
            StartError: it is unknown whose they are, or the task cannot use them.
        """
        if self._inherited is None:
            self._inherited = systemd.inherited_sockets()
        for name in (address.owner, address.prefix):
            if name in self._inherited:
                if not takes:
                    raise StartError(
                        f"{address.owner} binds for itself, and cannot use the inherited socket "
                        f"{name}. Remove the socket unit."
                    )
                return {name: self._inherited.pop(name)}
        if not self._inherited or not takes:
            return {}
        if takers > 1:
            names = ", ".join(sorted(self._inherited))
            raise StartError(
                f"No task is named or prefixed like the inherited socket(s) {names}. Set "
                f"FileDescriptorName={address.prefix} (or another task's prefix) in the socket "
                f"unit."
            )
        passed, self._inherited = self._inherited, {}
        return passed


def _check_distinct(addresses: list[Address]) -> None:
    for number, address in enumerate(addresses):
        for other in addresses[:number]:
            if collision(address, other):
                what = "sock" if address.path else "port"
                raise StartError(
                    f"{other.owner} and {address.owner} are both to listen on {address}. Give one "
                    f"of them another with --{other.prefix}-{what} or --{address.prefix}-{what}."
                )
