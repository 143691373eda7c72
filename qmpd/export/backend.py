"""What an export needs of the block layer for its data, written down as a protocol.

`qmpd.block`'s `BlockBackend` is the real one; tests put a plain file behind it. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qmpd.block.driver import Told
from qmpd.block.extents import Extent


class ExportBackend(Protocol):
    """I/O on the exported node; offsets and lengths in bytes. Everything raises `OSError` with its errno.

    The coroutines complete without suspending when nothing blocks; they wait while the node is drained.
    """

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`."""

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` if that takes no waiting; False: ask `preadv`, nothing has happened."""

    def begin_write(self, offset: int, data: memoryview, done: Told) -> bool:
        """Begin to write all of `data`, if that takes no coroutine; `done` is told when it is over.

        Where the answer is False, and where `done` is told an error, `pwritev` has to be asked.
        """

    async def pwritev(self, offset: int, data: memoryview, fua: bool = False) -> None:
        """Write all of `data`; with `fua` it is on stable storage when this returns."""

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        no_fallback: bool = False,
        fua: bool = False,
    ) -> None:
        """Make it read as zeroes; `no_fallback`: fail with ENOTSUP where zeroes had to be written as data."""

    async def pdiscard(self, offset: int, length: int) -> None:
        """Say that the contents are no longer needed."""

    async def flush(self) -> None:
        """Put everything written so far on stable storage."""

    async def map(self, offset: int, length: int) -> Sequence[Extent]:
        """What the range is made of, in order, without gaps; may end early, but has the first byte."""

    def image_depths(self) -> list[int]:
        """Of each image in the chain, from the top: how far down it is reached, filters counted as well (from 1)."""
