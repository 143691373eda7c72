"""Driver `mirror_top`: the filter that a mirror job, or the commit of an active layer, puts on top of its source.

It sees all writes of guests. In the background mode it only notes what they have changed, for the job to copy. In the
active mode each write goes to the target too before it is answered, so that nothing new becomes dirty. What a guest is
told depends on the source alone: a target that fails is the job's affair.

A job switches modes at any time. Writes that began in the background mode still mark what they change when they end;
`settled` waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from qmpd.block.block_copy import CopyError
from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext
from qmpd.block.mirror_copy import MirrorCopy
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError


class MirrorTopDriver(FilterDriver):
    """The filter. Made for a job and put in with `BlockGraph.insert_filter` and the child `target`.

    :param cluster_size: bytes of which the job keeps track as a whole.
    :param target_shared: what others may do with the target meanwhile.
    :param is_commit: the target is below the source in its own chain.
    :ivar copy: what brings the changes to the target; shared with the job.
    :ivar active: writes go to both sides.
    :ivar whole_clusters: a write to a part of a target's cluster must not stand alone, for the target lacks the backing
        file that would fill in the rest; such clusters are copied from the source.
    :ivar on_error: called when a write did not reach the target; its clusters are dirty again.
    :ivar on_mirrored: called with the number of bytes after each write that went to both sides.
    """

    main_child = "backing"
    guards_source = True

    def __init__(self, cluster_size: int, target_shared: Perm, *, is_commit: bool = False) -> None:
        super().__init__("mirror_top")
        self.copy: MirrorCopy
        self.active = False
        self.whole_clusters = False
        self.on_error: Callable[[CopyError], None] | None = None
        self.on_mirrored: Callable[[int], None] | None = None
        self.target_perm = Perm.WRITE
        self._cluster_size = cluster_size
        self._target_shared = target_shared
        self._is_commit = is_commit
        self._passive_writes = 0
        self._waiters: list[asyncio.Future[None]] = []

    async def open(self, options: Any, context: OpenContext) -> None:
        raise GenericError("A node of driver 'mirror_top' is made by a job; it cannot be made by hand")

    def adopt_geometry(self) -> None:
        super().adopt_geometry()
        self.copy = MirrorCopy(self.below, self.node.children["target"].node, self._cluster_size)

    def child_moved(self, name: str) -> None:
        # What is copied has to meet the filters that stand on source and target by now.
        target = self.node.children.get("target")
        if target is not None:
            self.copy.follow(self.below, target.node)

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        if name == "target":
            return self.target_perm, self._target_shared
        if self._is_commit:
            # Reading consistently is what nobody can do between the layers while the base changes. And who forbids
            # writing to the source forbids it, through the chain, to the base.
            return perm & ~Perm.CONSISTENT_READ, shared | Perm.WRITE
        # Whoever wrote below the filter would not be noticed by it.
        return perm | Perm.CONSISTENT_READ, shared & ~(Perm.WRITE | Perm.RESIZE)

    def disconnect(self) -> None:
        """Write to the target no more, and let go of it: the job is about to end. Plain; nothing may be under way."""
        self.active = False
        target = self.node.children.pop("target", None)
        if target is not None:
            self.node.graph.detach(target)

    async def settled(self) -> None:
        """Return when no write is under way that began in the background mode."""
        while self._passive_writes:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # Writes.

    async def _noted(self, offset: int, length: int, write: Awaitable[None]) -> None:
        """In the background mode: write, then mark. Marked before, it could be copied too early."""
        self._passive_writes += 1
        try:
            await self._marked(offset, length, write)
        finally:
            self._passive_writes -= 1
            if not self._passive_writes and self._waiters:
                waiters, self._waiters = self._waiters, []
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    async def _marked(self, offset: int, length: int, write: Awaitable[None]) -> None:
        try:
            await write
        finally:
            self.copy.mark(offset, length)

    async def _mirrored(
        self, offset: int, length: int, write: Callable[[], Awaitable[None]], follow: Callable[[], Awaitable[None]]
    ) -> None:
        """In the active mode: write to the source, then `follow` on the target, with the clusters to itself."""
        claim = await self.copy.claim_for_write(offset, length)
        try:
            await write()
            try:
                await follow()
            except OSError as error:
                self.copy.mark(offset, length)
                self._failed(CopyError(False, error))
            else:
                self._succeeded(length)
        except BaseException:
            self.copy.mark(offset, length)
            raise
        finally:
            self.copy.release(claim)

    async def _copied(self, offset: int, length: int, write: Awaitable[None]) -> None:
        """In the active mode: write to the source, and copy whole clusters from there before it is answered."""
        await self._marked(offset, length, write)
        try:
            await self.copy.catch_up(offset, length)
        except CopyError as error:
            self._failed(error)
        else:
            self._succeeded(length)

    def _failed(self, error: CopyError) -> None:
        if self.on_error is not None:
            self.on_error(error)

    def _succeeded(self, length: int) -> None:
        if self.on_mirrored is not None:
            self.on_mirrored(length)

    def _target_takes_pieces(self, offset: int, length: int) -> bool:
        if not self.whole_clusters:
            return True
        end = offset + length
        return not offset % self._cluster_size and (end == self.length or not end % self._cluster_size)

    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        below, length = self.below, len(data)
        if not self.active:
            return self._noted(offset, length, below.pwritev(offset, data, fua))
        if not self._target_takes_pieces(offset, length):
            return self._copied(offset, length, below.pwritev(offset, data, fua))
        target = self.copy.target
        return self._mirrored(
            offset, length, lambda: below.pwritev(offset, data, fua), lambda: target.pwritev(offset, data, fua)
        )

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        below = self.below
        if self.active and self._target_takes_pieces(offset, length):
            target, unmap = self.copy.target, may_unmap and self.copy.unmap
            await self._mirrored(
                offset,
                length,
                lambda: below.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback),
                lambda: target.pwrite_zeroes(offset, length, may_unmap=unmap),
            )
            return
        write = below.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback)
        await self._changed(offset, length, write)

    async def pdiscard(self, offset: int, length: int) -> None:
        # What is discarded may read as anything, and not as the same on both sides; so it is copied.
        if self.below.options.discard_unmap:
            await self._changed(offset, length, self.below.pdiscard(offset, length))

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        if not pieces:
            return
        start = min(piece.offset for piece in pieces)
        end = max(piece.offset + piece.length for piece in pieces)
        await self._changed(start, end - start, self.below.copy_from_host(pieces))

    async def _changed(self, offset: int, length: int, write: Awaitable[None]) -> None:
        if self.active:
            await self._copied(offset, length, write)
        else:
            await self._noted(offset, length, write)
