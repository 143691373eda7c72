"""`--trace`: what QEMU takes is taken, and changes nothing, since there is nothing to trace."""

from __future__ import annotations

from pathlib import Path

from qmpd.qapi.values import Values, pairs


def read_trace(text: str) -> None:
    """Check the value of `--trace`.

    :raises ValueError: an unknown parameter, or a file with names of events that is not there.
    """
    values = Values(pairs(text, "enable"))
    values.drop("enable", "file")
    events = values.maybe("events")
    values.finish()
    if events is not None and not Path(events).exists():
        raise ValueError(f"the file '{events}' does not exist")
