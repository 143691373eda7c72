"""Threads for the calls that block.

The event loop never waits for a disk: what may block is handed to `IOPool`. Results travel back in batches: a
worker appends to a queue and wakes the loop only if no wake-up is already under way, so that many completions cost
one trip through the loop. That is the reason not to use `loop.run_in_executor`, whose two futures and one wake-up
for each call cost more than a page-cache copy of 4 KiB.

Functions that run here must not touch the graph: they see file descriptors and buffers only.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class IOPool:
    """A bounded set of worker threads, started when they are first needed.

    :param workers: how many calls may block at the same time.
    """

    def __init__(self, workers: int = 16) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._limit = workers
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._busy = 0
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._closed = False

    @property
    def threads(self) -> int:
        """How many worker threads there are."""
        return len(self._threads)

    def submit(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Have `function(*args)` called in a worker.

        :returns: a future of this loop with the result. Cancelling it does not stop the call.
        :raises RuntimeError: the pool has been closed.
        """
        if self._closed:
            raise RuntimeError("the I/O pool has been closed")
        if not self._threads:
            # The first request belongs to the loop in which the pool serves from now on.
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._loop.create_future()
        self._busy += 1
        if self._busy > len(self._threads) < self._limit:
            self._start_worker()
        self._queue.put((future, function, args))
        return future

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(*args)` in a worker and wait for its result, whatever it raises included."""
        return await self.submit(function, *args)

    async def close(self) -> None:
        """Let the running calls end and join the workers."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        threads, self._threads = self._threads, []
        for thread in threads:
            await self._loop.run_in_executor(None, thread.join)

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._work, name=f"qmpd-io-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        get, done = self._queue.get, self._done
        while (job := get()) is not None:
            future, function, args = job
            try:
                done.append((future, function(*args), None))
            except BaseException as error:
                done.append((future, None, error))
            if not self._waking:
                self._waking = True
                self._wake_loop()

    def _wake_loop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop has been closed under us: nobody waits for this result any more.
            return

    def _deliver(self) -> None:
        # Cleared first: a worker that appends after this line schedules another delivery.
        self._waking = False
        done = self._done
        while done:
            future, result, error = done.popleft()
            self._busy -= 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
