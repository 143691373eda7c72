"""What may be done to a disk at once: qemu-io, its length, snapshots of it, copies of it."""

from __future__ import annotations

from typing import Any

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.line import Arguments, Kind, Parameter

DEVICE = Parameter("device", Kind.DEVICE)
_REUSE = Parameter("reuse", Kind.FLAG, letter="n")
_FULL = Parameter("full", Kind.FLAG, letter="f")
_FORMAT = Parameter("format", Kind.TEXT, optional=True)


async def qemu_io(human: Human, arguments: Arguments) -> None:
    """Carry out a command of qemu-io on a disk."""
    from qmpd.hmp.qemu_io import table
    from qmpd.hmp.qemu_io.command import Io
    from qmpd.hmp.qemu_io.target import Target

    name = arguments.text("device")
    if arguments.flag("qdev"):
        drive = human.drive_of(name)
        if drive is None:
            raise DeviceNotFound(f"There is no device '{name}' with a drive")
    else:
        drive = human.graph.backends.get(name)
        if drive is None:
            human.graph.lookup(name)
    io = Io(Target(human.graph, name, drive), human.requests)
    human.said.append(await human.requests.run(table.run(io, arguments.text("command"))))


async def block_resize(human: Human, arguments: Arguments) -> None:
    """Change the length of a disk."""
    name = arguments.text("device")
    disk = {"device": name} if name in human.graph.backends else {"node-name": name}
    await human.execute("block_resize", {**disk, "size": arguments.number("size")})


def _copy(arguments: Arguments) -> dict[str, Any]:
    """What drive_backup and drive_mirror have in common."""
    copy: dict[str, Any] = {
        "device": arguments.text("device"),
        "target": arguments.text("target"),
        "sync": "full" if arguments.flag("full") else "top",
        "mode": "existing" if arguments.flag("reuse") else "absolute-paths",
    }
    name = arguments.maybe("format")
    return copy if name is None else {**copy, "format": name}


async def drive_backup(human: Human, arguments: Arguments) -> None:
    """Begin to copy a disk as it is now."""
    await human.execute("drive-backup", {**_copy(arguments), "compress": arguments.flag("compress")})


async def drive_mirror(human: Human, arguments: Arguments) -> None:
    """Begin to mirror a disk."""
    await human.execute("drive-mirror", {**_copy(arguments), "unmap": True})


async def snapshot_blkdev(human: Human, arguments: Arguments) -> None:
    """Put an overlay on a disk."""
    file = arguments.maybe("snapshot-file")
    if file is None:
        raise GenericError("'snapshot-file' is missing: it is where the overlay is to be")
    mode = "existing" if arguments.flag("reuse") else "absolute-paths"
    name = arguments.text("device")
    disk = {"device": name} if name in human.graph.backends else {"node-name": name}
    snapshot = {"snapshot-file": file, "mode": mode, "format": arguments.maybe("format") or "qcow2"}
    await human.execute("blockdev-snapshot-sync", {**disk, **snapshot})


async def snapshot_internal(human: Human, arguments: Arguments) -> None:
    """Take a snapshot inside an image."""
    snapshot = {"device": arguments.text("device"), "name": arguments.text("name")}
    await human.execute("blockdev-snapshot-internal-sync", snapshot)


async def delete_internal(human: Human, arguments: Arguments) -> None:
    """Delete a snapshot inside an image."""
    snapshot = {"device": arguments.text("device"), "name": arguments.text("name")}
    identity = arguments.maybe("id")
    if identity is not None:
        snapshot["id"] = identity
    await human.execute("blockdev-snapshot-delete-internal-sync", snapshot)


async def delete_from_all(human: Human, arguments: Arguments) -> None:
    """Delete the snapshots of that name inside the images of all writable disks."""
    from qmpd.hmp.internal_snapshots import disks_with_snapshots

    name = arguments.text("name")
    for disk, found in disks_with_snapshots(human.graph):
        if any(snapshot["name"] == name for snapshot in found):
            await human.execute("blockdev-snapshot-delete-internal-sync", {"device": disk, "name": name})


async def refuse_machine_state(human: Human, arguments: Arguments) -> None:
    """Do not save or load the state of a machine."""
    raise GenericError(
        "There is no machine whose state could be saved or loaded; 'snapshot_blkdev_internal' takes one of a disk"
    )


DISKS = (
    HumanCommand(
        ("qemu-io",),
        '[-d] device "command"',
        "carries out a command of qemu-io on a disk (-d: the name is the id of a device)",
        qemu_io,
        (Parameter("qdev", Kind.FLAG, letter="d"), DEVICE, Parameter("command", Kind.TEXT)),
    ),
    HumanCommand(
        ("block_resize",),
        "device size",
        "changes the length of a disk (in MiB, or with a suffix)",
        block_resize,
        (DEVICE, Parameter("size", Kind.SIZE)),
    ),
    HumanCommand(
        ("drive_backup",),
        "[-n] [-f] [-c] device target [format]",
        "begins to copy a disk as it is now (-n: to a file that is there; -f: all of it; -c: compressed)",
        drive_backup,
        (_REUSE, _FULL, Parameter("compress", Kind.FLAG, letter="c"), DEVICE, Parameter("target", Kind.FILE), _FORMAT),
    ),
    HumanCommand(
        ("drive_mirror",),
        "[-n] [-f] device target [format]",
        "begins to mirror a disk (-n: to a file that is there; -f: all of it)",
        drive_mirror,
        (_REUSE, _FULL, DEVICE, Parameter("target", Kind.FILE), _FORMAT),
    ),
    HumanCommand(
        ("snapshot_blkdev",),
        "[-n] device file [format]",
        "lets a disk go on in an overlay (-n: in a file that is there)",
        snapshot_blkdev,
        (_REUSE, DEVICE, Parameter("snapshot-file", Kind.FILE, optional=True), _FORMAT),
    ),
    HumanCommand(
        ("snapshot_blkdev_internal",),
        "device name",
        "takes a snapshot inside the image of a disk",
        snapshot_internal,
        (DEVICE, Parameter("name", Kind.TEXT)),
    ),
    HumanCommand(
        ("snapshot_delete_blkdev_internal",),
        "device name [id]",
        "deletes a snapshot inside the image of a disk",
        delete_internal,
        (DEVICE, Parameter("name", Kind.TEXT), Parameter("id", Kind.TEXT, optional=True)),
    ),
    HumanCommand(
        ("delvm",),
        "name",
        "deletes the snapshots of a name inside the images of all disks",
        delete_from_all,
        (Parameter("name", Kind.TEXT),),
    ),
    HumanCommand(
        ("savevm",),
        "[name]",
        "is refused: there is no machine",
        refuse_machine_state,
        (Parameter("name", Kind.TEXT, optional=True),),
    ),
    HumanCommand(
        ("loadvm",), "name", "is refused: there is no machine", refuse_machine_state, (Parameter("name", Kind.TEXT),)
    ),
)
