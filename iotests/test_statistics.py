"""What query-blockstats counts, latency histograms, and the event that tells of failed requests."""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import nbdinfo, qemu_io, qemu_io_fails


def node_stats(server: Server, name: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = server.qmp.command("query-blockstats", query_nodes=True)
    return next(entry for entry in entries if entry.get("node-name") == name)


def test_equal_io_gives_equal_answers(server: Server, scratch: Scratch) -> None:
    """What both servers count of a node, and how nodes hang together in the answer."""
    file = {"driver": "file", "node-name": "f", "filename": str(scratch.disk("d", MIB).path), "discard": "unmap"}
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "d", "file": file, "discard": "unmap"})
    uri = server.export("d")
    qemu_io(uri, "write 64k 128k", "discard 0 64k", "write -z 512k 64k", "flush", "read 0 4k")
    entry = node_stats(server, "d")
    assert set(entry) == {"node-name", "stats", "parent"}
    assert entry["stats"]["wr_highest_offset"] == 576 * KIB
    parent = entry["parent"]
    assert set(parent) == {"node-name", "stats", "driver-specific"}
    assert parent["node-name"] == "f"
    assert parent["stats"]["wr_highest_offset"] == 576 * KIB
    specific = parent["driver-specific"]
    assert (specific["driver"], specific["discard-nb-failed"]) == ("file", 0)
    assert specific["discard-nb-ok"] >= 1 and specific["discard-bytes-ok"] >= 64 * KIB


def test_backing_chains_are_not_nodes_statistics(server: Server, scratch: Scratch) -> None:
    """Asked for nodes, both servers tell of each one with its file, and list its backing nodes on their own."""
    base = scratch.made_by_qemu_img("base", MIB, "qcow2")
    top = scratch.made_by_qemu_img("top", MIB, "qcow2", "-b", str(base.path), "-F", "qcow2")
    file = {"driver": "file", "filename": str(top.path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "top", "file": file})
    entry = node_stats(server, "top")
    assert set(entry) == {"node-name", "stats", "parent"}
    assert len(server.qmp.command("query-blockstats", query_nodes=True)) == 4


