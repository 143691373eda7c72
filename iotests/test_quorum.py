"""quorum on both servers: what is refused, who wins a vote, what is written anew, and children that change."""

from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, nbdinfo, qemu_io, qemu_io_fails


class Children:
    """Files a, b, c and d full of 'A', each as a node of its own."""

    def __init__(self, server: Server, scratch: Scratch) -> None:
        self.server = server
        self.directory = scratch.directory
        for name in "abcd":
            self.file(name).write_bytes(b"A" * MIB)
            server.qmp.command("blockdev-add", driver="file", node_name=name, filename=str(self.file(name)))

    def file(self, name: str) -> Path:
        return self.directory / f"{name}.img"

    def spoil(self, name: str, offset: int = 64 * KIB, length: int = 4 * KIB) -> None:
        """Write other contents into a child's file behind the servers' back."""
        with self.file(name).open("r+b") as file:
            file.seek(offset)
            file.write(name.upper().encode() * length)

    def quorum(self, names: str = "abc", threshold: int = 2, **options: Any) -> str:
        members = {key.replace("_", "-"): value for key, value in options.items()}
        arguments = {"driver": "quorum", "node-name": "q", "children": list(names), "vote-threshold": threshold}
        self.server.qmp.command("blockdev-add", {**arguments, **members})
        return self.server.export("q")

    def edges(self) -> dict[str, str]:
        """The children of the quorum by role."""
        graph = self.server.qmp.command("x-debug-query-block-graph")
        names = {entry["id"]: entry["name"] for entry in graph["nodes"]}
        return {edge["name"]: names[edge["child"]] for edge in graph["edges"] if names[edge["parent"]] == "q"}


@pytest.fixture
def children(server: Server, scratch: Scratch) -> Children:
    return Children(server, scratch)


class TestVotes:
    def test_the_majority_wins(self, server: Server, children: Children) -> None:
        uri = children.quorum()
        children.spoil("b")
        qemu_io(uri, "read -P 65 65000 2000")
        event = server.qmp.wait_event("QUORUM_REPORT_BAD")
        assert event.data == {"type": "read", "node-name": "b", "sector-num": 126, "sectors-count": 5}
        assert not server.qmp.seen("QUORUM_FAILURE")
        assert b"B" in children.file("b").read_bytes()

    def test_nobody_wins(self, server: Server, children: Children) -> None:
        uri = children.quorum()
        children.spoil("b")
        children.spoil("c")
        qemu_io_fails(uri, "read 64k 512")
        event = server.qmp.wait_event("QUORUM_FAILURE")
        assert event.data == {"reference": "q", "sector-num": 128, "sectors-count": 1}
        qemu_io(uri, "read -P 65 0 64k")

    def test_what_lost_is_written_anew(self, server: Server, children: Children) -> None:
        uri = children.quorum(rewrite_corrupted=True)
        children.spoil("c")
        qemu_io(uri, "read -P 65 60k 12k")
        server.qmp.wait_event("QUORUM_REPORT_BAD", node_name="c")
        assert children.file("c").read_bytes() == b"A" * MIB

    def test_the_first_is_believed(self, server: Server, children: Children) -> None:
        uri = children.quorum(read_pattern="fifo")
        children.spoil("b")
        children.spoil("c")
        qemu_io(uri, "read -P 65 64k 4k")
        server.qmp.command("query-version")
        assert not server.qmp.seen("QUORUM_REPORT_BAD") and not server.qmp.seen("QUORUM_FAILURE")

    def test_events_are_limited_for_each_child(self, server: Server, children: Children) -> None:
        uri = children.quorum("abcd", 2)
        children.spoil("c")
        children.spoil("d")
        qemu_io(uri, *["read -P 65 64k 512"] * 20)
        server.qmp.command("query-version")
        for name in "cd":
            assert 1 <= len(server.qmp.seen("QUORUM_REPORT_BAD", node_name=name)) <= 10

    def test_a_broken_child(self, server: Server, scratch: Scratch, children: Children) -> None:
        rule = {"event": "none", "errno": 28, "iotype": "write"}
        broken = {"driver": "blkdebug", "node-name": "bad", "inject-error": [rule], "image": "c"}
        server.qmp.command("blockdev-add", broken)
        arguments = {"driver": "quorum", "node-name": "q", "children": ["a", "b", "bad"], "vote-threshold": 2}
        server.qmp.command("blockdev-add", arguments)
        qemu_io(server.export("q"), "write -P 7 0 4k", "read -P 7 0 4k")
        event = server.qmp.wait_event("QUORUM_REPORT_BAD", type="write")
        assert event.data == {
            "type": "write",
            "error": "No space left on device",
            "node-name": "bad",
            "sector-num": 0,
            "sectors-count": 8,
        }
        assert children.file("b").read_bytes()[: 4 * KIB] == b"\7" * 4 * KIB
        assert children.file("c").read_bytes() == b"A" * MIB


def test_all_children_get_what_is_written(server: Server, scratch: Scratch, children: Children) -> None:
    uri = children.quorum()
    qemu_io(uri, "write -P 1 0 1000", "write -P 2 300k 100k", "write -z 128k 64k", "flush", "read -P 2 300k 100k")
    for name in "bc":
        assert_same(children.file("a"), children.file(name))
    assert children.file("a").read_bytes()[128 * KIB : 192 * KIB] == bytes(64 * KIB)
    assert nbdinfo(uri)["exports"][0]["export-size"] == MIB


