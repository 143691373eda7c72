"""What the command line says, as data: one class an option, and all of them in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qmpd.chardev.specs import ChardevSpec


class OptionError(Exception):
    """The command line is wrong; says where and what would have been right."""


@dataclass(frozen=True, slots=True)
class ChardevOption:
    """`--chardev`; `source` is the option as it was written, for messages (here and below)."""

    source: str
    chardev: ChardevSpec


@dataclass(frozen=True, slots=True)
class MonitorOption:
    """`--monitor`."""

    source: str
    chardev: str
    pretty: bool


@dataclass(frozen=True, slots=True)
class BlockdevOption:
    """`--blockdev`; `arguments` are those of blockdev-add."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DriveOption:
    """`--drive`; `text` is its value."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class DeviceOption:
    """`--device`; `arguments` are those of device_add."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectOption:
    """`--object`; `arguments` are those of object-add. `source` leaves out the properties: they may be secret."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NbdServerOption:
    """`--nbd-server`; `arguments` are those of nbd-server-start."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportOption:
    """`--export`; `arguments` are those of block-export-add."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StateOption:
    """`--state-dir`: what the last run had is made again at its place among the options."""

    source: str
    path: str


Option = (
    ChardevOption
    | MonitorOption
    | ObjectOption
    | BlockdevOption
    | DriveOption
    | DeviceOption
    | NbdServerOption
    | ExportOption
    | StateOption
)


@dataclass(frozen=True, slots=True)
class Options:
    """All of the command line.

    :param steps: what is to be built, in order.
    :param daemonize: go to the background when everything is up.
    :param pidfile: where the process id is written, or None.
    :param state: the state directory, or None.
    :param catalog: the URL of the catalog, None for one in the state directory.
    :param replica: the URL of a standby of it, or None.
    :param answer: text to print, after all steps, instead of running (`--help`, `--version`), or None.
    """

    steps: tuple[Option, ...] = ()
    daemonize: bool = False
    pidfile: str | None = None
    state: StateOption | None = None
    catalog: str | None = None
    replica: str | None = None
    answer: str | None = None
