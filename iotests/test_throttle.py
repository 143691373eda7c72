"""Nodes that are slowed down: who waits, what ends the waiting, and what goes on meanwhile.

No test measures time. A limit of one byte a second lets the first request pass and the next one wait for hours, so
what waits is seen by what others can do meanwhile, and only what ends the waiting can end the test.
"""

import subprocess
import time
from collections.abc import Iterator

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.backups import with_target
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, nbdcopy, qemu_io

NEVER = {"bps-write": 1}


class Throttled:
    """A disk under a throttle node `t-NAME` that is exported, and writers to it."""

    def __init__(self, server: Server, disk: Disk) -> None:
        self.server = server
        self.disk = disk
        self.node = f"t-{disk.name}"
        server.add_raw(disk)
        server.qmp.command(
            "blockdev-add", driver="throttle", node_name=self.node, throttle_group="g", file=disk.name
        )
        self.uri = server.export(self.node)
        self.writers: list[subprocess.Popen[bytes]] = []

    def write(self, *places: tuple[int, int]) -> subprocess.Popen[bytes]:
        """Begin to write, one after the other: pairs of an offset in units of 64 KiB and a byte."""
        words = ["qemu-io", "-f", "raw"]
        for place, value in places:
            words += ["-c", f"write -q -P {value} {place * 64}k 64k"]
        writer = subprocess.Popen([*words, self.uri], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.writers.append(writer)
        return writer

    def has(self, place: int, value: int) -> bool:
        """Whether the file has these contents now."""
        return self.disk.read(place * 64 * KIB, 64 * KIB) == bytes([value]) * 64 * KIB

    def await_written(self, place: int, value: int) -> None:
        """Wait until the file has these contents."""
        deadline = time.monotonic() + 60
        while not self.has(place, value):
            assert time.monotonic() < deadline, f"nobody wrote {value} to {place}"
            self.server.qmp.command("query-version")

    @staticmethod
    def finish(writer: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a writer that had no error."""
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0 and not output, output


def set_limits(server: Server, **limits: int) -> None:
    """Change limits of the group; a limit of 0 is none."""
    value = {name.replace("_", "-"): number for name, number in limits.items()}
    server.qmp.command("qom-set", path="/objects/g", property="limits", value=value)


def lift(server: Server) -> None:
    """Take the limit on writes away. QEMU's waiting requests learn of it only when somebody drains nodes."""
    set_limits(server, bps_write=0)
    if server.kind == "qsd":
        server.transaction()


@pytest.fixture
def slow(server: Server, scratch: Scratch) -> Iterator[Throttled]:
    """A disk of a group that lets one write pass and then none for hours."""
    server.qmp.command("object-add", qom_type="throttle-group", id="g", limits=NEVER)
    made = Throttled(server, scratch.full_disk("a", MIB, seed=1))
    yield made
    for writer in made.writers:
        writer.kill()
        writer.communicate()
    if server.kind == "qsd":
        lift(server)  # it would not end before its requests do


def begin_waiting(slow: Throttled) -> subprocess.Popen[bytes]:
    """Two writes of which the second one waits."""
    writer = slow.write((0, 1), (1, 2))
    slow.await_written(0, 1)
    return writer


def test_writes_wait_while_reads_pass(slow: Throttled, scratch: Scratch) -> None:
    writer = begin_waiting(slow)
    for _ in range(3):
        nbdcopy(slow.uri, scratch / "copy.img")
        qemu_io(slow.uri, "read -P 1 0 64k")
    assert not slow.has(1, 2)
    assert writer.poll() is None
    lift(slow.server)
    slow.finish(writer)
    assert slow.has(1, 2)
    assert_same(slow.uri, slow.disk.path)


@pytest.mark.qmpd_only("QEMU's waiting requests wait as long as they were told at first")
def test_new_limits_count_for_what_waits(slow: Throttled) -> None:
    writer = begin_waiting(slow)
    set_limits(slow.server, bps_write=0, iops_write=1)
    set_limits(slow.server, iops_write=100000)
    slow.finish(writer)


def test_disks_of_a_group_share_its_limits(slow: Throttled, scratch: Scratch) -> None:
    other = Throttled(slow.server, scratch.full_disk("b", MIB, seed=2))
    slow.finish(slow.write((0, 1)))
    writer = other.write((0, 1))
    qemu_io(other.uri, "read 0 1M")
    qemu_io(slow.uri, "read 0 1M")
    assert not other.has(0, 1)
    lift(other.server)
    other.finish(writer)
    assert other.has(0, 1)


def test_a_transaction_does_not_wait_for_hours(slow: Throttled) -> None:
    """What waits is let through before the disk stands still; what comes later waits again."""
    server = slow.server
    writer = begin_waiting(slow)
    deadline = time.monotonic() + 60
    while writer.poll() is None:  # nobody tells when the second write has arrived
        assert time.monotonic() < deadline
        server.transaction()
        server.qmp.command("block-dirty-bitmap-add", node=slow.node, name="b")
        server.transaction(("block-dirty-bitmap-remove", {"node": slow.node, "name": "b"}))
    slow.finish(writer)
    assert slow.has(1, 2)
    assert server.qmp.command("qom-get", path="g", property="limits")["bps-write"] == 1


def test_a_backup_does_not_wait_for_hours(slow: Throttled, scratch: Scratch) -> None:
    """The disk is below the filter, which holds back what the job's start has to wait for."""
    server = slow.server
    writer = begin_waiting(slow)
    copy = with_target(server, scratch, slow.disk, open_disk=False)
    server.qmp.command("blockdev-backup", copy.backup())
    server.qmp.wait_job(copy.job, "null")
    lift(server)
    slow.finish(writer)
    assert slow.has(1, 2)


def test_a_backup_through_the_filter(slow: Throttled, scratch: Scratch) -> None:
    """The job reads through the filter, at its pace, and the copy is right."""
    server = slow.server
    set_limits(server, bps_write=0, bps_read=64 * MIB)
    target = scratch.disk("target", MIB)
    server.add_raw(target)
    server.qmp.command("blockdev-backup", job_id="j", device=slow.node, target="target", sync="full")
    server.qmp.wait_job("j", "null")
    assert_same(target.path, slow.disk.path)
    (done,) = server.qmp.seen("BLOCK_JOB_COMPLETED", device="j")
    assert "error" not in done.data


@pytest.mark.qmpd_only("QEMU waits for its limits")
def test_a_job_that_is_cancelled_does_not_wait(slow: Throttled, scratch: Scratch) -> None:
    """Its writes to the target are let through, so that it can end."""
    server = slow.server
    server.add_raw(scratch.full_disk("source", 8 * MIB, seed=3))
    server.add_raw(scratch.disk("copy", 8 * MIB))
    server.qmp.command("blockdev-add", driver="throttle", node_name="slow", throttle_group="g", file="copy")
    server.qmp.command("blockdev-backup", job_id="j", device="source", target="slow", sync="full")
    server.qmp.command("job-cancel", id="j")
    server.qmp.wait_job("j", "null")
    assert server.qmp.seen("BLOCK_JOB_CANCELLED", device="j")
    server.qmp.command("blockdev-del", node_name="slow")


@pytest.mark.qmpd_only("QEMU waits for its limits")
def test_the_end_of_the_server_does_not_wait(slow: Throttled) -> None:
    begin_waiting(slow)
    assert slow.server.terminate() == 0


@pytest.mark.qmpd_only("QEMU waits for its limits")
@pytest.mark.parametrize("end", ["export", "server"])
def test_the_end_of_an_export_does_not_wait(slow: Throttled, end: str) -> None:
    qmp = slow.server.qmp
    begin_waiting(slow)
    if end == "export":
        qmp.command("block-export-del", id=f"export-{slow.node}", mode="hard")
    else:
        qmp.command("nbd-server-stop")
    qmp.wait_event("BLOCK_EXPORT_DELETED", id=f"export-{slow.node}")


def test_another_group(slow: Throttled) -> None:
    """By blockdev-reopen, while the disk is exported and a request waits."""
    qmp = slow.server.qmp
    qmp.command("object-add", qom_type="throttle-group", id="fast")
    writer = begin_waiting(slow)
    options = {"driver": "throttle", "node-name": slow.node, "throttle-group": "fast", "file": "a"}
    qmp.refused("blockdev-reopen", options=[options | {"throttle-group": "nobody"}])
    qmp.command("blockdev-reopen", options=[options])
    slow.finish(writer)
    slow.finish(slow.write((2, 3), (3, 4)))
    qmp.command("object-del", id="g")
    qmp.refused("object-del", id="fast")
    qmp.command("object-add", qom_type="throttle-group", id="g")


def test_what_queries_show(slow: Throttled) -> None:
    server = slow.server
    nodes = server.qmp.command("query-named-block-nodes", flat=True)
    entry = next(node for node in nodes if node["node-name"] == slow.node)
    assert entry["drv"] == "throttle"
    assert entry["image"]["virtual-size"] == MIB
    assert (entry["iops"], entry["bps"], entry["bps_wr"]) == (0, 0, 0)
    graph = server.qmp.command("x-debug-query-block-graph")
    ids = {node.get("name"): node["id"] for node in graph["nodes"]}
    (edge,) = (edge for edge in graph["edges"] if edge["parent"] == ids[slow.node])
    assert (edge["child"], edge["name"]) == (ids["a"], "file")
    assert set(edge["perm"]) == {"consistent-read", "write"}


def test_refusals(slow: Throttled) -> None:
    qmp = slow.server.qmp
    qmp.command("object-add", qom_type="iothread", id="io")
    for group in ("nobody", "io"):
        qmp.refused("blockdev-add", driver="throttle", node_name="x", throttle_group=group, file="a")
    qmp.refused("blockdev-add", driver="throttle", node_name="x", file="a")
    qmp.refused("blockdev-add", driver="throttle", node_name="x", throttle_group="g")
    qmp.refused("blockdev-add", driver="throttle", node_name="x", throttle_group="g", file="nobody")
    qmp.refused("object-del", id="g")
