"""blockdev-reopen: other options, other children, read-only and back, all nodes of a list or none; write thresholds."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import QMPRefused, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import ToolFailed, qemu_img, qemu_io, run
from iotests.test_external_snapshots import Load, add_qcow2, blocks_in, disk, exported, node
from tests.soak import count

SIZE = 4 * MIB
Options = dict[str, Any]


def file(path: Path, **options: Any) -> Options:
    """The definition of a file node."""
    return {"driver": "file", "filename": str(path), **options}


def reopen(server: Server, *nodes: Options) -> None:
    """Reopen nodes with these options."""
    server.qmp.command("blockdev-reopen", options=list(nodes))


def refused(server: Server, *nodes: Options) -> None:
    """The same, when it has to fail."""
    server.qmp.refused("blockdev-reopen", options=list(nodes))


def qcow2(name: str, path: Path, **options: Any) -> Options:
    """The options of a qcow2 node with a file defined in place, as `add_qcow2` makes it."""
    return {"driver": "qcow2", "node-name": name, "file": file(path), **options}


def raw_on(server: Server, scratch: Scratch, *names: str) -> None:
    """Named file nodes "f-NAME" for disks of these names full of the number of their place, and a raw node on the
    first.
    """
    for number, name in enumerate(names, 1):
        image = scratch.disk(name, SIZE)
        qemu_io(image.path, f"write -P {number} 0 {SIZE}")
        server.qmp.command("blockdev-add", file(image.path), node_name=f"f-{name}")
    server.qmp.command("blockdev-add", driver="raw", node_name="raw", file=f"f-{names[0]}")


def raw(below: str, **options: Any) -> Options:
    """The options of that raw node."""
    return {"driver": "raw", "node-name": "raw", "file": below, **options}


def stored(path: Path) -> dict[str, list[str]]:
    """The bitmaps in an image, and their flags."""
    info = json.loads(qemu_img("info", "-U", "--output=json", path))
    return {one["name"]: one["flags"] for one in info["format-specific"]["data"].get("bitmaps", [])}


def end_export(server: Server, name: str) -> None:
    server.qmp.command("block-export-del", id=f"export-{name}")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED")


class TestReadOnly:
    def test_there_and_back(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        reopen(server, qcow2("q", path, **{"read-only": True}))
        assert node(server, "q")["ro"]
        with pytest.raises(QMPRefused):
            server.export("q")
        qemu_io(path, "read 0 64k", image_format="qcow2", options=["-r"])
        reopen(server, qcow2("q", path))
        assert not node(server, "q")["ro"]
        with pytest.raises(ToolFailed):
            run("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 64k", path)
        qemu_io(server.export("q"), "write -P 1 0 64k")
        server.terminate()
        qemu_io(path, "read -P 1 0 64k", image_format="qcow2")

    def test_writers_forbid_it(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "q")
        refused(server, qcow2("q", scratch / "q.img", **{"read-only": True}))
        assert not node(server, "q")["ro"]
        qemu_io(uri, "write -P 1 0 64k", "read -P 1 0 64k")

    def test_readers_do_not(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        uri = server.export("q", writable=False)
        reopen(server, qcow2("q", path, **{"read-only": True}))
        qemu_io(uri, "read -P 0 0 64k", options=["-r"])
        reopen(server, qcow2("q", path))
        qemu_io(uri, "read -P 0 0 64k", options=["-r"])

    def test_children_with_names_of_their_own_stay(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a")
        reopen(server, raw("f-a", **{"read-only": True}))
        assert (node(server, "raw")["ro"], node(server, "f-a")["ro"]) == (True, False)
        below = file(scratch / "a.img", **{"node-name": "f-a"})
        reopen(server, raw("f-a", **{"read-only": True}), {**below, "read-only": True})
        assert node(server, "f-a")["ro"]
        reopen(server, below, raw("f-a"))
        qemu_io(server.export("raw"), "write -P 7 0 64k", "read -P 7 0 64k")

    def test_as_management_tools_do_it(self, server: Server, scratch: Scratch) -> None:
        """All nodes have names; files open themselves for writing when they have to."""
        base = scratch.made_by_qemu_img("base", SIZE, "qcow2").path
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2", "-b", str(base), "-F", "qcow2").path
        for name, path in (("base", base), ("top", top)):
            options = {"node-name": f"{name}-storage", "auto-read-only": True, "discard": "unmap"}
            server.qmp.command("blockdev-add", file(path, **options))
        base_format = {"driver": "qcow2", "node-name": "base-format", "file": "base-storage", "backing": None}
        top_format = {"driver": "qcow2", "node-name": "top-format", "file": "top-storage", "backing": "base-format"}
        server.qmp.command("blockdev-add", base_format, read_only=True)
        server.qmp.command("blockdev-add", top_format, read_only=True)
        for image in (base, top):
            qemu_io(image, "read 0 64k", image_format="qcow2", options=["-r"])
        reopen(server, {**base_format, "read-only": False}, {**top_format, "read-only": False})
        qemu_io(server.export("top-format"), "write -P 1 0 64k")
        with pytest.raises(ToolFailed):
            run("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 64k", top)
        end_export(server, "top-format")
        reopen(server, {**base_format, "read-only": True}, {**top_format, "read-only": True})
        qemu_io(top, "read -P 1 0 64k", image_format="qcow2", options=["-r"])

    def test_file_that_cannot_be_written(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a")
        read_only = {**file(scratch / "a.img"), "node-name": "f-a", "read-only": True}
        refused(server, raw("f-a"), read_only, raw("nope"))
        server.export("raw")
        refused(server, read_only)
        assert not node(server, "f-a")["ro"]

    def test_bitmaps_are_stored_and_taken_up_again(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        for name, persistent in (("kept", True), ("passing", False)):
            server.qmp.command("block-dirty-bitmap-add", node="q", name=name, persistent=persistent)
        qemu_io(server.export("q"), "write 0 64k")
        end_export(server, "q")
        assert stored(path) == {}
        reopen(server, qcow2("q", path, **{"read-only": True}))
        assert stored(path) == {"kept": ["auto"]}
        for command in ("block-dirty-bitmap-clear", "block-dirty-bitmap-remove"):
            server.qmp.refused(command, node="q", name="kept")
        server.qmp.command("block-dirty-bitmap-clear", node="q", name="passing")
        reopen(server, qcow2("q", path))
        assert stored(path) == {"kept": ["in-use", "auto"]}
        qemu_io(server.export("q"), "write 1M 64k")
        assert {name: one["count"] for name, one in server.bitmaps("q").items()} == {
            "kept": 128 * KIB,
            "passing": 64 * KIB,
        }
        assert all(one["recording"] for one in server.bitmaps("q").values())
        server.terminate()
        assert stored(path) == {"kept": ["auto"]}
        qemu_img("check", "-q", path)

    def test_bitmaps_of_an_image_opened_read_only(self, server: Server, scratch: Scratch) -> None:
        path = scratch.made_by_qemu_img("q", SIZE, "qcow2").path
        qemu_img("bitmap", "--add", path, "b")
        read_only = {"read-only": True}
        server.qmp.command("blockdev-add", qcow2("q", path, **read_only, file=file(path, **read_only)))
        server.qmp.refused("block-dirty-bitmap-clear", node="q", name="b")
        reopen(server, qcow2("q", path))
        qemu_io(server.export("q"), "write 0 64k")
        assert server.bitmaps("q")["b"]["count"] == 64 * KIB
        server.qmp.command("block-dirty-bitmap-clear", node="q", name="b")

    def test_all_or_none(self, server: Server, scratch: Scratch) -> None:
        """The second of two nodes cannot: the first one is as before."""
        first = disk(server, scratch, "first")
        uri = exported(server, scratch, "second")
        read_only = {"read-only": True}
        for last in (qcow2("second", scratch / "second.img", **read_only), qcow2("nope", first)):
            refused(server, qcow2("first", first, **read_only), last)
        assert not node(server, "first")["ro"] and not node(server, "second")["ro"]
        for one in (server.export("first"), uri):
            qemu_io(one, "write -P 1 0 64k")

    @pytest.mark.qmpd_only("QEMU 7.2 leaves the bitmaps read-only, so that every write fails")
    def test_bitmaps_of_a_node_that_stays_writable(self, server: Server, scratch: Scratch) -> None:
        """The second of two nodes cannot, and the bitmaps of the first one have been stored already."""
        first = disk(server, scratch, "first")
        server.qmp.command("block-dirty-bitmap-add", node="first", name="b", persistent=True)
        server.add_null("n", SIZE)
        below = {"driver": "raw", "node-name": "r", "file": "n"}
        server.qmp.command("blockdev-add", below)
        refused(server, qcow2("first", first, **{"read-only": True}), {**below, "offset": 2 * SIZE})
        assert stored(first) == {"b": ["in-use", "auto"]}
        qemu_io(server.export("first"), "write -P 1 0 64k")
        assert server.bitmaps("first")["b"]["count"] == 64 * KIB
        server.kill()
        # Nobody may believe it after a crash.
        assert stored(first) == {"b": ["in-use", "auto"]}

    def test_two_at_once(self, server: Server, scratch: Scratch) -> None:
        paths = {name: disk(server, scratch, name) for name in ("a", "b")}
        for read_only in (True, False):
            reopen(server, *(qcow2(name, path, **{"read-only": read_only}) for name, path in paths.items()))
            assert {node(server, name)["ro"] for name in paths} == {read_only}

    def test_node_of_a_job(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        target = disk(server, scratch, "t")
        qemu_io(server.export("q"), "write -P 1 0 1M")
        job = {"job-id": "j", "device": "q", "target": "t", "sync": "full", "speed": 64 * KIB}
        server.qmp.command("blockdev-backup", job)
        refused(server, qcow2("t", target, **{"read-only": True}))
        refused(server, qcow2("q", path, **{"read-only": True}))
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        server.terminate()
        qemu_io(target, "read -P 1 0 1M", image_format="qcow2")


class TestOptions:
    def test_what_everybody_can_change(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        changed = {"discard": "unmap", "detect-zeroes": "unmap", "cache": {"no-flush": True}}
        reopen(server, qcow2("q", path, **changed))
        entry = node(server, "q")
        assert entry["detect_zeroes"] == "unmap" and entry["cache"]["no-flush"]
        reopen(server, qcow2("q", path))
        entry = node(server, "q")
        assert entry["detect_zeroes"] == "off" and not entry["cache"]["no-flush"]

    def test_detected_zeroes(self, server: Server, scratch: Scratch) -> None:
        """What is written afterwards follows the new options."""
        path = disk(server, scratch, "q")
        uri = server.export("q")
        qemu_io(uri, "write -P 0 0 64k")
        reopen(server, qcow2("q", path, **{"detect-zeroes": "on"}))
        qemu_io(uri, "write -P 0 1M 64k")
        server.terminate()
        extents = json.loads(qemu_img("map", "--output=json", path))
        assert [one["start"] for one in extents if one["data"]] == [0]

    def test_file_in_place(self, server: Server, scratch: Scratch) -> None:
        """Options of a child that was defined in place, by a definition again."""
        path = scratch.made_by_qemu_img("q", SIZE, "qcow2").path
        server.qmp.command("blockdev-add", qcow2("q", path, file=file(path, **{"node-name": "f"})))
        uri = server.export("q")
        qemu_io(uri, "write -P 1 0 100k")
        for direct in (True, False):
            reopen(server, qcow2("q", path, file=file(path, cache={"direct": direct})))
            assert node(server, "f")["cache"]["direct"] is direct
            qemu_io(uri, "read -P 1 1512 1000", "write -P 2 512 1000", "read -P 2 512 1000", "read -P 1 2k 98k")
            reopen(server, qcow2("q", path, file="f"))
            assert node(server, "f")["cache"]["direct"] is direct
        server.terminate()
        qemu_img("check", "-q", path)

    def test_window_of_raw(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a")
        qemu_io(server.export("raw"), f"write -P 9 {MIB} {MIB}")
        end_export(server, "raw")
        reopen(server, raw("f-a", offset=MIB, size=MIB))
        assert node(server, "raw")["image"]["virtual-size"] == MIB
        qemu_io(server.export("raw"), f"read -P 9 0 {MIB}")
        end_export(server, "raw")
        too_far: list[Options] = [{"offset": SIZE + 1}, {"size": SIZE + 512}, {"offset": SIZE, "size": 512}]
        for wrong in ({"offset": -1}, {"size": 1000}, *too_far):
            refused(server, raw("f-a", **wrong))
            assert node(server, "raw")["image"]["virtual-size"] == MIB
        reopen(server, raw("f-a"))
        assert node(server, "raw")["image"]["virtual-size"] == SIZE

    def test_caches_of_qcow2(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q", 64 * MIB)
        uri = server.export("q")
        generator = random.Random(4)
        model = bytearray(64)
        parts = {"l2-cache-entry-size": 4 * KIB, "l2-cache-size": 64 * KIB}
        for sizes in ({"l2-cache-size": 1}, parts, {"cache-size": 8 * MIB, "refcount-cache-size": 1}, {}):
            reopen(server, qcow2("q", path, **{"cache-clean-interval": 1, "overlap-check": "all"}, **sizes))
            for _ in range(8):
                at, value = generator.randrange(64), generator.randrange(1, 256)
                model[at] = value
                qemu_io(uri, f"write -P {value} {at}M 1M")
        qemu_io(uri, *(f"read -P {value} {at}M 1M" for at, value in enumerate(model)))
        refused(server, qcow2("q", path, **{"cache-size": 1, "l2-cache-size": 1, "refcount-cache-size": 1}))
        refused(server, qcow2("q", path, **{"cache-size": 1, "l2-cache-size": 2}))
        server.terminate()
        qemu_img("check", "-q", path)

    def test_lazy_reference_counts(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        uri = server.export("q")

        def dirty() -> bool:
            return bool(node(server, "q")["image"]["dirty-flag"])

        reopen(server, qcow2("q", path, **{"lazy-refcounts": True}))
        qemu_io(uri, "write -P 1 0 64k")
        assert dirty()
        reopen(server, qcow2("q", path))
        assert not dirty()
        server.terminate()
        qemu_img("check", "-q", path)

    def test_refused_for_raw(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a")
        wrong: list[Options] = [
            {"driver": "qcow2"},
            {"node-name": "nope"},
            {"file": "raw"},
            {"file": "nope"},
            {"file": {"driver": "null-co"}},
        ]
        for changed in wrong:
            refused(server, {**raw("f-a"), **changed})
        refused(server, {"driver": "raw", "file": "f-a"})
        qemu_io(server.export("raw"), "read -P 1 0 64k")

    def test_refused_for_files(self, server: Server, scratch: Scratch) -> None:
        """Not even the default can be said of what was left out before."""
        raw_on(server, scratch, "a")
        wrong: list[Options] = [
            {"filename": "/dev/null"},
            {"locking": "off"},
            {"locking": "auto"},
            {"aio": "threads"},
            {"force-share": True, "read-only": True},
        ]
        for changed in wrong:
            refused(server, {**file(scratch / "a.img"), "node-name": "f-a", **changed})

    def test_refused_for_null(self, server: Server) -> None:
        server.add_null("n", SIZE)
        options = {"driver": "null-co", "node-name": "n", "size": SIZE}
        wrong: list[Options] = [{"size": MIB}, {"read-zeroes": True}, {"latency-ns": 0}]
        for changed in wrong:
            refused(server, {**options, **changed})
        refused(server, {"driver": "null-co", "node-name": "n"})
        reopen(server, {**options, "read-only": True})
        assert node(server, "n")["ro"]

    def test_refused_for_children_in_place(self, server: Server, scratch: Scratch) -> None:
        path = disk(server, scratch, "q")
        other = scratch.made_by_qemu_img("other", SIZE, "qcow2").path
        for below in (file(other), file(path, **{"node-name": "x"}), {"driver": "null-co"}):
            refused(server, qcow2("q", path, file=below))

    def test_filter_that_cannot(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "q")
        server.add_null("t", SIZE)
        cbw = {"driver": "copy-before-write", "node-name": "cbw", "file": "q", "target": "t"}
        server.qmp.command("blockdev-add", cbw)
        refused(server, cbw)

    def test_last_definition_counts(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a")
        reopen(server, raw("f-a"), raw("f-a", **{"read-only": True}))
        assert node(server, "raw")["ro"]

    @pytest.mark.qmpd_only("QEMU 7.2 dies of it")
    def test_no_node_at_all(self, server: Server) -> None:
        reopen(server)


class TestChildren:
    def test_another_file(self, server: Server, scratch: Scratch) -> None:
        raw_on(server, scratch, "a", "b")
        uri = server.export("raw")
        qemu_io(uri, "read -P 1 0 64k")
        reopen(server, raw("f-b"))
        qemu_io(uri, "read -P 2 0 64k", "write -P 3 0 64k")
        server.qmp.command("blockdev-del", node_name="f-a")
        server.qmp.refused("blockdev-del", node_name="f-b")
        server.terminate()
        qemu_io(scratch / "a.img", f"read -P 1 0 {SIZE}")
        qemu_io(scratch / "b.img", "read -P 3 0 64k")

    def test_filter_under_an_image(self, server: Server, scratch: Scratch) -> None:
        """All that the image had in memory is in the file when a filter comes in between."""
        path = scratch.made_by_qemu_img("q", SIZE, "qcow2").path
        server.qmp.command("blockdev-add", file(path), node_name="f")
        server.qmp.command("blockdev-add", driver="qcow2", node_name="q", file="f")
        uri = server.export("q")
        qemu_io(uri, "write -P 1 0 1M")
        server.qmp.command("blockdev-add", driver="raw", node_name="between", file="f")
        for below in ("between", "f", "between"):
            reopen(server, {"driver": "qcow2", "node-name": "q", "file": below})
            qemu_io(uri, "read -P 1 0 1M", "write -P 2 1M 1M", "read -P 2 1M 1M", "write -P 1 0 1M")
        server.terminate()
        qemu_img("check", "-q", path)
        qemu_io(path, "read -P 1 0 1M", "read -P 2 1M 1M", image_format="qcow2")

    def bases(self, server: Server, scratch: Scratch) -> Path:
        """Two images full of ones and twos as nodes, and an overlay of the first one on an export."""
        for number, name in enumerate(("one", "two"), 1):
            path = scratch.made_by_qemu_img(name, SIZE, "qcow2").path
            qemu_io(path, f"write -P {number} 0 {SIZE}", image_format="qcow2")
            server.qmp.command("blockdev-add", qcow2(name, path, **{"read-only": True}))
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2").path
        add_qcow2(server, top, "top", backing="one")
        return top

    def test_another_backing_image(self, server: Server, scratch: Scratch) -> None:
        top = self.bases(server, scratch)
        uri = server.export("top")
        qemu_io(uri, "write -P 9 0 64k", "read -P 1 64k 64k")
        reopen(server, qcow2("top", top, backing="two"))
        qemu_io(uri, "read -P 9 0 64k", "read -P 2 64k 64k")
        reopen(server, qcow2("top", top, backing=None))
        qemu_io(uri, "read -P 9 0 64k", "read -P 0 64k 64k")
        assert "backing_file" not in node(server, "top")
        reopen(server, qcow2("top", top, backing="one"))
        qemu_io(uri, "read -P 9 0 64k", "read -P 1 64k 64k")
        server.qmp.refused("blockdev-del", node_name="one")
        server.qmp.command("blockdev-del", node_name="two")

    def test_backing_image_has_to_be_named(self, server: Server, scratch: Scratch) -> None:
        top = self.bases(server, scratch)
        refused(server, qcow2("top", top))
        reopen(server, qcow2("top", top, backing="one"))
        refused(server, qcow2("top", top, backing={"driver": "null-co"}))
        reopen(server, qcow2("top", top, backing=None))
        reopen(server, qcow2("top", top))

    def test_loops(self, server: Server, scratch: Scratch) -> None:
        top = self.bases(server, scratch)
        server.qmp.command("blockdev-add", driver="raw", node_name="above", file="top")
        for backing in ("top", "nope", "above"):
            refused(server, qcow2("top", top, backing=backing))
        qemu_io(server.export("top"), "read -P 1 64k 64k")

    def test_one_of_two_cannot(self, server: Server, scratch: Scratch) -> None:
        """What was changed about the first node's children is as before when the second node refuses."""
        top = self.bases(server, scratch)
        raw_on(server, scratch, "a", "b")
        uris = server.export("top"), server.export("raw")
        for actions in (
            (qcow2("top", top, backing="two"), raw("raw")),
            (raw("f-b"), qcow2("top", top, backing="top")),
            (qcow2("top", top, backing="two"), raw("f-b", offset=2 * SIZE)),
        ):
            refused(server, *actions)
            qemu_io(uris[0], "read -P 1 64k 64k")
            qemu_io(uris[1], "read -P 1 64k 64k")
        reopen(server, qcow2("top", top, backing="two"), raw("f-b"))
        qemu_io(uris[0], "read -P 2 64k 64k")
        qemu_io(uris[1], "read -P 2 64k 64k")

    def test_chain_of_a_job(self, server: Server, scratch: Scratch) -> None:
        """Nobody takes an image away from a job; naming what is there anyway does no harm."""
        base = scratch.made_by_qemu_img("base", 64 * MIB, "qcow2").path
        qemu_io(base, "write -P 1 0 64M", image_format="qcow2")
        server.qmp.command("blockdev-add", qcow2("base", base, **{"read-only": True}))
        top = scratch.made_by_qemu_img("top", 64 * MIB, "qcow2").path
        add_qcow2(server, top, "top", backing="base")
        server.qmp.command("block-stream", {"job-id": "j", "device": "top", "speed": 1})
        refused(server, qcow2("top", top, backing=None))
        refused(server, qcow2("top", top, backing="base", **{"read-only": True}))
        reopen(server, qcow2("top", top, backing="base", discard="unmap"))
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        reopen(server, qcow2("top", top, **{"read-only": True}))
        qemu_io(top, "read -P 1 0 64M", image_format="qcow2", options=["-r"])

    def test_backing_image_of_a_snapshot(self, server: Server, scratch: Scratch) -> None:
        """The base that a snapshot has made read-only can be written again, when its overlay has let go of it."""
        uri = exported(server, scratch, "base")
        top = scratch.made_by_qemu_img("over", SIZE, "qcow2").path
        add_qcow2(server, top, "over", backing=None)
        server.qmp.command("blockdev-snapshot", node="base", overlay="over")
        qemu_io(uri, "write -P 1 0 64k")
        end_export(server, "base")
        reopen(server, qcow2("over", top, backing=None))
        reopen(server, qcow2("base", scratch / "base.img"))
        assert not node(server, "base")["ro"]
        qemu_io(server.export("base"), "write -P 2 0 64k")
        server.terminate()
        qemu_io(scratch / "base.img", "read -P 2 0 64k", image_format="qcow2")


