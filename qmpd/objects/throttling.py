"""Limits on speed: leaky buckets, and groups whose members share them fairly.

Each limit is a bucket that leaks at the allowed rate. A request waits until every bucket that it goes into has room,
and then fills them with its size, all at once; so a large request may pass at any time, and the next ones pay for it.

Without a burst a bucket holds a tenth of a second's worth. With one (`burst`, `burst_seconds`) it holds what may pass
in a whole burst, and if that may last longer than a second, a second bucket, of a tenth of a second, keeps the burst
itself at its rate. (Source: `docs/throttle.txt` of QEMU, "the leaky bucket algorithm".)

Members that wait take turns, and so do reads and writes: nobody starves, however many requests another one has. One
timer serves the whole group. Time is the event loop's; tests give a clock of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from qmpd.errors import GenericError

LARGEST = 10**15
"""The largest limit, as in QEMU."""

LONGEST_BURST = (1 << 32) - 1
"""Seconds."""

_SHORTEST_WAIT = 0.001
"""Seconds; the event loop knows no shorter ones."""

_NOTHING = 1e-9
"""Seconds that are no wait, but what rounding left."""


class Limit(StrEnum):
    """What can be limited; a second's worth each."""

    BPS_TOTAL = "bps-total"
    BPS_READ = "bps-read"
    BPS_WRITE = "bps-write"
    IOPS_TOTAL = "iops-total"
    IOPS_READ = "iops-read"
    IOPS_WRITE = "iops-write"


@dataclass(frozen=True, slots=True)
class Rate:
    """One limit.

    :ivar average: a second's worth, 0 for no limit.
    :ivar burst: a second's worth while a burst lasts, 0 for none.
    :ivar burst_seconds: how long a burst may last.
    """

    average: int = 0
    burst: int = 0
    burst_seconds: int = 1


