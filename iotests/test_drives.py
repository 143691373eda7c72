"""Drives: --drive, how queries show them, and commands that name them. On qmpd and on a QEMU without a machine."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.tools import assert_same, qemu_io, qemu_io_fails

pytestmark = pytest.mark.peer("qemu")

Block = dict[str, Any]


def blocks(server: Server) -> dict[str, Block]:
    """What query-block tells, by name."""
    return {entry["device"]: entry for entry in server.qmp.command("query-block")}


def only_block(server: Server) -> Block:
    (entry,) = server.qmp.command("query-block")
    assert isinstance(entry, dict)
    return entry


def export(server: Server, device: str, *, writable: bool = True) -> str:
    """Export what is in a drive; gives the URI. Exports are of nodes, which drives need not name."""
    server.start_nbd()
    node = blocks(server)[device]["inserted"]["node-name"]
    server.qmp.command(
        "block-export-add", type="nbd", id=f"export-{device}", node_name=node, name=device, writable=writable
    )
    return server.nbd_uri(device)


@pytest.fixture
def qcow2(scratch: Scratch) -> Disk:
    return scratch.made_by_qemu_img("disk", 4 * MIB, "qcow2")


@pytest.fixture
def raw(scratch: Scratch) -> Disk:
    return scratch.disk("raw", MIB)


class TestQueries:
    """What query-block says."""

    def test_a_drive_without_anything_special(self, launch: Launcher, qcow2: Disk) -> None:
        server = launch("--drive", f"if=none,id=d0,file={qcow2.path}")
        entry = only_block(server)
        inserted = entry.pop("inserted")
        assert entry == {"device": "d0", "locked": False, "removable": True, "type": "unknown"}
        assert inserted.pop("node-name").startswith("#block")
        assert inserted["image"]["format"] == "qcow2"
        assert {key: inserted[key] for key in ("file", "ro", "drv", "detect_zeroes", "encrypted", "bps", "iops")} == {
            "file": str(qcow2.path),
            "ro": False,
            "drv": "qcow2",
            "detect_zeroes": "off",
            "encrypted": False,
            "bps": 0,
            "iops": 0,
        }
        assert inserted["cache"] == {"direct": False, "no-flush": False, "writeback": True}

    def test_an_empty_drive(self, launch: Launcher) -> None:
        server = launch("--drive", "if=none,id=d0,read-only=on")
        assert only_block(server) == {"device": "d0", "locked": False, "removable": True, "type": "unknown"}
        for command, arguments in (
            ("blockdev-snapshot-sync", {"snapshot-file": "x.qcow2"}),
            ("block_resize", {"size": 512}),
            ("block-stream", {}),
        ):
            server.qmp.refused(command, {"device": "d0", **arguments})
        server.qmp.refused("block-commit", device="d0", error_class="DeviceNotFound")

    @pytest.mark.parametrize(
        ("mode", "direct", "no_flush", "writeback"),
        [
            ("writethrough", False, False, False),
            ("unsafe", False, True, True),
            ("none", True, False, True),
            ("directsync,cache.direct=off", False, False, False),
        ],
    )
    def test_cache_modes(
        self, launch: Launcher, raw: Disk, mode: str, direct: bool, no_flush: bool, writeback: bool
    ) -> None:
        server = launch("--drive", f"if=none,file={raw.path},format=raw,cache={mode}")
        entry = only_block(server)
        assert entry["device"] == "none0"
        assert entry["inserted"]["cache"] == {"direct": direct, "no-flush": no_flush, "writeback": writeback}
        # A node knows nothing of what guests are told.
        nodes = server.qmp.command("query-named-block-nodes", flat=True)
        assert all(node["cache"] == {"direct": direct, "no-flush": no_flush, "writeback": True} for node in nodes)

    def test_options_of_nodes(self, launch: Launcher, raw: Disk) -> None:
        server = launch(
            "--drive",
            f"if=none,id=d0,file={raw.path},format=raw,node-name=top,file.node-name=below,readonly=on,"
            "detect-zeroes=unmap",
        )
        inserted = only_block(server)["inserted"]
        assert (inserted["node-name"], inserted["ro"], inserted["detect_zeroes"]) == ("top", True, "unmap")
        assert server.node_names() == {"top", "below"}

    @pytest.mark.parametrize(
        ("options", "driver", "size"),
        [
            ("driver=null-co,size=1M", "null-co", MIB),
            ("file=null-co://,format=raw", "raw", 1 << 30),
            ("file.driver=null-co,format=raw,file.size=2M", "raw", 2 * MIB),
            ('file=json:{"driver":"raw",,"file":{"driver":"null-co",,"size":65536}}', "raw", 64 * KIB),
        ],
    )
    def test_other_ways_to_name_an_image(self, launch: Launcher, options: str, driver: str, size: int) -> None:
        inserted = only_block(launch("--drive", f"if=none,id=d0,{options}"))["inserted"]
        assert (inserted["drv"], inserted["image"]["virtual-size"]) == (driver, size)

    def test_statistics(self, launch: Launcher, raw: Disk) -> None:
        server = launch("--drive", f"if=none,id=d0,file={raw.path},format=raw,node-name=top", "--drive", "if=none,id=e")
        named, empty = server.qmp.command("query-blockstats")
        assert (named["device"], named["node-name"]) == ("d0", "top")
        assert named["parent"]["stats"]["wr_highest_offset"] == 0
        assert named["stats"]["account_failed"] and named["stats"]["account_invalid"]
        assert empty["device"] == "e" and set(empty) == {"device", "stats"}

    def test_the_graph_tells_the_user(self, launch: Launcher, raw: Disk) -> None:
        server = launch("--drive", f"if=none,id=d0,file={raw.path},format=raw,node-name=top")
        graph = server.qmp.command("x-debug-query-block-graph")
        numbers = {node["name"]: node["id"] for node in graph["nodes"]}
        (edge,) = (edge for edge in graph["edges"] if edge["parent"] == numbers["d0"])
        assert edge["child"] == numbers["top"] and edge["perm"] == ["consistent-read"]
        assert set(edge["shared-perm"]) == {"consistent-read", "write", "write-unchanged", "resize"}


class TestCommands:
    """A drive's name where a command takes a device."""

    def test_jobs_are_named_after_it(self, launch: Launcher, qcow2: Disk, scratch: Scratch) -> None:
        server = launch("--drive", f"if=none,id=d0,file={qcow2.path}")
        target = scratch / "target.qcow2"
        server.qmp.command("drive-backup", device="d0", sync="full", target=str(target))
        server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0", type="backup")
        server.qmp.wait_job("d0", "null")
        server.qmp.command("block-stream", device="d0")
        server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0", type="stream")
        assert_same(qcow2.path, target, one_format="qcow2", other_format="qcow2")

    def test_it_follows_snapshots(self, launch: Launcher, qcow2: Disk, scratch: Scratch) -> None:
        server = launch("--drive", f"if=none,id=d0,file={qcow2.path}")
        overlay = scratch / "overlay.qcow2"
        server.qmp.command("blockdev-snapshot-sync", device="d0", snapshot_file=str(overlay))
        inserted = only_block(server)["inserted"]
        assert (inserted["file"], inserted["backing_file_depth"]) == (str(overlay), 1)
        server.qmp.command("block_resize", device="d0", size=8 * MIB)
        assert only_block(server)["inserted"]["image"]["virtual-size"] == 8 * MIB
        server.qmp.command("block-dirty-bitmap-add", node="d0", name="b")
        assert only_block(server)["inserted"]["dirty-bitmaps"][0]["name"] == "b"

    def test_names_are_taken(self, launch: Launcher, raw: Disk) -> None:
        server = launch("--drive", f"if=none,id=d0,file={raw.path},format=raw,node-name=top")
        for name in ("d0", "top"):
            server.qmp.refused("blockdev-add", driver="null-co", node_name=name)
        server.qmp.refused("blockdev-del", node_name="top")
        server.qmp.refused("blockdev-del", node_name="d0")

    def test_exports(self, launch: Launcher, raw: Disk) -> None:
        server = launch("--drive", f"if=none,id=d0,file={raw.path},format=raw")
        uri = export(server, "d0")
        qemu_io(uri, "write -P 7 64k 64k", "flush")
        assert raw.read(64 * KIB, 64 * KIB) == b"\7" * 64 * KIB


