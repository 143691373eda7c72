"""The backup job: a target becomes the source as it stood when the job was made.

Building the job (`BackupJob.create`, in a transaction's prepare, with both nodes drained) puts a copy-before-write
filter on top of the source and freezes the bitmap; from the end of that drained section on, no write reaches a
cluster of the source before the cluster is at the target. `run` copies the rest in the background; filter and job
share one `BlockCopy`.

What becomes of the bitmap is decided in one place, `_settle_bitmap`, called from commit and from abort.

If the filter cannot save a cluster that a guest overwrites, the snapshot is lost and the job fails, whatever its
error policy says: the guest's write counts for more, and the cluster is still dirty in the bitmap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from bitarray import bitarray

from qmpd.block.bitmap_keeper import secure
from qmpd.block.block_copy import DEFAULT_CHUNK, BlockCopy, CopyError, CopyTask
from qmpd.block.chain import chain
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver, least_cluster_size
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from qmpd.jobs.block_job import BlockJob, ErrorAction
from qmpd.jobs.holdings import Holdings
from qmpd.jobs.manager import JobManager
from qmpd.jobs.transaction import JobTransaction

RETRY_SECONDS = 0.1
"""Pause before a request is tried again that failed and was to be ignored."""


class BitmapMode(StrEnum):
    """When the bitmap gives up the bits that the job copied (QEMU's `BitmapSyncMode`)."""

    ON_SUCCESS = "on-success"
    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """A backup as asked for, checked as far as the nodes do not matter.

    :ivar copies_all: the background copies everything that the bitmap, if any, does not exclude; False for sync=none.
    :ivar copy_bitmap: only what is dirty in the bitmap is copied (sync=incremental or bitmap).
    :ivar only_top: what the source does not store itself is left out (sync=top).
    :ivar compress: the target gets its data in compressed form.
    :ivar discard_source: what has been copied is discarded in the source.
    :ivar speed: bytes per second, 0 for no limit.
    :ivar use_copy_range: the kernel copies what is plain in both files, and may let them share it.
    :ivar max_chunk: bytes, 0 for the default.
    :ivar min_cluster_size: bytes, 0 for the default.
    """

    job_id: str
    copies_all: bool = True
    copy_bitmap: bool = False
    only_top: bool = False
    compress: bool = False
    discard_source: bool = False
    bitmap: str | None = None
    bitmap_mode: BitmapMode | None = None
    speed: int = 0
    on_source_error: str = "report"
    on_target_error: str = "report"
    auto_finalize: bool = True
    auto_dismiss: bool = True
    filter_node_name: str | None = None
    max_workers: int = 64
    use_copy_range: bool = False
    max_chunk: int = 0
    min_cluster_size: int = 0


class BackupJob(BlockJob):
    """One disk's backup. Made by `create` only."""

    job_type = "backup"

    def __init__(self, settings: BackupSettings, graph: BlockGraph, source: BlockNode, target: BlockNode) -> None:
        super().__init__(
            settings.job_id,
            speed=settings.speed,
            auto_finalize=settings.auto_finalize,
            auto_dismiss=settings.auto_dismiss,
        )
        self._settings = settings
        self._graph = graph
        self._source = source
        self._target = target
        self._bitmap: DirtyBitmap | None = None
        self._filter: BlockNode | None = None
        self._driver: CopyBeforeWriteDriver
        self._holdings = Holdings(graph, self)
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[CopyError] = []
        self._not_secured: bitarray | None = None

    @classmethod
    def create(
        cls,
        settings: BackupSettings,
        manager: JobManager,
        graph: BlockGraph,
        source: BlockNode,
        target: BlockNode,
        group: JobTransaction | None,
    ) -> BackupJob:
        """Make the job, ready to start, with its filter in place. `source` and `target` must be drained.

        :param group: the transaction it joins, None for one of its own.
        :raises GenericError: it cannot be; everything is as before.
        """
        manager.check_id(settings.job_id)
        job = cls(settings, graph, source, target)
        try:
            job._take(cls._find_bitmap(settings, source))
            manager.add(job, group)
        except BaseException:
            job._give_back()
            if job._bitmap is not None:
                job._bitmap.reclaim()
            raise
        return job

    @staticmethod
    def _find_bitmap(settings: BackupSettings, source: BlockNode) -> DirtyBitmap | None:
        if settings.bitmap is None:
            return None
        bitmap = source.bitmaps.lookup(settings.bitmap)
        # A bitmap that is only read need not be writable, all others must be.
        bitmap.check(allow_ro=settings.bitmap_mode is BitmapMode.NEVER)
        return bitmap

    def _take(self, bitmap: DirtyBitmap | None) -> None:
        settings = self._settings
        least = least_cluster_size("x-perf.min-cluster-size", settings.min_cluster_size)
        cluster_size = max(least, self._target.driver.cluster_size or 0)
        if 0 < settings.max_chunk < cluster_size:
            raise GenericError(
                f"'x-perf.max-chunk' is {settings.max_chunk}; it has to be 0 or at least the {cluster_size} bytes "
                "of a cluster of this backup"
            )
        if settings.discard_source and self._source in chain(self._target):
            raise GenericError(
                f"'discard-source' cannot be: the target '{self._target.node_name}' shows '{self._source.node_name}' "
                "where it stores nothing"
            )
        if bitmap is not None:
            bitmap.freeze()
            self._bitmap = bitmap
        self._driver = CopyBeforeWriteDriver.for_job(
            cluster_size,
            bitmap if settings.copy_bitmap else None,
            compress=settings.compress,
            discard_source=settings.discard_source,
        )
        self._filter = self._graph.insert_filter(
            self._driver, self._source, settings.filter_node_name, {"target": self._target}, overlays=True
        )
        self._driver.on_broken = self.kick
        self.copy.on_copied = self.progress.advance
        self.copy.offload = settings.use_copy_range
        self.progress.set_total(min(self.copy.remaining, self._source.length))
        self._holdings.use("main node", self._filter)
        self._holdings.use("target", self._target)

    @property
    def copy(self) -> BlockCopy:
        """What does the copying, shared with the filter."""
        return self._driver.copy

    def nodes(self) -> Sequence[BlockNode]:
        return [node for node in (self._filter, self._source, self._target) if node is not None]

    def given_up(self) -> Sequence[BlockNode]:
        return [self._target]

    # The work.

    async def run(self) -> None:
        if self._settings.only_top or not self._settings.copies_all:
            self.copy.partial = True
        try:
            if self._settings.only_top:
                await self._leave_out_backing()
            if self._settings.copies_all:
                await self._copy_background()
            else:
                await self._stand_guard()
        finally:
            while self._running:
                await asyncio.wait(self._running)
            await self._secure_part()

    async def _leave_out_backing(self) -> None:
        try:
            await self.copy.forget_unallocated()
        except CopyError as error:
            raise error.cause from error
        self.progress.set_total(self.progress.current + min(self.copy.remaining, self._source.length))

    async def _stand_guard(self) -> None:
        while True:
            self._check_snapshot()
            await self.sleep(3600)

    def _check_snapshot(self) -> None:
        if self._driver.broken is not None:
            raise self._driver.broken.cause

    async def _copy_background(self) -> None:
        while True:
            await self.pause_point()
            self._check_snapshot()
            await self._handle_failures()
            if self.pause_requested:
                continue
            await self.throttle(0)
            task = await self.copy.claim_next(self._chunk())
            if task is not None:
                self.rate_limit.charge(self.copy.bytes_of(task))
                self._spawn(task)
                while len(self._running) >= min(self._settings.max_workers, self.copy.parallel):
                    await self._one_done()
            elif self._running:
                await self._one_done()
            elif not self.copy.idle:
                # The filter is still saving clusters for guests; should it fail, they are to do again.
                await self.copy.wait_idle()
            elif not self._failures:
                return

    def _chunk(self) -> int | None:
        chunk = self._settings.max_chunk or None
        if self.speed:
            # A slow job goes in small steps, so that it is smooth and reacts to a new speed.
            chunk = min(chunk or DEFAULT_CHUNK, max(self.speed // 10, self.copy.cluster_size))
        return chunk

    def _spawn(self, task: CopyTask) -> None:
        running = asyncio.get_running_loop().create_task(self._perform(task))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _perform(self, task: CopyTask) -> None:
        try:
            await self.copy.perform(task)
        except CopyError as error:
            self._failures.append(error)

    async def _one_done(self) -> None:
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _handle_failures(self) -> None:
        failures, self._failures = self._failures, []
        for failure in failures:
            policy = self._settings.on_source_error if failure.is_read else self._settings.on_target_error
            action = self.error_action(policy, failure.cause, is_read=failure.is_read)
            if action is ErrorAction.REPORT:
                raise failure.cause
            if action is ErrorAction.IGNORE:
                await self.sleep(RETRY_SECONDS)
            else:
                # Requests that were under way fail for the same reason; they are tried again with this one.
                await self.pause_point()
                self._failures.clear()
                return

    def drained_end(self) -> None:
        # Images below may have gone meanwhile, and the files that the map tells of are closed in a moment.
        self.copy.forget_map()
        super().drained_end()

    def quiescent(self) -> bool:
        return not self._running

    async def on_pause(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    # The end.

    async def prepare(self) -> None:
        """What is about to forget must not outlive what it forgets.

        A persistent bitmap survives the machine, so the target has to be on stable storage before the bitmap gives
        up its bits. Any other bitmap is lost together with the page cache; then, as in QEMU, the target is flushed
        when it is closed.
        """
        self._check_snapshot()
        if self._bitmap is not None and self._bitmap.persistent:
            await self._target.flush()
            await secure(self._source, persistent=True)

    async def _secure_part(self) -> None:
        """The same for a bitmap that gives up what was copied, however the job ends: only `run` can wait for that."""
        bitmap = self._bitmap
        if bitmap is None or not bitmap.persistent or self._settings.bitmap_mode is not BitmapMode.ALWAYS:
            return
        left = self.copy.not_copied()
        with suppress(OSError):
            await self._target.flush()
            await secure(self._source, persistent=True)
            self._not_secured = left

    def commit(self) -> None:
        self._settle_bitmap(success=True)

    def abort(self) -> None:
        self._settle_bitmap(success=False)

    def _settle_bitmap(self, *, success: bool) -> None:
        bitmap, mode = self._bitmap, self._settings.bitmap_mode
        if bitmap is None:
            return
        self._bitmap = None
        if success and mode is not BitmapMode.NEVER:
            bitmap.abdicate()
            return
        left = self._not_secured if bitmap.persistent else self.copy.todo
        # A job that never began has copied nothing: not a bit of its bitmap may change, not even to whole clusters.
        if self.started and mode is BitmapMode.ALWAYS and left is not None:
            bitmap.abdicate()
            bitmap.merge_bits(left, self.copy.cluster_size)
        else:
            bitmap.reclaim()

    def clean(self) -> None:
        self._give_back()

    def _give_back(self) -> None:
        self._holdings.give_back()
        cbw, self._filter = self._filter, None
        if cbw is not None:
            self._graph.remove_filter(cbw)


