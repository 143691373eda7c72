"""How commands have what they change recorded: by whoever keeps the daemon's state, if anybody does."""

from __future__ import annotations

from typing import Protocol

from qmpd.monitor.context import RequestContext


class Recorder(Protocol):
    """Stores what the daemon is made of."""

    async def save(self, context: RequestContext) -> None:
        """Store it as it is now; the last step of a command that may fail. Call within `graph.exclusive()`.

        :raises QMPError: it could not be stored; the command has to undo what it has done.
        """

    async def hold_and_save(self, context: RequestContext) -> None:
        """As `save`, for commands that do not hold the graph: waits until nobody is changing it."""

    def later(self) -> None:
        """Store it soon. Plain, cannot fail; for what cannot be undone."""

    def snapshot_deleted(self, node_name: str, name: str) -> None:
        """A snapshot inside an image is no more. Plain, cannot fail."""


class Recording:
    """Hands on to the recorder, as long as there is one.

    :ivar recorder: None without a state directory.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    async def save(self, context: RequestContext) -> None:
        """As `Recorder.save`; nothing if nobody records."""
        if self.recorder is not None:
            await self.recorder.save(context)

    async def hold_and_save(self, context: RequestContext) -> None:
        """As `Recorder.hold_and_save`; nothing if nobody records."""
        if self.recorder is not None:
            await self.recorder.hold_and_save(context)

    def later(self) -> None:
        """As `Recorder.later`; nothing if nobody records."""
        if self.recorder is not None:
            self.recorder.later()

    def snapshot_deleted(self, node_name: str, name: str) -> None:
        """As `Recorder.snapshot_deleted`; nothing if nobody records."""
        if self.recorder is not None:
            self.recorder.snapshot_deleted(node_name, name)
