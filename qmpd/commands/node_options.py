"""Commands that change what holds for an open node: its options, the threshold for an event, who does its I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.commands.recording import Recording
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import (
        QObjBlockdevReopenArg,
        QObjBlockdevSetActiveArg,
        QObjBlockSetWriteThresholdArg,
        QObjXBlockdevSetIothreadArg,
    )
    from qmpd.block.graph import BlockGraph


class NodeOptionCommands:
    """blockdev-reopen, blockdev-set-active, block-set-write-threshold and x-blockdev-set-iothread."""

    def __init__(self, graph: BlockGraph, recording: Recording | None = None) -> None:
        self._graph = graph
        self._recording = recording or Recording()

    @command("blockdev-reopen")
    async def reopen(self, ctx: RequestContext, args: QObjBlockdevReopenArg) -> None:
        """Go on with other options: all nodes of the list, or none.

        :raises GenericError: a node does not exist, or something about one of them cannot be changed.
        """
        from qmpd.block.reopen import reopen
        from qmpd.block.reopen_plan import plan

        async with self._graph.exclusive():
            await reopen(self._graph, plan(self._graph, args.options))
            self._recording.later()

    @command("blockdev-set-active")
    async def set_active(self, ctx: RequestContext, args: QObjBlockdevSetActiveArg) -> None:
        """Hand disks over to another process, or take them over.

        :raises GenericError: there is no such node; see `make_active` and `make_inactive`.
        """
        from qmpd.block.activation import make_active, make_inactive

        async with self._graph.exclusive():
            nodes = list(self._graph.nodes.values())
            if args.node_name is not None:
                nodes = [self._graph.lookup_node(args.node_name)]
            if args.active:
                await make_active(self._graph, nodes)
            else:
                await make_inactive(self._graph, nodes)

    @command("block-set-write-threshold")
    def set_write_threshold(self, ctx: RequestContext, args: QObjBlockSetWriteThresholdArg) -> None:
        """Have the first write beyond an offset reported.

        :raises GenericError: there is no such node.
        """
        node = self._graph.lookup_node(args.node_name)
        node.write_threshold = args.write_threshold
        node.changed()

    @command("x-blockdev-set-iothread")
    def set_iothread(self, ctx: RequestContext, args: QObjXBlockdevSetIothreadArg) -> None:
        """Check who is to do a node's I/O; one loop does all of it, so nothing changes.

        :raises GenericError: there is no such node or thread, or the node is in use and `force` was not given.
        """
        from qmpd.block.backend import BlockBackend
        from qmpd.objects.iothread import find_iothread

        node = self._graph.lookup_node(args.node_name)
        if not args.force and any(isinstance(child.owner, BlockBackend) for child in node.parents):
            raise GenericError(f"Node {node.node_name!r} is used by an export or a drive; use 'force' to move it")
        if args.iothread is not None:
            find_iothread(self._graph.objects.find(args.iothread), args.iothread)
