"""drive-mirror on both servers: the files it makes, those it finds, and what becomes of backing files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.mirrors import (
    JOB,
    LEN,
    READY,
    SUCCESS,
    Guest,
    assert_nothing_left,
    complete,
    exported_node,
    ready,
    story,
)
from iotests.harness.tools import assert_same, qemu_img, qemu_io


def drive_mirror(server: Server, target: Path, sync: str = "full", **options: Any) -> None:
    """Start a mirror of the node `disk` as job `JOB`."""
    server.qmp.command("drive-mirror", job_id=JOB, device="disk", target=str(target), sync=sync, **options)


def image_info(path: Path) -> dict[str, Any]:
    """What qemu-img says of an image that may be in use."""
    info: dict[str, Any] = json.loads(qemu_img("info", "-U", "--output=json", path))
    return info


def entry(server: Server, node: str) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes."""
    nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes", flat=True)
    return next(one for one in nodes if one["node-name"] == node)


def add_qcow2(server: Server, name: str, path: Path) -> None:
    """Open a qcow2 image."""
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": name, "file": file})


class TestOfARawDisk:
    """Targets of a disk without a chain."""

    @pytest.fixture
    def disk(self, server: Server, scratch: Scratch) -> Disk:
        disk = scratch.disk("disk", LEN, seed=1)
        server.add_raw(disk)
        return disk

    @pytest.mark.parametrize("image_format", [None, "raw", "qcow2"])
    def test_a_new_file(self, server: Server, scratch: Scratch, disk: Disk, image_format: str | None) -> None:
        """The new file takes over while a client writes."""
        model = scratch.copy(disk, "model")
        server.export("disk")
        target = scratch / "target"
        with Guest(server, "disk", model) as guest:
            given = {} if image_format is None else {"format": image_format}
            drive_mirror(server, target, node_name="new", **given)
            ready(server)
            guest.go_on(5)
            complete(server)
            guest.go_on(5)
        assert story(server) == [*READY, *SUCCESS]
        assert exported_node(server) == "new"
        assert entry(server, "new")["drv"] == (image_format or "raw")
        server.terminate()
        assert image_info(target)["virtual-size"] == LEN
        assert_same(target, model.path, one_format=image_format or "raw")

    def test_a_node_without_a_name(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        """Without users of the source nobody holds the target's node afterwards; it is closed."""
        nodes = server.node_names()
        drive_mirror(server, scratch / "target")
        ready(server)
        complete(server)
        assert_nothing_left(server, nodes)
        assert_same(scratch / "target", disk.path)

    def test_ended_without_switching(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        server.export("disk")
        nodes = server.node_names()
        drive_mirror(server, scratch / "target", format="qcow2", node_name="new")
        ready(server)
        server.qmp.command("block-job-cancel", device=JOB)
        server.qmp.wait_job(JOB, "null")
        assert_nothing_left(server, nodes)
        assert_same(scratch / "target", disk.path, one_format="qcow2")

    @pytest.mark.parametrize("image_format", [None, "raw"])
    def test_an_existing_raw_file(self, server: Server, scratch: Scratch, disk: Disk, image_format: str | None) -> None:
        """What it held is overwritten, also with zeroes."""
        target = scratch.full_disk("target", LEN, seed=2)
        if image_format is None:
            # A file of which nothing tells the format.
            target.write(0, bytes(MIB))
        given = {} if image_format is None else {"format": image_format}
        drive_mirror(server, target.path, mode="existing", unmap=False, **given)
        ready(server)
        complete(server)
        assert_same(target.path, disk.path)

    def test_an_existing_qcow2_file(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", scratch / "target", str(LEN))
        qemu_io(scratch / "target", "write -P 7 0 4M", image_format="qcow2")
        drive_mirror(server, scratch / "target", mode="existing")
        ready(server)
        complete(server)
        assert image_info(scratch / "target")["cluster-size"] == 4096
        assert_same(scratch / "target", disk.path, one_format="qcow2")

    def test_a_file_that_was_there_is_made_anew(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        target = scratch.full_disk("target", 2 * LEN, seed=3)
        drive_mirror(server, target.path)
        ready(server)
        complete(server)
        assert target.path.stat().st_size == LEN
        assert_same(target.path, disk.path)

    def test_refused(self, server: Server, scratch: Scratch, disk: Disk) -> None:
        """No file is left behind, and those that were there are as they were."""
        there = scratch.full_disk("there", LEN, seed=4)
        before = there.read(0, LEN)
        nodes, files = server.node_names(), sorted(os.listdir(scratch.directory))
        refused: list[dict[str, Any]] = [
            {"mode": "existing"},
            {"target": "/nonexistent/target"},
            {"target": ""},
            {"target": str(scratch.directory)},
            {"format": "nope"},
            {"replaces": "disk"},
            {"node-name": "disk"},
            {"node-name": "1!"},
            {"sync": "incremental"},
            {"sync": "none"},
            {"sync": "none", "format": "raw"},
            {"granularity": 3},
            {"target": str(disk.path), "mode": "existing", "format": "raw"},
            {"target": str(there.path), "mode": "existing", "format": "qcow2"},
            {"device": "nope"},
            {"job-id": "1x"},
        ]
        for odd in refused:
            arguments = {"job-id": JOB, "device": "disk", "target": str(scratch / "target"), "sync": "full", **odd}
            server.qmp.refused("drive-mirror", arguments)
        assert_nothing_left(server, nodes)
        if server.kind == "qmpd":
            assert sorted(os.listdir(scratch.directory)) == files
        assert there.read(0, LEN) == before

    @pytest.mark.qmpd_only("QEMU has overwritten the file by then")
    def test_a_failed_command_leaves_the_file_that_was_there(
        self, server: Server, scratch: Scratch, disk: Disk
    ) -> None:
        target = scratch.full_disk("target", LEN, seed=5)
        before, files = target.read(0, LEN), sorted(os.listdir(scratch.directory))
        arguments = {"device": "disk", "target": str(target.path), "sync": "full"}
        server.qmp.refused("drive-mirror", arguments, job_id="1x")
        server.qmp.refused("drive-mirror", arguments, job_id=JOB, speed=-1)
        assert target.read(0, LEN) == before
        assert sorted(os.listdir(scratch.directory)) == files


class TestOfAChain:
    """Targets of a disk with a backing file."""

    @pytest.fixture
    def base(self, scratch: Scratch) -> Disk:
        return scratch.full_disk("base", LEN, seed=10)

    @pytest.fixture
    def disk(self, server: Server, scratch: Scratch, base: Disk) -> Path:
        path = scratch / "disk.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", path)
        qemu_io(path, "write -P 5 64k 128k", "write -z 1M 64k", image_format="qcow2")
        add_qcow2(server, "disk", path)
        return path

    def model(self, scratch: Scratch, base: Disk) -> Disk:
        """What `write` makes of the disk."""
        model = scratch.copy(base, "model")
        for pattern, offset, length in [(5, 64, 128), (0, 1024, 64), (6, 2048, 4), (7, 3001, 70), (8, 300, 4)]:
            model.write(offset * KIB, bytes([pattern]) * length * KIB)
        return model

    def top(self, server: Server, scratch: Scratch, base: Disk, mode: str, copy_mode: str) -> None:
        """Parts of clusters are right, too, although the target has no backing node while the job runs."""
        target = scratch / "target"
        if mode == "existing":
            qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", target)
        uri = server.export("disk")
        drive_mirror(server, target, "top", mode=mode, node_name="new", copy_mode=copy_mode, granularity=4 * KIB)
        ready(server)
        info = server.qmp.block_job(JOB)
        assert info is not None and info["len"] == 192 * KIB
        qemu_io(uri, "write -P 6 2M 4k", "write -P 7 3001k 70k")
        complete(server)
        qemu_io(uri, "write -P 8 300k 4k")
        assert entry(server, "new")["backing_file"] == str(base.path)
        server.terminate()
        assert image_info(target)["backing-filename"] == str(base.path)
        assert_same(target, self.model(scratch, base).path, one_format="qcow2")
        extents = json.loads(qemu_img("map", "--output=json", target))
        assert sum(extent["length"] for extent in extents if extent["depth"] == 0) < MIB

    @pytest.mark.parametrize("mode", ["absolute-paths", "existing"])
    def test_top(self, server: Server, scratch: Scratch, base: Disk, disk: Path, mode: str) -> None:
        """In the background."""
        self.top(server, scratch, base, mode, "background")

    @pytest.mark.qmpd_only("QEMU 7.2 loses what surrounds a write in its cluster")
    @pytest.mark.parametrize("mode", ["absolute-paths", "existing"])
    def test_top_write_blocking(self, server: Server, scratch: Scratch, base: Disk, disk: Path, mode: str) -> None:
        """With writes to both sides."""
        self.top(server, scratch, base, mode, "write-blocking")

    def test_full(self, server: Server, scratch: Scratch, disk: Path) -> None:
        """The target stands alone."""
        server.export("disk")
        drive_mirror(server, scratch / "target", node_name="new")
        ready(server)
        complete(server)
        assert "backing_file" not in entry(server, "new")
        server.terminate()
        assert "backing-filename" not in image_info(scratch / "target")
        assert_same(scratch / "target", disk, one_format="qcow2", other_format="qcow2")

    def none(self, server: Server, scratch: Scratch, base: Disk, disk: Path, copy_mode: str) -> None:
        """The target becomes an overlay of the source itself."""
        target = scratch / "target"
        uri = server.export("disk")
        drive_mirror(server, target, "none", node_name="new", copy_mode=copy_mode, format="qcow2")
        ready(server)
        qemu_io(uri, "write -P 6 2M 4k", "write -P 7 3001k 70k", "write -z 3500k 200k", "write -P 9 3500k 200k")
        qemu_io(uri, "write -z 3500k 200k")
        complete(server)
        assert exported_node(server) == "new"
        assert entry(server, "new")["backing_file"] == str(disk)
        before = disk.read_bytes()
        qemu_io(uri, "write -P 8 300k 4k", "read -P 5 64k 128k", "read -P 6 2M 4k")
        assert disk.read_bytes() == before
        server.terminate()
        model = self.model(scratch, base)
        model.write(3500 * KIB, bytes(200 * KIB))
        assert_same(target, model.path, one_format="qcow2")

    def test_none(self, server: Server, scratch: Scratch, base: Disk, disk: Path) -> None:
        """In the background."""
        self.none(server, scratch, base, disk, "background")

    @pytest.mark.qmpd_only("QEMU 7.2 loses what surrounds a write in its cluster")
    def test_none_write_blocking(self, server: Server, scratch: Scratch, base: Disk, disk: Path) -> None:
        """With writes to both sides."""
        self.none(server, scratch, base, disk, "write-blocking")

    def test_top_ended_without_switching(self, server: Server, scratch: Scratch, disk: Path) -> None:
        server.export("disk")
        nodes = server.node_names()
        drive_mirror(server, scratch / "target", "top", node_name="new")
        ready(server)
        server.qmp.command("block-job-cancel", device=JOB)
        server.qmp.wait_job(JOB, "null")
        assert story(server) == [*READY, *SUCCESS]
        assert_nothing_left(server, nodes)
        assert_same(scratch / "target", disk, one_format="qcow2", other_format="qcow2")
