"""Commands on exports and the NBD server: the schema's models in, the export manager's settings out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.commands.addresses import socket_address
from qmpd.commands.recording import Recording
from qmpd.errors import GenericError
from qmpd.export.base import ExportSettings
from qmpd.export.nbd.settings import BitmapReference, NbdSettings
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import (
        BlockDirtyBitmapOrStr,
        BlockExportInfo,
        BlockExportOptions,
        NbdServerAddOptions,
        QObjBlockExportDelArg,
        QObjNbdServerRemoveArg,
        QObjNbdServerStartArg,
    )
    from qmpd.block.graph import BlockGraph
    from qmpd.export.manager import ExportManager


class ExportCommands:
    """nbd-server-start, -stop, -add, -remove, block-export-add, block-export-del, query-block-exports."""

    def __init__(self, graph: BlockGraph, exports: ExportManager, recording: Recording | None = None) -> None:
        self._graph = graph
        self._exports = exports
        self._recording = recording or Recording()

    @command("nbd-server-start")
    async def nbd_server_start(self, ctx: RequestContext, args: QObjNbdServerStartArg) -> None:
        """Start the NBD server.

        :raises GenericError: it runs already, cannot listen there, or is to speak TLS.
        """
        if args.tls_creds is not None:
            from qmpd.objects.tls_creds import find_server_creds

            find_server_creds(self._graph.objects.find(args.tls_creds), args.tls_creds)
            raise GenericError("The NBD server does not speak TLS; leave 'tls-creds' out, or listen at a Unix socket")
        await self._exports.start_nbd_server(
            socket_address(args.addr), args.max_connections or 0, {**args.to_json(), "addr": args.addr.to_json()}
        )
        try:
            await self._recording.hold_and_save(ctx)
        except BaseException:
            await self._exports.stop_nbd_server()
            self._recording.later()
            raise

    @command("nbd-server-stop")
    async def nbd_server_stop(self, ctx: RequestContext, args: None) -> None:
        """Remove all NBD exports and stop the server.

        :raises GenericError: it does not run.
        """
        await self._exports.stop_nbd_server()
        self._recording.later()

    @command("block-export-add")
    async def block_export_add(self, ctx: RequestContext, args: BlockExportOptions) -> None:
        """Export a node, which becomes active unless told otherwise.

        :raises GenericError: see `ExportManager.add_nbd`.
        """
        if not args.allow_inactive:
            await self._make_active(args.node_name)
        settings = ExportSettings(
            args.id,
            args.node_name,
            writable=bool(args.writable),
            writethrough=bool(args.writethrough),
            iothread=args.iothread,
        )
        nbd = NbdSettings(
            args.name,
            args.description,
            [_bitmap_reference(bitmap) for bitmap in args.bitmaps or ()],
            bool(args.allocation_depth),
        )
        # By whatever node the disk will begin one day: clients know it by this name.
        await self._add(ctx, settings, nbd, {**args.to_json(), "name": nbd.name or args.node_name})

    @command("block-export-del")
    def block_export_del(self, ctx: RequestContext, args: QObjBlockExportDelArg) -> None:
        """Begin to remove an export.

        :raises GenericError: there is none, it is going already, or (mode safe) a client uses it.
        """
        self._remove(args.id, args.mode)

    @command("nbd-server-add")
    async def nbd_server_add(self, ctx: RequestContext, args: NbdServerAddOptions) -> None:
        """Export a node in the older way: the name is the id too, and a read-only node is exported as it is.

        :raises GenericError: no such node; see `ExportManager.add_nbd`.
        """
        self._exports.nbd.check_running()
        node = self._graph.lookup(args.device)
        name = args.device if args.name is None else args.name
        settings = ExportSettings(name, node.node_name, writable=bool(args.writable) and not node.read_only)
        bitmaps = [] if args.bitmap is None else [BitmapReference(args.bitmap)]
        definition: dict[str, Any] = {
            "type": "nbd",
            "id": name,
            "name": name,
            "node-name": node.node_name,
            "writable": settings.writable,
            **({} if args.description is None else {"description": args.description}),
            **({} if args.bitmap is None else {"bitmaps": [args.bitmap]}),
        }
        await self._add(ctx, settings, NbdSettings(name, args.description, bitmaps), definition)

    @command("nbd-server-remove")
    def nbd_server_remove(self, ctx: RequestContext, args: QObjNbdServerRemoveArg) -> None:
        """Begin to remove an NBD export, by its id.

        :raises GenericError: as for block-export-del.
        """
        self._remove(args.name, args.mode)

    @command("query-block-exports")
    def query_block_exports(self, ctx: RequestContext, args: None) -> list[BlockExportInfo]:
        """All exports, newest first."""
        from qmpd.api.models import BlockExportInfo, BlockExportType

        return [
            BlockExportInfo(
                id=export.export_id,
                type=BlockExportType(export.kind),
                node_name=export.node_name,
                shutting_down=export.shutting_down,
            )
            for export in self._exports.query()
        ]

    async def _add(
        self, ctx: RequestContext, settings: ExportSettings, nbd: NbdSettings, definition: dict[str, Any]
    ) -> None:
        await self._exports.add_nbd(settings, nbd, definition)
        try:
            await self._recording.hold_and_save(ctx)
        except BaseException:
            self._exports.remove_hard(settings.export_id)
            self._recording.later()
            raise

    async def _make_active(self, node_name: str) -> None:
        node = self._graph.nodes.get(node_name)
        if node is None or node.options.active:
            return
        from qmpd.block.activation import make_active

        async with self._graph.exclusive():
            await make_active(self._graph, [self._graph.lookup_node(node_name)])

    def _remove(self, export_id: str, mode: str | None) -> None:
        if mode == "hard":
            self._exports.remove_hard(export_id)
        else:
            self._exports.remove_safe(export_id)
        self._recording.later()


def _bitmap_reference(bitmap: BlockDirtyBitmapOrStr) -> BitmapReference:
    if isinstance(bitmap, str):
        return BitmapReference(bitmap)
    return BitmapReference(bitmap.name, bitmap.node)
