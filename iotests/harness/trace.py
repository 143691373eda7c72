"""Event sequences with everything dropped that may differ between two runs, so that two servers can be compared.

Times and progress figures go; names, members, states and the order stay. Where order is not promised - jobs of one
group that run side by side - `Trace.of` gives each job's own story.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iotests.harness.qmp import Event


@dataclass(frozen=True, slots=True)
class Trace:
    """A normalised event log: one line an event, the name first, then the members in alphabetical order."""

    lines: tuple[str, ...]

    def of(self, job: str) -> "Trace":
        """Only the events that are about one job."""
        words = (f"id={job}", f"device={job}")
        return Trace(tuple(line for line in self.lines if not set(words).isdisjoint(line.split(" "))))

    def after(self, line: str) -> "Trace":
        """What followed the last such line."""
        return Trace(self.lines[len(self.lines) - self.lines[::-1].index(line) :])

    def text(self) -> list[str]:
        """The lines as a list, for comparison with what a test spells out."""
        return list(self.lines)


def trace_of(events: Iterable[Event]) -> Trace:
    """Normalise an event log."""
    return Trace(tuple(_line(event.name, event.data) for event in events))


def _line(name: str, data: Mapping[str, Any]) -> str:
    words = [name]
    for key in sorted(data):
        if key == "offset":
            words.append("whole" if data["offset"] == data.get("len") else "part")
        elif key == "error":
            words.append("error")
        else:
            words.append(f"{key}={data[key]}")
    return " ".join(words)
