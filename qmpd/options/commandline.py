"""The words of the command line to `Options`.

Options begin with one dash or two; a value follows as the next word or behind `=`. A new option that builds something
is a class in `model`, a line in `_readers` here, a case of `Daemon.apply`, and its line in `usage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

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
from qmpd.options.usage import USAGE

Reader = Callable[[str], Option | list[Option]]
"""Reads an option's value; raises `ValueError`."""

_HELP = {"chardev": chardev_help, "device": device_help, "object": object_help}
_CATALOG = ("catalog", "catalog-replica")
_SETTINGS = ("pidfile", "trace", *_CATALOG)
_WITHOUT_VALUE = ("daemonize", "help", "version")
_SHORT = {"h": "help", "V": "version", "T": "trace"}


def parse_options(words: Sequence[str], version: str) -> Options:
    """Read the words behind the program's name.

    :param version: what `--version` prints.
    :raises OptionError: with the message for the user.
    """
    readers = _readers()
    steps: list[Option] = []
    daemonize = False
    pidfile: str | None = None
    catalog: dict[str, str] = {}
    for name, value in _split(words, (*readers, *_SETTINGS)):
        if name == "help":
            return Options(answer=USAGE)
        if name == "version":
            return Options(answer=f"qmpd version {version}\n")
        if name in _HELP and asks_for_help(value):
            return Options(answer=_HELP[name](value))
        if name == "daemonize":
            daemonize = True
        elif name == "pidfile":
            pidfile = value
        elif name in _CATALOG:
            catalog[name] = value
        elif name in readers:
            read = _located(name, value, readers[name])
            steps += read if isinstance(read, list) else [read]
    return Options(
        tuple(steps), daemonize, pidfile, _state_of(steps, catalog), *(catalog.get(name) for name in _CATALOG)
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


def _split(words: Sequence[str], with_value: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The options' full names and values."""
    rest = iter(words)
    known = with_value + _WITHOUT_VALUE
    for word in rest:
        if not word.startswith("-") or word in ("-", "--"):
            raise OptionError(f"{word}: unexpected argument; options begin with '--'")
        name, equals, value = word.lstrip("-").partition("=")
        name = _full_name(word, name, known)
        if name in _WITHOUT_VALUE:
            if equals:
                raise OptionError(f"--{name}: takes no value")
            yield name, ""
            continue
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise OptionError(f"--{name}: needs a value") from None
        yield name, value


def _full_name(word: str, name: str, known: tuple[str, ...]) -> str:
    """The option that `name` is, or is the beginning of."""
    if name in _SHORT and not word.startswith("--"):
        return _SHORT[name]
    if name in known:
        return name
    candidates = [candidate for candidate in known if name and candidate.startswith(name)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise OptionError(f"--{name}: is short for any of {', '.join(candidates)}")
    raise OptionError(f"{word}: unknown option; see 'qmpd --help'")


def _located(name: str, value: str, read: Reader) -> Option | list[Option]:
    """`read(value)`, with the option named in whatever goes wrong."""
    try:
        return read(value)
    except ValueError as error:
        if name == "object":  # its properties may be secret
            raise OptionError(f"--object: {error}") from error
        raise OptionError(f"--{name} {value}: {error}") from error
