"""The text of `--drive` to what it asks for: the options of a drive on the one hand, those of its nodes on the other.

The text is flat; what it says about nodes has dotted keys (`file.driver=...`, `backing.file.filename=...`). Older names
of options are still understood. Only reads text, and never opens anything.
Source: the manual page of QEMU, "Block device options"; what `qemu-system-x86_64` 7.2 takes and refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qmpd.block.drive import ErrorPolicies, MediumDefaults
from qmpd.errors import GenericError
from qmpd.qapi.values import Values, pairs

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")

_OLDER_NAMES = {
    "readonly": "read-only",
    "group": "throttling.group",
    "iops_size": "throttling.iops-size",
    **{
        f"{kind}{end}{burst}": f"throttling.{kind}-{long}{burst.replace('_', '-')}"
        for kind in ("bps", "iops")
        for end, long in (("", "total"), ("_rd", "read"), ("_wr", "write"))
        for burst in ("", "_max", "_max_length")
    },
}

_LIMITS = {name for name in _OLDER_NAMES.values() if name.startswith("throttling.")} - {"throttling.group"}

_CACHE_MODES = {
    "none": (True, False, True),
    "off": (True, False, True),
    "writeback": (False, False, True),
    "writethrough": (False, False, False),
    "directsync": (True, False, False),
    "unsafe": (False, True, True),
}
"""direct, no-flush, writeback."""

_DISCARD = {"ignore": "ignore", "off": "ignore", "unmap": "unmap", "on": "unmap"}
_UNITS_PER_BUS = {"ide": 2, "scsi": 7}
_INTERFACES = ("none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen")
_WITH_POLICIES = ("none", "ide", "scsi", "virtio")
_LAST_PLACE = (1 << 31) - 1
_AIO = ("threads", "native", "io_uring")

PARAMETERS: Mapping[str, str] = {
    **dict.fromkeys(("file", "if", "id", "media", "format", "driver", "cache", "aio", "discard"), "string"),
    **dict.fromkeys(("detect-zeroes", "werror", "rerror", "throttling.group", "group"), "string"),
    **dict.fromkeys(("index", "bus", "unit", *sorted(_LIMITS)), "number"),
    **dict.fromkeys(("read-only", "readonly", "snapshot", "copy-on-read"), "boolean"),
    **dict.fromkeys(("cache.direct", "cache.no-flush", "cache.writeback"), "boolean"),
}
"""What is not about nodes, with the types of `CommandLineParameterType`."""

DEFAULT_INTERFACE = "ide"
"""That of a PC, which is what QEMU's users mean who do not say."""


@dataclass(frozen=True, slots=True)
class DriveRequest:
    """What is asked for.

    :ivar name: the drive's name, None for the one that its place gives it.
    :ivar interface: what it is plugged into, `none` for nothing.
    :ivar cdrom: the medium is a CD.
    :ivar place: bus and unit, None for the next free place.
    :ivar file: the file name, None where `tree` says it or the drive is empty.
    :ivar tree: options of the root node, nested, with strings at the leaves.
    :ivar aio: how its file is read and written, None for the usual way.
    :ivar throttling: limits under the names of the schema's `ThrottleLimits`.
    :ivar throttle_group: the group that it shares its limits with, None for its own.
    """

    name: str | None = None
    interface: str = "none"
    cdrom: bool = False
    place: tuple[int, int] | None = None
    file: str | None = None
    tree: dict[str, Any] = field(default_factory=dict)
    aio: str | None = None
    discard_unmap: bool = False
    defaults: MediumDefaults = field(default_factory=MediumDefaults)
    policies: ErrorPolicies = field(default_factory=ErrorPolicies)
    writeback: bool = True
    snapshot: bool = False
    copy_on_read: bool = False
    throttling: Mapping[str, int] = field(default_factory=dict)
    throttle_group: str | None = None

    @property
    def empty(self) -> bool:
        """No medium is asked for."""
        return not self.file and not self.tree

    def name_at(self, bus: int, unit: int) -> str:
        """The name of a drive that was given none."""
        kind = "-cd" if self.cdrom else "-hd"
        if self.interface in _UNITS_PER_BUS:
            return f"{self.interface}{bus}{kind}{unit}"
        return f"{self.interface}{'-cd' if self.cdrom else ''}{unit}"

    def place_after(self, number: int) -> tuple[int, int]:
        """Bus and unit of place `number`, counted from 0."""
        return divmod(number, _UNITS_PER_BUS[self.interface]) if self.interface in _UNITS_PER_BUS else (0, number)


