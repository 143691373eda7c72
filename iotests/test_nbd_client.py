"""qmpd as an NBD client: disks on other servers, as disks, as targets, and as files of images."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.backups import await_first_chunk
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.remote import QemuNbd
from iotests.harness.servers import free_port
from iotests.harness.tools import assert_same, nbdinfo, qemu_img, qemu_io, qemu_io_fails, run

SIZE = 4 * MIB


KINDS = ("qemu-nbd", "qsd", "qmpd")


@contextmanager
def remote(launch: Launcher, scratch: Scratch, kind: str, disk: Disk) -> Iterator[dict[str, Any]]:
    """The options of a node on an export of `disk` by a server of that kind."""
    if kind == "qemu-nbd":
        with QemuNbd(scratch, disk, "--discard=unmap", "--detect-zeroes=off") as server:
            yield server.options()
        return
    peer = launch.peer(kind, name=f"other-{kind}")
    peer.add_raw(disk, "x", discard="unmap")
    peer.export("x")
    yield {"driver": "nbd", "server": {"type": "unix", "path": str(peer.nbd_path)}, "export": "x"}


def add(server: Server, options: dict[str, Any], node: str = "n", **more: Any) -> str:
    """blockdev-add of a node on a remote disk."""
    server.qmp.command("blockdev-add", {**options, "node-name": node}, **more)
    return node


def node(server: Server, name: str) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes."""
    nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes", flat=True)
    return next(entry for entry in nodes if entry["node-name"] == name)


class TestDisk:
    """A remote disk as a disk."""

    def test_contents(self, server: Server, launch: Launcher, scratch: Scratch) -> None:
        commands = ["write -P 1 1000 100000", "write -z 1M 512k", "write -z -u 2M 64k", "discard 3M 64k"]
        commands += ["write -P 7 0 4M", "aio_write -P 9 64k 64k", "aio_write -P 8 512k 2M", "aio_flush", "flush"]
        commands += ["write -f -P 6 100 100", "read -P 8 512k 2M"]
        for kind in KINDS:
            disk = scratch.disk(kind, SIZE, seed=1)
            copy = scratch.copy(disk, f"{kind}-copy")
            with remote(launch, scratch, kind, disk) as options:
                add(server, options, kind, discard="unmap")
                uri = server.export(kind)
                told = f"nbd+unix:///x?socket={options['server']['path']}"
                assert nbdinfo(uri, "--map") == nbdinfo(told, "--map")
                assert_same(uri, copy.path)
                qemu_io(uri, *commands)
                qemu_io(copy.path, *commands)
                assert_same(uri, copy.path)
                assert_same(disk.path, copy.path)

    def test_tcp(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=3)
        port = free_port()
        with QemuNbd(scratch, disk) as other:
            # The same image a second time, read-only, on TCP.
            argv = ["qemu-nbd", "-t", "-r", "-p", str(port), "-x", "y", "-f", "raw", str(disk.path), "--fork"]
            run(*argv, f"--pid-file={scratch / 'pid'}")
            try:
                options = {"driver": "nbd", "server": {"type": "inet", "host": "127.0.0.1", "port": str(port)}}
                add(server, {**options, "export": "y"}, read_only=True)
                assert node(server, "n")["file"] == f"nbd://127.0.0.1:{port}/y"
                assert_same(server.export("n", writable=False), other.uri)
            finally:
                run("kill", (scratch / "pid").read_text().strip())

    def test_read_only_export(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=3)
        with QemuNbd(scratch, disk, "-r") as other:
            server.qmp.refused("blockdev-add", other.options(**{"node-name": "n"}))
            add(server, other.options(), read_only=True)
            add(server, other.options(), "auto", auto_read_only=True)
            assert (node(server, "n")["ro"], node(server, "auto")["ro"]) == (True, True)
            server.qmp.refused("block-export-add", type="nbd", id="e", node_name="n", writable=True)

    def test_what_queries_show(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE)
        with QemuNbd(scratch, disk) as other:
            add(server, other.options())
            add(server, {"driver": "raw", "file": other.options()}, "r")
            add(server, {"driver": "raw", "size": MIB, "file": other.options()}, "window")
            entry = node(server, "n")
            assert entry["file"] == other.uri
            assert entry["image"] == {"filename": other.uri, "format": "nbd", "virtual-size": SIZE}
            assert node(server, "r")["file"] == other.uri
            below = {"driver": "nbd", "server.path": str(other.path), "server.type": "unix", "export": "x"}
            told = json.loads(node(server, "window")["file"].removeprefix("json:"))
            if "server" in told["file"]:
                told["file"].update({f"server.{key}": value for key, value in told["file"].pop("server").items()})
            assert told == {"driver": "raw", "size": MIB, "file": below}

    def test_resizing(self, server: Server, scratch: Scratch) -> None:
        """The size of an export is its server's business."""
        with QemuNbd(scratch, scratch.disk("disk", SIZE)) as other:
            add(server, other.options())
            server.qmp.refused("block_resize", node_name="n", size=2 * SIZE)
            server.qmp.command("block_resize", node_name="n", size=SIZE)

    def test_bitmap_of_the_server(self, launch: Launcher, scratch: Scratch) -> None:
        """What a metadata context other than the usual one says is shown as holes."""
        disk = scratch.made_by_qemu_img("disk", SIZE, "qcow2")
        qemu_img("bitmap", "--add", "-f", "qcow2", disk.path, "changed")
        qemu_io(disk.path, "write 1M 64k", image_format="qcow2")
        server = launch()
        context = "qemu:dirty-bitmap:changed"
        with QemuNbd(scratch, disk, "-r", "-B", "changed", image_format="qcow2") as other:
            server.qmp.refused(
                "blockdev-add", other.options(**{"node-name": "n", "x-dirty-bitmap": "nothing", "read-only": True})
            )
            add(server, other.options(**{"x-dirty-bitmap": context}), read_only=True)
            told = nbdinfo(server.export("n", writable=False), "--map")
            dirty = [(one["offset"], one["length"]) for one in told if one["type"] & 1]
            assert dirty == [(MIB, 64 * KIB)]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"export": "other"},
            {"tls-creds": "none"},
            {"server": {"type": "unix", "path": "/nowhere"}},
            {"server": {"type": "inet", "host": "127.0.0.1", "port": "1"}},
            {"server": {"type": "inet", "host": "127.0.0.1", "port": "99999"}},
            {"server": {"type": "fd", "str": "word"}},
            {"x-dirty-bitmap": "qemu:dirty-bitmap:none"},
            {"export": "x" * 5000},
        ],
    )
    def test_refused(self, server: Server, scratch: Scratch, wrong: dict[str, Any]) -> None:
        with QemuNbd(scratch, scratch.disk("disk", SIZE)) as other:
            server.qmp.refused("blockdev-add", other.options(**{"node-name": "n", **wrong}))
            assert server.node_names() == set()
            add(server, other.options())


