"""Backups with discard-source: what has been copied is given up in the source, and nothing else is."""

from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.tools import assert_same, qemu_img, qemu_io

pytestmark = pytest.mark.qmpd_only("discard-source is of QEMU 9.1")

SIZE = 4 * MIB
CLUSTER = 64 * KIB


def add(server: Server, disk: Disk, name: str, **options: Any) -> None:
    file = {"driver": "file", "filename": str(disk.path), "discard": "unmap"}
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": name, "file": file, **options})


@pytest.fixture
def disk(server: Server, scratch: Scratch) -> Disk:
    """A full disk as node `s`, and an empty one as node `t`."""
    disk = scratch.full_disk("s", SIZE, seed=1)
    add(server, disk, "s", discard="unmap")
    add(server, scratch.disk("t", SIZE), "t")
    return disk


def backup(server: Server, **options: Any) -> None:
    arguments = {"job-id": "j", "device": "s", "target": "t", "sync": "full", "discard-source": True}
    server.qmp.command("blockdev-backup", arguments, **options)


def test_the_source_is_empty_afterwards(server: Server, scratch: Scratch, disk: Disk) -> None:
    before = scratch.copy(disk, "before")
    backup(server)
    server.qmp.wait_job("j", "null")
    assert_same(scratch / "t.img", before.path)
    assert disk.allocated == 0
    assert disk.path.stat().st_size == SIZE


def test_only_what_was_copied(server: Server, scratch: Scratch, disk: Disk) -> None:
    server.qmp.command("block-dirty-bitmap-add", node="s", name="b")
    qemu_io(server.export("s"), "write -P 7 1M 128k")
    rest = disk.read(0, MIB), disk.read(MIB + 128 * KIB, SIZE - MIB - 128 * KIB)
    backup(server, sync="incremental", bitmap="b")
    server.qmp.wait_job("j", "null")
    assert disk.read(MIB, 128 * KIB) == bytes(128 * KIB)
    assert (disk.read(0, MIB), disk.read(MIB + 128 * KIB, SIZE - MIB - 128 * KIB)) == rest
    assert Disk(scratch / "t.img", SIZE).read(MIB, 128 * KIB) == b"\7" * 128 * KIB
    # What has been discarded reads as something else now, so it is dirty.
    assert server.bitmaps("s")["b"]["count"] == 128 * KIB


def test_guests_keep_what_they_write(server: Server, scratch: Scratch, disk: Disk) -> None:
    before = scratch.copy(disk, "before")
    uri = server.export("s")
    backup(server, speed=CLUSTER)
    qemu_io(uri, "write -P 1 0 4k", "write -P 2 3M 64k", "write -P 3 3200k 1k", "write -P 4 0 4k")
    server.qmp.command("block-job-set-speed", device="j", speed=0)
    server.qmp.wait_job("j", "null")
    assert_same(scratch / "t.img", before.path)
    assert disk.read(0, 4 * KIB) == b"\4" * 4 * KIB
    assert disk.read(3 * MIB, 64 * KIB) == b"\2" * 64 * KIB
    assert disk.read(3200 * KIB, KIB) == b"\3" * KIB


def test_a_failed_job_gives_up_nothing_that_is_nowhere_else(server: Server, scratch: Scratch, disk: Disk) -> None:
    before = scratch.copy(disk, "before")
    with server.file_size_limit(2 * MIB):
        backup(server, x_perf={"max-workers": 1, "max-chunk": CLUSTER})
        server.qmp.wait_job("j", "null")
    (event,) = server.qmp.seen("BLOCK_JOB_COMPLETED")
    assert event.data["error"] == "File too large"
    target = Disk(scratch / "t.img", SIZE)
    for offset in range(0, SIZE, CLUSTER):
        old = before.read(offset, CLUSTER)
        assert disk.read(offset, CLUSTER) == old or target.read(offset, CLUSTER) == old
    assert disk.read(2 * MIB, 2 * MIB) == before.read(2 * MIB, 2 * MIB)


def test_a_source_that_ignores_discards(server: Server, scratch: Scratch) -> None:
    disk = scratch.full_disk("s", SIZE, seed=1)
    before = scratch.copy(disk, "before")
    add(server, disk, "s")
    add(server, scratch.disk("t", SIZE), "t")
    backup(server)
    server.qmp.wait_job("j", "null")
    assert_same(scratch / "t.img", before.path)
    assert_same(disk.path, before.path)


def test_a_source_that_cannot_be_written(server: Server, scratch: Scratch) -> None:
    file = {"driver": "file", "filename": str(scratch.full_disk("s", SIZE, seed=1).path), "read-only": True}
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "s", "file": file, "read-only": True})
    add(server, scratch.disk("t", SIZE), "t")
    request = {"job-id": "j", "device": "s", "target": "t", "sync": "full", "discard-source": True}
    assert "read-only" in server.qmp.refused("blockdev-backup", request)
    server.qmp.command("blockdev-backup", {**request, "discard-source": False})
    server.qmp.wait_job("j", "null")


def test_not_into_an_overlay(server: Server, scratch: Scratch, disk: Disk) -> None:
    path = scratch / "o.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "o", "file": file, "backing": "s"})
    request = {"job-id": "j", "device": "s", "target": "o", "sync": "full", "discard-source": True}
    assert "discard-source" in server.qmp.refused("blockdev-backup", request)
    assert disk.allocated >= SIZE


def test_a_frozen_view_s_scratch_space_is_given_back(server: Server, scratch: Scratch) -> None:
    """What discard-source is for: old data that has been saved for the view is dropped as soon as it is backed up."""
    disk = scratch.full_disk("d", SIZE, seed=2)
    before = scratch.copy(disk, "before")
    old = scratch.disk("old", SIZE)
    add(server, disk, "d")
    add(server, old, "old", discard="unmap")
    add(server, scratch.disk("t", SIZE), "t")
    view = {"driver": "copy-before-write", "node-name": "cbw", "file": "d", "target": "old", "discard": "unmap"}
    server.qmp.command("blockdev-add", view)
    server.qmp.command(
        "blockdev-add", {"driver": "snapshot-access", "node-name": "view", "file": "cbw", "discard": "unmap"}
    )
    uri = server.export("cbw")
    qemu_io(uri, "write -P 1 0 1M", "write -P 2 3M 64k")
    assert old.allocated >= MIB
    arguments = {"job-id": "j", "device": "view", "target": "t", "sync": "full", "discard-source": True}
    server.qmp.command("blockdev-backup", arguments)
    server.qmp.wait_job("j", "null")
    (event,) = server.qmp.seen("BLOCK_JOB_COMPLETED")
    assert "error" not in event.data
    assert_same(scratch / "t.img", before.path)
    assert old.allocated == 0
    qemu_io(uri, "read -P 1 0 1M", "write -P 3 2M 64k", "read -P 3 2M 64k")
    assert old.allocated == 0, "what has been given back need not be saved any more"