def parse_drive(text: str) -> DriveRequest:
    """Read the text of `--drive`.

    :raises GenericError: it is wrong.
    """
    try:
        return _request(_modern(pairs(text, "file")))
    except ValueError as error:
        raise GenericError(str(error)) from error


def _modern(given: dict[str, str]) -> dict[str, str]:
    """The parameters under their present names."""
    for key in given:
        if _OLDER_NAMES.get(key) in given:
            raise ValueError(f"'{key}' and '{_OLDER_NAMES[key]}' are the same; give one of them")
    return {_OLDER_NAMES.get(key, key): value for key, value in given.items()}


def _request(given: dict[str, str]) -> DriveRequest:
    values = Values(given)
    name = values.maybe("id")
    if name is not None and not _WELL_FORMED.match(name):
        raise ValueError(f"parameter 'id' must be letters, digits, '-', '.' or '_' behind a letter, not '{name}'")
    interface = values.chosen("if", _INTERFACES, DEFAULT_INTERFACE)
    cdrom = values.chosen("media", ("disk", "cdrom"), "disk") == "cdrom"
    read_only = values.flag("read-only", cdrom)
    direct, no_flush, writeback = _cache(values)
    discard = _DISCARD[values.chosen("discard", tuple(_DISCARD), "ignore")]
    detect_zeroes = values.chosen("detect-zeroes", ("off", "on", "unmap"), "off")
    snapshot = values.flag("snapshot", False)
    return DriveRequest(
        name=name,
        interface=interface,
        cdrom=cdrom,
        place=_place(values, interface),
        file=values.maybe("file"),
        aio=values.chosen("aio", _AIO, "threads") if values.has("aio") else None,
        discard_unmap=discard == "unmap",
        defaults=MediumDefaults(read_only, direct, no_flush, detect_zeroes),
        policies=_policies(values, interface),
        writeback=writeback,
        snapshot=snapshot,
        copy_on_read=values.flag("copy-on-read", False) and not read_only,
        throttle_group=values.maybe("throttling.group"),
        throttling={
            key.removeprefix("throttling."): values.number(key, 0) for key in given if key in _LIMITS
        },
        tree=_node_tree(values, given),
    )


def _cache(values: Values) -> tuple[bool, bool, bool]:
    mode = values.maybe("cache")
    if mode is not None and mode not in _CACHE_MODES:
        raise ValueError(f"parameter 'cache' must be one of {', '.join(_CACHE_MODES)}, not '{mode}'")
    direct, no_flush, writeback = _CACHE_MODES[mode or "writeback"]
    return (
        values.flag("cache.direct", direct),
        values.flag("cache.no-flush", no_flush),
        values.flag("cache.writeback", writeback),
    )


def _policies(values: Values, interface: str) -> ErrorPolicies:
    for key in ("werror", "rerror"):
        if values.has(key) and interface not in _WITH_POLICIES:
            raise ValueError(f"parameter '{key}' does not go together with if={interface}")
    write = values.chosen("werror", ("report", "ignore", "enospc", "stop"), "enospc")
    return ErrorPolicies(values.chosen("rerror", ("report", "ignore", "stop"), "report"), write)


def _place(values: Values, interface: str) -> tuple[int, int] | None:
    """Bus and unit."""
    units = _UNITS_PER_BUS.get(interface)
    if values.has("index"):
        if values.has("bus") or values.has("unit"):
            raise ValueError("parameter 'index' says the same as 'bus' and 'unit'; give one or the others")
        index = values.number("index", 0, _LAST_PLACE)
        return divmod(index, units) if units else (0, index)
    if not values.has("bus") and not values.has("unit"):
        return None
    place = values.number("bus", 0, _LAST_PLACE), values.number("unit", 0, _LAST_PLACE)
    if units and place[1] >= units:
        raise ValueError(f"parameter 'unit' must be below {units}, not {place[1]}")
    return place


def _node_tree(values: Values, given: Mapping[str, str]) -> dict[str, Any]:
    """What is left, which is about nodes."""
    from qmpd.qapi import keyval

    values.drop("boot", "locking")
    if values.has("driver") and values.has("format"):
        raise ValueError("'driver' and 'format' are the same; give one of them")
    left = {key: given[key] for key in values.unused()}
    if "format" in left:
        left["driver"] = left.pop("format")
    return keyval.nest(left)
