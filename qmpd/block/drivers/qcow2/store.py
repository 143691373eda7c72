"""The image file as the rest of the driver sees it: padded reads, growth in steps, and barriers.

All access to metadata goes through here. Reading beyond the end gives zeroes, as the format wants it; writing there
makes the file longer first, in large steps, so that most requests find it long enough.
"""

from __future__ import annotations

import asyncio
import errno
import os

from qmpd.block.driver import Buffer
from qmpd.block.node import BlockNode

_GROW_MIN = 8 << 20
_GROW_MAX = 64 << 20


class FileStore:
    """The bytes of the node `node`, which this image alone writes."""

    def __init__(self, node: BlockNode) -> None:
        self.use(node)
        self._growing = asyncio.Lock()

    def use(self, node: BlockNode) -> None:
        """Read and write `node` from now on."""
        self.node = node
        self.debug = node.driver.debug

    async def event(self, event: str) -> None:
        """Say what comes next to who wants to know it: `debug`, which is None for almost everybody."""
        if self.debug is not None:
            await self.debug.event(event)

    @property
    def length(self) -> int:
        """Bytes in the file now."""
        return self.node.length

    async def read(self, offset: int, length: int) -> bytearray:
        """`length` bytes from `offset`; what the file does not have reads as zeroes."""
        data = bytearray(length)
        present = min(length, self.node.length - offset)
        if present > 0:
            await self.node.preadv(offset, memoryview(data)[:present])
        return data

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`, with zeroes beyond the end."""
        present = min(len(buffer), max(self.node.length - offset, 0))
        if present:
            await self.node.preadv(offset, buffer[:present])
        if present < len(buffer):
            buffer[present:] = bytes(len(buffer) - present)

    async def write(self, offset: int, data: Buffer) -> None:
        """Write `data` at `offset`; the file becomes longer if need be."""
        if offset + len(data) > self.node.length:
            await self.reach(offset + len(data))
        await self.node.pwritev(offset, data)

    async def reach(self, end: int) -> None:
        """Make the file at least `end` bytes long."""
        async with self._growing:
            length = self.node.length
            if end <= length:
                return
            step = min(max(length // 8, _GROW_MIN), _GROW_MAX)
            try:
                await self.node.truncate(-(-max(end, length + step) // 512) * 512)
            except OSError as error:
                await self._reach_exactly(end, error)

    async def _reach_exactly(self, end: int, first: OSError) -> None:
        try:
            await self.node.truncate(-(-end // 512) * 512)
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from first
            raise

    async def sync(self) -> None:
        """A barrier: all that was written is on stable storage when it returns."""
        await self.node.flush()
