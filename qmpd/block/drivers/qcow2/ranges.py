"""Which requests are under way where, so that those that change the mapping of a range have it to themselves.

Writes in place share a range; whoever allocates, zeroes or discards takes it exclusively. Nobody who does not touch
the same range ever waits. Taking a free range does not suspend.
"""

from __future__ import annotations

import asyncio


class Claim:
    """A range that somebody holds. `done` exists when others wait for it."""

    __slots__ = ("done", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.done: asyncio.Future[None] | None = None


class RangeLocks:
    """All claims on one image."""

    __slots__ = ("_exclusive", "_shared")

    def __init__(self) -> None:
        self._exclusive: set[Claim] = set()
        self._shared: set[Claim] = set()

    def try_share(self, start: int, end: int) -> Claim | None:
        """Claim [start, end) together with others who write in place; None if somebody has it exclusively."""
        for other in self._exclusive:
            if other.start < end and start < other.end:
                return None
        claim = Claim(start, end)
        self._shared.add(claim)
        return claim

    async def take(self, start: int, end: int) -> Claim:
        """Claim [start, end) exclusively."""
        while True:
            rival = self._rival(start, end)
            if rival is None:
                break
            if rival.done is None:
                rival.done = asyncio.get_running_loop().create_future()
            await asyncio.shield(rival.done)
        claim = Claim(start, end)
        self._exclusive.add(claim)
        return claim

    def _rival(self, start: int, end: int) -> Claim | None:
        for group in (self._exclusive, self._shared):
            for other in group:
                if other.start < end and start < other.end:
                    return other
        return None

    def release(self, claim: Claim) -> None:
        """Give a claim back."""
        self._exclusive.discard(claim)
        self._shared.discard(claim)
        if claim.done is not None and not claim.done.done():
            claim.done.set_result(None)
