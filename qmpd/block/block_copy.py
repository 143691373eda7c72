"""Block copy: bring chosen clusters of a source to a target, each exactly once, from two sides at the same time.

The background side (a backup job) walks over the clusters that are still to do. The foreground side (the
copy-before-write filter) needs certain clusters at once, before a guest's write changes them. Three rules make the
two agree, all kept in `todo` and `_claimed`, without any lock:

* A cluster is claimed by taking it out of `todo` in the same turn of the event loop in which it was seen there.
* Whoever needs a cluster that another has claimed waits for that other task, and looks again.
* A task that fails puts its clusters back into `todo`.

As long as a cluster is in `todo` or claimed, no guest write has reached it since the copy began: such a write would
have had to copy it first. Therefore what the source's `map` says about such clusters stays true for as long as they
are of interest. Long runs are mapped in large windows, so that a hole of any size is one step; scattered clusters are
mapped a task at a time, because what lies between them is none of our business.

What `map` calls zero is never read; where a target that stands alone reads zero there already, nothing is done at all.
Extents that are plain bytes of host files are copied from file to file, many of them in one trip to a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from bitarray import bitarray

from qmpd.block.driver import HostPiece, Range
from qmpd.block.extents import Extent, ExtentKind, HostFile
from qmpd.block.node import BlockNode

DEFAULT_CHUNK = 2 << 20
"""Bytes of data that one background task copies."""

FILE_CHUNKS = range(256 << 10, 16 << 20)
"""The same where a worker copies from file to file, from a slow disk to the page cache."""
_FIRST_CHUNK = 4 << 20
_GOOD_TIMES = (0.004, 0.02)
"""Seconds that such a task may take before the next ones are made larger, or smaller: trips between threads cost more
than bytes, but a guest's write that meets a task has to wait for all of it."""

MAX_PARALLEL = 4
"""Tasks that are worth having under way at once on a disk; the threads they block leave room for guests' requests."""
_PARALLEL_IN_CACHE = 2
_CACHE_SPEED = 1 << 30
"""Bytes a second from which on all of them together take their data from the page cache, most likely."""

WINDOW = 1 << 30
"""Bytes whose `map` is asked for at once."""

LONG_RUN = 16 << 20
"""Runs of so many bytes are worth mapping in windows."""

MAX_RUNS = 512
"""Scattered runs that one task takes along."""

_BOUNCE = 1 << 20
_NOT_SUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP})


class CopyError(Exception):
    """A request of a copy failed.

    :ivar is_read: it was a read of the source, not a write to the target.
    :ivar cause: what the driver raised.
    """

    def __init__(self, is_read: bool, cause: OSError) -> None:
        super().__init__(str(cause))
        self.is_read = is_read
        self.cause = cause


@dataclass(eq=False, slots=True)
class CopyTask:
    """Clusters that somebody has claimed, as runs of [first, end).

    :ivar extents: how they are stored, where that is known already.
    """

    runs: list[tuple[int, int]]
    extents: list[Extent] | None = None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ExtentWindow:
    """What a node's `map` said, kept for a part of the node."""

    def __init__(self, node: BlockNode) -> None:
        self._node = node
        self._extents: list[Extent] = []
        self._starts: list[int] = []
        self._end = 0

    def covers(self, offset: int) -> bool:
        """Whether the byte at `offset` is known."""
        return bool(self._starts) and self._starts[0] <= offset < self._end

    @property
    def end(self) -> int:
        """The first byte after what is known."""
        return self._end

    def forget(self) -> None:
        """Know nothing any more."""
        self._extents, self._starts, self._end = [], [], 0

    async def load(self, offset: int) -> None:
        """Ask the node about the part that begins at `offset`."""
        extents = await self._node.map(offset, WINDOW)
        self._extents = extents
        self._starts = [extent.offset for extent in extents]
        self._end = extents[-1].end

    @property
    def extents(self) -> list[Extent]:
        """All that is known, in order."""
        return self._extents

    def at(self, offset: int) -> Extent:
        """The extent that holds a known byte."""
        return self._extents[bisect_right(self._starts, offset) - 1]


