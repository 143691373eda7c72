"""The action `blockdev-snapshot-sync`: the action makes or opens the overlay itself.

The overlay's node lives as long as it is used: nobody made it by name. What becomes of its file when the transaction
aborts, `qmpd.block.new_file` tells.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from qmpd.block.target_file import TargetFile
from qmpd.errors import GenericError
from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.kinds.external_snapshot import ExternalSnapshot

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevSnapshotSync
    from qmpd.block.node import BlockNode


class SnapshotIntoFile(ExternalSnapshot):
    """Puts an overlay from a file on top of a disk."""

    kind = "blockdev-snapshot-sync"

    data: BlockdevSnapshotSync
    _file: TargetFile | None = None

    def nodes(self) -> list[BlockNode]:
        """The disk."""
        return found_nodes(self.env.graph, *(name for name in (self.data.device, self.data.node_name) if name))

    def base_node(self) -> BlockNode:
        return self.env.graph.lookup_either(self.data.device, self.data.node_name)

    async def overlay_node(self, base: BlockNode) -> BlockNode:
        data, graph = self.data, self.env.graph
        if data.node_name is not None and data.snapshot_node_name is None:
            raise GenericError("'snapshot-node-name' is missing: the overlay of a node given by its name needs one")
        if data.snapshot_node_name is not None:
            graph.check_new_name(data.snapshot_node_name)
        if data.format not in (None, "qcow2"):
            raise GenericError(f"'format' is '{data.format}'; an overlay can be 'qcow2', which has backing images")
        file = self._file = TargetFile(graph, data.snapshot_file, "qcow2")
        if str(data.mode or "absolute-paths") != "existing":
            await file.make(base, base)
        flags = dataclasses.replace(
            base.options, read_only=base.read_only, detect_zeroes="off", force_share=False, chain=()
        )
        return await file.open(base, node_name=data.snapshot_node_name, flags=flags, alone=True)

    def commit(self) -> None:
        """The file stays. Without users to go over to it, nobody holds the overlay, and it is closed again."""
        super().commit()
        if self._file is not None:
            self.env.graph.defer(self._file.keep)
            if self._file.node is not None:
                self.env.graph.discard_if_unused(self._file.node)

    def abort(self) -> None:
        super().abort()
        if self._file is not None:
            self._file.undo()
