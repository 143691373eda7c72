"""Limits on speed, with a clock that the tests move: rates, bursts, turns, and what is let through."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.errors import GenericError
from qmpd.objects.throttle_group import changed_limits, read_limits
from qmpd.objects.throttling import LARGEST, Limits, Rate, ThrottleGroup, ThrottleMember
from tests.soak import count

KIB = 1024


class Handle:
    """A call that has been arranged."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, Handle]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Handle:
        handle = Handle(callback)
        heapq.heappush(self._calls, (when, next(self._numbers), handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            self.now, _, handle = heapq.heappop(self._calls)
            if handle.callback is not None:
                handle.callback()
        self.now = end

    @property
    def armed(self) -> int:
        """Calls that are still to come."""
        return sum(handle.callback is not None for _, _, handle in self._calls)


def limits(**given: int) -> Limits:
    made = changed_limits(Limits(), {name.replace("_", "-"): value for name, value in given.items()})
    made.check()
    return made


class Rig:
    """A group, its clock, and requests that were sent."""

    def __init__(self, members: int = 1, **given: int) -> None:
        self.clock = ManualClock()
        self.group = ThrottleGroup(limits(**given), self.clock)
        self.members = [self.group.join() for _ in range(members)]
        self.sent: list[tuple[ThrottleMember, bool, asyncio.Future[None] | None]] = []

    def send(self, number: int, *, write: bool = False, length: int = 4 * KIB, member: int = 0) -> None:
        for _ in range(number):
            owner = self.members[member]
            self.sent.append((owner, write, owner.admit(write, length)))

    def passed(self, *, write: bool | None = None, member: int | None = None) -> int:
        """How many of the requests have passed."""
        return sum(
            (waiting is None or waiting.done())
            and write in (None, is_write)
            and (member is None or owner is self.members[member])
            for owner, is_write, waiting in self.sent
        )


async def test_without_limits_nothing_waits() -> None:
    rig = Rig()
    rig.send(1000, length=1 << 40)
    assert rig.passed() == 1000
    assert not rig.clock.armed


async def test_a_rate_and_a_tenth_of_a_second_at_once() -> None:
    rig = Rig(iops_total=100)
    rig.send(200)
    assert rig.passed() == 11  # the bucket holds ten; the one that makes it overflow still passes
    rig.clock.advance(1)
    assert rig.passed() == 111
    rig.clock.advance(0.89)
    assert rig.passed() == 200
    assert not rig.clock.armed


async def test_bytes() -> None:
    rig = Rig(bps_write=100 * KIB)
    rig.send(5, write=True, length=100 * KIB)
    rig.send(5, write=False, length=100 * KIB)
    assert rig.passed(write=False) == 5
    assert rig.passed(write=True) == 1
    rig.clock.advance(0.89)
    assert rig.passed(write=True) == 1
    rig.clock.advance(0.02)
    assert rig.passed(write=True) == 2


async def test_a_large_request_counts_as_many() -> None:
    rig = Rig(iops_total=100, iops_size=4 * KIB)
    rig.send(1, length=400 * KIB)
    rig.send(1, length=1)
    assert rig.passed() == 1
    rig.clock.advance(0.89)
    assert rig.passed() == 1
    rig.clock.advance(0.02)
    assert rig.passed() == 2


async def test_a_burst_of_a_second() -> None:
    rig = Rig(iops_total=100, iops_total_max=400)
    rig.send(600)
    assert rig.passed() == 401
    rig.clock.advance(1)
    assert rig.passed() == 501


async def test_a_long_burst_is_not_faster_than_its_rate() -> None:
    rig = Rig(iops_total=100, iops_total_max=400, iops_total_max_length=10)
    rig.send(10000)
    assert rig.passed() == 41
    rig.clock.advance(10)
    assert 4000 <= rig.passed() <= 4050
    before = rig.passed()
    # What leaked away at the average rate meanwhile may follow in the burst; then it is over.
    rig.clock.advance(10)
    assert rig.passed() - before <= 2500
    before = rig.passed()
    rig.clock.advance(10)
    assert 990 <= rig.passed() - before <= 1010


async def test_a_pause_earns_no_more_than_the_bucket_holds() -> None:
    rig = Rig(iops_total=100)
    rig.send(11)
    rig.clock.advance(3600)
    rig.send(100)
    assert rig.passed() == 22


async def test_members_take_turns() -> None:
    rig = Rig(members=3, iops_total=10)
    rig.send(100, member=0)
    rig.send(5, member=1)
    rig.send(100, member=2)
    rig.clock.advance(1.5)
    assert rig.passed(member=1) == 5
    first, last = rig.passed(member=0), rig.passed(member=2)
    rig.clock.advance(10)
    gained = rig.passed(member=0) - first, rig.passed(member=2) - last
    assert sum(gained) == 100
    assert abs(gained[0] - gained[1]) <= 1


async def test_reads_and_writes_take_turns() -> None:
    rig = Rig(iops_total=10)
    rig.send(100, write=False)
    rig.send(100, write=True)
    rig.clock.advance(10)
    assert abs(rig.passed(write=False) - rig.passed(write=True)) <= 3


async def test_writes_do_not_wait_for_reads_that_are_slower() -> None:
    rig = Rig(iops_read=1, iops_write=100)
    rig.send(50, write=False)
    rig.send(50, write=True)
    rig.clock.advance(1)
    assert rig.passed(write=True) == 50
    assert rig.passed(write=False) == 2


async def test_nobody_overtakes() -> None:
    rig = Rig(members=2, iops_total=10)
    rig.send(3, member=0)
    rig.clock.advance(0.05)
    rig.send(1, member=1)
    assert rig.passed() == 2
    rig.clock.advance(0.06)
    assert rig.passed(member=0) == 3
    assert rig.passed(member=1) == 0


async def test_new_limits_hold_for_those_who_wait() -> None:
    rig = Rig(iops_total=1)
    rig.send(100)
    assert rig.passed() == 1
    rig.group.set_limits(limits(iops_total=100))
    assert rig.passed() == 12
    rig.group.set_limits(limits())
    assert rig.passed() == 100
    assert not rig.clock.armed


async def test_one_member_is_let_through_and_counted() -> None:
    rig = Rig(members=2, iops_total=10)
    rig.send(10, member=0)
    rig.send(10, member=1)
    waiting = rig.passed(member=1)
    rig.members[0].pass_begin()
    assert rig.passed(member=0) == 10
    assert rig.passed(member=1) == waiting
    rig.send(10, member=0)
    assert rig.passed(member=0) == 20
    rig.members[0].pass_end()
    rig.send(1, member=0)
    assert rig.passed(member=0) == 20
    # All of them have to leak away before the others go on.
    rig.clock.advance(1.7)
    assert rig.passed(member=1) == waiting
    rig.clock.advance(0.5)
    assert rig.passed(member=1) > waiting


async def test_a_request_that_was_called_off_takes_no_turn() -> None:
    rig = Rig(iops_total=10)
    rig.send(5)
    for _, _, waiting in rig.sent[2:4]:
        assert waiting is not None
        waiting.cancel()
    rig.clock.advance(0.11)
    last = rig.sent[4][2]
    assert last is not None and last.done() and not last.cancelled()


async def test_the_end_of_the_daemon() -> None:
    rig = Rig(members=2, iops_total=1)
    rig.send(10, member=0)
    rig.send(10, member=1, write=True)
    rig.group.open_for_good()
    rig.send(10, member=1)
    assert rig.passed() == 30
    assert not rig.clock.armed


REQUESTS = st.lists(
    st.tuples(
        st.floats(0, 0.4),
        st.integers(0, 2),
        st.booleans(),
        st.sampled_from([1, 512, 4 * KIB, 64 * KIB]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=count(60, 3000), deadline=None)
@given(
    requests=REQUESTS,
    iops=st.integers(1, 200),
    bps=st.integers(KIB, 1 << 20),
    burst=st.sampled_from([(0, 1), (2, 1), (3, 4)]),
    split=st.booleans(),
)
def test_never_faster_than_allowed_and_never_stuck(
    requests: list[tuple[float, int, bool, int]], iops: int, bps: int, burst: tuple[int, int], split: bool
) -> None:
    async def run() -> None:
        end = "write" if split else "total"
        factor, seconds = burst
        rig = Rig(3, **{f"iops_{end}": iops, f"iops_{end}_max": iops * factor, f"iops_{end}_max_length": seconds})
        rig.group.set_limits(changed_limits(rig.group.limits, {f"bps-{end}": bps}))
        began = rig.clock.now
        passed_bytes = passed_operations = 0
        pending: list[tuple[int, asyncio.Future[None] | None]] = []

        def settle() -> None:
            nonlocal passed_bytes, passed_operations
            for item in list(pending):
                if item[1] is None or item[1].done():
                    pending.remove(item)
                    passed_bytes += item[0]
                    passed_operations += 1
            elapsed = rig.clock.now - began
            room = iops * factor * seconds if factor else iops / 10
            assert passed_operations <= iops * elapsed + room + 1 + 1e-6
            assert passed_bytes <= bps * elapsed + bps / 10 + 64 * KIB + 1e-6

        for pause, member, write, length in requests:
            rig.clock.advance(pause)
            waiting = rig.members[member].admit(write, length)
            if write or not split:
                pending.append((length, waiting))
            else:
                assert waiting is None
            settle()
        total = sum(length for _, _, _, length in requests)
        rig.clock.advance(total / bps + len(requests) / iops + 1)
        settle()
        assert not pending
        assert not rig.clock.armed

    asyncio.run(run())


@pytest.mark.parametrize(
    "wrong",
    [
        {"iops_total": 5, "iops_read": 5},
        {"bps_total": 5, "bps_write": 5},
        {"bps_total": 5, "bps_total_max": 6, "bps_read_max": 5},
        {"iops_total": -1},
        {"iops_total": LARGEST + 1},
        {"iops_total": 5, "iops_total_max": 4},
        {"iops_total_max": 4},
        {"iops_total": 5, "iops_total_max": 6, "iops_total_max_length": 0},
        {"iops_total": 5, "iops_total_max_length": 2},
        {"iops_total": 5, "iops_total_max": 6, "iops_total_max_length": 1 << 32},
        {"bps_total": 5, "bps_total_max": LARGEST, "bps_total_max_length": 2},
        {"iops_size": 4096},
        {"iops_size": 4096, "bps_total": 5},
        {"iops_size": -1, "iops_total": 5},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(GenericError):
        limits(**wrong)


def test_limits_come_back_as_they_were_given() -> None:
    given = {"iops-total": 5, "iops-total-max": 6, "iops-total-max-length": 7, "bps-read": 8, "iops-size": 9}
    told = read_limits(changed_limits(Limits(), given))
    assert {name: value for name, value in told.items() if value not in (0, 1)} == given
    assert len(told) == 19
    assert Limits().rates == dict.fromkeys(Limits().rates, Rate())
