"""Requests that qemu-io commands have under way, and the results of those that nobody waits for.

`aio_read` and `aio_write` end before their requests do. What such a request has to say is kept for its disk, and is
told by the next command on that disk; `aio_flush` waits for all of them. (QEMU writes it to its standard output,
whenever it comes.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from qmpd.errors import GenericError

MOST_RESULTS = 256
"""Results that are kept for a disk until somebody asks; the oldest are forgotten."""

MOST_CHARACTERS = 16 << 20
"""Of all results that are kept for a disk, but for a single one that is longer: dumps of what was read are long."""

T = TypeVar("T")


class _Disk:
    """What is going on in the background on one disk."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[str]] = set()
        self.results: deque[str] = deque()
        self._characters = 0

    def keep(self, result: str) -> None:
        """Have another result, and forget the oldest ones if there are too many."""
        self.results.append(result)
        self._characters += len(result)
        while len(self.results) > MOST_RESULTS or (self._characters > MOST_CHARACTERS and len(self.results) > 1):
            self._characters -= len(self.results.popleft())

    def take(self) -> list[str]:
        """All results, which are told now."""
        results = list(self.results)
        self.results.clear()
        self._characters = 0
        return results


class Requests:
    """All requests of qemu-io commands in a daemon.

    :param exists: whether there still is a disk of that name.
    """

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self._tasks: set[asyncio.Task[Any]] = set()
        self._disks: dict[str, _Disk] = {}

    async def run(self, request: Coroutine[Any, Any, T]) -> T:
        """Carry out `request`, which may take as long as it likes: the end of the daemon ends it.

        :raises GenericError: it did.
        """
        task = self._started(request)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if task.cancelled():
            raise GenericError("The daemon ends, and did not wait for the end of this command")
        return task.result()

    def start(self, disk: str, request: Coroutine[Any, Any, str]) -> None:
        """Begin `request` in the background; what it gives is kept for those who ask about `disk`."""
        self._forget_lost_disks()
        state = self._disks.setdefault(disk, _Disk())
        task = self._started(request)
        state.tasks.add(task)
        task.add_done_callback(lambda task: self._ended(state, task))

    async def wait(self, disk: str) -> None:
        """Return when nothing is going on in the background on `disk`."""
        while (state := self._disks.get(disk)) is not None and state.tasks:
            await asyncio.wait(state.tasks)

    def results(self, disk: str) -> list[str]:
        """What requests in the background on `disk` have given since this was asked last."""
        state = self._disks.get(disk)
        if state is None:
            return []
        if not state.tasks:
            del self._disks[disk]
        return state.take()

    async def close(self) -> None:
        """End everything that is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _started(self, request: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _ended(self, state: _Disk, task: asyncio.Task[str]) -> None:
        state.tasks.discard(task)
        if not task.cancelled():
            state.keep(task.result())

    def _forget_lost_disks(self) -> None:
        for name in [name for name, state in self._disks.items() if not state.tasks and not self._exists(name)]:
            del self._disks[name]
