"""Fleecing: a frozen view of a running disk, read by a client while guests go on writing.

The workflow is the published one: a temporary image takes the old contents, a copy-before-write filter on the disk
puts them there, and `snapshot-access` shows both together; what it shows is exported, or backed up from.
"""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.backups import FAR
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, nbdcopy, qemu_img, qemu_io, qemu_io_fails, run

LENGTH = 4 * MIB
CLUSTER = 64 * KIB


class Fleecing:
    """A disk with a filter `cbw` that guests write through, a temporary image, and the view `view`."""

    def __init__(self, server: Server, scratch: Scratch) -> None:
        self.server = server
        self.scratch = scratch
        self.disk = scratch.full_disk("disk", LENGTH, seed=1)
        server.add_raw(self.disk, discard="unmap")
        self.temporary = Path()
        self.guest = ""
        self.reference = Disk(Path(), 0)

    def add_temporary(self, kind: str) -> None:
        """The temporary image, as node `tmp`."""
        if kind == "qcow2":
            self.temporary = scratch_path = self.scratch / "tmp.qcow2"
            qemu_img("create", "-q", "-f", "qcow2", scratch_path, str(LENGTH))
            file = {"driver": "file", "filename": str(scratch_path)}
            self.server.qmp.command("blockdev-add", driver="qcow2", node_name="tmp", discard="unmap", file=file)
        elif kind == "far":
            self.temporary = self.scratch.disk("tmp", FAR + LENGTH).path
            self.server.add_raw(self.temporary, "tmp", offset=FAR, size=LENGTH)
        else:
            self.temporary = self.scratch.disk("tmp", LENGTH).path
            self.server.add_raw(self.temporary, "tmp", discard="unmap")

    def begin(self, kind: str = "raw", **options: Any) -> None:
        """Put the filter in, export it for guests, and remember the disk as it is.

        :param kind: of the temporary image; `slow` for the node of that name, which is there already.
        """
        if kind == "slow":
            options["target"] = "slow"
        else:
            self.add_temporary(kind)
            options["target"] = "tmp"
        self.server.qmp.command("blockdev-add", driver="copy-before-write", node_name="cbw", file="disk", **options)
        self.guest = self.server.export("cbw")
        self.reference = self.scratch.copy(self.disk, "reference")
        self.server.qmp.command(
            "blockdev-add", driver="snapshot-access", node_name="view", file="cbw", discard="unmap"
        )

    def export_view(self, **options: Any) -> str:
        return self.server.export("view", writable=options.pop("writable", False), **options)

    def assert_frozen(self) -> None:
        """Fail unless the exported view, read as a whole, is the disk as it was."""
        uri, copy = self.server.nbd_uri("view"), self.scratch / "copy.img"
        # QEMU 7.2 mixes the pieces up when one read comes from both the disk and the temporary image.
        run("nbdcopy", f"--request-size={CLUSTER}", uri, copy)
        assert_same(copy, self.reference.path)
        if self.server.kind == "qmpd":
            nbdcopy(uri, copy)
            assert_same(copy, self.reference.path)

    def end(self) -> None:
        """Take everything down again, from the top."""
        qmp = self.server.qmp
        for export in qmp.command("query-block-exports"):
            qmp.command("block-export-del", id=export["id"])
            qmp.wait_event("BLOCK_EXPORT_DELETED", id=export["id"])
        for node in ("view", "cbw", "tmp", "disk"):
            qmp.command("blockdev-del", node_name=node)
        assert self.server.node_names() == set()


@pytest.fixture
def fleecing(server: Server, scratch: Scratch) -> Fleecing:
    return Fleecing(server, scratch)


