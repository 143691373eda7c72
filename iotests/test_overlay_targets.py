"""Backups into an overlay of the disk itself: it shows the disk as it stood, and stores only what has changed.

This is how backup tools pull a point in time over NBD: a scratch image over the disk, a job with sync=none, an export
of the scratch image.
"""

import random
import threading
from pathlib import Path

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import assert_same, qemu_img, qemu_io, run
from tests.soak import count


class Fleece:
    """A disk `d` with a scratch image `scratch` over it, and a job that keeps the old data."""

    def __init__(self, server: Server, scratch: Scratch, disk: Disk, **options: object) -> None:
        self.server = server
        self.disk = disk
        self.before = scratch.copy(disk, "before")
        server.add_raw(disk, "d")
        self.uri = server.export("d")
        self.path = scratch / "scratch.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", self.path, str(disk.length))
        file = {"driver": "file", "filename": str(self.path)}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "scratch", "file": file, "backing": "d"})
        server.qmp.command("blockdev-backup", job_id="j", device="d", target="scratch", sync="none", **options)
        self.frozen = server.export("scratch", writable=False)

    def end(self) -> None:
        qmp = self.server.qmp
        qmp.command("block-export-del", id="export-scratch", mode="hard")
        qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-scratch")
        qmp.command("block-job-cancel", device="j")
        qmp.wait_job("j", "null")
        qmp.command("blockdev-del", node_name="scratch")


def test_the_overlay_stays_as_the_disk_was(server: Server, scratch: Scratch) -> None:
    disk = scratch.disk("d", 4 * MIB, seed=3, pieces=12)
    fleece = Fleece(server, scratch, disk)
    assert_same(fleece.frozen, fleece.before.path)
    qemu_io(
        fleece.uri,
        "write -P 9 0 1M",
        "write -P 8 1100k 3k",
        "write -z 2M 300k",
        "discard 3M 200k",
        "write -P 7 3900k 64k",
    )
    assert_same(fleece.frozen, fleece.before.path)
    fleece.end()
    assert qemu_img("check", fleece.path)


def test_what_read_as_zeroes_still_does(server: Server, scratch: Scratch) -> None:
    """An empty disk: where the overlay stores nothing, the new data would show through."""
    fleece = Fleece(server, scratch, scratch.disk("d", 2 * MIB))
    qemu_io(fleece.uri, "write -P 5 0 2M")
    assert_same(fleece.frozen, fleece.before.path)
    fleece.end()


def test_after_the_job_the_overlay_shows_the_disk_as_it_is(server: Server, scratch: Scratch) -> None:
    disk = scratch.full_disk("d", MIB, seed=5)
    fleece = Fleece(server, scratch, disk)
    qemu_io(fleece.uri, "write -P 5 0 64k")
    fleece.server.qmp.command("block-job-cancel", device="j")
    fleece.server.qmp.wait_job("j", "null")
    qemu_io(fleece.uri, "write -P 6 512k 64k")
    run("qemu-io", "-r", "-f", "raw", "-c", "read -P 6 512k 64k", fleece.frozen)
    assert "failed" in run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 64k", fleece.frozen, ok=(0, 1))


def test_a_full_backup_into_an_overlay(server: Server, scratch: Scratch) -> None:
    disk = scratch.disk("d", 4 * MIB, seed=4, pieces=12)
    before = scratch.copy(disk, "before")
    server.add_raw(disk, "d")
    path = scratch / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, str(disk.length))
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "o", "file": file, "backing": "d"})
    server.qmp.command("blockdev-backup", job_id="j", device="d", target="o", sync="full")
    server.qmp.wait_job("j", "null")
    server.qmp.command("blockdev-del", node_name="o")
    qemu_io(server.export("d"), "write -P 1 0 4M")
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", "", path)
    assert_same(path, before.path, one_format="qcow2")


def test_still_no_backup_into_what_stores_its_data_in_the_disk(server: Server, scratch: Scratch) -> None:
    path = scratch.made_by_qemu_img("d", 2 * MIB).path
    server.qmp.command("blockdev-add", driver="file", node_name="below", filename=str(path))
    server.qmp.command("blockdev-add", driver="raw", node_name="above", file="below")
    server.qmp.refused("blockdev-backup", job_id="j", device="below", target="above", sync="full")
    assert server.node_names() == {"below", "above"}


@pytest.mark.parametrize("seed", range(count(2, 40)))
def test_readers_never_see_new_data(server: Server, scratch: Scratch, seed: int) -> None:
    """Clients read the overlay and write the disk at the same places and at the same time."""
    generator = random.Random(seed)
    disk = scratch.full_disk("d", MIB, seed=seed)
    fleece = Fleece(server, scratch, disk)
    before = fleece.before.path.read_bytes()
    order = list(range(0, MIB, 64 * KIB))
    generator.shuffle(order)
    wrong: list[int] = []

    def look(path: Path) -> None:
        with RawNbd.attached(path, "scratch") as client:
            for offset in order:
                parts = range(offset, offset + 64 * KIB, 16 * KIB)
                wrong.extend(at for at in parts if client.read(at, 16 * KIB) != before[at : at + 16 * KIB])

    readers = [threading.Thread(target=look, args=(server.nbd_path,)) for _ in range(3)]
    for reader in readers:
        reader.start()
    with RawNbd.attached(server.nbd_path, "d") as client:
        for offset in order:
            for part in (offset, offset + 32 * KIB):
                assert client.request(1, part, 32 * KIB, data=b"\xee" * (32 * KIB)).error == 0
    for reader in readers:
        reader.join()
    assert not wrong
    assert_same(fleece.frozen, fleece.before.path)
    fleece.end()
