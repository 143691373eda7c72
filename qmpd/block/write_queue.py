"""Buffered writes to one host file, with as few trips between threads as possible.

A buffered write is mostly a copy into the page cache: a few microseconds. Waking a thread for it, and the event loop
for its result, costs several times as much. So a worker that has been woken goes on with what has come in meanwhile
until the queue is empty, and tells results in batches. More workers join only when the queue grows, which is when
writes really block; the kernel lets one write at a time into a file anyway.

Rejected: to try each write in the event loop first, with RWF_NOWAIT, as reads are. ext4 refuses that; XFS takes nearly
all of them in half the time, but while the file system is frozen (`fsfreeze`, a snapshot of its volume) the call waits
for its end, flag or no flag, and with it everybody whom the loop serves.

The queue is a deque and needs no lock. The number of workers has one: a worker that finds nothing more to do signs
off in the same critical section in which it looks, so that a write which comes in just then starts a new one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from functools import partial

from qmpd.block.driver import Buffer, Told
from qmpd.block.iopool import IOFuture, IOPool

_BATCH = 8
"""Results told at once while there is more to do."""
_GROW = 16
"""Writes waiting for each worker before another one joins."""
_MAX_WORKERS = 4

_Write = tuple[Told, int, int, Buffer]
_Results = list[tuple[Told, OSError | None]]


class WriteQueue:
    """The writes that are under way to one file."""

    def __init__(self, pool: IOPool) -> None:
        self._pool = pool
        self._pending: deque[_Write] = deque()
        self._workers = 0
        self._lock = threading.Lock()
        self._scheduled = False

    def write(self, fd: int, offset: int, data: Buffer) -> asyncio.Future[None]:
        """Write `data` at `offset` of the file open as `fd`; done when the future is, which may hold an OSError.

        `data` must not change before that.
        """
        future: IOFuture[None] = IOFuture(loop=asyncio.get_running_loop())
        self.begin(fd, offset, data, partial(_settle, future))
        return future

    def begin(self, fd: int, offset: int, data: Buffer, done: Told) -> None:
        """Write as `write` does; `done` is told the end of it, never from within this call."""
        self._pending.append((done, fd, offset, data))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._call_workers)

    def _call_workers(self) -> None:
        self._scheduled = False
        with self._lock:
            waiting, workers = len(self._pending), self._workers
            grow = bool(waiting) and (workers == 0 or (waiting > workers * _GROW and workers < _MAX_WORKERS))
            self._workers += grow
        if grow:
            self._pool.start(WriteQueue._work, self)

    def _work(self) -> None:
        pending = self._pending
        results: _Results = []
        while True:
            try:
                done, fd, offset, data = pending.popleft()
            except IndexError:
                if self._sign_off():
                    break
                continue
            results.append((done, write_fully(fd, offset, data)))
            if len(results) >= _BATCH:
                self._pool.deliver(_tell, results)
                results = []
        if results:
            self._pool.deliver(_tell, results)

    def _sign_off(self) -> bool:
        with self._lock:
            if self._pending:
                return False
            self._workers -= 1
            return True


def write_fully(fd: int, offset: int, data: Buffer) -> OSError | None:
    """Write all of `data`; the error, if there was one."""
    view = memoryview(data)
    try:
        count = os.pwrite(fd, view, offset)
        while count < len(view):
            view = view[count:]
            offset += count
            count = os.pwrite(fd, view, offset)
    except OSError as error:
        return error
    return None


def _tell(results: _Results) -> None:
    for done, error in results:
        done(error)


def _settle(future: asyncio.Future[None], error: OSError | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
