"""The action `blockdev-backup`: a backup into a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.node import BlockNode
from qmpd.transaction.kinds.backup_action import BackupAction

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevBackup


class BlockdevBackupAction(BackupAction):
    """Starts a backup job whose target is a node that exists."""

    kind = "blockdev-backup"
    data: BlockdevBackup

    def _node_names(self) -> list[str]:
        return [self.data.device, self.data.target]

    async def target_node(self, source: BlockNode) -> BlockNode:
        return self.env.graph.lookup(self.data.target)
