"""Requests that are not aligned to what a driver takes (O_DIRECT files, 4 KiB devices).

A write that covers part of a block becomes read, modify, write of the whole block. Two such requests on one block
would lose one of the two changes, and so would a plain write that slips in between read and write; therefore every
write to such a driver is tracked, and one that needs the read waits for those that overlap it, and they for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.driver import BlockDriver, Buffer


@dataclass(eq=False, slots=True)
class _Tracked:
    start: int
    end: int
    exclusive: bool
    done: asyncio.Future[None]


class RequestAligner:
    """Rounds requests for one driver."""

    def __init__(self, driver: BlockDriver) -> None:
        self._driver = driver
        self._tracked: list[_Tracked] = []

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer`, reading whole blocks where it does not begin or end at their borders."""
        align = self._driver.request_alignment
        length = len(buffer)
        if (offset | length) % align == 0:
            await self._driver.preadv(offset, buffer)
            return
        start = offset // align * align
        end = -(-(offset + length) // align) * align
        whole = bytearray(end - start)
        await self._driver.preadv(start, memoryview(whole))
        buffer[:] = memoryview(whole)[offset - start : offset - start + length]

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        """Write `data`, reading the rest of the blocks that it covers only in part."""
        align = self._driver.request_alignment
        length = len(data)
        start = offset // align * align
        end = -(-(offset + length) // align) * align
        aligned = (offset | length) % align == 0
        request = await self._enter(start, end, exclusive=not aligned)
        try:
            if aligned:
                await self._driver.pwritev(offset, data, fua)
                return
            whole = await self._read_around(start, end, offset, offset + length)
            whole[offset - start : offset - start + length] = data
            await self._driver.pwritev(start, whole, fua)
        finally:
            self._tracked.remove(request)
            request.done.set_result(None)

    async def _read_around(self, start: int, end: int, first: int, stop: int) -> bytearray:
        """The blocks from `start` to `end`, of which those are wanted that [first, stop) covers in part."""
        whole = bytearray(end - start)
        ends = [name for name, wanted in (("head", first > start), ("tail", stop < end)) if wanted]
        debug = self._driver.debug
        if debug is not None:
            for name in ends:
                await debug.event(f"pwritev_rmw_{name}")
        await self._driver.preadv(start, memoryview(whole))
        if debug is not None:
            for name in ends:
                await debug.event(f"pwritev_rmw_after_{name}")
        return whole

    async def _enter(self, start: int, end: int, *, exclusive: bool) -> _Tracked:
        while True:
            rival = next(
                (
                    other
                    for other in self._tracked
                    if other.start < end and start < other.end and (exclusive or other.exclusive)
                ),
                None,
            )
            if rival is None:
                break
            await asyncio.shield(rival.done)
        request = _Tracked(start, end, exclusive, asyncio.get_running_loop().create_future())
        self._tracked.append(request)
        return request
