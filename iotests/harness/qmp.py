"""A small synchronous QMP client for tests: one socket, every message remembered in order of arrival.

Leans on sockets and json only. Must never wait for a time to pass: it waits for messages, and a time-out is a
failure that shows the whole conversation so far.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

DEFAULT_TIMEOUT = 90.0
"""Seconds until a missing message fails the test; generous, since the machines that run this are busy."""


class QMPRefused(Exception):
    """The server answered a command with an error; `error_class` is the contract, `desc` the server's own
    words.
    """

    def __init__(self, command: str, error_class: str, desc: str) -> None:
        super().__init__(f"{command}: {error_class}: {desc}")
        self.command = command
        self.error_class = error_class
        self.desc = desc


class QMPTimeout(Exception):
    """What a test waited for did not come."""


class QMPClosed(Exception):
    """The server closed the connection."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `time` is the server's clock in seconds, `number` what a server that keeps events gives it."""

    name: str
    data: Mapping[str, Any]
    time: float
    number: int | None = None

    def matches(self, name: str, members: Mapping[str, Any]) -> bool:
        """Whether this is event `name` with (at least) these data members."""
        return self.name == name and all(self.data.get(key) == value for key, value in members.items())


def wire_names(members: Mapping[str, Any]) -> dict[str, Any]:
    """Python keywords as QMP members: a trailing underscore is dropped, the others become dashes."""
    return {key.removesuffix("_").replace("_", "-"): value for key, value in members.items()}


