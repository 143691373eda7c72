"""A node of the block graph: everything that is common to all drivers.

`BlockNode` checks bounds and alignment, marks dirty bitmaps before each write, keeps statistics that belong to the
node, falls back to plain writes where a driver has no cheap way to zero, and leaves the rest to its `BlockDriver`.
It does not gate requests: that is done where they enter the graph (`BlockBackend`), because a request under way must
be able to reach the bottom while its node is drained.

Marking comes before writing: a bit is set no later than the write it stands for can take effect. A write that fails
leaves its bits set, which costs a needless copy and never a lost change.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.block.blockers import OpBlockers
from qmpd.block.dirty_bitmap import BitmapStore
from qmpd.block.driver import BlockDriver, Buffer, HostPiece, Range, Told
from qmpd.block.extents import Extent
from qmpd.block.permissions import Perm

if TYPE_CHECKING:
    from qmpd.block.alignment import RequestAligner
    from qmpd.block.child import Child
    from qmpd.block.graph import BlockGraph

_ZERO_CHUNK = memoryview(bytes(1 << 20))


def is_zero(data: Buffer) -> bool:
    """True when all bytes of `data` are zero."""
    view = memoryview(data)
    size = len(_ZERO_CHUNK)
    return all(view[at : at + size] == _ZERO_CHUNK[: len(view) - at] for at in range(0, len(view), size))


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options that all drivers share (`BlockdevOptions`' base members), inheritance applied.

    :ivar detect_zeroes: `off`, `on` or `unmap`.
    :ivar active: False while another process may write to the image (see `qmpd.block.activation`); read-only then.
    :ivar chain: host paths of the images above in a backing chain; none of them can be below itself.
    """

    read_only: bool = False
    auto_read_only: bool = False
    cache_direct: bool = False
    cache_no_flush: bool = False
    discard_unmap: bool = False
    detect_zeroes: str = "off"
    force_share: bool = False
    active: bool = True
    chain: tuple[str, ...] = ()


