"""blockdev-mirror on both servers: what is copied under load, how the job ends, and what stands in its way."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Disk, QMPRefused, Scratch, Server
from iotests.harness import nbd as wire
from iotests.harness.backups import FAR, SLOW, Volume, volume, with_target
from iotests.harness.images import KIB, MIB
from iotests.harness.mirrors import (
    BEGIN,
    CANCELLED,
    JOB,
    LEN,
    READY,
    SUCCESS,
    Guest,
    Load,
    assert_nothing_left,
    complete,
    exported_node,
    mirror,
    ready,
    story,
)
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import assert_same, qemu_img, qemu_io
from tests.soak import count


class TestStories:
    """The events of a job from its first to its last, and what is left of it."""

    @pytest.fixture
    def disk(self, server: Server, scratch: Scratch) -> Volume:
        return volume(server, scratch, "disk", LEN)

    def test_completed(self, server: Server, disk: Volume) -> None:
        server.export("disk")
        nodes = server.node_names()
        mirror(server)
        ready(server)
        info = server.qmp.block_job(JOB)
        assert info is not None
        assert (info["type"], info["ready"], info["status"], info["busy"]) == ("mirror", True, "ready", False)
        assert info["len"] == info["offset"] == LEN
        (top,) = server.node_names() - nodes
        entries = server.qmp.command("query-named-block-nodes", flat=True)
        assert next(entry["drv"] for entry in entries if entry["node-name"] == top) == "mirror_top"
        complete(server)
        assert story(server) == [*READY, *SUCCESS]
        assert exported_node(server) == "disk-target"
        assert_nothing_left(server, nodes)
        server.qmp.refused("blockdev-del", node_name="disk-target")
        server.qmp.command("blockdev-del", node_name="disk")
        disk.assert_target_is(disk.disk)

    def test_ended_without_switching(self, server: Server, disk: Volume) -> None:
        server.export("disk")
        nodes = server.node_names()
        mirror(server)
        ready(server)
        server.qmp.command("block-job-cancel", device=JOB)
        server.qmp.wait_job(JOB, "null")
        assert story(server) == [*READY, *SUCCESS]
        assert exported_node(server) == "disk"
        assert_nothing_left(server, nodes)
        disk.assert_target_is(disk.disk)
        server.qmp.command("blockdev-del", node_name="disk-target")

    def test_cancelled_when_ready(self, server: Server, disk: Volume) -> None:
        server.export("disk")
        nodes = server.node_names()
        for command, options in (("block-job-cancel", {"device": JOB, "force": True}), ("job-cancel", {"id": JOB})):
            mirror(server)
            ready(server)
            server.qmp.command(command, options)
            server.qmp.wait_job(JOB, "null")
            assert story(server) == [*READY, *CANCELLED]
            assert exported_node(server) == "disk"
            assert_nothing_left(server, nodes)
            server.qmp.forget_events()

    def test_cancelled_before_it_was_ready(self, server: Server, disk: Volume) -> None:
        nodes = server.node_names()
        for force in (False, True):
            mirror(server, speed=SLOW)
            server.qmp.refused("job-complete", id=JOB)
            server.qmp.command("block-job-cancel", device=JOB, force=force)
            server.qmp.wait_job(JOB, "null")
            assert story(server) == [*BEGIN, *CANCELLED]
            assert_nothing_left(server, nodes)
            server.qmp.forget_events()

    def test_finalized_and_dismissed_by_hand(self, server: Server, disk: Volume) -> None:
        server.export("disk")
        mirror(server, auto_finalize=False, auto_dismiss=False)
        ready(server)
        server.qmp.command("block-job-complete", device=JOB)
        server.qmp.wait_event("BLOCK_JOB_PENDING", id=JOB)
        assert exported_node(server) != "disk-target"
        server.qmp.refused("job-complete", id=JOB)
        server.qmp.command("block-job-finalize", id=JOB)
        server.qmp.wait_job(JOB, "concluded")
        assert exported_node(server) == "disk-target"
        server.qmp.refused("job-complete", id=JOB)
        server.qmp.command("job-dismiss", id=JOB)
        server.qmp.wait_job(JOB, "null")
        pending = ["waiting", "pending", "PENDING", "COMPLETED", "concluded", "null"]
        assert story(server) == [*READY, *pending]

    def test_cancelled_while_pending(self, server: Server, disk: Volume) -> None:
        server.export("disk")
        nodes = server.node_names()
        for force in (False, True):
            mirror(server, auto_finalize=False)
            ready(server)
            server.qmp.command("job-complete", id=JOB)
            server.qmp.wait_event("BLOCK_JOB_PENDING", id=JOB)
            server.qmp.command("block-job-cancel", device=JOB, force=force)
            server.qmp.wait_job(JOB, "null")
            assert story(server) == [*READY, "waiting", "pending", "PENDING", *CANCELLED]
            assert exported_node(server) == "disk"
            assert_nothing_left(server, nodes)
            server.qmp.forget_events()

    def test_paused_when_ready(self, server: Server, disk: Volume) -> None:
        mirror(server)
        ready(server)
        server.qmp.command("job-pause", id=JOB)
        server.qmp.wait_job(JOB, "standby")
        server.qmp.refused("block-job-cancel", device=JOB)
        server.qmp.command("job-complete", id=JOB)
        assert story(server) == [*READY, "standby"]
        server.qmp.command("job-resume", id=JOB)
        server.qmp.wait_job(JOB, "null")
        assert story(server) == [*READY, "standby", "ready", *SUCCESS]

    def test_cancelled_while_paused_and_ready(self, server: Server, disk: Volume) -> None:
        mirror(server)
        ready(server)
        server.qmp.command("job-pause", id=JOB)
        server.qmp.wait_job(JOB, "standby")
        server.qmp.command("job-cancel", id=JOB)
        server.qmp.wait_job(JOB, "null")
        assert story(server) == [*READY, "standby", "ready", *CANCELLED]

    def test_of_an_empty_disk(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", 0))
        server.add_raw(scratch.disk("disk-target", 0))
        mirror(server)
        ready(server)
        complete(server)
        assert story(server) == [*READY, *SUCCESS]

    def test_of_another_size(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", LEN, seed=1))
        for length in (LEN // 2, LEN + 512, 2 * LEN):
            server.add_raw(scratch.disk(f"of-{length}", length))
            mirror(server, target=f"of-{length}")
            server.qmp.wait_job(JOB, "null")
            assert story(server) == [*BEGIN, "aborting", "COMPLETED error", "concluded", "null"]
            server.qmp.forget_events()

    def test_quit(self, server: Server, disk: Volume) -> None:
        """The end of the daemon cancels even a ready mirror."""
        mirror(server)
        ready(server)
        server.qmp.command("quit")
        assert server.qmp.at_end()
        assert server.wait_exit() == 0
        told = story(server)
        assert told[:4] == READY and told[-4:] == CANCELLED


class TestUnderLoad:
    """The target has what the guests wrote, whenever they did."""

    @pytest.mark.parametrize("copy_mode", ["background", "write-blocking"])
    @pytest.mark.parametrize("sync", ["full", "top"])
    def test_with_qemu_io(self, server: Server, scratch: Scratch, sync: str, copy_mode: str) -> None:
        disk = scratch.full_disk("disk", LEN, seed=3)
        model = scratch.copy(disk, "model")
        pair = with_target(server, scratch, disk)
        server.export("disk")
        load = Load(server, "disk", model, seed=4)
        mirror(server, sync=sync, copy_mode=copy_mode)
        ready(server)
        load.finish()
        complete(server)
        pair.assert_target_is(model)

    @pytest.mark.parametrize("copy_mode", ["background", "write-blocking"])
    def test_switched_while_a_client_writes(self, server: Server, scratch: Scratch, copy_mode: str) -> None:
        """The client notices nothing; all it wrote is in the target, and the old disk is left alone."""
        disk = scratch.full_disk("disk", LEN, seed=5)
        model = scratch.copy(disk, "model")
        pair = with_target(server, scratch, disk)
        server.export("disk")
        with Guest(server, "disk", model) as guest:
            guest.go_on(10)
            mirror(server, copy_mode=copy_mode, granularity=4 * KIB)
            ready(server)
            guest.go_on(10)
            complete(server)
            old = disk.read(0, LEN)
            guest.go_on(40)
        pair.assert_target_is(model)
        assert disk.read(0, LEN) == old

    def test_ended_while_a_client_writes(self, server: Server, scratch: Scratch) -> None:
        """After the end the target has the contents of one moment: each write is there wholly or not at all."""
        disk = scratch.full_disk("disk", LEN, seed=6)
        model = scratch.copy(disk, "model")
        with_target(server, scratch, disk)
        server.export("disk")
        with Guest(server, "disk", model) as guest:
            mirror(server)
            ready(server)
            guest.go_on(5)
            server.qmp.command("block-job-cancel", device=JOB)
            server.qmp.wait_job(JOB, "null")
            guest.go_on(5)
        assert story(server) == [*READY, *SUCCESS]
        assert_same(disk.path, model.path)

    @pytest.mark.parametrize("seed", range(count(2, 20)))
    def test_with_pauses_and_speeds(self, server: Server, scratch: Scratch, seed: int) -> None:
        choose = random.Random(seed)
        disk = scratch.full_disk("disk", LEN, seed=7)
        model = scratch.copy(disk, "model")
        pair = with_target(server, scratch, disk)
        server.export("disk")
        with Guest(server, "disk", model, seed) as guest:
            mirror(server, speed=64 * KIB, copy_mode=choose.choice(["background", "write-blocking"]))
            for _ in range(6):
                guest.go_on(choose.randint(1, 10))
                server.qmp.command("job-pause", id=JOB)
                guest.go_on(choose.randint(1, 10))
                server.qmp.command("job-resume", id=JOB)
                server.qmp.command("block-job-set-speed", device=JOB, speed=choose.choice([KIB, MIB, 64 * MIB]))
            server.qmp.command("block-job-set-speed", device=JOB, speed=0)
            ready(server)
            complete(server)
        pair.assert_target_is(model)

    def test_none_copies_what_is_written_from_now_on(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("disk", LEN, seed=8)
        pair = with_target(server, scratch, disk)
        uri = server.export("disk")
        mirror(server, sync="none", granularity=64 * KIB)
        ready(server)
        qemu_io(uri, "write -P 17 1M 64k", "write -P 18 2M 4k")
        complete(server)
        expected = bytearray(LEN)
        expected[MIB : MIB + 64 * KIB] = b"\x11" * 64 * KIB
        expected[2 * MIB : 2 * MIB + 64 * KIB] = disk.read(2 * MIB, 64 * KIB)
        assert pair.target.read(0, LEN) == expected

    def test_write_blocking_has_each_write_at_once(self, server: Server, scratch: Scratch) -> None:
        pair = volume(server, scratch, "disk", LEN)
        server.export("disk")
        mirror(server, copy_mode="write-blocking")
        ready(server)
        server.qmp.command("job-pause", id=JOB)
        with RawNbd.attached(server.nbd_path, "disk") as client:
            for number, (offset, length) in enumerate([(512, 512), (64 * KIB, 64 * KIB), (LEN - 4 * KIB, 4 * KIB)]):
                data = bytes([number + 1]) * length
                assert client.request(wire.WRITE, offset, length, data=data).error == 0
                assert pair.target.read(offset, length) == data
            assert client.request(wire.WRITE_ZEROES, 128 * KIB, 100 * KIB).error == 0
            assert pair.target.read(128 * KIB, 100 * KIB) == bytes(100 * KIB)
        server.qmp.command("job-resume", id=JOB)
        complete(server)
        pair.assert_target_is(pair.disk)

    def test_a_disk_exported_after_the_start(self, server: Server, scratch: Scratch) -> None:
        """Who comes to use the source while it is mirrored is seen by the mirror, too."""
        disk = scratch.full_disk("disk", LEN, seed=9)
        pair = with_target(server, scratch, disk)
        mirror(server)
        ready(server)
        uri = server.export("disk")
        qemu_io(uri, "write -P 33 100k 200k", "write -z 1M 1M")
        complete(server)
        qemu_io(uri, "read -P 33 100k 200k", "read -P 0 1M 1M")
        pair.assert_target_is(disk)


class TestChains:
    """Images with backing files."""

    @pytest.fixture
    def base(self, scratch: Scratch) -> Disk:
        return scratch.full_disk("base", LEN, seed=10)

    def overlay(self, scratch: Scratch, name: str, base: Disk) -> Path:
        path = scratch / f"{name}.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", path)
        return path

    def add(self, server: Server, name: str, path: Path, **options: Any) -> None:
        file = {"driver": "file", "filename": str(path)}
        server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": name, "file": file, **options})

    @pytest.mark.parametrize("copy_mode", ["background", "write-blocking"])
    def test_top(self, server: Server, scratch: Scratch, base: Disk, copy_mode: str) -> None:
        """Only the topmost image is copied; the target has a backing file of its own."""
        source, target = (self.overlay(scratch, name, base) for name in ("source", "target"))
        qemu_io(source, "write -P 5 64k 128k", "write -z 1M 64k", image_format="qcow2")
        self.add(server, "disk", source)
        self.add(server, "disk-target", target)
        uri = server.export("disk")
        mirror(server, sync="top", copy_mode=copy_mode)
        ready(server)
        info = server.qmp.block_job(JOB)
        assert info is not None and info["len"] == 192 * KIB
        qemu_io(uri, "write -P 6 2M 4k", "write -P 7 3000k 130k")
        complete(server)
        qemu_io(uri, "write -P 8 0 512")
        model = scratch.copy(base, "model")
        for pattern, offset, length in [(8, 0, 512), (5, 64, 128), (0, 1024, 64), (6, 2048, 4), (7, 3000, 130)]:
            model.write(offset * KIB, bytes([pattern]) * (length if length == 512 else length * KIB))
        server.terminate()
        assert_same(target, model.path, one_format="qcow2")
        extents = json.loads(qemu_img("map", "--output=json", target))
        assert sum(extent["length"] for extent in extents if extent["depth"] == 0) < MIB

    def test_full_over_a_chain(self, server: Server, scratch: Scratch, base: Disk) -> None:
        """The target stands alone."""
        source = self.overlay(scratch, "source", base)
        qemu_io(source, "write -P 5 64k 128k", "write -z 1M 64k", image_format="qcow2")
        qemu_img("create", "-q", "-f", "qcow2", scratch / "target.qcow2", str(LEN))
        self.add(server, "disk", source)
        self.add(server, "disk-target", scratch / "target.qcow2")
        mirror(server)
        ready(server)
        complete(server)
        server.terminate()
        assert_same(scratch / "target.qcow2", source, one_format="qcow2", other_format="qcow2")

    def test_full_overwrites_what_the_target_held(self, server: Server, scratch: Scratch) -> None:
        """Where the source has nothing at all the target has to become zero."""
        qemu_img("create", "-q", "-f", "qcow2", scratch / "source.qcow2", str(LEN))
        qemu_io(scratch / "source.qcow2", "write -P 5 64k 128k", image_format="qcow2")
        target = scratch.full_disk("target", LEN, seed=11)
        self.add(server, "disk", scratch / "source.qcow2")
        server.add_raw(target.path, "disk-target")
        mirror(server)
        ready(server)
        complete(server)
        assert_same(target.path, scratch / "source.qcow2", other_format="qcow2")


class TestReplaces:
    """The target takes the place of a node below filters."""

    @pytest.fixture
    def disk(self, server: Server, scratch: Scratch) -> Iterator[Volume]:
        pair = volume(server, scratch, "disk", LEN)
        server.qmp.command("blockdev-add", {"driver": "blkdebug", "node-name": "filter", "image": "disk"})
        yield pair

    def test_replaces(self, server: Server, disk: Volume) -> None:
        uri = server.export("filter")
        nodes = server.node_names()
        mirror(server, device="filter", replaces="disk")
        ready(server)
        server.qmp.refused("blockdev-del", node_name="disk")
        complete(server)
        assert exported_node(server) == "filter"
        assert_nothing_left(server, nodes)
        server.qmp.command("blockdev-del", node_name="disk")
        qemu_io(uri, "write -P 9 1M 64k")
        assert disk.target.read(MIB, 64 * KIB) == b"\x09" * 64 * KIB
        assert disk.disk.read(MIB, 64 * KIB) != b"\x09" * 64 * KIB

    def test_nothing_is_replaced_without_completion(self, server: Server, disk: Volume) -> None:
        nodes = server.node_names()
        mirror(server, device="filter", replaces="disk")
        ready(server)
        server.qmp.command("block-job-cancel", device=JOB)
        server.qmp.wait_job(JOB, "null")
        assert_nothing_left(server, nodes)
        server.qmp.command("blockdev-del", node_name="disk-target")
        assert "disk" in server.qmp.refused("blockdev-del", node_name="disk")

    def test_refused(self, server: Server, scratch: Scratch, disk: Volume) -> None:
        server.add_raw(scratch.disk("other", LEN))
        for node in ("nope", "other", "disk-target"):
            server.qmp.refused(
                "blockdev-mirror", job_id=JOB, device="filter", target="disk-target", sync="full", replaces=node
            )

    def test_a_broken_member_of_a_quorum(self, server: Server, scratch: Scratch) -> None:
        """What the quorum shows takes the place of an image that differs; not if somebody else uses that image."""
        good = [scratch.full_disk(name, LEN, seed=20) for name in ("m0", "m1")]
        bad = scratch.full_disk("m2", LEN, seed=21)
        for disk in (*good, bad, scratch.disk("new", LEN)):
            server.add_raw(disk)
        members = {"vote-threshold": 2, "children": ["m0", "m1", "m2"]}
        server.qmp.command("blockdev-add", {"driver": "quorum", "node-name": "q", **members})
        uri = server.export("q")
        server.export("m2", writable=False)
        arguments = {"job-id": JOB, "device": "q", "target": "new", "sync": "full", "replaces": "m2"}
        server.qmp.refused("blockdev-mirror", arguments)
        server.qmp.command("block-export-del", id="export-m2")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-m2")
        server.qmp.command("blockdev-mirror", arguments)
        ready(server)
        qemu_io(uri, "write -P 7 1M 64k")
        complete(server)
        server.qmp.command("blockdev-del", node_name="m2")
        qemu_io(uri, "write -P 8 2M 64k", "read -P 7 1M 64k")
        server.terminate()
        for name in ("m1", "new"):
            assert_same(scratch / f"{name}.img", scratch / "m0.img")


class TestErrors:
    """A target that cannot be written to."""

    @pytest.fixture
    def disk(self, server: Server, scratch: Scratch) -> Volume:
        return volume(server, scratch, "disk", LEN, far=True)

    def start(self, server: Server, disk: Volume, policy: str, **options: Any) -> None:
        mirror(server, target=disk.target_name, on_target_error=policy, **options)

    @pytest.mark.parametrize("policy", ["report", "enospc"])
    def test_reported(self, server: Server, disk: Volume, policy: str) -> None:
        nodes = server.node_names()
        with server.file_size_limit(FAR):
            self.start(server, disk, policy)
            server.qmp.wait_job(JOB, "null")
        told = [word for word in story(server) if word != "ERROR"]
        assert told == [*BEGIN, "aborting", "COMPLETED error", "concluded", "null"]
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=JOB).data
        assert error == {"device": JOB, "operation": "write", "action": "report"}
        end = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=JOB).data
        assert end["error"] == "File too large"
        assert_nothing_left(server, nodes)

    def test_stopped_and_resumed(self, server: Server, disk: Volume) -> None:
        with server.file_size_limit(FAR):
            self.start(server, disk, "stop")
            server.qmp.wait_job(JOB, "paused")
            info = server.qmp.block_job(JOB)
            assert info is not None and info["io-status"] == "failed" and info["paused"]
            server.qmp.refused("block-job-cancel", device=JOB)
        server.qmp.command("job-resume", id=JOB)
        ready(server)
        info = server.qmp.block_job(JOB)
        assert info is not None and info["io-status"] == "ok"
        complete(server)
        disk.assert_target_is(disk.disk)
        assert server.qmp.wait_event("BLOCK_JOB_ERROR", device=JOB).data["action"] == "stop"

    def test_ignored_until_it_works(self, server: Server, disk: Volume) -> None:
        with server.file_size_limit(FAR):
            self.start(server, disk, "ignore")
            for _ in range(2):
                assert server.qmp.wait_event("BLOCK_JOB_ERROR", device=JOB).data["action"] == "ignore"
        ready(server)
        complete(server)
        disk.assert_target_is(disk.disk)

    @pytest.mark.parametrize("copy_mode", ["background", "write-blocking"])
    def test_after_it_was_ready(self, server: Server, disk: Volume, copy_mode: str) -> None:
        """The guest's write succeeds, and the job fails."""
        uri = server.export("disk")
        self.start(server, disk, "report", copy_mode=copy_mode)
        ready(server)
        with server.file_size_limit(FAR):
            qemu_io(uri, "write -P 3 0 64k", "read -P 3 0 64k")
            server.qmp.wait_job(JOB, "null")
        assert exported_node(server) == "disk"
        assert "error" in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=JOB).data
        assert disk.disk.read(0, 64 * KIB) == b"\x03" * 64 * KIB

    @pytest.mark.parametrize("copy_mode", ["background", "write-blocking"])
    def test_stopped_after_it_was_ready(self, server: Server, disk: Volume, copy_mode: str) -> None:
        uri = server.export("disk")
        self.start(server, disk, "stop", copy_mode=copy_mode)
        ready(server)
        with server.file_size_limit(FAR):
            qemu_io(uri, "write -P 3 0 64k")
            server.qmp.wait_job(JOB, "standby")
            qemu_io(uri, "write -P 4 1M 64k")
        server.qmp.command("job-resume", id=JOB)
        complete(server)
        disk.assert_target_is(disk.disk)

    @pytest.mark.qmpd_only("QEMU has guests stand still while a mirror is pending")
    def test_while_pending(self, server: Server, disk: Volume) -> None:
        """Guests go on while the job is pending; if the target gets lost then, the job fails after all."""
        uri = server.export("disk")
        self.start(server, disk, "stop", auto_finalize=False)
        ready(server)
        server.qmp.command("job-complete", id=JOB)
        server.qmp.wait_event("BLOCK_JOB_PENDING", id=JOB)
        qemu_io(uri, "write -P 3 0 64k")
        assert disk.target.read(FAR, 64 * KIB) == disk.disk.read(0, 64 * KIB) == b"\x03" * 64 * KIB
        with server.file_size_limit(FAR):
            qemu_io(uri, "write -P 4 0 64k")
        server.qmp.wait_job(JOB, "null")
        end = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=JOB).data
        assert end["error"] == "File too large"
        assert exported_node(server) == "disk"

    @pytest.mark.parametrize(("policy", "action"), [("report", "report"), ("stop", "stop")])
    def test_source(self, server: Server, scratch: Scratch, policy: str, action: str) -> None:
        """Reading fails once."""
        image = scratch.full_disk("source", LEN, seed=12)
        rule = {"event": "none", "iotype": "read", "once": True, "immediately": True}
        file = {"driver": "file", "filename": str(image.path)}
        debug = {"driver": "blkdebug", "image": file, "inject-error": [rule]}
        server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "source", "file": debug})
        target = scratch.disk("copy", LEN)
        server.add_raw(target)
        mirror(server, device="source", target="copy", on_source_error=policy)
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=JOB).data
        assert error == {"device": JOB, "operation": "read", "action": action}
        if policy == "stop":
            server.qmp.wait_job(JOB, "paused")
            server.qmp.command("job-resume", id=JOB)
            ready(server)
            complete(server)
            assert_same(image.path, target.path)
        else:
            server.qmp.wait_job(JOB, "null")
            end = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=JOB).data
            assert end["error"] == "Input/output error"


