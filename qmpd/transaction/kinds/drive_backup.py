"""The action `drive-backup`: a backup into a file, which the action opens and, if asked to, makes.

A file that the action has made goes again if the transaction aborts, and what was there before comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.chain import backing_node, skip_implicit_filters
from qmpd.block.node import BlockNode
from qmpd.block.target_file import TargetFile
from qmpd.errors import GenericError
from qmpd.transaction.kinds.backup_action import BackupAction

if TYPE_CHECKING:
    from qmpd.api.models import DriveBackup


class DriveBackupAction(BackupAction):
    """Starts a backup job whose target is a file."""

    kind = "drive-backup"
    data: DriveBackup
    _file: TargetFile | None = None

    async def target_node(self, source: BlockNode) -> BlockNode:
        data = self.data
        file = TargetFile(self.env.graph, data.target, data.format)
        if data.compress and data.format not in (None, "qcow2"):
            raise GenericError(f"'compress' needs a format that can; '{data.format}' cannot")
        self._file = file
        if str(data.mode or "absolute-paths") != "existing":
            await file.make(source, _below_target(source, str(data.sync)))
        if str(data.sync) == "none":
            # The target shows the disk where nothing has been copied to it.
            return await file.open(source, backing=skip_implicit_filters(source).node_name)
        return await file.open(source)

    def commit(self) -> None:
        super().commit()
        if self._file is not None:
            self.env.graph.defer(self._file.keep)

    def abort(self) -> None:
        super().abort()
        if self._file is not None:
            self._file.undo()


def _below_target(source: BlockNode, sync: str) -> BlockNode | None:
    """What a new target shows where the job copies nothing."""
    if sync == "none":
        return skip_implicit_filters(source)
    return backing_node(source) if sync == "top" else None
