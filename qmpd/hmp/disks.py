"""What may be done to disks: qemu-io, block_resize, snapshot_blkdev and their like."""

from __future__ import annotations

from qmpd.errors import GenericError
from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.line import Arguments, Kind, Parameter

DEVICE = Parameter("device", Kind.DEVICE)


async def qemu_io(human: Human, arguments: Arguments) -> None:
    """Carry out a command of qemu-io on a disk."""
    from qmpd.hmp.qemu_io import table
    from qmpd.hmp.qemu_io.command import Io
    from qmpd.hmp.qemu_io.target import Target

    name = arguments.text("device")
    if arguments.flag("qdev"):
        raise GenericError(f"There is no device with the id '{name}'")
    human.graph.lookup(name)
    io = Io(Target(human.graph, name), human.requests)
    human.said.append(await human.requests.run(table.run(io, arguments.text("command"))))


async def block_resize(human: Human, arguments: Arguments) -> None:
    """Change the length of a disk."""
    name = arguments.text("device")
    disk = {"device": name} if name in human.graph.backends else {"node-name": name}
    await human.execute("block_resize", {**disk, "size": arguments.number("size")})


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
)
