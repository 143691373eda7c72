"""Which requests are under way where, so that those that change the mapping of a range have it to themselves.

Writes in place share a range; whoever allocates, zeroes or discards takes it exclusively. Nobody who does not touch
the same range ever waits. Taking a free range does not suspend. Who waits for a range gets it in turn, so that writers
who never pause cannot keep anybody waiting for ever.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence


class Claim:
    """A range that somebody holds. `done` exists when others wait for it."""

    __slots__ = ("done", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.done: asyncio.Future[None] | None = None


class RangeLocks:
    """All claims on one image."""

    __slots__ = ("_exclusive", "_shared", "_waiting")

    def __init__(self) -> None:
        self._exclusive: set[Claim] = set()
        self._shared: set[Claim] = set()
        self._waiting: list[Claim] = []

    def try_share(self, start: int, end: int) -> Claim | None:
        """Claim [start, end) together with others who write in place; None if somebody has it, or waits for it,
        exclusively.
        """
        for group in (self._exclusive, self._waiting):
            for other in group:
                if other.start < end and start < other.end:
                    return None
        claim = Claim(start, end)
        self._shared.add(claim)
        return claim

    def try_take(self, start: int, end: int) -> Claim | None:
        """Claim [start, end) exclusively if that takes no waiting."""
        for group in (self._exclusive, self._shared, self._waiting):
            for other in group:
                if other.start < end and start < other.end:
                    return None
        claim = Claim(start, end)
        self._exclusive.add(claim)
        return claim

    def try_take_all(self, spans: Sequence[tuple[int, int]]) -> list[Claim] | None:
        """Claim ranges, which ascend and do not overlap, exclusively: all of them, if that takes no waiting."""
        starts = [start for start, _ in spans]
        for group in (self._exclusive, self._shared, self._waiting):
            for other in group:
                before = bisect_left(starts, other.end) - 1
                if before >= 0 and other.start < spans[before][1]:
                    return None
        claims = [Claim(start, end) for start, end in spans]
        self._exclusive.update(claims)
        return claims

    async def take(self, start: int, end: int, *, has_others: bool = False) -> Claim:
        """Claim [start, end) exclusively; who waits gets it in turn.

        :param has_others: the caller holds other ranges already. It passes those who wait, who may wait for it.
        """
        claim = Claim(start, end)
        if self._rival(claim, has_others) is not None:
            await self._wait_for_turn(claim, has_others)
        self._exclusive.add(claim)
        return claim

    async def _wait_for_turn(self, claim: Claim, has_others: bool) -> None:
        self._waiting.append(claim)
        took = False
        try:
            while (rival := self._rival(claim, has_others)) is not None:
                if rival.done is None:
                    rival.done = asyncio.get_running_loop().create_future()
                await asyncio.shield(rival.done)
            took = True
        finally:
            self._waiting.remove(claim)
            if not took:
                self.release(claim)

    def _rival(self, claim: Claim, has_others: bool) -> Claim | None:
        for group in (self._exclusive, self._shared):
            for other in group:
                if other.start < claim.end and claim.start < other.end:
                    return other
        for other in () if has_others else self._waiting:
            if other is claim:
                return None
            if other.start < claim.end and claim.start < other.end:
                return other
        return None

    def release(self, claim: Claim) -> None:
        """Give a claim back."""
        self._exclusive.discard(claim)
        self._shared.discard(claim)
        if claim.done is not None and not claim.done.done():
            claim.done.set_result(None)
