"""Events with their sequence numbers: kept, and told again to those who missed them.

Numbers are given out in memory, at once, and stored a moment later. Those that may have been given out are reserved in
the catalog ahead of time, so that a number is never used twice, even if the daemon dies before it has stored an event;
there is a gap then. Events stay in memory until they are stored, and are found there while the database does not
answer; if it does not until the daemon ends, they wait in a file for the next start.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from qmpd.catalog import events, services
from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.events import EventRecord
from qmpd.catalog.facade import reader, writer
from qmpd.state.directory import replace_file

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext
    from qmpd.monitor.events import Event
    from qmpd.state.journal import Journal

_log = logging.getLogger(__name__)

RESERVE = 10_000
"""Sequence numbers that are reserved at a time."""
MAX_WAITING = 100_000
"""Events kept in memory while the database does not take them; the oldest are given up beyond that."""
SETTLE_SECONDS = 2.0
"""How long a question waits for what is being stored, before it is answered from both places."""


@dataclasses.dataclass(frozen=True, slots=True)
class Replay:
    """A part of the history.

    :ivar first: the number of the oldest event that is still kept, 0 for none.
    :ivar last: the number of the newest one.
    """

    events: list[EventRecord]
    first: int
    last: int


class History:
    """The events of this daemon; an `EventHistory`.

    :param last: the last number that earlier runs may have given out.
    """

    def __init__(self, journal: Journal, last: int) -> None:
        self._journal = journal
        self._last = last
        self._reserved = last
        self._waiting: deque[EventRecord] = deque()
        self._scheduled = False
        self._lost = 0

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def append(self, event: Event) -> int:
        """Keep an event; its sequence number."""
        self._last += 1
        if self._last > self._reserved - RESERVE // 2:
            self._reserve()
        time_us = event.seconds * 1_000_000 + event.microseconds
        self._keep(EventRecord(self._last, time_us, event.name, dict(event.data)))
        return self._last

    async def since(self, context: RequestContext, seq: int, limit: int) -> Replay:
        """The events after number `seq`.

        :raises CatalogUnavailable: the database does not answer, and has some of them.
        """
        await self._journal.flush(SETTLE_SECONDS)
        waiting = [event for event in self._waiting if event.seq > seq]
        try:
            found, first = await self._stored_since(context, seq, limit)
        except CatalogUnavailable:
            if seq < self._last and not (waiting and waiting[0].seq == seq + 1):
                raise
            found, first = [], waiting[0].seq if waiting else 0
        if len(found) < limit:
            newest = found[-1].seq if found else seq
            found += [event for event in waiting if event.seq > newest]
        return Replay(found[:limit], first or (waiting[0].seq if waiting else 0), self._last)

    @staticmethod
    async def _stored_since(context: RequestContext, seq: int, limit: int) -> tuple[list[EventRecord], int]:
        async with reader.primary.using(context):
            return await events.since(context, seq, limit), await events.first_seq(context)

    async def recover(self, context: RequestContext, file: Path) -> None:
        """Store the events that an earlier run has left in `file`; lines that are none are given up."""
        if not file.exists():
            return
        left = _events_in(file)
        async with writer.using(context):
            await events.append_many(context, left)
        if left:
            self._last = self._reserved = max(self._last, *(event.seq for event in left))
        try:
            file.unlink()
        except OSError as error:
            # They will be found there again, and stored only once all the same.
            _log.warning("'%s' stays: %s", file, error)

    def leave(self, file: Path) -> None:
        """Write what is not stored to `file`, for `recover`."""
        if not self._waiting:
            return
        lines = (orjson.dumps(dataclasses.asdict(event)) for event in self._waiting)
        try:
            replace_file(file, b"\n".join(lines) + b"\n")
        except OSError as error:
            _log.warning("%d events are lost: %s", len(self._waiting), error)

    def _keep(self, record: EventRecord) -> None:
        self._waiting.append(record)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1
            if self._lost == 1:
                _log.warning("the catalog has failed for so long that the oldest events are given up")
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def _schedule(self) -> None:
        stored = 0

        async def store(context: RequestContext) -> None:
            nonlocal stored
            self._scheduled = False
            batch = list(self._waiting)
            stored = batch[-1].seq if batch else 0
            await events.append_many(context, batch)

        def forget() -> None:
            while self._waiting and self._waiting[0].seq <= stored:
                self._waiting.popleft()

        self._journal.put(store, forget)

    def _reserve(self) -> None:
        up_to = self._reserved = self._last + RESERVE

        async def reserve(context: RequestContext) -> None:
            await services.reserve_sequence(context, up_to)

        self._journal.put(reserve)


def _events_in(file: Path) -> list[EventRecord]:
    """The events that `leave` has written to `file`, but for those that cannot be read."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        _log.warning("the events in '%s' are lost: %s", file, error)
        return []
    found = [event for line in lines if (event := _event_in(line)) is not None]
    if len(found) < len(lines):
        _log.warning("%d lines of '%s' cannot be read; their events are lost", len(lines) - len(found), file)
    return found


def _event_in(line: bytes) -> EventRecord | None:
    """The event in `line`; None if there is none."""
    try:
        event = EventRecord(**orjson.loads(line))
    except (ValueError, TypeError):
        return None
    types = ((event.seq, int), (event.time_us, int), (event.name, str), (event.data, dict))
    return event if all(isinstance(value, type_) for value, type_ in types) else None