def _no_rates() -> dict[Limit, Rate]:
    return {limit: Rate() for limit in Limit}


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a group.

    :ivar iops_size: bytes for which a request counts as one; 0 for one whatever its size.
    """

    rates: dict[Limit, Rate] = field(default_factory=_no_rates)
    iops_size: int = 0

    @property
    def unlimited(self) -> bool:
        """Nothing is limited."""
        return not any(rate.average for rate in self.rates.values())

    def check(self) -> None:
        """Pass if the limits make sense together.

        :raises GenericError: they do not.
        """
        for limit, rate in self.rates.items():
            _check_rate(limit, rate)
        if not 0 <= self.iops_size <= LARGEST:
            raise GenericError(f"'iops-size' is {self.iops_size}; it has to be from 0 to {LARGEST}")
        for kind in ("bps", "iops"):
            self._check_total(kind)
        if self.iops_size and not any(self.rates[limit].average for limit in _IOPS):
            raise GenericError("'iops-size' has a meaning only together with a limit on 'iops'")

    def _check_total(self, kind: str) -> None:
        total, read, write = (self.rates[Limit(f"{kind}-{end}")] for end in ("total", "read", "write"))
        if (total.average and (read.average or write.average)) or (total.burst and (read.burst or write.burst)):
            raise GenericError(
                f"'{kind}-total' does not go together with '{kind}-read' and '{kind}-write'; set it to 0, or these"
            )


_IOPS = (Limit.IOPS_TOTAL, Limit.IOPS_READ, Limit.IOPS_WRITE)


def _check_rate(limit: Limit, rate: Rate) -> None:
    for name, value, most in (
        (limit, rate.average, LARGEST),
        (f"{limit}-max", rate.burst, LARGEST),
        (f"{limit}-max-length", rate.burst_seconds, LONGEST_BURST),
    ):
        if not 0 <= value <= most:
            raise GenericError(f"'{name}' is {value}; it has to be from 0 to {most}")
    if rate.burst_seconds == 0:
        raise GenericError(f"'{limit}-max-length' is 0; a burst lasts at least 1 second")
    if rate.burst_seconds > 1 and not rate.burst:
        raise GenericError(f"'{limit}-max-length' has a meaning only together with '{limit}-max'")
    if rate.burst and not rate.average:
        raise GenericError(f"'{limit}-max' needs '{limit}', the limit outside of bursts")
    if rate.burst and rate.burst < rate.average:
        raise GenericError(f"'{limit}-max' is {rate.burst}; it has to be at least the {rate.average} of '{limit}'")
    if rate.burst * rate.burst_seconds > LARGEST:
        raise GenericError(
            f"'{limit}-max-length' is {rate.burst_seconds}, which is too long for a burst of {rate.burst} a second"
        )


class LeakyBucket:
    """One limit at work. Units are bytes or requests.

    :ivar level: what is in the bucket.
    :ivar burst_level: what is in the bucket that keeps a long burst at its rate.
    """

    __slots__ = ("_rate", "burst_level", "level")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self.level = 0.0
        self.burst_level = 0.0

    def leak(self, seconds: float) -> None:
        """Time has passed."""
        self.level = max(self.level - self._rate.average * seconds, 0.0)
        self.burst_level = max(self.burst_level - self._rate.burst * seconds, 0.0)

    def fill(self, units: float) -> None:
        """A request passes."""
        self.level += units
        if self._rate.burst_seconds > 1:
            self.burst_level += units

    def wait(self) -> float:
        """Seconds until the next request may pass, 0 if it may now."""
        rate = self._rate
        room = rate.burst * rate.burst_seconds if rate.burst else rate.average / 10
        if self.level > room:
            return (self.level - room) / rate.average
        if rate.burst_seconds > 1 and self.burst_level > rate.burst / 10:
            return (self.burst_level - rate.burst / 10) / rate.burst
        return 0.0


class Buckets:
    """The buckets of a group: what a read or a write of some size has to wait for."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._iops_size = limits.iops_size
        self._last = now
        made = {limit: LeakyBucket(rate) for limit, rate in limits.rates.items() if rate.average}
        self._bytes = tuple(_chosen(made, "bps", is_write) for is_write in (False, True))
        self._operations = tuple(_chosen(made, "iops", is_write) for is_write in (False, True))
        self._all = list(made.values())

    def wait(self, is_write: bool, now: float) -> float:
        """Seconds until the next request of that kind may pass, 0 if it may now."""
        passed, self._last = now - self._last, now
        if passed > 0:
            for bucket in self._all:
                bucket.leak(passed)
        return max((bucket.wait() for bucket in self._bytes[is_write] + self._operations[is_write]), default=0.0)

    def fill(self, is_write: bool, length: int) -> None:
        """A request of `length` bytes passes."""
        for bucket in self._bytes[is_write]:
            bucket.fill(length)
        operations = max(length / self._iops_size, 1.0) if self._iops_size else 1.0
        for bucket in self._operations[is_write]:
            bucket.fill(operations)


def _chosen(made: dict[Limit, LeakyBucket], kind: str, is_write: bool) -> list[LeakyBucket]:
    wanted = (Limit(f"{kind}-total"), Limit(f"{kind}-{'write' if is_write else 'read'}"))
    return [made[limit] for limit in wanted if limit in made]


