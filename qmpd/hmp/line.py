"""Reading a line of the monitor for people. Sans-I/O.

A line is a command's name and its arguments, separated by blanks. A word in double quotes may have blanks in it, and,
after a backslash, `n`, `r` and quotation marks. Flags (`-n`) are single letters and come before what they are about.
What a command takes is said by its parameters, and decides how words are read. (QEMU, monitor_parse_arguments.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from qmpd.qapi.keyval import parse_size

LONGEST = 64 * 1024
"""Characters that a line may have: it is read in one turn of the event loop, and nobody types more."""

_LONGEST_NUMBER = 100
_WORD = re.compile(r"\s*(\S+)")
_SPECIAL = re.compile(r'["\\]')
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class LineError(Exception):
    """The line cannot be read; the message is for whoever sent it."""


class Kind(StrEnum):
    """How an argument is read; the value is what it is called when it is missing."""

    FLAG = "flag"
    DEVICE = "the name of a device or node"
    TEXT = "a word"
    FILE = "a file name"
    REST = "text"  # all that there is up to the end of the line
    SIZE = "a size"  # in MiB if it has no suffix
    NUMBER = "a number"


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a command.

    :ivar letter: of a flag.
    """

    name: str
    kind: Kind
    optional: bool = False
    letter: str = ""


class Arguments:
    """The arguments that a line has for its command."""

    def __init__(self, values: dict[str, str | int], flags: set[str]) -> None:
        self._values = values
        self._flags = flags

    def flag(self, name: str) -> bool:
        """Whether the flag of that name is given."""
        return name in self._flags

    def text(self, name: str) -> str:
        """The argument of that name, which the command must have."""
        return str(self._values[name])

    def maybe(self, name: str) -> str | None:
        """The argument of that name, None if it is not given."""
        value = self._values.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> int:
        """The number or size of that name, which the command must have."""
        return int(self._values[name])

    def maybe_number(self, name: str) -> int | None:
        """The number or size of that name, None if it is not given."""
        value = self._values.get(name)
        return None if value is None else int(value)


class Word(NamedTuple):
    """A word of a line.

    :ivar start: where in the line it begins.
    """

    text: str
    quoted: bool
    start: int


def split(line: str) -> list[Word]:
    """The words of a line.

    :raises LineError: quotation marks or escapes that are no good.
    """
    words: list[Word] = []
    position = 0
    while (found := _next_word(line, position)) is not None:
        word, position = found
        words.append(word)
    return words


def _next_word(line: str, position: int) -> tuple[Word, int] | None:
    """The first word from `position` on, and where it ends; None at the end of the line."""
    match = _WORD.match(line, position)
    if match is None:
        return None
    start = match.start(1)
    if line[start] == '"':
        text, position = _quoted(line, start + 1)
        return Word(text, True, start), position
    return Word(match[1], False, start), match.end()


def _quoted(line: str, position: int) -> tuple[str, int]:
    """What stands between a quotation mark just before `position` and the next one; and where that ends."""
    text: list[str] = []
    while (match := _SPECIAL.search(line, position)) is not None:
        end = match.start()
        text.append(line[position:end])
        if line[end] == '"':
            return "".join(text), end + 1
        escape = line[end + 1 : end + 2]
        if escape not in _ESCAPES:
            raise LineError(f"'\\{escape}' in quotation marks means nothing; \\n, \\r, \\\\, \\' and \\\" do")
        text.append(_ESCAPES[escape])
        position = end + 2
    raise LineError("a quotation mark at the end of a word is missing")


def read_arguments(name: str, parameters: Sequence[Parameter], line: str, start: int) -> Arguments:
    """The arguments that follow a command's name.

    :param start: where they begin in the line.
    :raises LineError: they are not what the command takes.
    """
    reader = _Reader(name, parameters, line, start)
    reader.read()
    return Arguments(reader.values, reader.flags)


class _Reader:
    def __init__(self, name: str, parameters: Sequence[Parameter], line: str, start: int) -> None:
        self.values: dict[str, str | int] = {}
        self.flags: set[str] = set()
        self._name = name
        self._line = line
        self._start = start
        self._letters = {one.letter: one.name for one in parameters if one.kind is Kind.FLAG}
        self._positional = [one for one in parameters if one.kind is not Kind.FLAG]

    def read(self) -> None:
        waiting = list(self._positional)
        position = self._start
        while not (waiting and waiting[0].kind is Kind.REST):
            found = _next_word(self._line, position)
            if found is None:
                break
            word, position = found
            if self._is_flag(word, first=len(waiting) == len(self._positional)):
                continue
            if not waiting:
                raise LineError(f"{self._name}: '{word.text}' is more than it takes")
            parameter = waiting.pop(0)
            self.values[parameter.name] = self._converted(parameter, word.text)
        if waiting and waiting[0].kind is Kind.REST and (rest := self._line[position:].strip()):
            self.values[waiting.pop(0).name] = rest
        for parameter in waiting:
            if not parameter.optional:
                raise LineError(f"{self._name}: {parameter.kind} is missing ({parameter.name})")

    def _is_flag(self, word: Word, first: bool) -> bool:
        """Take the word if it is a flag. Where no other word has come yet, one that looks like a flag has to be one."""
        if word.quoted or not word.text.startswith("-"):
            return False
        flag = self._letters.get(word.text[1:])
        if flag is not None:
            self.flags.add(flag)
            return True
        if first and self._letters:
            raise LineError(f"{self._name}: there is no option {word.text}")
        return False

    def _converted(self, parameter: Parameter, text: str) -> str | int:
        try:
            if parameter.kind is Kind.SIZE:
                return _size_in_mib(text)
            if parameter.kind is Kind.NUMBER:
                return _number(text)
        except ValueError:
            raise LineError(f"{self._name}: '{text}' is not {parameter.kind} ({parameter.name})") from None
        return text


def _number(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:  # Python refuses to show what has thousands of digits
        raise ValueError(text)
    return int(text, 0)


def _size_in_mib(text: str) -> int:
    """A size that is in MiB unless it says otherwise."""
    return parse_size(text if text[-1:].isalpha() else f"{text}M")