BAD: dict[str, dict[str, Any]] = {
    "no job id": {"job-id": None},
    "an ill-formed job id": {"job-id": "1x"},
    "no such device": {"device": "nope"},
    "no such target": {"target": "nope"},
    "into itself": {"target": "disk"},
    "into a read-only node": {"target": "ro"},
    "granularity too small": {"granularity": 256},
    "granularity too large": {"granularity": 128 * MIB},
    "granularity no power of two": {"granularity": 1000},
    "granularity negative": {"granularity": -1},
    "buf-size negative": {"buf-size": -1},
    "speed negative": {"speed": -1},
    "incremental": {"sync": "incremental"},
    "bitmap": {"sync": "bitmap"},
    "no such sync": {"sync": "some"},
    "filter name taken": {"filter-node-name": "disk"},
    "filter name ill-formed": {"filter-node-name": "1!"},
    "a node below another": {"device": "below"},
    "unknown member": {"unmap": False},
}


@pytest.fixture
def disks(server: Server, scratch: Scratch) -> Volume:
    pair = volume(server, scratch, "disk", LEN)
    server.add_raw(scratch.disk("ro", LEN), read_only=True)
    server.add_raw(scratch.disk("below", LEN))
    server.qmp.command("blockdev-add", {"driver": "raw", "node-name": "above", "file": "below"})
    return pair


