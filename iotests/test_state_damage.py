"""State directories and images that something has happened to: nothing passes for true that is not."""

import os
import shutil
import time

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.state import Place, assert_in_use, database_locked, replay
from iotests.harness.tools import qemu_img, qemu_io

pytestmark = pytest.mark.qmpd_only("qemu-storage-daemon keeps no state")


@pytest.fixture
def place(launch: Launcher, scratch: Scratch) -> Place:
    return Place(launch, scratch)


@pytest.fixture
def disk(scratch: Scratch) -> Disk:
    return scratch.disk("disk")


def start_with_bitmap(place: Place, disk: Disk) -> Server:
    """A daemon with the disk `disk`, which has the persistent bitmap `bits`."""
    server = place.start()
    server.add_raw(disk, "disk")
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
    return server


def is_inconsistent(server: Server, node: str = "disk") -> bool:
    """Whether the bitmap says that it does not know everything."""
    return bool(server.bitmaps(node)["bits"].get("inconsistent"))


class TestHostCrash:
    """The host went down under a daemon."""

    def test_bits_are_not_trusted(self, place: Place, disk: Disk) -> None:
        start_with_bitmap(place, disk).kill()
        place.reboot()
        assert is_inconsistent(place.start())

    def test_the_first_start_fails(self, place: Place, disk: Disk) -> None:
        """The second one finds out as much as the first, not that all is well in this boot of the host."""
        start_with_bitmap(place, disk).kill()
        place.reboot()
        place.fail_to_start("bitmaps")
        assert is_inconsistent(place.start())


    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    @pytest.mark.parametrize("rebooted", [False, True])
    def test_later(self, place: Place, scratch: Scratch, kind: str, *, rebooted: bool) -> None:
        """A run that does not open the image lies between: what the first one wrote last is lost all the same."""
        path = scratch / "image"
        qemu_img("create", "-q", "-f", kind, path, "4M")
        file = {"driver": "file", "filename": str(path)}
        server = place.start()
        server.qmp.command("blockdev-add", driver=kind, node_name="disk", file=file)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        server.kill()
        place.change_catalog("UPDATE volumes SET definition = '[1]'")
        server = place.start()
        assert {item["name"] for item in server.qmp.command("query-unrestored")} == {"disk", "disk/bits"}
        server.kill()
        if rebooted:
            place.reboot()
        server = place.start()
        server.qmp.command("blockdev-add", driver=kind, node_name="disk", file=file)
        # Of a bitmap that its image has never stored nothing is left.
        bits = server.bitmaps("disk").get("bits", {"inconsistent": True})
        assert bits.get("inconsistent", False) == rebooted