@pytest.mark.qmpd_only("QEMU's daemon counts only what devices do, and has none")
class TestCounters:
    def test_operations_and_bytes(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", MIB), discard="unmap")
        qemu_io(server.export("d"), "write 0 64k", "write -z 64k 64k", "read 0 4k", "discard 0 64k", "flush")
        stats = node_stats(server, "d")["stats"]
        assert (stats["wr_operations"], stats["wr_bytes"]) == (2, 128 * KIB)
        assert (stats["rd_operations"], stats["rd_bytes"]) == (1, 4 * KIB)
        assert (stats["unmap_operations"], stats["unmap_bytes"]) == (1, 64 * KIB)
        assert stats["flush_operations"] >= 1
        assert stats["wr_total_time_ns"] > 0 and stats["idle_time_ns"] > 0
        assert stats["failed_wr_operations"] == stats["invalid_wr_operations"] == 0

    def test_refused_requests(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", MIB))
        server.export("d", writable=False)
        with RawNbd.attached(server.nbd_path, "d") as client:
            client.request(1, 0, 512, data=b"x" * 512)
            client.request(0, MIB, 512)
            client.request(4, 0, 512)
        server.qmp.wait_until(lambda: node_stats(server, "d")["stats"]["invalid_unmap_operations"] == 1, "the count")
        stats = node_stats(server, "d")["stats"]
        assert (stats["invalid_wr_operations"], stats["invalid_rd_operations"]) == (1, 1)
        assert stats["failed_wr_operations"] == 0 and not server.qmp.seen("BLOCK_IO_ERROR")

    def test_failed_requests_are_counted_and_announced(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", 4 * MIB))
        uri = server.export("d")
        with server.file_size_limit(MIB):
            qemu_io_fails(uri, "write 2M 64k")
        event = server.qmp.wait_event("BLOCK_IO_ERROR")
        assert event.data == {
            "device": "",
            "node-name": "d",
            "operation": "write",
            "action": "report",
            "reason": "File too large",
        }
        stats = node_stats(server, "d")["stats"]
        assert (stats["failed_wr_operations"], stats["wr_operations"]) == (1, 0)
        assert stats["failed_rd_operations"] == 0

    def test_a_flood_of_errors_is_no_flood_of_events(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", 4 * MIB))
        uri = server.export("d")
        with server.file_size_limit(MIB):
            qemu_io_fails(uri, *["write 2M 64k"] * 100)
        assert node_stats(server, "d")["stats"]["failed_wr_operations"] == 100
        assert 1 <= len(server.qmp.seen("BLOCK_IO_ERROR")) < 50

    def test_the_last_error_is_told_before_the_end(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("d", 4 * MIB))
        uri = server.export("d")
        with server.file_size_limit(MIB):
            qemu_io_fails(uri, "write 2M 64k", "write 2M 64k")
        server.qmp.send("quit")
        assert server.qmp.at_end() or server.qmp.at_end()
        assert len(server.qmp.seen("BLOCK_IO_ERROR")) == 2
        assert server.wait_exit() == 0

    def test_that_there_is_no_fast_zeroing_is_no_error(self, server: Server, scratch: Scratch) -> None:
        overlay = scratch.made_by_qemu_img("q", MIB, "qcow2", "-o", "compat=0.10")
        file = {"driver": "file", "filename": str(overlay.path)}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": file})
        uri = server.export("q")
        assert nbdinfo(uri)
        with RawNbd.attached(server.nbd_path, "q") as client:
            client.request(6, 512, 512, flags=1 << 4)
            client.request(3, 0, 0)
        stats = node_stats(server, "q")["stats"]
        assert stats["failed_wr_operations"] == 0 and not server.qmp.seen("BLOCK_IO_ERROR")


@pytest.mark.peer("qemu")
class TestHistograms:
    @pytest.fixture
    def device(self, launch: Launcher, server_kind: str) -> Server:
        """A server with something that is named 'd0' and has statistics: an export, or a guest's disk."""
        node = ("null-co,node-name=n,size=1048576",)
        if server_kind == "qemu":
            machine = ("-machine", "q35,accel=tcg", "-S", "-device", "ide-hd,id=d0,drive=n")
            return launch("-blockdev", *node, *machine)
        server = launch("--blockdev", *node)
        server.start_nbd()
        server.qmp.command("block-export-add", {"type": "nbd", "id": "d0", "node-name": "n", "writable": True})
        return server

    def histograms(self, server: Server) -> dict[str, Any]:
        (entry,) = server.qmp.command("query-blockstats")
        stats = entry["stats"]
        return {name: stats[f"{name}_latency_histogram"] for name in ("rd", "wr", "flush")}

    def test_for_all_kinds(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[1000, 5000])
        empty = {"boundaries": [1000, 5000], "bins": [0, 0, 0]}
        assert self.histograms(device) == {"rd": empty, "wr": empty, "flush": empty}

    def test_for_one_kind(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[10])
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries_write=[20, 30])
        found = self.histograms(device)
        assert [found[kind]["boundaries"] for kind in ("rd", "wr", "flush")] == [[10], [20, 30], [10]]

    def test_one_kind_differs(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[10], boundaries_flush=[7])
        found = self.histograms(device)
        assert [found[kind]["boundaries"] for kind in ("rd", "wr", "flush")] == [[10], [10], [7]]

    def test_without_any_limit(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[])
        assert self.histograms(device)["rd"] == {"boundaries": [], "bins": [0]}

    def test_taken_away(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[10])
        device.qmp.command("block-latency-histogram-set", id="d0")
        for entry in device.qmp.command("query-blockstats"):
            assert not [name for name in entry["stats"] if "histogram" in name]

    def test_bad_boundaries(self, device: Server) -> None:
        device.qmp.command("block-latency-histogram-set", id="d0", boundaries=[1])
        for boundaries in ([10, 5], [0], [3, 3]):
            device.qmp.refused("block-latency-histogram-set", id="d0", boundaries=boundaries)
            assert self.histograms(device)["rd"]["boundaries"] == [1]

    def test_unknown(self, device: Server) -> None:
        for name in ("n", "zz"):
            device.qmp.refused("block-latency-histogram-set", id=name, boundaries=[1], error_class="DeviceNotFound")


@pytest.mark.qmpd_only("exports have no statistics in QEMU")
def test_requests_fall_into_bins(server: Server, scratch: Scratch) -> None:
    server.add_raw(scratch.disk("d", MIB))
    uri = server.export("d")
    forever = 10**15
    server.qmp.command("block-latency-histogram-set", id="export-d", boundaries=[1, forever])
    qemu_io(uri, "write 0 64k", "write 64k 64k", "read 0 4k", "flush")
    (entry,) = server.qmp.command("query-blockstats")
    assert (entry["qdev"], entry["node-name"], entry["device"]) == ("export-d", "d", "")
    stats = entry["stats"]
    assert stats["wr_latency_histogram"] == {"boundaries": [1, forever], "bins": [0, 2, 0]}
    assert stats["rd_latency_histogram"]["bins"] == [0, 1, 0]
    assert stats["flush_latency_histogram"]["bins"][1] == stats["flush_operations"]
    assert node_stats(server, "d")["stats"]["wr_latency_histogram"]["bins"] == [0, 2, 0]
    server.qmp.command("block-latency-histogram-set", id="export-d", boundaries=[5])
    assert node_stats(server, "d")["stats"]["wr_latency_histogram"] == {"boundaries": [5], "bins": [0, 0]}