def test_refused(server: Server, disks: Volume) -> None:
    """And nothing has changed."""
    nodes = server.node_names()
    for what, odd in BAD.items():
        arguments = {"job-id": JOB, "device": "disk", "target": "disk-target", "sync": "full", **odd}
        given = {name: value for name, value in arguments.items() if value is not None}
        with pytest.raises(QMPRefused, match="GenericError"):
            server.qmp.command("blockdev-mirror", given)
            pytest.fail(f"{what} was not refused")
    assert_nothing_left(server, nodes)


def test_accepted(server: Server, disks: Volume) -> None:
    """Odd but possible."""
    possible: list[dict[str, Any]] = [
        {"granularity": 0},
        {"granularity": 512},
        {"granularity": 64 * MIB},
        {"buf-size": 0},
        {"buf-size": 1},
        {"filter-node-name": "top"},
        {"replaces": "disk"},
        {"on-source-error": "auto", "on-target-error": "auto"},
    ]
    for options in possible:
        disks.target.write(0, bytes(disks.target.length))
        arguments = {"job-id": JOB, "device": "disk", "target": "disk-target", "sync": "full", **options}
        server.qmp.command("blockdev-mirror", arguments)
        ready(server)
        assert ("top" in server.node_names()) == ("filter-node-name" in options)
        complete(server)
        server.qmp.forget_events()
        disks.assert_target_is(disks.disk)


