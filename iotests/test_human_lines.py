"""Lines of the monitor for people, held against QEMU's."""

import re
import socket
from pathlib import Path

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.human import answer, launch_monitor, qemu_io_answer
from iotests.harness.images import MIB
from iotests.harness.servers import free_port
from iotests.harness.tools import assert_same, nbdinfo, qemu_io

_NAMES = re.compile(r"#block\d+")
_CHANGING = re.compile(r"(disk size|virtual size: 19\d KiB|virtual size: 25\d KiB|virtual size: 32\d KiB).*")
_PROGRESS = re.compile(r"Completed \d+ of \d+ bytes")
_CLOCK = re.compile(r"(\d+ B) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d\d:\d\d:\d\d\.\d{3}")


def form(text: str) -> str:
    """A text without names that servers make up, times, and numbers that depend on how images are written."""
    text = _PROGRESS.sub("Completed", _NAMES.sub("#block", text))
    return _CLOCK.sub(r"\1 TIME", _CHANGING.sub(r"\1", text))


def no_success(text: str) -> bool:
    """Whether a line that does something has told of a failure: when all goes well it has nothing to say."""
    return bool(text) and not text.startswith("OK")


class Pair:
    """qmpd and QEMU, with the same drives on equal images."""

    def __init__(self, launch: Launcher, scratch: Scratch) -> None:
        self.servers: list[Server] = []
        for kind in ("qmpd", "qemu"):
            (scratch / kind).mkdir()
            disks = Scratch(scratch / kind)
            base = disks.made_by_qemu_img("base", 4 * MIB, "qcow2")
            qemu_io(base.path, "write -P 9 0 100k", image_format="qcow2")
            top = disks.made_by_qemu_img("top", 4 * MIB, "qcow2", "-b", "base.img", "-F", "qcow2")
            raw = disks.disk("raw", MIB, seed=1)
            server = launch_monitor(launch, kind=kind)
            self.servers.append(server)
            for line in (
                f"drive_add 0 if=none,id=d0,file={top.path},format=qcow2",
                f"drive_add 0 if=none,id=d1,file={raw.path},format=raw,readonly=on,cache=none",
                "drive_add 0 if=none,id=cd,media=cdrom",
            ):
                assert answer(server, line) == "OK\n", line
            node = {"driver": "qcow2", "node-name": "n0", "detect-zeroes": "on"}
            image = disks.made_by_qemu_img("node", MIB, "qcow2")
            server.qmp.command("blockdev-add", {**node, "file": {"driver": "file", "filename": str(image.path)}})
        self.scratch = scratch

    def same(self, line: str) -> str:
        """Run a line on both, whose answers must not differ; {dir} is the directory of each."""
        ours, theirs = self.answers(line)
        assert ours == theirs, line
        return ours

    def answers(self, line: str) -> list[str]:
        """What both answer."""
        found = []
        for server in self.servers:
            directory = str(self.scratch / server.kind)
            text = answer(server, line.replace("{dir}", directory)).replace(directory, "DIR")
            found.append(form("".join(part for part in text.splitlines(True) if not part.startswith("Formatting"))))
        return found


