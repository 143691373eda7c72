"""The words of the command line to `Options`.

`words` finds the options in it. A new option that builds something
is a class in `model`, a line in `_readers` here, a case of `Daemon.apply`, and its line in `usage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from qmpd.options.chardevs import QmpReader, chardev_help, read_chardev, read_monitor
from qmpd.options.commands import (
    asks_for_help,
    device_help,
    object_help,
    read_blockdev,
    read_device,
    read_export,
    read_nbd_server,
    read_object,
)
from qmpd.options.model import DriveOption, Option, OptionError, Options, StateOption
from qmpd.options.trace import read_trace
from qmpd.options.usage import USAGE
from qmpd.options.words import STRAY, split

T = TypeVar("T")

Reader = Callable[[str], Option | list[Option]]
"""Reads an option's value; raises `ValueError`."""

_HELP = {"chardev": chardev_help, "device": device_help, "object": object_help}
_CATALOG = ("catalog", "catalog-replica")
_SETTINGS = ("pidfile", "trace", *_CATALOG)


def parse_options(words: Sequence[str], version: str) -> Options:
    """Read the words behind the program's name.

    As in QEMU, they are gone through twice: first for what concerns the process as a whole, then for what is to be
    built. So `--help` is answered whatever else is wrong, unless an option in front of it does not exist.

    :param version: what `--version` prints.
    :raises OptionError: with the message for the user.
    """
    readers = _readers()
    given: list[tuple[str, str]] = []
    daemonize = False
    pidfile: str | None = None
    catalog: dict[str, str] = {}
    for name, value in split(words, (*readers, *_SETTINGS)):
        answer = _answer(name, value, version)
        if answer is not None:
            return Options(answer=answer)
        if name == "daemonize":
            daemonize = True
        elif name == "pidfile":
            pidfile = value
        elif name in _CATALOG:
            catalog[name] = value
        elif name == "trace":
            _located(name, value, read_trace)
        else:
            given.append((name, value))
    steps, answer = _read_steps(given, readers)
    return Options(
        steps=tuple(steps),
        daemonize=daemonize,
        pidfile=pidfile,
        state=_state_of(steps, catalog),
        catalog=catalog.get("catalog"),
        replica=catalog.get("catalog-replica"),
        answer=answer,
    )


def _state_of(steps: Sequence[Option], catalog: Mapping[str, str]) -> StateOption | None:
    """The state directory; there may be one, and the catalog needs it."""
    found = [step for step in steps if isinstance(step, StateOption)]
    if len(found) > 1:
        raise OptionError(f"{found[1].source}: there can be only one state directory")
    if catalog and not found:
        raise OptionError(f"--{next(iter(catalog))}: needs --state-dir, which says whose entries are this daemon's")
    if "catalog-replica" in catalog and "catalog" not in catalog:
        raise OptionError("--catalog-replica: needs --catalog, of which it is a standby")
    return found[0] if found else None


def _answer(name: str, value: str, version: str) -> str | None:
    """What is printed instead of anything else, if that is asked for."""
    if name == "help":
        return USAGE
    if name == "version":
        return f"qmpd version {version}\n"
    if name == "trace" and asks_for_help(value):
        return "qmpd has no trace events; 'trace' is accepted and changes nothing.\n"
    return None


def _read_steps(given: list[tuple[str, str]], readers: Mapping[str, Reader]) -> tuple[list[Option], str | None]:
    """What is to be built, up to the first option that asks for help, and the answer to that."""
    steps: list[Option] = []
    for name, value in given:
        if name == STRAY:
            raise OptionError(f"{value}: unexpected argument; options begin with '--'")
        if name in _HELP and asks_for_help(value):
            return steps, _HELP[name](value)
        read = _located(name, value, readers[name])
        steps += read if isinstance(read, list) else [read]
    return steps, None


def option_names() -> list[str]:
    """All options that take a value."""
    return [*_readers(), *_SETTINGS]


def _readers() -> Mapping[str, Reader]:
    """The options that build something, in the words of the command line."""
    return {
        "chardev": read_chardev,
        "monitor": read_monitor,
        "qmp": QmpReader(),
        "object": read_object,
        "blockdev": read_blockdev,
        "device": read_device,
        "drive": lambda text: DriveOption(f"--drive {text}", text),
        "nbd-server": read_nbd_server,
        "export": read_export,
        "state-dir": lambda text: StateOption(f"--state-dir {text}", text),
    }


def _located(name: str, value: str, read: Callable[[str], T]) -> T:
    """`read(value)`, with the option named in whatever goes wrong."""
    try:
        return read(value)
    except ValueError as error:
        if name == "object":  # its properties may be secret
            raise OptionError(f"--object: {error}") from error
        raise OptionError(f"--{name} {value}: {error}") from error
