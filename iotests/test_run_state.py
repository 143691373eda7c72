"""Stopping guests and letting them go on, and errors that stop them.

What queries and events say is held against a QEMU whose PC is not started. Guests are clients of exports here, which
QEMU knows nothing like.
"""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.images import MIB
from iotests.harness.nbd import RawNbd

pytestmark = pytest.mark.peer("pc")

RUNNING = {"status": "running", "running": True, "singlestep": False}
GUESTS = pytest.mark.qmpd_only("a guest of QEMU's does not come in by an export")


def test_stop_and_cont(launch: Launcher) -> None:
    server = launch()
    server.qmp.command("cont")
    assert server.qmp.command("query-status") == RUNNING
    server.qmp.forget_events()
    server.qmp.command("cont")
    server.qmp.command("stop")
    assert not server.qmp.seen("RESUME")
    assert server.qmp.wait_event("STOP").data == {}
    assert server.qmp.command("query-status") == {"status": "paused", "running": False, "singlestep": False}
    server.qmp.command("stop")
    server.qmp.command("cont")
    assert server.qmp.wait_event("RESUME").data == {}
    assert len(server.qmp.seen("STOP")) == 1
    assert server.qmp.command("query-status") == RUNNING


def test_what_only_a_machine_can_do(launch: Launcher) -> None:
    server = launch()
    server.qmp.command("system_reset")
    assert server.qmp.wait_event("RESET").data == {"guest": False, "reason": "host-qmp-system-reset"}
    server.qmp.command("system_powerdown")
    assert server.qmp.wait_event("POWERDOWN").data == {}
    server.qmp.refused("system_wakeup")


class Guest:
    """A device with a node in it, and a client of its export."""

    def __init__(self, server: Server, node: str = "disk", **options: Any) -> None:
        server.qmp.command("device_add", driver="scsi-hd", id="hd" if node == "disk" else node, drive=node, **options)
        server.export(node)
        self.client = RawNbd.attached(server.nbd_path, node)

    def begin_write(self, value: bytes) -> int:
        """Send a write; gives what tells its reply."""
        return self.client.send_request(nbd.WRITE, 0, 4096, data=value * 4096)


@GUESTS
class TestStopped:
    """What a guest may do while it is stopped."""

    def test_writes_wait(self, launch: Launcher, scratch: Scratch) -> None:
        disk = scratch.disk("disk", MIB)
        server = launch("--device", "virtio-scsi-pci")
        server.add_raw(disk)
        guest = Guest(server)
        server.qmp.command("stop")
        before = disk.read(0, 4096)
        waiting = guest.begin_write(b"w")
        assert guest.client.read(0, 4096) == before
        # The disk stands still, and jobs do what they like.
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        server.qmp.command("cont")
        assert guest.client.reply() == (waiting, nbd.Reply(0))
        assert disk.read(0, 4096) == b"w" * 4096
        assert server.bitmaps("disk")["b"]["count"] == 65536
        guest.client.close()

    def test_without_a_device_nobody_waits(self, launch: Launcher, scratch: Scratch) -> None:
        disk = scratch.disk("disk", MIB)
        server = launch()
        server.add_raw(disk)
        server.export("disk")
        server.qmp.command("stop")
        with RawNbd.attached(server.nbd_path, "disk") as client:
            assert client.request(nbd.WRITE, 0, 4096, data=b"w" * 4096).error == 0

    @pytest.mark.parametrize("end", ["device", "export", "server", "quit"])
    def test_nobody_waits_for_ever(self, launch: Launcher, scratch: Scratch, end: str) -> None:
        disk = scratch.disk("disk", MIB)
        server = launch("--device", "virtio-scsi-pci")
        server.add_raw(disk)
        guest = Guest(server)
        server.qmp.command("stop")
        before = disk.read(0, 4096)
        waiting = guest.begin_write(b"w")
        guest.client.read(0, 4096)
        if end == "device":
            server.qmp.command("device_del", id="hd")
            assert guest.client.reply() == (waiting, nbd.Reply(0))
            before = b"w" * 4096
        elif end == "export":
            server.qmp.command("block-export-del", id="export-disk", mode="hard")
            server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
        elif end == "server":
            server.qmp.command("nbd-server-stop")
        else:
            server.qmp.command("quit")
            server.wait_exit()
        assert disk.read(0, 4096) == before
        guest.client.close()