class Timer(Protocol):
    """A call that has been arranged."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What a group needs of an event loop."""

    def time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class ThrottleMember:
    """One disk in a group. Made by `ThrottleGroup.join`."""

    def __init__(self, group: ThrottleGroup) -> None:
        self._group = group
        self.passes = 0
        self.queues: tuple[deque[Waiter], deque[Waiter]] = (deque(), deque())

    def admit(self, is_write: bool, length: int) -> asyncio.Future[None] | None:
        """Count a request.

        :param length: bytes.
        :returns: what it has to wait for; None if it may pass at once.
        """
        return self._group.admit(self, is_write, length)

    def pass_begin(self) -> None:
        """Let all requests of this member pass, those that wait and those that come, until `pass_end`."""
        self.passes += 1
        if self.passes == 1:
            self._group.let_pass(self)

    def pass_end(self) -> None:
        """Undo one `pass_begin`."""
        self.passes -= 1

    def let_pass_once(self) -> None:
        """Let all requests of this member pass that wait now."""
        self._group.let_pass(self)

    def leave(self) -> None:
        """Leave the group. Nothing of this member may be waiting."""
        self._group.members.remove(self)


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits."""

    length: int
    admitted: asyncio.Future[None]


class ThrottleGroup:
    """Members that have limits in common.

    :param clock: None for the event loop that is running when the first request comes.
    :ivar members: all of them.
    """

    def __init__(self, limits: Limits | None = None, clock: Clock | None = None) -> None:
        self.limits = limits or Limits()
        self.members: list[ThrottleMember] = []
        self._given_clock = clock
        self._buckets: Buckets | None = None
        self._waiting: tuple[deque[ThrottleMember], deque[ThrottleMember]] = (deque(), deque())
        self._turn = False
        self._timer: Timer | None = None
        self._open = False

    @property
    def _clock(self) -> Clock:
        return self._given_clock or asyncio.get_running_loop()

    def join(self) -> ThrottleMember:
        """A new member."""
        member = ThrottleMember(self)
        self.members.append(member)
        return member

    def set_limits(self, limits: Limits) -> None:
        """Replace the limits, which have been checked. They count from now on, also for what waits."""
        self.limits = limits
        self._buckets = None
        self._dispatch()

    def open_for_good(self) -> None:
        """Let everything pass from now on: the daemon ends."""
        self._open = True
        for member in self.members:
            self.let_pass(member)

    def admit(self, member: ThrottleMember, is_write: bool, length: int) -> asyncio.Future[None] | None:
        """See `ThrottleMember.admit`."""
        if self.limits.unlimited:
            return None
        if self._open or member.passes:
            self._started().fill(is_write, length)
            return None
        if not any(self._waiting) and self._started().wait(is_write, self._clock.time()) < _NOTHING:
            self._started().fill(is_write, length)
            return None
        waiter = Waiter(length, asyncio.get_running_loop().create_future())
        queue = member.queues[is_write]
        queue.append(waiter)
        if member not in self._waiting[is_write]:
            self._waiting[is_write].append(member)
        self._dispatch()
        return None if waiter.admitted.done() else waiter.admitted

    def let_pass(self, member: ThrottleMember) -> None:
        """Admit everything of a member that waits."""
        for is_write, queue in enumerate(member.queues):
            while queue:
                self._pass(queue.popleft(), bool(is_write))
            if member in self._waiting[is_write]:
                self._waiting[is_write].remove(member)
        self._dispatch()

    def _started(self) -> Buckets:
        if self._buckets is None:
            self._buckets = Buckets(self.limits, self._clock.time())
        return self._buckets

    def _pass(self, waiter: Waiter, is_write: bool) -> None:
        if not waiter.admitted.done():
            self._started().fill(is_write, waiter.length)
            waiter.admitted.set_result(None)

    def _dispatch(self) -> None:
        """Admit what may pass now, and come again when the next one may."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        while any(self._waiting):
            now = self._clock.time()
            waits = list(self._waits(now))
            ready = [is_write for is_write, wait in waits if wait < _NOTHING]
            if not ready:
                delay = max(min(wait for _, wait in waits), _SHORTEST_WAIT)
                self._timer = self._clock.call_at(now + delay, self._dispatch)
                return
            self._serve(ready[0])

    def _waits(self, now: float) -> Iterator[tuple[bool, float]]:
        """For reads and writes, those first whose turn it is: how long the next one has to wait."""
        for is_write in (self._turn, not self._turn):
            if self._waiting[is_write]:
                yield is_write, self._started().wait(is_write, now)

    def _serve(self, is_write: bool) -> None:
        """Admit one request of the member whose turn it is."""
        member = self._waiting[is_write].popleft()
        queue = member.queues[is_write]
        while queue and queue[0].admitted.done():  # its task was cancelled
            queue.popleft()
        if queue:
            self._pass(queue.popleft(), is_write)
            self._turn = not is_write
        if queue:
            self._waiting[is_write].append(member)
