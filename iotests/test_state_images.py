"""Bitmaps that qcow2 images store, with a state directory: a daemon that is killed does not cost the chain."""

import itertools
import json
import os
import random
import shutil
from pathlib import Path

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.backups import SLOW, await_first_chunk
from iotests.harness.images import KIB, MIB
from iotests.harness.state import Place, assert_in_use, outcomes
from iotests.harness.tools import qemu_img, run
from tests.soak import count

pytestmark = pytest.mark.qmpd_only("qemu-storage-daemon keeps no state")

LENGTH = 4 * MIB
BITS = {"node": "disk", "name": "bits"}


class Images:
    """A qcow2 disk, and images for its backups."""

    def __init__(self, place: Place, scratch: Scratch) -> None:
        self.place = place
        self.path = scratch / "disk.qcow2"
        self._scratch = scratch
        self.server: Server

    def begin(self, *options: str) -> Server:
        """The first daemon, with the disk, an export of it, and the persistent bitmap `bits`."""
        qemu_img("create", "-q", "-f", "qcow2", *options, self.path, str(LENGTH))
        self.server = self.place.start()
        self.open()
        self.place.serve(self.server)
        self.place.export(self.server, "disk")
        self.server.qmp.command("block-dirty-bitmap-add", BITS, persistent=True)
        return self.server

    def open(self, path: Path | None = None, node: str = "disk", **options: bool) -> None:
        """Open an image as a node, `options` by keyword."""
        file = {"driver": "file", "filename": str(path or self.path)}
        self.server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": node, "file": file}, **options)

    def close(self, node: str = "disk") -> None:
        """Close a node and its export."""
        if any(export["id"] == f"export-{node}" for export in self.server.qmp.command("query-block-exports")):
            self.server.qmp.command("block-export-del", id=f"export-{node}")
            self.server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        self.server.qmp.command("blockdev-del", node_name=node)

    def killed(self) -> Server:
        """The daemon is killed; the next one."""
        self.server.kill()
        return self.restart()

    def restart(self) -> Server:
        """The next daemon."""
        self.server = self.place.start()
        return self.server

    def write(self, offset: int, length: int, *, value: int = 7, flush: bool = True) -> None:
        """What a guest writes."""
        with nbd.RawNbd.attached(self.place.nbd, "disk") as guest:
            assert guest.request(nbd.WRITE, offset, length, data=bytes([value]) * length).error == 0
            if flush:
                assert guest.request(nbd.FLUSH).error == 0

    def target(self, name: str) -> Path:
        """A new image for a backup, open under that name."""
        path = self._scratch / f"{name}.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(LENGTH))
        self.open(path, name)
        return path

    def begin_backup(self, target: str, **options: str | int) -> None:
        """Start a backup as the job of that name; by default an incremental one."""
        members = {"job-id": target, "device": "disk", "target": target, "sync": "incremental", **options}
        if members["sync"] != "full":
            members["bitmap"] = "bits"
        self.server.qmp.command("blockdev-backup", {key.replace("_", "-"): member for key, member in members.items()})

    def backup(self, name: str, **options: str | int) -> Path:
        """A whole backup to a new image, which is closed then."""
        path = self.target(name)
        self.begin_backup(name, **options)
        self.server.qmp.wait_job(name, "null")
        assert "error" not in self.server.qmp.seen("BLOCK_JOB_COMPLETED", device=name)[-1].data
        self.close(name)
        return path

    @property
    def bits(self) -> dict[str, object]:
        """What a query tells of the bitmap."""
        return self.server.bitmaps("disk")["bits"]

    def assert_knows(self, amount: int) -> None:
        """The bitmap is in order and has so many dirty bytes."""
        assert not self.bits.get("inconsistent") and not self.bits["busy"] and self.bits["recording"]
        assert self.bits["count"] == amount

    def flags(self) -> list[list[str]]:
        """What the image says of its bitmaps, when nobody has it open."""
        data = json.loads(qemu_img("info", "-U", "--output=json", self.path))["format-specific"]["data"]
        return [bitmap["flags"] for bitmap in data.get("bitmaps", [])]