def failing(server: Server, iotype: str, errno: int, *, once: bool = True, node: str = "disk") -> None:
    """A node of 1 MiB on which requests of a kind fail, the first one or all."""
    rule = {"event": "none", "iotype": iotype, "errno": errno, "once": once}
    image = {"driver": "null-co", "size": MIB, "read-zeroes": True}
    server.qmp.command(
        "blockdev-add", {"driver": "blkdebug", "node-name": node, "image": image, "inject-error": [rule]}
    )


NOT_STOPPING: list[tuple[dict[str, str], str, int, str, int]] = [
    ({}, "write", nbd.EIO, "report", nbd.EIO),
    ({}, "read", nbd.EIO, "report", nbd.EIO),
    ({"werror": "report"}, "write", nbd.ENOSPC, "report", nbd.ENOSPC),
    ({"werror": "ignore"}, "write", nbd.EIO, "ignore", 0),
    ({"rerror": "ignore"}, "read", nbd.EIO, "ignore", 0),
]
"""Policies, the kind of request, how it fails, what is done, and what the client sees."""


@GUESTS
class TestErrors:
    """The policies werror and rerror."""

    @pytest.mark.parametrize(
        ("policy", "errno", "state"),
        [("stop", nbd.EIO, "failed"), ("stop", nbd.ENOSPC, "nospace"), ("enospc", nbd.ENOSPC, "nospace")],
    )
    def test_a_write_that_stops_guests(self, launch: Launcher, policy: str, errno: int, state: str) -> None:
        server = launch("--device", "virtio-scsi-pci")
        failing(server, "write", errno)
        guest = Guest(server, werror=policy)
        waiting = guest.begin_write(b"w")
        event = server.qmp.wait_event("BLOCK_IO_ERROR", node_name="disk").data
        assert (event["operation"], event["action"], event["device"]) == ("write", "stop", "")
        assert event["nospace"] is (errno == nbd.ENOSPC)
        server.qmp.wait_event("STOP")
        assert server.qmp.command("query-status")["status"] == "io-error"
        (entry,) = server.qmp.command("query-block")
        assert entry["io-status"] == state
        guest.client.read(0, 4096)
        server.qmp.command("cont")
        server.qmp.wait_event("RESUME")
        assert guest.client.reply() == (waiting, nbd.Reply(0))
        (entry,) = server.qmp.command("query-block")
        assert entry["io-status"] == "ok"
        guest.client.close()

    def test_a_read_that_stops_guests(self, launch: Launcher) -> None:
        server = launch("--device", "virtio-scsi-pci")
        failing(server, "read", nbd.EIO)
        guest = Guest(server, rerror="stop")
        waiting = guest.client.send_request(nbd.READ, 0, 4096)
        server.qmp.wait_event("BLOCK_IO_ERROR", node_name="disk", operation="read", action="stop")
        server.qmp.wait_event("STOP")
        server.qmp.command("cont")
        assert guest.client.reply(4096, 0) == (waiting, nbd.Reply(0, bytes(4096)))
        guest.client.close()

    def test_others_do_not(self, launch: Launcher) -> None:
        server = launch("--device", "virtio-scsi-pci")
        for number, (policies, iotype, errno, action, seen) in enumerate(NOT_STOPPING):
            node = f"n{number}"
            failing(server, iotype, errno, node=node)
            guest = Guest(server, node, **policies)
            command, data = (nbd.WRITE, b"w" * 4096) if iotype == "write" else (nbd.READ, b"")
            assert guest.client.request(command, 0, 4096, data=data).error == seen
            server.qmp.wait_event("BLOCK_IO_ERROR", node_name=node, operation=iotype, action=action)
            guest.client.close()
        assert server.qmp.command("query-status") == RUNNING

    def test_the_end_of_a_stopped_guest(self, launch: Launcher) -> None:
        """A request that waits to be tried again fails when its export goes."""
        server = launch("--device", "virtio-scsi-pci")
        failing(server, "write", nbd.ENOSPC, once=False)
        guest = Guest(server)
        guest.begin_write(b"w")
        server.qmp.wait_event("STOP")
        server.qmp.command("cont")
        # It fails again.
        server.qmp.wait_event("STOP")
        server.qmp.command("block-export-del", id="export-disk", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
        guest.client.close()