@pytest.mark.qmpd_only("side by side with QEMU")
class TestSideBySide:
    @pytest.fixture
    def pair(self, launch: Launcher, scratch: Scratch) -> Pair:
        return Pair(launch, scratch)

    def test_drives_and_nodes(self, pair: Pair) -> None:
        for line in (
            "info block",
            "info block -v",
            "info block d0",
            "info block -v d1",
            "info block cd",
            "info block n0",
            "info block -v n0",
            'info block "d0"',
            "info block nonsense",
            "  info   block   d0  ",
        ):
            pair.same(line)
        pair.same("block_set_io_throttle d0 1048576 0 0 0 100 200")
        assert "bps=1048576" in pair.same("info block d0")
        pair.same("block_set_io_throttle d0 0 0 0 0 0 0")
        assert "throttling" not in pair.same("info block d0")

    def test_questions(self, pair: Pair) -> None:
        for line in ("block-jobs", "name", "status", "uuid", "kvm", "cpus", "mice", "network", "pci", "tpm"):
            pair.same(f"info {line}")
        assert pair.same("info memory_size_summary") and pair.same("") == ""
        assert all(map(no_success, pair.answers("info balloon")))
        assert pair.same("object_add iothread,id=io0") == ""
        ours, theirs = (re.sub(r"thread_id=\d+", "thread_id", text) for text in pair.answers("info iothreads"))
        assert ours == theirs
        ours, theirs = pair.answers("info blockstats")
        assert [text.split("=")[0] for text in ours.split()] == [text.split("=")[0] for text in theirs.split()]
        assert pair.same("stop") == ""
        assert pair.same("info status") == "VM status: paused\n"
        assert pair.same("cont") == pair.same("system_reset") == ""

    def test_snapshots_inside_images(self, pair: Pair) -> None:
        assert "no snapshot" in pair.same("info snapshots")
        for line in (
            "snapshot_blkdev_internal d0 one",
            "snapshot_blkdev_internal d0 two",
            "snapshot_blkdev_internal n0 two",
            "info snapshots",
            "info block -v d0",
            "snapshot_delete_blkdev_internal d0 one",
            "info snapshots",
            "snapshot_delete_blkdev_internal d0 two 2",
            "delvm two",
            "delvm nonsense",
            "info snapshots",
        ):
            pair.same(line)

    def test_overlays_and_streams(self, pair: Pair) -> None:
        for server in pair.servers:
            assert qemu_io_answer(server, "d0", "write -P 5 0 64k").startswith("wrote")
        assert pair.same("snapshot_blkdev d0 {dir}/overlay.qcow2") == ""
        assert "overlay.qcow2" in pair.same("info block -v d0")
        assert pair.same("block_stream d0 10M") == ""
        for server in pair.servers:
            server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
        assert "Backing" not in pair.same("info block d0")
        for server in pair.servers:
            assert qemu_io_answer(server, "d0", "read -P 5 0 64k").startswith("read")

    def test_media(self, pair: Pair) -> None:
        for line in (
            "change cd {dir}/raw.img raw",
            "info block cd",
            "change cd {dir}/raw.img raw read-only",
            "info block cd",
            "eject cd",
            "info block cd",
            "eject -f d1",
            "info block",
            "drive_del cd",
            "drive_del n0",
            "info block",
            "info block n0",
        ):
            pair.same(line)

    def test_jobs(self, pair: Pair) -> None:
        assert pair.same("drive_mirror -f d0 {dir}/mirror.img raw") == ""
        for server in pair.servers:
            server.qmp.wait_event("BLOCK_JOB_READY", device="d0")
        assert "Type mirror, device d0" in pair.same("info block-jobs")
        for line in ("block_job_set_speed d0 1M", "info block-jobs", "block_job_pause d0", "block_job_resume d0"):
            pair.same(line)
        assert pair.same("block_job_complete d0") == ""
        for server in pair.servers:
            server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
        assert "mirror.img (raw)" in pair.same("info block d0")
        assert pair.same("drive_mirror -f d0 {dir}/again.img raw") == ""
        assert pair.same("block_job_cancel -f d0") == ""
        for server in pair.servers:
            server.qmp.wait_event("BLOCK_JOB_CANCELLED", device="d0")
        assert pair.same("drive_backup -f d0 {dir}/backup.qcow2 qcow2") == ""
        for server in pair.servers:
            server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="d0")
            mirror, backup = (pair.scratch / server.kind / name for name in ("mirror.img", "backup.qcow2"))
            assert_same(mirror, backup, other_format="qcow2")
        assert all(map(no_success, pair.answers("drive_backup -n -f d0 {dir}/raw.img raw")))

    def test_objects(self, pair: Pair) -> None:
        for line in (
            "object_add secret,id=s,data=x",
            "object_add qom-type=throttle-group,id=g,x-iops-total=100",
            "qom-get /objects/s format",
            'qom-set -j /objects/g limits {"iops-total": 50, "iops-total-max": 0}',
            "object_del s",
            "object_del g",
            "qom-list",
        ):
            pair.same(line)

    def test_what_goes_wrong(self, pair: Pair) -> None:
        for line in (
            "nonsense",
            "info nonsense",
            "INFO block",
            "infoblock",
            "help nonsense",
            "help info nonsense",
            "info block -x",
            "info block d0 d1",
            "info version x",
            'info block "d0',
            'info block "d\\0"',
            "block_resize",
            "block_resize d0",
            "block_resize d0 x",
            "block_resize d0 1 2",
            "block_resize d1 2M",
            "block_resize nonsense 1M",
            "block_stream nonsense",
            "block_job_cancel d0",
            "block_job_cancel -x d0",
            "block_job_complete d0",
            "block_job_pause d0",
            "block_job_resume d0",
            "block_job_set_speed d0 1M",
            "block_job_set_speed d0 x",
            "block_job_set_speed d0",
            "eject nonsense",
            "change cd",
            "change cd /nonexistent/image raw",
            "change d0 {dir}/raw.img raw nonsense",
            "drive_add",
            "drive_add 0",
            "drive_add 0 if=virtio,id=x",
            "drive_add 0 if=none,id=d0",
            "drive_add 0 if=none,id=x,file=/nonexistent/image",
            "drive_add 0 if=none,id=x,nonsense=5,file={dir}/raw.img,format=raw",
            "drive_add -n 0 driver=null-co",
            "drive_add -n 0 driver=nonsense,node-name=x",
            "drive_del nonsense",
            "drive_backup d0",
            "drive_backup nonsense {dir}/x",
            "drive_backup d0 /nonexistent/directory/x",
            "drive_mirror -n d0 {dir}/nonexistent",
            "snapshot_blkdev d0",
            "snapshot_blkdev nonsense {dir}/x",
            "snapshot_blkdev -n d0 {dir}/nonexistent",
            "snapshot_blkdev_internal d0",
            "snapshot_blkdev_internal d1 x",
            "snapshot_delete_blkdev_internal d0 nonsense",
            "nbd_server_start",
            "nbd_server_start nonsense",
            "nbd_server_start -w unix:{dir}/x.sock",
            "nbd_server_add d0",
            "nbd_server_remove d0",
            "nbd_server_stop",
            "block_set_io_throttle d0",
            "block_set_io_throttle d0 1 2 3 4 5",
            "block_set_io_throttle d0 x 0 0 0 0 0",
            "block_set_io_throttle d0 -1 0 0 0 0 0",
            "block_set_io_throttle d0 1 1 0 0 0 0",
            "block_set_io_throttle nonsense 1 0 0 0 0 0",
            "object_add",
            "object_add nonsense,id=x",
            "object_add secret,id=x",
            "object_del nonsense",
            "device_add nonsense",
            "device_del nonsense",
            "qom-get /objects/x y",
            "qom-set -j / x {",
            "quit x",
            "qemu-io -d nonsense length",
        ):
            ours, theirs = pair.answers(line)
            assert no_success(ours), line
            assert no_success(theirs), line


