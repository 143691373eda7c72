"""Running a coroutine without a task as long as it does not need one.

An I/O coroutine mostly finishes at once: its data is in the page cache. Making an `asyncio.Task` for it would cost
more than the work. `start` runs it until it would suspend; only then is a task made, which carries on from exactly
there: the future that the coroutine waits for is handed to the task by a small generator.

During the first stretch `asyncio.current_task()` is not the coroutine's own, so code reached from there must not
use `asyncio.timeout` or task groups before its first suspension. I/O code has no need of them.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Done = Callable[[], object]
Spawn = Callable[[Coroutine[Any, Any, Any]], Any]


@types.coroutine
def _carry_on(coro: Coroutine[Any, Any, T], pending: Any) -> Generator[Any, Any, T]:
    while True:
        try:
            value = yield pending
        except BaseException as error:
            step: Any = coro.throw
            argument: Any = error
        else:
            step = coro.send
            argument = value
        try:
            pending = step(argument)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def _resume(coro: Coroutine[Any, Any, T], pending: Any) -> T:
    return await _carry_on(coro, pending)


def start(coro: Coroutine[Any, Any, T], spawn: Spawn) -> bool:
    """Run `coro` until it ends or suspends.

    :param spawn: called with a coroutine that does the rest, if `coro` suspended; makes a task of it.
    :returns: True when `coro` has ended already.
    :raises: whatever `coro` raises in its first stretch.
    """
    try:
        pending = coro.send(None)
    except StopIteration:
        return True
    spawn(_resume(coro, pending))
    return False


class _Driver:
    """Runs the rest of one coroutine, a step for each future it waits for: a task without what tasks cost."""

    __slots__ = ("_coro", "_done")

    def __init__(self, coro: Coroutine[Any, Any, None], done: Done) -> None:
        self._coro = coro
        self._done = done

    def wait_for(self, pending: Any) -> None:
        """Take the next step when `pending`, which the coroutine yielded, is done."""
        if pending is None:
            # A bare yield (asyncio.sleep(0)): let others run.
            asyncio.get_running_loop().call_soon(self.step)
            return
        pending._asyncio_future_blocking = False
        pending.add_done_callback(self.step)

    def step(self, _: object = None) -> None:
        """Run the coroutine up to the next future; the one before is done, and the coroutine asks it for its result."""
        try:
            pending = self._coro.send(None)
        except StopIteration:
            self._done()
        except BaseException:
            self._done()
            raise
        else:
            self.wait_for(pending)


def drive(coro: Coroutine[Any, Any, None], suspended: Callable[[], Done]) -> bool:
    """Run `coro` to its end, without ever making a task of it. It cannot be cancelled.

    `coro` must not use what needs a current task (`asyncio.timeout`, task groups); futures, locks, events and sleeps do
    not. It should not raise: an exception after the first suspension goes to the loop's exception handler.

    :param suspended: called once if it suspends; returns what is to be called when it has ended.
    :returns: True when it has ended without suspending.
    :raises: whatever `coro` raises in its first stretch.
    """
    try:
        pending = coro.send(None)
    except StopIteration:
        return True
    _Driver(coro, suspended()).wait_for(pending)
    return False


def run_now(coro: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that is known not to suspend.

    :raises RuntimeError: it did suspend.
    """
    try:
        coro.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coro.close()
    raise RuntimeError("the coroutine suspended where it must not")
