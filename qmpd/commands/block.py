"""Commands on nodes: adding, deleting, resizing and asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.blockers import BlockOp
from qmpd.block.info import DeviceInfoCache, graph_info
from qmpd.block.opening import open_blockdev, reached
from qmpd.block.permissions import Perm
from qmpd.block.resizing import resize
from qmpd.commands.recording import Recording
from qmpd.monitor.context import RawJSON, RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import (
        BlockdevOptions,
        QObjBlockdevDelArg,
        QObjBlockResizeArg,
        QObjQueryBlockArg,
        QObjQueryNamedBlockNodesArg,
    )
    from qmpd.block.graph import BlockGraph


class BlockCommands:
    """blockdev-add, blockdev-del, block_resize and the queries about nodes."""

    def __init__(self, graph: BlockGraph, recording: Recording | None = None) -> None:
        self._graph = graph
        self._recording = recording or Recording()
        self._infos = DeviceInfoCache()

    @command("blockdev-add")
    async def blockdev_add(self, ctx: RequestContext, args: BlockdevOptions) -> None:
        """Open an image.

        :raises GenericError: it cannot be opened, or its name is missing or taken.
        """
        async with reached(self._graph, args) as driver, self._graph.exclusive():
            node = await open_blockdev(self._graph, args, driver)
            try:
                await self._recording.save(ctx)
            except BaseException:
                await self._graph.delete_node(node)
                raise

    @command("blockdev-del")
    async def blockdev_del(self, ctx: RequestContext, args: QObjBlockdevDelArg) -> None:
        """Close a node.

        :raises GenericError: there is no such node, or it is in use.
        """
        async with self._graph.exclusive():
            node = self._graph.lookup_node(args.node_name)
            node.blockers.check(BlockOp.DELETE)
            await self._graph.delete_node(node)
            try:
                await self._recording.save(ctx)
            except BaseException:
                self._graph.keep_node(node)
                raise

    @command("block_resize")
    async def block_resize(self, ctx: RequestContext, args: QObjBlockResizeArg) -> None:
        """Change a disk's length.

        :raises GenericError: no such node, a negative size, users that do not share resizing, or a driver that cannot.
        """
        async with self._graph.exclusive():
            await resize(self._graph, self._graph.lookup_either(args.device, args.node_name), args.size, Perm.RESIZE)
            self._recording.later()

    @command("query-named-block-nodes")
    def query_named_block_nodes(self, ctx: RequestContext, args: QObjQueryNamedBlockNodesArg) -> RawJSON:
        """All nodes, newest first."""
        return RawJSON(self._infos.all_nodes(self._graph, flat=bool(args.flat)))

    @command("query-block")
    def query_block(self, ctx: RequestContext, args: QObjQueryBlockArg) -> list[dict[str, Any]]:
        """All drives, named ones first."""
        from qmpd.block.drive_info import drive_info, listed

        return [drive_info(drive, flat=bool(args.flat)) for drive in listed(self._graph)]

    @command("x-debug-query-block-graph")
    def query_graph(self, ctx: RequestContext, args: None) -> dict[str, Any]:
        """Who uses whom."""
        return graph_info(self._graph)