class Guest:
    """Writes everywhere at random in its own process, until it has written so many times."""

    def __init__(self, server: Server, uri: str, seed: int, times: int) -> None:
        generator = random.Random(seed)
        kinds = ["aio_write -q -P 7", "aio_write -q -P 8", "write -q -P 9"]
        if server.kind == "qmpd":
            # QEMU 7.2 tells of holes in the view where the disk has holes by now.
            kinds += ["aio_write -q -z", "aio_write -q -z -u"]
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "raw", uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._commands = [self._command(generator, kinds) for _ in range(times)]

    @staticmethod
    def _command(generator: random.Random, kinds: list[str]) -> str:
        length = 512 * generator.choice((1, 8, 128, 300))
        offset = 512 * generator.randrange((LENGTH - length) // 512)
        return f"{generator.choice(kinds)} {offset} {length}"

    def feed(self) -> None:
        """Begin to write."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{command}\n" for command in self._commands).encode())
        self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until all is written."""
        output, _ = self._process.communicate(timeout=120)
        text = output.decode(errors="backslashreplace")
        assert self._process.returncode == 0 and "failed" not in text, text


def extents(uri: str, context: str) -> Iterator[tuple[int, int, int]]:
    """Offset, length and type of what nbdinfo tells about an export."""
    for line in run("nbdinfo", f"--map={context}", uri).splitlines():
        words = line.split()
        if len(words) >= 3 and words[0].isdigit():
            yield int(words[0]), int(words[1]), int(words[2])


def data_clusters(image: Path) -> set[int]:
    """The clusters of a raw image that have data."""
    size = 64 * KIB
    content = image.read_bytes()
    return {number for number in range(len(content) // size) if any(content[number * size : (number + 1) * size])}


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_frozen_view_while_guests_write(fleecing: Fleecing, scratch: Scratch, kind: str) -> None:
    fleecing.begin(kind)
    fleecing.export_view()
    for number in range(3):
        guest = Guest(fleecing.server, fleecing.guest, number, 60)
        guest.feed()
        fleecing.assert_frozen()
        guest.finish()
    fleecing.assert_frozen()
    assert_same(fleecing.guest, fleecing.disk.path)
    assert fleecing.disk.path.read_bytes() != fleecing.reference.path.read_bytes()
    fleecing.end()


def test_a_backup_from_the_view(fleecing: Fleecing, scratch: Scratch) -> None:
    """A push backup that does not slow guests down by the speed of its target."""
    fleecing.begin()
    target = scratch.disk("target", LENGTH)
    fleecing.server.add_raw(target)
    qmp = fleecing.server.qmp
    guest = Guest(fleecing.server, fleecing.guest, 3, 100)
    guest.feed()
    qmp.command("blockdev-backup", job_id="j", device="view", target="target", sync="full")
    qmp.wait_job("j", "null")
    guest.finish()
    (done,) = qmp.seen("BLOCK_JOB_COMPLETED", device="j")
    assert "error" not in done.data
    assert_same(target.path, fleecing.reference.path)
    qmp.command("blockdev-del", node_name="target")
    fleecing.end()


@pytest.mark.qmpd_only("QEMU 7.2 has no discard-source")
def test_a_backup_that_gives_back_what_it_has_copied(fleecing: Fleecing, scratch: Scratch) -> None:
    """With discard-source the temporary image never holds more than is still to be copied."""
    fleecing.begin()
    target = scratch.disk("target", LENGTH)
    fleecing.server.add_raw(target)
    qmp = fleecing.server.qmp
    qemu_io(fleecing.guest, "write -P 1 1M 1M")
    assert data_clusters(fleecing.temporary) == set(range(16, 32))
    members = {"job-id": "j", "device": "view", "target": "target", "sync": "full", "discard-source": True}
    qmp.command("blockdev-backup", members)
    qmp.wait_job("j", "null")
    (done,) = qmp.seen("BLOCK_JOB_COMPLETED", device="j")
    assert "error" not in done.data
    assert_same(target.path, fleecing.reference.path)
    assert not data_clusters(fleecing.temporary)
    qemu_io(fleecing.guest, "write -P 2 2M 1M")
    assert not data_clusters(fleecing.temporary)
    qmp.command("blockdev-del", node_name="target")
    fleecing.end()


def test_only_what_has_changed(fleecing: Fleecing, scratch: Scratch) -> None:
    """With a bitmap only its clusters are saved, and only these can be read; the client is told which."""
    server, qmp = fleecing.server, fleecing.server.qmp
    qmp.command("block-dirty-bitmap-add", node="disk", name="b", granularity=CLUSTER)
    uri = server.export("disk")
    qemu_io(uri, "write -P 1 3M 1k", "write -P 2 100k 64k", "write -P 3 1M 128k")
    qmp.command("block-export-del", id="export-disk")
    qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
    qmp.command("block-dirty-bitmap-disable", node="disk", name="b")
    fleecing.begin(bitmap={"node": "disk", "name": "b"})
    view = fleecing.export_view(bitmaps=[{"node": "disk", "name": "b"}])
    qemu_io(fleecing.guest, "write -P 0x77 0 4M")
    dirty = {1, 2, 16, 17, 48}
    told = set()
    for offset, length, kind in extents(view, "qemu:dirty-bitmap:b"):
        if kind & 1:
            told |= set(range(offset // CLUSTER, (offset + length) // CLUSTER))
    assert told == dirty
    assert data_clusters(fleecing.temporary) == dirty
    for cluster in dirty:
        expected = fleecing.reference.read(cluster * CLUSTER, CLUSTER)
        assert view_read(view, scratch, cluster * CLUSTER) == expected
    for cluster in (0, 3, 15, 18, 47, 49):
        output = run("qemu-io", "-r", "-f", "raw", "-c", f"read {cluster * 64}k 512", view, ok=(0, 1))
        assert "failed" in output, output
    fleecing.end()


def view_read(uri: str, scratch: Scratch, offset: int) -> bytes:
    """One cluster of an export, read by qemu-img."""
    out = scratch / "cluster.img"
    out.unlink(missing_ok=True)
    window = f"driver=raw,offset={offset},size={CLUSTER},file.driver=nbd,file.server.type=unix"
    export, _, path = uri.removeprefix("nbd+unix:///").partition("?socket=")
    options = f"{window},file.server.path={path},file.export={export}"
    # Block status of the whole export would meet what cannot be read.
    run("qemu-img", "dd", "--image-opts", f"if={options}", f"of={out}", f"bs={CLUSTER}", "count=1", "-O", "raw")
    return out.read_bytes()


def test_a_backup_of_what_has_changed(fleecing: Fleecing, scratch: Scratch) -> None:
    """A bitmap on the view, merged from the disk's, lets an incremental backup take just what can be read."""
    server, qmp = fleecing.server, fleecing.server.qmp
    target = scratch.copy(fleecing.disk, "target")
    qmp.command("block-dirty-bitmap-add", node="disk", name="b")
    uri = server.export("disk")
    qemu_io(uri, "write -P 1 3M 1k", "write -P 2 100k 64k")
    qmp.command("block-export-del", id="export-disk")
    qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
    fleecing.begin(bitmap={"node": "disk", "name": "b"})
    qmp.command("block-dirty-bitmap-add", node="view", name="v", disabled=True)
    bitmaps = [{"node": "disk", "name": "b"}]
    qmp.command("block-dirty-bitmap-merge", node="view", target="v", bitmaps=bitmaps)
    server.add_raw(target)
    qemu_io(fleecing.guest, "write -P 0x77 0 2M")
    members = {"job-id": "j", "device": "view", "target": "target", "sync": "bitmap", "bitmap": "v"}
    qmp.command("blockdev-backup", members, bitmap_mode="never")
    qmp.wait_job("j", "null")
    (done,) = qmp.seen("BLOCK_JOB_COMPLETED", device="j")
    assert "error" not in done.data, done
    assert_same(target.path, fleecing.reference.path)
    qmp.command("blockdev-del", node_name="target")
    fleecing.end()


def test_giving_back_what_has_been_read(fleecing: Fleecing, scratch: Scratch) -> None:
    """A discard releases whole clusters of the temporary image, and stops saving them."""
    fleecing.begin()
    view = fleecing.export_view(writable=True)
    qemu_io(fleecing.guest, "write -P 0x77 0 256k")
    assert data_clusters(fleecing.temporary) == {0, 1, 2, 3}
    qemu_io(view, "discard 64k 448k", "read 0 64k", "read 512k 512k", options=["-n"])
    assert data_clusters(fleecing.temporary) == {0}
    qemu_io(fleecing.guest, "write -P 0x78 256k 512k")
    assert data_clusters(fleecing.temporary) == {0, *range(8, 12)}
    for place in ("64k", "192k", "448k"):
        qemu_io_fails(view, f"read {place} 64k")
    for cluster in (0, 8, 11, 12, 63):
        assert view_read(view, scratch, cluster * CLUSTER) == fleecing.reference.read(cluster * CLUSTER, CLUSTER)
    fleecing.end()


def test_the_view_cannot_be_written(fleecing: Fleecing) -> None:
    fleecing.begin()
    view = fleecing.export_view(writable=True)
    for command in ("write 0 64k", "write -z 0 64k", "write -z -u 0 64k"):
        qemu_io_fails(view, command)
    fleecing.assert_frozen()
    fleecing.end()


@pytest.mark.parametrize("policy", ["break-guest-write", "break-snapshot"])
def test_when_old_contents_cannot_be_saved(fleecing: Fleecing, policy: str) -> None:
    fleecing.begin("far", on_cbw_error=policy)
    view = fleecing.export_view()
    qemu_io(fleecing.guest, "write -P 1 0 64k")
    with fleecing.server.file_size_limit(FAR):
        if policy == "break-guest-write":
            qemu_io_fails(fleecing.guest, "write -P 2 1M 64k")
        else:
            qemu_io(fleecing.guest, "write -P 2 1M 64k")
    if policy == "break-guest-write":
        qemu_io(fleecing.guest, "write -P 3 2M 64k", "write -P 3 1M 64k")
        fleecing.assert_frozen()
    else:
        qemu_io(fleecing.guest, "read -P 2 1M 64k", "write -P 3 2M 64k")
        for place in ("0", "1M", "3M"):
            output = run("qemu-io", "-r", "-f", "raw", "-c", f"read {place} 512", view, ok=(0, 1))
            assert "failed" in output, output
    fleecing.end()


@pytest.mark.parametrize("policy", ["break-guest-write", "break-snapshot"])
def test_when_saving_takes_too_long(fleecing: Fleecing, policy: str) -> None:
    """The temporary image takes one write, and the next one in some hours."""
    qmp = fleecing.server.qmp
    qmp.command("object-add", qom_type="throttle-group", id="g", limits={"bps-write": 1})
    fleecing.add_temporary("raw")
    qmp.command("blockdev-add", driver="throttle", node_name="slow", throttle_group="g", file="tmp")
    fleecing.begin("slow", on_cbw_error=policy, cbw_timeout=1)
    view = fleecing.export_view()
    qemu_io(fleecing.guest, "write -P 1 0 64k")
    if policy == "break-guest-write":
        qemu_io_fails(fleecing.guest, "write -P 2 1M 64k")
        assert fleecing.disk.read(MIB, CLUSTER) == fleecing.reference.read(MIB, CLUSTER)
        fleecing.assert_frozen()
    else:
        qemu_io(fleecing.guest, "write -P 2 1M 64k", "write -P 3 2M 64k")
        output = run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", view, ok=(0, 1))
        assert "failed" in output, output
    if fleecing.server.kind == "qsd":
        # Nothing else ends a copy that is late.
        qmp.command("qom-set", path="g", property="limits", value={"bps-write": 0})
        fleecing.server.transaction()
    for export in qmp.command("query-block-exports"):
        qmp.command("block-export-del", id=export["id"])
        qmp.wait_event("BLOCK_EXPORT_DELETED", id=export["id"])
    for node in ("view", "cbw", "slow", "tmp", "disk"):
        qmp.command("blockdev-del", node_name=node)
    assert fleecing.server.node_names() == set()


def test_the_filter_may_be_made_under_a_running_guest(fleecing: Fleecing) -> None:
    """It asks for nothing as long as nobody uses it; then nobody else may write to the disk."""
    server, qmp = fleecing.server, fleecing.server.qmp
    fleecing.add_temporary("raw")
    uri = server.export("disk")
    qmp.command("blockdev-add", driver="copy-before-write", node_name="cbw", file="disk", target="tmp")
    qemu_io(uri, "write -P 1 0 64k")
    qmp.refused("blockdev-add", driver="snapshot-access", node_name="view", file="cbw")
    qmp.refused("block-export-add", type="nbd", id="e", node_name="cbw", writable=True)
    qmp.command("blockdev-del", node_name="cbw")
    qmp.command("blockdev-del", node_name="tmp")
    qemu_io(uri, "read -P 1 0 64k")


def test_under_a_running_guest(server: Server, scratch: Scratch) -> None:
    """The whole workflow: the filter goes in and out by blockdev-reopen, and the guest's connection stays."""
    qmp = server.qmp
    disk = scratch.full_disk("disk", LENGTH, seed=1)
    qmp.command("blockdev-add", driver="file", node_name="file", filename=str(disk.path))
    qmp.command("blockdev-add", driver="raw", node_name="disk", file="file")
    guest = subprocess.Popen(
        ["qemu-io", "-f", "raw", server.export("disk")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def write(value: int, place: str) -> None:
        assert guest.stdin is not None and guest.stdout is not None
        guest.stdin.write(f"write -P {value} {place} 128k\n")
        guest.stdin.flush()
        while "128 KiB" not in (line := guest.stdout.readline()):
            assert line and "failed" not in line, line

    write(1, "0")
    for number in range(2):
        temporary = scratch.disk(f"tmp{number}", LENGTH)
        server.add_raw(temporary, "tmp")
        qmp.command("blockdev-add", driver="copy-before-write", node_name="cbw", file="file", target="tmp")
        write(2 + number, "1M")
        qmp.command("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk", "file": "cbw"}])
        reference = scratch.copy(disk, "reference")
        qmp.command("blockdev-add", driver="snapshot-access", node_name="view", file="cbw")
        view = server.export("view", writable=False)
        write(4 + number, "1M")
        write(6 + number, "2M")
        run("nbdcopy", f"--request-size={CLUSTER}", view, scratch / "copy.img")
        assert_same(scratch / "copy.img", reference.path)
        assert data_clusters(temporary.path) == {16, 17, 32, 33}
        qmp.command("block-export-del", id="export-view")
        qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-view")
        qmp.command("blockdev-del", node_name="view")
        qmp.command("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk", "file": "file"}])
        for node in ("cbw", "tmp"):
            qmp.command("blockdev-del", node_name=node)
        write(8, "3M")
    output, _ = guest.communicate("quit\n", timeout=60)
    assert guest.returncode == 0, output
    assert disk.read(2 * MIB, 128 * KIB) == b"\x07" * 128 * KIB


def test_in_use(fleecing: Fleecing) -> None:
    fleecing.begin()
    qmp = fleecing.server.qmp
    for node in ("cbw", "tmp", "disk"):
        qmp.refused("blockdev-del", node_name=node)
    for node in ("cbw", "tmp", "disk"):
        qmp.refused("block_resize", node_name=node, size=2 * LENGTH)
    fleecing.end()


def test_options_that_cannot_be(fleecing: Fleecing) -> None:
    qmp = fleecing.server.qmp
    fleecing.add_temporary("raw")
    fleecing.server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
    base = {"driver": "copy-before-write", "node-name": "cbw", "file": "disk", "target": "tmp"}
    for wrong in (
        {"target": "nobody"},
        {"on-cbw-error": "nonsense"},
        {"cbw-timeout": -1},
        {"cbw-timeout": 1 << 32},
        {"bitmap": "b"},
        {"bitmap": {"node": "disk", "name": "nobody"}},
        {"bitmap": {"node": "nobody", "name": "b"}},
    ):
        qmp.refused("blockdev-add", {**base, **wrong})
    qmp.command("blockdev-add", base, cbw_timeout=10, on_cbw_error="break-snapshot")