def test_what_a_mirror_forbids(server: Server, scratch: Scratch, disks: Volume) -> None:
    """Source and target take no second job, no other size and no end while it runs; afterwards they do."""
    server.add_raw(scratch.disk("other", LEN))
    full = {"sync": "full"}
    tries: list[tuple[str, dict[str, Any]]] = [
        ("blockdev-mirror", {"job-id": JOB, "device": "other", "target": "ro", **full}),
        ("blockdev-mirror", {"job-id": "k", "device": "disk", "target": "other", **full}),
        ("blockdev-mirror", {"job-id": "k", "device": "disk-target", "target": "other", **full}),
        ("blockdev-mirror", {"job-id": "k", "device": "other", "target": "disk-target", **full}),
        ("blockdev-mirror", {"job-id": "k", "device": "other", "target": "disk", **full}),
        ("blockdev-backup", {"job-id": "k", "device": "disk", "target": "other", **full}),
        ("blockdev-backup", {"job-id": "k", "device": "disk-target", "target": "other", **full}),
        ("blockdev-backup", {"job-id": "k", "device": "other", "target": "disk-target", **full}),
        ("block_resize", {"node-name": "disk", "size": 2 * LEN}),
        ("block_resize", {"node-name": "disk-target", "size": 2 * LEN}),
        ("blockdev-del", {"node-name": "disk"}),
        ("blockdev-del", {"node-name": "disk-target"}),
    ]
    mirror(server)
    ready(server)
    for command, arguments in tries:
        server.qmp.refused(command, arguments)
    server.start_nbd()
    for writable in (False, True):
        server.qmp.refused(
            "block-export-add", {"type": "nbd", "id": "e", "node-name": "disk-target", "writable": writable}
        )
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
    server.qmp.command("job-cancel", id=JOB)
    server.qmp.wait_job(JOB, "null")
    server.qmp.command("blockdev-del", node_name="disk-target")
    server.qmp.command("block_resize", node_name="disk", size=2 * LEN)


