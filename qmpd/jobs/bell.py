"""A wake-up call for everybody who waits at the moment it is given.

Unlike `asyncio.Event` it has no memory: who comes later waits for the next ring. Waiters therefore look at
the state they care about, wait, and look again; between look and wait there is no `await`, so no ring is
missed.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Broadcasts to all present waiters."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        rung, self._event = self._event, asyncio.Event()
        rung.set()

    async def wait(self) -> None:
        """Return at the next ring."""
        await self._event.wait()

    async def wait_at_most(self, seconds: float) -> None:
        """Return at the next ring, or after `seconds` without one."""
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
