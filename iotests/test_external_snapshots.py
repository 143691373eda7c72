"""Snapshots as overlays: alone, in transactions with each other and with everything else, and under write load."""

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, QMPRefused, Scratch, Server
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.nbd import WRITE, RawNbd
from iotests.harness.tools import assert_same, qemu_img, qemu_io, run
from tests.soak import count

SIZE = 4 * MIB
Action = tuple[str, dict[str, Any]]


def add_qcow2(server: Server, path: Path, node: str, **options: Any) -> str:
    """blockdev-add of a qcow2 node whose file is defined in place."""
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": node, "file": file}, **options)
    return node


def disk(server: Server, scratch: Scratch, name: str, size: int = SIZE) -> Path:
    """An empty qcow2 image, open as the node `name`."""
    path = scratch.made_by_qemu_img(name, size, "qcow2").path
    add_qcow2(server, path, name)
    return path


def exported(server: Server, scratch: Scratch, name: str, size: int = SIZE) -> str:
    """The URI of an export of such a disk."""
    disk(server, scratch, name, size)
    return server.export(name)


def sync(scratch: Scratch, node: str, overlay: str, **options: Any) -> Action:
    """An action that puts the new overlay `overlay`, in a file of that name, on a node."""
    members = {"node-name": node, "snapshot-file": str(scratch / overlay), "snapshot-node-name": overlay}
    return "blockdev-snapshot-sync", {**members, **options}