def test_what_queries_show(server: Server, children: Children) -> None:
    children.quorum(rewrite_corrupted=True)
    nodes = server.qmp.command("query-named-block-nodes", flat=True)
    entry = next(entry for entry in nodes if entry["node-name"] == "q")
    assert (entry["drv"], entry["image"]["format"], entry["image"]["virtual-size"]) == ("quorum", "quorum", MIB)
    assert entry["image"]["actual-size"] == sum(children.file(name).stat().st_blocks * 512 for name in "abc")
    assert entry["image"]["filename"].startswith("json:")
    assert "dirty-flag" not in entry["image"]
    stats = server.qmp.command("query-blockstats", query_nodes=True)
    assert "parent" not in next(entry for entry in stats if entry["node-name"] == "q")


def test_refused(server: Server, children: Children) -> None:
    arguments = {"driver": "quorum", "node-name": "q", "children": ["a", "b", "c"], "vote-threshold": 2}
    bad: list[dict[str, Any]] = [
        {"children": []},
        {"vote-threshold": 0},
        {"vote-threshold": -1},
        {"vote-threshold": 4},
        {"blkverify": True},
        {"children": ["a", "b"], "vote-threshold": 2, "blkverify": True, "rewrite-corrupted": True},
        {"children": ["a", "nobody", "b"]},
        {"children": ["a", "b", {"driver": "null-co", "size": 65536}]},
        {"read-pattern": "lifo"},
    ]
    for options in bad:
        server.qmp.refused("blockdev-add", {**arguments, **options})
        assert server.node_names() == set("abcd"), options


def test_no_resize(server: Server, children: Children) -> None:
    children.quorum()
    server.qmp.command("block-export-del", id="export-q", mode="hard")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED")
    server.qmp.refused("block_resize", node_name="q", size=2 * MIB)
    server.qmp.refused("block_resize", node_name="a", size=2 * MIB)


class TestChanges:
    """x-blockdev-change."""

    def change(self, server: Server, **members: str) -> None:
        server.qmp.command("x-blockdev-change", parent="q", **members)

    def test_a_child_comes(self, server: Server, children: Children) -> None:
        uri = children.quorum()
        self.change(server, node="d")
        assert children.edges() == {"children.0": "a", "children.1": "b", "children.2": "c", "children.3": "d"}
        qemu_io(uri, "write -P 9 0 64k")
        assert_same(children.file("a"), children.file("d"))
        server.qmp.refused("x-blockdev-change", parent="q", node="d")
        server.qmp.refused("blockdev-del", node_name="d")

    def test_a_child_goes(self, server: Server, children: Children) -> None:
        uri = children.quorum()
        self.change(server, child="children.1")
        assert children.edges() == {"children.0": "a", "children.2": "c"}
        qemu_io(uri, "write -P 9 0 64k")
        assert children.file("b").read_bytes() == b"A" * MIB
        server.qmp.refused("x-blockdev-change", parent="q", child="children.0")
        server.qmp.command("blockdev-del", node_name="b")

    def test_their_numbers(self, server: Server, children: Children) -> None:
        """The last number is used again, others are not."""
        children.quorum("abcd")
        self.change(server, child="children.1")
        self.change(server, node="b")
        assert children.edges()["children.4"] == "b"
        self.change(server, child="children.4")
        self.change(server, node="b")
        assert children.edges() == {"children.0": "a", "children.2": "c", "children.3": "d", "children.4": "b"}

    def test_under_way(self, server: Server, children: Children) -> None:
        """A broken child is exchanged for a good one while a client works."""
        uri = children.quorum()
        children.spoil("c", 0, 64 * KIB)
        qemu_io(uri, "read -P 65 0 64k", "write -P 8 512k 64k")
        self.change(server, child="children.2")
        with children.file("d").open("r+b") as file:
            file.seek(512 * KIB)
            file.write(b"\x08" * 64 * KIB)
        self.change(server, node="d")
        children.spoil("a", 0, 512)
        server.qmp.forget_events()
        qemu_io(uri, "read -P 65 0 512", "read -P 8 512k 64k")

    def test_refused(self, server: Server, children: Children) -> None:
        children.quorum()
        bad: list[dict[str, str]] = [
            {},
            {"child": "children.0", "node": "d"},
            {"node": "nobody"},
            {"child": "children.9"},
            {"parent": "nobody", "node": "d"},
            {"parent": "a", "node": "d"},
            {"parent": "a", "child": "file"},
        ]
        for members in bad:
            server.qmp.refused("x-blockdev-change", {"parent": "q", **members})
            assert children.edges() == {"children.0": "a", "children.1": "b", "children.2": "c"}, members

    def test_two_that_are_compared_stay(self, server: Server, children: Children) -> None:
        children.quorum("ab", 2, blkverify=True)
        server.qmp.refused("x-blockdev-change", parent="q", node="d")
        server.qmp.refused("x-blockdev-change", parent="q", child="children.0")

    @pytest.mark.qmpd_only("QEMU takes it, and cannot tell the length any more")
    def test_another_size(self, server: Server, scratch: Scratch, children: Children) -> None:
        children.quorum()
        server.add_raw(scratch.disk("big", 2 * MIB))
        assert "same size" in server.qmp.refused("x-blockdev-change", parent="q", node="big")
