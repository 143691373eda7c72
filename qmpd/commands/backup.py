"""The backup commands: transactions of one action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevBackup, DriveBackup
    from qmpd.transaction.engine import TransactionEngine


class BackupCommands:
    """blockdev-backup and drive-backup."""

    def __init__(self, engine: TransactionEngine) -> None:
        self._engine = engine

    @command("blockdev-backup")
    async def blockdev_backup(self, ctx: RequestContext, args: BlockdevBackup) -> None:
        """Back up into a node."""
        await self._engine.run_single("blockdev-backup", args, ctx)

    @command("drive-backup")
    async def drive_backup(self, ctx: RequestContext, args: DriveBackup) -> None:
        """Back up into a file."""
        await self._engine.run_single("drive-backup", args, ctx)