def node(server: Server, name: str) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes."""
    nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes", flat=True)
    return next(entry for entry in nodes if entry["node-name"] == name)


def exported_node(server: Server, export: str) -> str:
    """What an export shows at this moment."""
    exports: list[dict[str, Any]] = server.qmp.command("query-block-exports")
    return next(str(entry["node-name"]) for entry in exports if entry["id"] == f"export-{export}")


def chain(path: Path) -> list[tuple[str, str | None]]:
    """The images of a chain as qemu-img sees them: file name and format of the next one as the image says."""
    infos = json.loads(qemu_img("info", "-U", "--backing-chain", "--output=json", path))
    return [(Path(info["filename"]).name, info.get("backing-filename-format")) for info in infos]


class TestMade:
    """blockdev-snapshot-sync."""

    def test_users_go_over(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 128k")
        server.qmp.command(*sync(scratch, "base", "top"))
        qemu_io(uri, "write -P 2 64k 128k", "read -P 1 0 64k", "read -P 2 64k 128k", "read -P 0 192k 64k")
        assert exported_node(server, "base") == "top"
        assert not node(server, "top")["ro"] and node(server, "base")["ro"]
        server.terminate()
        assert chain(scratch / "top") == [("top", "qcow2"), ("base.img", None)]
        qemu_io(scratch / "base.img", "read -P 1 0 128k", "read -P 0 128k 64k", image_format="qcow2")
        qemu_io(scratch / "top", "read -P 1 0 64k", "read -P 2 64k 128k", image_format="qcow2")
        for path in (scratch / "base.img", scratch / "top"):
            qemu_img("check", "-q", path)

    def test_base_is_free_for_readers(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        server.qmp.command(*sync(scratch, "base", "top"))
        qemu_io(scratch / "base.img", "read 0 64k", image_format="qcow2", options=["-r"])

    def test_on_raw(self, server: Server, scratch: Scratch) -> None:
        source = scratch.disk("base", SIZE, seed=1)
        before = scratch.copy(source, "before")
        server.add_raw(source)
        uri = server.export("base")
        server.qmp.command(*sync(scratch, "base", "top"))
        qemu_io(uri, "write -P 2 64k 128k")
        server.terminate()
        assert chain(scratch / "top") == [("top", "raw"), ("base.img", None)]
        assert_same(source.path, before.path)

    @pytest.mark.qmpd_only("QEMU writes a relative name as it is, which leads nowhere from another directory")
    def test_relative_names(self, server: Server, scratch: Scratch) -> None:
        """Images name their backing files by absolute paths; queries tell what the client has said."""
        (scratch / "other").mkdir()
        names = [os.path.relpath(scratch / name) for name in ("base", "one", "other/two", "three")]
        qemu_img("create", "-q", "-f", "qcow2", names[0], "1M")
        file = {"driver": "file", "filename": names[0]}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "n0", "file": file})
        server.export("n0")
        for number, name in enumerate(names[1:]):
            members = {"node-name": f"n{number}", "snapshot-node-name": f"n{number + 1}", "snapshot-file": name}
            server.qmp.command("blockdev-snapshot-sync", members)
        files = {one["node-name"]: one["file"] for one in server.qmp.command("query-named-block-nodes", flat=True)}
        assert [files[f"n{number}"] for number in range(4)] == names
        infos = json.loads(qemu_img("info", "-U", "--backing-chain", "--output=json", names[-1]))
        paths = [str(Path(name).resolve()) for name in names[2::-1]]
        assert [one.get("backing-filename") for one in infos] == [*paths, None]

    def test_existing(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2")
        qemu_io(top.path, "write -P 9 0 64k", image_format="qcow2")
        action = sync(scratch, "base", "top", mode="existing", **{"snapshot-file": str(top.path)})
        server.qmp.command(*action)
        qemu_io(uri, "read -P 9 0 64k", "write -P 3 64k 64k")
        server.terminate()
        assert chain(top.path) == [("top.img", None)]
        qemu_io(top.path, "read -P 9 0 64k", "read -P 3 64k 64k", image_format="qcow2")

    def test_without_users_nobody_keeps_the_overlay(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "base")
        server.qmp.command(*sync(scratch, "base", "top"))
        assert "top" not in server.node_names()
        assert chain(scratch / "top")[0] == ("top", "qcow2")
        server.qmp.command("blockdev-del", node_name="base")

    def test_read_only_disk(self, server: Server, scratch: Scratch) -> None:
        path = scratch.made_by_qemu_img("base", SIZE, "qcow2").path
        file = {"driver": "file", "filename": str(path), "read-only": True}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "base", "file": file, "read-only": True})
        server.export("base", writable=False)
        server.qmp.command(*sync(scratch, "base", "top"))
        assert node(server, "top")["ro"]

    def test_overlay_of_another_size(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        top = scratch.made_by_qemu_img("top", 2 * SIZE, "qcow2")
        server.qmp.command(*sync(scratch, "base", "top", mode="existing", **{"snapshot-file": str(top.path)}))
        assert node(server, "top")["image"]["virtual-size"] == 2 * SIZE

    def test_refused(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        kind, given = sync(scratch, "base", "top")
        wrong: list[dict[str, str | None]] = [
            {"node-name": "nope"},
            {"node-name": None},
            {"device": "base", "node-name": None},
            {"snapshot-node-name": None},
            {"snapshot-node-name": "base"},
            {"snapshot-file": "/no/such/directory/file"},
            {"snapshot-file": ""},
            {"snapshot-file": "."},
            {"format": "raw"},
            {"format": "file"},
            {"format": "no-such-format"},
            {"mode": "existing"},
            {"snapshot-node-name": "1bad"},
        ]
        for changed in wrong:
            arguments = {name: value for name, value in {**given, **changed}.items() if value is not None}
            server.qmp.refused(kind, arguments)
            assert exported_node(server, "base") == "base", changed
        qemu_io(uri, "write -P 1 0 64k", "read -P 1 0 64k")

    def test_own_base_as_overlay(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 64k")
        for mode in ("absolute-paths", "existing"):
            kind, given = sync(scratch, "base", "top", mode=mode)
            server.qmp.refused(kind, {**given, "snapshot-file": str(scratch / "base.img")})
        qemu_io(uri, "read -P 1 0 64k")

    def test_raw_image_as_overlay(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        raw = scratch.disk("raw", SIZE)
        for image_format in ("qcow2", "raw"):
            kind, given = sync(scratch, "base", "top", mode="existing", format=image_format)
            server.qmp.refused(kind, {**given, "snapshot-file": str(raw.path)})

    def test_backing_image_has_an_overlay_already(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        server.qmp.command(*sync(scratch, "base", "top"))
        server.qmp.refused(*sync(scratch, "base", "other"))
        server.qmp.refused("block_resize", node_name="base", size=2 * SIZE)
        server.qmp.refused("blockdev-snapshot-internal-sync", device="base", name="s")
        server.qmp.refused("blockdev-del", node_name="base")

    def test_chain_that_the_images_do_not_tell_of(self, server: Server, scratch: Scratch) -> None:
        """An overlay on an image whose own name does not lead to what shows through it names all of it."""
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 64k")
        middle = scratch.made_by_qemu_img("middle", SIZE, "qcow2").path
        add_qcow2(server, middle, "middle", backing=None)
        server.qmp.command("blockdev-snapshot", node="base", overlay="middle")
        qemu_io(uri, "write -P 2 64k 64k")
        server.qmp.command(*sync(scratch, "middle", "top"))
        assert node(server, "top")["backing_file"].startswith("json:")
        server.terminate()
        qemu_io(scratch / "top", "read -P 1 0 64k", "read -P 2 64k 64k", image_format="qcow2")

    def test_filter_on_the_disk(self, server: Server, scratch: Scratch) -> None:
        """An overlay of a filter names the image under it: a name that any program understands."""
        path = disk(server, scratch, "base")
        server.qmp.command("object-add", {"qom-type": "throttle-group", "id": "g"})
        server.qmp.command("blockdev-add", driver="throttle", node_name="slow", file="base", throttle_group="g")
        uri = server.export("slow")
        qemu_io(uri, "write -P 1 0 64k")
        server.qmp.command(*sync(scratch, "slow", "top"))
        qemu_io(uri, "write -P 2 64k 64k", "read -P 1 0 64k")
        assert exported_node(server, "slow") == "top"
        assert path.exists()

    @pytest.mark.qmpd_only("QEMU writes the filter's own name into the image, which no program can open")
    def test_name_of_the_image_under_a_filter(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "base")
        server.qmp.command("object-add", {"qom-type": "throttle-group", "id": "g"})
        server.qmp.command("blockdev-add", driver="throttle", node_name="slow", file="base", throttle_group="g")
        server.export("slow")
        server.qmp.command(*sync(scratch, "slow", "top"))
        assert chain(scratch / "top") == [("top", "qcow2"), ("base.img", None)]

    def test_name_in_the_image_that_is_not_used(self, server: Server, scratch: Scratch) -> None:
        """An image opened without the backing image that it names is not the one that its name alone leads to."""
        base = scratch.made_by_qemu_img("base", SIZE, "qcow2")
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2", "-b", str(base.path), "-F", "qcow2")
        add_qcow2(server, top.path, "alone", backing=None)
        name = node(server, "alone")["file"]
        assert name.startswith("json:")
        told = json.loads(name.removeprefix("json:"))
        assert told["backing"] is None and told["driver"] == "qcow2" and told["file"]["filename"] == str(top.path)


class TestNode:
    """blockdev-snapshot."""

    def overlay(self, server: Server, scratch: Scratch, name: str = "top", **options: Any) -> str:
        path = scratch.made_by_qemu_img(name, SIZE, "qcow2").path
        return add_qcow2(server, path, name, **{"backing": None, **options})

    def test_users_go_over(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 128k")
        self.overlay(server, scratch)
        server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        qemu_io(uri, "write -P 2 64k 64k", "read -P 1 0 64k")
        assert exported_node(server, "base") == "top"
        assert node(server, "base")["ro"]
        server.qmp.command("block-export-del", id="export-base", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        server.qmp.command("blockdev-del", node_name="top")
        server.qmp.command("blockdev-del", node_name="base")
        assert chain(scratch / "top.img") == [("top.img", None)]

    def test_stays_without_users(self, server: Server, scratch: Scratch) -> None:
        disk(server, scratch, "base")
        self.overlay(server, scratch)
        server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        assert {"base", "top"} <= server.node_names()
        assert node(server, "top")["backing_file"] == str(scratch / "base.img")

    def test_bitmaps_of_the_base(self, server: Server, scratch: Scratch) -> None:
        """They are stored at once, since the base is read-only from then on."""
        uri = exported(server, scratch, "base")
        server.qmp.command("block-dirty-bitmap-add", node="base", name="b", persistent=True)
        qemu_io(uri, "write -P 1 0 64k")
        self.overlay(server, scratch)
        server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        qemu_io(uri, "write -P 1 1M 64k")
        info = json.loads(qemu_img("info", "-U", "--output=json", scratch / "base.img"))
        assert [one["flags"] for one in info["format-specific"]["data"]["bitmaps"]] == [["auto"]]
        bitmap = server.bitmaps("base")["b"]
        assert bitmap["count"] == 64 * KIB and bitmap["recording"]
        for command in ("block-dirty-bitmap-clear", "block-dirty-bitmap-remove"):
            server.qmp.refused(command, node="base", name="b")

    def test_refused(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        self.overlay(server, scratch)
        server.export(self.overlay(server, scratch, "used"))
        server.add_raw(scratch.disk("raw", SIZE))
        for base, top in (("nope", "top"), ("base", "nope"), ("base", "base"), ("base", "raw"), ("base", "used")):
            server.qmp.refused("blockdev-snapshot", node=base, overlay=top)
            assert exported_node(server, "base") == "base", (base, top)
        assert "backing_file" not in node(server, "top")

    def test_overlay_with_a_backing_image(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        disk(server, scratch, "other")
        self.overlay(server, scratch, backing="other")
        server.qmp.refused("blockdev-snapshot", node="base", overlay="top")

    def test_read_only_overlay_of_a_writer(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        self.overlay(server, scratch, read_only=True)
        server.qmp.refused("blockdev-snapshot", node="base", overlay="top")
        qemu_io(uri, "write 0 64k")

    def test_loop(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        self.overlay(server, scratch)
        server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        server.qmp.refused("blockdev-snapshot", node="top", overlay="base")

    def test_target_of_a_mirror(self, server: Server, scratch: Scratch) -> None:
        """A disk is mirrored into an overlay, which gets its backing image while the job runs: nobody reads it yet."""
        uri = exported(server, scratch, "source")
        qemu_io(uri, "write -P 1 0 1M")
        self.overlay(server, scratch)
        base = scratch.made_by_qemu_img("base", SIZE, "qcow2").path
        qemu_io(base, "write -P 7 0 4M", image_format="qcow2")
        add_qcow2(server, base, "base")
        server.qmp.command("blockdev-mirror", {"job-id": "j", "device": "source", "target": "top", "sync": "top"})
        server.qmp.wait_event("BLOCK_JOB_READY", device="j")
        server.qmp.refused("blockdev-snapshot", node="source", overlay="top")
        server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        assert node(server, "base")["ro"]
        qemu_io(uri, "write -P 2 1M 1M")
        server.qmp.command("block-job-complete", device="j")
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        assert exported_node(server, "source") == "top"
        qemu_io(uri, "read -P 1 0 1M", "read -P 2 1M 1M", "read -P 7 2M 2M")

    def test_nodes_of_a_job(self, server: Server, scratch: Scratch) -> None:
        """The target of a backup takes no snapshot; its source does, and the backup does not notice."""
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 4M")
        reference = scratch.disk("reference", SIZE)
        qemu_io(reference.path, "write -P 1 0 4M")
        target = scratch.disk("target", SIZE)
        server.add_raw(target)
        job = {"job-id": "j", "device": "base", "target": "target", "sync": "full", "speed": 64 * KIB}
        server.qmp.command("blockdev-backup", job)
        server.qmp.refused(*sync(scratch, "target", "no"))
        server.qmp.command(*sync(scratch, "base", "top"))
        qemu_io(uri, "write -P 2 0 2M")
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        qemu_io(uri, "read -P 2 0 2M", "read -P 1 2M 2M")
        server.terminate()
        assert_same(target.path, reference.path)
        qemu_io(scratch / "base.img", "read -P 1 0 4M", image_format="qcow2")


class TestTransactions:
    def test_stack(self, server: Server, scratch: Scratch) -> None:
        """Several snapshots of one disk, each on top of the one before, with bitmaps on the new ones."""
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 64k")
        server.transaction(
            sync(scratch, "base", "one"),
            sync(scratch, "one", "two"),
            ("block-dirty-bitmap-add", {"node": "two", "name": "b"}),
            sync(scratch, "two", "three"),
            ("block-dirty-bitmap-add", {"node": "three", "name": "c"}),
        )
        qemu_io(uri, "write -P 2 64k 64k", "read -P 1 0 64k")
        assert exported_node(server, "base") == "three"
        assert [node(server, name)["ro"] for name in ("base", "one", "two", "three")] == [True, True, True, False]
        assert server.bitmaps("two")["b"]["count"] == 0
        assert server.bitmaps("three")["c"]["count"] == 64 * KIB
        server.terminate()
        assert [name for name, _ in chain(scratch / "three")] == ["three", "two", "one", "base.img"]
        qemu_io(scratch / "two", "read -P 0 64k 64k", image_format="qcow2")

    def test_same_node_twice(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        with pytest.raises(QMPRefused):
            server.transaction(sync(scratch, "base", "one"), sync(scratch, "base", "two"))
        assert exported_node(server, "base") == "base"

    def test_everything_together(self, server: Server, scratch: Scratch) -> None:
        """Snapshots of both kinds, inside and outside, a backup and bitmaps: all at one point in time."""
        first, second = exported(server, scratch, "first"), exported(server, scratch, "second")
        for uri in (first, second):
            qemu_io(uri, "write -P 1 0 64k")
        overlay = scratch.made_by_qemu_img("overlay", SIZE, "qcow2").path
        add_qcow2(server, overlay, "overlay", backing=None)
        target = scratch.disk("target", SIZE)
        server.add_raw(target)
        server.transaction(
            ("blockdev-snapshot-internal-sync", {"device": "second", "name": "inside"}),
            sync(scratch, "first", "top"),
            ("blockdev-snapshot", {"node": "second", "overlay": "overlay"}),
            ("block-dirty-bitmap-add", {"node": "overlay", "name": "b"}),
            ("blockdev-backup", {"job-id": "j", "device": "overlay", "target": "target", "sync": "full", "speed": 1}),
        )
        for uri in (first, second):
            qemu_io(uri, "write -P 2 0 64k")
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        assert server.bitmaps("overlay")["b"]["count"] == 64 * KIB
        server.terminate()
        qemu_io(target.path, "read -P 1 0 64k")
        for name in ("first", "second"):
            qemu_io(scratch / f"{name}.img", "read -P 1 0 64k", image_format="qcow2")
        assert "inside" in qemu_img("snapshot", "-l", scratch / "second.img")
        for path in (scratch / "first.img", scratch / "second.img", scratch / "top", overlay):
            qemu_img("check", "-q", path)

    def test_backup_first(self, server: Server, scratch: Scratch) -> None:
        """The backup is of the disk as it stands, and the overlay slides in under its filter."""
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 1M")
        target = scratch.disk("target", SIZE)
        server.add_raw(target)
        server.transaction(
            ("blockdev-backup", {"job-id": "j", "device": "base", "target": "target", "sync": "full", "speed": 1}),
            sync(scratch, "base", "top"),
        )
        qemu_io(uri, "write -P 2 0 64k")
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j").data
        assert exported_node(server, "base") == "top"
        server.terminate()
        qemu_io(target.path, "read -P 1 0 1M")
        qemu_io(scratch / "base.img", "read -P 1 0 1M", image_format="qcow2")

    def test_not_grouped(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        add_qcow2(server, scratch.made_by_qemu_img("over", SIZE, "qcow2").path, "over", backing=None)
        for action in (sync(scratch, "base", "top"), ("blockdev-snapshot", {"node": "base", "overlay": "over"})):
            with pytest.raises(QMPRefused):
                server.transaction(action, grouped=True)
        assert exported_node(server, "base") == "base" and not (scratch / "top").exists()


class TestAborted:
    def failing(self, server: Server, *actions: Action) -> None:
        with pytest.raises(QMPRefused):
            server.transaction(*actions, ("abort", {}))

    def test_graph_is_as_before(self, server: Server, scratch: Scratch) -> None:
        first, second = exported(server, scratch, "first"), exported(server, scratch, "second")
        add_qcow2(server, scratch.made_by_qemu_img("over", SIZE, "qcow2").path, "over", backing=None)
        names = server.node_names()
        actions = [sync(scratch, "first", "one"), ("blockdev-snapshot", {"node": "second", "overlay": "over"})]
        self.failing(server, *actions)
        assert server.node_names() == names
        assert [exported_node(server, name) for name in ("first", "second")] == ["first", "second"]
        for name in ("first", "second", "over"):
            assert not node(server, name)["ro"] and "backing_file" not in node(server, name)
        for uri in (first, second):
            qemu_io(uri, "write -P 1 0 64k")
        server.transaction(*actions)
        server.terminate()
        for name in ("first", "second"):
            qemu_io(scratch / f"{name}.img", "read -P 1 0 64k", image_format="qcow2")

    @pytest.mark.qmpd_only("QEMU 7.2 dies of an assertion when it takes stacked overlays off again")
    def test_stack_is_taken_off(self, server: Server, scratch: Scratch) -> None:
        first, second = exported(server, scratch, "first"), exported(server, scratch, "second")
        add_qcow2(server, scratch.made_by_qemu_img("over", SIZE, "qcow2").path, "over", backing=None)
        names = server.node_names()
        actions = [
            sync(scratch, "first", "one"),
            sync(scratch, "one", "two"),
            ("blockdev-snapshot", {"node": "second", "overlay": "over"}),
            sync(scratch, "over", "three"),
        ]
        self.failing(server, *actions)
        assert server.node_names() == names
        assert [exported_node(server, name) for name in ("first", "second")] == ["first", "second"]
        for uri in (first, second):
            qemu_io(uri, "write -P 1 0 64k")
        server.transaction(*actions)
        assert [exported_node(server, name) for name in ("first", "second")] == ["two", "three"]

    def test_existing_overlay_is_not_changed(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2")
        before = top.path.read_bytes()
        self.failing(server, sync(scratch, "base", "top", mode="existing", **{"snapshot-file": str(top.path)}))
        assert top.path.read_bytes() == before

    @pytest.mark.qmpd_only("QEMU leaves them")
    def test_new_files_go(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        files = set(os.listdir(scratch.directory))
        self.failing(server, sync(scratch, "base", "one"), sync(scratch, "one", "two"))
        with pytest.raises(QMPRefused):
            server.transaction(sync(scratch, "base", "one"), sync(scratch, "base", "two"))
        assert set(os.listdir(scratch.directory)) == files

    @pytest.mark.qmpd_only("QEMU overwrites them")
    def test_files_that_were_there_come_back(self, server: Server, scratch: Scratch) -> None:
        exported(server, scratch, "base")
        path = scratch / "top"
        for contents in (b"", b"not an image at all" * 5000):
            path.write_bytes(contents)
            path.chmod(0o640)
            before = path.stat()
            files = set(os.listdir(scratch.directory))
            self.failing(server, sync(scratch, "base", "top"))
            after = path.stat()
            assert path.read_bytes() == contents
            assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
            assert set(os.listdir(scratch.directory)) == files

    def test_files_that_were_there_are_made_anew(self, server: Server, scratch: Scratch) -> None:
        uri = exported(server, scratch, "base")
        qemu_io(uri, "write -P 1 0 64k")
        for name, contents in (("empty", b""), ("full", b"not an image at all" * 5000)):
            path = scratch / name
            path.write_bytes(contents)
            path.chmod(0o640)
        files = set(os.listdir(scratch.directory))
        server.transaction(sync(scratch, "base", "empty"), sync(scratch, "empty", "full"))
        assert set(os.listdir(scratch.directory)) == files
        server.terminate()
        for name in ("empty", "full"):
            assert stat.S_IMODE((scratch / name).stat().st_mode) == 0o640
            qemu_img("check", "-q", scratch / name)
            qemu_io(scratch / name, "read -P 1 0 64k", image_format="qcow2")

    def test_file_in_use_elsewhere(self, launch: Launcher, scratch: Scratch) -> None:
        one, two = launch(), launch(name="two")
        exported(one, scratch, "base")
        disk(two, scratch, "top")
        for mode in ("existing", "absolute-paths"):
            kind, given = sync(scratch, "base", "top", mode=mode)
            one.qmp.refused(kind, {**given, "snapshot-file": str(scratch / "top.img")})
        two.terminate()
        qemu_img("check", "-q", scratch / "top.img")

    def test_no_room_for_the_overlay(self, server: Server, scratch: Scratch, server_kind: str) -> None:
        uri = exported(server, scratch, "base")
        with server.file_size_limit(100 * KIB):
            server.qmp.refused(*sync(scratch, "base", "top"))
        assert exported_node(server, "base") == "base" and "top" not in server.node_names()
        qemu_io(uri, "write -P 1 0 64k", "read -P 1 0 64k")
        if server_kind == "qmpd":
            assert not (scratch / "top").exists()

    def test_bitmaps_that_cannot_be_stored(self, server: Server, scratch: Scratch) -> None:
        """The snapshot is taken all the same; the base stays as it was, and nobody believes its bitmap."""
        uri = exported(server, scratch, "base")
        server.qmp.command("block-dirty-bitmap-add", node="base", name="b", persistent=True)
        qemu_io(uri, "write -P 1 0 64k")
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2").path
        add_qcow2(server, top, "top", backing=None)
        with server.file_size_limit(64 * KIB):
            server.qmp.command("blockdev-snapshot", node="base", overlay="top")
        assert exported_node(server, "base") == "top" and not node(server, "base")["ro"]
        qemu_io(uri, "write -P 2 64k 64k", "read -P 1 0 64k")
        assert server.bitmaps("base")["b"]["count"] == 64 * KIB
        server.terminate()
        info = json.loads(qemu_img("info", "--output=json", scratch / "base.img"))
        assert [one["flags"] for one in info["format-specific"]["data"]["bitmaps"]] == [["auto"]]
        for path in (scratch / "base.img", top):
            qemu_img("check", "-q", path)

    def test_last_of_three_fails(self, server: Server, scratch: Scratch) -> None:
        uris = [exported(server, scratch, name) for name in "abc"]
        server.export(add_qcow2(server, scratch.made_by_qemu_img("used", SIZE, "qcow2").path, "used", backing=None))
        with pytest.raises(QMPRefused):
            server.transaction(
                sync(scratch, "a", "a1"),
                sync(scratch, "b", "b1"),
                ("blockdev-snapshot", {"node": "c", "overlay": "used"}),
            )
        assert [exported_node(server, name) for name in "abc"] == ["a", "b", "c"]
        for uri in uris:
            qemu_io(uri, "write -P 1 0 64k", "read -P 1 0 64k")


BLOCK = 4 * KIB


class Load(threading.Thread):
    """Writes to three disks in turn, block after block: all of them are never more than one block apart.

    :ivar steps: blocks written to all three.
    """

    def __init__(self, server: Server, names: str, blocks: int) -> None:
        super().__init__()
        self.clients = [RawNbd.attached(server.nbd_path, name) for name in names]
        self.blocks = blocks
        self.steps = 0
        self.enough = threading.Event()
        self.failure: object = None

    def run(self) -> None:
        while self.steps < self.blocks and not self.enough.is_set():
            for client in self.clients:
                data = (self.steps + 1).to_bytes(8) * (BLOCK // 8)
                reply = client.request(WRITE, self.steps * BLOCK, BLOCK, data=data)
                if reply.error:
                    self.failure = reply
                    return
            self.steps += 1

    def close(self) -> None:
        for client in self.clients:
            client.close()


def blocks_in(path: Path, scratch: Scratch) -> int:
    """How many of the load's blocks an image holds, all of those before the last one included."""
    flat = scratch / "flat.raw"
    run("qemu-img", "convert", "-O", "raw", path, flat)
    data = flat.read_bytes()
    numbers = [int.from_bytes(data[at : at + 8]) for at in range(0, len(data), BLOCK)]
    held = len([number for number in numbers if number])
    assert numbers[:held] == list(range(1, held + 1)), f"{path} has gaps"
    return held


