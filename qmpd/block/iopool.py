"""Threads for the calls that block.

The event loop never waits for a disk: what may block is handed to `IOPool`. Results travel back in batches: a
worker appends to a queue and wakes the loop only if no wake-up is already under way, so that many completions cost
one trip through the loop. That is the reason not to use `loop.run_in_executor`, whose two futures and one wake-up
for each call cost more than a page-cache copy of 4 KiB. Waking is a write to an eventfd, which lets go of the
interpreter's lock: the loop need not wait for the worker to have gone back to sleep, as after `call_soon_threadsafe`.

A call that has been handed over cannot be called back: it goes on writing, or into a buffer, whatever becomes of the
task that waits for it. So a task that is cancelled meanwhile learns of that only when the call is over; nobody can take
a cluster for free, or a buffer, while a thread is still at it.

Functions that run here must not touch the graph: they see file descriptors and buffers only.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class IOFuture(asyncio.Future[T]):
    """The result of I/O that is under way. Refuses to be cancelled, so its waiter is cancelled when it is done."""

    def cancel(self, msg: Any = None) -> bool:
        """Nothing; false."""
        return False


class IOPool:
    """A bounded set of worker threads, started when they are first needed.

    :param workers: how many calls may block at the same time.
    """

    def __init__(self, workers: int = 16) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._limit = workers
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[tuple[Callable[[Any], Any], Any] | None] = SimpleQueue()
        self._busy = 0
        self._done: deque[tuple[Callable[[Any], object], Any]] = deque()
        self._waking = False
        self._wake = -1
        self._closed = False

    @property
    def threads(self) -> int:
        """How many worker threads there are."""
        return len(self._threads)

    def submit(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Have `function(*args)` called in a worker.

        :returns: a future of this loop with the result, which cannot be cancelled.
        :raises RuntimeError: the pool has been closed.
        """
        self._make_ready()
        future: IOFuture[T] = IOFuture(loop=self._loop)
        self._queue.put((self._call, (future, function, args)))
        return future

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(*args)` in a worker and wait for its result, whatever it raises included."""
        return await self.submit(function, *args)

    def start(self, function: Callable[[T], None], argument: T) -> None:
        """Have `function(argument)` called in a worker; it must not raise, and says `deliver` what it has to say.

        Cheaper than `submit` for what has its own way to tell its results.

        :raises RuntimeError: the pool has been closed.
        """
        self._make_ready()
        self._queue.put((self._call_plain, (function, argument)))

    def deliver(self, callback: Callable[[T], object], result: T) -> None:
        """Called in a worker: have `callback(result)` called in the event loop, soon."""
        self._done.append((callback, result))
        if not self._waking:
            self._waking = True
            os.eventfd_write(self._wake, 1)

    async def close(self) -> None:
        """Let the running calls end, tell their results, and join the workers."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        threads, self._threads = self._threads, []
        for thread in threads:
            await self._loop.run_in_executor(None, thread.join)
        if self._wake >= 0:
            self._deliver_all()
            self._loop.remove_reader(self._wake)
            os.close(self._wake)
            self._wake = -1

    def _make_ready(self) -> None:
        if self._closed:
            raise RuntimeError("the I/O pool has been closed")
        if not self._threads:
            # The first request belongs to the loop in which the pool serves from now on.
            self._loop = asyncio.get_running_loop()
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._loop.add_reader(self._wake, self._woken)
        self._busy += 1
        if self._busy > len(self._threads) < self._limit:
            self._start_worker()

    def _start_worker(self) -> None:
        thread = threading.Thread(target=self._work, name=f"qmpd-io-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        get = self._queue.get
        while (job := get()) is not None:
            function, argument = job
            function(argument)

    def _call(self, job: tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]) -> None:
        future, function, args = job
        try:
            result = function(*args)
        except BaseException as error:
            self.deliver(self._fail, (future, error))
        else:
            self.deliver(self._succeed, (future, result))

    def _call_plain(self, job: tuple[Callable[[Any], None], Any]) -> None:
        function, argument = job
        function(argument)
        # Not worth a trip of its own: counted when the loop comes by for another reason.
        self._done.append((self._count_done, None))

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        # Cleared first: a worker that appends after this line wakes the loop again.
        self._waking = False
        self._deliver_all()

    def _deliver_all(self) -> None:
        done = self._done
        while done:
            callback, result = done.popleft()
            callback(result)

    def _succeed(self, outcome: tuple[asyncio.Future[Any], Any]) -> None:
        future, result = outcome
        self._busy -= 1
        future.set_result(result)

    def _fail(self, outcome: tuple[asyncio.Future[Any], BaseException]) -> None:
        future, error = outcome
        self._busy -= 1
        future.set_exception(error)

    def _count_done(self, _: None) -> None:
        self._busy -= 1
