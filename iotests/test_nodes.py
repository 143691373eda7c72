"""Nodes: opening, refusing, describing, resizing, locking and closing them."""

from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, QMPRefused, Scratch, Server
from iotests.harness.backups import SLOW, with_target
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import nbdinfo, qemu_img, qemu_io, qemu_io_fails, refused_by_qemu_img

LOCKED = "lock"
"""What qemu-img says of an image that somebody else has open."""


def node_info(server: Server, name: str) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes."""
    nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes")
    return next(entry for entry in nodes if entry["node-name"] == name)


class TestAdd:
    """blockdev-add."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"driver": "raw"},
            {"driver": "nonsense", "node-name": "x"},
            {"node-name": "x"},
            {"driver": 7, "node-name": "x"},
            {"driver": "raw", "node-name": "x"},
            {"driver": "raw", "node-name": "x", "file": None},
            {"driver": "raw", "node-name": "x", "file": "nobody"},
            {"driver": "raw", "node-name": "x", "file": {"driver": "file"}},
            {"driver": "raw", "node-name": "x", "file": {"driver": "nonsense", "filename": "{img}"}},
            {"driver": "raw", "node-name": "x", "file": {"driver": "file", "filename": "{img}", "colour": "red"}},
            {"driver": "raw", "node-name": "x", "file": "taken", "offset": 2 * MIB},
            {"driver": "raw", "node-name": "x", "file": "taken", "size": 2 * MIB},
            {"driver": "raw", "node-name": "x", "file": "taken", "size": 1000},
            {"driver": "raw", "node-name": "x", "file": "taken", "size": "512"},
            {"driver": "file", "node-name": "x"},
            {"driver": "file", "node-name": "x", "filename": "/nonexistent/image"},
            {"driver": "file", "node-name": "x", "filename": "{dir}"},
            {"driver": "file", "node-name": "x", "filename": "/dev/zero"},
            {"driver": "file", "node-name": "x", "filename": "{img}", "read-only": "yes"},
            {"driver": "file", "node-name": "x", "filename": "{img}", "cache": {"direct": 1}},
            {"driver": "file", "node-name": "x", "filename": "{img}", "locking": "perhaps"},
            {"driver": "null-co"},
            {"driver": "null-co", "node-name": ""},
            {"driver": "null-co", "node-name": "1x"},
            {"driver": "null-co", "node-name": "a b"},
            {"driver": "null-co", "node-name": "#x"},
            {"driver": "null-co", "node-name": "x" * 32},
            {"driver": "null-co", "node-name": "taken"},
            {"driver": "null-co", "node-name": "x", "size": "big"},
            {"driver": "null-co", "node-name": "x", "size": 1.5},
            {"driver": "null-co", "node-name": "x", "size": True},
            {"driver": "null-co", "node-name": "x", "sizee": 1},
        ],
        ids=str,
    )
    def test_refusals(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        """Each is refused with a reason, and no node - nor a child of it - stays behind."""
        disk = scratch.disk("img", MIB)
        server.qmp.command("blockdev-add", driver="file", node_name="taken", filename=str(disk.path))
        nodes = server.node_names()
        server.qmp.refused("blockdev-add", filled(options, {"{img}": str(disk.path), "{dir}": str(scratch.directory)}))
        assert server.node_names() == nodes

    @pytest.mark.qmpd_only("QEMU 7.2 aborts")
    def test_negative_size(self, server: Server) -> None:
        server.qmp.refused("blockdev-add", driver="null-co", node_name="x", size=-1)
        assert server.node_names() == set()

    def test_file_by_name_and_inline(self, server: Server, scratch: Scratch) -> None:
        """Both spellings read the same bytes."""
        disk = scratch.full_disk("img", MIB, seed=1)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=str(disk.path))
        server.qmp.command("blockdev-add", driver="raw", node_name="named", file="f")
        server.add_raw(disk, "inline", read_only=True)
        for node in ("named", "inline"):
            uri = server.export(node, writable=False)
            qemu_img("compare", "-U", "-f", "raw", "-F", "raw", uri, disk.path)

    def test_longest_name(self, server: Server) -> None:
        name = "x" * 31
        server.add_null(name, MIB)
        server.qmp.command("blockdev-del", node_name=name)

    @pytest.mark.parametrize(
        "options",
        [
            {"cache": {"direct": True}},
            {"cache": {"no-flush": True}},
            {"discard": "unmap"},
            {"discard": "ignore"},
            {"locking": "on"},
            {"locking": "off"},
            {"locking": "auto"},
            {"read-only": True},
            {"auto-read-only": True},
            {"read-only": True, "auto-read-only": True},
            {"force-share": True, "read-only": True},
            {"detect-zeroes": "on"},
            {"discard": "unmap", "detect-zeroes": "unmap"},
        ],
        ids=str,
    )
    def test_file_options(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        """Every option of the file driver opens, and the data is there."""
        disk = scratch.full_disk("img", MIB, seed=2)
        disk.write(64 * KIB, b"\x5a" * 4096)
        base = {"driver": "file", "node-name": "f", "filename": str(disk.path)}
        server.qmp.command("blockdev-add", base | options)
        cache = options.get("cache", {})
        assert node_info(server, "f")["cache"] == {
            "writeback": True,
            "direct": cache.get("direct", False),
            "no-flush": cache.get("no-flush", False),
        }
        writable = not options.get("read-only")
        uri = server.export("f", writable=writable)
        if writable:
            qemu_io(uri, "read -P 0x5a 64k 4k", "write -P 0x21 0 64k", "write -z 128k 64k", "discard 256k 64k", "flush")
            qemu_io(uri, "read -P 0x21 0 64k", "read -P 0 128k 64k")
        else:
            qemu_io(uri, "read -P 0x5a 64k 4k", options=["-r"])

    def test_slice(self, server: Server, scratch: Scratch) -> None:
        """raw's offset and size cut a piece out of the file, and nothing outside is touched."""
        disk = scratch.full_disk("img", MIB, seed=3)
        before = disk.read(0, MIB)
        server.add_raw(disk, "slice", offset=64 * KIB, size=128 * KIB)
        uri = server.export("slice")
        assert nbdinfo(uri)["exports"][0]["export-size"] == 128 * KIB
        qemu_io(uri, "write -P 7 0 128k", "flush")
        qemu_io_fails(uri, "write 128k 512")
        assert disk.read(0, MIB) == before[: 64 * KIB] + b"\7" * (128 * KIB) + before[192 * KIB :]

    def test_read_only_refuses_writers(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("img"), read_only=True)
        server.start_nbd()
        server.qmp.refused("block-export-add", type="nbd", id="e", node_name="img", writable=True)

    def test_auto_read_only(self, server: Server, scratch: Scratch) -> None:
        """A file that nobody may write opens read-only, if auto-read-only allows it."""
        disk = scratch.disk("img", MIB)
        options = {"driver": "file", "node-name": "f", "filename": str(disk.path), "auto-read-only": True}
        server.qmp.command("blockdev-add", options | {"read-only": True})
        assert node_info(server, "f")["ro"] is True


def filled(value: Any, words: dict[str, str]) -> Any:
    """Replace placeholders in nested options."""
    if isinstance(value, dict):
        return {key: filled(member, words) for key, member in value.items()}
    return words.get(value, value) if isinstance(value, str) else value


class TestDelete:
    """blockdev-del."""

    def test_unknown(self, server: Server) -> None:
        server.qmp.refused("blockdev-del", node_name="nobody")
        server.qmp.refused("blockdev-del")

    def test_child_in_use(self, server: Server, scratch: Scratch) -> None:
        """A child that has a name of its own outlives its parent; until then it is in use."""
        disk = scratch.disk("img", MIB)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=str(disk.path))
        server.qmp.command("blockdev-add", driver="raw", node_name="r", file="f")
        server.qmp.refused("blockdev-del", node_name="f")
        server.qmp.command("blockdev-del", node_name="r")
        server.qmp.command("blockdev-del", node_name="f")
        assert server.node_names() == set()

    def test_inline_child_goes_along(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("img", MIB))
        assert len(server.node_names()) == 2
        server.qmp.command("blockdev-del", node_name="img")
        assert server.node_names() == set()

    def test_exported(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("img", MIB))
        server.export("img")
        server.qmp.refused("blockdev-del", node_name="img")
        server.qmp.command("block-export-del", id="export-img")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-img")
        server.qmp.command("blockdev-del", node_name="img")

    def test_the_file_is_closed(self, server: Server, scratch: Scratch) -> None:
        """Afterwards anybody may write to the image."""
        disk = scratch.disk("img", MIB)
        server.add_raw(disk)
        server.export("img")
        assert LOCKED in refused_by_qemu_img("resize", "-f", "raw", disk.path, "2M")
        server.qmp.command("block-export-del", id="export-img", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-img")
        server.qmp.command("blockdev-del", node_name="img")
        qemu_img("resize", "-q", "-f", "raw", disk.path, "2M")

    def test_again_and_again(self, server: Server, scratch: Scratch) -> None:
        """Two hundred times, and the server holds no more descriptors than after the first."""
        disk = scratch.disk("img", MIB)
        descriptors = []
        for _ in range(200):
            server.add_raw(disk)
            server.qmp.command("blockdev-del", node_name="img")
            descriptors.append(open_files(server))
        assert descriptors[-1] <= descriptors[0]


def open_files(server: Server) -> int:
    """How many file descriptors the server process holds."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


class TestDescribe:
    """The query commands, spelled out once for both servers."""

    def expected(self, **different: Any) -> dict[str, Any]:
        """An entry of query-named-block-nodes as it is for any plain node."""
        zeroes = ("iops", "iops_rd", "iops_wr", "bps", "bps_rd", "bps_wr", "write_threshold", "backing_file_depth")
        return {
            **dict.fromkeys(zeroes, 0),
            "ro": False,
            "encrypted": False,
            "detect_zeroes": "off",
            "cache": {"writeback": True, "direct": False, "no-flush": False},
            **different,
        }

    @pytest.mark.parametrize("flat", [False, True, None])
    def test_raw_and_file(self, server: Server, scratch: Scratch, flat: bool | None) -> None:
        disk = scratch.full_disk("img", MIB, seed=1)
        path = str(disk.path)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=path)
        server.qmp.command("blockdev-add", driver="raw", node_name="r", file="f")
        nodes = server.qmp.command("query-named-block-nodes", **({} if flat is None else {"flat": flat}))
        for entry in nodes:
            entry.pop("active", None)  # of later versions of QEMU
        described = []
        for name, driver in (("r", "raw"), ("f", "file")):
            image = {
                "filename": path,
                "format": driver,
                "virtual-size": MIB,
                "actual-size": disk.allocated,
                "dirty-flag": False,
            }
            described.append(self.expected(**{"node-name": name, "drv": driver, "file": path, "image": image}))
        assert nodes == described, "newest first"

    @pytest.mark.parametrize("driver", ["null-co", "null-aio"])
    def test_null(self, server: Server, driver: str) -> None:
        server.qmp.command("blockdev-add", driver=driver, node_name="n")
        server.qmp.command("blockdev-add", driver=driver, node_name="odd", size=1000)
        odd, plain = server.qmp.command("query-named-block-nodes")
        plain.pop("active", None)  # of later versions of QEMU
        name = f"{driver}://"
        image = {"filename": name, "format": driver, "virtual-size": 1 << 30, "actual-size": 0}
        assert plain == self.expected(**{"node-name": "n", "drv": driver, "file": name, "image": image})
        assert odd["image"]["virtual-size"] == 1024

    def test_read_only(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("img", MIB), read_only=True)
        assert [entry["ro"] for entry in server.qmp.command("query-named-block-nodes")] == [True, True]

    def test_dirty_bitmaps(self, server: Server) -> None:
        server.add_null("n", MIB)
        assert "dirty-bitmaps" not in node_info(server, "n")
        server.qmp.command("block-dirty-bitmap-add", node="n", name="b", granularity=4096, disabled=True)
        assert node_info(server, "n")["dirty-bitmaps"] == [
            {
                "name": "b",
                "granularity": 4096,
                "count": 0,
                "recording": False,
                "busy": False,
                "persistent": False,
            }
        ]

    def test_block_devices(self, server: Server, scratch: Scratch) -> None:
        """A storage daemon has nodes but no devices."""
        server.add_raw(scratch.disk("img", MIB))
        server.export("img")
        assert server.qmp.command("query-block") == []
        assert server.qmp.command("query-blockstats") == []

    def test_statistics(self, server: Server, scratch: Scratch) -> None:
        """Per node, oldest first, with QEMU's counters."""
        disk = scratch.disk("img", MIB)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=str(disk.path))
        server.add_null("n", MIB)
        file, null = server.qmp.command("query-blockstats", query_nodes=True)
        assert (file["node-name"], null["node-name"]) == ("f", "n")
        counters = {
            f"{prefix}{kind}{suffix}"
            for kind in ("rd", "wr", "flush", "unmap")
            for prefix, suffix in (("", "_operations"), ("", "_total_time_ns"), ("failed_", "_operations"))
        }
        counters |= {f"invalid_{kind}_operations" for kind in ("rd", "wr", "flush", "unmap")}
        counters |= {"rd_bytes", "wr_bytes", "unmap_bytes", "rd_merged", "wr_merged", "unmap_merged"}
        counters |= {"wr_highest_offset"}
        others = {"account_invalid", "account_failed", "timed_stats"}
        for entry in (file, null):
            stats = entry["stats"]
            assert set(stats) == counters | others
            assert all(type(stats[name]) is int and stats[name] == 0 for name in counters)
            assert stats["timed_stats"] == [] and stats["account_invalid"] is False
        assert set(null) == {"node-name", "stats"}
        assert file["driver-specific"] == {
            "driver": "file",
            "discard-nb-ok": 0,
            "discard-nb-failed": 0,
            "discard-bytes-ok": 0,
        }

    def test_highest_write(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("img", MIB))
        qemu_io(server.export("img"), "write 256k 64k", "write 0 4k")
        nodes = server.qmp.command("query-blockstats", query_nodes=True)
        raw = next(entry for entry in nodes if entry.get("node-name") == "img")
        assert raw["stats"]["wr_highest_offset"] == 320 * KIB

    def test_graph(self, server: Server, scratch: Scratch) -> None:
        """x-debug-query-block-graph: nodes, the export's backend, and the permissions on the edges."""
        disk = scratch.disk("img", MIB)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=str(disk.path))
        server.qmp.command("blockdev-add", driver="raw", node_name="r", file="f")
        server.export("r")
        graph = server.qmp.command("x-debug-query-block-graph")
        assert set(graph) == {"nodes", "edges"}
        names = {entry["id"]: (entry["type"], entry["name"]) for entry in graph["nodes"]}
        assert {("block-driver", "f"), ("block-driver", "r")} < set(names.values())
        (backend,) = set(names.values()) - {("block-driver", "f"), ("block-driver", "r")}
        assert backend[0] == "block-backend"
        edges = {
            (names[edge["parent"]], edge["name"], names[edge["child"]]): (
                set(edge["perm"]),
                set(edge["shared-perm"]),
            )
            for edge in graph["edges"]
        }
        assert all(set(edge) == {"parent", "child", "name", "perm", "shared-perm"} for edge in graph["edges"])
        r, f = ("block-driver", "r"), ("block-driver", "f")
        assert set(edges) == {(backend, "root", r), (r, "file", f)}
        perm, shared = edges[backend, "root", r]
        assert perm == {"consistent-read", "write"}
        assert shared == {"consistent-read", "write", "write-unchanged"}
        assert {"consistent-read", "write"} <= edges[r, "file", f][0]


