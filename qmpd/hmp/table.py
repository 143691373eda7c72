"""All commands of the monitor for people, and carrying out a line."""

from __future__ import annotations

from qmpd.errors import QMPError
from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.disks import DISKS
from qmpd.hmp.exports import EXPORTS
from qmpd.hmp.guests import GUESTS
from qmpd.hmp.info import INFO
from qmpd.hmp.jobs import JOBS
from qmpd.hmp.line import LONGEST, Arguments, Kind, LineError, Parameter, read_arguments
from qmpd.hmp.things import THINGS
from qmpd.qapi.keyval import KeyvalError


async def run(human: Human, line: str) -> str:
    """Carry out a line; gives the answer, whose lines end as on a terminal.

    A line that cannot be carried out has an answer that says so; nothing is raised.
    """
    try:
        if len(line) > LONGEST:
            raise LineError(f"the line has {len(line)} characters; it may have {LONGEST} at most")
        await _run(human, line, COMMANDS)
    except LineError as error:
        human.say(str(error))
    except QMPError as error:
        human.say(f"Error: {error.desc}")
    except KeyvalError as error:
        human.say(f"Error: {error}")
    return "".join(human.said).replace("\n", "\r\n")


async def _run(human: Human, line: str, table: tuple[HumanCommand, ...], prefix: str = "") -> None:
    """Carry out a line whose first word is the name of a command in `table`.

    :param prefix: what stands before that word, in messages.
    """
    words = line.split(maxsplit=1)
    if not words:
        return
    name = words[0]
    command = _find(table, name)
    if command is None:
        raise _unknown(prefix + name)
    try:
        arguments = read_arguments(command.names[0], command.parameters, line, line.index(name) + len(name))
    except LineError as error:
        raise LineError(f'{error}\nTry "help {prefix}{name}" for more information') from None
    await command.run(human, arguments)


def _find(table: tuple[HumanCommand, ...], name: str) -> HumanCommand | None:
    return next((command for command in table if name in command.names), None)


def _unknown(name: str) -> LineError:
    return LineError(f"unknown command: '{name}'")


async def help_(human: Human, arguments: Arguments) -> None:
    """Tell of all commands, or of one."""
    words = (arguments.maybe("name") or "").split()
    table, prefix = COMMANDS, ""
    if words and words[0] == "info":
        table, prefix = INFO, "info "
        words.pop(0)
    if not words:
        for command in sorted(table, key=lambda command: command.names):
            human.say(prefix + command.usage)
        return
    found = _find(table, words[0])
    if found is None:
        raise _unknown(prefix + words[0])
    human.say(prefix + found.usage)


async def info(human: Human, arguments: Arguments) -> None:
    """Answer a question; without one, tell what could be asked."""
    question = arguments.maybe("subcommand")
    if question is None:
        await help_(human, Arguments({"name": "info"}, set()))
        return
    await _run(human, question, INFO, "info ")


COMMANDS: tuple[HumanCommand, ...] = (
    *DISKS,
    *EXPORTS,
    *GUESTS,
    *JOBS,
    *THINGS,
    HumanCommand(
        ("help", "?"),
        "[cmd]",
        "tells of all commands, or of one",
        help_,
        (Parameter("name", Kind.REST, optional=True),),
    ),
    HumanCommand(
        ("info",),
        "[subcommand]",
        "tells of the daemon and its disks",
        info,
        (Parameter("subcommand", Kind.REST, optional=True),),
    ),
)
