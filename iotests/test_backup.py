"""blockdev-backup and drive-backup of single disks: every sync mode, bitmap mode, policy and refusal."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Disk, Launcher, Scratch, Server
from iotests.harness.backups import FAR, SLOW, Volume, volume, with_target
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, qemu_io, same

CLUSTER = 64 * KIB


def finish(server: Server, job: str) -> None:
    """Let a slow job run at full speed and wait for its end."""
    server.qmp.command("block-job-set-speed", device=job, speed=0)
    server.qmp.wait_job(job, "null")


def fail_backup(server: Server, of: Volume, sync: str, *, reach: int = 0, **options: Any) -> None:
    """Run a backup to a far target that fails `reach` bytes into the disk."""
    with server.file_size_limit(FAR + reach):
        job = of.start(sync, **options)
        server.qmp.wait_job(job, "null")
    assert "error" in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=job).data


def assert_nothing_left(server: Server, nodes: set[str]) -> None:
    """No job, no filter node, no busy bitmap."""
    assert server.qmp.command("query-jobs") == []
    assert server.node_names() == nodes
    for entry in server.qmp.command("query-named-block-nodes", flat=True):
        assert not any(bitmap["busy"] for bitmap in entry.get("dirty-bitmaps", []))


@pytest.mark.parametrize("sync", ["full", "top"])
def test_whole_disk(server: Server, scratch: Scratch, sync: str) -> None:
    """Data, holes and zeroes of a sparse disk arrive."""
    disk = scratch.disk("disk", 8 * MIB, seed=3)
    disk.write(5 * MIB, bytes(MIB))
    copy = with_target(server, scratch, disk)
    nodes = server.node_names()
    copy.run(sync)
    copy.assert_target_is(disk)
    assert_nothing_left(server, nodes)


def test_full_overwrites_what_the_target_held(server: Server, scratch: Scratch) -> None:
    """Where the disk has holes the target has to become zero."""
    disk = scratch.disk("disk", 4 * MIB, seed=4, pieces=5)
    target = scratch.full_disk("target", 4 * MIB, seed=5)
    server.add_raw(disk)
    server.add_raw(target)
    server.qmp.command("blockdev-backup", job_id="j", device="disk", target="target", sync="full")
    server.qmp.wait_job("j", "null")
    assert_same(disk.path, target.path)


@pytest.mark.parametrize("length", [512, CLUSTER + 512, MIB + 3 * 512, 3 * MIB + 33 * KIB])
def test_odd_lengths(server: Server, scratch: Scratch, length: int) -> None:
    """The last, partial cluster is copied whole and no further."""
    copy = volume(server, scratch, "disk", length)
    copy.run()
    copy.assert_target_is(copy.disk)
    assert copy.target.path.stat().st_size == length


@pytest.mark.qmpd_only("QEMU allocates the zeroes that it writes where the source has holes")
def test_holes_stay_holes(server: Server, scratch: Scratch) -> None:
    """A backup of a large, nearly empty disk to an empty file does not fill the file."""
    disk = scratch.disk("disk", 512 * MIB, seed=6, pieces=8)
    copy = with_target(server, scratch, disk)
    copy.run()
    copy.assert_target_is(disk)
    assert copy.target.allocated < 32 * MIB


def test_null_source(server: Server, scratch: Scratch) -> None:
    """A null node that reads as zeroes gives zeroes."""
    server.add_null("nothing", 4 * MIB, read_zeroes=True)
    target = scratch.full_disk("target", 4 * MIB, seed=7)
    server.add_raw(target)
    server.qmp.command("blockdev-backup", job_id="j", device="nothing", target="target", sync="full")
    server.qmp.wait_job("j", "null")
    assert_same(target.path, scratch.disk("zeroes", 4 * MIB).path)


def test_read_only_source(server: Server, scratch: Scratch) -> None:
    """A disk that is open read-only can be backed up."""
    disk = scratch.full_disk("disk", 4 * MIB, seed=8)
    server.add_raw(disk, read_only=True)
    copy = with_target(server, scratch, disk, open_disk=False)
    copy.run()
    copy.assert_target_is(disk)


def test_sync_none_saves_only_what_is_overwritten(server: Server, scratch: Scratch) -> None:
    """The old contents of written clusters go to the target; the job lasts until it is cancelled."""
    copy = volume(server, scratch, "disk")
    before = scratch.copy(copy.disk, "before")
    uri = server.export("disk")
    copy.start("none")
    qemu_io(uri, "write -P 0xaa 1M 64k", "write -P 0xbb 3145728 1k", "write -z 2M 128k")
    job = server.qmp.job(copy.job)
    assert job is not None and job["status"] == "running"
    server.qmp.command("job-cancel", id=copy.job)
    server.qmp.wait_job(copy.job, "null")
    expected = scratch.disk("expected")
    for offset, length in ((MIB, CLUSTER), (3 * MIB, CLUSTER), (2 * MIB, 2 * CLUSTER)):
        expected.write(offset, before.read(offset, length))
    copy.assert_target_is(expected)
    assert server.qmp.seen("BLOCK_JOB_CANCELLED", device=copy.job)


def test_two_backups_of_one_disk(server: Server, scratch: Scratch) -> None:
    """Two jobs on one source, with guest writes between their starts, each keep their own point in time."""
    copy = volume(server, scratch, "disk")
    second = scratch.disk("second")
    server.add_raw(second)
    uri = server.export("disk")
    first_state = scratch.copy(copy.disk, "state1")
    copy.start("full", speed=SLOW)
    qemu_io(uri, "write -P 0x11 0 1M", "write -P 0x22 3M 100k")
    second_state = scratch.copy(copy.disk, "state2")
    server.qmp.command("blockdev-backup", job_id="second", device="disk", target="second", sync="full", speed=SLOW)
    qemu_io(uri, "write -P 0x33 512k 3M")
    finish(server, "second")
    finish(server, copy.job)
    copy.assert_target_is(first_state)
    assert_same(second.path, second_state.path)


class TestIncremental:
    """sync=incremental and sync=bitmap."""

    @pytest.fixture
    def copy(self, server: Server, scratch: Scratch) -> Volume:
        """A disk with a full backup and two bitmaps, the second never used by a backup, with some writes
        since.
        """
        copy = volume(server, scratch, "disk", 4 * MIB, far=True)
        self.uri = server.export("disk")
        server.transaction(
            ("block-dirty-bitmap-add", {"node": "disk", "name": "b"}),
            ("block-dirty-bitmap-add", {"node": "disk", "name": "witness"}),
            ("blockdev-backup", copy.backup()),
        )
        server.qmp.wait_job(copy.job, "null")
        copy.assert_target_is(copy.disk)
        qemu_io(self.uri, "write -P 1 0 64k", "write -P 2 1M 200k", "write -P 3 4128768 64k")
        server.qmp.forget_events()
        return copy

    def assert_bitmap_is_witness(self, server: Server) -> None:
        bitmaps = server.bitmaps("disk")
        assert bitmaps["b"]["count"] == bitmaps["witness"]["count"]
        assert server.bitmap_sha256("disk", "b") == server.bitmap_sha256("disk", "witness")
        assert not bitmaps["b"]["busy"] and bitmaps["b"]["recording"]

    @pytest.mark.parametrize("options", [{"sync": "incremental"}, {"sync": "bitmap", "bitmap_mode": "on-success"}])
    def test_success_clears_the_bitmap(self, server: Server, copy: Volume, options: dict[str, str]) -> None:
        copy.run(**options, bitmap="b")
        copy.assert_target_is(copy.disk)
        assert server.bitmaps("disk")["b"]["count"] == 0
        qemu_io(self.uri, "write -P 4 2M 64k")
        assert server.bitmaps("disk")["b"]["count"] == CLUSTER
        copy.run("incremental", bitmap="b")
        copy.assert_target_is(copy.disk)

    def test_only_dirty_clusters_are_copied(self, server: Server, copy: Volume, scratch: Scratch) -> None:
        """To an empty target: nothing but the changed clusters arrives."""
        empty = scratch.disk("empty")
        server.add_raw(empty)
        server.qmp.command("blockdev-backup", job_id="j", device="disk", target="empty", sync="incremental", bitmap="b")
        server.qmp.wait_job("j", "null")
        end = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
        assert end.data["len"] == end.data["offset"]
        expected = scratch.disk("expected")
        for offset, length in ((0, CLUSTER), (MIB, 4 * CLUSTER), (63 * CLUSTER, CLUSTER)):
            expected.write(offset, copy.disk.read(offset, length))
        assert_same(empty.path, expected.path)

    def test_writes_meanwhile_belong_to_the_next(self, server: Server, copy: Volume, scratch: Scratch) -> None:
        qemu_io(self.uri, "write -P 5 1M 3M")
        state = scratch.copy(copy.disk, "state")
        copy.start("incremental", bitmap="b", speed=SLOW)
        assert server.bitmaps("disk")["b"]["busy"]
        qemu_io(self.uri, "write -P 6 3M 64k", "write -P 7 640k 64k")
        finish(server, copy.job)
        copy.assert_target_is(state)
        assert server.bitmaps("disk")["b"]["count"] == 2 * CLUSTER
        copy.run("incremental", bitmap="b")
        copy.assert_target_is(copy.disk)

    def test_cancel_gives_the_bitmap_back(self, server: Server, copy: Volume) -> None:
        qemu_io(self.uri, "write -P 5 1M 3M")
        copy.start("incremental", bitmap="b", speed=SLOW)
        qemu_io(self.uri, "write -P 6 700k 64k")
        server.qmp.command("job-cancel", id=copy.job)
        server.qmp.wait_job(copy.job, "null")
        self.assert_bitmap_is_witness(server)
        copy.run("incremental", bitmap="b")
        copy.assert_target_is(copy.disk)

    @pytest.mark.parametrize("reach", [0, MIB + CLUSTER])
    def test_failure_gives_the_bitmap_back(self, server: Server, copy: Volume, reach: int) -> None:
        fail_backup(server, copy, "incremental", bitmap="b", reach=reach)
        self.assert_bitmap_is_witness(server)
        copy.run("incremental", bitmap="b")
        copy.assert_target_is(copy.disk)

    def test_mode_never_keeps_the_bitmap(self, server: Server, copy: Volume) -> None:
        copy.run("bitmap", bitmap="b", bitmap_mode="never")
        copy.assert_target_is(copy.disk)
        self.assert_bitmap_is_witness(server)

    def test_mode_never_keeps_the_bitmap_on_failure(self, server: Server, copy: Volume) -> None:
        fail_backup(server, copy, "bitmap", bitmap="b", bitmap_mode="never", reach=MIB)
        self.assert_bitmap_is_witness(server)

    def test_mode_always_clears_what_was_copied(self, server: Server, copy: Volume) -> None:
        copy.run("bitmap", bitmap="b", bitmap_mode="always")
        copy.assert_target_is(copy.disk)
        assert server.bitmaps("disk")["b"]["count"] == 0

    def test_mode_always_keeps_the_rest_on_failure(self, server: Server, copy: Volume) -> None:
        """What was copied is cleared, the rest stays: the retry copies only that, and the result is whole."""
        fail_backup(
            server,
            copy,
            "bitmap",
            bitmap="b",
            bitmap_mode="always",
            reach=MIB,
            x_perf={"max-workers": 1, "max-chunk": CLUSTER},
        )
        bitmaps = server.bitmaps("disk")
        assert bitmaps["b"]["count"] == bitmaps["witness"]["count"] - CLUSTER
        copy.run("bitmap", bitmap="b", bitmap_mode="always")
        copy.assert_target_is(copy.disk)
        assert server.bitmaps("disk")["b"]["count"] == 0

    @pytest.mark.parametrize("sync", ["full", "top"])
    @pytest.mark.parametrize("mode", ["on-success", "always"])
    def test_whole_disk_with_bitmap(self, server: Server, copy: Volume, sync: str, mode: str) -> None:
        copy.run(sync, bitmap="b", bitmap_mode=mode)
        copy.assert_target_is(copy.disk)
        assert server.bitmaps("disk")["b"]["count"] == 0

    def test_whole_disk_failing_with_always(self, server: Server, copy: Volume) -> None:
        """A full backup that fails leaves exactly what it did not copy in the bitmap."""
        fail_backup(
            server,
            copy,
            "full",
            bitmap="b",
            bitmap_mode="always",
            reach=MIB,
            x_perf={"max-workers": 1, "max-chunk": CLUSTER},
        )
        assert server.bitmaps("disk")["b"]["count"] == 3 * MIB
        copy.run("bitmap", bitmap="b", bitmap_mode="on-success")
        copy.assert_target_is(copy.disk)

    def test_disabled_bitmap_can_be_used(self, server: Server, copy: Volume) -> None:
        """A disabled bitmap says what to copy; what is written meanwhile does not enter it."""
        server.qmp.command("block-dirty-bitmap-disable", node="disk", name="b")
        copy.start("incremental", bitmap="b", speed=SLOW)
        qemu_io(self.uri, "write -P 6 3M 64k")
        finish(server, copy.job)
        bitmap = server.bitmaps("disk")["b"]
        assert bitmap["count"] == 0 and not bitmap["recording"]

    def test_bitmap_in_use_is_blocked(self, server: Server, copy: Volume, scratch: Scratch) -> None:
        qemu_io(self.uri, "write -P 5 1M 3M")
        other = scratch.disk("other")
        server.add_raw(other)
        copy.start("incremental", bitmap="b", speed=SLOW)
        before = server.bitmap_sha256("disk", "b")
        refused = server.qmp.refused
        refused("blockdev-backup", job_id="k", device="disk", target="other", sync="incremental", bitmap="b")
        for verb in ("remove", "clear", "enable", "disable"):
            refused(f"block-dirty-bitmap-{verb}", node="disk", name="b")
        refused("block-dirty-bitmap-merge", node="disk", target="b", bitmaps=["witness"])
        refused("block-dirty-bitmap-add", node="disk", name="b")
        assert server.bitmap_sha256("disk", "b") == before
        finish(server, copy.job)
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="b")


class TestControl:
    """Verbs on a running backup."""

    @pytest.fixture
    def copy(self, server: Server, scratch: Scratch) -> Volume:
        return volume(server, scratch, "disk", 4 * MIB, far=True)

    def test_speed(self, server: Server, copy: Volume) -> None:
        copy.start(speed=SLOW)
        for speed in (2 * SLOW, 1):
            server.qmp.command("block-job-set-speed", device=copy.job, speed=speed)
            info = server.qmp.block_job(copy.job)
            assert info is not None and info["speed"] == speed
        server.qmp.refused("block-job-set-speed", device=copy.job, speed=-1)
        finish(server, copy.job)
        copy.assert_target_is(copy.disk)

    @pytest.mark.parametrize("family", ["job", "block-job"])
    def test_pause_and_resume(self, server: Server, copy: Volume, family: str) -> None:
        member = {"job": "id", "block-job": "device"}[family]
        copy.start(speed=SLOW)
        server.qmp.command(f"{family}-pause", {member: copy.job})
        server.qmp.wait_job(copy.job, "paused")
        info = server.qmp.block_job(copy.job)
        assert info is not None and info["paused"] and info["status"] == "paused"
        server.qmp.refused(f"{family}-pause", {member: copy.job})
        server.qmp.command("block-job-set-speed", device=copy.job, speed=0)
        job = server.qmp.job(copy.job)
        assert job is not None and job["status"] == "paused"
        server.qmp.command(f"{family}-resume", {member: copy.job})
        server.qmp.wait_job(copy.job, "null")
        copy.assert_target_is(copy.disk)

    def test_resume_of_what_runs_is_refused(self, server: Server, copy: Volume) -> None:
        copy.start(speed=SLOW)
        server.qmp.refused("job-resume", id=copy.job)
        server.qmp.refused("block-job-resume", device=copy.job)
        server.qmp.command("job-cancel", id=copy.job)
        server.qmp.wait_job(copy.job, "null")

    def test_cancel_of_a_paused_job(self, server: Server, copy: Volume) -> None:
        """block-job-cancel needs force for a job that the user paused; job-cancel does not."""
        forced = ("block-job-cancel", {"device": copy.job, "force": True})
        for end in (forced, ("job-cancel", {"id": copy.job})):
            copy.start(speed=SLOW)
            server.qmp.command("job-pause", id=copy.job)
            server.qmp.wait_job(copy.job, "paused")
            server.qmp.refused("block-job-cancel", device=copy.job)
            server.qmp.command(*end)
            server.qmp.wait_event("BLOCK_JOB_CANCELLED", device=copy.job)
            server.qmp.wait_job(copy.job, "null")

    def test_verbs_in_the_wrong_state(self, server: Server, copy: Volume) -> None:
        refused = server.qmp.refused
        copy.start(speed=SLOW, auto_dismiss=False)
        for verb in ("complete", "finalize", "dismiss"):
            refused(f"job-{verb}", id=copy.job)
        refused("block-job-complete", device=copy.job)
        refused("block-job-finalize", id=copy.job)
        refused("block-job-dismiss", id=copy.job)
        server.qmp.command("block-job-set-speed", device=copy.job, speed=0)
        server.qmp.wait_job(copy.job, "concluded")
        for verb in ("cancel", "pause", "resume", "complete", "finalize"):
            refused(f"job-{verb}", id=copy.job)
        refused("block-job-set-speed", device=copy.job, speed=0)
        server.qmp.command("job-dismiss", id=copy.job)
        refused("job-dismiss", id=copy.job)

    def test_unknown_jobs(self, server: Server) -> None:
        for verb in ("cancel", "pause", "resume", "complete"):
            server.qmp.refused(f"block-job-{verb}", device="nobody", error_class="DeviceNotActive")
            server.qmp.refused(f"job-{verb}", id="nobody")
        for verb in ("finalize", "dismiss"):
            server.qmp.refused(f"block-job-{verb}", id="nobody", error_class="DeviceNotActive")
            server.qmp.refused(f"job-{verb}", id="nobody")
        server.qmp.refused("block-job-set-speed", device="nobody", speed=1, error_class="DeviceNotActive")

    def test_finalize_and_dismiss_by_hand(self, server: Server, copy: Volume) -> None:
        copy.start(auto_finalize=False, auto_dismiss=False)
        server.qmp.wait_event("BLOCK_JOB_PENDING", id=copy.job)
        server.qmp.wait_job(copy.job, "pending")
        info = server.qmp.block_job(copy.job)
        assert info is not None
        assert info["auto-finalize"] is False and info["auto-dismiss"] is False
        assert not server.qmp.seen("BLOCK_JOB_COMPLETED")
        server.qmp.refused("blockdev-del", node_name="disk")
        server.qmp.command("block-job-finalize", id=copy.job)
        server.qmp.wait_job(copy.job, "concluded")
        job = server.qmp.job(copy.job)
        assert job is not None and "error" not in job
        copy.assert_target_is(copy.disk)
        server.qmp.command("block-job-dismiss", id=copy.job)
        assert server.qmp.command("query-jobs") == []

    def test_failed_job_stays_until_dismissed(self, server: Server, copy: Volume) -> None:
        with server.file_size_limit(FAR):
            copy.start(auto_dismiss=False)
            server.qmp.wait_job(copy.job, "concluded")
        job = server.qmp.job(copy.job)
        info = server.qmp.block_job(copy.job)
        assert job is not None and job["error"]
        assert info is not None and info["error"] and info["status"] == "concluded"
        server.qmp.command("job-dismiss", id=copy.job)
        assert server.qmp.command("query-jobs") == []

    def test_query_shapes(self, server: Server, copy: Volume) -> None:
        copy.start(speed=SLOW)
        (job,) = server.qmp.command("query-jobs")
        assert set(job) == {"id", "type", "status", "current-progress", "total-progress"}
        assert (job["type"], job["status"], job["total-progress"]) == ("backup", "running", 4 * MIB)
        (info,) = server.qmp.command("query-block-jobs")
        assert 0 <= info.pop("offset") < 4 * MIB
        info.pop("busy")
        assert info == {
            "type": "backup",
            "device": copy.job,
            "len": 4 * MIB,
            "speed": SLOW,
            "paused": False,
            "ready": False,
            "status": "running",
            "io-status": "ok",
            "auto-finalize": True,
            "auto-dismiss": True,
        }

    def test_blockers(self, server: Server, copy: Volume, scratch: Scratch) -> None:
        """Disk and target of a running job are neither deleted, resized nor taken by another job."""
        other = volume(server, scratch, "other")
        copy.start(speed=SLOW)
        refused = server.qmp.refused
        for node in ("disk", copy.target_name):
            refused("blockdev-del", node_name=node)
            refused("block_resize", node_name=node, size=8 * MIB)
        refused("blockdev-backup", job_id=copy.job, device="other", target=other.target_name, sync="full")
        refused("blockdev-backup", job_id="k", device="other", target=copy.target_name, sync="full")
        server.qmp.command("job-cancel", id=copy.job)
        server.qmp.wait_job(copy.job, "null")
        for node in ("disk", copy.target_name):
            server.qmp.command("blockdev-del", node_name=node)


class TestPolicies:
    """What a failing target does under each policy."""

    @pytest.fixture
    def copy(self, server: Server, scratch: Scratch) -> Volume:
        return volume(server, scratch, "disk", 4 * MIB, far=True)

    @pytest.mark.parametrize("policy", ["report", "enospc"])
    def test_report(self, server: Server, copy: Volume, policy: str) -> None:
        """EFBIG is not ENOSPC, so that `enospc` reports it too."""
        nodes = server.node_names()
        fail_backup(server, copy, "full", on_target_error=policy, reach=MIB)
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
        assert (error.data["operation"], error.data["action"]) == ("write", "report")
        assert_nothing_left(server, nodes)

    def test_stop_then_resume(self, server: Server, copy: Volume) -> None:
        server.set_file_size_limit(FAR + MIB)
        copy.start(on_target_error="stop")
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
        assert (error.data["operation"], error.data["action"]) == ("write", "stop")
        server.qmp.wait_job(copy.job, "paused")
        info = server.qmp.block_job(copy.job)
        assert info is not None and info["io-status"] == "failed" and info["paused"]
        server.qmp.command("job-resume", id=copy.job)
        server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
        server.qmp.wait_job(copy.job, "paused")
        server.set_file_size_limit(None)
        server.qmp.command("block-job-resume", device=copy.job)
        server.qmp.wait_job(copy.job, "null")
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=copy.job).data
        copy.assert_target_is(copy.disk)

    def test_stop_then_cancel(self, server: Server, copy: Volume) -> None:
        with server.file_size_limit(FAR + MIB):
            copy.start(on_target_error="stop")
            server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
            server.qmp.wait_job(copy.job, "paused")
            server.qmp.command("job-cancel", id=copy.job)
            server.qmp.wait_event("BLOCK_JOB_CANCELLED", device=copy.job)
            server.qmp.wait_job(copy.job, "null")

    def test_ignore_goes_on_until_it_works(self, server: Server, copy: Volume) -> None:
        server.set_file_size_limit(FAR + MIB)
        copy.start(on_target_error="ignore")
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
        assert error.data["action"] == "ignore"
        server.set_file_size_limit(None)
        server.qmp.wait_job(copy.job, "null")
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=copy.job).data
        copy.assert_target_is(copy.disk)


class TestOptions:
    """Optional arguments and their refusals."""

    @pytest.mark.parametrize(
        "perf",
        [
            {"max-workers": 1},
            {"max-workers": 128, "max-chunk": CLUSTER},
            {"max-chunk": 3 * CLUSTER},
            {"use-copy-range": True},
            {"use-copy-range": True, "max-workers": 2, "max-chunk": 2 * CLUSTER},
        ],
        ids=str,
    )
    def test_perf(self, server: Server, scratch: Scratch, perf: dict[str, Any]) -> None:
        copy = volume(server, scratch, "disk")
        copy.run(x_perf=perf)
        copy.assert_target_is(copy.disk)

    def test_filter_node_name(self, server: Server, scratch: Scratch) -> None:
        copy = volume(server, scratch, "disk")
        nodes = server.node_names()
        copy.start(speed=SLOW, filter_node_name="guard")
        drivers = {
            entry["node-name"]: entry["drv"] for entry in server.qmp.command("query-named-block-nodes", flat=True)
        }
        assert drivers["guard"] == "copy-before-write"
        server.qmp.refused("blockdev-del", node_name="guard")
        server.qmp.refused("blockdev-add", {"driver": "null-co", "node-name": "guard"})
        finish(server, copy.job)
        assert_nothing_left(server, nodes)
        server.add_null("guard", MIB)

    @pytest.mark.parametrize(
        "options",
        [
            {"sync": "incremental"},
            {"sync": "bitmap"},
            {"sync": "bitmap", "bitmap": "b"},
            {"sync": "incremental", "bitmap": "b", "bitmap-mode": "never"},
            {"bitmap": "b"},
            {"sync": "none", "bitmap": "b", "bitmap-mode": "always"},
            {"bitmap-mode": "always"},
            {"sync": "incremental", "bitmap": "nobody"},
            {"sync": "sometimes"},
            {"device": "nobody"},
            {"target": "nobody"},
            {"target": "disk"},
            {"target": "small"},
            {"target": "large"},
            {"target": "read-only"},
            {"x-perf": {"max-workers": 0}},
            {"x-perf": {"max-chunk": -1}},
            {"x-perf": {"max-chunk": 1000}},
            {"x-perf": {"unknown": 1}},
            {"speed": -1},
            {"speed": "fast"},
            {"filter-node-name": "disk"},
            {"filter-node-name": "#wrong"},
            {"job-id": "1wrong"},
            {"job-id": ""},
            {"on-target-error": "shrug"},
            {"compress": True},
            {"unknown": 1},
        ],
        ids=str,
    )
    def test_refusals(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        """A refused backup leaves no job, no node and no event of its own behind."""
        copy = volume(server, scratch, "disk")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        for name, length in (("small", MIB), ("large", 8 * MIB), ("read-only", 4 * MIB)):
            server.add_raw(scratch.disk(name, length), read_only=name == "read-only")
        nodes = server.node_names()
        server.qmp.refused("blockdev-backup", copy.backup() | options)
        assert_nothing_left(server, nodes)
        copy.run()

    @pytest.mark.parametrize("missing", ["device", "target", "sync"])
    def test_missing_members(self, server: Server, scratch: Scratch, missing: str) -> None:
        arguments = volume(server, scratch, "disk").backup()
        del arguments[missing]
        server.qmp.refused("blockdev-backup", arguments)


class TestDriveBackup:
    """drive-backup for raw files."""

    def start(self, server: Server, target: Disk, **options: Any) -> None:
        server.qmp.command(
            "drive-backup",
            {"job-id": "j", "device": "disk", "target": str(target.path), "sync": "full", "format": "raw"},
            **options,
        )

    @pytest.mark.parametrize("mode", ["existing", "absolute-paths"])
    def test_modes(self, server: Server, scratch: Scratch, mode: str) -> None:
        """An existing file is used, otherwise one is made; the target is closed when the job is over."""
        disk = scratch.full_disk("disk", 4 * MIB, seed=9)
        server.add_raw(disk)
        nodes = server.node_names()
        target = scratch.disk("target") if mode == "existing" else Disk(scratch / "new.img", 4 * MIB)
        self.start(server, target, mode=mode)
        server.qmp.wait_job("j", "null")
        assert_same(disk.path, target.path)
        assert_nothing_left(server, nodes)
        qemu_io(target.path, "write 0 512")

    def test_missing_existing_target(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk"))
        nodes = server.node_names()
        server.qmp.refused(
            "drive-backup",
            job_id="j",
            device="disk",
            target=str(scratch / "nowhere.img"),
            sync="full",
            format="raw",
            mode="existing",
        )
        assert_nothing_left(server, nodes)

    def test_incremental(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.full_disk("disk", 4 * MIB, seed=10)
        target = scratch.copy(disk, "target")
        server.add_raw(disk)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        qemu_io(server.export("disk"), "write -P 9 1M 100k")
        assert not same(disk.path, target.path)
        server.qmp.command(
            "drive-backup",
            job_id="j",
            device="disk",
            target=str(target.path),
            sync="incremental",
            bitmap="b",
            format="raw",
            mode="existing",
        )
        server.qmp.wait_job("j", "null")
        assert_same(disk.path, target.path)
        assert server.bitmaps("disk")["b"]["count"] == 0


class TestFullFileSystem:
    """A target on a file system that really is full: a small tmpfs in a mount namespace of the server's own."""

    SCRIPT = (
        "mount -t tmpfs -o size=6m tmpfs $0 && truncate -s 4M $0/disk-target.img && "
        'head -c 4M /dev/zero >$0/filler && exec "$@"'
    )

    @pytest.fixture
    def copy(self, launch: Launcher, scratch: Scratch) -> Volume:
        """A disk of 4 MiB and a target with room for half of it."""
        room = scratch / "room"
        room.mkdir()
        server = launch(wrapper=[*mount_namespace(), "sh", "-c", self.SCRIPT, str(room)])
        disk = scratch.full_disk("disk", 4 * MIB, seed=11)
        server.add_raw(disk)
        server.add_raw(room / "disk-target.img")
        outside = Path(f"/proc/{server.pid}/root{room}/disk-target.img")
        return Volume(server, disk, Disk(outside, 4 * MIB), 0)

    def test_enospc_stops(self, copy: Volume) -> None:
        """The policy `enospc` stops for this very error; with room made, the job goes on and the copy is whole."""
        server = copy.server
        copy.start(on_target_error="enospc")
        error = server.qmp.wait_event("BLOCK_JOB_ERROR", device=copy.job)
        assert (error.data["operation"], error.data["action"]) == ("write", "stop")
        server.qmp.wait_job(copy.job, "paused")
        info = server.qmp.block_job(copy.job)
        assert info is not None and info["io-status"] == "nospace"
        copy.target.path.with_name("filler").unlink()
        server.qmp.command("job-resume", id=copy.job)
        server.qmp.wait_job(copy.job, "null")
        assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=copy.job).data
        copy.assert_target_is(copy.disk)

    def test_report(self, copy: Volume) -> None:
        copy.start()
        assert "error" in copy.server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=copy.job).data


def mount_namespace() -> list[str]:
    """The command that starts a program where it may mount; skips where the host forbids that to everybody."""
    for words in (["unshare", "-m"], ["unshare", "-U", "-r", "-m"]):
        probe = [*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True, timeout=60).returncode == 0:
            return words
    pytest.skip("this host lets nobody mount a tmpfs, not even in a namespace of its own")
