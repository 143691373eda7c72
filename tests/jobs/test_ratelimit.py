"""The speed limit on a clock that only the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.jobs.ratelimit import SLICE_SECONDS, RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_no_limit_never_waits() -> None:
    limit = RateLimit(0, Clock())
    limit.charge(1 << 60)
    assert limit.delay() == 0.0


def test_the_first_request_goes_whatever_its_size() -> None:
    assert RateLimit(1, Clock()).delay() == 0.0


def test_an_overdraft_is_paid_for_in_slices() -> None:
    clock = Clock()
    limit = RateLimit(65536, clock)
    limit.charge(1 << 20)
    assert limit.delay() == pytest.approx(16.0, abs=1.5 * SLICE_SECONDS)
    clock.now += 15.5
    assert limit.delay() > 0
    clock.now += 0.6
    assert limit.delay() == 0.0


def test_small_requests_share_a_slice() -> None:
    limit = RateLimit(1000, Clock())
    for _ in range(9):
        limit.charge(10)
        assert limit.delay() == 0.0
    limit.charge(10)
    assert 0 < limit.delay() <= 1.5 * SLICE_SECONDS


def test_a_new_speed_counts_at_once() -> None:
    limit = RateLimit(1, Clock())
    limit.charge(1 << 20)
    assert limit.delay() > 100_000
    limit.set_speed(16 << 20)
    assert limit.delay() == 0.0
    limit.set_speed(1)
    assert limit.delay() > 100_000
    limit.set_speed(0)
    assert limit.delay() == 0.0


def test_what_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock)
    clock.now += 3600
    limit.charge(100)
    assert limit.delay() > 0


@given(st.integers(1, 1 << 40), st.lists(st.integers(1, 1 << 30), min_size=1, max_size=40))
def test_the_average_keeps_to_the_limit(speed: int, requests: list[int]) -> None:
    clock = Clock()
    limit = RateLimit(speed, clock)
    begin = clock.now
    for length in requests:
        while (delay := limit.delay()) > 0:
            clock.now += max(delay, 1e-6)
        limit.charge(length)
    # What went before the last request has been paid for, to within the quota of one slice each.
    paid = sum(requests[:-1])
    slack = max(speed * SLICE_SECONDS, 1) * len(requests)
    assert paid <= (clock.now - begin) * max(speed, 10) + slack
