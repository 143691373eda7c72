"""The action `blockdev-snapshot-internal-sync`: a snapshot inside an image.

The one kind whose commit touches the disk: a single header write makes the snapshot real. Everything before it is
prepared, everything after a failure is undone; what is lost if just that write fails is reported by an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.blockers import BlockOp
from qmpd.block.chain import check_is_root
from qmpd.errors import GenericError, os_error_text
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.outcome import Fact, SnapshotTaken

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevSnapshotInternal
    from qmpd.block.drivers.qcow2.snapshots import SnapshotMaking
    from qmpd.block.node import BlockNode


class SnapshotInternal(TransactionAction):
    """Makes one snapshot."""

    kind = "blockdev-snapshot-internal-sync"
    ungroupable = "a snapshot cannot be taken back once it is made"

    data: BlockdevSnapshotInternal
    _making: SnapshotMaking | None = None

    def nodes(self) -> list[BlockNode]:
        return found_nodes(self.env.graph, self.data.device)

    async def prepare(self) -> None:
        """Everything but the header write.

        :raises GenericError: no such node, one that takes no snapshots, or a name that is taken.
        """
        # A daemon without qcow2 images loads nothing of the format.
        from qmpd.block.drivers.qcow2.driver import Qcow2Driver
        from qmpd.block.drivers.qcow2.refcounts import Corruption
        from qmpd.block.drivers.qcow2.snapshots import SnapshotMaking, reason

        node = self.env.graph.lookup(self.data.device)
        check_is_root(node)
        node.blockers.check(BlockOp.INTERNAL_SNAPSHOT)
        driver = node.driver
        if not isinstance(driver, Qcow2Driver):
            raise GenericError(
                f"Node '{node.node_name}' takes no internal snapshot: driver '{driver.format_name}' has none"
            )
        making = SnapshotMaking(driver, self.data.name)
        self._making = making
        try:
            await making.prepare()
        except OSError as error:
            raise GenericError(
                f"Node '{node.node_name}' takes no internal snapshot: {reason(error)}"
            ) from error
        except Corruption as corruption:
            await driver.report(corruption, changing=True)
            raise GenericError(f"The image of node '{node.node_name}' is damaged: {corruption}") from corruption

    def outcome(self) -> list[Fact]:
        """A snapshot."""
        return [SnapshotTaken(self.env.graph.lookup(self.data.device), name=self.data.name)]

    def commit(self) -> None:
        """The header write."""
        making = self._making
        if making is None:
            return
        try:
            making.commit()
        except OSError as error:
            making.abort()
            self.env.events.emit(
                "BLOCK_IO_ERROR",
                {
                    "device": "",
                    "node-name": self.env.graph.lookup(self.data.device).node_name,
                    "operation": "write",
                    "action": "report",
                    "reason": f"the snapshot '{self.data.name}' was not made: {os_error_text(error)}",
                },
            )

    def abort(self) -> None:
        """Undo what was prepared."""
        if self._making is not None:
            self._making.abort()