class TestImages:
    """Images whose bytes are on another server."""

    def test_qcow2(self, server: Server, scratch: Scratch) -> None:
        """A qcow2 image in a remote file that is large enough for it."""
        store = scratch.disk("store", 2 * SIZE)
        image = scratch.made_by_qemu_img("image", SIZE, "qcow2")
        store.write(0, image.path.read_bytes())
        with QemuNbd(scratch, store) as other:
            add(server, {"driver": "qcow2", "file": other.options()}, "image")
            server.qmp.command("block-dirty-bitmap-add", node="image", name="b", persistent=True)
            uri = server.export("image")
            qemu_io(uri, "write -P 3 1M 1M", "read -P 3 1M 1M", "read -P 0 0 1M", "flush")
            server.terminate()
        qemu_io(store.path, "read -P 3 1M 1M", "read -P 0 2M 1M", image_format="qcow2")
        info = json.loads(qemu_img("info", "--output=json", "-f", "qcow2", store.path))
        assert [one["name"] for one in info["format-specific"]["data"]["bitmaps"]] == ["b"]

    @pytest.mark.parametrize("backing_format", ["raw", None])
    def test_backing_file(self, server: Server, scratch: Scratch, backing_format: str | None) -> None:
        """An image that names its backing file on another server."""
        base = scratch.disk("base", SIZE, seed=4)
        top = scratch / "top"
        with QemuNbd(scratch, base, "-r") as other:
            qemu_img("create", "-q", "-f", "qcow2", "-b", other.uri, "-F", "raw", top)
            if backing_format is None:
                top.write_bytes(top.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\x11\x22\x33\x44", 1))
            file = {"driver": "file", "filename": str(top)}
            add(server, {"driver": "qcow2", "file": file}, "top")
            assert node(server, "top")["backing_file"] == other.uri
            uri = server.export("top")
            assert_same(uri, base.path)
            qemu_io(uri, "write -P 5 64k 1000", "read -P 5 64k 1000")


class TestJobs:
    """Jobs whose source or target is on another server."""

    def test_backup(self, server: Server, launch: Launcher, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=5)
        server.add_raw(disk)
        for kind in KINDS:
            target = scratch.disk(kind, SIZE)
            with remote(launch, scratch, kind, target) as options:
                add(server, options, kind, discard="unmap")
                server.qmp.command("blockdev-backup", job_id=kind, device="disk", target=kind, sync="full")
                server.qmp.wait_job(kind, "null")
                assert_same(disk.path, target.path)

    @pytest.mark.qmpd_only("QEMU's backup writes zeroes where the source has holes")
    def test_holes_are_not_copied(self, server: Server, launch: Launcher, scratch: Scratch) -> None:
        """What is a hole there becomes one here: it is never read."""
        for kind in KINDS:
            disk = scratch.disk(kind, 64 * MIB, seed=6, pieces=4)
            target = scratch.disk(f"{kind}-target", 64 * MIB)
            server.add_raw(target, discard="unmap")
            with remote(launch, scratch, kind, disk) as options:
                add(server, options, kind)
                target_node = f"{kind}-target"
                server.qmp.command("blockdev-backup", job_id=kind, device=kind, target=target_node, sync="full")
                server.qmp.wait_job(kind, "null")
                assert_same(disk.path, target.path)
                assert target.allocated < 2 * MIB

    def test_mirror(self, server: Server, launch: Launcher, scratch: Scratch) -> None:
        for kind in KINDS:
            disk = scratch.disk(f"{kind}-disk", SIZE, seed=7)
            target = scratch.disk(kind, SIZE, seed=8)
            server.add_raw(disk)
            uri = server.export(disk.name)
            with remote(launch, scratch, kind, target) as options:
                add(server, options, kind)
                server.qmp.command("blockdev-mirror", job_id=kind, device=disk.name, target=kind, sync="full")
                server.qmp.wait_job(kind, "ready")
                qemu_io(uri, "write -P 3 1M 100k")
                server.qmp.command("job-complete", id=kind)
                server.qmp.wait_job(kind, "null")
                assert_same(disk.path, target.path)
                qemu_io(uri, "write -P 4 2M 100k", "flush", "read -P 4 2M 100k")
                assert_same(uri, target.path)
                # Its end would wait for a server that is gone otherwise.
                server.qmp.command("block-export-del", id=f"export-{disk.name}", mode="hard")
                server.qmp.wait_event("BLOCK_EXPORT_DELETED")

    def test_commit(self, server: Server, scratch: Scratch) -> None:
        base = scratch.disk("base", SIZE, seed=9)
        expected = scratch.copy(base, "expected")
        top = scratch.made_by_qemu_img("top", SIZE, "qcow2")
        with QemuNbd(scratch, base) as other:
            add(server, {"driver": "raw", "file": other.options()}, "base")
            file = {"driver": "file", "filename": str(top.path)}
            add(server, {"driver": "qcow2", "file": file, "backing": "base"}, "top")
            commands = ["write -P 1 100k 100k", "write -z 1M 1M"]
            qemu_io(server.export("top"), *commands)
            qemu_io(expected.path, *commands)
            server.qmp.command("block-commit", job_id="j", device="top")
            server.qmp.wait_job("j", "ready")
            server.qmp.command("job-complete", id="j")
            server.qmp.wait_job("j", "null")
            assert_same(base.path, expected.path)


class TestLostConnections:
    """What becomes of requests when the server goes away."""

    def test_requests_wait(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE)
        with QemuNbd(scratch, disk) as other:
            add(server, other.options(**{"reconnect-delay": 60}))
            uri = server.export("n")
            qemu_io(uri, "write -P 1 0 64k")
            other.kill()
            argv = ["qemu-io", "-f", "raw", "-c", "write -P 2 64k 64k", "-c", "read -P 1 0 64k", uri]
            with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
                other.start()
                output, _ = client.communicate(timeout=60)
            assert b"failed" not in output and client.returncode == 0, output
            qemu_io(uri, "read -P 2 64k 64k")
            server.terminate()

    def test_requests_fail(self, server: Server, scratch: Scratch) -> None:
        """Without a delay they fail at once, until there is a server again."""
        with QemuNbd(scratch, scratch.disk("disk", SIZE)) as other:
            add(server, other.options())
            uri = server.export("n")
            qemu_io(uri, "write -P 1 0 64k")
            other.kill()
            qemu_io_fails(uri, "write -P 2 64k 64k")
            other.start()
            argv = ["qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", uri]
            for _ in range(1000):  # the server asks again after a second or so, and tells nobody
                if "failed" not in run(*argv, ok=(0, 1)):
                    break
            qemu_io(uri, "read -P 1 0 64k")

    def test_a_job_goes_on(self, server: Server, scratch: Scratch) -> None:
        """A backup to a server that dies on the way, and comes back, is as good as any."""
        disk = scratch.full_disk("disk", 8 * MIB, seed=1)
        server.add_raw(disk)
        target = scratch.disk("target", 8 * MIB)
        with QemuNbd(scratch, target) as other:
            add(server, other.options(**{"reconnect-delay": 60}), "far")
            members = {"job-id": "j", "device": "disk", "target": "far", "sync": "full"}
            server.qmp.command("blockdev-backup", members, speed=MIB)
            await_first_chunk(server, "j")
            other.kill()
            server.qmp.command("block-job-set-speed", device="j", speed=0)
            other.start()
            server.qmp.wait_job("j", "null")
            server.terminate()
        assert_same(disk.path, target.path)

    @pytest.mark.qmpd_only("QEMU 7.2 waits as long as it waits for a connection, or for an answer")
    @pytest.mark.parametrize("silent", [False, True])
    @pytest.mark.parametrize("kind", ["backup", "mirror"])
    def test_a_job_is_cancelled(self, server: Server, scratch: Scratch, kind: str, *, silent: bool) -> None:
        """It does not wait for a server that may never come back or answer, and no more does a guest."""
        disk = scratch.full_disk("disk", 8 * MIB, seed=1)
        server.add_raw(disk)
        with QemuNbd(scratch, scratch.disk("target", 8 * MIB)) as other:
            add(server, other.options(**{"reconnect-delay": 3600}), "far")
            members = {"job-id": "j", "device": "disk", "target": "far", "sync": "full"}
            server.qmp.command(f"blockdev-{kind}", members, speed=MIB)
            await_first_chunk(server, "j")
            if silent:
                other.stop()
            else:
                other.kill()
            server.qmp.command("block-job-set-speed", device="j", speed=0)
            server.qmp.command("block-job-cancel", device="j", force=True)
            server.qmp.wait_job("j", "null")
            assert server.qmp.seen("BLOCK_JOB_CANCELLED", device="j")
            qemu_io(server.export("disk"), "write 0 64k")

    def test_on_the_command_line(self, launch: Launcher, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=1)
        with QemuNbd(scratch, disk) as other:
            server = launch("--blockdev", f"driver=nbd,node-name=n,server.type=unix,server.path={other.path},export=x")
            assert_same(server.export("n", writable=False), disk.path)

    def test_deleting_without_a_server(self, server: Server, scratch: Scratch) -> None:
        with QemuNbd(scratch, scratch.disk("disk", SIZE)) as other:
            add(server, other.options(**{"reconnect-delay": 1}))
            other.kill()
            server.qmp.command("blockdev-del", node_name="n")
            assert server.node_names() == set()

    def test_server_that_comes_later(self, server: Server, scratch: Scratch) -> None:
        with QemuNbd(scratch, scratch.disk("disk", SIZE, seed=1)) as other:
            other.kill()
            starter = threading.Timer(0.5, other.start)
            starter.start()
            add(server, other.options(**{"open-timeout": 60}))
            starter.join()
            assert node(server, "n")["image"]["virtual-size"] == SIZE


class TestNamedTargets:
    """Targets of drive-backup and drive-mirror, and overlays, by names that lead to other servers."""

    @pytest.mark.peer("qemu")
    def test_raw(self, server: Server, scratch: Scratch) -> None:
        """A place that is there is taken as it is; without `existing` its first sector is blanked."""
        disk = scratch.disk("disk", SIZE, seed=1)
        target = scratch.disk("target", SIZE, seed=2)
        server.add_raw(disk)
        with QemuNbd(scratch, target, "--shared=1") as other:
            for mode in ("absolute-paths", "existing"):
                members = {"job-id": "j", "device": "disk", "target": other.uri, "sync": "full", "format": "raw"}
                server.qmp.command("drive-backup", members, mode=mode)
                server.qmp.wait_job("j", "null")
                assert_same(disk.path, target.path)

    @pytest.mark.peer("qemu")
    def test_too_small(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=1)
        target = scratch.disk("target", SIZE // 2, seed=2)
        server.add_raw(disk)
        with QemuNbd(scratch, target) as other:
            for image_format in ("raw", "qcow2"):
                members = {"job-id": "j", "device": "disk", "target": other.uri, "sync": "full"}
                server.qmp.refused("drive-backup", members, format=image_format, mode="existing")
            server.qmp.refused("drive-backup", members, format="raw")
        assert server.node_names() == {"disk", *(name for name in server.node_names() if name.startswith("#"))}

    @pytest.mark.peer("qemu")
    def test_qcow2(self, server: Server, scratch: Scratch) -> None:
        """An image is made in a place full of something else."""
        disk = scratch.disk("disk", SIZE, seed=1)
        target = scratch.full_disk("target", 2 * SIZE, seed=2)
        server.add_raw(disk)
        with QemuNbd(scratch, target, "--shared=1") as other:
            members = {"job-id": "j", "device": "disk", "target": other.uri, "sync": "full", "format": "qcow2"}
            server.qmp.command("drive-backup", members)
            server.qmp.wait_job("j", "null")
            server.terminate()
        assert_same(disk.path, target.path, other_format="qcow2")

    @pytest.mark.peer("qemu")
    def test_mirror(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=1)
        target = scratch.disk("target", SIZE, seed=2)
        server.add_raw(disk)
        with QemuNbd(scratch, target, "--shared=1") as other:
            name = f"nbd:unix:{other.path}:exportname=x"
            members = {"job-id": "j", "device": "disk", "target": name, "sync": "full", "node-name": "far"}
            server.qmp.command("drive-mirror", members, mode="existing", format="raw")
            server.qmp.wait_job("j", "ready")
            assert node(server, "far")["file"] == other.uri
            server.qmp.command("block-job-complete", device="j")
            server.qmp.wait_job("j", "null")
            assert_same(disk.path, target.path)

    def test_overlay(self, server: Server, scratch: Scratch) -> None:
        disk = scratch.disk("disk", SIZE, seed=1)
        store = scratch.full_disk("store", 2 * SIZE, seed=2)
        server.add_raw(disk)
        with QemuNbd(scratch, store, "--shared=1") as other:
            members = {"node-name": "disk", "snapshot-file": other.uri, "snapshot-node-name": "top"}
            uri = server.export("disk")
            server.qmp.command("blockdev-snapshot-sync", members, format="qcow2")
            assert node(server, "top")["file"] == other.uri
            qemu_io(uri, "write -P 1 1M 64k", "read -P 1 1M 64k")
            server.terminate()
        info = json.loads(qemu_img("info", "--output=json", "-f", "qcow2", store.path))
        assert info["backing-filename"] == str(disk.path)
        qemu_io(store.path, "read -P 1 1M 64k", image_format="qcow2")

    @pytest.mark.peer("qemu")
    def test_names_of_no_use(self, server: Server, scratch: Scratch) -> None:
        server.add_raw(scratch.disk("disk", SIZE))
        for name in ("foo:x", "json:{bad", "nbd://", "blkdebug:x", "null-co://x"):
            for mode in ("existing", "absolute-paths"):
                members = {"job-id": "j", "device": "disk", "target": name, "sync": "full", "format": "raw"}
                server.qmp.refused("drive-backup", members, mode=mode)

    @pytest.mark.peer("qemu")
    def test_other_names(self, server: Server, scratch: Scratch) -> None:
        """`file:`, `json:` and `blkdebug:`, for targets."""
        disk = scratch.disk("disk", SIZE, seed=1)
        server.add_raw(disk)
        target = scratch.disk("target", SIZE)
        described = json.dumps({"driver": "raw", "file.filename": str(target.path)})
        names = [(f"file:{target.path}", "absolute-paths"), (f"blkdebug::{target.path}", "existing")]
        for name, mode in [*names, (f"json:{described}", "existing")]:
            members = {"job-id": "j", "device": "disk", "target": name, "sync": "full", "format": "raw"}
            server.qmp.command("drive-backup", members, mode=mode)
            server.qmp.wait_job("j", "null")
            assert_same(disk.path, target.path)
            target.path.write_bytes(bytes(SIZE))
