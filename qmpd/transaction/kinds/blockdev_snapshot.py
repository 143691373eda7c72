"""The action `blockdev-snapshot`: a node that the client has opened becomes the overlay of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.kinds.external_snapshot import ExternalSnapshot

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevSnapshot
    from qmpd.block.node import BlockNode


class SnapshotWithNode(ExternalSnapshot):
    """Puts a node on top of another one."""

    kind = "blockdev-snapshot"

    data: BlockdevSnapshot

    def nodes(self) -> list[BlockNode]:
        """Both."""
        return found_nodes(self.env.graph, self.data.node, self.data.overlay)

    def base_node(self) -> BlockNode:
        return self.env.graph.lookup(self.data.node)

    async def overlay_node(self, base: BlockNode) -> BlockNode:
        return self.env.graph.lookup(self.data.overlay)
