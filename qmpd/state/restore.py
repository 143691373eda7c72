"""Makes again what the last run had: objects, nodes with their bitmaps, the NBD server, exports, in that order.

Each is made by the command that a client would use, with the definition as it was in the end. What cannot be made, such
as a node whose image is gone, is reported and stays in the catalog for the next start; whatever stands on it fails the
same way. Nothing of that keeps the daemon from starting, only a catalog that does not answer. What the command line has
made already under the same name stands.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.catalog import attachments, objects, settings, volumes
from qmpd.errors import QMPError, os_error_text
from qmpd.state.recorder import MADE_READ_ONLY, NAME, SERVER

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.catalog.volumes import VolumeRecord
    from qmpd.events import EventSink
    from qmpd.export.manager import ExportManager
    from qmpd.monitor.context import RequestContext

_log = logging.getLogger(__name__)

Execute = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Runs a command, by name and arguments, as the daemon itself."""


@dataclass(frozen=True, slots=True)
class Unrestored:
    """Something that could not be made again (the schema's `StateItem`)."""

    kind: str
    name: str
    reason: str


class Restorer:
    """Makes again what the catalog has.

    What could not be made is remembered (`left`).
    """

    def __init__(self, graph: BlockGraph, exports: ExportManager, events: EventSink, execute: Execute) -> None:
        self._graph = graph
        self._exports = exports
        self._events = events
        self._execute = execute
        self._failures: list[Unrestored] = []

    async def restore(self, context: RequestContext) -> None:
        """Make everything.

        :raises CatalogUnavailable: nobody knows what there is to be made.
        """
        for found in await objects.restorable(context):
            if self._graph.objects.find(found.object_id) is None:
                arguments = {"qom-type": found.qom_type, "id": found.object_id, **found.properties}
                await self._make("object", found.object_id, "object-add", arguments)
        nodes = await volumes.restorable(context)
        names = await volumes.volume_metadata(context, [node.id for node in nodes])
        for node in nodes:
            await self._make_node(node, names.get(node.id, {}))
        for node in nodes:
            if names.get(node.id, {}).get(MADE_READ_ONLY) == "yes":
                await self._make_read_only(node)
        server = await settings.get(context, SERVER)
        if server is not None and not self._exports.nbd.running:
            await self._make("nbd-server", SERVER, "nbd-server-start", server)
        for export in await attachments.restorable(context):
            if self._exports.find(export.export_id) is None:
                await self._make("export", export.export_id, "block-export-add", export.settings)

    def left(self) -> list[Unrestored]:
        """What could not be made, and was not made by somebody else since."""
        self._failures = [one for one in self._failures if not self._is_there(one.kind, one.name)]
        return list(self._failures)

    def forget(self, kind: str, name: str) -> None:
        """Something is not wanted any more."""
        self._failures = [one for one in self._failures if (one.kind, one.name) != (kind, name)]

    def tell(self, failure: Unrestored) -> None:
        """Tell everybody that something could not be made."""
        self._events.emit("STATE_RESTORE_FAILED", dataclasses.asdict(failure))
        _log.warning("%s '%s' could not be made again: %s", failure.kind, failure.name, failure.reason)

    def _is_there(self, kind: str, name: str) -> bool:
        match kind:
            case "object":
                return self._graph.objects.find(name) is not None
            case "node":
                return self._graph.find(name) is not None
            case "nbd-server":
                return self._exports.nbd.running
            case _:
                return self._exports.find(name) is not None

    def _report(self, kind: str, name: str, reason: str) -> None:
        failure = Unrestored(kind, name, reason)
        self._failures.append(failure)
        self.tell(failure)

    async def _make_node(self, node: VolumeRecord, names: Mapping[str, str]) -> None:
        if self._graph.find(node.node_name) is not None:
            return
        self._graph.remembered_names = {
            tuple(key.removeprefix(NAME).rsplit("/", 1)): name  # type: ignore[misc]
            for key, name in names.items()
            if key.startswith(NAME)
        }
        try:
            await self._make("node", node.node_name, "blockdev-add", node.definition)
        finally:
            self._graph.remembered_names = {}

    async def _make_read_only(self, node: VolumeRecord) -> None:
        """Let a node be what a snapshot had made of it: jobs that need to write to it know what to do then."""
        from qmpd.block.reopen import set_read_only

        found = self._graph.find(node.node_name)
        try:
            async with self._graph.exclusive():
                if found is not None:
                    await set_read_only(self._graph, found, read_only=True)
        except QMPError as error:
            _log.warning("node '%s' stays writable: %s", node.node_name, error.desc)

    async def _make(self, kind: str, name: str, command: str, arguments: Mapping[str, Any]) -> None:
        try:
            await self._execute(command, arguments)
        except QMPError as error:
            self._report(kind, name, error.desc)
        except OSError as error:
            self._report(kind, name, os_error_text(error))
        except Exception as error:
            # A mistake of ours, or a definition that the catalog should not have: the rest can be made all the same.
            _log.debug("%s '%s' could not be made again", kind, name, exc_info=True)
            self._report(kind, name, f"{type(error).__name__}: {error}")
