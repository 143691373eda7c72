"""The filters `compress` and `preallocate` on both servers; qemu-img says what has become of the images."""

import json
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, qemu_img, qemu_io


def remove(server: Server, node: str) -> None:
    """End the export of a node and close it."""
    server.qmp.command("block-export-del", id=f"export-{node}", mode="hard")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED", id=f"export-{node}")
    server.qmp.command("blockdev-del", node_name=node)


def check(path: Path) -> dict[str, Any]:
    """qemu-img's verdict on a qcow2 image."""
    report: dict[str, Any] = json.loads(qemu_img("check", "--output=json", path))
    assert not report.get("corruptions") and not report.get("leaks"), report
    return report


class TestCompress:
    def add(self, server: Server, path: Path) -> None:
        file = {"driver": "qcow2", "node-name": "image", "file": {"driver": "file", "filename": str(path)}}
        server.qmp.command("blockdev-add", {"driver": "compress", "node-name": "k", "file": file})

    def test_what_is_written_is_compressed(self, server: Server, scratch: Scratch) -> None:
        image = scratch.made_by_qemu_img("q", 4 * MIB, "qcow2")
        model = scratch.disk("model", 4 * MIB)
        self.add(server, image.path)
        qemu_io(server.export("k"), "write -P 3 0 192k", "write -P 5 1M 4k", "write -z 2M 64k", "flush")
        model.write(0, b"\3" * 192 * KIB)
        model.write(MIB, b"\5" * 4 * KIB)
        remove(server, "k")
        assert check(image.path)["compressed-clusters"] >= 4
        assert_same(image.path, model.path, one_format="qcow2")

    @pytest.mark.qmpd_only("QEMU asks for an alignment that does not fit such a disk, and its own client refuses")
    def test_the_disk_s_last_cluster_is_short(self, server: Server, scratch: Scratch) -> None:
        length = MIB + 4 * KIB
        image = scratch.made_by_qemu_img("q", length, "qcow2")
        model = scratch.disk("model", length)
        self.add(server, image.path)
        qemu_io(server.export("k"), f"write -P 7 {MIB} 4k", f"read -P 7 {MIB} 4k")
        model.write(MIB, b"\7" * 4 * KIB)
        remove(server, "k")
        assert check(image.path)["compressed-clusters"] == 1
        assert_same(image.path, model.path, one_format="qcow2")

    @pytest.mark.qmpd_only("QEMU cannot write to compressed clusters in compressed form")
    def test_written_again(self, server: Server, scratch: Scratch) -> None:
        image = scratch.made_by_qemu_img("q", 4 * MIB, "qcow2")
        model = scratch.disk("model", 4 * MIB)
        self.add(server, image.path)
        qemu_io(
            server.export("k"),
            "write -P 1 0 256k",
            "write -P 2 64k 512",
            "write -P 3 100k 100k",
            "write -P 4 0 64k",
            "write -z 192k 4k",
            "read -P 2 64k 512",
        )
        for value, offset, length in ((1, 0, 256), (3, 100, 100), (4, 0, 64), (0, 192, 4)):
            model.write(offset * KIB, bytes([value]) * length * KIB)
        model.write(64 * KIB, b"\2" * 512)
        remove(server, "k")
        assert check(image.path)["compressed-clusters"] == 4
        assert_same(image.path, model.path, one_format="qcow2")

    def test_only_for_formats_that_can(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", MIB))
        server.qmp.refused("blockdev-add", {"driver": "compress", "node-name": "k", "file": "d"})
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        self.add(server, image.path)
        server.qmp.refused("blockdev-add", {"driver": "compress", "node-name": "k2", "file": "k"})
        assert "k2" not in server.node_names()

    def test_as_the_target_of_a_backup(self, server: Server, scratch: Scratch) -> None:
        source = scratch.disk("s", 4 * MIB, seed=5, pieces=40)
        image = scratch.made_by_qemu_img("q", 4 * MIB, "qcow2")
        self.add(server, image.path)
        server.add_raw(source)
        server.qmp.command("blockdev-backup", job_id="j", device="s", target="k", sync="full")
        server.qmp.wait_job("j", "null")
        (event,) = server.qmp.seen("BLOCK_JOB_COMPLETED")
        assert "error" not in event.data
        server.qmp.command("blockdev-del", node_name="k")
        check(image.path)
        assert_same(image.path, source.path, one_format="qcow2")

    def test_resize(self, server: Server, scratch: Scratch) -> None:
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        self.add(server, image.path)
        server.qmp.command("block_resize", node_name="k", size=2 * MIB)
        qemu_io(server.export("k"), "write -P 6 1984k 64k", "read -P 6 1984k 64k")


class TestPreallocate:
    def test_a_growing_image(self, server: Server, scratch: Scratch) -> None:
        """The file is far longer than needed while the image is open, and not at all when it is closed."""
        image = scratch.made_by_qemu_img("q", 16 * MIB, "qcow2")
        model = scratch.disk("model", 16 * MIB)
        below = {"driver": "file", "filename": str(image.path)}
        file = {"driver": "preallocate", "node-name": "p", "prealloc-size": 32 * MIB, "file": below}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": file})
        uri = server.export("q")
        qemu_io(uri, "write -P 1 0 64k", "flush")
        grown = image.path.stat().st_size
        assert grown >= 32 * MIB and grown % MIB == 0
        assert image.allocated >= 32 * MIB
        qemu_io(uri, "write -P 2 64k 5M", "flush")
        assert image.path.stat().st_size == grown
        shown = next(e for e in server.qmp.command("query-named-block-nodes") if e["node-name"] == "p")
        assert shown["image"]["virtual-size"] < 32 * MIB
        remove(server, "q")
        model.write(0, b"\1" * 64 * KIB)
        model.write(64 * KIB, b"\2" * 5 * MIB)
        assert image.path.stat().st_size == check(image.path)["image-end-offset"]
        assert_same(image.path, model.path, one_format="qcow2")

    def test_a_clean_end_of_the_daemon_cuts_as_well(self, server: Server, scratch: Scratch) -> None:
        image = scratch.made_by_qemu_img("q", 16 * MIB, "qcow2")
        file = {"driver": "preallocate", "file": {"driver": "file", "filename": str(image.path)}}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": file})
        qemu_io(server.export("q"), "write 0 64k")
        assert image.path.stat().st_size >= 128 * MIB
        assert server.terminate() == 0
        assert image.path.stat().st_size == check(image.path)["image-end-offset"]

    def test_by_itself_it_is_out_of_the_way(self, server: Server, scratch: Scratch) -> None:
        """Only a user who may resize makes it work, and an export does not."""
        disk = scratch.full_disk("d", MIB, seed=1)
        file = {"driver": "file", "filename": str(disk.path)}
        server.qmp.command("blockdev-add", {"driver": "preallocate", "node-name": "p", "file": file})
        qemu_io(server.export("p"), "write -P 9 0 64k", "read -P 9 0 64k")
        assert disk.path.stat().st_size == MIB
        remove(server, "p")
        assert disk.read(0, 64 * KIB) == b"\x09" * 64 * KIB

    def test_resized_it_resizes_the_file(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("d", MIB)
        file = {"driver": "file", "filename": str(disk.path)}
        server.qmp.command("blockdev-add", {"driver": "preallocate", "node-name": "p", "file": file})
        for size in (3 * MIB, 2 * MIB):
            server.qmp.command("block_resize", node_name="p", size=size)
            assert disk.path.stat().st_size == size

    @pytest.mark.parametrize("options", [{"prealloc-align": 1000}, {"prealloc-align": -512}, {"prealloc-size": -1}])
    def test_bad_options(self, server: Server, scratch: Scratch, options: dict[str, int]) -> None:
        file = {"driver": "file", "filename": str(scratch.disk("d", MIB).path)}
        server.qmp.refused("blockdev-add", {"driver": "preallocate", "node-name": "p", "file": file, **options})
        assert server.node_names() == set()


def test_what_queries_tell_of_filters(server: Server, scratch: Scratch) -> None:
    """A filter is an image over the one that it filters, and hides what is particular to that one's format."""
    base = scratch.made_by_qemu_img("base", MIB, "qcow2")
    top = scratch.made_by_qemu_img("top", MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
    below = {"driver": "file", "filename": str(top.path)}
    file = {"driver": "qcow2", "node-name": "top", "file": below}
    server.qmp.command("blockdev-add", {"driver": "compress", "node-name": "k", "file": file})

    def told(flat: bool) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes", flat=flat)
        return next(entry for entry in nodes if entry["node-name"] == "k")

    whole, flat = told(False), told(True)
    assert (whole["drv"], whole["backing_file_depth"], flat["backing_file_depth"]) == ("compress", 2, 0)
    image = whole["image"]
    assert json.loads(image["filename"].removeprefix("json:")) == {
        "driver": "compress",
        "file": {"driver": "qcow2", "file": below},
    }
    names = {"filename", "format", "virtual-size", "actual-size", "cluster-size", "dirty-flag"}
    assert set(image) == names | {"backing-image"}
    assert set(flat["image"]) == names
    assert image["backing-image"]["format-specific"]["type"] == "qcow2"
    assert image["backing-image"]["backing-image"]["filename"] == str(base.path)
    assert "backing_file" not in whole