@pytest.mark.peer("qemu")
class TestBothServers:
    def test_exports(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch_monitor(launch)
        image = scratch.made_by_qemu_img("q", MIB, "qcow2")
        assert answer(server, f"drive_add 0 if=none,id=d0,file={image.path},format=qcow2") == "OK\n"
        assert answer(server, "drive_add 0 if=none,id=empty,media=cdrom") == "OK\n"
        assert answer(server, f"nbd_server_start -a -w unix:{server.nbd_path}") == ""
        qemu_io(server.nbd_uri("d0"), "write -P 5 0 64k")
        assert answer(server, "nbd_server_add d0 again") == ""
        names = [found["export-name"] for found in nbdinfo(server.nbd_uri(""), "--list")["exports"]]
        assert sorted(names) == ["again", "d0"]
        qemu_io(server.nbd_uri("again"), "read -P 5 0 64k", options=["-r"])
        assert answer(server, "nbd_server_remove again") == ""
        assert answer(server, "nbd_server_remove -f d0") == ""
        assert answer(server, "nbd_server_stop") == ""
        port = free_port()
        assert answer(server, f"nbd_server_start 127.0.0.1:{port}") == ""
        socket.create_connection(("127.0.0.1", port)).close()
        assert no_success(answer(server, f"nbd_server_start unix:{server.nbd_path}"))

    def test_devices(self, launch: Launcher, scratch: Scratch) -> None:
        """A drive added later and one in use; qemu-io on an empty one."""
        server = launch_monitor(launch)
        disk = scratch.disk("d", MIB)
        assert answer(server, f"drive_add 0 if=none,id=d0,file={disk.path},format=raw") == "OK\n"
        assert answer(server, "drive_add 0 if=none,id=cd,media=cdrom") == "OK\n"
        assert "No medium" in qemu_io_answer(server, "cd", "read 0 512")
        assert answer(server, 'qemu-io cd "length"')
        answer(server, 'qemu-io d0 "aio_write -P 3 0 64k"')
        answer(server, 'qemu-io d0 "aio_flush"')
        answer(server, 'qemu-io d0 "aio_read -i 0 512"')
        answer(server, 'qemu-io d0 "read 0 512"')
        (stats,) = (found["stats"] for found in server.qmp.command("query-blockstats") if found["device"] == "d0")
        assert (stats["wr_operations"], stats["wr_bytes"], stats["rd_operations"]) == (1, 65536, 0)
        assert stats["invalid_rd_operations"] == 1
        assert answer(server, "drive_del d0") == ""
        assert no_success(answer(server, "drive_del d0"))
        assert answer(server, f"drive_add -n 0 driver=raw,node-name=n,file.driver=file,file.filename={disk.path}") == ""
        assert qemu_io_answer(server, "n", "read -P 3 0 64k").startswith("read")
        assert answer(server, "drive_del n") == ""

    def test_character_devices(self, launch: Launcher) -> None:
        server = launch_monitor(launch)
        server.qmp.command("chardev-add", id="c1", backend={"type": "null", "data": {}})
        assert "c1: filename=null" in answer(server, "info chardev").splitlines()
        assert answer(server, "chardev-send-break c1") == ""
        assert answer(server, "chardev-remove c1") == ""
        assert "c1" not in answer(server, "info chardev")
        for line in ("chardev-remove c1", "chardev-send-break c1", "chardev-remove"):
            assert no_success(answer(server, line))

    def test_help(self, launch: Launcher) -> None:
        server = launch_monitor(launch)
        for line in ("help", "?"):
            lines = answer(server, line).splitlines()
            assert any(text.startswith("qemu-io [-d] ") and " -- " in text for text in lines)
        for line in ("info", "help info"):
            assert any(text.startswith("info block ") for text in answer(server, line).splitlines())
        for name in ("help info block", "help eject", "help q"):
            assert " -- " in answer(server, name)

    def test_the_end(self, launch: Launcher) -> None:
        server = launch_monitor(launch)
        assert answer(server, "quit") == ""
        assert server.wait_exit() == 0


@pytest.mark.qmpd_only("QEMU has a machine")
class TestWithoutMachine:
    def test_the_state_of_a_machine(self, server: Server) -> None:
        for line in ("savevm", "savevm x", "loadvm x"):
            assert "no machine" in answer(server, line)

    def test_devices_by_their_ids(self, launch: Launcher, scratch: Scratch) -> None:
        disk: Path = scratch.disk("d", MIB).path
        server = launch("--drive", f"if=none,id=d0,file={disk},format=raw")
        assert answer(server, "device_add virtio-blk,drive=d0,id=v0") == ""
        assert qemu_io_answer(server, "v0", "length") != "1 MiB\n"
        assert answer(server, 'qemu-io -d v0 "length"') == "1 MiB\n"
        assert answer(server, 'qemu-io -d v0 "aio_write -C 0 64k"') == ""
        assert qemu_io_answer(server, "d0", "aio_flush") == "65536,1\n"
        assert "Attached to:      /machine/peripheral/v0" in answer(server, "info block d0")
        assert "in use" in answer(server, "drive_del d0")
        assert answer(server, "device_del v0") == ""
        server.qmp.wait_event("DEVICE_DELETED", device="v0")
        assert no_success(answer(server, "drive_del d0"))