class TestResize:
    """block_resize."""

    def test_grow_and_shrink(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("img", MIB, seed=4)
        server.add_raw(disk)
        for length in (3 * MIB, 3 * MIB + 512, 512):
            server.qmp.command("block_resize", node_name="img", size=length)
            assert disk.path.stat().st_size == length
            assert node_info(server, "img")["image"]["virtual-size"] == length

    def test_device_may_name_a_node(self, server: Server, scratch: Scratch) -> None:
        """QEMU looks `device` up among devices only; there are none."""
        server.add_raw(scratch.disk("img", MIB))
        server.qmp.refused("block_resize", device="nobody", size=MIB, error_class="GenericError")

    @pytest.mark.parametrize(
        "options",
        [
            {"node-name": "img", "size": -1},
            {"node-name": "img"},
            {"node-name": "img", "size": "2M"},
            {"node-name": "nobody", "size": MIB},
            {"size": MIB},
            {"node-name": "null", "size": 2 * MIB},
            {"node-name": "slice", "size": 2 * MIB},
            {"node-name": "locked", "size": 2 * MIB},
        ],
        ids=str,
    )
    def test_refusals(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        disk = scratch.disk("img", MIB)
        server.add_raw(disk)
        server.add_null("null", MIB)
        server.add_raw(scratch.disk("whole", MIB), "slice", offset=512, size=64 * KIB)
        server.add_raw(scratch.disk("locked", MIB), read_only=True)
        server.qmp.refused("block_resize", options)
        assert disk.path.stat().st_size == MIB

    def test_exported(self, server: Server, scratch: Scratch) -> None:
        """An export does not let its node be resized."""
        server.add_raw(scratch.disk("img", MIB))
        server.export("img")
        server.qmp.refused("block_resize", node_name="img", size=2 * MIB)


class TestLocks:
    """Images in use are protected from other programs, and theirs from the server, on QEMU's lock bytes."""

    def test_writer_keeps_others_out(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("img", MIB)
        server.add_raw(disk)
        server.export("img")
        assert LOCKED in refused_by_qemu_img("resize", "-f", "raw", disk.path, "2M")
        assert LOCKED in refused_by_qemu_img("convert", "-f", "raw", disk.path, scratch / "out.img")
        qemu_img("info", "-U", disk.path)
        assert disk.path.stat().st_size == MIB

    def test_reader_lets_readers_in(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("img", MIB, seed=5)
        server.add_raw(disk, read_only=True)
        server.export("img", writable=False)
        qemu_img("convert", "-f", "raw", disk.path, scratch / "out.img")
        qemu_img("info", disk.path)

    def test_job_target_is_locked(self, server: Server, scratch: Scratch) -> None:
        disk, target = scratch.full_disk("img", 4 * MIB, seed=6), scratch.disk("target")
        server.add_raw(disk)
        server.add_raw(target)
        server.qmp.command("blockdev-backup", job_id="j", device="img", target="target", sync="full", speed=1)
        assert LOCKED in refused_by_qemu_img("resize", "-f", "raw", target.path, "8M")
        server.qmp.command("job-cancel", id="j")
        server.qmp.wait_job("j", "null")
        qemu_img("resize", "-q", "-f", "raw", target.path, "8M")

    def test_other_server_is_respected(self, launch: Launcher, scratch: Scratch) -> None:
        """A disk under backup shares no writing: a second server is refused, whichever of the two comes first."""
        first, second = launch(), launch.peer("qsd")
        disk = scratch.full_disk("img", 4 * MIB, seed=7)
        for owner, other in ((first, second), (second, first)):
            copy = with_target(owner, scratch, disk)
            copy.start(speed=SLOW)
            assert LOCKED in refusal(other, disk.path)
            owner.qmp.command("job-cancel", id=copy.job)
            owner.qmp.wait_job(copy.job, "null")
            for node in (copy.name, copy.target_name):
                owner.qmp.command("blockdev-del", node_name=node)

    def test_locking_off(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("img", MIB)
        server.qmp.command("blockdev-add", driver="file", node_name="f", filename=str(disk.path), locking="off")
        server.export("f")
        qemu_io(disk.path, "write -P 1 0 64k")


def refusal(server: Server, path: Any) -> str:
    """Open an image on a server and export it writable: one of the two has to be refused; gives the reason."""
    try:
        server.add_raw(path)
        server.export("img")
    except QMPRefused as refused:
        assert refused.error_class == "GenericError"
        if "img" in server.node_names():
            server.qmp.command("blockdev-del", node_name="img")
        return refused.desc
    raise AssertionError("a second writer was let in")


class TestWaysToReadFiles:
    """Options of `file` that ask for what the host or the daemon has not."""

    def refused(self, server: Server, scratch: Scratch, **options: Any) -> str:
        path = str(scratch.disk("d", MIB).path)
        arguments = {"driver": "file", "node-name": "f", "filename": path, **options}
        reason: str = server.qmp.refused("blockdev-add", arguments)
        assert server.node_names() == set()
        return reason

    def test_native_needs_direct(self, server: Server, scratch: Scratch) -> None:
        assert "cache.direct" in self.refused(server, scratch, aio="native")
        assert "cache.direct" in self.refused(server, scratch, aio="native", cache={"direct": False})
        path = str(scratch.disk("d", MIB).path)
        server.qmp.command(
            "blockdev-add", driver="file", node_name="f", filename=path, aio="native", cache={"direct": True}
        )

    def test_native_with_what_is_inherited(self, server: Server, scratch: Scratch) -> None:
        file = {"driver": "file", "filename": str(scratch.disk("d", MIB).path), "aio": "native"}
        raw = {"driver": "raw", "node-name": "r", "file": file}
        server.qmp.refused("blockdev-add", raw)
        server.qmp.command("blockdev-add", raw, cache={"direct": True})

    def test_no_helper_for_reservations(self, server: Server, scratch: Scratch) -> None:
        assert "pr0" in self.refused(server, scratch, **{"pr-manager": "pr0"})
