r"""Transcripts: text that says what a client does, one step a line.

A file holds any number of transcripts. A line that is indented goes on where the one before ended.

    == name: what it is about
    peer qemu                      play it against a QEMU without a machine; qemu-storage-daemon otherwise
    options --drive if=none,id=d   start servers of its own for it, with these options
    by-subject                     events about different jobs or nodes may come in any order
    no-negotiation                 leave the session as it is after the greeting
    # a comment
    $ qemu-img create disk.img 1M  run a program in the server's directory; it has to succeed
    > block_resize {"size": 5}     run a command that has to succeed ({} may be left out)
    ! block_resize {"size": 5}     run a command that has to fail
    + query-jobs                   as `>`, but consecutive ones are sent in one piece, before their replies are read
    raw 1 {'execute':'quit'}       send these bytes (with escapes as in \xff), and read one reply; 0 for none
    event BLOCK_JOB_READY {}       wait for an event with these members (they may be left out)
    wait j1 ready                  wait until a job is in one of these states
    session b                      go on in another session, which is made if it is not there yet; the first is `a`
    hangup                         wait until the server closes the session

A program that stays in the background leaves its process id in a file `*.pid`, and is ended with the transcript.
`DIR/` in the arguments of a command stands for the server's directory, in which `$` runs its programs as well.

What is meant to differ is said behind the step that it is about:

    ~ reply.return[].x: reason     this part of the reply differs; `reply` for all of it
    ~ events: reason               the events differ; `died`: the peer does not survive this step
    ? reply.return: reason         this part may differ, by chance

A `~` without a difference is a mistake. The sign before a command (`>` or `!`) speaks of qmpd; with `~ reply` the
peer may do the opposite.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class TranscriptError(Exception):
    """The text of a transcript makes no sense."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A difference that is meant.

    :param path: of the part that differs, as in `compare`.
    :param certain: it always differs; otherwise by chance.
    """

    path: str
    reason: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A command; `fails` says what it has to do, None that it may do either."""

    name: str
    arguments: dict[str, Any]
    fails: bool | None = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that are sent in one piece."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes to send, and how many replies they bring."""

    data: bytes
    replies: int


@dataclass(frozen=True, slots=True)
class AwaitEvent:
    """An event to wait for, with some of its members."""

    name: str
    members: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AwaitJob:
    """A job to wait for."""

    job: str
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program to run."""

    command: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Go on in another session."""

    session: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """The server closes the session."""


Action = Call | Batch | Raw | AwaitEvent | AwaitJob | Tool | Switch | Hangup


@dataclass(slots=True)
class Step:
    """An action, the line of the file at which it stands, and what may differ in its outcome."""

    action: Action
    line: int
    allowances: list[Allowance] = field(default_factory=list)


@dataclass(slots=True)
class Transcript:
    """What one transcript says; `negotiate` and the others are its settings."""

    name: str
    about: str
    file: str
    steps: list[Step] = field(default_factory=list)
    peer: str = "qsd"
    by_subject: bool = False
    negotiate: bool = True
    options: tuple[str, ...] = ()


def read_file(path: Path) -> list[Transcript]:
    """All transcripts of a file; raises TranscriptError with the line."""
    found: list[Transcript] = []
    for number, line in _whole_lines(path.read_text(encoding="utf-8")):
        try:
            if line.startswith("== "):
                name, _, about = line.removeprefix("== ").partition(":")
                found.append(Transcript(f"{path.stem}:{name.strip()}", about.strip(), path.name))
            else:
                _take(found[-1], line, number)
        except (ValueError, IndexError) as error:
            raise TranscriptError(f"{path}:{number}: {line}: {error}") from error
    return found


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with what is indented below them, without comments, and their numbers."""
    whole, start = "", 0
    for number, line in enumerate([*text.splitlines(), "#"], 1):
        if line.startswith((" ", "\t")):
            whole += " " + line.strip()
            continue
        if whole:
            yield start, whole
        whole, start = ("" if line.startswith("#") else line.rstrip()), number


def _take(transcript: Transcript, line: str, number: int) -> None:
    """One line of a transcript."""
    word, _, rest = line.partition(" ")
    match word:
        case "peer":
            transcript.peer = rest
        case "options":
            transcript.options = tuple(shlex.split(rest))
        case "by-subject":
            transcript.by_subject = True
        case "no-negotiation":
            transcript.negotiate = False
        case "~" | "?":
            path, _, reason = rest.partition(": ")
            if not reason:
                raise ValueError("a difference needs a reason")
            transcript.steps[-1].allowances.append(Allowance(path, reason, word == "~"))
        case "+" if transcript.steps and isinstance(batch := transcript.steps[-1].action, Batch):
            transcript.steps[-1].action = Batch((*batch.calls, _call(rest)))
        case _:
            transcript.steps.append(Step(_action(word, rest), number))


def _action(word: str, rest: str) -> Action:
    match word:
        case ">" | "!":
            return _call(rest, fails=word == "!")
        case "+":
            return Batch((_call(rest),))
        case "raw":
            replies, _, text = rest.partition(" ")
            return Raw(text.encode().decode("unicode_escape").encode("latin-1"), int(replies))
        case "event":
            name, members = _named_object(rest)
            return AwaitEvent(name, members)
        case "wait":
            job, *statuses = rest.split()
            return AwaitJob(job, tuple(statuses))
        case "$":
            return Tool(rest)
        case "session":
            return Switch(rest)
        case "hangup":
            return Hangup()
    raise ValueError("no such step")


def _call(text: str, *, fails: bool = False) -> Call:
    name, arguments = _named_object(text)
    return Call(name, arguments, fails)


def _named_object(text: str) -> tuple[str, dict[str, Any]]:
    name, _, members = text.partition(" ")
    return name, json.loads(members) if members.strip() else {}
