"""Answers to block status requests: one source a metadata context.

Leans on the export's backend and its dirty bitmaps; must never know how an answer travels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.extents import Extent, ExtentKind
from qmpd.export.backend import ExportBackend
from qmpd.nbd.numbers import ALLOCATION_DEPTH, BASE_ALLOCATION, DIRTY_BITMAP, StatusFlag

Runs = list[tuple[int, int]]
"""Neighbouring stretches of a range: (length, value), no two neighbours with the same value."""

Learn = Callable[[int, Runs], None]
"""Takes note of runs from an offset on: 0 where there is data."""


async def map_runs(
    backend: ExportBackend, offset: int, length: int, value: Callable[[Extent], int], limit: int
) -> Runs:
    """The range, cut where `value` of its extents changes; ends early after `limit` runs."""
    runs: Runs = []
    end = offset + length
    while offset < end:
        for extent in await backend.map(offset, end - offset):
            new = value(extent)
            if runs and runs[-1][1] == new:
                runs[-1] = runs[-1][0] + extent.length, new
            elif len(runs) == limit:
                return runs
            else:
                runs.append((extent.length, new))
            offset = extent.end
    return runs


class StatusSource(ABC):
    """One negotiated metadata context.

    :ivar number: the context's id on the wire.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    @abstractmethod
    async def runs(self, offset: int, length: int, limit: int) -> Runs:
        """What the context says of the range, in at most `limit` runs; ends early where more were needed."""


class _Mapped(StatusSource):
    def __init__(self, number: int, backend: ExportBackend, value: Callable[[Extent], int]) -> None:
        super().__init__(number)
        self._backend = backend
        self._value = value

    async def runs(self, offset: int, length: int, limit: int) -> Runs:
        return await map_runs(self._backend, offset, length, self._value, limit)


class _Allocation(_Mapped):
    """The context that clients ask before they read: reads are told what it says."""

    def __init__(self, number: int, backend: ExportBackend, learn: Learn) -> None:
        super().__init__(number, backend, _allocation)
        self._learn = learn

    async def runs(self, offset: int, length: int, limit: int) -> Runs:
        runs = await super().runs(offset, length, limit)
        self._learn(offset, [(size, flags & StatusFlag.ZERO) for size, flags in runs])
        return runs


class _Bitmap(StatusSource):
    def __init__(self, number: int, bitmap: DirtyBitmap) -> None:
        super().__init__(number)
        self._bitmap = bitmap

    async def runs(self, offset: int, length: int, limit: int) -> Runs:
        runs: Runs = []
        position, end = offset, offset + length
        for start, size in self._bitmap.dirty_extents(offset, length):
            if start > position:
                runs.append((start - position, 0))
            runs.append((size, int(StatusFlag.DIRTY)))
            position = start + size
            if len(runs) >= limit:
                return runs[:limit]
        if position < end:
            runs.append((end - position, 0))
        return runs


def _allocation(extent: Extent) -> int:
    if extent.kind is ExtentKind.DATA:
        return 0 if extent.allocated else int(StatusFlag.HOLE)
    return int(StatusFlag.HOLE | StatusFlag.ZERO)


def _depth(backend: ExportBackend, extent: Extent) -> int:
    """How far down a node of the chain stores an extent, counted from 1 at the top; 0 for none.

    An image that is shorter than the one on top of it counts as storing the zeroes that show beyond its end.
    """
    level = extent.depth + 1 if extent.kind is ExtentKind.UNALLOCATED else extent.depth
    depths = backend.image_depths()
    return depths[level] if level < len(depths) else 0


def status_source(
    number: int, name: str, backend: ExportBackend, bitmaps: dict[str, DirtyBitmap], learn: Learn
) -> StatusSource:
    """The source for the metadata context `name`; `learn` is told where it has found data."""
    if name == BASE_ALLOCATION:
        return _Allocation(number, backend, learn)
    if name == ALLOCATION_DEPTH:
        return _Mapped(number, backend, partial(_depth, backend))
    return _Bitmap(number, bitmaps[name.removeprefix(DIRTY_BITMAP)])
