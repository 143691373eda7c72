"""Whether guests run: what `stop` and `cont` switch, and an I/O error that is to stop them.

There is no guest in this process. Stopped means that those who stand for one (exports of drives with a device) have
their writes held back, and that a request which has failed under the policy `stop` waits to be tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.events import EventSink


class RunState:
    """The state of all guests together.

    :param on_change: called when guests are stopped, and before those go on who wait for them to run.
    :ivar status: the schema's `RunState`: `running`, `paused`, or `io-error`.
    """

    def __init__(self, events: EventSink, on_change: Callable[[], None]) -> None:
        self.status = "running"
        self._events = events
        self._on_change = on_change
        self._going_on: asyncio.Future[None] | None = None

    @property
    def running(self) -> bool:
        """Guests run."""
        return self.status == "running"

    def stop(self, status: str) -> bool:
        """Stop guests, unless they are stopped; says whether they were running."""
        if not self.running:
            return False
        self.status = status
        self._on_change()
        self._events.emit("STOP")
        return True

    def go_on(self) -> None:
        """Let guests run, if they are stopped."""
        if self.running:
            return
        self.status = "running"
        self._on_change()
        self._events.emit("RESUME")
        self.release()

    def release(self) -> None:
        """Let everybody go who waits for guests to run; who asks again may have to wait again."""
        going_on, self._going_on = self._going_on, None
        if going_on is not None and not going_on.done():
            going_on.set_result(None)

    async def wait(self) -> None:
        """Wait until guests run, or until `release`."""
        if self._going_on is None:
            self._going_on = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._going_on)
