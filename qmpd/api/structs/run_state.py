"""The object types of `run-state.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.api.enums import RunState
from qmpd.qapi.model import Model

__all__ = [
    "StatusInfo",
]


class StatusInfo(Model):
    """What 'query-status' answers."""

    running: bool
    """whether the state is one in which work goes on"""

    singlestep: bool
    """whether the processor is stepped instruction by instruction; never here"""

    status: RunState
    """the state"""
