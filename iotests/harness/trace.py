"""Event sequences with everything dropped that may differ between two runs, so that two servers can be
compared.

Times and progress figures go; names, states, errors and the order stay. Where order is not promised - events
of different jobs of one group - `Trace.by_job` compares each job's own story.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iotests.harness.qmp import Event

Step = tuple[str, ...]

_KEPT = ("id", "device", "node-name", "type", "status", "operation", "action", "nospace", "path")


@dataclass(frozen=True, slots=True)
class Trace:
    """A normalised event log: one tuple an event, name first."""

    steps: tuple[Step, ...]

    def of(self, job: str) -> "Trace":
        """Only the events that are about one job."""
        return Trace(tuple(step for step in self.steps if f"id={job}" in step or f"device={job}" in step))

    def by_job(self, jobs: Iterable[str]) -> dict[str, "Trace"]:
        """Each job's own story."""
        return {job: self.of(job) for job in jobs}

    def text(self) -> list[str]:
        """One line an event."""
        return [" ".join(step) for step in self.steps]


def trace_of(events: Iterable[Event]) -> Trace:
    """Normalise an event log."""
    return Trace(tuple(_step(event.name, event.data) for event in events))


def _step(name: str, data: Mapping[str, Any]) -> Step:
    words = [name] + [f"{key}={data[key]}" for key in _KEPT if key in data]
    if name in {"BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_READY"}:
        words.append("whole" if data["offset"] == data["len"] else "part")
    if "error" in data:
        words.append("with-error")
    return tuple(words)
