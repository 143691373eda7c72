"""What the rest of the house knows of events: a sink that takes them.

Whoever emits is handed an `EventSink`; the monitor's event bus is the real one, tests use a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class EventSink(Protocol):
    """Takes QMP events in the order in which they happen."""

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Publish event `name` (as in the schema) with JSON-ready `data` (dashed member names)."""
