"""The event bus: who gets what, in what order, and how often."""

from __future__ import annotations

import json

import pytest

from qmpd.monitor import events as events_module
from qmpd.monitor.events import EventBus, RateLimit


class Receiver:
    def __init__(self, pretty: bool = False, numbered: bool = False) -> None:
        self.pretty = pretty
        self.numbered = numbered
        self.lines: list[bytes] = []

    def send_event(self, line: bytes) -> None:
        self.lines.append(line)

    def numbers(self) -> list[object]:
        return [json.loads(line)["data"]["n"] for line in self.lines]


class Clock:
    """A loop's timers, turned by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[float, object, tuple[object, ...]]] = []

    def call_later(self, delay: float, function: object, *args: object) -> Clock:
        self.due.append((delay, function, args))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def turn(self) -> None:
        due, self.due = self.due, []
        for _, function, args in due:
            function(*args)  # type: ignore[operator]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events_module.asyncio, "get_running_loop", lambda: clock)
    return clock


def test_every_receiver_gets_every_event_once_in_order() -> None:
    bus = EventBus()
    first, second, gone = Receiver(), Receiver(pretty=True), Receiver()
    for receiver in (first, second, gone):
        bus.add(receiver)
    bus.add(first)
    bus.remove(gone)
    bus.remove(gone)
    for number in range(5):
        bus.emit("X", {"n": number})
    assert first.numbers() == second.numbers() == list(range(5))
    assert gone.lines == []
    assert first.lines[0].startswith(b'{"timestamp": {"seconds": ')
    assert second.lines[0].startswith(b"{\n    ")


def test_listeners_get_name_and_data() -> None:
    bus = EventBus()
    heard: list[object] = []
    end = bus.listen(lambda name, data: heard.append((name, data)))
    bus.emit("X", {"n": 1})
    bus.emit("Y")
    end()
    bus.emit("Z")
    assert heard == [("X", {"n": 1}), ("Y", {})]


def test_a_limited_event_comes_at_once_then_its_last_state(clock: Clock) -> None:
    bus = EventBus({"X": RateLimit(1.0)})
    receiver = Receiver()
    bus.add(receiver)
    for number in range(4):
        bus.emit("X", {"n": number})
    assert receiver.numbers() == [0]
    clock.turn()
    assert receiver.numbers() == [0, 3]
    bus.emit("X", {"n": 4})  # still within a second of the one before
    assert receiver.numbers() == [0, 3]
    clock.turn()
    clock.turn()
    assert clock.due == []
    bus.emit("X", {"n": 5})
    assert receiver.numbers() == [0, 3, 4, 5]


def test_limits_may_count_per_object(clock: Clock) -> None:
    bus = EventBus({"X": RateLimit(1.0, "id")})
    receiver = Receiver()
    bus.add(receiver)
    for number in range(6):
        bus.emit("X", {"id": "ab"[number % 2], "n": number})
    assert receiver.numbers() == [0, 1]
    clock.turn()
    assert receiver.numbers() == [0, 1, 4, 5]
    bus.close()


def test_what_is_held_back_can_be_sent_at_the_end(clock: Clock) -> None:
    bus = EventBus({"X": RateLimit(1.0, "id")})
    receiver = Receiver()
    bus.add(receiver)
    for number in range(3):
        bus.emit("X", {"id": "a", "n": number})
    bus.emit("X", {"id": "b", "n": 3})
    bus.flush()
    assert receiver.numbers() == [0, 3, 2]
    bus.flush()
    bus.close()
    assert receiver.numbers() == [0, 3, 2]


def test_events_are_checked_when_asked() -> None:
    def check(name: str, data: object) -> None:
        if data != {"n": 1}:
            raise ValueError(name)

    bus = EventBus(check=check)
    bus.emit("X", {"n": 1})
    with pytest.raises(ValueError, match="X"):
        bus.emit("X", {"n": 2})


class History:
    """Keeps the names of events."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def append(self, event: events_module.Event) -> int:
        self.names.append(event.name)
        return len(self.names)


def test_numbers_are_told_to_those_who_want_them() -> None:
    bus = EventBus()
    bus.history = history = History()
    bus.emit("STOP")
    plain, numbered, tall = Receiver(), Receiver(numbered=True), Receiver(pretty=True, numbered=True)
    for receiver in (plain, numbered, tall):
        bus.add(receiver)
    bus.emit("RESUME", {"n": 1})
    assert history.names == ["STOP", "RESUME"]
    assert "seq" not in json.loads(plain.lines[0])
    for receiver in (numbered, tall):
        assert json.loads(receiver.lines[0])["seq"] == 2
        assert json.loads(receiver.lines[0])["data"] == {"n": 1}
    assert len(tall.lines[0].splitlines()) > 3


def test_only_what_is_sent_gets_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(events_module.asyncio, "get_running_loop", lambda: clock)
    bus = EventBus({"A": RateLimit(1.0)})
    bus.history = history = History()
    for number in range(5):
        bus.emit("A", {"n": number})
    assert history.names == ["A"]
    clock.turn()
    assert history.names == ["A", "A"]
