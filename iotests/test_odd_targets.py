"""Backups into what is no proper target, and what must not come of it."""

import os
from pathlib import Path

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import MIB
from iotests.harness.tools import qemu_io_fails, run


def _modes() -> list[dict[str, str]]:
    return [{"mode": mode, **more} for mode in ("existing", "absolute-paths") for more in ({}, {"format": "raw"})]


@pytest.mark.qmpd_only("QEMU's daemon waits for somebody to open the other end")
@pytest.mark.parametrize("options", _modes(), ids=lambda options: "-".join(options.values()))
def test_a_pipe_is_no_target(server: Server, scratch: Scratch, options: dict[str, str]) -> None:
    name = server.add_raw(scratch.disk("d", MIB))
    pipe = scratch / "pipe"
    os.mkfifo(pipe)
    request = {"job-id": "j", "device": name, "target": str(pipe), "sync": "full"}
    assert "regular file" in server.qmp.refused("drive-backup", request, **options)
    server.qmp.command("blockdev-del", node_name=name)


@pytest.mark.qmpd_only("QEMU's daemon has no drive-backup")
def test_a_null_character_in_a_name(server: Server, scratch: Scratch) -> None:
    name = server.add_raw(scratch.disk("d", MIB))
    request = {"job-id": "j", "device": name, "target": "a\0b", "sync": "full", "format": "raw"}
    assert "null character" in server.qmp.refused("drive-backup", request)


@pytest.mark.qmpd_only("QEMU's daemon has no drive-backup")
def test_an_image_in_use_does_not_grow(server: Server, scratch: Scratch) -> None:
    name = server.add_raw(scratch.disk("d", 2 * MIB))
    other = scratch.disk("other", MIB)
    server.export(server.add_raw(other))
    request = {"job-id": "j", "device": name, "target": str(other.path), "sync": "full", "format": "raw"}
    assert "locked" in server.qmp.refused("drive-backup", request)
    assert other.path.stat().st_size == MIB


@pytest.mark.parametrize("file", ["x", {"driver": "raw", "node-name": "y", "file": "x"}])
def test_no_node_is_its_own_child(server: Server, file: object) -> None:
    server.qmp.refused("blockdev-add", {"driver": "raw", "node-name": "x", "file": file})
    assert server.node_names() == set()


def test_no_backup_into_the_source_s_own_parent(server: Server, scratch: Scratch) -> None:
    disk = scratch.full_disk("d", MIB, seed=1)
    path = str(disk.path)
    file = {"driver": "file", "filename": path, "node-name": "below"}
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "above", "file": file})
    server.qmp.refused("blockdev-backup", job_id="j", device="below", target="above", sync="full")
    server.qmp.refused("blockdev-backup", job_id="j", device="above", target="below", sync="full")
    uri = server.export("above")
    before = Path(path).read_bytes()
    run("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", uri)
    assert Path(path).read_bytes() == b"\7" * 65536 + before[65536:]


def _add_corrupt_image(server: Server, scratch: Scratch, node: str) -> None:
    """An image whose first cluster is free by its refcounts, so that whoever allocates one finds it corrupt."""
    path = scratch.made_by_qemu_img(node, MIB, "qcow2").path
    data = bytearray(path.read_bytes())
    block = int.from_bytes(data[1 << 16 : (1 << 16) + 8], "big")
    data[block : block + 2] = bytes(2)
    path.write_bytes(data)
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": node, "file": file})


@pytest.mark.parametrize("command", ["blockdev-backup", "blockdev-mirror"])
def test_nothing_is_left_of_a_job_whose_target_is_found_corrupt(
    server: Server, scratch: Scratch, command: str
) -> None:
    """The target takes no writes any more while the job still has the permission to write to it."""
    disk = server.add_raw(scratch.full_disk("d", MIB, seed=1))
    _add_corrupt_image(server, scratch, "t")
    server.qmp.command(command, job_id="j", device=disk, target="t", sync="full")
    server.qmp.wait_job("j", "null")
    assert server.qmp.seen("BLOCK_IMAGE_CORRUPTED", node_name="t")
    assert "error" in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
    for node in (disk, "t"):
        server.qmp.command("blockdev-del", node_name=node)
    assert server.node_names() == set()


def test_exports_of_a_corrupt_image_can_be_removed(server: Server, scratch: Scratch) -> None:
    """One after the other, so that the second still may write when the first goes."""
    _add_corrupt_image(server, scratch, "t")
    uri = server.export("t")
    server.qmp.command("block-export-add", {"type": "nbd", "id": "other", "node-name": "t", "name": "o"}, writable=True)
    qemu_io_fails(uri, "write 0 64k")
    for export in ("export-t", "other"):
        server.qmp.command("block-export-del", id=export, mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id=export)
    server.qmp.command("blockdev-del", node_name="t")
    assert server.node_names() == set()
