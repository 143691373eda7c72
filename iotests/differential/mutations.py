"""Transcripts made from transcripts: before each command come versions of it with one mistake in each.

A mistake is a member that no type knows, or a value of a kind that none takes there. Both servers have to refuse each
of them with the same class, and then carry out the right command as if nothing had been. An object without members is
not among the mistakes: QEMU refuses it in some places where all of its members are optional, and qmpd in none.
"""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

from iotests.differential.transcript import Call, Step, Transcript

_STRANGERS: tuple[Any, ...] = (None, [], 1.5, "no such word", {"x-nope": 1}, [[]])


def with_mistakes(transcript: Transcript, generator: random.Random, each: int) -> Transcript:
    """The transcript with up to `each` mistakes before every command of its first session."""
    steps: list[Step] = []
    for step in transcript.steps:
        if isinstance(step.action, Call):
            wrong = list(_wrong(step.action.arguments))
            chosen = generator.sample(wrong, min(each, len(wrong)))
            steps += [Step(Call(step.action.name, arguments, fails=True), step.line) for arguments in chosen]
        steps.append(step)
    return dataclasses.replace(transcript, name=f"{transcript.name}+mistakes", steps=steps)


def _wrong(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All arguments with one mistake."""
    for path in _places(arguments):
        value = _at(arguments, path)
        if isinstance(value, dict):
            yield _replaced(arguments, path, {**value, "x-nope": 1})
        for stranger in _STRANGERS if path else ():
            if not _of_a_kind(value, stranger):
                yield _replaced(arguments, path, stranger)


def _of_a_kind(value: Any, stranger: Any) -> bool:
    """Whether the stranger could be right where the value stands: names and definitions of nodes, numbers, words."""
    if isinstance(value, str | dict):
        return isinstance(stranger, str) or stranger is None
    return type(value) is type(stranger) or (isinstance(value, int) and isinstance(stranger, float))


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all values inside a value, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return new
    if isinstance(value, dict):
        return {key: _replaced(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [_replaced(item, path[1:], new) if number == path[0] else item for number, item in enumerate(value)]
