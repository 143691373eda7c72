"""Disks that go over from one daemon to another: blockdev-set-active."""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import qemu_img, qemu_io, refused_by_qemu_img

pytestmark = pytest.mark.qmpd_only("QEMU 7.2 does not have it yet")


@pytest.fixture
def disk(scratch: Scratch) -> Disk:
    return scratch.made_by_qemu_img("disk", 4 * MIB, "qcow2")


def add(server: Server, disk: Disk, **options: Any) -> None:
    file = {"driver": "file", "filename": str(disk.path), "node-name": "file"}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "disk", "file": file}, **options)


def actives(server: Server) -> dict[str, bool]:
    nodes = server.qmp.command("query-named-block-nodes", flat=True)
    return {node["node-name"]: node["active"] for node in nodes}


def work(server: Server, *commands: str) -> None:
    """Do something to the disk by an export."""
    qemu_io(server.export("disk"), *commands)
    server.qmp.command("block-export-del", id="export-disk")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")


def test_there_and_back(launch: Launcher, disk: Disk) -> None:
    """Each daemon sees what the other one has written, and a bitmap goes along."""
    one, other = launch(), launch()
    add(one, disk)
    one.qmp.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
    one.qmp.command("block-dirty-bitmap-add", node="disk", name="memory")
    work(one, "write -P 1 0 64k")
    add(other, disk, active=False)
    assert actives(other) == {"disk": False, "file": False}
    other.qmp.refused("blockdev-set-active", active=True)
    assert actives(other) == {"disk": False, "file": False}

    one.qmp.command("blockdev-set-active", active=False)
    assert actives(one) == {"disk": False, "file": False}
    other.qmp.command("blockdev-set-active", active=True)
    assert actives(other) == {"disk": True, "file": True}
    assert other.bitmaps("disk")["b"]["count"] == 64 * KIB
    work(other, "read -P 1 0 64k", "write -P 2 1M 64k")
    one.qmp.refused("blockdev-set-active", active=True, node_name="disk")

    other.qmp.command("blockdev-set-active", active=False, node_name="disk")
    one.qmp.command("blockdev-set-active", active=True, node_name="disk")
    bitmaps = one.bitmaps("disk")
    assert (bitmaps["b"]["count"], bitmaps["memory"]["count"]) == (128 * KIB, 64 * KIB)
    work(one, "read -P 1 0 64k", "read -P 2 1M 64k", "write -P 3 2M 64k")
    one.qmp.command("quit")
    one.wait_exit()
    other.qmp.command("quit")
    other.wait_exit()
    assert "No errors" in qemu_img("check", str(disk.path))


def test_what_is_recorded(launch: Launcher, disk: Disk, scratch: Scratch) -> None:
    """A bitmap that was stored and loaded again is the same one to a catalog."""
    server = launch("--state-dir", str(scratch / "state"))
    add(server, disk)
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
    server.qmp.command("blockdev-set-active", active=False)
    server.qmp.command("blockdev-set-active", active=True)
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="c", persistent=True)
    assert set(server.bitmaps("disk")) == {"b", "c"}
    server.qmp.command("blockdev-del", node_name="disk")


def test_locks(launch: Launcher, disk: Disk) -> None:
    """Whoever is inactive keeps nobody from writing."""
    server = launch()
    add(server, disk)
    refused_by_qemu_img("snapshot", "-c", "s", str(disk.path))
    server.qmp.command("blockdev-set-active", active=False)
    qemu_io(disk.path, "write -P 5 0 64k", image_format="qcow2")
    work(server, "read -P 5 0 64k")
    assert actives(server)["disk"] is True


def test_chains(launch: Launcher, disk: Disk, scratch: Scratch) -> None:
    """Images below go with it, and what was put below since it was opened stays there."""
    server = launch()
    add(server, disk)
    work(server, "write -P 1 0 1M")
    overlay = scratch.made_by_qemu_img("overlay", 4 * MIB, "qcow2")
    file = {"driver": "file", "filename": str(overlay.path)}
    over = {"driver": "qcow2", "node-name": "over", "file": file, "backing": None}
    server.qmp.command("blockdev-add", over)
    server.qmp.command("blockdev-snapshot", node="disk", overlay="over")
    server.qmp.command("blockdev-set-active", node_name="over", active=False)
    assert not any(actives(server).values())
    server.qmp.command("blockdev-set-active", node_name="over", active=True)
    assert all(actives(server).values())
    qemu_io(server.export("over"), "read -P 1 0 1M", "write -P 2 0 64k", "read -P 2 0 64k")


def test_readers_stay(launch: Launcher, disk: Disk) -> None:
    """A client that only reads an inactive disk goes on when the disk becomes active."""
    server = launch("--drive", f"if=none,id=d0,file={disk.path},format=qcow2,node-name=disk")
    server.qmp.command("blockdev-set-active", active=False)
    server.start_nbd()
    export = {"type": "nbd", "id": "e", "node-name": "disk"}
    server.qmp.refused("block-export-add", {**export, "allow-inactive": True, "writable": True})
    server.qmp.command("block-export-add", {**export, "allow-inactive": True})
    assert actives(server)["disk"] is False
    with RawNbd.attached(server.nbd_path, "disk") as client:
        assert client.read(0, 4096) == bytes(4096)
        qemu_io(disk.path, "write -P 5 0 64k", image_format="qcow2")
        server.qmp.command("blockdev-set-active", active=True)
        assert client.read(0, 4096) == b"\5" * 4096
    (entry,) = server.qmp.command("query-block")
    assert entry["inserted"]["node-name"] == "disk" and entry["inserted"]["active"] is True


def test_a_disk_that_was_resized(launch: Launcher, disk: Disk) -> None:
    """Clients were told of the length, so such a disk stays inactive while they are there."""
    server = launch()
    add(server, disk, active=False)
    server.start_nbd()
    export = {"type": "nbd", "id": "e", "node-name": "disk", "allow-inactive": True}
    server.qmp.command("block-export-add", export)
    qemu_img("resize", str(disk.path), str(8 * MIB))
    server.qmp.refused("blockdev-set-active", active=True)
    assert actives(server) == {"disk": False, "file": False}
    server.qmp.command("block-export-del", id="e")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="e")
    server.qmp.command("blockdev-set-active", active=True)
    (node,) = (node for node in server.qmp.command("query-named-block-nodes") if node["node-name"] == "disk")
    assert node["image"]["virtual-size"] == 8 * MIB


def test_refusals(launch: Launcher, disk: Disk) -> None:
    server = launch()
    add(server, disk)
    server.qmp.refused("blockdev-set-active", active=False, node_name="nobody")
    server.export("disk")
    server.qmp.refused("blockdev-set-active", active=False)
    server.qmp.refused("blockdev-set-active", active=False, node_name="disk")
    assert all(actives(server).values())
    with RawNbd.attached(server.nbd_path, "disk") as client:
        assert client.request(nbd.WRITE, 0, 4096, data=bytes(4096)).error == 0
    server.qmp.command("block-export-del", id="export-disk")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
    server.qmp.command("blockdev-set-active", active=False)
    reopened = {"driver": "qcow2", "node-name": "disk", "file": "file"}
    server.qmp.refused("blockdev-reopen", options=[reopened])
    server.qmp.refused("block_resize", node_name="disk", size=8 * MIB)
    server.qmp.refused("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
