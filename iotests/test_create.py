"""blockdev-create on both servers: what options there are, which are refused and when, and what comes of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import qemu_img, qemu_io


def create(server: Server, driver: str, **options: Any) -> str | None:
    """Run the job to its end; its error, None when it has gone well."""
    qmp = server.qmp
    qmp.command("blockdev-create", {"job-id": "c", "options": {"driver": driver, **options}})
    qmp.wait_job("c", "concluded")
    job = qmp.job("c")
    assert job is not None
    assert (job["type"], job["current-progress"], job["total-progress"]) == ("create", 1, 1)
    statuses = qmp.job_statuses("c")
    ending = ["aborting"] if "error" in job else ["waiting", "pending"]
    assert statuses == ["created", "running", *ending, "concluded"]
    qmp.command("job-dismiss", id="c")
    qmp.forget_events()
    return job.get("error")


def info(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(qemu_img("info", "-U", "--output=json", path))
    return told


class TestFile:
    @pytest.mark.parametrize("mode", ["off", "falloc", "full"])
    def test_preallocation(self, server: Server, scratch: Scratch, mode: str) -> None:
        path = scratch / "f"
        assert create(server, "file", filename=str(path), size=MIB, preallocation=mode) is None
        assert path.stat().st_size == MIB
        assert (path.stat().st_blocks * 512 >= MIB) is (mode != "off")

    def test_hints_for_the_file_system(self, server: Server, scratch: Scratch) -> None:
        """Where it does not take them, the file is made all the same."""
        every: list[dict[str, Any]] = [{"nocow": True}, {"extent-size-hint": 0}, {"extent-size-hint": 2 * MIB}]
        for number, hints in enumerate(every):
            path = scratch / f"f{number}"
            assert create(server, "file", filename=str(path), size=MIB, **hints) is None
            assert path.stat().st_size == MIB

    def test_what_was_there_is_lost(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("d", MIB, seed=1)
        assert create(server, "file", filename=str(disk.path), size=64 * KIB) is None
        assert disk.path.read_bytes() == bytes(64 * KIB)

    def test_an_image_in_use(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("d", MIB, seed=1)
        server.export(server.add_raw(disk))
        assert create(server, "file", filename=str(disk.path), size=64 * KIB)
        assert disk.path.stat().st_size == MIB

    def test_failures(self, server: Server, scratch: Scratch) -> None:
        for options in (
            {"preallocation": "metadata"},
            {"size": 1 << 62},
            {"size": 1 << 63},
            {"extent-size-hint": 1 << 40},
            {"filename": "/nonexistent/f"},
        ):
            wanted: dict[str, Any] = {"filename": str(scratch / "f"), "size": MIB, **options}
            assert create(server, "file", **wanted), options


def test_drivers_that_make_nothing(server: Server) -> None:
    """They are refused at once; there is no job."""
    for driver in ("raw", "null-co", "host_device", "copy-before-write"):
        server.qmp.refused("blockdev-create", {"job-id": "c", "options": {"driver": driver}})
    assert server.qmp.command("query-jobs") == []


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"compat": "1.1", "refcount-bits": 16, "lazy-refcounts": False, "extended-l2": False}),
    ({"version": "v2"}, {"compat": "0.10"}),
    ({"cluster-size": 512}, {}),
    ({"cluster-size": 2 * MIB, "refcount-bits": 64}, {"refcount-bits": 64}),
    ({"lazy-refcounts": True, "compression-type": "zstd"}, {"lazy-refcounts": True, "compression-type": "zstd"}),
    ({"extended-l2": True, "preallocation": "metadata"}, {"extended-l2": True}),
    ({"preallocation": "falloc"}, {}),
    ({"preallocation": "full", "cluster-size": 4096}, {}),
    ({"size": 0}, {}),
]
"""Options, and what qemu-img has to say of an image made with them."""

BAD_OPTIONS: list[dict[str, Any]] = [
    {"size": 1000},
    {"cluster-size": 1000},
    {"cluster-size": 256},
    {"cluster-size": 4 * MIB},
    {"refcount-bits": 3},
    {"refcount-bits": 128},
    {"version": "v2", "lazy-refcounts": True},
    {"version": "v2", "refcount-bits": 1},
    {"version": "v2", "compression-type": "zstd"},
    {"version": "v2", "extended-l2": True},
    {"extended-l2": True, "cluster-size": 8192},
    {"backing-fmt": "qcow2"},
    {"backing-file": "b", "preallocation": "metadata"},
    {"data-file-raw": True},
    {"data-file": "nowhere"},
    {"file": "nowhere"},
    {"file": {"driver": "file", "filename": "/nonexistent/f"}},
]


class TestQcow2:
    @pytest.fixture
    def node(self, server: Server, scratch: Scratch) -> str:
        """An empty file as node `f`."""
        return self.empty(server, scratch / "f")

    def empty(self, server: Server, path: Path) -> str:
        path.touch()
        server.qmp.command("blockdev-add", driver="file", node_name=path.name, filename=str(path))
        return path.name

    def test_options(self, server: Server, scratch: Scratch) -> None:
        for number, (options, found) in enumerate(OPTIONS):
            node = self.empty(server, scratch / f"f{number}")
            wanted = {"size": 4 * MIB, **options}
            assert create(server, "qcow2", file=node, **wanted) is None
            server.qmp.command("blockdev-del", node_name=node)
            self.judge(scratch / node, wanted, found)

    def judge(self, path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        told = info(path)
        assert (told["virtual-size"], told["cluster-size"]) == (wanted["size"], wanted.get("cluster-size", 64 * KIB))
        assert found.items() <= told["format-specific"]["data"].items()
        if wanted.get("preallocation") in ("falloc", "full"):
            assert told["actual-size"] >= 4 * MIB
        qemu_img("check", path)
        if wanted["size"]:
            qemu_io(path, "read -P 0 0 4M", "write -P 5 1M 64k", image_format="qcow2")

    def test_failures(self, server: Server, scratch: Scratch, node: str) -> None:
        """The job tells; the node is as it was, and free."""
        for options in BAD_OPTIONS:
            assert create(server, "qcow2", **{"file": node, "size": MIB, **options}), options
        assert server.node_names() == {node}
        server.qmp.command("blockdev-del", node_name=node)
        assert (scratch / "f").stat().st_size == 0

    def test_too_long_a_name(self, server: Server, node: str) -> None:
        assert create(server, "qcow2", **{"file": node, "size": MIB, "backing-file": "x" * 2000})

    def test_backing(self, server: Server, scratch: Scratch, node: str) -> None:
        base = scratch.full_disk("base", MIB, seed=2)
        options = {"size": MIB, "backing-file": str(base.path), "backing-fmt": "raw"}
        assert create(server, "qcow2", file=node, **options) is None
        server.qmp.command("blockdev-del", node_name=node)
        told = info(scratch / "f")
        assert (told["backing-filename"], told["backing-filename-format"]) == (str(base.path), "raw")
        assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", scratch / "f", base.path)

    @pytest.mark.parametrize("options", [{}, {"lazy-refcounts": True}, {"preallocation": "falloc"}])
    def test_data_file(self, server: Server, scratch: Scratch, node: str, options: dict[str, Any]) -> None:
        (scratch / "data").touch()
        server.qmp.command("blockdev-add", driver="file", node_name="data", filename=str(scratch / "data"))
        assert create(server, "qcow2", file=node, size=MIB, **{"data-file": "data"}, **options) is None
        for name in (node, "data"):
            server.qmp.command("blockdev-del", node_name=name)
        assert info(scratch / "f")["format-specific"]["data"]["data-file"] == str(scratch / "data")
        file = {"driver": "file", "filename": str(scratch / "f")}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": file})
        qemu_io(server.export("q"), "write -P 5 64k 64k", "read -P 0 0 64k", "read -P 5 64k 64k")
        server.terminate()
        qemu_img("check", scratch / "f")

    def test_a_data_file_that_is_a_disk_by_itself(self, server: Server, scratch: Scratch, node: str) -> None:
        """What it holds already is what the image shows."""
        data = scratch.full_disk("data", MIB, seed=3)
        server.qmp.command("blockdev-add", driver="file", node_name="data", filename=str(data.path))
        options = {"data-file": "data", "data-file-raw": True}
        assert create(server, "qcow2", file=node, size=MIB, **options) is None
        for name in (node, "data"):
            server.qmp.command("blockdev-del", node_name=name)
        told = info(scratch / "f")
        assert told["format-specific"]["data"]["data-file-raw"] is True
        assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", scratch / "f", data.path)

    @pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
    @pytest.mark.parametrize("size", [MIB // 2, 2 * MIB])
    def test_what_a_data_file_has_stays(
        self, server: Server, scratch: Scratch, node: str, preallocation: str, size: int
    ) -> None:
        """Whatever space is to be taken; and nothing of it is cut off if it is longer than the disk."""
        data, before = scratch.full_disk("data", MIB, seed=3), scratch.full_disk("before", MIB, seed=3)
        server.qmp.command("blockdev-add", driver="file", node_name="data", filename=str(data.path))
        options = {"data-file": "data", "data-file-raw": True, "preallocation": preallocation}
        assert create(server, "qcow2", file=node, size=size, **options) is None
        assert data.read(0, MIB) == before.read(0, MIB)
        assert not any(data.read(MIB, MIB))
        if preallocation in ("falloc", "full"):
            assert data.allocated >= size

    def test_one_node_for_both_files(self, server: Server, scratch: Scratch, node: str) -> None:
        assert create(server, "qcow2", file=node, size=MIB, **{"data-file": node})

    def test_a_node_that_cannot_be_written(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("d", MIB, seed=4)
        server.qmp.command(
            "blockdev-add", {"driver": "file", "node-name": "d", "filename": str(disk.path), "read-only": True}
        )
        assert create(server, "qcow2", file="d", size=MIB)
        server.export("d", writable=False)
        assert create(server, "qcow2", file="d", size=MIB)

    def test_defined_in_place(self, server: Server, scratch: Scratch) -> None:
        (scratch / "f").touch()
        file = {"driver": "file", "filename": str(scratch / "f")}
        assert create(server, "qcow2", file=file, size=MIB) is None
        assert server.node_names() == set()
        assert info(scratch / "f")["virtual-size"] == MIB