@pytest.fixture
def images(launch: Launcher, scratch: Scratch) -> Images:
    return Images(Place(launch, scratch), scratch)


class TestKilled:
    """The process is killed; the host goes on."""

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("during", ["nothing", "a backup", "a group"])
    def test_changes_stay_tracked(self, images: Images, during: str, *, stored: bool) -> None:
        """Also with a bitmap that the image has never stored."""
        server = images.begin()
        images.write(0, 64 * KIB)
        if stored:
            assert server.terminate() == 0
            server = images.restart()
        if during != "nothing":
            images.write(512 * KIB, 512 * KIB)
            images.target("target")
            clear = [("block-dirty-bitmap-clear", BITS)] if during == "a group" else []
            job = {"job-id": "job", "device": "disk", "target": "target", "speed": SLOW}
            sync = {"sync": "full"} if clear else {"sync": "incremental", "bitmap": "bits"}
            server.transaction(*clear, ("blockdev-backup", {**job, **sync}), grouped=during == "a group")
            await_first_chunk(server, "job")
        images.write(2 * MIB, 64 * KIB)
        server = images.killed()
        images.assert_knows(2 * 64 * KIB + (512 * KIB if during != "nothing" else 0))
        assert outcomes(server) == (["lost"] if during != "nothing" else [])
        assert_in_use(server, "bitmaps", 1)
        images.write(3 * MIB, 64 * KIB)
        server.kill()
        assert images.restart().terminate() == 0
        assert images.flags() == [["auto"]]
        images.restart()
        images.assert_knows(3 * 64 * KIB + (512 * KIB if during != "nothing" else 0))

    def test_what_was_removed_stays_so(self, images: Images) -> None:
        """The image still tells of it, as of one that was in use."""
        server = images.begin()
        assert server.terminate() == 0
        server = images.restart()
        server.qmp.command("block-dirty-bitmap-remove", BITS)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="new", persistent=True, disabled=True)
        images.write(0, 64 * KIB)
        server = images.killed()
        assert list(server.bitmaps("disk")) == ["new"]
        assert not server.bitmaps("disk")["new"].get("inconsistent")
        assert not server.bitmaps("disk")["new"]["recording"]

    def test_a_disk_that_has_grown(self, images: Images) -> None:
        server = images.begin()
        server.qmp.command("block-export-del", id="export-disk")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        server.qmp.command("block_resize", node_name="disk", size=2 * LENGTH)
        images.place.export(server, "disk")
        images.write(LENGTH + MIB, 64 * KIB)
        images.killed()
        images.assert_knows(64 * KIB)

    def test_an_image_that_is_not_opened_at_once(self, images: Images) -> None:
        """Its bitmap waits, is told of, and can be given up."""
        server = images.begin()
        images.write(0, 64 * KIB)
        server.kill()
        away = shutil.move(images.path, images.path.with_suffix(".away"))
        server = images.restart()
        waiting = [item for item in server.qmp.command("query-unrestored") if item["kind"] == "bitmap"]
        assert [item["name"] for item in waiting] == ["disk/bits"]
        assert f"'{images.path}'" in waiting[0]["reason"]
        assert_in_use(server, "bitmaps", 1)
        assert server.terminate() == 0
        server = images.restart()
        assert waiting[0] in server.qmp.command("query-unrestored")
        server.qmp.command("forget-unrestored", kind="bitmap", name="disk/bits")
        assert images.place.bits() == []
        assert_in_use(server, "bitmaps", 0)
        shutil.move(away, images.path)
        images.open()
        assert server.bitmaps("disk") == {}

    def test_read_only_first(self, images: Images) -> None:
        """The bits are left alone until somebody writes."""
        server = images.begin()
        images.write(0, 64 * KIB)
        server.kill()
        images.place.change_catalog("UPDATE volumes SET definition = '[1]'")
        server = images.restart()
        server.qmp.command("forget-unrestored", kind="export", name="export-disk")
        server.qmp.command("forget-unrestored", kind="node", name="disk")
        options = {"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": str(images.path)}}
        for _ in range(2):
            images.open(read_only=True)
            images.assert_knows(64 * KIB)
            images.close()
        images.open(read_only=True)
        server.qmp.command("blockdev-reopen", options=[{**options, "read-only": False}])
        images.place.export(server, "disk")
        images.write(MIB, 64 * KIB)
        images.killed()
        images.assert_knows(2 * 64 * KIB)

    def test_a_disk_below_a_snapshot(self, images: Images) -> None:
        """When nobody writes to it any more, its image stores its bitmaps, and is what counts."""
        server = images.begin()
        images.write(0, 64 * KIB)
        overlay = images.path.with_name("overlay.qcow2")
        qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", images.path, overlay)
        server.qmp.command(
            "blockdev-add",
            {
                "driver": "qcow2",
                "node-name": "overlay",
                "backing": None,
                "file": {"driver": "file", "filename": str(overlay)},
            },
        )
        server.qmp.command("blockdev-snapshot", node="disk", overlay="overlay")
        assert images.flags() == [["auto"]]
        assert images.place.bits() == []
        server = images.killed()
        images.assert_knows(64 * KIB)


