"""The object types of `run-state.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.api.enums import RunState, ShutdownCause
from qmpd.qapi.model import Model

__all__ = [
    "StatusInfo",
    "QObjResetArg",
]


class StatusInfo(Model):
    """What 'query-status' answers."""

    running: bool
    """whether the state is one in which work goes on"""

    singlestep: bool
    """whether the processor is stepped instruction by instruction; never here"""

    status: RunState
    """the state"""


class QObjResetArg(Model):
    """The arguments of `RESET`."""

    guest: bool
    """whether a guest has asked for it; never here"""

    reason: ShutdownCause
    """why"""
