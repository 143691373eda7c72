"""The object types of `state.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Any


from qmpd.api.enums import StateItemKind
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "StateItem",
    "QObjStateRestoreFailedArg",
    "QObjForgetUnrestoredArg",
    "EventTime",
    "ReplayedEvent",
    "EventReplay",
    "QObjReplayEventsArg",
]


class StateItem(Model):
    """Something that could not be made again, or a bitmap that waits for its image."""

    kind: StateItemKind
    """what it is"""

    name: str
    """its id or name; that of a bitmap follows its node's name and a slash"""

    reason: str
    """why it is not there"""


class QObjStateRestoreFailedArg(Model):
    """The arguments of `STATE_RESTORE_FAILED`."""

    kind: StateItemKind
    """what it is"""

    name: str
    """its id or name"""

    reason: str
    """why it could not"""


class QObjForgetUnrestoredArg(Model):
    """The arguments of `forget-unrestored`."""

    kind: StateItemKind
    """what it is"""

    name: str
    """its id or name"""


class EventTime(Model):
    """When an event happened, in the clock of the daemon's host."""

    seconds: Int64
    """since the epoch"""

    microseconds: Int64
    """of the second"""


class ReplayedEvent(Model):
    """An event as it was sent."""

    seq: Int64
    """its sequence number; numbers ascend, across restarts of the daemon too"""

    timestamp: EventTime
    """when it happened"""

    event: str
    """its name"""

    data: Any = None
    """its data; absent if it has none"""


class EventReplay(Model):
    """A part of the history of events."""

    events: Array[ReplayedEvent]
    """the events, oldest first"""

    last: Int64
    """the number of the newest event there is; when the last of `events` has it, there is no more to fetch"""

    first: Int64
    """the number of the oldest event that is still kept, 0 if there is none. What is older has been
    pruned.
    """


class QObjReplayEventsArg(Model):
    """The arguments of `replay-events`."""

    since: Int64
    """the number of the last event that the client knows, 0 for none"""

    limit: Maybe[Int64] = None
    """how many events to give at most (default: 1000)"""
