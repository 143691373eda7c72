"""All exports of the daemon, of whatever kind: made, asked for, removed.

An export ends in three steps: no new client finds it and those it has are sent away, it waits for what they have in
flight, it gives back its node. The last needs the graph's exclusive section, so removing is begun by a command and
completed by a task that is owned here.
Leans on the graph and the kinds of exports; must never know their protocols.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.block.graph import BlockGraph
from qmpd.errors import GenericError
from qmpd.events import EventSink
from qmpd.export.base import BlockExport, ClientLog, ExportSettings
from qmpd.objects.base import UserObject
from qmpd.sockets import Address

if TYPE_CHECKING:
    from qmpd.export.nbd.server import NbdServer
    from qmpd.export.nbd.settings import NbdSettings

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True, slots=True)
class ExportDescription:
    """What there is to say about an export (the schema's `BlockExportInfo`)."""

    export_id: str
    kind: str
    node_name: str
    shutting_down: bool


class ExportManager:
    """The exports, by id, and the NBD server.

    :param events: gets BLOCK_EXPORT_DELETED.
    :ivar server_definition: the arguments of nbd-server-start that would start the server again, while it runs.
    :ivar client_log: is told who uses exports that are made from now on.
    """

    def __init__(self, graph: BlockGraph, events: EventSink, server: NbdServer | None = None) -> None:
        self._graph = graph
        self._events = events
        self._exports: dict[str, BlockExport] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._threads: dict[str, UserObject] = {}
        self._nbd = server
        self.server_definition: Mapping[str, Any] | None = None
        self.client_log: ClientLog | None = None

    @property
    def nbd(self) -> NbdServer:
        """The NBD server, running or not; many daemons never need what it is made of."""
        if self._nbd is None:
            from qmpd.export.nbd.server import NbdServer

            self._nbd = NbdServer()
        return self._nbd

    async def start_nbd_server(
        self, address: Address, max_connections: int = 0, definition: Mapping[str, Any] | None = None
    ) -> None:
        """Start the NBD server.

        :param max_connections: 0 for any number.
        :param definition: the arguments of nbd-server-start that would start it again.
        :raises GenericError: it runs already, or cannot listen there.
        """
        await self.nbd.start(address, max_connections)
        self.server_definition = definition

    async def stop_nbd_server(self) -> None:
        """Remove all NBD exports, disconnect all clients, stop listening.

        :raises GenericError: the server does not run.
        """
        self.nbd.check_running()
        clients = self.nbd.stop()
        self.server_definition = None
        await self._remove_all("nbd")
        for client in clients:
            await client.wait_closed()

    async def add_nbd(
        self, settings: ExportSettings, nbd: NbdSettings, definition: Mapping[str, Any] | None = None
    ) -> None:
        """Export a node over NBD.

        :param definition: the arguments of block-export-add that would make it again.
        :raises GenericError: see `NbdExport.open`; or the id is ill-formed or taken, or there is no such I/O thread.
        """
        from qmpd.export.nbd.export import NbdExport

        await self._add(settings, lambda: NbdExport.open(self._graph, self.nbd, settings, nbd))
        self._exports[settings.export_id].definition = definition

    async def _add(self, settings: ExportSettings, make: Callable[[], BlockExport]) -> None:
        export_id = settings.export_id
        if not _WELL_FORMED.match(export_id):
            raise GenericError(
                f"'{export_id}' cannot be an export's id: it begins with a letter and has only letters, digits, "
                "'-', '.' and '_'"
            )
        await self._settle_removal(export_id)
        async with self._graph.exclusive():
            if export_id in self._exports:
                raise GenericError(f"The export id '{export_id}' is in use; choose another 'id'")
            thread = self._find_thread(settings.iothread)
            export = self._exports[export_id] = make()
            export.client_log = self.client_log
            if thread is not None:
                thread.use(f"export '{export_id}'")
                self._threads[export_id] = thread

    def _find_thread(self, object_id: str | None) -> UserObject | None:
        if object_id is None:
            return None
        from qmpd.objects.iothread import find_iothread

        return find_iothread(self._graph.objects.find(object_id), object_id)

    async def _settle_removal(self, export_id: str) -> None:
        """Let an export that is as good as gone go first, so that its id is free for the next one to ask."""
        removal = self._removals.get(export_id)
        if removal is not None and not self._exports[export_id].in_use:
            await asyncio.shield(removal)

    def lookup(self, export_id: str) -> BlockExport:
        """The export of that id.

        :raises GenericError: there is none.
        """
        export = self._exports.get(export_id)
        if export is None:
            raise GenericError(f"There is no export with the id '{export_id}'")
        return export

    def all(self) -> Iterator[BlockExport]:
        """All exports, oldest first."""
        return iter(self._exports.values())

    def find(self, export_id: str) -> BlockExport | None:
        """The export of that id, None if there is none."""
        return self._exports.get(export_id)

    def remove_safe(self, export_id: str) -> None:
        """Begin to remove an export that no client uses; BLOCK_EXPORT_DELETED tells when it is gone.

        :raises GenericError: there is none, it is going already, or a client uses it.
        """
        export = self._removable(export_id)
        if export.in_use:
            raise GenericError(
                f"Export '{export_id}' is still in use by a client; disconnect it, or remove with mode 'hard'"
            )
        self._begin_removal(export)

    def remove_hard(self, export_id: str) -> None:
        """Begin to remove an export, sending its clients away; BLOCK_EXPORT_DELETED tells when it is gone.

        :raises GenericError: there is none, or it is going already.
        """
        self._begin_removal(self._removable(export_id))

    def query(self) -> list[ExportDescription]:
        """All exports, newest first."""
        return [
            ExportDescription(export.export_id, export.kind, export.node_name, export.shutting_down)
            for export in reversed(self._exports.values())
        ]

    async def close(self) -> None:
        """Remove everything; returns when nothing is in flight. For shutdown."""
        clients = [] if self._nbd is None else self._nbd.stop()
        await self._remove_all(None)
        for client in clients:
            await client.wait_closed()

    async def _remove_all(self, kind: str | None) -> None:
        for export in list(self._exports.values()):
            if kind in (None, export.kind) and not export.shutting_down:
                self._begin_removal(export)
        # Every export that is going now has a removal; those of other kinds that go anyway do no harm.
        await asyncio.gather(*self._removals.values())

    def _removable(self, export_id: str) -> BlockExport:
        export = self.lookup(export_id)
        if export.shutting_down:
            raise GenericError(f"Export '{export_id}' is being removed already")
        return export

    def _begin_removal(self, export: BlockExport) -> None:
        export.shutting_down = True
        export.withdraw()
        export.backend.leave_soon()
        task = asyncio.get_running_loop().create_task(self._finish_removal(export))
        self._removals[export.export_id] = task

    async def _finish_removal(self, export: BlockExport) -> None:
        try:
            with self._graph.passing([export.backend.node]):
                await export.wait_unused()
            async with self._graph.exclusive():
                export.release()
                del self._exports[export.export_id]
                thread = self._threads.pop(export.export_id, None)
                if thread is not None:
                    thread.release(f"export '{export.export_id}'")
                self._events.emit("BLOCK_EXPORT_DELETED", {"id": export.export_id})
        finally:
            del self._removals[export.export_id]
