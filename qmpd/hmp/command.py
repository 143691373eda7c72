"""What a command of the monitor for people is, and what it may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.hmp.line import Arguments, Parameter

if TYPE_CHECKING:
    from qmpd.block.drive import Drive
    from qmpd.block.graph import BlockGraph
    from qmpd.hmp.qemu_io.requests import Requests

Execute = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Carries out a QMP command: its name and arguments, dashes as in the schema. Gives what JSON holds of its result."""


class Human:
    """One line being carried out.

    :ivar execute: how a QMP command is carried out on behalf of the line.
    :ivar drive_of: the drive of a device, by the device's id or path; None if there is no such device.
    :ivar requests: those of qemu-io commands.
    :ivar said: what there is to answer so far; lines end with a line feed.
    """

    def __init__(
        self, graph: BlockGraph, execute: Execute, drive_of: Callable[[str], Drive | None], requests: Requests
    ) -> None:
        self.graph = graph
        self.execute = execute
        self.drive_of = drive_of
        self.requests = requests
        self.said: list[str] = []

    def say(self, line: str = "") -> None:
        """Answer a line."""
        self.said.append(f"{line}\n")


Run = Callable[[Human, Arguments], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HumanCommand:
    """An entry of the table.

    :ivar names: its name, and others that mean the same.
    :ivar takes: its arguments as help shows them.
    :ivar summary: what it does, in a few words.
    """

    names: tuple[str, ...]
    takes: str
    summary: str
    run: Run
    parameters: tuple[Parameter, ...] = ()

    @property
    def usage(self) -> str:
        """The line that tells how it is called."""
        return f"{'|'.join(self.names)} {self.takes} -- {self.summary}"