class TestMedia:
    """How media are opened."""

    def test_a_guess_is_guarded(self, launch: Launcher, raw: Disk, scratch: Scratch) -> None:
        """Where nobody said that an image is raw, nobody makes it look like something else."""
        server = launch("--drive", f"if=none,id=d0,file={raw.path}", "--drive", "if=none,id=e0,driver=null-co")
        assert blocks(server)["d0"]["inserted"]["drv"] == "raw"
        header = scratch / "header"
        header.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(504))
        uri = export(server, "d0")
        assert "Operation not permitted" in qemu_io_fails(uri, f"write -s {header} 0 512")
        qemu_io(uri, "write -P 9 0 64k", f"write -s {header} 512 512")
        assert raw.read(0, 4) == b"\t\t\t\t"

    def test_saying_raw_lifts_the_guard(self, launch: Launcher, raw: Disk, scratch: Scratch) -> None:
        server = launch("--drive", f"if=none,id=d0,file={raw.path},format=raw")
        header = scratch / "header"
        header.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(504))
        qemu_io(export(server, "d0"), f"write -s {header} 0 512")
        assert raw.read(0, 4) == b"QFI\xfb"

    def test_a_snapshot_keeps_the_image(self, launch: Launcher, qcow2: Disk, scratch: Scratch) -> None:
        before = scratch / "before.qcow2"
        shutil.copy(qcow2.path, before)
        server = launch("--drive", f"if=none,id=d0,file={qcow2.path},snapshot=on")
        inserted = only_block(server)["inserted"]
        assert (inserted["drv"], inserted["ro"], inserted["backing_file_depth"]) == ("qcow2", False, 1)
        overlay = Path(inserted["image"]["filename"].rpartition('"filename": "')[2].rstrip('"}'))
        assert not overlay.exists()
        qemu_io(export(server, "d0"), "write -P 7 0 1M", "flush", "read -P 7 0 1M")
        assert qcow2.path.read_bytes() == before.read_bytes()

    def test_copy_on_read(self, launch: Launcher, qcow2: Disk, scratch: Scratch) -> None:
        qemu_io(qcow2.path, "write -P 5 1M 64k", image_format="qcow2")
        overlay = scratch.made_by_qemu_img("overlay", 4 * MIB, "qcow2", "-b", str(qcow2.path), "-F", "qcow2")
        server = launch("--drive", f"if=none,id=d0,file={overlay.path},copy-on-read=on")
        assert only_block(server)["inserted"]["drv"] == "qcow2"
        qemu_io(export(server, "d0", writable=False), "read -P 5 1M 64k", options=["-r"])
        server.qmp.command("quit")
        server.wait_exit()
        assert "64 KiB (0x10000) bytes     allocated" in qemu_io(overlay.path, "map", image_format="qcow2")


@pytest.mark.parametrize(
    "options",
    [
        "if=none,file=/nonexistent/image",
        "if=none,format=raw,id=a",
        "if=none,file={raw},format=foo",
        "if=none,file={raw},format=raw,zzz=1",
        "if=none,file={raw},format=raw,node-name=a,id=a",
        "if=none,file=json:{{\"driver\":\"null-co\"}},format=raw",
        "if=none,id=1a",
    ],
)
def test_refusals(launch: Launcher, raw: Disk, options: str) -> None:
    """A reason on stderr, and status 1."""
    server = launch("--drive", options.format(raw=raw.path), start=False)
    server.spawn()
    assert server.wait_exit() == 1
    assert server.stderr.strip()


def test_names_are_given_once(launch: Launcher) -> None:
    server = launch("--drive", "if=none,id=a", "--drive", "if=none,id=a", start=False)
    server.spawn()
    assert server.wait_exit() == 1
    assert "'a'" in server.stderr
