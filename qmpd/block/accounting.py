"""What has gone through a backend: counters, times, latency histograms (`BlockDeviceStats`).

Every request that is done is counted here and nowhere else. It must stay cheap: it is on the way of each request.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from qmpd.errors import GenericError

MAX_BOUNDARIES = 1000
"""Inner limits of a histogram; nobody reads more, and each is looked for in every request."""


class LatencyHistogram:
    """How many requests took how long.

    :ivar boundaries: the inner limits of the intervals in nanoseconds; one that is hit belongs to the upper interval.
    :ivar bins: requests in each interval, one more than there are boundaries.
    """

    __slots__ = ("bins", "boundaries")

    def __init__(self, boundaries: Sequence[int]) -> None:
        self.boundaries = tuple(boundaries)
        self.bins = [0] * (len(self.boundaries) + 1)

    @classmethod
    def checked(cls, boundaries: Sequence[int]) -> LatencyHistogram:
        """A histogram with limits that a client has chosen.

        :raises GenericError: there are too many, one is 0, or they do not ascend.
        """
        if len(boundaries) > MAX_BOUNDARIES:
            raise GenericError(f"A histogram may have {MAX_BOUNDARIES} boundaries, not {len(boundaries)}")
        before = 0
        for boundary in boundaries:
            if boundary <= before:
                raise GenericError(f"Boundary {boundary} does not come after {before}; boundaries ascend from above 0")
            before = boundary
        return cls(boundaries)

    def account(self, latency_ns: int) -> None:
        """Count one request."""
        self.bins[bisect_right(self.boundaries, latency_ns)] += 1

    def merged(self, other: LatencyHistogram | None) -> LatencyHistogram | None:
        """Both together; None when their limits differ, for then nothing can be said of both."""
        if other is None or other.boundaries != self.boundaries:
            return None
        both = LatencyHistogram(self.boundaries)
        both.bins = [one + two for one, two in zip(self.bins, other.bins, strict=True)]
        return both


@dataclass(slots=True)
class OperationStats:
    """Counters of one kind of request. Bytes and nanoseconds.

    :ivar failed: requests that failed on the way.
    :ivar invalid: requests that were refused for what they asked.
    """

    operations: int = 0
    bytes: int = 0
    time_ns: int = 0
    failed: int = 0
    invalid: int = 0
    latencies: LatencyHistogram | None = None

    def add(self, other: OperationStats) -> None:
        """Count what `other` has counted too, all but latencies."""
        self.operations += other.operations
        self.bytes += other.bytes
        self.time_ns += other.time_ns
        self.failed += other.failed
        self.invalid += other.invalid


@dataclass(slots=True)
class BackendStats:
    """What has gone through a backend since it was made.

    :ivar last_access_ns: when the last request was done, in the clock of `time.monotonic_ns`; 0 for never.
    """

    read: OperationStats = field(default_factory=OperationStats)
    write: OperationStats = field(default_factory=OperationStats)
    flush: OperationStats = field(default_factory=OperationStats)
    unmap: OperationStats = field(default_factory=OperationStats)
    last_access_ns: int = 0

    def done(self, operation: OperationStats, length: int, began: int) -> None:
        """A request of `length` bytes that began at `began` (`time.monotonic_ns`) has gone well."""
        now = time.monotonic_ns()
        operation.operations += 1
        operation.bytes += length
        operation.time_ns += now - began
        self.last_access_ns = now
        if operation.latencies is not None:
            operation.latencies.account(now - began)

    @property
    def idle_ns(self) -> int | None:
        """Nanoseconds since the last request was done, None before the first."""
        return time.monotonic_ns() - self.last_access_ns if self.last_access_ns else None

    @property
    def has_histograms(self) -> bool:
        """Somebody has asked for a latency histogram."""
        return any(one.latencies is not None for one in (self.read, self.write, self.flush))

    def add(self, other: BackendStats) -> None:
        """Count what `other` has counted too."""
        for mine, theirs in (
            (self.read, other.read),
            (self.write, other.write),
            (self.flush, other.flush),
            (self.unmap, other.unmap),
        ):
            mine.add(theirs)
        self.last_access_ns = max(self.last_access_ns, other.last_access_ns)
