"""The command that gives nodes children and takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.commands.recording import Recording
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjXBlockdevChangeArg
    from qmpd.block.drivers.quorum import QuorumDriver
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode


class ChildCommands:
    """x-blockdev-change."""

    def __init__(self, graph: BlockGraph, recording: Recording | None = None) -> None:
        self._graph = graph
        self._recording = recording or Recording()

    @command("x-blockdev-change")
    async def change(self, ctx: RequestContext, args: QObjXBlockdevChangeArg) -> None:
        """Add a node to a quorum, or take a child out of it.

        :raises GenericError: no such node or child, or the quorum cannot be without it or with it.
        """
        if (args.child is None) is (args.node is None):
            raise GenericError("Either 'child' (to take out) or 'node' (to add) has to be given, and not both")
        async with self._graph.exclusive():
            parent = self._graph.lookup(args.parent)
            if args.child is not None and args.child not in parent.children:
                raise GenericError(f"Node '{parent.node_name}' has no child '{args.child}'")
            added = None if args.node is None else self._graph.lookup_node(args.node)
            quorum = _quorum(parent)
            if added is not None and added.parents:
                raise GenericError(f"Node '{added.node_name}' is used by {added.parents[0].owner.describe()} already")
            async with self._graph.drained([parent]):
                if added is not None:
                    quorum.add_child(added)
                elif args.child is not None:
                    quorum.remove_child(args.child)
            self._recording.later()


def _quorum(node: BlockNode) -> QuorumDriver:
    from qmpd.block.drivers.quorum import QuorumDriver

    if not isinstance(node.driver, QuorumDriver):
        raise GenericError(
            f"Node '{node.node_name}' (driver '{node.driver.format_name}') has the children that it was opened with; "
            "only those of a 'quorum' can change"
        )
    return node.driver
