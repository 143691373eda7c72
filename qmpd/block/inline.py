"""Running a coroutine without a task as long as it does not need one.

An I/O coroutine mostly finishes at once: its data is in the page cache. Making an `asyncio.Task` for it would cost
more than the work. `start` runs it until it would suspend; only then is a task made, which carries on from exactly
there: the future that the coroutine waits for is handed to the task by a small generator.

During the first stretch `asyncio.current_task()` is not the coroutine's own, so code reached from there must not
use `asyncio.timeout` or task groups before its first suspension. I/O code has no need of them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")
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
