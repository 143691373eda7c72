"""drive-backup into files of every format that both servers make: what is made, what stands below it, what is left."""

import json
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, qemu_img, qemu_io

SIZE = 4 * MIB


def info(path: Path) -> dict[str, Any]:
    """qemu-img's description of an image."""
    told: dict[str, Any] = json.loads(qemu_img("info", "-U", "--output=json", path))
    return told


def backup(server: Server, target: Path, *, device: str = "disk", sync: str = "full", **options: Any) -> None:
    server.qmp.command("drive-backup", job_id="j", device=device, target=str(target), sync=sync, **options)


def finished(server: Server) -> None:
    server.qmp.wait_job("j", "null")
    (event,) = server.qmp.seen("BLOCK_JOB_COMPLETED", device="j")
    assert "error" not in event.data
    server.qmp.forget_events()


class Chain:
    """A qcow2 disk over a backing file: node `disk`, files `base` and `top`, and `model` with what the disk shows."""

    def __init__(self, server: Server, scratch: Scratch) -> None:
        self.base = scratch / "base.qcow2"
        self.top = scratch / "top.qcow2"
        self.model = scratch / "model.img"
        qemu_img("create", "-q", "-f", "qcow2", self.base, str(SIZE))
        qemu_io(self.base, "write -P 1 0 1M", "write -P 2 2M 64k", image_format="qcow2")
        qemu_img("create", "-q", "-f", "qcow2", "-b", self.base, "-F", "qcow2", self.top)
        qemu_io(self.top, "write -P 3 512k 256k", "write -z 2M 64k", "write -P 4 3M 4k", image_format="qcow2")
        qemu_img("convert", "-f", "qcow2", "-O", "raw", self.top, self.model)
        file = {"driver": "file", "filename": str(self.top)}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "disk", "file": file})


