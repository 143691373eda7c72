"""Coroutines that run without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from qmpd.block import inline


async def _work(steps: list[str], waits: list[asyncio.Future[str]]) -> None:
    steps.append("begun")
    for future in waits:
        try:
            steps.append(await future)
        except OSError as error:
            steps.append(f"failed: {error.strerror}")
    steps.append("ended")


async def test_nothing_to_wait_for() -> None:
    steps: list[str] = []

    def unexpected(_: None) -> Callable[[], None]:
        raise AssertionError("it did not suspend")

    assert inline.drive(_work(steps, []), unexpected, None)
    assert steps == ["begun", "ended"]


async def test_drive_goes_on_without_a_task() -> None:
    loop = asyncio.get_running_loop()
    waits = [loop.create_future() for _ in range(3)]
    steps: list[str] = []
    ended = asyncio.Event()
    before = asyncio.all_tasks()
    assert not inline.drive(_work(steps, waits), lambda _: ended.set, None)
    waits[0].set_result("0")
    waits[1].set_exception(OSError(5, "broken"))
    await asyncio.sleep(0)
    assert not ended.is_set()
    assert asyncio.all_tasks() == before
    waits[2].set_result("2")
    await ended.wait()
    assert steps == ["begun", "0", "failed: broken", "2", "ended"]


async def test_drive_takes_bare_yields_locks_and_sleeps() -> None:
    lock = asyncio.Lock()
    ended = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        async with lock:
            await asyncio.sleep(0.001)

    await lock.acquire()
    inline.drive(work(), lambda _: ended.set, None)
    await asyncio.sleep(0)
    lock.release()
    await ended.wait()
    assert not lock.locked()


async def test_drive_reports_what_is_raised_late() -> None:
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    future = loop.create_future()
    ended = asyncio.Event()

    async def work() -> None:
        await future
        raise KeyError("a bug")

    inline.drive(work(), lambda _: ended.set, None)
    future.set_result(None)
    await ended.wait()
    await asyncio.sleep(0)
    assert isinstance(reported[0], KeyError)
