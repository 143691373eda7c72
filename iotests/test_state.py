"""The state directory: what comes back after a restart, what is told of what does not, and who may use it."""

import contextlib
import dataclasses
import sqlite3
import subprocess
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.backups import FAR, SLOW, Volume, await_first_chunk, volume
from iotests.harness.images import KIB, MIB
from iotests.harness.state import Place, assert_in_use, database_locked, look, objects_of, outcomes, replay
from iotests.harness.tools import qemu_img, qemu_io, run

pytestmark = pytest.mark.qmpd_only("qemu-storage-daemon keeps no state")


@pytest.fixture
def place(launch: Launcher, scratch: Scratch) -> Place:
    return Place(launch, scratch)


def asked(place: Place, query: str) -> list[Any]:
    """The first column of what the catalog has, asked in its own language."""
    with contextlib.closing(sqlite3.connect(place.path / "catalog.sqlite")) as connection:
        return [row[0] for row in connection.execute(query)]


class TestRestart:
    """A daemon that ended in order."""

    def test_everything_comes_back(self, place: Place, scratch: Scratch) -> None:
        """A hundred nodes, twenty exports, forty bitmaps, on raw and qcow2; queries are equal before and after."""
        server = place.start()
        server.qmp.command("object-add", qom_type="throttle-group", id="limits", limits={"iops-total": 100_000})
        names = self._make_nodes(server, scratch)
        place.serve(server)
        for name in names[:20]:
            place.export(server, name)
        for number in range(40):
            options = {"node": names[number % 20], "name": f"b{number}", "persistent": True}
            server.qmp.command("block-dirty-bitmap-add", options, disabled=number % 5 == 0)
        for number in range(20):
            qemu_io(place.uri(names[number]), f"write -P {number + 1} {number * 64}k 64k")
        before = look(server)
        assert len(before["query-named-block-nodes"]) == 100 and len(before["query-block-exports"]) == 20
        assert server.terminate() == 0
        server = place.start()
        after = look(server)
        for one, other in zip(after.pop("query-named-block-nodes"), before.pop("query-named-block-nodes"), strict=True):
            assert one == other
        assert after == before
        assert server.qmp.command("query-unrestored") == []
        for number in range(20):
            qemu_io(place.uri(names[number]), f"read -P {number + 1} {number * 64}k 64k")

    def _make_nodes(self, server: Server, scratch: Scratch) -> list[str]:
        """Raw and qcow2 disks by turns, some of them with a base, a filter, or names that are generated; 100 nodes."""
        names = []
        for number in range(25):
            path = scratch / f"d{number}.img"
            if number % 2:
                qemu_img("create", "-q", "-f", "qcow2", path, "2M")
            else:
                scratch.disk(f"d{number}", 2 * MIB)
            file = {"driver": "file", "filename": str(path)}
            driver = "qcow2" if number % 2 else "raw"
            server.qmp.command("blockdev-add", driver=driver, node_name=f"disk{number}", file=file)
            names.append(f"disk{number}")
        for number in range(25):
            server.qmp.command("blockdev-add", driver="null-co", node_name=f"null{number}", size=MIB)
        for number in range(25):
            options = {"throttle-group": "limits", "file": f"disk{number}"}
            server.qmp.command("blockdev-add", options, driver="throttle", node_name=f"slow{number}")
        return names

    def test_chains_go_on(self, place: Place, scratch: Scratch) -> None:
        """Full backup, restart, increment, restart, increment: for raw and for qcow2."""
        server = place.start()
        place.serve(server)
        for kind in ("raw", "qcow2"):
            qemu_img("create", "-q", "-f", kind, scratch / f"{kind}.img", "4M")
            file = {"driver": "file", "filename": str(scratch / f"{kind}.img")}
            server.qmp.command("blockdev-add", driver=kind, node_name=kind, file=file)
            place.export(server, kind)
            qemu_io(place.uri(kind), "write -P 1 0 4M")
        self._backup(server, scratch, 0)
        for number in (1, 2):
            for kind in ("raw", "qcow2"):
                qemu_io(place.uri(kind), f"write -P {number + 1} {number}M 200k")
            assert server.terminate() == 0
            server = place.start()
            for kind in ("raw", "qcow2"):
                qemu_io(place.uri(kind), f"write -P {number + 5} {number * 512}k 70k")
            self._backup(server, scratch, number)
        server.qmp.command("block-export-del", id="export-raw", mode="hard")
        for kind in ("raw", "qcow2"):
            disk = f"driver={kind},file.driver=file,file.filename={scratch / f'{kind}.img'}"
            top = f"driver=qcow2,file.driver=file,file.filename={scratch / f'{kind}-2.qcow2'}"
            output = run("qemu-img", "compare", "-U", "--image-opts", disk, top)
            assert "Images are identical" in output
        outcomes(server)
        for kind in ("raw", "qcow2"):
            chain = server.qmp.command("catalog-query-backups", node_name=kind)
            assert [backup["sync"] for backup in chain] == ["incremental", "incremental", "full"]
            assert [backup.get("parent") for backup in chain] == [chain[1]["id"], chain[2]["id"], None]
            assert {backup["chain"] for backup in chain} == {chain[2]["id"]}
            assert {backup["outcome"] for backup in chain} == {"completed"}

    def _backup(self, server: Server, scratch: Scratch, number: int) -> None:
        """A grouped backup of both disks, full at first, each into an overlay of the one before."""
        actions: list[tuple[str, dict[str, Any]]] = []
        for kind in ("raw", "qcow2"):
            target = scratch / f"{kind}-{number}.qcow2"
            below = ("-F", "qcow2", "-b", str(scratch / f"{kind}-{number - 1}.qcow2")) if number else ()
            qemu_img("create", "-q", "-f", "qcow2", *below, target, "4M")
            node = f"{kind}-{number}"
            file = {"driver": "file", "filename": str(target)}
            server.qmp.command("blockdev-add", driver="qcow2", node_name=node, file=file)
            job = {"job-id": f"job-{kind}", "device": kind, "target": node}
            if number:
                actions.append(("blockdev-backup", {**job, "sync": "incremental", "bitmap": "since"}))
            else:
                actions.append(("block-dirty-bitmap-add", {"node": kind, "name": "since", "persistent": True}))
                actions.append(("blockdev-backup", {**job, "sync": "full"}))
        server.transaction(*actions, grouped=True)
        for kind in ("raw", "qcow2"):
            server.qmp.wait_job(f"job-{kind}", "null")
            (end,) = server.qmp.seen("BLOCK_JOB_COMPLETED", device=f"job-{kind}")[-1:]
            assert "error" not in end.data
            server.qmp.command("blockdev-del", node_name=f"{kind}-{number}")

    def test_snapshots_come_back_as_overlays(self, place: Place, scratch: Scratch) -> None:
        """The disk is what it is in the end, not what it was when it was added."""
        server = place.start()
        qemu_img("create", "-q", "-f", "qcow2", scratch / "base.img", "4M")
        file = {"driver": "file", "filename": str(scratch / "base.img")}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="base", file=file)
        place.serve(server)
        server.add_raw(scratch.disk("raw"), "raw")
        named = {"snapshot-node-name": "high"}
        place.export(server, "base")
        server.qmp.command("block-export-add", type="nbd", id="export-raw", node_name="raw", writable=True)
        qemu_io(place.uri("base"), "write -P 1 0 1M")
        server.transaction(
            (
                "blockdev-snapshot-sync",
                {"node-name": "base", "snapshot-file": str(scratch / "top.img"), "snapshot-node-name": "top"},
            )
        )
        qemu_io(place.uri("base"), "write -P 2 512k 1M")
        server.transaction(
            ("blockdev-snapshot-sync", {"node-name": "raw", "snapshot-file": str(scratch / "high.img"), **named})
        )
        before = look(server)
        assert server.terminate() == 0
        server = place.start()
        assert look(server) == before
        qemu_io(place.uri("base"), "read -P 1 0 512k", "read -P 2 512k 1M")
        qemu_io(place.uri("base"), "write -P 3 0 64k")
        # What has become read-only below an overlay is written to by the job that merges them.
        qemu_io(place.uri("raw"), "write -P 4 0 64k")
        server.qmp.command("block-commit", job_id="merge", device="high")
        server.qmp.wait_job("merge", "ready")
        server.qmp.command("job-complete", id="merge")
        server.qmp.wait_job("merge", "null")
        assert "error" not in server.qmp.seen("BLOCK_JOB_COMPLETED", device="merge")[0].data
        qemu_io(place.uri("raw"), "read -P 4 0 64k")
        assert server.terminate() == 0
        qemu_io(scratch / "base.img", "read -P 1 0 1M", image_format="qcow2")

    def test_another_directory(self, place: Place, scratch: Scratch) -> None:
        """Relative names mean what they meant when they were given."""
        here, there = scratch / "here", scratch / "there"
        for directory in (here, there):
            directory.mkdir()
            qemu_img("create", "-q", "-f", "raw", directory / "disk.img", "1M")
        qemu_io(here / "disk.img", "write -P 1 0 64k")
        server = place.start(directory=here)
        file = {"driver": "file", "filename": "disk.img"}
        server.qmp.command("blockdev-add", driver="raw", node_name="disk", file=file)
        server.qmp.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
        server.qmp.command("block-export-add", type="nbd", id="e", node_name="disk")
        assert server.terminate() == 0
        place.start(directory=there)
        qemu_io(f"nbd+unix:///disk?socket={here / 'nbd.sock'}", "read -P 1 0 64k", options=["-r"])

    def test_what_is_gone_stays_gone(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        for name in ("a", "b"):
            server.add_raw(scratch.disk(name), name)
            server.qmp.command("block-dirty-bitmap-add", node=name, name="bits", persistent=True)
        server.qmp.command("object-add", qom_type="iothread", id="thread")
        place.serve(server)
        place.export(server, "a")
        server.qmp.command("block-dirty-bitmap-remove", node="b", name="bits")
        server.qmp.command("block-export-del", id="export-a")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        server.qmp.command("blockdev-del", node_name="a")
        server.qmp.command("object-del", id="thread")
        server.qmp.command("nbd-server-stop")
        assert server.terminate() == 0
        server = place.start()
        nodes = server.qmp.command("query-named-block-nodes")
        assert {node["node-name"] for node in nodes if not node["node-name"].startswith("#")} == {"b"}
        assert not any(node.get("dirty-bitmaps") for node in nodes)
        assert server.qmp.command("query-block-exports") == []
        assert objects_of(server) == []
        place.serve(server)

    def test_a_name_can_be_used_again(self, place: Place, scratch: Scratch) -> None:
        """A bitmap that is removed and added again is another one, also for the chain of backups."""
        server = place.start()
        for kind in ("raw", "qcow2"):
            qemu_img("create", "-q", "-f", kind, scratch / f"{kind}.img", "1M")
            file = {"driver": "file", "filename": str(scratch / f"{kind}.img")}
            server.qmp.command("blockdev-add", driver=kind, node_name=kind, file=file)
            server.add_raw(scratch.disk(f"{kind}-target", MIB), f"{kind}-target")
            for number in range(2):
                job = {"job-id": f"{kind}{number}", "device": kind, "target": f"{kind}-target", "sync": "incremental"}
                server.transaction(
                    ("block-dirty-bitmap-add", {"node": kind, "name": "bits", "persistent": True}),
                    ("blockdev-backup", {**job, "bitmap": "bits"}),
                )
                server.qmp.wait_job(f"{kind}{number}", "null")
                server.qmp.command("block-dirty-bitmap-remove", node=kind, name="bits")
        assert outcomes(server) == ["completed"] * 4
        assert all("parent" not in backup for backup in server.qmp.command("catalog-query-backups"))
        assert_in_use(server, "bitmaps", 0)

    def test_a_bitmap_waits_for_its_image(self, place: Place, scratch: Scratch) -> None:
        """As in qcow2: a disk that is closed and opened again, under any name, has its bitmaps, in any run."""
        disk = scratch.disk("disk")
        server = place.start()
        server.add_raw(disk, "one")
        server.qmp.command("block-dirty-bitmap-add", node="one", name="bits", persistent=True)
        place.serve(server)
        qemu_io(place.export(server, "one"), "write 1M 64k")
        server.qmp.command("block-export-del", id="export-one")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        server.qmp.command("blockdev-del", node_name="one")
        server.add_raw(disk, "two")
        assert server.bitmaps("two")["bits"]["count"] == 64 * KIB
        server.qmp.command("blockdev-del", node_name="two")
        assert server.terminate() == 0
        server = place.start()
        server.add_raw(disk, "three")
        assert server.bitmaps("three")["bits"]["count"] == 64 * KIB

    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    @pytest.mark.parametrize("restarted", [False, True])
    def test_another_image_under_its_name(self, place: Place, scratch: Scratch, kind: str, *, restarted: bool) -> None:
        """A bitmap belongs to its image, whatever else is opened under the name of its node."""

        def open_as_disk(image: str) -> None:
            file = {"driver": "file", "filename": str(scratch / image)}
            server.qmp.command("blockdev-add", driver=kind, node_name="disk", file=file)

        for image in ("a", "b"):
            qemu_img("create", "-q", "-f", kind, scratch / image, "4M")
        server = place.start()
        place.serve(server)
        open_as_disk("a")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        qemu_io(place.export(server, "disk"), "write 1M 64k")
        server.qmp.command("block-export-del", id="export-disk")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        server.qmp.command("blockdev-del", node_name="disk")
        open_as_disk("b")
        assert server.bitmaps("disk") == {}
        if restarted:
            assert server.terminate() == 0
            server = place.start()
        server.qmp.command("blockdev-del", node_name="disk")
        open_as_disk("a")
        assert server.bitmaps("disk")["bits"]["count"] == 64 * KIB
        assert_in_use(server, "bitmaps", 1)
        assert server.terminate() == 0
        assert place.start().bitmaps("disk")["bits"]["count"] == 64 * KIB

    def test_an_image_that_was_changed_meanwhile(self, place: Place, scratch: Scratch) -> None:
        """Nobody has noted that write: the bitmap must not pretend to know."""
        disk = scratch.disk("disk")
        server = place.start()
        server.add_raw(disk, "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        assert server.terminate() == 0
        qemu_io(disk.path, "write -P 9 0 64k")
        server = place.start()
        bitmap = server.bitmaps("disk")["bits"]
        assert bitmap["inconsistent"] and not bitmap["recording"]
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="bits")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)

    def test_the_command_line_is_not_repeated(self, place: Place, scratch: Scratch) -> None:
        """What options make is made by them again, or not at all."""
        disk = scratch.disk("disk")
        options = ("--blockdev", f"driver=raw,node-name=d,file.driver=file,file.filename={disk.path}")
        server = place.start(*options)
        server.qmp.command("block-dirty-bitmap-add", node="d", name="bits", persistent=True)
        assert server.terminate() == 0
        server = place.start(*options)
        assert "bits" in server.bitmaps("d")
        assert server.qmp.command("query-unrestored") == []
        assert server.terminate() == 0
        server = place.start()
        assert server.node_names() == set()


