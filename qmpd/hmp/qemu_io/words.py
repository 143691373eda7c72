"""Reading a qemu-io command: words, options, sizes, patterns. Sans-I/O.

Words are separated by single spaces, and there is no quoting, as in qemu-io. Options may stand between or after other
words; `--` ends them.
"""

from __future__ import annotations

import getopt
import re
from dataclasses import dataclass

from qmpd.qapi.keyval import parse_size

LONGEST = (1 << 31) - 512
"""Bytes of the longest request, as in QEMU."""

SECTOR = 512

_LONGEST_NUMBER = 64
_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class BadCommand(Exception):
    """The command cannot be carried out as it stands; the message is for whoever sent it."""


class BadUsage(BadCommand):
    """It has other words than the command takes: the message is followed by what it does take."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a command, options sorted out.

    :ivar options: by letter; empty for those without a value.
    :ivar operands: the others, in order.
    """

    options: dict[str, str]
    operands: list[str]

    def has(self, letter: str) -> bool:
        """Whether the option is given."""
        return letter in self.options


def split(text: str) -> list[str]:
    """The words of a command."""
    return [word for word in text.split(" ") if word]


def read_options(words: list[str], letters: str) -> Words:
    """Sort options from operands.

    :param letters: those of the options, with `:` after one that has a value.
    :raises BadUsage: an option that there is not, or one without its value.
    """
    try:
        found, operands = getopt.gnu_getopt(words, letters)
    except getopt.GetoptError as error:
        raise BadUsage(f"{error.msg}") from None
    return Words({name[1:]: value for name, value in found}, operands)


def read_size(text: str) -> int:
    """A number of bytes.

    :raises BadCommand: it is none, or beyond what fits 63 bits.
    """
    try:
        value = parse_size(text)
    except ValueError:
        raise BadCommand(f"'{text}' is no number of bytes; write it as 4096, 0x1000, 64k or 1.5G") from None
    if value >= 1 << 63:
        raise BadCommand(f"'{text}' is too large")
    return value


def read_length(text: str) -> int:
    """The length of a request.

    :raises BadCommand: it is no number of bytes, or more than a request may have.
    """
    value = read_size(text)
    if value > LONGEST:
        raise BadCommand(f"'{text}' is too long for one request; {LONGEST} is the most")
    return value


def read_lengths(texts: list[str]) -> list[int]:
    """The lengths of the parts of one request.

    :raises BadCommand: as `read_length`, also for all of them together.
    """
    lengths = [read_length(text) for text in texts]
    if sum(lengths) > LONGEST:
        raise BadCommand(f"{sum(lengths)} bytes are too many for one request; {LONGEST} is the most")
    return lengths


def read_integer(text: str) -> int:
    """A whole number: decimal, octal (`0...`) or hexadecimal (`0x...`).

    :raises BadCommand: it is none.
    """
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise BadCommand(f"'{text}' is no number")
    digits = text.lstrip("+-")
    octal = digits.startswith("0") and digits.isdigit()
    value = int(digits, 8 if octal else 0)
    return -value if text.startswith("-") else value


def read_pattern(text: str) -> int:
    """The value of a byte.

    :raises BadCommand: it is no number from 0 to 255.
    """
    try:
        value = read_integer(text)
    except BadCommand:
        value = -1
    if not 0 <= value <= 255:
        raise BadCommand(f"'{text}' is no valid pattern byte; it has to be a number from 0 to 255")
    return value


def check_sector(value: int, name: str) -> None:
    """Pass if `value` is a multiple of a sector.

    :raises BadCommand: it is not.
    """
    if value % SECTOR:
        raise BadCommand(f"{value} is not a sector-aligned value for '{name}': it has to be a multiple of {SECTOR}")
