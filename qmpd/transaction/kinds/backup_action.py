"""What `blockdev-backup` and `drive-backup` share: checking the request, and the job's life in a transaction.

The job is built in prepare, with its filter in place and its bitmap frozen, so that later actions of the same
transaction meet it; commit starts it, abort takes it back. Both nodes are drained all the while.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from qmpd.block.blockers import BlockOp
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from qmpd.jobs.backup import BackupJob, BackupSettings, BitmapMode
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.outcome import BackupStarts, Demand, Fact

if TYPE_CHECKING:
    from qmpd.api.models import BackupCommon

_BITMAP_SYNCS = ("incremental", "bitmap")


def bitmap_mode(sync: str, bitmap: str | None, mode: str | None) -> BitmapMode | None:
    """Which mode holds for the combination of `sync`, `bitmap` and `bitmap-mode`.

    :raises GenericError: the combination makes no sense.
    """
    if bitmap is None:
        if sync in _BITMAP_SYNCS:
            raise GenericError(f"'bitmap' is missing: sync={sync} copies what a bitmap says")
        if mode is not None:
            raise GenericError("'bitmap-mode' is given without a 'bitmap' that it could be about")
        return None
    if sync == "none":
        raise GenericError("'bitmap' has no meaning with sync=none, which copies only what is overwritten")
    if sync == "incremental":
        if mode not in (None, BitmapMode.ON_SUCCESS):
            raise GenericError("'bitmap-mode' has to be 'on-success' with sync=incremental; sync=bitmap takes any")
        return BitmapMode.ON_SUCCESS
    if mode is None:
        raise GenericError(f"'bitmap-mode' is missing: sync={sync} with a bitmap needs one")
    if mode == BitmapMode.NEVER and sync != "bitmap":
        raise GenericError(f"'bitmap-mode' 'never' has no effect with sync={sync}; leave the bitmap out")
    return BitmapMode(mode)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def settings_from(data: BackupCommon, job_id: str) -> BackupSettings:
    """The checked settings of a backup.

    :raises GenericError: members contradict each other or are out of range.
    """
    perf = data.x_perf
    workers = _given(perf.max_workers if perf else None, 64)
    chunk = _given(perf.max_chunk if perf else None, 0)
    if not 1 <= workers <= 0x7FFFFFFF:
        raise GenericError(f"'x-perf.max-workers' is {workers}; it has to be from 1 to {0x7FFFFFFF}")
    if chunk < 0:
        raise GenericError(f"'x-perf.max-chunk' is {chunk}; it must not be negative")
    sync = str(data.sync)
    return BackupSettings(
        job_id=job_id,
        copies_all=sync != "none",
        copy_bitmap=sync in _BITMAP_SYNCS,
        only_top=sync == "top",
        compress=bool(data.compress),
        discard_source=bool(data.discard_source),
        bitmap=data.bitmap,
        bitmap_mode=bitmap_mode(sync, data.bitmap, str(data.bitmap_mode) if data.bitmap_mode else None),
        speed=_given(data.speed, 0),
        on_source_error=str(_given(data.on_source_error, "report")),
        on_target_error=str(_given(data.on_target_error, "report")),
        auto_finalize=_given(data.auto_finalize, True),
        auto_dismiss=_given(data.auto_dismiss, True),
        filter_node_name=data.filter_node_name,
        max_workers=workers,
        use_copy_range=bool(perf and perf.use_copy_range),
        max_chunk=chunk,
        min_cluster_size=_given(perf.min_cluster_size if perf else None, 0),
    )


class BackupAction(TransactionAction):
    """An action that starts a backup job."""

    data: BackupCommon
    _job: BackupJob | None = None
    _settings: BackupSettings | None = None
    _nodes: tuple[BlockNode, BlockNode] | None = None

    def nodes(self) -> list[BlockNode]:
        found = (self.env.graph.find(name) for name in self._node_names())
        return [node for node in found if node is not None]

    def _node_names(self) -> list[str]:
        return [self.data.device]

    @abstractmethod
    async def target_node(self, source: BlockNode) -> BlockNode:
        """The node to copy to.

        :raises GenericError: there is none.
        """

    async def prepare(self) -> None:
        """Build the job.

        :raises GenericError: no such node or bitmap, contradicting members, sizes that differ, nodes in use.
        """
        source = self.env.graph.lookup(self.data.device)
        settings = self._settings = settings_from(self.data, self._job_id())
        source.blockers.check(BlockOp.BACKUP_SOURCE)
        target = await self.target_node(source)
        if source is target:
            raise GenericError("'device' and 'target' are the same node; a backup needs two")
        target.blockers.check(BlockOp.BACKUP_TARGET)
        if self.data.compress and not target.driver.supports_compression:
            raise GenericError(f"'compress' needs a format that can; '{target.driver.format_name}' cannot")
        if source.length != target.length:
            raise GenericError(
                f"'{source.node_name}' has {source.length} bytes and '{target.node_name}' {target.length}; "
                "source and target of a backup have to be of the same size"
            )
        self._job = BackupJob.create(settings, self.env.jobs, self.env.graph, source, target, self.env.group)

        self._nodes = source, target

    def demand(self) -> Demand:
        """A job, and what it will have to copy, at most.

        Before `prepare` that is a guess: actions that come before this one may change its bitmap. What guests will
        overwrite (sync=none) nobody knows before the end.
        """
        source = self.env.graph.find(self.data.device) if self._nodes is None else self._nodes[0]
        sync = str(self.data.sync)
        if source is None or sync == "none":
            return Demand(jobs=1)
        if sync not in _BITMAP_SYNCS:
            return Demand(jobs=1, backup_bytes=source.length)
        bitmap = self._bitmap_of(source)
        return Demand(jobs=1, backup_bytes=0 if bitmap is None else min(bitmap.count, source.length))

    def outcome(self) -> list[Fact]:
        """A backup that starts."""
        if self._job is None or self._nodes is None or self._settings is None:
            return []
        source, target = self._nodes
        sync, bitmap, mode = str(self.data.sync), self._bitmap_of(source), self._settings.bitmap_mode
        return [BackupStarts(self._job, source, target, sync, bitmap, mode, self.demand())]

    def _bitmap_of(self, source: BlockNode) -> DirtyBitmap | None:
        return None if self.data.bitmap is None else source.bitmaps.find(self.data.bitmap)

    def _job_id(self) -> str:
        if self.data.job_id is not None:
            return self.data.job_id
        if self.data.device in self.env.graph.backends:
            return self.data.device
        raise GenericError("'job-id' is missing: a node without a device gives a job no name")

    def commit(self) -> None:
        if self._job is not None:
            self._job.start()

    def abort(self) -> None:
        if self._job is not None:
            self._job.abandon()