def test_a_read_only_source(server: Server, scratch: Scratch) -> None:
    """Its readers go over to the target."""
    disk = scratch.full_disk("disk", LEN, seed=13)
    server.add_raw(disk, read_only=True)
    server.add_raw(scratch.disk("disk-target", LEN))
    server.export("disk", writable=False)
    mirror(server)
    ready(server)
    complete(server)
    assert exported_node(server) == "disk-target"
    entries = server.qmp.command("query-named-block-nodes", flat=True)
    assert next(entry["ro"] for entry in entries if entry["node-name"] == "disk-target")


def test_bitmaps_follow_the_writes(server: Server, scratch: Scratch) -> None:
    """A bitmap of the source notes what guests write through the mirror's filter."""
    volume(server, scratch, "disk", LEN)
    uri = server.export("disk")
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="b", granularity=64 * KIB)
    mirror(server)
    ready(server)
    qemu_io(uri, "write -P 1 64k 64k")
    assert server.bitmaps("disk")["b"]["count"] == 64 * KIB
    server.qmp.command("job-cancel", id=JOB)
    server.qmp.wait_job(JOB, "null")
    qemu_io(uri, "write -P 1 1M 64k")
    assert server.bitmaps("disk")["b"]["count"] == 128 * KIB


def test_two_mirrors_at_once(server: Server, scratch: Scratch) -> None:
    """Of two disks, side by side."""
    pairs = [volume(server, scratch, name, LEN, seed=seed) for name, seed in (("one", 1), ("two", 2))]
    for pair in pairs:
        server.qmp.command("blockdev-mirror", job_id=pair.job, device=pair.name, target=pair.target_name, sync="full")
    for pair in pairs:
        ready(server, pair.job)
    for pair in pairs:
        complete(server, pair.job)
        pair.assert_target_is(pair.disk)