class TestBits:
    """The files of bits."""

    def test_no_room_when_the_disk_grows(self, place: Place, scratch: Scratch) -> None:
        """The disk grows all the same, and the bits are in memory only: a daemon that is killed then has lost them."""
        image = scratch / "disk.img"
        length = 64 << 30
        image.touch()
        os.truncate(image, length)
        options = {"driver": "raw", "node-name": "disk", "file": {"driver": "file", "filename": str(image)}}
        server = place.start()
        server.qmp.command("blockdev-add", {**options, "size": MIB})
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True, granularity=512)
        with server.file_size_limit(8 * MIB):
            server.qmp.command("blockdev-reopen", options=[{**options, "size": length}])
        assert not is_inconsistent(server)
        server.kill()
        assert is_inconsistent(place.start())

    def test_files_that_are_gone(self, place: Place, disk: Disk) -> None:
        """Nobody can close that bitmap well, but the disk it can."""
        server = start_with_bitmap(place, disk)
        for path in place.bits():
            path.unlink()
        server.qmp.command("blockdev-del", node_name="disk")
        assert "disk" not in server.node_names()
        server.add_raw(disk, "disk")
        assert is_inconsistent(server)
        assert server.terminate() == 0
        assert is_inconsistent(place.start())

    def test_what_is_not_ours_stays(self, place: Place, disk: Disk) -> None:
        server = start_with_bitmap(place, disk)
        assert server.terminate() == 0
        (place.path / "bitmaps" / "lost+found").mkdir()
        (place.path / "bitmaps" / "README").touch()
        assert not is_inconsistent(place.start())
        assert {"lost+found", "README"} <= {path.name for path in (place.path / "bitmaps").iterdir()}

    def test_an_older_catalog(self, place: Place, scratch: Scratch, disk: Disk) -> None:
        """Bits that it does not know are kept for the right one, for a while."""
        catalog, copy, newer = (place.path / "catalog.sqlite", scratch / "older", scratch / "newer")
        assert place.start().terminate() == 0
        shutil.copy(catalog, copy)
        assert start_with_bitmap(place, disk).terminate() == 0
        (bits,) = place.bits()
        catalog.rename(newer)
        shutil.copy(copy, catalog)
        assert place.start().terminate() == 0
        assert place.bits() == []
        newer.rename(catalog)
        server = place.start()
        assert place.bits() == [bits]
        assert not is_inconsistent(server)
        assert server.terminate() == 0
        copy.replace(catalog)
        assert place.start().terminate() == 0
        aside = place.path / "bitmaps" / "unknown"
        for path in aside.iterdir():
            os.utime(path, (0, 0))
        place.start()
        assert list(aside.iterdir()) == []

    def test_files_that_cannot_be_read(self, place: Place, disk: Disk) -> None:
        """That is said in one line."""
        assert start_with_bitmap(place, disk).terminate() == 0
        (bits,) = place.bits()
        noted = bits.with_suffix(".closed")
        noted.unlink()
        noted.mkdir()
        assert place.refuses().count("\n") == 1


class TestImages:
    """Images that somebody else has changed."""

    def test_after_a_kill(self, place: Place, disk: Disk) -> None:
        start_with_bitmap(place, disk).kill()
        later = time.time() + 3600
        os.utime(disk.path, (later, later))
        # Not even a start that cannot open the image makes that good.
        away = disk.path.rename(disk.path.with_suffix(".away"))
        assert place.start().terminate() == 0
        away.rename(disk.path)
        assert is_inconsistent(place.start())

    @pytest.mark.parametrize("changed", [False, True])
    def test_the_end_is_not_in_the_catalog(self, place: Place, disk: Disk, *, changed: bool) -> None:
        server = start_with_bitmap(place, disk)
        with database_locked(place):
            assert server.terminate() == 0
        if changed:
            disk.write(0, b"x")
        assert is_inconsistent(place.start()) == changed

    def test_two_nodes(self, place: Place, disk: Disk) -> None:
        """No bitmap sees what is written to another node of its image, so nothing is."""
        server = start_with_bitmap(place, disk)
        file = {"driver": "file", "filename": str(disk.path)}
        assert "bits" in server.qmp.refused("blockdev-add", driver="raw", node_name="other", file=file)
        server.qmp.command("blockdev-add", driver="raw", node_name="other", file=file, read_only=True)
        writable = {"driver": "raw", "node-name": "other", "file": file, "read-only": False}
        assert "bits" in server.qmp.refused("blockdev-reopen", options=[writable])
        server.qmp.command("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk", "file": file}])
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="bits")
        server.qmp.command("blockdev-del", node_name="other")
        server.qmp.command("blockdev-add", driver="raw", node_name="other", file=file)
        bitmap = {"node": "disk", "name": "bits", "persistent": True}
        assert "other" in server.qmp.refused("block-dirty-bitmap-add", bitmap)

    def test_a_window_on_it(self, place: Place, disk: Disk) -> None:
        """A node that shows less of the image cannot have its bitmap, and keeps others from having it."""
        server = start_with_bitmap(place, disk)
        server.qmp.command("blockdev-del", node_name="disk")
        file = {"driver": "file", "filename": str(disk.path)}
        server.qmp.command("blockdev-add", driver="raw", node_name="less", file=file, size=MIB)
        server.add_raw(disk, "disk")
        assert server.bitmaps("disk") == {}
        (item,) = server.qmp.command("query-unrestored")
        assert "'less'" in item["reason"]


