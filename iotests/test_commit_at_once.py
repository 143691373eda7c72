"""`commit` of the monitor: what a disk stores goes into its backing image, and the disk stays what it is."""

import random
from pathlib import Path

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.human import answer, launch_monitor, qemu_io_answer
from iotests.harness.images import MIB
from iotests.harness.tools import assert_same, qemu_img, qemu_io, same

pytestmark = pytest.mark.peer("qemu")

EMPTY = "4 MiB (0x400000) bytes not allocated at offset 0 bytes (0x0)\n"


def drive(server: Server, name: str, path: Path) -> None:
    """Add a drive on a qcow2 image."""
    assert answer(server, f"drive_add 0 if=none,id={name},file={path},format=qcow2") == "OK\n"


def filled(path: Path, seed: int) -> None:
    """Write, zero and discard here and there."""
    chance = random.Random(seed)
    commands = []
    for _ in range(30):
        offset, length = chance.randrange(0, 4 * MIB - 200000, 512), chance.randrange(512, 200000, 512)
        kind = chance.choice((f"write -P {chance.randrange(1, 256)}", "write -z", "write -zu", "discard"))
        commands.append(f"{kind} {offset} {length}")
    qemu_io(path, "write -c -P 77 1M 256k", *commands, image_format="qcow2", options=["-d", "unmap"])


@pytest.mark.parametrize("options", [(), ("-o", "extended_l2=on"), ("-o", "compat=0.10"), ("-o", "cluster_size=4k")])
def test_contents_move_down(launch: Launcher, scratch: Scratch, options: tuple[str, ...]) -> None:
    base = scratch.made_by_qemu_img("base", 4 * MIB, "qcow2", *options)
    filled(base.path, 1)
    top = scratch.made_by_qemu_img("top", 4 * MIB, "qcow2", "-b", str(base.path), "-F", "qcow2", *options)
    filled(top.path, 2)
    before = scratch / "before.raw"
    qemu_img("convert", "-O", "raw", str(top.path), str(before))
    server = launch_monitor(launch)
    drive(server, "d0", top.path)
    assert not same(base.path, before, one_format="qcow2")
    assert answer(server, "commit d0") == ""
    assert qemu_io_answer(server, "d0", "map") == EMPTY
    assert_same(base.path, before, one_format="qcow2")
    assert_same(top.path, before, one_format="qcow2")
    assert qemu_io_answer(server, "d0", "write -P 5 0 64k").startswith("wrote")
    assert "Backing file" in answer(server, "info block d0")
    assert answer(server, "drive_del d0") == ""
    for path in (base.path, top.path):
        qemu_img("check", str(path))
    assert_same(base.path, before, one_format="qcow2")


def test_all_drives(launch: Launcher, scratch: Scratch) -> None:
    server = launch_monitor(launch)
    base = scratch.disk("base", 2 * MIB)
    top = scratch.made_by_qemu_img("top", 4 * MIB, "qcow2", "-b", str(base.path), "-F", "raw")
    drive(server, "d0", top.path)
    drive(server, "alone", scratch.made_by_qemu_img("alone", MIB, "qcow2").path)
    assert answer(server, "drive_add 0 if=none,id=cd,media=cdrom") == "OK\n"
    assert qemu_io_answer(server, "d0", "write -P 7 3M 64k").startswith("wrote")
    assert answer(server, "commit all") == ""
    assert base.read(3 * MIB, 64 * 1024) == b"\7" * 64 * 1024
    assert base.path.stat().st_size == 4 * MIB
    for name in ("alone", "cd", "nonsense"):
        assert answer(server, f"commit {name}")


@pytest.mark.qmpd_only("a guest needs a device, and QEMU a machine for it")
def test_an_image_that_a_guest_stands_on(launch: Launcher, scratch: Scratch) -> None:
    """What the guest sees must not change."""
    server = launch_monitor(launch)
    base = scratch.made_by_qemu_img("base", MIB, "qcow2")
    lower = {"driver": "qcow2", "node-name": "base", "read-only": True}
    file = {"driver": "file", "filename": str(base.path)}
    server.qmp.command("blockdev-add", {**lower, "file": file})
    for name in ("one", "two"):
        top = scratch.made_by_qemu_img(name, MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
        options = f"file.driver=file,file.filename={top.path},backing=base"
        assert answer(server, f"drive_add 0 if=none,id={name},driver=qcow2,{options}") == "OK\n"
        assert qemu_io_answer(server, name, "write -P 3 0 64k").startswith("wrote")
    assert answer(server, "device_add virtio-blk,drive=two,id=v") == ""
    assert "relies on" in answer(server, "commit one")
    assert qemu_io_answer(server, "base", "read -P 0 0 64k").startswith("read")
    assert qemu_io_answer(server, "one", "read -P 3 0 64k").startswith("read")
    assert answer(server, "device_del v") == ""
    assert answer(server, "commit one") == ""
    assert qemu_io_answer(server, "base", "read -P 3 0 64k").startswith("read")


@pytest.mark.qmpd_only("what is read-only afterwards, and who else stands still, is said by qmpd only")
def test_a_base_that_cannot_be_written(launch: Launcher, scratch: Scratch) -> None:
    """The disk reads as before, and nothing is left behind."""
    server = launch_monitor(launch)
    base = scratch.made_by_qemu_img("base", MIB, "qcow2")
    top = scratch.made_by_qemu_img("top", MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
    rule = {"event": "none", "iotype": "write", "errno": 28}
    file = {"driver": "blkdebug", "inject-error": [rule], "image": {"driver": "file", "filename": str(base.path)}}
    lower = {"driver": "qcow2", "node-name": "base", "read-only": True, "file": file}
    upper = {"driver": "file", "filename": str(top.path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "top", "backing": lower, "file": upper})
    assert qemu_io_answer(server, "top", "write -P 3 0 64k").startswith("wrote")
    nodes = server.node_names()
    assert "No space left" in answer(server, "commit top")
    assert server.node_names() == nodes
    assert qemu_io_answer(server, "top", "map").startswith("64 KiB (0x10000) bytes     allocated")
    assert qemu_io_answer(server, "top", "read -P 3 0 64k").startswith("read")
    assert qemu_io_answer(server, "top", "write -P 4 64k 64k").startswith("wrote")
