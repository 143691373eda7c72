"""Driver `blkverify`: a filter that holds an image against a raw copy of the same disk, for tests of drivers.

Every write goes to both, every read is made of both and compared. Where they differ, in what they hold or in how a
request ends, the request fails with EIO and the log tells where. (QEMU ends itself at that point.) Nothing passes the
comparison by: what is zeroed is written, what is discarded stays, and `map` knows nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext, Range, not_supported
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError

_log = logging.getLogger(__name__)


class BlkverifyOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    raw: Any
    test: Any


class BlkverifyDriver(FilterDriver):
    """The filter; what it shows is the image under test."""

    mutable_options = frozenset()
    main_child = "raw"
    named_by_itself = True

    @property
    def tested(self) -> BlockNode:
        """The image under test."""
        return self.node.children["test"].node

    async def open(self, options: BlkverifyOptions, context: OpenContext) -> None:
        await context.open_child("raw", options.raw, protocol=True)
        await context.open_child("test", options.test, protocol=False)
        if self.below.length < self.tested.length:
            raise GenericError(
                f"The raw copy has {self.below.length} bytes, and the image under test {self.tested.length}; it has to "
                "have as many"
            )
        self.adopt_geometry()

    def adopt_geometry(self) -> None:
        self.length = self.tested.length
        self.request_alignment = max(self.below.request_alignment, self.tested.request_alignment)

    def child_resized(self, name: str) -> bool:
        self.length = self.tested.length
        return name == "test"

    def can_replace(self, node: BlockNode) -> bool:
        # Both are equal, or nobody can read them any more.
        return any(child.can_replace(node) for child in (self.below, self.tested))

    def open_options(self) -> dict[str, Any]:
        raw, test = (child.driver.open_options() for child in (self.below, self.tested))
        return {"driver": self.format_name, "raw": raw, "test": test}

    # Requests.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        expected = bytearray(len(buffer))
        await self._both(
            "read", offset, self.below.preadv(offset, memoryview(expected)), self.tested.preadv(offset, buffer)
        )
        if expected != buffer:
            place = next(at for at in range(len(buffer)) if expected[at] != buffer[at])
            raise self._mismatch(f"the contents at offset {offset + place} differ")

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        await self._both(
            "write", offset, self.below.pwritev(offset, data, False), self.tested.pwritev(offset, data, fua)
        )

    async def _both(self, kind: str, offset: int, of_raw: Awaitable[None], of_test: Awaitable[None]) -> None:
        """Do a request on both; they have to end alike.

        :raises OSError: how both have ended, or EIO.
        """
        expected, found = await asyncio.gather(_errno_of(of_raw), _errno_of(of_test))
        if expected != found:
            ends = " and ".join(os.strerror(number) if number else "success" for number in (expected, found))
            raise self._mismatch(f"a {kind} at offset {offset} ends differently, with {ends}")
        if found:
            raise OSError(found, os.strerror(found))

    def _mismatch(self, what: str) -> OSError:
        _log.error("node '%s': raw copy and image under test do not agree: %s", self.node.node_name, what)
        return OSError(errno.EIO, os.strerror(errno.EIO))

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        raise not_supported()

    async def pdiscard(self, offset: int, length: int) -> None:
        return

    async def flush(self) -> None:
        # The copy is only there to compare with.
        await self.tested.flush()

    async def truncate(self, length: int, exact: bool) -> None:
        raise not_supported()

    async def map(self, offset: int, length: int) -> list[Extent]:
        return [Extent(offset, length, ExtentKind.DATA)]

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        return [Extent(offset, length, ExtentKind.DATA) for offset, length in ranges]

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        raise not_supported()

    async def populate(self, offset: int, length: int) -> None:
        raise not_supported()


async def _errno_of(request: Awaitable[None]) -> int:
    """How a request ends: the errno of its error, 0 for none."""
    try:
        await request
    except OSError as error:
        return error.errno or errno.EIO
    return 0