class TestUnsent:
    """Events that could not be stored before the end."""

    def test_a_line_that_is_cut_off(self, place: Place) -> None:
        assert place.start().terminate() == 0
        whole = b'{"seq": 50, "time_us": 1, "name": "STOP", "data": {}}'
        unsent = place.path / "unsent.jsonl"
        unsent.write_bytes(b'{"seq": 49}\n[]\n' + whole + b"\n" + whole[:20])
        server = place.start()
        assert [event["seq"] for event in replay(server.qmp, 0)] == [50]
        assert not unsent.exists()


class TestUnrestored:
    """What could not be made again, and became of it later."""

    def test_made_by_hand(self, place: Place, disk: Disk) -> None:
        """It is there, and nobody can give it up by mistake."""
        server = place.start()
        server.add_raw(disk, "disk")
        assert server.terminate() == 0
        moved = disk.path.rename(disk.path.with_suffix(".moved"))
        server = place.start()
        assert [item["name"] for item in server.qmp.command("query-unrestored")] == ["disk"]
        server.add_raw(moved, "disk")
        assert server.qmp.command("query-unrestored") == []
        server.qmp.refused("forget-unrestored", kind="node", name="disk")
        assert server.terminate() == 0
        assert "disk" in place.start().node_names()

    def test_definitions_that_are_none(self, place: Place, disk: Disk) -> None:
        server = place.start()
        server.add_raw(disk, "disk")
        server.add_null("null", MIB)
        assert server.terminate() == 0
        place.change_catalog("UPDATE volumes SET definition = '[1]' WHERE node_name = 'disk'")
        server = place.start()
        assert [item["name"] for item in server.qmp.command("query-unrestored")] == ["disk"]
        assert "null" in server.node_names()

    def test_bitmaps_of_closed_images(self, place: Place, disk: Disk) -> None:
        """They are listed, count, and can be given up."""
        server = start_with_bitmap(place, disk)
        server.qmp.command("blockdev-del", node_name="disk")
        disk.path.unlink()
        (item,) = server.qmp.command("query-unrestored")
        assert (item["kind"], item["name"]) == ("bitmap", "disk/bits") and str(disk.path) in item["reason"]
        assert_in_use(server, "bitmaps", 1)
        server.qmp.command("forget-unrestored", kind="bitmap", name="disk/bits")
        assert server.qmp.command("query-unrestored") == []
        assert_in_use(server, "bitmaps", 0)
        assert place.bits() == []
        assert server.terminate() == 0
        server = place.start()
        assert server.qmp.command("query-unrestored") == []
        assert_in_use(server, "bitmaps", 0)

    def test_an_image_of_another_size(self, place: Place, disk: Disk) -> None:
        """Its bitmap can be given up also when the node is there no more."""
        assert start_with_bitmap(place, disk).terminate() == 0
        os.truncate(disk.path, 2 * disk.length)
        server = place.start()
        assert [item["name"] for item in server.qmp.command("query-unrestored")] == ["disk/bits"]
        server.qmp.command("blockdev-del", node_name="disk")
        with database_locked(place):
            server.qmp.refused("forget-unrestored", kind="bitmap", name="disk/bits")
            assert place.bits() != []
        server.qmp.command("forget-unrestored", kind="bitmap", name="disk/bits")
        server.add_raw(disk, "disk")
        place.serve(server)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
        qemu_io(place.export(server, "disk"), "write 0 64k")
        assert server.bitmaps("disk")["bits"]["count"] == 64 * KIB
