"""The monitor: what all QMP sessions share, whatever socket they come by.

It owns the connections, hands each its number, and closes them when the daemon ends. It leans on the dispatcher
and the event bus that it is given, and never listens or connects itself: a `qmpd.chardev` does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from qmpd.monitor.connection import Connection, Spawn
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.monitor.events import EventBus
from qmpd.wire.session import CAPABILITIES, NEGOTIATION_COMMAND

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog

CLOSE_SECONDS = 1.0
"""How long a client has, when the daemon ends, to read what was sent to it."""


class Monitor:
    """All QMP sessions of a daemon.

    :param dispatcher: the commands; all of them must be registered already.
    :param events: the bus that sessions get their events from.
    :param spawn: makes a task of an asynchronous command; the task outlives its session.
    :param version: what the greeting says, as query-version does.
    :ivar catalog: the daemon's catalog, for the contexts of commands.
    :ivar capabilities: what greetings offer.
    """

    def __init__(self, dispatcher: Dispatcher, events: EventBus, spawn: Spawn, version: object) -> None:
        self.dispatcher = dispatcher
        self.events = events
        self.spawn = spawn
        self.version = version
        self.catalog: Catalog | None = None
        self.capabilities: tuple[str, ...] = CAPABILITIES
        self.request_ids = itertools.count(1)
        self._session_ids = itertools.count(1)
        handlers = dispatcher.handlers
        self.negotiation_handlers = {name: handler for name, handler in handlers.items() if name == NEGOTIATION_COMMAND}
        self.command_handlers = {name: handler for name, handler in handlers.items() if name != NEGOTIATION_COMMAND}
        self.connections: set[Connection] = set()
        self._on_closed: dict[Connection, Callable[[], None]] = {}
        self._stopped = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def connection(self, *, pretty: bool = False, on_closed: Callable[[], None] | None = None) -> Connection:
        """A protocol object for one new session.

        :param on_closed: called when the session is over.
        """
        connection = Connection(self, next(self._session_ids), pretty=pretty)
        if on_closed is not None:
            self._on_closed[connection] = on_closed
        return connection

    def opened(self, connection: Connection) -> None:
        """`connection` has a client."""
        self.connections.add(connection)
        self._all_closed.clear()
        if self._stopped:
            connection.stop()

    def closed(self, connection: Connection) -> None:
        """`connection` has lost its client."""
        self.connections.discard(connection)
        on_closed = self._on_closed.pop(connection, None)
        if not self.connections:
            self._all_closed.set()
        if on_closed is not None:
            on_closed()

    def stop(self) -> None:
        """Take no more requests; replies and events still go out."""
        self._stopped = True
        for connection in self.connections:
            connection.stop()

    async def close(self) -> None:
        """End all sessions: send what is ready, and wait a moment for those that are slow to read it."""
        self._on_closed.clear()
        for connection in list(self.connections):
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._all_closed.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
            await self._all_closed.wait()