@dataclass(slots=True)
class Pace:
    """How large tasks are, and how many there are at once, where workers copy from file to file.

    A disk wants several requests at once. What lies in the page cache is copied fastest by few: more workers take the
    interpreter's lock from each other between any two system calls.

    :ivar chunk: bytes of a task.
    """

    chunk: int = _FIRST_CHUNK
    _speed: float = 4.0 * _CACHE_SPEED

    @property
    def is_cached(self) -> bool:
        """The last tasks were as fast as memory."""
        return self._speed > _CACHE_SPEED

    def note(self, seconds: float, length: int, at_once: int, *, also_otherwise: bool = False) -> None:
        """One of `at_once` tasks has copied `length` bytes from file to file in so many seconds.

        :param also_otherwise: that was only a part of it.
        """
        short, long = _GOOD_TIMES
        self._speed = (self._speed + length * at_once / max(seconds, 1e-6)) / 2
        if also_otherwise:
            self.chunk = min(self.chunk, DEFAULT_CHUNK)
        elif seconds < short:
            self.chunk = min(self.chunk * 2, FILE_CHUNKS.stop)
        elif seconds > long:
            self.chunk = max(self.chunk // 2, FILE_CHUNKS.start)


@dataclass(slots=True)
class _Plan:
    """:ivar holes: what the copying worker finds to be holes, in offsets of the file that begins at `host_start`."""

    pieces: list[HostPiece] = field(default_factory=list)
    through_memory: list[tuple[int, int]] = field(default_factory=list)
    zeroes: list[tuple[int, int]] = field(default_factory=list)
    holes: list[Range] = field(default_factory=list)
    host_start: int = 0


class BlockCopy:
    """One copy from `source` to `target`, which have the same length.

    :param cluster_size: bytes that are copied as a whole.
    :param todo: one bit for each cluster, 1 for those to be copied. Owned by the copy from now on.
    :param compress: the target gets its data in compressed form, cluster by cluster.
    :ivar offload: let the kernel copy plain extents, which may share blocks between source and target.
    :ivar unmap: the target may give space back where the source reads zero.
    :cvar copies_once: no cluster is copied again once it was copied.
    :ivar discard_source: what has been copied is discarded in the source, before anybody can write there again.
    :ivar over_source: the target shows the source where it stores nothing, so it has to store zeroes as well.
    :ivar partial: so it has to if only a part of the disk is copied, since what was copied before (the backup that this
        one is an increment of) may be put under the target one day.
    :ivar completed: how many tasks have gone well.
    :ivar on_copied: called with the number of bytes after each task that went well.
    """

    copies_once: ClassVar[bool] = True

    def __init__(
        self, source: BlockNode, target: BlockNode, cluster_size: int, todo: bitarray, *, compress: bool = False
    ) -> None:
        self.source = source
        self.target = target
        self.cluster_size = cluster_size
        self.length = source.length
        self.todo = todo
        self._claimed: list[CopyTask] = []
        self._source_map = ExtentWindow(source)
        self._target_map = ExtentWindow(target)
        self._host_copy = not compress
        self._pace = Pace()
        self.offload = False
        self.unmap = True
        self._compress = compress
        self.on_copied: Callable[[int], None] | None = None
        self.completed = 0
        self.over_source = False
        self.partial = not todo.all()
        self.discard_source = False

    def follow(self, source: BlockNode, target: BlockNode) -> None:
        """Go on with other nodes that show the same data: filters or overlays have come or gone. Both are drained."""
        if source is not self.source:
            self._source_map = ExtentWindow(source)
        self.source, self.target = source, target

    def forget_map(self) -> None:
        """What is known about how the source is stored may be true no longer."""
        self._source_map.forget()

    @property
    def remaining(self) -> int:
        """Bytes in clusters that nobody has copied or claimed yet."""
        return self.todo.count() * self.cluster_size

    def not_copied(self) -> bitarray:
        """A bit for each cluster: 1 for those that are to do, or under way."""
        bits = self.todo.copy()
        for task in self._claimed:
            for first, end in task.runs:
                bits[first:end] = 1
        return bits

    @property
    def idle(self) -> bool:
        """No task is under way."""
        return not self._claimed

    def bytes_of(self, task: CopyTask) -> int:
        """Bytes of the disk that `task` stands for."""
        size = self.cluster_size
        return sum(min(end * size, self.length) - first * size for first, end in task.runs)

    # The background side.

    async def claim_next(self, chunk: int | None) -> CopyTask | None:
        """Claim the next clusters: up to `chunk` bytes of data (None for as many as suit), and a hole of any size.

        :returns: None when nothing is left to claim.
        """
        while True:
            first = self.todo.find(1)
            if first < 0:
                return None
            if self._run_end(first) - first < LONG_RUN // self.cluster_size:
                return self._claim_scattered(first, chunk or self._good_chunk())
            offset = first * self.cluster_size
            if self._source_map.covers(offset):
                return self._claim_from_window(first, chunk or self._good_chunk(), self._run_end(first))
            # Others may claim clusters meanwhile; then it is another run that is looked at next.
            try:
                await self._source_map.load(offset)
            except OSError:
                first = self.todo.find(1)
                return self._claim_scattered(first, chunk or DEFAULT_CHUNK) if first >= 0 else None

    @property
    def parallel(self) -> int:
        """How many tasks are worth having under way at once."""
        if not self._host_copy or not self._pace.is_cached:
            return MAX_PARALLEL
        return _PARALLEL_IN_CACHE

    def _good_chunk(self) -> int:
        return self._pace.chunk if self._host_copy else DEFAULT_CHUNK

    def _note_pace(self, seconds: float, plan: _Plan) -> None:
        if plan.pieces:
            length = sum(piece.length for piece in plan.pieces)
            self._pace.note(seconds, length, len(self._claimed), also_otherwise=bool(plan.through_memory))

    def _run_end(self, first: int) -> int:
        end = self.todo.find(0, first)
        return len(self.todo) if end < 0 else end

    def _claim_scattered(self, first: int, chunk: int) -> CopyTask:
        runs: list[tuple[int, int]] = []
        budget = max(chunk // self.cluster_size, 1)
        while first >= 0 and budget > 0 and len(runs) < MAX_RUNS:
            end = min(self._run_end(first), first + budget)
            runs.append((first, end))
            budget -= end - first
            self.todo[first:end] = 0
            first = self.todo.find(1, end)
        return self._open_task(CopyTask(runs))

    def _claim_from_window(self, first: int, chunk: int, limit: int) -> CopyTask:
        """Clusters of one run up to `limit`, over as many extents as it takes to have `chunk` bytes of data."""
        size = self.cluster_size
        begin = offset = first * size
        limit = min(limit * size, self.length)
        extents: list[Extent] = []
        data = 0
        while offset < limit and data < chunk and self._source_map.covers(offset):
            extent = self._source_map.at(offset)
            end = min(extent.end, limit)
            if extent.kind is ExtentKind.DATA:
                end = min(end, offset + chunk - data)
                data += end - offset
            extents.append(extent.part(offset, end))
            offset = end
        # Whole clusters only. What is left of the last one stays to do, unless there is nothing else.
        stop = -(-offset // size) if offset == self.length else offset // size
        if stop == first:
            self.todo[first] = 0
            return self._open_task(CopyTask([(first, first + 1)]))
        extents = [extent.part(extent.offset, min(extent.end, stop * size)) for extent in extents]
        self.todo[first:stop] = 0
        assert extents[0].offset == begin
        return self._open_task(CopyTask([(first, stop)], [extent for extent in extents if extent.length > 0]))

    def _open_task(self, task: CopyTask) -> CopyTask:
        self._claimed.append(task)
        return task

    async def perform(self, task: CopyTask) -> None:
        """Copy what `task` has claimed.

        :raises CopyError: a request failed; the clusters are to do again.
        """
        try:
            plan = await self._make_plan(task)
            began = time.monotonic()
            await self._copy_pieces(plan)
            self._note_pace(time.monotonic() - began, plan)
            for offset, length in plan.through_memory:
                await self._copy_through_memory(offset, length)
            if plan.zeroes:
                await self._zero_where_needed(plan.zeroes, in_window=self.copies_once and task.extents is not None)
            if self.discard_source:
                await self._discard(self._ranges(task))
        except BaseException:
            for first, end in task.runs:
                self.todo[first:end] = 1
            raise
        finally:
            self._claimed.remove(task)
            task.done.set_result(None)
        self.completed += 1
        if self.on_copied is not None:
            self.on_copied(self.bytes_of(task))

    # The foreground side.

    async def copy_before_write(self, offset: int, length: int) -> None:
        """Return when no cluster of the range is left to copy.

        :raises CopyError: one of them could not be copied.
        """
        first = offset // self.cluster_size
        end = min(-(-(offset + length) // self.cluster_size), len(self.todo))
        while True:
            start = self.todo.find(1, first, end)
            if start >= 0:
                stop = self.todo.find(0, start, end)
                stop = end if stop < 0 else stop
                self.todo[start:stop] = 0
                await self.perform(self._open_task(CopyTask([(start, stop)])))
                continue
            rival = self._claimant(first, end)
            if rival is None:
                return
            await asyncio.shield(rival.done)

    def _claimant(self, first: int, end: int) -> CopyTask | None:
        for task in self._claimed:
            if any(start < end and first < stop for start, stop in task.runs):
                return task
        return None

    def saved_run(self, first: int, end: int) -> tuple[int, bool]:
        """Whether the cluster `first` has been copied, or need not be; and up to where, at most `end`, that is so."""
        pending = self.todo[first:end]
        for task in self._claimed:
            for start, after in task.runs:
                if start < end and first < after:
                    pending[max(start - first, 0) : min(after, end) - first] = 1
        change = pending.find(not pending[0])
        return end if change < 0 else first + change, not pending[0]

    async def wait_for(self, first: int, end: int) -> None:
        """Return when no task has one of the clusters from `first` up to `end` under way."""
        while (rival := self._claimant(first, end)) is not None:
            await asyncio.shield(rival.done)

    async def wait_idle(self) -> None:
        """Return when no task is under way."""
        while self._claimed:
            await asyncio.shield(self._claimed[0].done)

    def forget(self, offset: int, length: int) -> None:
        """The clusters that lie wholly in the range need not be copied any more."""
        first = -(-offset // self.cluster_size)
        end = (offset + length) // self.cluster_size
        if first < end:
            self.todo[first:end] = 0

    async def forget_unallocated(self) -> None:
        """Leave out what the source itself does not store (sync=top): its backing files have it.

        :raises CopyError: the source cannot tell.
        """
        offset = start = 0
        while offset < self.length:
            await self._load_window(offset)
            for extent in self._source_map.extents:
                if not extent.depth and extent.kind is not ExtentKind.UNALLOCATED:
                    self.forget(start, extent.offset - start)
                    start = extent.end
                offset = extent.end
        last = -(-self.length // self.cluster_size) * self.cluster_size
        self.forget(start, last - start)

    # How a task is done.

    async def _load_window(self, offset: int) -> None:
        try:
            await self._source_map.load(offset)
        except OSError as error:
            raise CopyError(True, error) from error

    def _ranges(self, task: CopyTask) -> list[Range]:
        size, length = self.cluster_size, self.length
        return [(first * size, min(end * size, length) - first * size) for first, end in task.runs]

    @staticmethod
    async def _map_or_read(node: BlockNode, ranges: list[Range]) -> list[Extent]:
        """How ranges are stored; plain data if the node cannot tell, since there are no wrong bytes in that."""
        try:
            return await node.map_ranges(ranges)
        except OSError:
            return [Extent(offset, length, ExtentKind.DATA) for offset, length in ranges]

    async def _make_plan(self, task: CopyTask) -> _Plan:
        extents = task.extents
        if extents is None:
            window = None if self._compress else self._direct_window()
            if window is not None:
                return self._plan_direct(task, *window)
            extents = await self._map_or_read(self.source, self._ranges(task))
        plan = _Plan()
        if self._compress:
            self._plan_whole_clusters(plan, task, extents)
            return plan
        for extent in extents:
            self._place(plan, extent)
        return plan

    def _direct_window(self) -> tuple[HostFile, int] | None:
        """The host file behind the source, when pieces of it can be copied without asking first what is data."""
        if not self._host_copy or self.target.driver.host_window() is None:
            return None
        return self.source.driver.host_window()

    def _plan_direct(self, task: CopyTask, host: HostFile, start: int) -> _Plan:
        """Leave it to the worker that copies to find the holes: one trip instead of two."""
        plan = _Plan(host_start=start)
        plan.pieces = [
            HostPiece(host, start + offset, offset, length, self.offload, plan.holes)
            for offset, length in self._ranges(task)
        ]
        return plan

    def _plan_whole_clusters(self, plan: _Plan, task: CopyTask, extents: list[Extent]) -> None:
        """Let each cluster be zeroed or copied as a whole: compressed data comes in clusters only."""
        size = self.cluster_size
        full: set[int] = set()
        for extent in extents:
            if not extent.reads_zero:
                full.update(range(extent.offset // size, (extent.end - 1) // size + 1))
        for first, end in task.runs:
            for cluster in range(first, end):
                offset = cluster * size
                places = plan.through_memory if cluster in full else plan.zeroes
                places.append((offset, min(size, self.length - offset)))

    def _place(self, plan: _Plan, extent: Extent) -> None:
        if extent.kind is not ExtentKind.DATA:
            plan.zeroes.append((extent.offset, extent.length))
        elif extent.host is not None and self._host_copy:
            plan.pieces.append(HostPiece(extent.host, extent.host_offset, extent.offset, extent.length, self.offload))
        else:
            plan.through_memory.append((extent.offset, extent.length))

    async def _copy_pieces(self, plan: _Plan) -> None:
        if not plan.pieces:
            return
        try:
            await self.target.copy_from_host(plan.pieces)
            plan.zeroes.extend((offset - plan.host_start, length) for offset, length in plan.holes)
        except OSError as error:
            if error.errno in _NOT_SUPPORTED:
                self._host_copy = False
            # It does not say whether reading or writing failed. Doing it again by hand tells, and is
            # harmless: the same bytes go to the same place.
            plan.through_memory.extend((piece.offset, piece.length) for piece in plan.pieces)

    async def _copy_through_memory(self, offset: int, length: int) -> None:
        buffer = memoryview(bytearray(min(length, _BOUNCE)))
        end = offset + length
        while offset < end:
            part = buffer[: min(len(buffer), end - offset)]
            try:
                await self.source.preadv(offset, part)
            except OSError as error:
                raise CopyError(True, error) from error
            try:
                if self._compress:
                    await self.target.pwrite_compressed(offset, part)
                else:
                    await self.target.pwritev(offset, part)
            except OSError as error:
                raise CopyError(False, error) from error
            offset += len(part)

    async def _zero_where_needed(self, ranges: list[Range], *, in_window: bool) -> None:
        if self.over_source or self.partial:
            for offset, length in ranges:
                await self._write_zeroes(offset, length)
            return
        extents = await (self._target_extents(ranges) if in_window else self._map_or_read(self.target, ranges))
        for extent in extents:
            if not extent.reads_zero:
                await self._write_zeroes(extent.offset, extent.length)

    async def _target_extents(self, ranges: list[Range]) -> list[Extent]:
        """What the target has in `ranges`, asked for in large windows.

        What was said of a part that has not been copied to stays true: only this copy writes to the target, and to
        each cluster once, or the same once more.
        """
        known = self._target_map
        extents: list[Extent] = []
        for offset, length in ranges:
            end = offset + length
            while offset < end:
                if not known.covers(offset):
                    try:
                        await known.load(offset)
                    except OSError:
                        return await self._map_or_read(self.target, ranges)
                extent = known.at(offset)
                stop = min(extent.end, end)
                extents.append(extent.part(offset, stop))
                offset = stop
        return extents

    async def _discard(self, ranges: list[Range]) -> None:
        # A hint: a source that does not take it keeps what it has.
        with contextlib.suppress(OSError):
            for offset, length in ranges:
                await self.source.pdiscard(offset, length)

    async def _write_zeroes(self, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            step = min(end - offset, WINDOW)
            try:
                await self.target.pwrite_zeroes(offset, step, may_unmap=self.unmap)
            except OSError as error:
                raise CopyError(False, error) from error
            offset += step
