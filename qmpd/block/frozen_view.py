"""A frozen view of a running disk: what it held when a copy-before-write filter went in.

What has been saved is read from the filter's target, all else from the disk itself. Two things keep the view true:

* Where a cluster is read is decided, and noted, in one turn of the event loop. A cluster that is to be saved, or is
  just being saved, still has its old contents on the disk, since the guest's write comes after that.
* A guest's write that follows waits for the reads of the disk that began before its cluster was saved. Those that begin
  later go to the target, so it cannot wait for ever.

Parts of the disk may be out of reach: those that a bitmap left out, those that a reader has given back (`discard`),
and all of it once something could not be saved. Reading there fails with EACCES, as in QEMU.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bitarray import bitarray

from qmpd.block.block_copy import BlockCopy
from qmpd.block.driver import Range
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.node import BlockNode

_MAX_PIECES = 256
"""Pieces from different places that one question about storage is answered with."""

_MAX_CLUSTERS = 1 << 14
"""Clusters in one piece."""


class _DiskRead:
    """Clusters from `first` up to `end` that are being read from the disk."""

    __slots__ = ("done", "end", "first")

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class FrozenView:
    """The view.

    :param copy: saves the old contents.
    :param access: one bit for each cluster, 1 for those that can be read; None for all.
    :param broken: tells whether something could not be saved.
    """

    def __init__(self, copy: BlockCopy, access: bitarray | None, broken: Callable[[], bool]) -> None:
        self.copy = copy
        self.length = copy.length
        self._access = access
        self._broken = broken
        self._reads: list[_DiskRead] = []

    @property
    def being_read(self) -> bool:
        """Something is being read from the disk itself."""
        return bool(self._reads)

    async def let_readers_pass(self, offset: int, length: int) -> None:
        """Wait for those who read a range from the disk; the range has been saved, or the view is broken."""
        size = self.copy.cluster_size
        first, end = offset // size, -(-(offset + length) // size)
        while (read := self._reader(first, end)) is not None:
            await asyncio.shield(read.done)

    def _reader(self, first: int, end: int) -> _DiskRead | None:
        return next((read for read in self._reads if read.first < end and first < read.end), None)

    async def read(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`.

        :raises OSError: EACCES where the view is out of reach, or what disk or target met.
        """
        at, end = offset, offset + len(buffer)
        while at < end:
            # What is read next is decided only now: it may have been saved while the piece before was read.
            if self._reachable_end(at, end) < end:
                raise _out_of_reach()
            node, stop, lock = self._next_piece(at, end)
            with self._reading(lock):
                await node.preadv(at, buffer[at - offset : stop - offset])
            at = stop

    async def map(self, offset: int, length: int) -> list[Extent]:
        """How the range is stored, up to where it is out of reach.

        :raises OSError: EACCES when the first byte is out of reach, or what disk or target met.
        """
        extents: list[Extent] = []
        at = offset
        for _ in range(_MAX_PIECES):
            end = self._reachable_end(at, offset + length)
            if at >= end:
                break
            node, stop, lock = self._next_piece(at, end)
            with self._reading(lock):
                found = await node.map(at, stop - at)
            extents += [_without_place(extent, min(extent.end, stop)) for extent in found if extent.offset < stop]
            at = extents[-1].end
        if not extents:
            raise _out_of_reach()
        return extents

    async def discard(self, offset: int, length: int) -> None:
        """Give whole clusters back: they cannot be read any more, need not be saved, and the target may forget them.

        :raises OSError: as the target met it.
        """
        size = self.copy.cluster_size
        first = -(-offset // size)
        end = len(self.copy.todo) if offset + length >= self.length else (offset + length) // size
        if first >= end:
            return
        self._take_away(first, end)
        await self.copy.wait_for(first, end)
        self.copy.todo[first:end] = 0  # a copy that failed meanwhile has put its clusters back
        begin = first * size
        await self.copy.target.pdiscard(begin, min(end * size, self.length) - begin)

    def _take_away(self, first: int, end: int) -> None:
        if self._access is None:
            self._access = bitarray(len(self.copy.todo), endian="little")
            self._access.setall(1)
        self._access[first:end] = 0
        self.copy.todo[first:end] = 0

    def _reachable_end(self, offset: int, end: int) -> int:
        """The end of what can be read from `offset` on, at most `end`; `offset` if nothing can be."""
        if self._broken():
            return offset
        if self._access is None:
            return end
        size = self.copy.cluster_size
        barrier = self._access.find(0, offset // size, -(-end // size))
        return end if barrier < 0 else max(min(barrier * size, end), offset)

    def _next_piece(self, offset: int, end: int) -> tuple[BlockNode, int, Range | None]:
        """Where the bytes from `offset` on are, up to where, and which clusters of the disk must stay as they are."""
        size = self.copy.cluster_size
        first = offset // size
        last = min(-(-end // size), first + _MAX_CLUSTERS)
        stop, saved = self.copy.saved_run(first, last)
        limit = min(stop * size, end)
        if saved:
            return self.copy.target, limit, None
        return self.copy.source, limit, (first, stop)

    @contextmanager
    def _reading(self, clusters: Range | None) -> Iterator[None]:
        """Note that clusters (from, up to) are being read from the disk; None for none."""
        if clusters is None:
            yield
            return
        read = _DiskRead(*clusters)
        self._reads.append(read)
        try:
            yield
        finally:
            self._reads.remove(read)
            read.done.set_result(None)


def _out_of_reach() -> OSError:
    return OSError(errno.EACCES, os.strerror(errno.EACCES))


def _without_place(extent: Extent, end: int) -> Extent:
    """What an extent up to `end` is for a reader of the view: data or zeroes.

    Where in a host file it lies must not be known: it will not stay there.
    """
    kind = ExtentKind.DATA if extent.kind is ExtentKind.DATA else ExtentKind.ZERO
    return Extent(extent.offset, end - extent.offset, kind, allocated=extent.allocated)
