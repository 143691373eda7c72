"""The NBD server: where it listens, whom it serves, which exports it has.

Any number of clients at once, up to `max_connections`; the next ones wait in the socket's queue, as in QEMU. Leans
on `NbdConnection`; must never know what is behind an export.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Protocol

from qmpd.errors import GenericError
from qmpd.export.nbd.connection import ConnectionOptions, ExportUse, NbdConnection
from qmpd.export.nbd.listener import Listener
from qmpd.export.nbd.negotiation import ExportInfo, Outcome
from qmpd.sockets import Address

log = logging.getLogger(__name__)


class ServedExport(ExportUse, Protocol):
    """An export in a server's table."""

    info: ExportInfo


class NbdServer:
    """One server. It can be started and stopped any number of times; exports are added while it runs."""

    def __init__(self, options: ConnectionOptions | None = None) -> None:
        self._options = options or ConnectionOptions()
        self._listener: Listener | None = None
        self._starting = False
        self._max_connections = 0
        self._exports: dict[str, ServedExport] = {}
        self._connections: set[NbdConnection] = set()

    @property
    def running(self) -> bool:
        """It listens."""
        return self._listener is not None

    @property
    def connections(self) -> int:
        """How many clients are connected, with or without an export."""
        return len(self._connections)

    @property
    def addresses(self) -> list[object]:
        """Where it listens, as the socket module names it."""
        return self._listener.addresses if self._listener is not None else []

    def check_running(self) -> None:
        """Pass while the server runs.

        :raises GenericError: it does not.
        """
        if not self.running:
            raise GenericError("The NBD server does not run; start it with nbd-server-start")

    async def start(self, address: Address, max_connections: int = 0) -> None:
        """Listen.

        :param max_connections: how many clients may be connected at once; 0 for any number.
        :raises GenericError: it runs already, or cannot listen there.
        """
        if self.running or self._starting:
            raise GenericError("The NBD server runs already; nbd-server-stop ends it")
        listener = Listener(self._accepted)
        self._starting = True
        try:
            await listener.open(address)
        except OSError as error:
            raise GenericError(f"Cannot listen at {address}: {error.strerror or error}") from error
        except (ValueError, OverflowError) as error:
            # A name that no system call takes: a null character in it, a label too long, a number out of range.
            raise GenericError(f"Cannot listen at {address}: {error}") from error
        finally:
            self._starting = False
        self._listener = listener
        self._max_connections = max_connections
        self._admit()

    def stop(self) -> list[NbdConnection]:
        """Stop listening and begin to send all clients away.

        :returns: those clients; they are gone when `wait_closed` of each has returned.
        """
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        return connections

    # Exports.

    def check_new_name(self, name: str) -> None:
        """Pass if an export may be given this name.

        :raises GenericError: another one has it.
        """
        if name in self._exports:
            raise GenericError(f"The NBD server already has an export named '{name}'; choose another 'name'")

    def add(self, export: ServedExport) -> None:
        """Show `export` to clients; its name has been checked."""
        self._exports[export.info.name] = export

    def remove(self, export: ServedExport) -> None:
        """Show `export` no longer; its clients keep it. Harmless if it is not there."""
        if self._exports.get(export.info.name) is export:
            del self._exports[export.info.name]

    def find(self, name: str) -> ExportInfo | None:
        """The export of that name."""
        export = self._exports.get(name)
        return export.info if export is not None else None

    def infos(self) -> Sequence[ExportInfo]:
        """Every export, oldest first."""
        return [export.info for export in self._exports.values()]

    def use(self, outcome: Outcome) -> ExportUse:
        """The export that a handshake led to."""
        return self._exports[outcome.export.name]

    # Clients.

    def _accepted(self, sock: socket.socket) -> None:
        connection = NbdConnection(sock, self, self._options, self._gone)
        self._connections.add(connection)
        self._admit()
        connection.start()

    def _gone(self, connection: NbdConnection) -> None:
        if connection.reason is not None:
            log.debug("an NBD client was dropped: %s", connection.reason)
        self._connections.discard(connection)
        self._admit()

    def _admit(self) -> None:
        """Accept clients as long as there is room for them."""
        if self._listener is None:
            return
        if self._max_connections and len(self._connections) >= self._max_connections:
            self._listener.pause()
        else:
            self._listener.resume()
