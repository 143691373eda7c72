"""Where an export has holes, so that a large structured read need not send them.

Asking the block layer costs a trip to the I/O pool, so what is known to be data is remembered, in windows. The
memory needs no upkeep: a window may get holes later, and to send a hole as data is never wrong. One `HoleFinder`
serves all connections of an export, since clients spread sequential reads over several of them. Leans on
`map_runs`.
"""

from __future__ import annotations

import asyncio

from qmpd.block.extents import Extent
from qmpd.export.backend import ExportBackend
from qmpd.export.nbd.status import Runs, map_runs

_MAX_RUNS = 1 << 20


class HoleFinder:
    """Remembers which windows of an export are all data.

    :param length: of the export (bytes).
    """

    WINDOW = 4 << 20
    """Bytes that are looked at together."""
    REMEMBERED = 1 << 16
    """How many windows are remembered; with more, all are forgotten."""

    def __init__(self, backend: ExportBackend, length: int) -> None:
        self._backend = backend
        self._length = length
        self._data: set[int] = set()
        self._mixed: set[int] = set()
        self._looking: dict[int, asyncio.Future[None]] = {}

    def all_data(self, offset: int, length: int) -> bool:
        """True when the range (not empty) is known to have no hole worth looking for."""
        first, last = offset // self.WINDOW, (offset + length - 1) // self.WINDOW
        return all(window in self._data for window in range(first, last + 1))

    async def runs(self, offset: int, length: int) -> Runs:
        """The range as runs of data (0) and zeroes (1). Raises OSError as the backend does."""
        first, last = offset // self.WINDOW, (offset + length - 1) // self.WINDOW
        for window in range(first, last + 1):
            if window not in self._data and window not in self._mixed:
                await self._look(window)
            if window not in self._data:
                return await map_runs(self._backend, offset, length, _reads_zero, _MAX_RUNS)
        return [(length, 0)]

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
            try:
                runs = await map_runs(self._backend, start, length, _reads_zero, 1)
            except OSError:
                runs = []  # the part that is asked for may be all right; it is looked at by itself
            self._remember(self._data if runs == [(length, 0)] else self._mixed, window)
        finally:
            del self._looking[window]
            found.set_result(None)

    def _remember(self, windows: set[int], window: int) -> None:
        if len(windows) >= self.REMEMBERED:
            windows.clear()
        windows.add(window)


def _reads_zero(extent: Extent) -> int:
    return int(extent.reads_zero)
