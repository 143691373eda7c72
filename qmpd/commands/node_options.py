"""Commands that change what holds for an open node: its options, and the threshold for an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjBlockdevReopenArg, QObjBlockSetWriteThresholdArg
    from qmpd.block.graph import BlockGraph


class NodeOptionCommands:
    """blockdev-reopen and block-set-write-threshold."""

    def __init__(self, graph: BlockGraph) -> None:
        self._graph = graph

    @command("blockdev-reopen")
    async def reopen(self, ctx: RequestContext, args: QObjBlockdevReopenArg) -> None:
        """Go on with other options: all nodes of the list, or none.

        :raises GenericError: a node does not exist, or something about one of them cannot be changed.
        """
        from qmpd.block.reopen import reopen
        from qmpd.block.reopen_plan import plan

        async with self._graph.exclusive():
            await reopen(self._graph, plan(self._graph, args.options))

    @command("block-set-write-threshold")
    def set_write_threshold(self, ctx: RequestContext, args: QObjBlockSetWriteThresholdArg) -> None:
        """Have the first write beyond an offset reported.

        :raises GenericError: there is no such node.
        """
        node = self._graph.lookup_node(args.node_name)
        node.write_threshold = args.write_threshold
        node.changed()
