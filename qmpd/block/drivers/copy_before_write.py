"""Driver `copy-before-write`: before a guest changes a cluster, its old contents go to a target.

A filter. A backup job puts one on top of its source and shares its `BlockCopy`, so that the target becomes the disk
as it stood when the filter went in. As a node of its own (blockdev-add) it serves fleecing.

What happens when the old contents cannot be saved is a choice: `break-guest-write` fails the guest's write, and the
snapshot stays whole; `break-snapshot` lets the write go on, and the snapshot is lost. Backup jobs choose the latter
and fail: a backup must never cost the guest its writes, and the job's bitmap still knows what has to be copied.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

from bitarray import bitarray
from bitarray.util import ones, zeros

from qmpd.block.block_copy import BlockCopy, CopyError
from qmpd.block.chain import chain
from qmpd.block.dirty_bitmap import MAX_BITS, MAX_GRANULARITY, DirtyBitmap
from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext
from qmpd.block.frozen_view import FrozenView
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.child import Child

DEFAULT_CLUSTER_SIZE = 65536
BREAK_GUEST_WRITE = "break-guest-write"
BREAK_SNAPSHOT = "break-snapshot"


class BitmapReference(Protocol):
    """A bitmap by node and name."""

    node: str
    name: str


class CopyBeforeWriteOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    target: Any
    bitmap: BitmapReference | None
    on_cbw_error: str | None
    cbw_timeout: int | None
    min_cluster_size: int | None


def least_cluster_size(member: str, wanted: int) -> int:
    """The cluster size to begin with, where a client wants at least `wanted` bytes.

    :param member: how the client has said so.
    :raises GenericError: it is no power of two, or too large.
    """
    if wanted & (wanted - 1) or wanted > MAX_GRANULARITY:
        raise GenericError(f"'{member}' is {wanted}; it has to be a power of two, and at most {MAX_GRANULARITY}")
    return max(wanted, DEFAULT_CLUSTER_SIZE)


def cluster_bits(length: int, cluster_size: int, bitmap: DirtyBitmap | None) -> bitarray:
    """One bit for each cluster of a disk: those dirty in `bitmap`, all without one.

    :raises GenericError: there are too many.
    """
    size = -(-length // cluster_size)
    if size > MAX_BITS:
        raise GenericError(
            f"A disk of {length} bytes has more than {MAX_BITS} clusters of {cluster_size} bytes, the most that can be "
            "kept track of; the target's clusters have to be larger"
        )
    if bitmap is None:
        return ones(size, endian="little")
    bits = DirtyBitmap(None, length, cluster_size)
    bits.merge_from(bitmap)
    return bits.snapshot()[:size] if size else zeros(0, endian="little")


class CopyBeforeWriteDriver(FilterDriver):
    """The filter.

    :ivar copy: what brings the old contents to the target; shared with a backup job.
    :ivar broken: why the snapshot is lost, None while it is whole.
    :ivar on_broken: called once when it is lost.
    :ivar view: what `snapshot-access` nodes read; None for the filter of a job.
    """

    def __init__(self, format_name: str = "copy-before-write") -> None:
        super().__init__(format_name)
        self.copy: BlockCopy
        self.on_cbw_error = BREAK_GUEST_WRITE
        self.timeout: float | None = None
        self.broken: CopyError | None = None
        self.on_broken: Callable[[], None] | None = None
        self._cluster_size = DEFAULT_CLUSTER_SIZE
        self._bitmap: DirtyBitmap | None = None
        self._compress = False
        self._discard_source = False
        self._late: set[asyncio.Task[None]] = set()
        self.view: FrozenView | None = None
        self._fleecing = False
        self._passed = 0
        self._passing: asyncio.Future[None] | None = None

    @classmethod
    def for_job(
        cls,
        cluster_size: int,
        todo_from: DirtyBitmap | None,
        *,
        compress: bool = False,
        discard_source: bool = False,
    ) -> CopyBeforeWriteDriver:
        """A filter for a backup job, to be put in with `BlockGraph.insert_filter` and the child `target`."""
        driver = cls()
        driver.on_cbw_error = BREAK_SNAPSHOT
        driver._cluster_size = cluster_size
        driver._bitmap = todo_from
        driver._compress = compress
        driver._discard_source = discard_source
        return driver

    async def open(self, options: CopyBeforeWriteOptions, context: OpenContext) -> None:
        self.on_cbw_error = str(options.on_cbw_error or BREAK_GUEST_WRITE)
        self.timeout = float(options.cbw_timeout) if options.cbw_timeout else None
        self._cluster_size = least_cluster_size("min-cluster-size", options.min_cluster_size or 0)
        await context.open_child("file", options.file, protocol=False)
        await context.open_child("target", options.target, protocol=False)
        target = self.node.children["target"].node
        if target.length < self.below.length:
            raise GenericError(
                f"'target' has {target.length} bytes; it has to hold the {self.below.length} bytes of 'file'"
            )
        if options.bitmap is not None:
            owner = self.node.graph.lookup(options.bitmap.node)
            self._bitmap = owner.bitmaps.lookup(options.bitmap.name)
            self._bitmap.check(allow_ro=True)
        self.adopt_geometry()
        self._keep_view()

    def adopt_geometry(self) -> None:
        super().adopt_geometry()
        target = self.node.children["target"].node
        self._cluster_size = max(self._cluster_size, target.driver.cluster_size or 0)
        todo = cluster_bits(self.length, self._cluster_size, self._bitmap)
        self.copy = BlockCopy(self.below, target, self._cluster_size, todo, compress=self._compress)
        self.copy.discard_source = self._discard_source
        self._look_for_fleecing()

    def _keep_view(self) -> None:
        """Begin a view of the disk as it is now."""
        access = None if self._bitmap is None else self.copy.todo.copy()
        self.view = FrozenView(self.copy, access, lambda: self.broken is not None)

    def child_resized(self, name: str) -> bool:
        if not super().child_resized(name):
            return False
        if self.view is not None:
            # Nobody uses the filter: its users would not share resizing.
            target = self.node.children["target"].node
            if self._bitmap is None and not self.copy.completed and target.length >= self.length:
                self.adopt_geometry()
                self._keep_view()
            else:
                self._break(CopyError(False, OSError(errno.EINVAL, "the disk has another length now")))
        return True

    async def close(self) -> None:
        """The children must not go while a copy that came too late still uses them."""
        with self.node.graph.passing([self.node]):
            while self._late:
                await asyncio.wait(self._late)

    @property
    def busy(self) -> bool:
        return bool(self._late)

    def child_moved(self, name: str) -> None:
        # What goes to the target has to meet the filters that stand on it by now.
        self.copy.follow(self.below, self.node.children["target"].node)
        self._look_for_fleecing()

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        if name == "target":
            return Perm.WRITE, Perm.ALL & ~Perm.RESIZE
        if not self.node.parents:
            # So that the filter can be made while the disk is in use, and put on top of it then.
            return perm, shared
        if self._discard_source:
            perm |= Perm.WRITE
        # Old contents are read, and whoever wrote below the filter would not be noticed by it.
        return perm | Perm.CONSISTENT_READ, shared & ~(Perm.WRITE | Perm.RESIZE)

    async def _save(self, offset: int, length: int) -> None:
        if length:
            await self._save_old(offset, length)
            if self.view is not None and self.view.being_read:
                await self.view.let_readers_pass(offset, length)

    async def _save_old(self, offset: int, length: int) -> None:
        if self.broken is not None:
            return
        try:
            if self.timeout is None:
                await self.copy.copy_before_write(offset, length)
            else:
                await self._save_in_time(offset, length)
        except CopyError as error:
            if self.on_cbw_error == BREAK_GUEST_WRITE:
                raise error.cause from error
            self._break(error)
        if self._fleecing:
            await self._let_readers_pass(self.copy.completed)

    # A target that is an overlay of the filtered node shows that node's data where nothing has been copied yet. A
    # reader that has looked before a copy, and reads after it, must be done when the guest's write begins.

    def _look_for_fleecing(self) -> None:
        target = self.node.children["target"].node
        self._fleecing = self.copy.over_source = any(image is self.below for image in chain(target))

    async def _let_readers_pass(self, copies: int) -> None:
        """Wait for those readers that may have looked before the first `copies` copies were over."""
        while self._passed < copies:
            if self._passing is not None:
                await asyncio.shield(self._passing)
                continue
            self._passing = asyncio.get_running_loop().create_future()
            until = self.copy.completed
            try:
                await self.node.graph.let_pass(self._readers())
                self._passed = until
            finally:
                self._passing.set_result(None)
                self._passing = None

    def _readers(self) -> list[Child]:
        """Who reads the overlay, from outside of it."""
        target = self.node.children["target"].node
        images = list(takewhile(lambda image: image is not self.below, chain(target)))
        edges = (child for image in images for child in image.parents)
        return [child for child in edges if child.perm & Perm.CONSISTENT_READ and child.owner not in images]

    async def _save_in_time(self, offset: int, length: int) -> None:
        # The copy goes on after the time is over: its requests are under way and cannot be called back.
        saving = asyncio.ensure_future(self.copy.copy_before_write(offset, length))
        done, _ = await asyncio.wait({saving}, timeout=self.timeout)
        if not done:
            self._late.add(saving)
            saving.add_done_callback(self._late_copy_ended)
            raise CopyError(False, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        saving.result()

    def _late_copy_ended(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # the guest was told long ago; the clusters are to do again
        self.node.graph.request_done()

    def _break(self, error: CopyError) -> None:
        if self.broken is None:
            self.broken = error
            if self.on_broken is not None:
                self.on_broken()

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        await self._save(offset, len(data))
        await self.below.pwritev(offset, data, fua)

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        await self._save(offset, len(data))
        await self.below.pwrite_compressed(offset, data)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self._save(offset, length)
        await self.below.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback)

    async def pdiscard(self, offset: int, length: int) -> None:
        await self._save(offset, length)
        await self.below.pdiscard(offset, length)

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        for piece in pieces:
            await self._save(piece.offset, piece.length)
        await self.below.copy_from_host(pieces)