class TestTruth:
    """The files count only where the image has nothing better, and only for that image."""

    def test_an_image_that_was_closed(self, images: Images) -> None:
        """Others may use its bitmaps then, and nothing of them stays behind."""
        server = images.begin()
        images.write(0, 64 * KIB)
        assert server.terminate() == 0
        assert list((images.place.path / "bitmaps").iterdir()) == []
        qemu_img("bitmap", "--add", images.path, "more")
        qemu_img("bitmap", "--clear", images.path, "bits")
        server = images.restart()
        assert images.bits["count"] == 0
        assert set(server.bitmaps("disk")) == {"bits", "more"}
        images.write(0, 64 * KIB)
        server = images.killed()
        assert [bitmap["count"] for bitmap in server.bitmaps("disk").values()] == [64 * KIB] * 2

    @pytest.mark.parametrize("how", ["not", "written to", "a copy from before"])
    def test_changed_by_others(self, images: Images, how: str) -> None:
        """Even where the file's time of change is an old one."""
        server = images.begin()
        assert server.terminate() == 0
        server = images.restart()
        copy = images.path.with_suffix(".copy")
        shutil.copy2(images.path, copy)
        images.write(0, 64 * KIB)
        server.kill()
        images.place.died_now()
        match how:
            case "written to":
                run("qemu-io", "-f", "qcow2", "-c", "write 1M 64k", images.path)
            case "a copy from before":
                os.replace(copy, images.path)
        images.restart()
        if how == "not":
            images.assert_knows(64 * KIB)
            return
        assert images.bits["inconsistent"]
        assert images.place.bits() == []
        images.server.qmp.command("block-dirty-bitmap-remove", BITS)
        images.server.qmp.command("block-dirty-bitmap-add", BITS, persistent=True)

    def test_the_host_went_down(self, images: Images) -> None:
        server = images.begin()
        images.write(0, 64 * KIB)
        assert server.terminate() == 0
        server = images.restart()
        server.kill()
        images.place.reboot()
        images.restart()
        assert images.bits["inconsistent"]

    def test_an_image_that_cannot_store_them(self, images: Images) -> None:
        """No room in the image at the end costs nothing, whether or not the daemon ends with it."""
        server = images.begin()
        images.write(0, LENGTH)
        # There is room in the image for what it holds already, and in the catalog.
        with server.file_size_limit(LENGTH):
            images.close()
        assert images.flags() == []
        images.open()
        images.assert_knows(LENGTH)
        assert server.qmp.seen("BLOCK_IO_ERROR")
        server.qmp.command("block-dirty-bitmap-clear", BITS)
        images.place.export(server, "disk")
        images.write(MIB, 64 * KIB)
        server.set_file_size_limit(LENGTH)
        assert server.terminate() == 0
        images.restart()
        images.assert_knows(64 * KIB)

    def test_no_room_for_the_files(self, images: Images) -> None:
        """An image is opened all the same; a bitmap that is to be made is refused."""
        server = images.begin()
        assert server.terminate() == 0
        directory = images.place.path / "bitmaps"
        server = images.restart()
        images.close()
        shutil.rmtree(directory)
        images.open()
        assert not images.bits.get("inconsistent")
        server.qmp.refused("block-dirty-bitmap-add", node="disk", name="more", persistent=True)
        directory.mkdir(mode=0o700)
        assert server.terminate() == 0
        assert images.flags() == [["auto"]]