def test_no_write_is_lost(server: Server, scratch: Scratch) -> None:
    """Options change again and again while a client writes to three disks in turn."""
    size = 16 * MIB
    for name in "abc":
        exported(server, scratch, name, size)
    load = Load(server, "abc", size // (4 * KIB))
    load.start()
    generator = random.Random(8)
    for _ in range(count(6, 200)):
        seen = load.steps
        while load.is_alive() and load.steps < seen + 10:
            server.qmp.command("query-version")
        nodes = []
        for name in generator.sample("abc", generator.randint(1, 3)):
            options = {
                "discard": generator.choice(("ignore", "unmap")),
                "detect-zeroes": generator.choice(("off", "on")),
                "lazy-refcounts": generator.choice((True, False)),
                "l2-cache-size": generator.choice((1, MIB)),
                "overlap-check": generator.choice(("none", "cached", "all")),
            }
            below = file(scratch / f"{name}.img", cache={"direct": generator.choice((True, False))})
            nodes.append(qcow2(name, scratch / f"{name}.img", **options, file=below))
        reopen(server, *nodes)
    load.enough.set()
    load.join()
    load.close()
    assert load.failure is None
    server.terminate()
    for name in "abc":
        path = scratch / f"{name}.img"
        qemu_img("check", "-q", path)
        assert blocks_in(path, scratch) == load.steps


class TestThreshold:
    def test_event(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "q")
        server.qmp.command("block-set-write-threshold", node_name="q", write_threshold=MIB)
        assert node(server, "q")["write_threshold"] == MIB
        qemu_io(uri, f"write 0 {MIB}")
        assert not server.qmp.seen("BLOCK_WRITE_THRESHOLD")
        qemu_io(uri, f"write {MIB - 512} {64 * KIB}", f"write {2 * MIB} 64k")
        event = server.qmp.wait_event("BLOCK_WRITE_THRESHOLD")
        assert event.data == {"node-name": "q", "amount-exceeded": 64 * KIB - 512, "write-threshold": MIB}
        assert node(server, "q")["write_threshold"] == 0
        assert len(server.qmp.seen("BLOCK_WRITE_THRESHOLD")) == 1
        server.qmp.command("block-set-write-threshold", node_name="q", write_threshold=512)
        server.qmp.command("block-set-write-threshold", node_name="q", write_threshold=0)
        qemu_io(uri, "write 0 64k")
        server.qmp.command("query-version")
        assert len(server.qmp.seen("BLOCK_WRITE_THRESHOLD")) == 1
        server.qmp.refused("block-set-write-threshold", node_name="nope", write_threshold=1)

    def test_of_the_file_under_an_image(self, server: Server, scratch: Scratch) -> None:
        """How management tools learn that an image is about to outgrow its storage."""
        path = scratch.made_by_qemu_img("q", 64 * MIB, "qcow2").path
        server.qmp.command("blockdev-add", qcow2("q", path, file=file(path, **{"node-name": "f"})))
        uri = server.export("q")
        threshold = os.path.getsize(path) + MIB
        server.qmp.command("block-set-write-threshold", node_name="f", write_threshold=threshold)
        qemu_io(uri, "write 32M 512k")
        assert not server.qmp.seen("BLOCK_WRITE_THRESHOLD")
        qemu_io(uri, "write 40M 1M")
        event = server.qmp.wait_event("BLOCK_WRITE_THRESHOLD")
        assert event.data["node-name"] == "f" and event.data["write-threshold"] == threshold


class TestRoots:
    """Commands that want the root of a disk, or a device."""

    def test_not_the_root(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "q")
        server.qmp.command("blockdev-add", driver="raw", node_name="above", file="q")
        server.qmp.refused("blockdev-snapshot-internal-sync", device="q", name="s")
        server.qmp.refused("blockdev-snapshot-delete-internal-sync", device="q", name="s")
        server.qmp.command("blockdev-del", node_name="above")
        server.qmp.command("blockdev-snapshot-internal-sync", device="q", name="s")
        assert "icount" not in node(server, "q")["image"]["snapshots"][0]
        server.qmp.command("blockdev-snapshot-delete-internal-sync", device="q", name="s")

    def test_a_node_is_no_device(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "q")
        server.qmp.refused("block_resize", device="q", size=2 * SIZE)
        server.qmp.command("block_resize", device="q", node_name="q", size=2 * SIZE)
        assert node(server, "q")["image"]["virtual-size"] == 2 * SIZE

    def test_backing_file_name_of_a_read_only_image(self, server: Server, scratch: Scratch) -> None:
        """It is made writable for that, and read-only again."""
        base = scratch.made_by_qemu_img("base", SIZE, "qcow2").path
        middle = scratch.made_by_qemu_img("middle", SIZE, "qcow2", "-b", str(base), "-F", "qcow2").path
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2", "-b", str(middle), "-F", "qcow2").path
        for name, path, backing in (("base", base, None), ("middle", middle, "base"), ("top", top, "middle")):
            server.qmp.command("blockdev-add", qcow2(name, path, backing=backing, **{"read-only": name != "top"}))
        arguments = {"image-node-name": "middle", "backing-file": "./base.img"}
        for device in ("middle", "base", "nope"):
            server.qmp.refused("change-backing-file", arguments, device=device)
        server.qmp.command("change-backing-file", arguments, device="top")
        assert node(server, "middle")["ro"]
        for image in ("base", "nope"):
            server.qmp.refused("change-backing-file", {**arguments, "image-node-name": image}, device="top")
        server.terminate()
        info = json.loads(qemu_img("info", "--output=json", middle))
        assert info["backing-filename"] == "./base.img"
