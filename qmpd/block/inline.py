"""Running a coroutine without a task.

An I/O coroutine mostly finishes at once: its data is in the page cache. Making an `asyncio.Task` for it would cost
more than the work. `drive` runs it until it would suspend, and then a step further each time the future that it waits
for is done; what a task has beyond that, cancellation and a context of its own, I/O has no need of.

`asyncio.current_task()` is not the coroutine's own, so code reached from there must not use `asyncio.timeout` or task
groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Done = Callable[[], object]


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


def drive(coro: Coroutine[Any, Any, None], suspended: Callable[[T], Done], subject: T) -> bool:
    """Run `coro` to its end, without ever making a task of it. It cannot be cancelled.

    `coro` must not use what needs a current task (`asyncio.timeout`, task groups); futures, locks, events and sleeps do
    not. It should not raise: an exception after the first suspension goes to the loop's exception handler.

    :param suspended: called with `subject`, once, if it suspends; returns what is to be called when it has ended.
    :returns: True when it has ended without suspending.
    :raises: whatever `coro` raises in its first stretch.
    """
    try:
        pending = coro.send(None)
    except StopIteration:
        return True
    _Driver(coro, suspended(subject)).wait_for(pending)
    return False
