"""Plays a transcript on one server and records what it answers.

A server that dies, or does not answer, ends the recording at that step; it is never an exception.
"""

import contextlib
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iotests.differential.transcript import (
    Action,
    AwaitEvent,
    AwaitJob,
    Batch,
    Call,
    Hangup,
    Raw,
    Step,
    Switch,
    Tool,
    Transcript,
)
from iotests.harness import Event, QMPClient, QMPTimeout, Server, ServerDied
from iotests.harness.qmp import QMPClosed

PATIENCE = 30.0
"""Seconds until a reply or event counts as missing."""

TOOL_TIMEOUT = 60.0

HERE = "DIR/"
"""What stands for the server's directory in the arguments of commands."""

Reply = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """What came of a step.

    :param replies: to its commands, in order; without ids that the player itself has given.
    :param trouble: in words, why the step did not come to its end; empty if it did.
    """

    step: Step
    replies: list[Reply] = field(default_factory=list)
    trouble: str = ""


@dataclass(slots=True)
class Recording:
    """All that one server answered; it ends early if the server did.

    :param events: of each session, in order.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    greeting: Reply = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """Why the recording ends early."""
        return self.outcomes[-1].trouble if self.outcomes else ""


class Player:
    """One server, and the sessions of one transcript on it. The server's first monitor is left to others."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._sessions: dict[str, QMPClient] = {}
        self._current = "a"

    def play(self, transcript: Transcript) -> Recording:
        """Play a transcript from its beginning to its end."""
        recording = Recording()
        try:
            self._connect("a", negotiate=transcript.negotiate)
            recording.greeting = self._client.greeting
            for step in transcript.steps:
                recording.outcomes.append(self._step(step))
                if recording.outcomes[-1].trouble:
                    break
            else:
                self._catch_up()
        finally:
            recording.events = {name: client.events for name, client in self._sessions.items()}
            for client in self._sessions.values():
                client.close()
        return recording

    @property
    def _client(self) -> QMPClient:
        return self._sessions[self._current]

    def _connect(self, name: str, *, negotiate: bool = True) -> None:
        if name not in self._sessions:
            self._sessions[name] = self._server.connect(len(self._sessions) + 1, negotiate=negotiate)
            self._sessions[name].patience = PATIENCE
        self._current = name

    def _catch_up(self) -> None:
        """Read the events that were sent before now; a session that cannot be used any more has had all of its own."""
        for client in self._sessions.values():
            with contextlib.suppress(QMPClosed):
                client.send_bytes(b'{"execute": "query-version", "id": "end"}')
                client.take_reply("end")

    def _step(self, step: Step) -> Outcome:
        outcome = Outcome(step)
        try:
            outcome.replies = self._do(step.action)
        except (QMPClosed, QMPTimeout, ServerDied, subprocess.SubprocessError) as trouble:
            outcome.trouble = self._why(trouble)
        return outcome

    def _why(self, trouble: Exception) -> str:
        if isinstance(trouble, QMPClosed):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return f"the server ended with status {self._server.process.wait(5)}"
        return str(trouble).splitlines()[0]

    def _do(self, action: Action) -> list[Reply]:
        match action:
            case Call():
                return self._send([action])
            case Batch(calls):
                return self._send(calls)
            case Raw(data, replies):
                self._client.send_bytes(data)
                return [self._client.next_reply() for _ in range(replies)]
            case AwaitEvent(name, members):
                self._client.wait_event(name, **members)
            case AwaitJob(job, statuses):
                self._client.wait_job(job, *statuses)
            case Tool(command):
                self._tool(command)
            case Switch(session):
                self._connect(session)
            case Hangup():
                self._client.at_end()
        return []

    def _send(self, calls: "list[Call] | tuple[Call, ...]") -> list[Reply]:
        """Send commands in one piece and read all replies."""
        ids = [f"call {number}" for number in range(len(calls))]
        lines = [json.dumps(_message(call, name)) for call, name in zip(calls, ids, strict=True)]
        text = "".join(f"{line}\n" for line in lines).replace(HERE, f"{self._directory}/")
        self._client.send_bytes(text.encode())
        replies = [self._client.take_reply(name) for name in ids]
        return [{key: value for key, value in reply.items() if key != "id"} for reply in replies]

    def _tool(self, command: str) -> None:
        """Run a program; one that fails is reported as a trouble of this step."""
        with tempfile.TemporaryFile() as said:  # no pipe, which what goes on in the background would keep open
            done = subprocess.run(
                command,
                shell=True,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=TOOL_TIMEOUT,
            )
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
        if done.returncode:
            raise subprocess.SubprocessError(f"{command}: status {done.returncode}: {words}")


def _message(call: Call, identifier: str) -> Reply:
    message: Reply = {"execute": call.name, "id": identifier}
    return message | ({"arguments": call.arguments} if call.arguments else {})
