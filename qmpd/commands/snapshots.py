"""The commands on snapshots: inside images, and as overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError, os_error_text
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api import models
    from qmpd.block.graph import BlockGraph
    from qmpd.commands.recording import Recording
    from qmpd.transaction.engine import TransactionEngine


class SnapshotCommands:
    """blockdev-snapshot, -sync and -internal-sync, which are transactions of one action, and -delete-internal-sync."""

    def __init__(self, graph: BlockGraph, engine: TransactionEngine, recording: Recording) -> None:
        self._graph = graph
        self._engine = engine
        self._recording = recording

    @command("blockdev-snapshot")
    async def put_overlay(self, ctx: RequestContext, args: models.BlockdevSnapshot) -> None:
        """Put a node on top of another one."""
        await self._engine.run_single("blockdev-snapshot", args, ctx)

    @command("blockdev-snapshot-sync")
    async def make_overlay(self, ctx: RequestContext, args: models.BlockdevSnapshotSync) -> None:
        """Put an overlay from a file on top of a disk."""
        await self._engine.run_single("blockdev-snapshot-sync", args, ctx)

    @command("blockdev-snapshot-internal-sync")
    async def make_internal(self, ctx: RequestContext, args: models.BlockdevSnapshotInternal) -> None:
        """Make a snapshot inside an image."""
        await self._engine.run_single("blockdev-snapshot-internal-sync", args, ctx)

    @command("blockdev-snapshot-delete-internal-sync")
    async def delete_internal(
        self, ctx: RequestContext, args: models.QObjBlockdevSnapshotDeleteInternalSyncArg
    ) -> dict[str, object]:
        """Delete a snapshot inside an image.

        :raises GenericError: no such node or snapshot, neither name nor id, or reading or writing failed.
        """
        from qmpd.block.blockers import BlockOp
        from qmpd.block.chain import check_is_root
        from qmpd.block.drivers.qcow2 import snapshots
        from qmpd.block.drivers.qcow2.driver import Qcow2Driver
        from qmpd.block.drivers.qcow2.refcounts import Corruption

        async with self._graph.exclusive():
            node = self._graph.lookup(args.device)
            check_is_root(node)
            if args.id is None and args.name is None:
                raise GenericError("'name' or 'id' is missing: one of them says which snapshot")
            node.blockers.check(BlockOp.INTERNAL_SNAPSHOT_DELETE)
            driver = node.driver
            if not isinstance(driver, Qcow2Driver):
                raise GenericError(f"Node '{node.node_name}' has no internal snapshots")
            snapshot = snapshots.find(driver.snapshots, args.id, args.name)
            if snapshot is None:
                wanted = args.name if args.name is not None else args.id
                raise GenericError(f"Node '{node.node_name}' has no snapshot '{wanted}'")
            async with self._graph.drained([node]):
                try:
                    await snapshots.delete(driver, snapshot)
                except OSError as error:
                    raise GenericError(
                        f"Snapshot '{args.name or args.id}' could not be deleted: {os_error_text(error)}"
                    ) from error
                except Corruption as corruption:
                    await driver.report(corruption, changing=True)
                    raise GenericError(f"The image of node '{node.node_name}' is damaged: {corruption}") from corruption
            self._recording.snapshot_deleted(node.node_name, snapshot.name.decode("utf-8", "surrogateescape"))
            return snapshot.info()
