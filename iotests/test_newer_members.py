"""What versions of QEMU after 7.2 have added, and qmpd has as well."""

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, qemu_io

pytestmark = pytest.mark.qmpd_only("QEMU 7.2 does not have it yet")


class TestChangingJobs:
    """job-change and block-job-change: a mirror that begins to write to both sides."""

    def mirror(self, server: Server, scratch: Scratch) -> str:
        """A mirror in the background mode that is ready; gives the URI of an export of the source."""
        server.add_raw(scratch.disk("source", MIB))
        server.add_raw(scratch.disk("target", MIB))
        server.qmp.command("blockdev-mirror", job_id="m", device="source", target="target", sync="full")
        server.qmp.wait_job("m", "ready")
        return server.export("source")

    @pytest.mark.parametrize("command", ["job-change", "block-job-change"])
    def test_from_then_on_writes_go_to_both(self, server: Server, scratch: Scratch, command: str) -> None:
        uri = self.mirror(server, scratch)
        server.qmp.command(command, id="m", type="mirror", copy_mode="write-blocking")
        # While it stands still it copies nothing by itself.
        server.qmp.command("job-pause", id="m")
        server.qmp.wait_job("m", "standby")
        qemu_io(uri, "write -P 7 0 64k")
        assert (scratch / "source.img").read_bytes() == (scratch / "target.img").read_bytes()
        server.qmp.command(command, id="m", type="mirror", copy_mode="write-blocking")
        server.qmp.refused(command, id="m", type="mirror", copy_mode="background")

    def test_refusals(self, server: Server, scratch: Scratch) -> None:
        self.mirror(server, scratch)
        change = {"type": "mirror", "copy-mode": "write-blocking"}
        server.qmp.refused("job-change", {"id": "nobody", **change})
        server.qmp.refused("block-job-change", {"id": "nobody", **change}, error_class="DeviceNotActive")
        server.qmp.refused("job-change", id="m", type="backup")
        server.qmp.refused("job-change", id="m", type="mirror")


def test_least_clusters(server: Server, scratch: Scratch) -> None:
    """More is saved before a write than it touches."""
    source, saved = scratch.full_disk("source", 4 * MIB, seed=1), scratch / "saved.img"
    saved.touch()
    saved.open("r+b").truncate(4 * MIB)
    before = source.read(MIB, MIB)
    server.add_raw(source)
    server.add_raw(saved)
    filtering = {"driver": "copy-before-write", "file": "source", "target": "saved"}
    server.qmp.refused("blockdev-add", {**filtering, "node-name": "f", "min-cluster-size": 3 * KIB})
    server.qmp.command("blockdev-add", {**filtering, "node-name": "f", "min-cluster-size": MIB})
    qemu_io(server.export("f"), "write -P 7 1100k 4k")
    assert saved.read_bytes()[MIB : 2 * MIB] == before


def test_least_clusters_of_backups(server: Server, scratch: Scratch) -> None:
    server.add_raw(scratch.full_disk("source", 4 * MIB, seed=1))
    server.add_raw(scratch.disk("target", 4 * MIB))
    backup = {"job-id": "b", "device": "source", "target": "target", "sync": "full"}
    server.qmp.refused("blockdev-backup", {**backup, "x-perf": {"min-cluster-size": 100_000}})
    server.qmp.refused("blockdev-backup", {**backup, "x-perf": {"min-cluster-size": MIB, "max-chunk": 128 * KIB}})
    server.qmp.command("blockdev-backup", {**backup, "x-perf": {"min-cluster-size": MIB}})
    server.qmp.wait_job("b", "null")
    assert_same(scratch / "source.img", scratch / "target.img")


def test_flat_drives(launch: Launcher, scratch: Scratch) -> None:
    base = scratch.made_by_qemu_img("base", MIB, "qcow2")
    top = scratch.made_by_qemu_img("top", MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
    server = launch("--drive", f"if=none,id=d,file={top.path}")
    for flat, depth in ((True, 0), (False, 1)):
        (entry,) = server.qmp.command("query-block", flat=flat)
        assert entry["inserted"]["backing_file_depth"] == depth
        assert ("backing-image" in entry["inserted"]["image"]) is not flat