class TestGivenUp:
    """What a bitmap gives up is in the image, though no guest has flushed it: a backup has it, and no bitmap would."""

    @pytest.mark.parametrize("how", ["backup", "part of a backup", "clear", "add", "enable"])
    def test_a_kill_afterwards(self, images: Images, how: str) -> None:
        server = images.begin()
        if how == "enable":
            server.qmp.command("block-dirty-bitmap-disable", BITS)
        images.write(0, LENGTH, flush=False)
        match how:
            case "backup":
                images.backup("one")
            case "part of a backup":
                images.target("one")
                images.begin_backup("one", sync="bitmap", bitmap_mode="always", speed=SLOW)
                await_first_chunk(server, "one")
                server.qmp.command("job-cancel", id="one")
                server.qmp.wait_job("one", "null")
            case "add":
                server.qmp.command("block-dirty-bitmap-add", node="disk", name="more", persistent=True)
            case _:
                server.qmp.command(f"block-dirty-bitmap-{how}", BITS)
        server.kill()
        output = run("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P 7 0 {LENGTH}", images.path, ok=(0, 1))
        assert "verification failed" not in output


@pytest.mark.parametrize("seed", range(count(3, 60)))
def test_chains_over_kills(images: Images, seed: int) -> None:
    """Whatever a guest has written and flushed or not, whenever the daemon dies: backups put together are the disk."""
    random_ = random.Random(seed)
    images.begin("-o", f"cluster_size={random_.choice([4096, 65536])}")
    chain = [images.backup("full", sync="full")]
    images.server.qmp.command("block-dirty-bitmap-clear", BITS)
    for step in range(6):
        for _ in range(random_.randrange(8)):
            offset = random_.randrange(LENGTH // 4096) * 4096
            length = min(random_.choice([512, 4096, 100 * KIB]), LENGTH - offset)
            images.write(offset, length, value=random_.randrange(256), flush=random_.random() < 0.3)
        name = f"inc{step}"
        if random_.random() < 0.7:
            chain.append(images.backup(name))
        if random_.random() < 0.6:
            if random_.random() < 0.5:
                images.target(f"lost{step}")
                images.begin_backup(f"lost{step}", speed=SLOW)
            images.killed()
            if random_.random() < 0.3:
                continue
            chain.append(images.backup(f"after{step}"))
            images.server.kill()
            assert_chain_is(chain, images.path)
            images.restart()
    chain.append(images.backup("last"))
    assert images.server.terminate() == 0
    assert_chain_is(chain, images.path)


def assert_chain_is(chain: list[Path], disk: Path) -> None:
    """Put backups on top of each other, the way their user would, and compare with the disk."""
    for below, above in itertools.pairwise(chain):
        qemu_img("rebase", "-u", "-F", "qcow2", "-b", below, above)
    assert "Images are identical" in run("qemu-img", "compare", "-U", chain[-1], disk, ok=(0, 1))
    check = run("qemu-img", "check", "-U", disk, ok=(0, 3))
    assert "leaked" in check or "No errors" in check
