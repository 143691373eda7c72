"""Two recordings of one transcript held against each other, and against what the transcript allows.

Paths: `reply` is the reply to a command (`reply[]` with several in a batch), `reply.return[].x` a part of it whatever
the place in the list, `events` the events of the whole transcript, `greeting` what the server says first, and `died`
that it did not live to answer.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from iotests.differential.normal import Normalizer
from iotests.differential.player import Outcome, Recording
from iotests.differential.transcript import Allowance, Batch, Call, Step, Transcript
from iotests.harness import Event

_SUBJECTS = ("id", "device", "node-name", "qom-path")
"""Members of events that say what an event is about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, or a mistake of the transcript, and the line of its file."""

    line: int
    path: str
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.detail}"


@dataclass(slots=True)
class Verdict:
    """What came of comparing: findings are bad, allowed ones are not."""

    transcript: Transcript
    findings: list[Finding] = field(default_factory=list)
    allowed: list[tuple[Finding, Allowance]] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.transcript.file}, {self.transcript.name}", *(f"  {item}" for item in self.findings)])


def compare(
    transcript: Transcript, ours: Recording, theirs: Recording, our_names: Normalizer, their_names: Normalizer
) -> Verdict:
    """Compare the recordings of two servers."""
    comparison = _Comparison(transcript, our_names, their_names)
    comparison.greetings(ours.greeting, theirs.greeting)
    for one, other in zip(ours.outcomes, theirs.outcomes, strict=False):
        comparison.step(one, other)
    if not ours.trouble and not theirs.trouble:
        comparison.events(ours.events, theirs.events)
    comparison.end(len(ours.outcomes))
    return comparison.verdict


class _Comparison:
    """The comparison of one pair of recordings."""

    def __init__(self, transcript: Transcript, our_names: Normalizer, their_names: Normalizer) -> None:
        self.verdict = Verdict(transcript)
        self._ours, self._theirs = our_names, their_names
        self._used: set[int] = set()
        self._ended = False

    def greetings(self, ours: Any, theirs: Any) -> None:
        """The first message."""
        for path, detail in differences("greeting", self._ours.value(ours), self._theirs.value(theirs)):
            self._found(Finding(1, path, detail), [])

    def step(self, ours: Outcome, theirs: Outcome) -> None:
        """One step on both sides."""
        step = ours.step
        mine = _one_or_all(step, self._ours.value(ours.replies))
        yours = _one_or_all(step, self._theirs.value(theirs.replies))
        if ours.trouble:
            self.verdict.findings.append(Finding(step.line, "qmpd", ours.trouble))
        if theirs.trouble:
            self._ended = True
            self._found(Finding(step.line, "died", theirs.trouble), step.allowances)
        if ours.trouble or theirs.trouble:
            return
        for path, detail in differences("reply", mine, yours):
            self._found(Finding(step.line, path, detail), step.allowances)
        self._promise(step, ours)

    def _promise(self, step: Step, ours: Outcome) -> None:
        """What the sign before a command says of qmpd."""
        calls = step.action.calls if isinstance(step.action, Batch) else (step.action,)
        for call, reply in zip(calls, ours.replies, strict=False):
            if isinstance(call, Call) and call.fails not in {None, "error" in reply}:
                self.verdict.findings.append(Finding(step.line, "qmpd", f"{call.name}: {json.dumps(reply)[:400]}"))

    def events(self, ours: Mapping[str, list[Event]], theirs: Mapping[str, list[Event]]) -> None:
        """All events, session by session."""
        allowances = [item for step in self.verdict.transcript.steps for item in step.allowances]
        for session in ours:
            mine = [_line(event, self._ours) for event in ours[session]]
            yours = [_line(event, self._theirs) for event in theirs[session]]
            if self.verdict.transcript.by_subject:
                mine.sort(key=lambda line: line[0])
                yours.sort(key=lambda line: line[0])
            if mine != yours:
                self._found(Finding(0, "events", f"session {session}{_diff(mine, yours)}"), allowances)

    def end(self, steps_played: int) -> None:
        """Allowances for what did not differ, in steps that both sides have played."""
        for step in self.verdict.transcript.steps[:steps_played]:
            for allowance in step.allowances:
                stale = allowance.certain and id(allowance) not in self._used
                if stale and not (self._ended and allowance.path == "events"):
                    detail = f"does not differ: {allowance.reason}"
                    self.verdict.findings.append(Finding(step.line, allowance.path, detail))

    def _found(self, finding: Finding, allowances: list[Allowance]) -> None:
        for allowance in allowances:
            if _within(finding.path, allowance.path):
                self._used.add(id(allowance))
                self.verdict.allowed.append((finding, allowance))
                return
        self.verdict.findings.append(finding)


def _one_or_all(step: Step, replies: list[Any]) -> Any:
    """The reply to a single command by itself."""
    return replies[0] if isinstance(step.action, Call) and replies else replies


def _within(path: str, allowed: str) -> bool:
    return path == allowed or (path.startswith(allowed) and path[len(allowed)] in ".[")


def _line(event: Event, names: Normalizer) -> tuple[str, str]:
    """An event's subject, and the event as a line."""
    data = names.value(dict(event.data))
    subject = next((str(data[key]) for key in _SUBJECTS if key in data), "")
    return subject, f"{event.name} {json.dumps(data, sort_keys=True)}"


def _diff(ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> str:
    """Two lists of events, as a difference of lines that are indented."""
    mine, yours = ([line for _, line in lines] for lines in (ours, theirs))
    shown = list(difflib.unified_diff(yours, mine, "QEMU", "qmpd", lineterm=""))[2:]
    return "".join(f"\n    {line}" for line in shown)


def differences(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    """Where two JSON values differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in theirs:
                yield f"{path}.{key}", f"only qmpd: {_short(ours[key])}"
            elif key not in ours:
                yield f"{path}.{key}", f"only QEMU: {_short(theirs[key])}"
            else:
                yield from differences(f"{path}.{key}", ours[key], theirs[key])
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from differences(f"{path}[]", one, other)
    elif ours != theirs or type(ours) is not type(theirs):
        yield path, f"qmpd {_short(ours)}, QEMU {_short(theirs)}"


def _short(value: Any) -> str:
    return json.dumps(value)[:600]