class QMPClient:
    """A QMP session.

    `events` is the log of all events in order. `wait_event` hands out each event once, in any order the test
    asks; `wait_job` looks at the log of state changes and hands out nothing.
    """

    def __init__(self, address: str | tuple[str, int], *, timeout: float = DEFAULT_TIMEOUT) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(address)
        self._start(timeout)

    @classmethod
    def accepted(cls, connection: socket.socket, *, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """A session on a socket that the server connected to (client mode)."""
        client = cls.__new__(cls)
        client._socket = connection
        client._start(timeout)
        return client

    def _start(self, timeout: float) -> None:
        self._timeout = timeout
        self._input = b""
        self._next_id = 0
        self._replies: dict[Any, dict[str, Any]] = {}
        self._pending: list[Event] = []
        self.events: list[Event] = []
        self.transcript: list[str] = []
        self.greeting = self._read_message(time.monotonic() + timeout)["QMP"]

    def negotiate(self, *, oob: bool = False) -> Self:
        """Leave capabilities mode; with `oob`, ask for out-of-band execution."""
        self.command("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))
        return self

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    @property
    def patience(self) -> float:
        """Seconds until what does not come is a failure."""
        return self._timeout

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._timeout = seconds

    def detach(self) -> socket.socket:
        """Hand over the socket between two commands; this client can only be closed afterwards."""
        assert not self._input, "there are messages that nobody has read"
        return self._socket

    def command(self, name: str, arguments: Mapping[str, Any] | None = None, /, **members: Any) -> Any:
        """Run one command and give its return value; raises QMPRefused with the server's error.

        `arguments` is sent as it stands; keywords are added with underscores turned to dashes.
        """
        return self.reply_to(self.send(name, arguments, **members), name)

    def send(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        verb: str = "execute",
        **members: Any,
    ) -> int:
        """Send a command and give its id, to be handed to `reply_to` (pipelining, out-of-band)."""
        self._next_id += 1
        message: dict[str, Any] = {verb: name, "id": self._next_id}
        body = {**(arguments or {}), **wire_names(members)}
        if body:
            message["arguments"] = body
        self.send_bytes(json.dumps(message).encode())
        return self._next_id

    def send_bytes(self, data: bytes) -> None:
        """Put raw bytes on the wire."""
        self.transcript.append(f"> {data.decode(errors='backslashreplace')}")
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise QMPClosed(f"the server hung up before this was sent\n{self.dialogue()}") from None

    def reply_to(self, request_id: Any, name: str = "?") -> Any:
        """Wait for the reply that carries `request_id`; raises QMPRefused."""
        reply = self.take_reply(request_id, name)
        if "error" in reply:
            raise QMPRefused(name, reply["error"]["class"], reply["error"]["desc"])
        return reply["return"]

    def take_reply(self, request_id: Any, name: str = "?") -> dict[str, Any]:
        """The whole reply that carries `request_id`, success or not; waits for it."""
        deadline = time.monotonic() + self._timeout
        while request_id not in self._replies:
            self._pump(deadline, f"the reply to {name}")
        return self._replies.pop(request_id)

    def refused(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        error_class: str = "GenericError",
        **members: Any,
    ) -> str:
        """Run a command that has to fail with `error_class`; give the description."""
        try:
            result = self.command(name, arguments, **members)
        except QMPRefused as refusal:
            assert refusal.error_class == error_class, str(refusal)
            assert refusal.desc, f"{name} was refused without a description"
            return refusal.desc
        raise AssertionError(f"{name} was not refused, it answered {result!r}")

    def wait_event(self, name: str, **members: Any) -> Event:
        """The oldest event `name` with these data members that no earlier call has taken; waits for it."""
        wanted = wire_names(members)
        deadline = time.monotonic() + self._timeout
        while True:
            for position, event in enumerate(self._pending):
                if event.matches(name, wanted):
                    return self._pending.pop(position)
            self._pump(deadline, f"event {name} {wanted}")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Read messages until `condition` (over the event log) holds."""
        deadline = time.monotonic() + self._timeout
        while not condition():
            self._pump(deadline, what)

    def seen(self, name: str, **members: Any) -> list[Event]:
        """All events `name` with these members so far, taken or not."""
        wanted = wire_names(members)
        return [event for event in self.events if event.matches(name, wanted)]

    def job_statuses(self, job: str) -> list[str]:
        """The statuses that job has announced, oldest first."""
        return [event.data["status"] for event in self.seen("JOB_STATUS_CHANGE", id=job)]

    def wait_job(self, job: str, *statuses: str) -> str:
        """Wait until the job's last announced status is one of `statuses`; give it."""

        def reached() -> bool:
            history = self.job_statuses(job)
            return bool(history) and history[-1] in statuses

        self.wait_until(reached, f"job {job} to be {' or '.join(statuses)}")
        return self.job_statuses(job)[-1]

    def job(self, job: str) -> dict[str, Any] | None:
        """That job's entry in query-jobs, or None."""
        jobs: list[dict[str, Any]] = self.command("query-jobs")
        return next((entry for entry in jobs if entry["id"] == job), None)

    def block_job(self, device: str) -> dict[str, Any] | None:
        """That job's entry in query-block-jobs, or None."""
        jobs: list[dict[str, Any]] = self.command("query-block-jobs")
        return next((entry for entry in jobs if entry["device"] == device), None)

    def forget_events(self) -> None:
        """Start a new log: everything that happened up to now is dropped."""
        self.command("query-version")
        self.events.clear()
        self._pending.clear()

    def read_message(self) -> dict[str, Any]:
        """The next raw message, for tests of the protocol itself; events are logged as well."""
        return self._read_message(time.monotonic() + self._timeout)

    def next_reply(self) -> dict[str, Any]:
        """The next message that is no event, whatever its id."""
        deadline = time.monotonic() + self._timeout
        while True:
            message = self._awaited_message(deadline, "a reply")
            if "event" not in message:
                return message

    def at_end(self) -> bool:
        """Read until the server hangs up (True); False when it sends a reply that nobody asked for."""
        while True:
            try:
                message = self.read_message()
            except QMPClosed:
                return True
            if "event" not in message:
                return False

    def _pump(self, deadline: float, what: str) -> None:
        message = self._awaited_message(deadline, what)
        if "event" not in message:
            self._replies[message.get("id")] = message

    def _awaited_message(self, deadline: float, what: str) -> dict[str, Any]:
        try:
            return self._read_message(deadline)
        except TimeoutError:
            raise QMPTimeout(f"waited {self._timeout:.0f} s for {what}\n{self.dialogue()}") from None
        except QMPClosed:
            raise QMPClosed(f"the server hung up while the test waited for {what}\n{self.dialogue()}") from None

    def _read_message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._input:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(1 << 18)
            except (ConnectionResetError, BrokenPipeError):
                chunk = b""
            if not chunk:
                raise QMPClosed("end of stream")
            self._input += chunk
        line, _, self._input = self._input.partition(b"\n")
        self.transcript.append(f"< {line.decode().rstrip()}")
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            stamp = message["timestamp"]
            time_told = stamp["seconds"] + stamp["microseconds"] / 1e6
            event = Event(message["event"], message.get("data", {}), time_told, message.get("seq"))
            self.events.append(event)
            self._pending.append(event)
        return message

    def dialogue(self, last: int = 60) -> str:
        """The last messages of both sides, for failure reports."""
        return "\n".join(line[:600] for line in self.transcript[-last:])