class BlockNode:
    """One layer of a disk.

    :ivar parents: the edges by which others use this node.
    :ivar children: the edges to the nodes that it uses, by role.
    :ivar monitor_owned: it was made by name and lives until it is deleted by name.
    :ivar implicit: made on behalf of a job; named by the daemon.
    :ivar write_threshold: offset in bytes above which a write is reported, 0 for never.
    :ivar revision: counts what makes an earlier answer to a query stale.
    :ivar definition: the `BlockdevOptions` that it was opened with, None for a filter made for a job.
    :ivar inherits_from: the node for which it was defined in place; None when it has a life of its own.
    :ivar inherits_protocol: it was defined in place to store the bytes of a format.
    :ivar tolerated: what users may go on to hold of a node that became read-only under them.
    :ivar quiesce_count: how many drained sections the node is in.
    """

    def __init__(self, graph: BlockGraph, node_name: str, driver: BlockDriver, options: NodeOptions) -> None:
        self.graph = graph
        self.node_name = node_name
        self.driver = driver
        self.options = options
        self.parents: list[Child] = []
        self.children: dict[str, Child] = {}
        self.revision = 0
        self.bitmaps = BitmapStore(node_name, self.changed)
        self.blockers = OpBlockers(node_name, self._overlay_name)
        self.monitor_owned = False
        self.implicit = False
        self.definition: Any = None
        self.inherits_from: BlockNode | None = None
        self.inherits_protocol = False
        self.read_only = options.read_only
        self.tolerated = Perm.NONE
        self.write_threshold = 0
        self.wr_highest_offset = 0
        self.node_id = graph.next_id()
        self.quiesce_count = 0
        self._aligner: RequestAligner | None = None
        driver.node = self

    def __repr__(self) -> str:
        return f"<BlockNode {self.node_name} {self.driver.format_name}>"

    @property
    def length(self) -> int:
        """The size of the disk in bytes."""
        return self.driver.length

    @property
    def request_alignment(self) -> int:
        """Requests to the driver are multiples of this many bytes; the node rounds what is not."""
        return self.driver.request_alignment

    @property
    def cumulative_perm(self) -> Perm:
        """What all users of the node take together."""
        perm = Perm.NONE
        for child in self.parents:
            perm |= child.perm
        return perm

    @property
    def cumulative_shared(self) -> Perm:
        """What all users of the node leave to others."""
        shared = Perm.ALL
        for child in self.parents:
            shared &= child.shared
        return shared

    def become_read_only(self) -> None:
        """Take no writes any more, whoever has been promised that it may write: its requests fail from now on."""
        self.read_only = True
        self.tolerated = self.cumulative_perm
        self.changed()

    @property
    def filtered(self) -> BlockNode | None:
        """The node under a filter, None when this is no filter."""
        if not self.driver.is_filter or self.driver.main_child is None:
            return None
        return self.children[self.driver.main_child].node

    def _overlay_name(self) -> str | None:
        """The node name of an image that this one shows through, None if there is none."""
        for child in self.parents:
            if child.name == "backing" and isinstance(child.owner, BlockNode) and not child.owner.driver.is_filter:
                return child.owner.node_name
        return None

    def can_replace(self, node: BlockNode) -> bool:
        """Whether a copy of what this node shows may take the place of `node`, with nobody seeing other data."""
        return self is node or self.driver.can_replace(node)

    def rename(self, node_name: str) -> None:
        """Have another name from now on; `BlockGraph.rename` sees to the rest."""
        self.node_name = self.bitmaps.node_name = self.blockers.node_name = node_name

    def changed(self) -> None:
        """What queries tell of the node has changed."""
        self.revision += 1

    # The node as the owner of edges to its children.

    def describe(self) -> str:
        """How error messages name this node as a user of another one."""
        return f"node '{self.node_name}'"

    def drained_begin(self) -> None:
        """Stop those who send requests through this node; counted."""
        self.quiesce_count += 1
        for child in self.parents:
            child.owner.drained_begin()

    def drained_end(self) -> None:
        """Undo one `drained_begin`."""
        self.quiesce_count -= 1
        for child in self.parents:
            child.owner.drained_end()

    def drained_poll(self) -> bool:
        """True while the driver itself or anybody above still has requests under way."""
        return self.driver.busy or any(child.owner.drained_poll() for child in self.parents)

    # I/O.

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.driver.length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _check_write(self, offset: int, length: int) -> None:
        self._check(offset, length)
        if self.read_only:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def _about_to_write(self, offset: int, length: int) -> None:
        self.bitmaps.mark(offset, length)
        self._reach(offset + length)

    def _reach(self, end: int) -> None:
        if end > self.wr_highest_offset:
            self.wr_highest_offset = end
        if self.write_threshold and end > self.write_threshold:
            self._exceed_threshold(end)

    def _exceed_threshold(self, end: int) -> None:
        threshold, self.write_threshold = self.write_threshold, 0
        self.graph.events.emit(
            "BLOCK_WRITE_THRESHOLD",
            {"node-name": self.node_name, "amount-exceeded": end - threshold, "write-threshold": threshold},
        )

    def _alignment_helper(self) -> RequestAligner:
        if self._aligner is None:
            from qmpd.block.alignment import RequestAligner

            self._aligner = RequestAligner(self.driver)
        return self._aligner

    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        """Fill `buffer` from `offset`. To be awaited at once.

        :raises OSError: EIO beyond the end, or what the driver met.
        """
        driver = self.driver
        if offset < 0 or offset + len(buffer) > driver.length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if driver.request_alignment == 1:
            return driver.preadv(offset, buffer)
        return self._alignment_helper().preadv(offset, buffer)

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` if that takes no waiting; False: ask `preadv`, nothing has happened."""
        driver = self.driver
        if driver.request_alignment != 1 or offset < 0 or offset + len(buffer) > driver.length:
            return False
        return driver.read_now(offset, buffer)

    def begin_write(self, offset: int, data: Buffer, done: Told) -> bool:
        """Begin to write `data`; see `BlockDriver.begin_write`. Bits may have been marked where it is refused."""
        driver, end = self.driver, offset + len(data)
        if (
            driver.request_alignment != 1
            or not 0 <= offset < end <= driver.length
            or self.read_only
            or self.options.detect_zeroes != "off"
        ):
            return False
        self.bitmaps.mark(offset, len(data))
        if end > self.wr_highest_offset or self.write_threshold:
            self._reach(end)
        return driver.begin_write(offset, data, done)

    async def pwritev(self, offset: int, data: Buffer, fua: bool = False) -> None:
        """Write `data` at `offset`.

        :param fua: return only when the data is on stable storage.
        :raises OSError: EIO beyond the end, EPERM on a read-only node, or what the driver met.
        """
        length = len(data)
        driver, end = self.driver, offset + length
        if offset < 0 or end > driver.length or self.read_only:
            self._check_write(offset, length)
        if length == 0:
            return
        if self.options.detect_zeroes != "off" and is_zero(data):
            may_unmap = self.options.detect_zeroes == "unmap"
            await self.pwrite_zeroes(offset, length, may_unmap=may_unmap, fua=fua)
            return
        self.bitmaps.mark(offset, length)
        if end > self.wr_highest_offset or self.write_threshold:
            self._reach(end)
        if driver.request_alignment == 1:
            await driver.pwritev(offset, data, fua)
        else:
            await self._alignment_helper().pwritev(offset, data, fua)

    async def _write_unmarked(self, offset: int, data: Buffer, fua: bool) -> None:
        if self.driver.request_alignment == 1:
            await self.driver.pwritev(offset, data, fua)
        else:
            await self._alignment_helper().pwritev(offset, data, fua)

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        no_fallback: bool = False,
        fua: bool = False,
    ) -> None:
        """Make a range read as zeroes.

        :param may_unmap: the space may be given back, if the node was opened with discard=unmap.
        :param no_fallback: fail with ENOTSUP rather than write zeroes.
        """
        self._check_write(offset, length)
        if length == 0:
            return
        self._about_to_write(offset, length)
        unmap = may_unmap and self.options.discard_unmap
        align = self.driver.request_alignment
        head = min(-offset % align, length)
        tail = (offset + length) % align if length - head >= align else length - head
        if head:
            await self._write_zero_bytes(offset, head)
        await self._zero_aligned(offset + head, length - head - tail, unmap, no_fallback)
        if tail:
            await self._write_zero_bytes(offset + length - tail, tail)
        if fua:
            await self.flush()

    async def _zero_aligned(self, offset: int, length: int, unmap: bool, no_fallback: bool) -> None:
        if length == 0:
            return
        try:
            await self.driver.pwrite_zeroes(offset, length, unmap, no_fallback)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP) or no_fallback:
                raise
            await self._write_zero_bytes(offset, length)

    async def _write_zero_bytes(self, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            step = min(len(_ZERO_CHUNK), end - offset)
            await self._write_unmarked(offset, _ZERO_CHUNK[:step], False)
            offset += step

    async def pdiscard(self, offset: int, length: int) -> None:
        """Tell the storage that a range is no longer needed; afterwards it may read as anything.

        Does nothing unless the node was opened with discard=unmap.
        """
        self._check_write(offset, length)
        if not self.options.discard_unmap or length == 0:
            return
        align = self.driver.request_alignment
        start = -(-offset // align) * align
        end = (offset + length) // align * align
        if start >= end:
            return
        self._about_to_write(start, end - start)
        await self.driver.pdiscard(start, end - start)

    async def flush(self) -> None:
        """Bring completed writes to stable storage, unless the node was opened with cache.no-flush."""
        if self.driver.is_protocol and self.options.cache_no_flush:
            return
        await self.driver.flush()

    async def map(self, offset: int, length: int) -> list[Extent]:
        """How the range is stored; may end early, covers at least the first byte.

        :param length: may reach beyond the end; what is there is not described.
        :raises OSError: EIO when `offset` is beyond the end.
        """
        self._check(offset, 0)
        length = min(length, self.driver.length - offset)
        if length == 0:
            return []
        return await self.driver.map(offset, length)

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        """Write whole clusters in compressed form.

        :raises OSError: ENOTSUP when the format has no such form, EINVAL when a cluster is covered in part.
        """
        self._check_write(offset, len(data))
        if len(data):
            self._about_to_write(offset, len(data))
            await self.driver.pwrite_compressed(offset, data)

    async def populate(self, offset: int, length: int) -> None:
        """Store here what the backing files show in a range, where this image stores nothing itself.

        What is read stays the same, so no bitmap is marked.

        :raises OSError: EIO beyond the end, EPERM on a read-only node, or what the driver met.
        """
        self._check_write(offset, length)
        if length:
            await self.driver.populate(offset, length)

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        """How several ranges are stored: the extents of each, one after the other, complete.

        :raises OSError: EIO when one of them is beyond the end.
        """
        for offset, length in ranges:
            if offset < 0 or offset + length > self.driver.length:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await self.driver.map_ranges(ranges)

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        """Copy pieces of host files into this node, without their bytes passing through Python.

        :raises OSError: ENOTSUP when the driver cannot; bits may have been marked, nothing written.
        """
        if not pieces:
            return
        # There may be thousands of pieces: what they have in common is done once.
        self._check(min(piece.offset for piece in pieces), 0)
        end = max(piece.offset + piece.length for piece in pieces)
        self._check_write(end, 0)
        align = self.driver.request_alignment
        if align != 1 and any((piece.offset | piece.length | piece.host_offset) % align for piece in pieces):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        if len(self.bitmaps):
            for piece in pieces:
                self.bitmaps.mark(piece.offset, piece.length)
        self._reach(end)
        await self.driver.copy_from_host(pieces)

    async def truncate(self, length: int, exact: bool = False) -> None:
        """Change the length of the disk; bitmaps follow.

        :raises OSError: as the driver says.
        """
        if self.read_only:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        await self.driver.truncate(length, exact)
        self.refresh_length()

    def refresh_length(self) -> None:
        """Take over a length that the driver has changed, here and in every node that shows this one's length."""
        self.bitmaps.resize(self.driver.length)
        self.changed()
        for parent in self.parents:
            owner: Any = parent.owner
            resized = getattr(owner, "child_resized", None)
            if resized is not None:
                resized(parent)

    def child_moved(self, name: str) -> None:
        """A child is another node now, or has come or gone."""
        self.driver.child_moved(name)

    def child_resized(self, child: Child) -> None:
        """A child has another length now; a filter or raw node shows it too."""
        if self.driver.child_resized(child.name):
            self.refresh_length()