class TestMade:
    """mode=absolute-paths."""

    @pytest.mark.parametrize("image_format", ["raw", "qcow2", None])
    def test_a_raw_disk(self, server: Server, scratch: Scratch, image_format: str | None) -> None:
        disk = scratch.disk("disk", SIZE, seed=1, pieces=9)
        server.add_raw(disk)
        nodes = server.node_names()
        options = {} if image_format is None else {"format": image_format}
        backup(server, scratch / "t", **options)
        finished(server)
        assert server.node_names() == nodes
        told = info(scratch / "t")
        assert (told["format"], told["virtual-size"]) == (image_format or "raw", SIZE)
        assert "backing-filename" not in told
        assert_same(disk.path, scratch / "t", other_format=image_format or "raw")

    def test_a_chain_in_full(self, server: Server, scratch: Scratch) -> None:
        chain = Chain(server, scratch)
        backup(server, scratch / "t")
        finished(server)
        assert info(scratch / "t")["format"] == "qcow2"
        assert "backing-filename" not in info(scratch / "t")
        assert_same(chain.model, scratch / "t", other_format="qcow2")

    def test_a_chain_s_top(self, server: Server, scratch: Scratch) -> None:
        chain = Chain(server, scratch)
        nodes = server.node_names()
        backup(server, scratch / "t", sync="top", format="qcow2")
        finished(server)
        assert server.node_names() == nodes
        told = info(scratch / "t")
        assert told["backing-filename"] == str(chain.base)
        assert told["backing-filename-format"] == "qcow2"
        assert told["actual-size"] < MIB
        assert_same(chain.model, scratch / "t", other_format="qcow2")

    def test_the_top_of_what_has_no_backing(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=2, pieces=9)
        server.add_raw(disk)
        backup(server, scratch / "t", sync="top", format="qcow2")
        finished(server)
        assert "backing-filename" not in info(scratch / "t")
        assert_same(disk.path, scratch / "t", other_format="qcow2")

    def test_nothing_but_what_is_overwritten(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=3, pieces=9)
        before = scratch.copy(disk, "before")
        server.add_raw(disk)
        uri = server.export("disk")
        backup(server, scratch / "t", sync="none", format="qcow2")
        qemu_io(uri, "write -P 9 0 1M", "write -z 2M 64k")
        server.qmp.command("block-job-cancel", device="j")
        server.qmp.wait_job("j", "null")
        told = info(scratch / "t")
        assert (told["backing-filename"], told["backing-filename-format"]) == (str(disk.path), "raw")
        assert_same(before.path, scratch / "t", other_format="qcow2")

    def test_compressed(self, server: Server, scratch: Scratch) -> None:
        chain = Chain(server, scratch)
        backup(server, scratch / "t", compress=True)
        finished(server)
        check = json.loads(qemu_img("check", "--output=json", scratch / "t"))
        assert check["compressed-clusters"] > 0 and not check.get("corruptions")
        assert_same(chain.model, scratch / "t", other_format="qcow2")

    def test_the_top_compressed(self, server: Server, scratch: Scratch) -> None:
        chain = Chain(server, scratch)
        backup(server, scratch / "t", sync="top", compress=True)
        finished(server)
        assert info(scratch / "t")["backing-filename"] == str(chain.base)
        assert_same(chain.model, scratch / "t", other_format="qcow2")

    def test_over_an_older_file(self, server: Server, scratch: Scratch) -> None:
        """It is made anew, whatever it was."""
        disk = scratch.disk("disk", SIZE, seed=4, pieces=9)
        server.add_raw(disk)
        target = scratch.full_disk("t", 6 * MIB, seed=5).path
        backup(server, target, format="qcow2")
        finished(server)
        assert_same(disk.path, target, other_format="qcow2")
        backup(server, target, format="raw")
        finished(server)
        assert target.stat().st_size == SIZE
        assert_same(disk.path, target)
        assert sorted(path.name for path in target.parent.iterdir() if "t.img" in path.name) == ["t.img"]

    def test_raw_has_nothing_below(self, server: Server, scratch: Scratch) -> None:
        Chain(server, scratch)
        request = {"job-id": "j", "device": "disk", "target": str(scratch / "t"), "format": "raw"}
        for sync in ("top", "none"):
            server.qmp.refused("drive-backup", request, sync=sync)
            assert not (scratch / "t").exists()

    def test_refused(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", SIZE))
        nodes = server.node_names()
        bad: list[dict[str, str]] = [
            {"format": "nonsense"},
            {"format": "quorum"},
            {"target": ""},
            {"target": "", "mode": "existing"},
            {"target": "/nonexistent/t", "format": "qcow2"},
            {"bitmap": "nope", "bitmap-mode": "on-success", "format": "qcow2", "target": "/nonexistent/t"},
        ]
        for options in bad:
            request = {"job-id": "j", "device": "disk", "target": str(scratch / "t"), "sync": "full", **options}
            reason = server.qmp.refused("drive-backup", request)
            assert server.kind == "qsd" or request["target"] or "empty" in reason
            assert not (scratch / "t").exists()
            assert server.node_names() == nodes


class TestExisting:
    """mode=existing."""

    @pytest.mark.parametrize("options", [{}, {"format": "qcow2"}])
    def test_its_format_is_found_out(self, server: Server, scratch: Scratch, options: dict[str, str]) -> None:
        disk = scratch.disk("disk", SIZE, seed=6, pieces=9)
        server.add_raw(disk)
        target = scratch.made_by_qemu_img("t", SIZE, "qcow2", "-o", "cluster_size=128k")
        backup(server, target.path, mode="existing", **options)
        finished(server)
        assert info(target.path)["cluster-size"] == 128 * KIB
        assert_same(disk.path, target.path, other_format="qcow2")

    def test_its_backing_image_stays(self, server: Server, scratch: Scratch) -> None:
        chain = Chain(server, scratch)
        target = scratch / "t"
        qemu_img("create", "-q", "-f", "qcow2", "-b", chain.base, "-F", "qcow2", target)
        backup(server, target, mode="existing", sync="top")
        finished(server)
        assert info(target)["actual-size"] < MIB
        assert_same(chain.model, target, other_format="qcow2")

    def test_another_size(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", SIZE))
        target = scratch.made_by_qemu_img("t", 2 * SIZE, "qcow2")
        request = {"job-id": "j", "device": "disk", "target": str(target.path), "mode": "existing", "sync": "full"}
        server.qmp.refused("drive-backup", request)
        assert info(target.path)["virtual-size"] == 2 * SIZE

    def test_no_such_format(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", SIZE))
        target = scratch.disk("t", SIZE)
        request = {"job-id": "j", "device": "disk", "target": str(target.path), "mode": "existing", "sync": "full"}
        server.qmp.refused("drive-backup", request, format="qcow2")

    @pytest.mark.parametrize("image_format", ["vmdk", "vdi"])
    @pytest.mark.qmpd_only("QEMU has these formats")
    def test_formats_that_are_not_there(self, server: Server, scratch: Scratch, image_format: str) -> None:
        server.add_raw(scratch.disk("disk", SIZE))
        target = scratch.made_by_qemu_img("t", SIZE, image_format).path
        before = target.read_bytes()
        request = {"job-id": "j", "device": "disk", "target": str(target), "mode": "existing", "sync": "full"}
        assert image_format in server.qmp.refused("drive-backup", request)
        assert target.read_bytes() == before


@pytest.mark.qmpd_only("QEMU's daemon leaves the files there, and has lost what they replaced")
class TestPutBack:
    """A transaction whose last action fails leaves no trace of the files that the first ones made."""

    def fail(self, server: Server, target: Path, **options: Any) -> None:
        data = {"job-id": "j", "device": "disk", "target": str(target), "sync": "full", **options}
        actions = [{"type": "drive-backup", "data": data}, {"type": "abort", "data": {}}]
        server.qmp.refused("transaction", actions=actions)

    @pytest.mark.parametrize("image_format", ["raw", "qcow2"])
    def test_files(self, server: Server, scratch: Scratch, image_format: str) -> None:
        server.add_raw(scratch.disk("disk", SIZE, seed=7))
        nodes = server.node_names()
        new, empty, full = scratch / "new", scratch / "empty", scratch / "full"
        empty.touch()
        full.write_bytes(b"mine" * 1000)
        inodes = empty.stat().st_ino, full.stat().st_ino
        for target in (new, empty, full):
            self.fail(server, target, format=image_format)
        assert not new.exists()
        assert empty.stat().st_size == 0
        assert full.read_bytes() == b"mine" * 1000
        assert inodes == (empty.stat().st_ino, full.stat().st_ino)
        assert server.node_names() == nodes

    def test_a_single_command(self, server: Server, scratch: Scratch) -> None:
        """The file is made before the bitmap is looked for."""
        server.add_raw(scratch.disk("disk", SIZE))
        request = {"job-id": "j", "device": "disk", "target": str(scratch / "t"), "sync": "full", "format": "qcow2"}
        server.qmp.refused("drive-backup", request, bitmap="none", bitmap_mode="on-success")
        assert not (scratch / "t").exists()

    def test_an_image_in_use(self, server: Server, scratch: Scratch) -> None:
        disk, other = scratch.disk("disk", SIZE), scratch.full_disk("other", SIZE, seed=8)
        server.add_raw(disk)
        server.export(server.add_raw(other))
        for target in (disk, other):
            for image_format in ("raw", "qcow2"):
                request = {"job-id": "j", "device": "disk", "target": str(target.path), "sync": "full"}
                server.qmp.refused("drive-backup", request, format=image_format)
        assert other.path.read_bytes() == scratch.full_disk("same", SIZE, seed=8).path.read_bytes()


def test_a_group_of_different_formats(launch: Launcher, scratch: Scratch) -> None:
    server = launch()
    chain = Chain(server, scratch)
    raw = scratch.disk("raw", SIZE, seed=9, pieces=9)
    server.add_raw(raw)
    server.transaction(
        ("drive-backup", {"job-id": "a", "device": "disk", "target": str(scratch / "ta"), "sync": "top"}),
        ("drive-backup", {"job-id": "b", "device": "raw", "target": str(scratch / "tb"), "sync": "full"}),
        grouped=True,
    )
    for job in ("a", "b"):
        server.qmp.wait_job(job, "null")
    assert_same(chain.model, scratch / "ta", other_format="qcow2")
    assert_same(raw.path, scratch / "tb")