class TestUnrestored:
    """What cannot be made again keeps nobody from starting."""

    def test_an_image_is_gone(self, place: Place, scratch: Scratch) -> None:
        disk = scratch.disk("disk")
        server = place.start()
        server.add_raw(scratch.disk("other"), "other")
        server.add_raw(disk, "disk")
        place.serve(server)
        place.export(server, "disk")
        assert server.terminate() == 0
        disk.path.rename(scratch / "elsewhere")
        server = place.start()
        found = server.qmp.command("query-unrestored")
        assert [(item["kind"], item["name"]) for item in found] == [("node", "disk"), ("export", "export-disk")]
        assert "disk.img" in found[0]["reason"]
        told = [event for event in replay(server.qmp, 0) if event["event"] == "STATE_RESTORE_FAILED"]
        assert [event["data"] for event in told] == found
        assert "other" in server.node_names()
        # The next start tries again.
        assert server.terminate() == 0
        (scratch / "elsewhere").rename(disk.path)
        server = place.start()
        assert server.qmp.command("query-unrestored") == []
        assert [export["id"] for export in server.qmp.command("query-block-exports")] == ["export-disk"]

    def test_what_it_stands_on_was_made_again(self, place: Place, scratch: Scratch) -> None:
        """What failed stays behind what it needs, whatever was made before and after it."""
        server = place.start()
        image = scratch / "top.qcow2"
        server.add_null("base", MIB)
        qemu_img("create", "-q", "-f", "qcow2", image, "1M")
        file = {"driver": "file", "filename": str(image)}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="top", file=file, backing="base")
        for number in range(5):
            server.qmp.command("object-add", qom_type="throttle-group", id=f"limits{number}")
        assert server.terminate() == 0
        image.rename(scratch / "elsewhere")
        server = place.start()
        assert [item["name"] for item in server.qmp.command("query-unrestored")] == ["top"]
        server.add_null("other", MIB)
        assert server.terminate() == 0
        (scratch / "elsewhere").rename(image)
        server = place.start()
        assert server.qmp.command("query-unrestored") == []
        assert {"base", "top", "other"} <= server.node_names()

    def test_giving_it_up(self, place: Place, scratch: Scratch) -> None:
        disk = scratch.disk("disk")
        server = place.start()
        server.add_raw(disk, "disk")
        assert server.terminate() == 0
        disk.path.unlink()
        server = place.start()
        server.qmp.refused("forget-unrestored", kind="export", name="disk")
        server.qmp.command("forget-unrestored", kind="node", name="disk")
        assert server.qmp.command("query-unrestored") == []
        assert server.terminate() == 0
        assert place.start().qmp.command("query-unrestored") == []

    def test_a_second_daemon(self, place: Place, scratch: Scratch, launch: Launcher) -> None:
        server = place.start()
        done = subprocess.run(
            [*server.program(), "--state-dir", str(place.path)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 and f"process id {server.pid}" in done.stderr

    def test_no_state_directory(self, launch: Launcher) -> None:
        server = launch()
        assert server.qmp.command("query-unrestored") == []
        for name, arguments in (("replay-events", {"since": 0}), ("catalog-query-jobs", {})):
            assert "--state-dir" in server.qmp.refused(name, arguments)
        assert server.qmp.greeting["capabilities"] == ["oob"]


class TestKilled:
    """The process is killed; the host goes on."""

    @pytest.mark.parametrize("during", ["nothing", "a backup", "a group"])
    def test_changes_stay_tracked(self, place: Place, scratch: Scratch, during: str) -> None:
        server = place.start()
        disk = volume(server, scratch, "disk")
        place.serve(server)
        uri = place.export(server, "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        qemu_io(uri, "write 0 64k")
        if during != "nothing":
            qemu_io(uri, "write 512k 512k")
            clear = [("block-dirty-bitmap-clear", {"node": "disk", "name": "bits"})] if during == "a group" else []
            sync = {"sync": "full"} if clear else {"sync": "incremental", "bitmap": "bits"}
            server.transaction(
                *clear, ("blockdev-backup", {**disk.backup(speed=SLOW), **sync}), grouped=during == "a group"
            )
            await_first_chunk(server, disk.job)
        qemu_io(uri, "write 2M 64k")
        server.kill()
        server = place.start()
        bitmap = server.bitmaps("disk")["bits"]
        assert bitmap["recording"] and not bitmap.get("inconsistent") and not bitmap["busy"]
        expected = 2 * 64 * KIB + (512 * KIB if during != "nothing" else 0)
        assert bitmap["count"] == expected
        assert outcomes(server) == (["lost"] if during != "nothing" else [])
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="again", persistent=True)

    def test_what_a_bitmap_gives_up_is_at_the_target(self, place: Place, scratch: Scratch) -> None:
        """A backup that was cancelled has given up what it had copied: then that must not be lost with the daemon."""
        server = place.start()
        disk = scratch.full_disk("disk", 4 * MIB, seed=1)
        server.add_raw(disk)
        target = scratch.made_by_qemu_img("target", 4 * MIB, "qcow2")
        file = {"driver": "file", "filename": str(target.path)}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "target", "file": file})
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        place.serve(server)
        qemu_io(place.export(server, "disk"), "write -P 7 0 4M")
        job = {"job-id": "j", "device": "disk", "target": "target", "sync": "bitmap", "bitmap": "bits"}
        server.qmp.command("blockdev-backup", {**job, "bitmap-mode": "always", "speed": SLOW})
        await_first_chunk(server, "j")
        server.qmp.command("job-cancel", id="j")
        server.qmp.wait_job("j", "null")
        left = server.bitmaps("disk")["bits"]["count"]
        assert 0 < left < 4 * MIB
        server.kill()
        output = run("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P 7 0 {4 * MIB - left}", target.path, ok=(0, 1))
        assert "verification failed" not in output