def test_a_chain_of_mirrors(server: Server, scratch: Scratch) -> None:
    """The disk moves on and on: what was the target is the next source."""
    model = scratch.full_disk("model", LEN, seed=14)
    server.add_raw(scratch.copy(model, "n0"))
    server.export("n0")
    with Guest(server, "n0", model) as guest:
        for number in range(3):
            target = f"n{number + 1}"
            server.add_raw(scratch.disk(target, LEN))
            mirror(server, device=f"n{number}", target=target)
            ready(server)
            complete(server)
            server.qmp.command("blockdev-del", node_name=f"n{number}")
            guest.go_on(5)
    assert_same(scratch / "n3.img", model.path)


def test_job_id_in_use(server: Server, scratch: Scratch) -> None:
    """A concluded job keeps its id until it is dismissed."""
    volume(server, scratch, "disk", LEN)
    mirror(server, auto_dismiss=False)
    ready(server)
    complete_by_hand(server)
    with pytest.raises(QMPRefused):
        mirror(server)
    server.qmp.command("job-dismiss", id=JOB)
    mirror(server)
    ready(server)


def complete_by_hand(server: Server) -> None:
    """Complete a job that stays when it is concluded."""
    server.qmp.command("job-complete", id=JOB)
    server.qmp.wait_job(JOB, "concluded")
