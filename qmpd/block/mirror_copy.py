"""Mirror copy: bring clusters of a source to a target while guests go on writing to the source.

Where `BlockCopy` wants each cluster as it was, this copy wants the last word: a cluster that is written again is
copied again. It keeps that promise with three rules:

* A write marks its clusters in `todo` *after* it has taken effect (or failed). A copy takes its clusters out of
  `todo` *before* it looks at the source. So whatever a copy may have missed is to do again.
* What `map` said counts only for clusters that nobody has marked since it was asked.
* No cluster is copied twice at the same time, or its older contents might arrive last. The same holds for guests'
  writes that go to both sides (`claim_for_write`): they and the copies wait for each other, cluster by cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bitarray import bitarray
from bitarray.util import ones, zeros

from qmpd.block.block_copy import (
    DEFAULT_CHUNK,
    LONG_RUN,
    MAX_RUNS,
    WINDOW,
    BlockCopy,
    CopyError,
    CopyTask,
)
from qmpd.block.dirty_bitmap import MAX_BITS
from qmpd.block.extents import ExtentKind
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError


def no_clusters(length: int, cluster_size: int) -> bitarray:
    """One clear bit for each cluster of a disk.

    :raises GenericError: there are too many.
    """
    size = -(-length // cluster_size)
    if size > MAX_BITS:
        raise GenericError(
            f"A disk of {length} bytes has more than {MAX_BITS} clusters of {cluster_size} bytes, the most that can be "
            "kept track of; 'granularity' has to be larger"
        )
    return zeros(size, endian="little")


class MirrorCopy(BlockCopy):
    """A copy that goes on and on.

    :ivar on_dirty: called when something was marked.
    """

    copies_once = False

    def __init__(self, source: BlockNode, target: BlockNode, cluster_size: int) -> None:
        super().__init__(source, target, cluster_size, no_clusters(source.length, cluster_size))
        self.on_dirty: Callable[[], None] | None = None
        self._cursor = 0
        self._window: tuple[int, int] = (0, 0)
        self._marked = zeros(0, endian="little")

    @property
    def clean(self) -> bool:
        """Nothing is marked. What is under way may still fail, and is marked again then."""
        return self.todo.find(1) < 0

    @property
    def under_way(self) -> int:
        """Bytes of the disk that are being copied or written to both sides."""
        return sum(self.bytes_of(task) for task in self._claimed)

    # What is to do.

    def mark(self, offset: int, length: int) -> None:
        """A write to the source has ended, one way or the other. Plain."""
        if length <= 0:
            return
        first = offset // self.cluster_size
        end = min(-(-(offset + length) // self.cluster_size), len(self.todo))
        self.todo[first:end] = 1
        start, stop = max(first, self._window[0]), min(end, self._window[1])
        if start < stop:
            self._marked[start - self._window[0] : stop - self._window[0]] = 1
        if self.on_dirty is not None:
            self.on_dirty()

    def mark_all(self) -> None:
        """Everything is to be copied."""
        self.mark(0, self.length)

    async def mark_allocated(self, offset: int, layers: int) -> int:
        """What the uppermost `layers` images of the source store is to be copied: look at a part from `offset` on.

        :returns: where the next part begins.
        :raises OSError: the source cannot tell.
        """
        extents = await self.source.map(offset, WINDOW)
        for extent in extents:
            if extent.depth < layers and extent.kind is not ExtentKind.UNALLOCATED:
                self.mark(extent.offset, extent.length)
        return extents[-1].end

    def follow(self, source: BlockNode, target: BlockNode) -> None:
        if source is not self.source:
            self.forget_map()
        super().follow(source, target)

    def forget_map(self) -> None:
        super().forget_map()
        self._window = (0, 0)

    # The background side.

    async def claim_next(self, chunk: int | None) -> CopyTask | None:
        """Claim the next clusters: up to `chunk` bytes of data, and a hole of any size.

        :returns: None when nothing can be claimed at the moment.
        """
        chunk = chunk or DEFAULT_CHUNK
        while True:
            first = self._next_free()
            if first is None:
                return None
            end = self._free_end(first)
            if end - first < LONG_RUN // self.cluster_size:
                return self._claim_scattered(first, chunk)
            known = self._known_end(first, end)
            if known > first:
                self._cursor = known
                return self._claim_known(first, known, chunk)
            if self._window[0] <= first < self._window[1]:
                # Marked since the window was mapped. Such a task asks for itself, when it has its clusters.
                return self._claim_scattered(first, chunk)
            try:
                await self._load_window(first * self.cluster_size)
            except CopyError:
                # What cannot be mapped can still be read; and if it cannot, that is the error to be told.
                next_free = self._next_free()
                return None if next_free is None else self._claim_scattered(next_free, chunk)

    def _next_free(self) -> int | None:
        """The first marked cluster that nobody has claimed, from the cursor on and round."""
        size = len(self.todo)
        for start, stop in ((min(self._cursor, size), size), (0, min(self._cursor, size))):
            first = self.todo.find(1, start, stop)
            while first >= 0:
                rival = self._claimant(first, first + 1)
                if rival is None:
                    return first
                after = max(end for begin, end in rival.runs if begin <= first < end)
                first = self.todo.find(1, after, stop) if after < stop else -1
        return None

    def _free_end(self, first: int) -> int:
        """Where the marked run that begins at `first` ends, or somebody's claim begins."""
        end = self._run_end(first)
        for task in self._claimed:
            for begin, stop in task.runs:
                if first < stop and begin < end:
                    end = begin
        return end

    def _known_end(self, first: int, end: int) -> int:
        """How far from `first` on the mapped window can be trusted."""
        low, high = self._window
        if not low <= first < high:
            return first
        marked = self._marked.find(1, first - low, min(end, high) - low)
        return min(end, high) if marked < 0 else low + marked

    def _claim_known(self, first: int, end: int, chunk: int) -> CopyTask:
        task = self._claim_from_window(first, chunk, limit=end)
        self._cursor = task.runs[-1][1]
        return task

    def _claim_scattered(self, first: int, chunk: int) -> CopyTask:
        runs: list[tuple[int, int]] = []
        budget = max(chunk // self.cluster_size, 1)
        start: int | None = first
        while start is not None and budget > 0 and len(runs) < MAX_RUNS:
            end = min(self._free_end(start), start + budget)
            runs.append((start, end))
            budget -= end - start
            self.todo[start:end] = 0
            self._cursor = end
            following = self._next_free() if budget > 0 else None
            start = following if following is not None and following >= end else None
        return self._open_task(CopyTask(runs))

    async def _load_window(self, offset: int) -> None:
        first = offset // self.cluster_size
        # From here on writes are noted, so that what they change between the question and the answer is known.
        window = (first, min(first + -(-WINDOW // self.cluster_size), len(self.todo)))
        self._window, self._marked = window, zeros(window[1] - first, endian="little")
        self._source_map.forget()
        try:
            await super()._load_window(offset)
        except BaseException:
            self.forget_map()
            raise
        if self._window != window:
            return
        if self._source_map.end < self.length:
            window = (first, min(window[1], self._source_map.end // self.cluster_size))
        if window[0] == window[1]:
            # Not even one cluster is described as a whole: let the task ask for itself.
            window = (first, first + 1)
            self._marked = ones(1, endian="little")
        self._window = window

    async def wait_for_claims(self) -> None:
        """Return when one of those who have claimed clusters is done."""
        if self._claimed:
            await asyncio.shield(self._claimed[0].done)

    # The foreground side: guests' writes that go to source and target.

    async def catch_up(self, offset: int, length: int) -> None:
        """Return when no cluster of the range is left to copy.

        :raises CopyError: one of them could not be copied.
        """
        first = offset // self.cluster_size
        end = min(-(-(offset + length) // self.cluster_size), len(self.todo))
        while True:
            rival = self._claimant(first, end)
            if rival is not None:
                await asyncio.shield(rival.done)
                continue
            start = self.todo.find(1, first, end)
            if start < 0:
                return
            stop = min(self._run_end(start), end)
            self.todo[start:stop] = 0
            await self.perform(self._open_task(CopyTask([(start, stop)])))

    async def claim_for_write(self, offset: int, length: int) -> CopyTask:
        """Have all clusters of the range to oneself; those that lie wholly in it need not be copied any more.

        To be followed by `release`, and by `mark` if the write fails on either side.
        """
        size = self.cluster_size
        first, end = offset // size, -(-(offset + length) // size)
        while (rival := self._claimant(first, end)) is not None:
            await asyncio.shield(rival.done)
        # The disk may end within its last cluster.
        self.forget(offset, end * size - offset if offset + length == self.length else length)
        return self._open_task(CopyTask([(first, end)]))

    def release(self, task: CopyTask) -> None:
        """The write that `task` was claimed for is over. Plain."""
        self._claimed.remove(task)
        task.done.set_result(None)