class TestChains:
    """A chain of backups in the catalog has all that a restored disk needs, or ends."""

    def test_clearing_ends_it(self, place: Place, scratch: Scratch) -> None:
        """What a cleared bitmap knew is in no backup; a group that fails has cleared nothing."""
        server = place.start()
        disk = self._begin(place, server, scratch)
        other = volume(server, scratch, "other", far=True)
        clear = ("block-dirty-bitmap-clear", {"node": "disk", "name": "bits"})
        with server.file_size_limit(FAR):
            server.transaction(clear, ("blockdev-backup", other.backup()), grouped=True)
            server.qmp.wait_job(other.job, "null")
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental"]
        server.qmp.command(*clear)
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["incremental"]

    def test_what_was_not_recorded_ends_it(self, place: Place, scratch: Scratch) -> None:
        """Enabling what is enabled changes nothing; a group that fails has enabled nothing."""
        server = place.start()
        disk = self._begin(place, server, scratch)
        other = volume(server, scratch, "other", far=True)
        enable = ("block-dirty-bitmap-enable", {"node": "disk", "name": "bits"})
        server.qmp.command(*enable)
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental"]
        server.qmp.command("block-dirty-bitmap-disable", enable[1])
        with server.file_size_limit(FAR):
            server.transaction(enable, ("blockdev-backup", other.backup()), grouped=True)
            server.qmp.wait_job(other.job, "null")
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental", "incremental"]
        server.qmp.command(*enable)
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["incremental"]

    def test_a_full_backup_begins_one(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        disk = self._begin(place, server, scratch)
        disk.run("full", bitmap="bits", bitmap_mode="on-success")
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental"]
        newest = server.qmp.command("catalog-query-backups")[0]
        assert newest["parent"] == newest["id"] - 1

    def test_a_bitmap_that_is_kept_whole(self, place: Place, scratch: Scratch) -> None:
        """What it gave to a backup comes with the next one as well, so that needs nothing of the first."""
        server = place.start()
        disk = self._begin(place, server, scratch)
        disk.run("bitmap", bitmap="bits", bitmap_mode="never")
        assert self._chain(server) == ["full", "bitmap"]
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental"]

    def test_a_part_that_was_given_up_ends_it(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        disk = self._begin(place, server, scratch)
        disk.start("bitmap", bitmap="bits", bitmap_mode="always", speed=SLOW)
        await_first_chunk(server, disk.job)
        server.qmp.command("job-cancel", id=disk.job)
        server.qmp.wait_job(disk.job, "null")
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["incremental"]

    @pytest.mark.parametrize("is_noted", [True, False])
    def test_one_that_ended_unseen(self, place: Place, scratch: Scratch, is_noted: bool) -> None:
        """The next backup waits until it is known; if the daemon dies, a file knows it, or else the chain ends."""
        server = place.start()
        disk = self._begin(place, server, scratch)
        disk.start("incremental", bitmap="bits", speed=SLOW)
        with database_locked(place):
            self._end_at_once(server, disk.job)
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental", "incremental"]
        qemu_io(place.uri("disk"), "write 0 1M")
        disk.start("incremental", bitmap="bits", speed=SLOW)
        with database_locked(place):
            self._end_at_once(server, disk.job)
            server.kill()
        if not is_noted:
            (place.path / "ended.jsonl").unlink()
        server = place.start()
        disk = dataclasses.replace(disk, server=server)
        assert not server.bitmaps("disk")["bits"].get("inconsistent")
        disk.run("incremental", bitmap="bits")
        assert self._chain(server) == (["full", *["incremental"] * 4] if is_noted else ["incremental"])

    @pytest.mark.parametrize("first_start_fails", [False, True])
    def test_one_that_was_lost(self, place: Place, scratch: Scratch, *, first_start_fails: bool) -> None:
        """Its bitmap still knows everything."""
        server = place.start()
        disk = self._begin(place, server, scratch)
        disk.start("incremental", bitmap="bits", speed=SLOW)
        await_first_chunk(server, disk.job)
        server.kill()
        if first_start_fails:
            place.fail_to_start("jobs")
        server = place.start()
        dataclasses.replace(disk, server=server).run("incremental", bitmap="bits")
        assert self._chain(server) == ["full", "incremental"]

    def _begin(self, place: Place, server: Server, scratch: Scratch) -> Volume:
        """A disk that is exported, with a full backup and a bitmap that has noted a write since."""
        disk = volume(server, scratch, "disk")
        server.transaction(
            ("block-dirty-bitmap-add", {"node": "disk", "name": "bits", "persistent": True}),
            ("blockdev-backup", disk.backup()),
        )
        server.qmp.wait_job(disk.job, "null")
        place.serve(server)
        qemu_io(place.export(server, "disk"), "write 0 1M")
        return disk

    def _end_at_once(self, server: Server, job: str) -> None:
        server.qmp.command("block-job-set-speed", device=job, speed=0)
        server.qmp.wait_job(job, "null")

    def _chain(self, server: Server) -> list[str]:
        """What the newest backup stands on, and itself."""
        outcomes(server)
        newest = server.qmp.command("catalog-query-backups", limit=1)[0]["id"]
        return [backup["sync"] for backup in server.qmp.command("catalog-query-backup-chain", backup=newest)]


class TestOnTrial:
    """What a grouped transaction does to bitmaps counts when its jobs have ended well, and not before."""

    def start(self, server: Server, scratch: Scratch) -> Volume:
        """Begin a group that replaces the bitmap `old` by `new`, and have something else stored meanwhile."""
        disk = volume(server, scratch, "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="old", persistent=True)
        server.transaction(
            ("block-dirty-bitmap-remove", {"node": "disk", "name": "old"}),
            ("block-dirty-bitmap-add", {"node": "disk", "name": "new", "persistent": True}),
            ("blockdev-backup", disk.backup(speed=SLOW)),
            grouped=True,
        )
        server.qmp.command("object-add", qom_type="throttle-group", id="meanwhile")
        return disk

    @pytest.mark.parametrize("succeeds", [False, True])
    def test_the_group_ends(self, place: Place, scratch: Scratch, *, succeeds: bool) -> None:
        server = place.start()
        disk = self.start(server, scratch)
        if succeeds:
            server.qmp.command("block-job-set-speed", device=disk.job, speed=0)
        else:
            server.qmp.command("job-cancel", id=disk.job)
        server.qmp.wait_job(disk.job, "null")
        assert_in_use(server, "bitmaps", 1)
        # Everything goes on being stored.
        server.qmp.command("object-add", qom_type="throttle-group", id="afterwards")
        expected = ["new" if succeeds else "old"]
        assert list(server.bitmaps("disk")) == expected
        assert server.terminate() == 0
        server = place.start()
        assert list(server.bitmaps("disk")) == expected
        assert server.qmp.command("query-unrestored") == []

    @pytest.mark.parametrize("killed", [False, True])
    def test_the_daemon_ends(self, place: Place, scratch: Scratch, *, killed: bool) -> None:
        server = place.start()
        self.start(server, scratch)
        if killed:
            server.kill()
        else:
            assert server.terminate() == 0
        server = place.start()
        assert list(server.bitmaps("disk")) == ["old"]
        assert server.qmp.command("query-unrestored") == []
        assert_in_use(server, "bitmaps", 1)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="new", persistent=True)

    @pytest.mark.parametrize("end", ["success", "failure", "kill"])
    def test_recording(self, place: Place, scratch: Scratch, end: str) -> None:
        """Bitmaps that a group has switched or cleared are what they were when it comes to nothing."""
        server = place.start()
        disk = volume(server, scratch, "disk")
        for name, disabled in (("off", False), ("on", True), ("empty", False)):
            server.qmp.command("block-dirty-bitmap-add", node="disk", name=name, persistent=True, disabled=disabled)
        server.transaction(
            ("block-dirty-bitmap-disable", {"node": "disk", "name": "off"}),
            ("block-dirty-bitmap-enable", {"node": "disk", "name": "on"}),
            ("block-dirty-bitmap-clear", {"node": "disk", "name": "empty"}),
            ("blockdev-backup", disk.backup(speed=SLOW)),
            grouped=True,
        )
        server.qmp.command("object-add", qom_type="throttle-group", id="meanwhile")
        if end == "success":
            server.qmp.command("block-job-set-speed", device=disk.job, speed=0)
        elif end == "failure":
            server.qmp.command("job-cancel", id=disk.job)
        if end == "kill":
            server.kill()
        else:
            server.qmp.wait_job(disk.job, "null")
            assert server.terminate() == 0
        server = place.start()
        recording = {name: bitmap["recording"] for name, bitmap in server.bitmaps("disk").items()}
        assert recording == {"off": end != "success", "on": end == "success", "empty": True}
        assert {file.suffix for file in (place.path / "bitmaps").iterdir()} == {".bits"}

    def test_a_group_of_one_run_is_not_seen_by_the_next(self, place: Place, scratch: Scratch) -> None:
        """A crash that comes when a group has ended well puts nothing back."""
        server = place.start()
        disk = volume(server, scratch, "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="off", persistent=True)
        server.transaction(
            ("block-dirty-bitmap-disable", {"node": "disk", "name": "off"}),
            ("block-dirty-bitmap-add", {"node": "disk", "name": "new", "persistent": True}),
            ("blockdev-backup", disk.backup()),
            grouped=True,
        )
        server.qmp.wait_job(disk.job, "null")
        assert outcomes(server) == ["completed"]
        while asked(place, "SELECT name FROM bitmaps WHERE persistent ORDER BY name") != ["new", "off"]:
            server.check()
        server.kill()
        server = place.start()
        recording = {name: bitmap["recording"] for name, bitmap in server.bitmaps("disk").items()}
        assert recording == {"off": False, "new": True}

    def test_a_group_without_jobs(self, place: Place, scratch: Scratch) -> None:
        """It has ended as soon as it begins."""
        server = place.start()
        server.add_raw(scratch.disk("disk"), "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        server.transaction(
            ("block-dirty-bitmap-remove", {"node": "disk", "name": "bits"}),
            ("block-dirty-bitmap-add", {"node": "disk", "name": "more", "persistent": True}),
            grouped=True,
        )
        assert_in_use(server, "bitmaps", 1)
        server.kill()
        server = place.start()
        assert list(server.bitmaps("disk")) == ["more"]
        assert server.qmp.command("query-unrestored") == []


class TestEvents:
    """Events are numbered, and told again."""

    def test_what_was_missed(self, place: Place, scratch: Scratch) -> None:
        """A client leaves during a grouped backup; after a restart it learns exactly what it has missed."""
        server = place.start()
        disks = [volume(server, scratch, name, seed=number) for number, name in enumerate(("a", "b"))]
        client = server.connect(negotiate=False)
        assert "event-replay" in client.greeting["capabilities"]
        client.command("qmp_capabilities", enable=["event-replay"])
        server.transaction(*[("blockdev-backup", disk.backup(speed=SLOW)) for disk in disks], grouped=True)
        client.wait_job("job-a", "running")
        client.command("query-version")
        known = [event.number or 0 for event in client.events]
        assert known == list(range(1, len(known) + 1))
        client.close()
        everything = list(server.qmp.events)
        for disk in disks:
            server.qmp.command("block-job-set-speed", device=disk.job, speed=0)
        for disk in disks:
            server.qmp.wait_job(disk.job, "null")
        everything = list(server.qmp.events)
        assert server.terminate() == 0
        server = place.start()
        client = server.connect(negotiate=False)
        client.command("qmp_capabilities", enable=["event-replay"])
        missed = replay(client, known[-1])
        assert [event["seq"] for event in missed] == list(range(known[-1] + 1, known[-1] + 1 + len(missed)))
        told = [(event["event"], event.get("data", {})) for event in missed]
        assert told == [(event.name, event.data) for event in everything[len(known) :]]
        # What comes now goes on with the next number.
        server.qmp.command("blockdev-del", node_name="a-target")
        server.qmp.command("stop")
        assert client.wait_event("STOP").number == (missed[-1]["seq"] if missed else known[-1]) + 1

    def test_a_snapshot_that_is_deleted(self, place: Place, scratch: Scratch) -> None:
        """The catalog knows which snapshots inside images are there."""
        image = scratch / "disk.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", image, "1M")
        server = place.start()
        file = {"driver": "file", "filename": str(image)}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="disk", file=file)
        for name in ("stays", "goes"):
            server.qmp.command("blockdev-snapshot-internal-sync", device="disk", name=name)
        server.qmp.command("blockdev-snapshot-delete-internal-sync", device="disk", name="goes")
        assert server.terminate() == 0
        with contextlib.closing(sqlite3.connect(place.path / "catalog.sqlite")) as database:
            there = database.execute("SELECT name FROM snapshots WHERE deleted_us IS NULL").fetchall()
        assert there == [("stays",)]

    def test_others_see_plain_events(self, place: Place) -> None:
        server = place.start()
        server.qmp.command("stop")
        assert server.qmp.wait_event("STOP").number is None

    def test_bad_numbers(self, place: Place) -> None:
        qmp = place.start().qmp
        for arguments in ({"since": -1}, {"since": 0, "limit": 0}, {"since": 0, "limit": 1_000_000}):
            qmp.refused("replay-events", arguments)
        assert qmp.command("replay-events", since=1_000_000)["events"] == []


class TestCatalogFails:
    """The database does not take what is to be stored: then it does not happen."""

    def test_a_transaction(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        disk = volume(server, scratch, "disk")
        place.serve(server)
        uri = place.export(server, "disk")
        actions = [
            ("block-dirty-bitmap-add", {"node": "disk", "name": "bits", "persistent": True}),
            ("blockdev-backup", disk.backup()),
        ]
        before = look(server)
        with database_locked(place):
            desc = server.qmp.refused(
                "transaction",
                actions=[{"type": kind, "data": data} for kind, data in actions],
                properties={"completion-mode": "grouped"},
            )
            assert "catalog" in desc
            assert look(server) == before
            assert list((place.path / "bitmaps").iterdir()) == []
            qemu_io(uri, "write 0 64k")
        server.transaction(*actions, grouped=True)
        server.qmp.wait_job(disk.job, "null")
        assert outcomes(server) == ["completed"]

    def test_single_commands(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        server.add_raw(scratch.disk("a"), "a")
        disk = scratch.disk("b")
        place.serve(server)
        before = look(server)
        with database_locked(place):
            file = {"driver": "file", "filename": str(disk.path)}
            server.qmp.refused("blockdev-add", driver="raw", node_name="b", file=file)
            server.qmp.refused("blockdev-del", node_name="a")
            server.qmp.refused("object-add", qom_type="throttle-group", id="t")
            server.qmp.refused("block-export-add", type="nbd", id="e", node_name="a")
            server.qmp.wait_event("BLOCK_EXPORT_DELETED")
            assert look(server) == before
        server.add_raw(disk, "b")
        server.qmp.command("blockdev-del", node_name="a")

    def test_what_never_was(self, place: Place, scratch: Scratch) -> None:
        """Nobody stores what a transaction of somebody else has only prepared."""
        server = place.start()
        server.add_raw(scratch.disk("disk"), "n0")
        actions: list[dict[str, Any]] = []
        for number in range(20):
            overlay = {"snapshot-file": str(scratch / f"o{number}"), "snapshot-node-name": f"n{number + 1}"}
            data = {"node-name": f"n{number}", "format": "qcow2", **overlay}
            actions.append({"type": "blockdev-snapshot-sync", "data": data})
        actions.append({"type": "abort", "data": {}})
        client = server.connect()
        transaction = client.send("transaction", actions=actions)
        for number in range(20):
            server.qmp.command("object-add", qom_type="throttle-group", id=f"limits{number}")
        assert "error" in client.take_reply(transaction)
        server.qmp.command("object-add", qom_type="throttle-group", id="afterwards")
        assert asked(place, "SELECT DISTINCT node_name FROM volumes") == ["n0"]

    def test_jobs_end_all_the_same(self, place: Place, scratch: Scratch) -> None:
        """What has happened is stored when the database works again."""
        server = place.start()
        disk = volume(server, scratch, "disk")
        server.transaction(("blockdev-backup", disk.backup(speed=SLOW)))
        with database_locked(place):
            server.qmp.command("block-job-set-speed", device=disk.job, speed=0)
            server.qmp.wait_job(disk.job, "null")
            assert server.qmp.command("query-block-jobs") == []
        assert outcomes(server) == ["completed"]
        assert replay(server.qmp, 0)[-1]["data"] == {"id": disk.job, "status": "null"}


class TestQuotas:
    """Limits hold for transactions as a whole."""

    def test_jobs_at_a_time(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        disks = [volume(server, scratch, name) for name in ("a", "b")]
        server.qmp.command("catalog-set-quota", resource="jobs", limit=1)
        both = [("blockdev-backup", disk.backup(speed=SLOW)) for disk in disks]
        actions = [{"type": kind, "data": data} for kind, data in both]
        desc = server.qmp.refused("transaction", actions=actions)
        assert "'jobs'" in desc
        assert server.qmp.command("query-jobs") == []
        server.transaction(both[0])
        server.qmp.refused("blockdev-backup", both[1][1])
        server.qmp.command("block-job-cancel", device="job-a", force=True)
        server.qmp.wait_job("job-a", "null")
        assert_in_use(server, "jobs", 0)
        server.transaction(both[1])
        assert_in_use(server, "jobs", 1)

    def test_bitmaps_and_bytes(self, place: Place, scratch: Scratch) -> None:
        server = place.start()
        disk = volume(server, scratch, "disk", 4 * MIB)
        server.qmp.command("catalog-set-quota", resource="bitmaps", limit=1)
        server.qmp.command("catalog-set-quota", resource="backup-bytes", limit=6 * MIB)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="one")
        assert "'bitmaps'" in server.qmp.refused("block-dirty-bitmap-add", node="disk", name="two")
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="one")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="two")
        disk.run()
        assert_in_use(server, "backup-bytes", 4 * MIB)
        assert "'backup-bytes'" in server.qmp.refused("blockdev-backup", disk.backup())
        assert_in_use(server, "bitmaps", 1)

    def test_bytes_are_counted_when_all_is_prepared(self, place: Place, scratch: Scratch) -> None:
        """What comes before a backup in its transaction changes how much it copies."""
        server = place.start()
        disk = volume(server, scratch, "disk", 4 * MIB)
        place.serve(server)
        for name in ("all", "none"):
            server.qmp.command("block-dirty-bitmap-add", node="disk", name=name, disabled=name == "none")
        qemu_io(place.export(server, "disk"), "write 0 4M")
        server.qmp.command("catalog-set-quota", resource="backup-bytes", limit=MIB)
        copy = {"sync": "bitmap", "bitmap_mode": "never"}
        actions = [
            ("block-dirty-bitmap-merge", {"node": "disk", "target": "none", "bitmaps": ["all"]}),
            ("blockdev-backup", disk.backup(**copy, bitmap="none")),
        ]
        desc = server.qmp.refused("transaction", actions=[{"type": kind, "data": data} for kind, data in actions])
        assert "'backup-bytes'" in desc
        assert server.qmp.command("query-jobs") == [] and server.bitmaps("disk")["none"]["count"] == 0
        backup_of_new = ("blockdev-backup", disk.backup(**copy, bitmap="new"))
        server.transaction(("block-dirty-bitmap-add", {"node": "disk", "name": "new"}), backup_of_new)
        server.qmp.wait_job(disk.job, "null")
        assert_in_use(server, "backup-bytes", 0)
        assert outcomes(server) == ["completed"]

    def test_sizes_beyond_all_sums(self, place: Place) -> None:
        """Disks that claim to be huge do not keep the daemon from starting again; what is not copied is not charged."""
        server = place.start()
        for name in ("disk", *(f"target{number}" for number in range(9))):
            server.qmp.command("blockdev-add", driver="null-co", node_name=name, size=1 << 60)
        for number, sync in enumerate(["none", *["full"] * 8]):
            options = {"job-id": f"j{number}", "device": "disk", "target": f"target{number}", "sync": sync}
            server.qmp.command("blockdev-backup", options, speed=SLOW, x_perf={"min-cluster-size": 1 << 31})
        assert_in_use(server, "backup-bytes", 8 << 50)
        server.kill()
        server = place.start()
        assert set(outcomes(server)) == {"lost"}
        assert_in_use(server, "backup-bytes", 0)

    def test_bitmaps_of_a_disk_that_is_closed(self, place: Place, scratch: Scratch) -> None:
        """Those in memory end with their node, also with one that is a part of another."""
        server = place.start()
        server.qmp.command("catalog-set-quota", resource="bitmaps", limit=1)
        server.add_null("stays", MIB)
        for _ in range(2):
            inner = {"driver": "null-co", "size": MIB, "node-name": "inner"}
            server.qmp.command("blockdev-add", driver="raw", node_name="outer", file=inner)
            server.qmp.command("block-dirty-bitmap-add", node="inner", name="bits")
            server.qmp.refused("block-dirty-bitmap-add", node="stays", name="bits")
            server.qmp.command("blockdev-del", node_name="outer")
        server.qmp.command("block-dirty-bitmap-add", node="stays", name="bits")

    def test_a_bitmap_that_its_image_lost(self, place: Place, scratch: Scratch) -> None:
        """What another program has removed does not count any more, and what it has added is used."""
        image = scratch / "disk.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", image, "4M")
        server = place.start()
        file = {"driver": "file", "filename": str(image)}
        server.qmp.command("blockdev-add", driver="qcow2", node_name="disk", file=file)
        server.qmp.command("catalog-set-quota", resource="bitmaps", limit=2)
        for name in ("stays", "goes"):
            server.qmp.command("block-dirty-bitmap-add", node="disk", name=name, persistent=True)
        server.qmp.refused("block-dirty-bitmap-add", node="disk", name="third")
        assert server.terminate() == 0
        qemu_img("bitmap", "--remove", image, "goes")
        server = place.start()
        assert_in_use(server, "bitmaps", 1)
        assert list(server.bitmaps("disk")) == ["stays"]
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="third", persistent=True)
        server.qmp.refused("block-dirty-bitmap-add", node="disk", name="fourth")


def test_the_directory_is_its_owners_alone(place: Place) -> None:
    place.start()
    for file in (place.path, *place.path.rglob("*")):
        assert file.stat().st_mode & 0o077 == 0, file