def test_three_disks_at_one_point_in_time(server: Server, scratch: Scratch) -> None:
    """External snapshots of three disks again and again, while one client writes to all of them in turn.

    In each of the frozen layers the second disk may be one block behind the first, and the third one behind the
    second, but no further, and together they are what was written when.
    """
    rounds = count(3, 40)
    size = 16 * MIB
    for name in "abc":
        exported(server, scratch, name, size)
    load = Load(server, "abc", size // BLOCK)
    load.start()
    tops = dict(zip("abc", "abc", strict=True))
    taken: list[dict[str, str]] = []
    for number in range(rounds):
        seen = load.steps
        while load.is_alive() and load.steps < seen + 20:
            server.qmp.command("query-version")
        actions = [sync(scratch, tops[name], f"{name}{number}") for name in "abc"]
        server.transaction(*actions)
        taken.append(tops)
        tops = {name: f"{name}{number}" for name in "abc"}
    load.enough.set()
    load.join()
    load.close()
    assert load.failure is None
    server.terminate()

    def image(name: str) -> Path:
        return scratch / (f"{name}.img" if len(name) == 1 else name)

    last = 0
    for layers in taken:
        first, second, third = (blocks_in(image(layers[name]), scratch) for name in "abc")
        assert first >= second >= third >= first - 1, (layers, first, second, third)
        assert third >= last
        last = first
    assert last >= 20 * (rounds - 1)
    assert [blocks_in(image(tops[name]), scratch) for name in "abc"] == [load.steps] * 3


class TestInside:
    """Internal snapshots of three disks in one transaction."""

    def images(self, server: Server, scratch: Scratch) -> list[Disk]:
        disks = [scratch.made_by_qemu_img(name, SIZE, "qcow2") for name in "abc"]
        for one in disks:
            qemu_io(one.path, "write -P 1 0 1M", "write -P 2 2M 64k", image_format="qcow2")
        # The name is taken in the last one only.
        qemu_img("snapshot", "-c", "s", disks[2].path)
        return disks

    def actions(self, name: str) -> list[Action]:
        return [("blockdev-snapshot-internal-sync", {"device": node, "name": name}) for node in "abc"]

    def test_last_prepare_fails(self, server: Server, scratch: Scratch, server_kind: str) -> None:
        disks = self.images(server, scratch)
        before = [one.path.read_bytes() for one in disks]
        for one in disks:
            add_qcow2(server, one.path, one.name)
        with pytest.raises(QMPRefused):
            server.transaction(*self.actions("s"))
        server.terminate()
        for one in disks[:2]:
            assert qemu_img("snapshot", "-l", one.path) == ""
        for one in disks:
            qemu_img("check", "-q", one.path)
        if server_kind == "qmpd":
            # What was written for the snapshots lies in free clusters behind all else.
            assert [one.path.read_bytes()[: len(old)] for one, old in zip(disks, before, strict=True)] == before

    def test_last_prepare_fails_between_writes(self, server: Server, scratch: Scratch) -> None:
        disks = self.images(server, scratch)
        for one in disks:
            add_qcow2(server, one.path, one.name)
        uris = [server.export(one.name) for one in disks]
        for uri in uris:
            qemu_io(uri, "write -P 3 1M 64k")
        with pytest.raises(QMPRefused):
            server.transaction(*self.actions("s"))
        for uri in uris:
            qemu_io(uri, "write -P 4 1100k 64k", "read -P 3 1M 64k", "read -P 1 0 1M")
        server.terminate()
        for one in disks:
            qemu_img("check", "-q", one.path)

    def test_all_succeed(self, server: Server, scratch: Scratch) -> None:
        disks = self.images(server, scratch)
        for one in disks:
            add_qcow2(server, one.path, one.name)
        uris = [server.export(one.name) for one in disks]
        server.transaction(*self.actions("all"))
        for uri in uris:
            qemu_io(uri, "write -P 5 0 1M")
        server.terminate()
        for one in disks:
            names = [line.split()[1] for line in qemu_img("snapshot", "-l", one.path).splitlines()[2:]]
            assert "all" in names
            qemu_img("check", "-q", one.path)
            qemu_img("snapshot", "-a", "all", one.path)
            qemu_io(one.path, "read -P 1 0 1M", "read -P 2 2M 64k", image_format="qcow2")
