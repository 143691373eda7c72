"""Drives, devices, character devices and objects: made, changed and removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.disks import DEVICE
from qmpd.hmp.line import Arguments, Kind, Parameter

if TYPE_CHECKING:
    from qmpd.block.drive import Drive

_SHOWN = 200
_LIMITS = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")


async def drive_add(human: Human, arguments: Arguments) -> None:
    """Make a drive that no device has yet, or a node."""
    from qmpd.block.drive_options import parse_drive
    from qmpd.block.drives import add_drive
    from qmpd.qapi.values import pairs

    text = arguments.text("options")
    if arguments.flag("node"):
        await human.execute("blockdev-add", _read(text, "BlockdevOptions", "driver"))
        return
    request = parse_drive(text if "if" in pairs(text, "file") else f"{text},if=none")
    if request.interface != "none":
        raise GenericError(f"A drive with if={request.interface} cannot be added later; if=none can, for a device")
    async with human.graph.exclusive():
        await add_drive(human.graph, request)
    human.say("OK")


async def drive_del(human: Human, arguments: Arguments) -> None:
    """Take a drive away, with its medium; or a node."""
    name = arguments.text("device")
    if name not in human.graph.backends:
        await human.execute("blockdev-del", {"node-name": name})
        return
    async with human.graph.exclusive():
        drive = human.graph.backends.get(name)
        if drive is None:  # somebody else was faster
            raise DeviceNotFound(f"There is no drive '{name}'")
        _check_free(drive)
        medium = drive.medium
        async with human.graph.drained([] if medium is None else [medium]):
            human.graph.remove_drive(drive)


def _check_free(drive: Drive) -> None:
    from qmpd.block.blockers import BlockOp

    if drive.frontend is not None:
        raise GenericError(f"Drive '{drive.name}' is in use by device '{drive.frontend.qdev}'; remove that first")
    if drive.medium is not None:
        drive.medium.blockers.check(BlockOp.DELETE)


async def eject(human: Human, arguments: Arguments) -> None:
    """Take the medium out."""
    await human.execute("eject", {**_either(human, arguments), "force": arguments.flag("force")})


async def change(human: Human, arguments: Arguments) -> None:
    """Put another medium in."""
    medium: dict[str, Any] = {**_either(human, arguments), "filename": arguments.text("filename")}
    if arguments.flag("force"):
        medium["force"] = True
    for name in ("format", "read-only-mode"):
        value = arguments.maybe(name)
        if value is not None:
            medium[name] = value
    await human.execute("blockdev-change-medium", medium)


async def set_io_throttle(human: Human, arguments: Arguments) -> None:
    """Limit the speed of a drive."""
    limits = {name: arguments.number(name) for name in _LIMITS}
    await human.execute("block_set_io_throttle", {**_either(human, arguments), **limits})


def _either(human: Human, arguments: Arguments) -> dict[str, Any]:
    """A drive by its name, or else the device that has it by its id."""
    name = arguments.text("device")
    return {"device": name} if name in human.graph.backends else {"id": name}


async def object_add(human: Human, arguments: Arguments) -> None:
    """Make an object."""
    await human.execute("object-add", _read(arguments.text("object"), "ObjectOptions", "qom-type"))


async def object_del(human: Human, arguments: Arguments) -> None:
    """Remove an object."""
    await human.execute("object-del", {"id": arguments.text("id")})


async def device_add(human: Human, arguments: Arguments) -> None:
    """Make a device."""
    from qmpd.qapi.values import pairs

    await human.execute("device_add", dict(pairs(arguments.text("device"), "driver")))


async def device_del(human: Human, arguments: Arguments) -> None:
    """Remove a device."""
    await human.execute("device_del", {"id": arguments.text("id")})


async def chardev_remove(human: Human, arguments: Arguments) -> None:
    """Remove a character device."""
    await human.execute("chardev-remove", {"id": arguments.text("id")})


async def chardev_send_break(human: Human, arguments: Arguments) -> None:
    """Send a break by a character device."""
    await human.execute("chardev-send-break", {"id": arguments.text("id")})


async def qom_list(human: Human, arguments: Arguments) -> None:
    """Tell the properties of an object, or where objects are."""
    path = arguments.maybe("path")
    if path is None:
        human.say("/")
        return
    for found in await human.execute("qom-list", {"path": path}):
        human.say(f"{found['name']} ({found['type']})")


async def qom_get(human: Human, arguments: Arguments) -> None:
    """Tell a property of an object, as JSON."""
    value = await human.execute("qom-get", {"path": arguments.text("path"), "property": arguments.text("property")})
    human.say(json.dumps(value, indent=4))


async def qom_set(human: Human, arguments: Arguments) -> None:
    """Change a property of an object."""
    text = arguments.text("value")
    value: Any = text
    if arguments.flag("json"):
        try:
            value = orjson.loads(text)
        except ValueError:
            raise GenericError(f"'{text[:_SHOWN]}' is no JSON") from None
    where = {"path": arguments.text("path"), "property": arguments.text("property")}
    await human.execute("qom-set", {**where, "value": value})


def _read(text: str, type_name: str, implied_key: str) -> dict[str, Any]:
    """Options in key=value text, as the schema's types.

    :raises GenericError: they cannot be read.
    """
    from qmpd.api.keyval_types import TYPES
    from qmpd.qapi import keyval

    try:
        tree: Any = keyval.convert(keyval.parse(text, implied_key), type_name, TYPES)
    except keyval.KeyvalError as error:
        raise GenericError(str(error)) from None
    return dict(tree)


_ID = Parameter("id", Kind.TEXT)
_PATH = Parameter("path", Kind.TEXT)
_PROPERTY = Parameter("property", Kind.TEXT)

THINGS = (
    HumanCommand(
        ("drive_add",),
        "[-n] slot options",
        "makes a drive that a device may get (-n: a node); the slot means nothing",
        drive_add,
        (Parameter("node", Kind.FLAG, letter="n"), Parameter("slot", Kind.TEXT), Parameter("options", Kind.TEXT)),
    ),
    HumanCommand(("drive_del",), "device", "takes a drive or a node away", drive_del, (DEVICE,)),
    HumanCommand(
        ("eject",),
        "[-f] device",
        "takes the medium out of a drive (-f: also if the guest holds it)",
        eject,
        (Parameter("force", Kind.FLAG, letter="f"), DEVICE),
    ),
    HumanCommand(
        ("change",),
        "device [-f] filename [format [read-only-mode]]",
        "puts another medium into a drive (-f: also if the guest holds the old one)",
        change,
        (
            DEVICE,
            Parameter("force", Kind.FLAG, letter="f"),
            Parameter("filename", Kind.FILE),
            Parameter("format", Kind.TEXT, optional=True),
            Parameter("read-only-mode", Kind.TEXT, optional=True),
        ),
    ),
    HumanCommand(
        ("block_set_io_throttle",),
        f"device {' '.join(_LIMITS)}",
        "limits the speed of a drive (0: no limit)",
        set_io_throttle,
        (DEVICE, *(Parameter(name, Kind.NUMBER) for name in _LIMITS)),
    ),
    HumanCommand(
        ("object_add",),
        "[qom-type=]type,id=str[,prop=value][,...]",
        "makes an object",
        object_add,
        (Parameter("object", Kind.REST),),
    ),
    HumanCommand(("object_del",), "id", "removes an object", object_del, (_ID,)),
    HumanCommand(
        ("device_add",),
        "driver[,prop=value][,...]",
        "makes a device",
        device_add,
        (Parameter("device", Kind.REST),),
    ),
    HumanCommand(("device_del",), "id", "removes a device", device_del, (_ID,)),
    HumanCommand(("chardev-remove",), "id", "removes a character device", chardev_remove, (_ID,)),
    HumanCommand(("chardev-send-break",), "id", "sends a break by a character device", chardev_send_break, (_ID,)),
    HumanCommand(
        ("qom-list",),
        "path",
        "tells the properties of an object",
        qom_list,
        (Parameter("path", Kind.TEXT, optional=True),),
    ),
    HumanCommand(("qom-get",), "path property", "tells a property of an object", qom_get, (_PATH, _PROPERTY)),
    HumanCommand(
        ("qom-set",),
        "[-j] path property value",
        "changes a property of an object (-j: the value is JSON)",
        qom_set,
        (Parameter("json", Kind.FLAG, letter="j"), _PATH, _PROPERTY, Parameter("value", Kind.REST)),
    ),
)
