"""The event bus: events in, encoded once, out to every negotiated session in the order of their happening.

QEMU limits the rate of a few events: within a second of the one before it, only the last of them (per object,
for some) is kept, and sent when the second is over. `RATE_LIMITS` is that table.

The bus never waits and never fails because of a session: what a session does with a client that does not read
is `qmpd.monitor.connection`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import orjson

from qmpd.wire.session import event_line, numbered_line, reformat_pretty

Listener = Callable[[str, Mapping[str, object]], None]
Check = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most one event per `period` (seconds): for each value of the data's member `key`, or at all."""

    period: float
    key: str | None = None


RATE_LIMITS: Mapping[str, RateLimit] = {
    "RTC_CHANGE": RateLimit(1.0),
    "WATCHDOG": RateLimit(1.0),
    "BALLOON_CHANGE": RateLimit(1.0),
    "QUORUM_REPORT_BAD": RateLimit(1.0, "node-name"),
    "QUORUM_FAILURE": RateLimit(1.0),
    "VSERPORT_CHANGE": RateLimit(1.0, "id"),
    "MEMORY_DEVICE_SIZE_CHANGE": RateLimit(1.0, "qom-path"),
    "BLOCK_IO_ERROR": RateLimit(1.0, "node-name"),
}
"""The events whose rate QEMU limits. The last one it does only since version 10; a client that goes on asking a broken
disk would otherwise fill every monitor with one event a request."""


class Event(NamedTuple):
    """An event on its way; `line` is its message without a number, `data` is JSON-ready."""

    name: str
    data: Mapping[str, object]
    seconds: int
    microseconds: int
    line: bytes


class EventHistory(Protocol):
    """Keeps the events that were sent."""

    def append(self, event: Event) -> int:
        """Keep `event`; answers with its sequence number. Must neither wait nor fail."""


class EventReceiver(Protocol):
    """A session that has been negotiated; `numbered` ones want the sequence number of each event."""

    @property
    def pretty(self) -> bool: ...

    @property
    def numbered(self) -> bool: ...

    def send_event(self, line: bytes) -> None: ...


class EventBus:
    """Takes events (it is an `EventSink`) and hands them on.

    :param limits: which events come how often at most.
    :param check: called with each event's name and data before anything else; for tests that hold events
        against the schema.
    :ivar history: keeps what is sent, and numbers it; None if nobody does.
    """

    def __init__(self, limits: Mapping[str, RateLimit] = RATE_LIMITS, check: Check | None = None) -> None:
        self._limits = limits
        self._check = check
        self.history: EventHistory | None = None
        self._receivers: dict[EventReceiver, None] = {}
        self._listeners: dict[int, Listener] = {}
        self._next_listener = 0
        self._pending: dict[tuple[str, object], Event | None] = {}
        self._timers: dict[tuple[str, object], asyncio.TimerHandle] = {}

    def add(self, receiver: EventReceiver) -> None:
        """From now on `receiver` gets every event."""
        self._receivers[receiver] = None

    def remove(self, receiver: EventReceiver) -> None:
        """`receiver` gets no more; it need not have been added."""
        self._receivers.pop(receiver, None)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(name, data)` for every event, unlimited; the result ends that."""
        key = self._next_listener
        self._next_listener += 1
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None) and None

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Publish event `name` (as in the schema) with JSON-ready `data` (dashed member names)."""
        if self._check is not None:
            self._check(name, orjson.loads(orjson.dumps(data or {})))
        for listener in list(self._listeners.values()):
            listener(name, data or {})
        limit = self._limits.get(name)
        if limit is not None:
            self._emit_limited(name, data, limit)
        elif self._receivers or self.history is not None:
            self._deliver(_event(name, data))

    def flush(self) -> None:
        """Send what a rate limit holds back: there will be no later."""
        pending, self._pending = self._pending, {}
        for event in pending.values():
            if event is not None:
                self._deliver(event)

    def close(self) -> None:
        """Forget what a rate limit holds back."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._pending.clear()

    def _emit_limited(self, name: str, data: Mapping[str, object] | None, limit: RateLimit) -> None:
        event = _event(name, data)
        key = (name, str((data or {}).get(limit.key)) if limit.key else None)
        if key in self._timers:
            self._pending[key] = event
            return
        self._deliver(event)
        self._start_timer(key, limit.period)

    def _start_timer(self, key: tuple[str, object], period: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(period, self._period_over, key, period)

    def _period_over(self, key: tuple[str, object], period: float) -> None:
        del self._timers[key]
        event = self._pending.pop(key, None)
        if event is not None:
            self._deliver(event)
            self._start_timer(key, period)

    def _deliver(self, event: Event) -> None:
        number = None if self.history is None else self.history.append(event)
        lines: dict[tuple[bool, bool], bytes] = {(False, False): event.line}
        for receiver in list(self._receivers):
            form = (receiver.pretty, receiver.numbered)
            line = lines.get(form)
            if line is None:
                line = lines[form] = _in_form(event.line, *form, number)
            receiver.send_event(line)


def _event(name: str, data: Mapping[str, object] | None) -> Event:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    microseconds = nanoseconds // 1000
    return Event(name, data or {}, seconds, microseconds, event_line(name, data, seconds, microseconds))


def _in_form(line: bytes, pretty: bool, numbered: bool, number: int | None) -> bytes:
    """An event's message as a session wants it."""
    if numbered and number is not None:
        line = numbered_line(line, number)
    return reformat_pretty(line) if pretty else line
