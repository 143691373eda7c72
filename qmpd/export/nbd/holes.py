"""Where an export has holes, so that a large structured read need not send them.

Asking the block layer costs a trip to the I/O pool, so what is known to be data is remembered, in units: from block
status, which most clients ask for before they read, and else from a look at the window around a read. The memory needs
no upkeep: a unit may become a hole later, and to send a hole as data is never wrong. One `HoleFinder` serves all
connections of an export, since clients spread sequential reads over several of them. Leans on `map_runs`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import islice

from qmpd.block.extents import Extent
from qmpd.export.backend import ExportBackend
from qmpd.export.nbd.status import Runs, map_runs

_MAX_RUNS = 1 << 20
_UNITS = 64
"""Units in a window, which are the bits of one number."""


class HoleFinder:
    """Remembers which units of an export hold data; a hole within such a unit is not worth looking for.

    :param length: of the export (bytes).
    """

    UNIT = 64 << 10
    """Bytes that are remembered together."""
    WINDOW = UNIT * _UNITS
    """Bytes that are looked at together."""
    REMEMBERED = 1 << 16
    """Of how many windows something is remembered; with more, all is forgotten."""
    LEARNED = 1 << 13
    """How many runs are taken note of at once, so that it takes no longer than answering a request."""

    def __init__(self, backend: ExportBackend, length: int) -> None:
        self._backend = backend
        self._length = length
        self._data: dict[int, int] = {}
        self._looked: set[int] = set()
        self._looking: dict[int, asyncio.Future[None]] = {}

    def all_data(self, offset: int, length: int) -> bool:
        """True when the range (not empty) is known to have no hole worth looking for."""
        known = self._data.get
        return all(known(window, 0) & units == units for window, units in self._touched(offset, length))

    def learn(self, offset: int, runs: Runs) -> None:
        """Take note of what the block layer has told: runs of data (0) and zeroes, from `offset` on."""
        if len(self._data) >= self.REMEMBERED:
            self._data.clear()
        for length, zero in islice(runs, self.LEARNED):
            if not zero:
                for window, units in self._touched(offset, length):
                    self._data[window] = self._data.get(window, 0) | units
            offset += length

    async def runs(self, offset: int, length: int) -> Runs:
        """The range as runs of data (0) and zeroes (1). Raises OSError as the backend does."""
        for window, _ in self._touched(offset, length):
            if window not in self._data and window not in self._looked:
                await self._look(window)
        if self.all_data(offset, length):
            return [(length, 0)]
        return await map_runs(self._backend, offset, length, _reads_zero, _MAX_RUNS)

    async def _look(self, window: int) -> None:
        """Find out about a window; requests for it that arrive meanwhile wait for the same answer."""
        other = self._looking.get(window)
        if other is not None:
            await asyncio.shield(other)
            return
        found = self._looking[window] = asyncio.get_running_loop().create_future()
        try:
            start = window * self.WINDOW
            length = min(self.WINDOW, self._length - start)
            # Where that fails the part that is asked for may be all right; it is looked at by itself.
            with contextlib.suppress(OSError):
                self.learn(start, await map_runs(self._backend, start, length, _reads_zero, self.LEARNED))
            if len(self._looked) >= self.REMEMBERED:
                self._looked.clear()
            self._looked.add(window)
        finally:
            del self._looking[window]
            found.set_result(None)

    def _touched(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The windows of a range (not empty), and those of their units that it touches."""
        first, last = offset // self.UNIT, (offset + length - 1) // self.UNIT
        for window in range(first // _UNITS, last // _UNITS + 1):
            start, end = max(first - window * _UNITS, 0), min(last - window * _UNITS, _UNITS - 1) + 1
            yield window, (1 << end) - (1 << start)


def _reads_zero(extent: Extent) -> int:
    return int(extent.reads_zero)
