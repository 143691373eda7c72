"""Jobs and snapshots on disks in a device, with a guest that writes. On qmpd and on a QEMU whose PC is not started."""

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.images import MIB
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import assert_same

pytestmark = pytest.mark.peer("pc")


@pytest.fixture
def server(launch: Launcher, scratch: Scratch) -> Server:
    """A drive `d0` of qcow2 in a device, over a node `top`."""
    disk = scratch.made_by_qemu_img("disk", 4 * MIB, "qcow2")
    return launch(
        *("--drive", f"if=none,id=d0,file={disk.path},format=qcow2,node-name=top"),
        *("--device", "virtio-blk-pci,drive=d0,id=blk"),
    )


def inserted(server: Server) -> str:
    (entry,) = server.qmp.command("query-block")
    name: str = entry["inserted"]["node-name"]
    return name


def test_snapshot_and_commit(server: Server, scratch: Scratch) -> None:
    overlay = scratch / "overlay.qcow2"
    server.qmp.command(
        "blockdev-snapshot-sync", device="d0", snapshot_file=str(overlay), snapshot_node_name="over"
    )
    assert inserted(server) == "over"
    server.qmp.command("block-commit", device="d0")
    server.qmp.wait_event("BLOCK_JOB_READY", device="d0")
    server.qmp.command("block-job-complete", device="d0")
    server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
    server.qmp.wait_until(lambda: inserted(server) == "top", "the base in the drive")


def test_snapshot_and_stream(server: Server, scratch: Scratch) -> None:
    overlay = scratch / "overlay.qcow2"
    server.qmp.command("blockdev-snapshot-sync", device="d0", snapshot_file=str(overlay))
    server.qmp.command("block-stream", device="d0")
    server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
    (entry,) = server.qmp.command("query-block")
    assert entry["inserted"]["backing_file_depth"] == 0


def test_mirror(server: Server, scratch: Scratch) -> None:
    target = scratch / "target.qcow2"
    server.qmp.command("drive-mirror", device="d0", target=str(target), sync="full", node_name="copy")
    server.qmp.wait_event("BLOCK_JOB_READY", device="d0")
    server.qmp.command("block-job-complete", device="d0")
    server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
    server.qmp.wait_until(lambda: inserted(server) == "copy", "the copy in the drive")


def test_a_device_keeps_others_from_writing(server: Server, scratch: Scratch) -> None:
    server.add_null("n", 4 * MIB)
    server.qmp.refused("blockdev-backup", job_id="b", device="n", target="top", sync="full")
    server.qmp.refused("blockdev-mirror", job_id="m", device="n", target="top", sync="full")


@pytest.mark.qmpd_only("a guest of QEMU's does not come in by an export")
def test_a_guest_all_the_while(server: Server, scratch: Scratch) -> None:
    """One client writes while its disk gets an overlay, is committed, backed up and mirrored away."""
    server.start_nbd()
    server.qmp.command("block-export-add", type="nbd", id="e", node_name="top", writable=True, name="x")
    with RawNbd.attached(server.nbd_path, "x") as guest:
        written = 0

        def write() -> None:
            nonlocal written
            written += 1
            assert guest.request(nbd.WRITE, written * 4096, 4096, data=bytes([written]) * 4096).error == 0

        write()
        test_snapshot_and_commit(server, scratch)
        write()
        server.qmp.command("drive-backup", device="d0", target=str(scratch / "backup.qcow2"), sync="full")
        write()
        server.qmp.wait_job("d0", "null")
        test_mirror(server, scratch)
        write()
        assert guest.request(nbd.FLUSH).error == 0
        everything = b"".join(bytes([number]) * 4096 for number in range(1, written + 1))
        assert guest.read(4096, written * 4096) == everything
        (stats,) = server.qmp.command("query-blockstats")
        assert stats["stats"]["wr_operations"] == written
    server.qmp.command("quit")
    server.wait_exit()
    copy = scratch / "copy.raw"
    copy.write_bytes(bytes(4096) + everything + bytes(4 * MIB - 4096 - len(everything)))
    assert_same(copy, scratch / "target.qcow2", other_format="qcow2")
