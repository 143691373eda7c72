"""A speed limit in slices of a tenth of a second.

Within a slice work goes ahead until the slice's quota is spent; the request that overdraws it still goes, and
is paid for by waiting as many slices as it was worth. Short bursts are therefore exact on average and never
split. It knows no job and never sleeps: it says how long to wait, on the clock it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLICE_SECONDS = 0.1


class RateLimit:
    """Answers "how long until the next request may go?" for a limit in bytes per second (0: no limit)."""

    __slots__ = ("_clock", "_quota", "_slice_end", "_slice_start", "_speed", "_spent")

    def __init__(self, speed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slice_start = 0.0
        self._slice_end = float("-inf")
        self._spent = 0
        self._speed = 0
        self._quota = 0.0
        self.set_speed(speed)

    @property
    def speed(self) -> int:
        """The limit in bytes per second; 0 means none."""
        return self._speed

    def set_speed(self, speed: int) -> None:
        """Change the limit at once: an overdraft is worth as many slices as the *new* quota needs for it."""
        self._speed = speed
        self._quota = max(speed * SLICE_SECONDS, 1.0) if speed else 0.0

    def charge(self, length: int) -> None:
        """Account for a request of `length` bytes that goes now, whether or not the quota allows it."""
        if not self._quota:
            return
        self._turn_slice()
        self._spent += length

    def delay(self) -> float:
        """Seconds until the next request may go; 0.0 if it may go now."""
        if not self._quota:
            return 0.0
        now = self._turn_slice()
        return max(self._slice_end - now, 0.0) if self._spent >= self._quota else 0.0

    def _turn_slice(self) -> float:
        """Begin a new slice if the present one, stretched by its overdraft, is over; return the time."""
        now = self._clock()
        slices = max(self._spent // self._quota, 1)
        self._slice_end = self._slice_start + slices * SLICE_SECONDS
        if now >= self._slice_end:
            self._slice_start = now
            self._slice_end = now + SLICE_SECONDS
            self._spent = 0
        return now
