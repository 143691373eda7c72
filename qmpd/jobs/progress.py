"""How far a job is, in whatever unit the job counts (bytes, for all block jobs)."""

from __future__ import annotations


class Progress:
    """A pair of counters that only move by the three methods below.

    `current` never falls; `total` may grow while new work turns up, so that `current <= total` always holds.
    """

    __slots__ = ("current", "total")

    def __init__(self, total: int = 0) -> None:
        self.current = 0
        self.total = total

    def set_total(self, total: int) -> None:
        """Fix the end at `total`, or at what is already done if that is more."""
        self.total = max(total, self.current)

    def set_remaining(self, remaining: int) -> None:
        """Fix the end at `remaining` from here."""
        self.total = self.current + max(remaining, 0)

    def advance(self, amount: int) -> None:
        """Count `amount` as done; the end moves along if it would be passed."""
        self.current += amount
        self.total = max(self.total, self.current)
