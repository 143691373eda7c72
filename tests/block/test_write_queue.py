"""The pool and the write queue: nothing gets lost between threads, errors reach whoever asked."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from pathlib import Path

import pytest

from qmpd.block.iopool import IOPool
from qmpd.block.write_queue import WriteQueue
from tests.soak import count


@pytest.fixture
def fd(tmp_path: Path) -> int:
    return os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)


async def test_every_write_is_told_and_done(fd: int) -> None:
    """Bursts of all sizes, with pauses in which workers leave."""
    pool = IOPool(4)
    queue = WriteQueue(pool)
    rng = random.Random(1)
    content = bytearray(4096)
    for _ in range(count(400, 20000)):
        burst = []
        for slot in rng.sample(range(64), rng.choice([1, 1, 2, 16, 64])):
            data = rng.randbytes(64)
            content[slot * 64 : slot * 64 + 64] = data
            burst.append(queue.write(fd, slot * 64, data))
            if rng.random() < 0.1:
                await asyncio.sleep(0)
        await asyncio.gather(*burst)
    assert os.pread(fd, 4096, 0) == content
    await pool.close()


async def test_errors_belong_to_their_write(fd: int, tmp_path: Path) -> None:
    pool = IOPool(4)
    queue = WriteQueue(pool)
    read_only = os.open(tmp_path / "f", os.O_RDONLY)
    writes = [queue.write(read_only if number % 3 == 0 else fd, number, b"x") for number in range(40)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    for number, result in enumerate(results):
        if number % 3 == 0:
            assert isinstance(result, OSError)
            assert result.errno == errno.EBADF
        else:
            assert result is None
    await pool.close()


async def test_a_cancelled_waiter_waits_for_its_write(fd: int) -> None:
    """Who is cancelled learns of it when the write is over: until then its buffer is in use."""
    pool = IOPool(1)
    queue = WriteQueue(pool)
    gate = threading.Event()
    blocker = pool.submit(gate.wait)

    async def write() -> None:
        await queue.write(fd, 0, b"written")

    task = asyncio.create_task(write())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.pread(fd, 7, 0) == b"written"
    await blocker
    await pool.close()


async def test_pool_gives_results_and_errors(tmp_path: Path) -> None:
    pool = IOPool(3)

    def fail() -> None:
        raise ValueError("no")

    assert await asyncio.gather(*[pool.run(pow, number, 2) for number in range(50)]) == [n * n for n in range(50)]
    with pytest.raises(ValueError, match="no"):
        await pool.run(fail)
    assert 1 <= pool.threads <= 3
    await pool.close()
    assert pool.threads == 0
    with pytest.raises(RuntimeError):
        pool.submit(fail)


async def test_a_pool_that_is_closed_tells_all_results_and_leaves_nothing_open() -> None:
    files = os.listdir("/proc/self/fd")
    pool = IOPool(3)
    calls = [pool.submit(pow, number, 2) for number in range(50)]
    await pool.close()
    assert [call.result() for call in calls] == [number * number for number in range(50)]
    assert os.listdir("/proc/self/fd") == files
