"""All qemu-io commands, and carrying one out."""

from __future__ import annotations

from qmpd.errors import QMPError
from qmpd.hmp.qemu_io.background import BACKGROUND
from qmpd.hmp.qemu_io.breakpoints import BREAKPOINTS
from qmpd.hmp.qemu_io.changes import CHANGES
from qmpd.hmp.qemu_io.command import Io, IoCommand
from qmpd.hmp.qemu_io.inspection import INSPECTION
from qmpd.hmp.qemu_io.transfers import TRANSFERS
from qmpd.hmp.qemu_io.words import BadCommand, BadUsage, Words, read_options, split


async def run(io: Io, text: str) -> str:
    """Carry out the command `text`; gives all that there is to say, lines with a line feed.

    A command that fails says so; it raises nothing.
    """
    words = split(text)
    if not words:
        return ""
    try:
        await _run(io, words)
    except (BadCommand, QMPError) as error:
        io.say(str(error))
    return "".join([*io.requests.results(io.target.key), *io.said])


async def _run(io: Io, words: list[str]) -> None:
    command = _find(words[0])
    if command is None:
        raise BadCommand(f'command "{words[0]}" not found; "help" lists those that there are')
    wrong = command.objection_to(len(words) - 1)
    if wrong is not None:
        raise BadCommand(wrong)
    try:
        await command.run(io, _sorted_out(command, words[1:]))
    except BadUsage as error:
        raise BadCommand(f"{command.name}: {error}\n{command.usage}") from error


def _sorted_out(command: IoCommand, words: list[str]) -> Words:
    return read_options(words, command.letters) if command.letters else Words({}, words)


def _find(name: str) -> IoCommand | None:
    return next((command for command in COMMANDS if name in (command.name, command.alias)), None)


async def help_(io: Io, words: Words) -> None:
    """Tell of all commands, or of one."""
    if not words.operands:
        for command in COMMANDS:
            io.say(command.usage)
        io.say("\nUse 'help commandname' for extended help.")
        return
    found = _find(words.operands[0])
    if found is None:
        raise BadCommand(f"command {words.operands[0]} not found")
    io.say(found.usage)
    for line in found.detail:
        io.say(f" {line}")


async def _refuse(io: Io, words: Words) -> None:
    """Do not do to a daemon what only a program for tests would have done to itself."""
    raise BadCommand("this would end the daemon, and is not done")


COMMANDS = tuple(
    sorted(
        (
            *TRANSFERS,
            *BACKGROUND,
            *INSPECTION,
            *CHANGES,
            *BREAKPOINTS,
            IoCommand("abort", "", "is refused: it would end the daemon", _refuse),
            IoCommand("sigraise", "signal", "is refused: it would end the daemon", _refuse, least=1, most=1),
            IoCommand("help", "[command]", "tells of all commands, or of one", help_, most=1, alias="?"),
        ),
        key=lambda command: command.name,
    )
)
"""By name."""
