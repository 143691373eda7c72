"""What a qemu-io command is: what it takes, what it says of itself, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from qmpd.hmp.qemu_io.report import transfer, transfer_for_machines
from qmpd.hmp.qemu_io.requests import Requests
from qmpd.hmp.qemu_io.target import Target
from qmpd.hmp.qemu_io.words import Words


@dataclass(slots=True)
class Io:
    """One command under way.

    :ivar target: the disk that it is for.
    :ivar requests: where what it leaves in the background is kept.
    :ivar said: what it has printed so far.
    """

    target: Target
    requests: Requests
    said: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print a line."""
        self.said.append(f"{line}\n")

    def say_transfer(self, verb: str, words: Words, offset: int, length: int, seconds: float) -> None:
        """Print the result of a transfer, in the way that the options `-q` and `-C` ask for."""
        if not words.has("q"):
            self.said.append(transfer_text(verb, words, offset, length, seconds))


def transfer_text(verb: str, words: Words, offset: int, length: int, seconds: float) -> str:
    """The result of a transfer, for machines if `-C` asks for that."""
    if words.has("C"):
        return transfer_for_machines(length, seconds)
    return transfer(verb, offset, length, seconds)


@dataclass(frozen=True, slots=True)
class IoCommand:
    """An entry of the table.

    :ivar arguments: what it takes, as usage lines show it.
    :ivar summary: what it does, in a few words.
    :ivar letters: its options, as `words.read_options` wants them.
    :ivar least: how many words it takes at least, options included.
    :ivar most: how many it takes at most, None for any number.
    :ivar detail: what `help` tells besides; lines without indentation.
    """

    name: str
    arguments: str
    summary: str
    run: Callable[[Io, Words], Awaitable[None]]
    letters: str = ""
    least: int = 0
    most: int | None = 0
    alias: str | None = None
    detail: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The line that tells how it is called."""
        return f"{self.name} {self.arguments} -- {self.summary}"

    def objection_to(self, count: int) -> str | None:
        """What is wrong with that many words, None if nothing is."""
        if count >= self.least and (self.most is None or count <= self.most):
            return None
        if self.most is None:
            wanted = f"at least {self.least}"
        elif self.most == self.least:
            wanted = f"{self.least}" if self.least else "none"
        else:
            wanted = f"from {self.least} to {self.most}"
        return f"bad argument count {count} to {self.name}, it takes {wanted}"
