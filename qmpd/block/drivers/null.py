"""Drivers `null-co` and `null-aio`: a disk that keeps nothing. For tests and measurements."""

from __future__ import annotations

from typing import Any, Protocol

from qmpd.block.driver import BlockDriver, Buffer, OpenContext
from qmpd.block.extents import Extent, ExtentKind
from qmpd.errors import GenericError

DEFAULT_SIZE = 1 << 30


class NullOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    size: int | None
    latency_ns: int | None
    read_zeroes: bool | None


class NullDriver(BlockDriver):
    """Takes writes and forgets them; reads give zeroes, or with read-zeroes=off whatever is in the buffer."""

    is_protocol = True
    mutable_options = frozenset()

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self._latency = 0.0
        self._read_zeroes = False
        self._given: dict[str, Any] = {}

    async def open(self, options: NullOptions, context: OpenContext) -> None:
        size = DEFAULT_SIZE if options.size is None else options.size
        if size < 0:
            raise GenericError(f"'size' is {size}; it must not be negative")
        self.length = -(-size // 512) * 512
        self._latency = (options.latency_ns or 0) / 1e9
        self._read_zeroes = bool(options.read_zeroes)
        given = {"size": options.size, "read-zeroes": options.read_zeroes}
        self._given = {name: value for name, value in given.items() if value is not None}

    async def _delay(self) -> None:
        if self._latency:
            await self.node.graph.delay(self._latency)

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        await self._delay()
        if self._read_zeroes:
            buffer[:] = bytes(len(buffer))

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        await self._delay()

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self._delay()

    async def pdiscard(self, offset: int, length: int) -> None:
        await self._delay()

    async def flush(self) -> None:
        await self._delay()

    async def map(self, offset: int, length: int) -> list[Extent]:
        kind = ExtentKind.ZERO if self._read_zeroes else ExtentKind.DATA
        return [Extent(offset, length, kind)]

    def actual_size(self) -> int | None:
        return 0

    def filename(self) -> str:
        return self.json_name() if self._given else super().filename()

    def runtime_options(self) -> dict[str, Any]:
        return self._given
