"""What a benchmark is made of: measures, their samples, and how two servers compare.

Leans on nothing. Must not know how anything is measured.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.stage import Stage


class Better(StrEnum):
    """Which way a figure improves."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table.

    `take` runs the load on a stage with one server and gives the figure in `unit`. `goal` is the ratio that the
    project asks of itself, or None; `rounds` overrides the number of samples of each server.
    """

    name: str
    unit: str
    better: Better
    take: Callable[["Stage"], float]
    goal: float | None = None
    rounds: int | None = None


@dataclass(slots=True)
class Result:
    """The samples of one measure, by server kind."""

    measure: Measure
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, value: float) -> None:
        """Record one sample."""
        self.samples.setdefault(kind, []).append(value)

    def median(self, kind: str) -> float:
        """The middle sample of one server."""
        return statistics.median(self.samples[kind])

    def spread(self, kind: str) -> float:
        """Largest minus smallest sample, relative to the median: how far to trust the figure."""
        values = self.samples[kind]
        return (max(values) - min(values)) / self.median(kind)

    def ratio(self, ours: str, peer: str) -> float:
        """How many times better `ours` is than `peer`; below 1 it is worse."""
        if self.measure.better is Better.HIGHER:
            return self.median(ours) / self.median(peer)
        return self.median(peer) / self.median(ours)
