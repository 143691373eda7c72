"""Trays, media that come and go, and limits of drives. On qmpd and on a QEMU whose PC is not started."""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.images import MIB, Disk
from iotests.harness.nbd import RawNbd

pytestmark = pytest.mark.peer("pc")

DISK = ("--drive", "if=none,id=d,driver=null-co,size=1048576", "--device", "virtio-blk-pci,drive=d,id=blk")
PART = "/machine/peripheral/blk/virtio-backend"
NO_LIMITS = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}


@pytest.fixture
def iso(scratch: Scratch) -> Disk:
    return scratch.disk("iso", MIB)


def block(server: Server, device: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (entry for entry in server.qmp.command("query-block") if entry["device"] == device)
    return found


def with_cd(launch: Launcher, iso: Disk) -> Server:
    """A server with a CD in a tray, and nodes to put into it."""
    return launch(
        *("--drive", f"if=none,id=c,file={iso.path},format=raw,media=cdrom"),
        *("--device", "virtio-scsi-pci", "--device", "scsi-cd,drive=c,id=cd", "--device", "ide-cd,id=empty"),
        *("--blockdev", "driver=null-co,node-name=n,read-only=on", "--blockdev", "driver=null-co,node-name=m"),
        *DISK,
    )


def moved(server: Server, device: str, qdev: str, tray_open: bool) -> None:
    """The tray has moved, and has not done so before without being asked for it here."""
    event = server.qmp.wait_event("DEVICE_TRAY_MOVED")
    assert event.data == {"device": device, "id": qdev, "tray-open": tray_open}


class TestTrays:
    def test_eject(self, launch: Launcher, iso: Disk) -> None:
        server = with_cd(launch, iso)
        server.qmp.command("eject", id="cd")
        moved(server, "c", "cd", True)
        entry = block(server, "c")
        assert entry["tray_open"] is True and "inserted" not in entry
        server.qmp.command("eject", id="cd")
        server.qmp.command("blockdev-close-tray", device="c")
        moved(server, "c", "cd", False)
        assert not server.qmp.seen("DEVICE_TRAY_MOVED", id="empty")

    def test_one_step_after_the_other(self, launch: Launcher, iso: Disk) -> None:
        server = with_cd(launch, iso)
        server.qmp.refused("blockdev-remove-medium", id="cd")
        server.qmp.command("blockdev-open-tray", id="cd")
        moved(server, "c", "cd", True)
        server.qmp.command("blockdev-open-tray", id="cd", force=True)
        server.qmp.refused("blockdev-insert-medium", id="cd", node_name="n")
        server.qmp.command("blockdev-remove-medium", id="cd")
        server.qmp.command("blockdev-remove-medium", id="cd")
        server.qmp.refused("blockdev-insert-medium", id="cd", node_name="nobody")
        server.qmp.command("blockdev-insert-medium", id="cd", node_name="n")
        server.qmp.command("blockdev-close-tray", id="/machine/peripheral/cd")
        moved(server, "c", "cd", False)
        assert block(server, "c")["inserted"]["node-name"] == "n"
        server.qmp.command("blockdev-open-tray", id="empty")
        moved(server, "", "empty", True)
        server.qmp.refused("blockdev-insert-medium", id="empty", node_name="n")

    def test_change(self, launch: Launcher, iso: Disk, scratch: Scratch) -> None:
        server = with_cd(launch, iso)
        other = scratch.made_by_qemu_img("other", 2 * MIB, "qcow2")
        server.qmp.command("blockdev-change-medium", id="cd", filename=str(other.path))
        moved(server, "c", "cd", True)
        moved(server, "c", "cd", False)
        inserted = block(server, "c")["inserted"]
        assert (inserted["file"], inserted["drv"], inserted["ro"]) == (str(other.path), "qcow2", True)
        server.qmp.refused("blockdev-change-medium", id="cd", filename="/nonexistent/image")
        server.qmp.refused("blockdev-change-medium", id="cd", filename=str(iso.path), format="nonsense")
        assert block(server, "c")["inserted"]["file"] == str(other.path)
        server.qmp.command("blockdev-change-medium", device="c", filename=str(iso.path), format="raw")
        assert block(server, "c")["inserted"]["file"] == str(iso.path)

    def test_without_a_device(self, launch: Launcher, iso: Disk, scratch: Scratch) -> None:
        """A drive that nothing is plugged into takes any medium."""
        server = launch("--drive", f"if=none,id=c,file={iso.path},format=raw,readonly=on")
        server.qmp.command("eject", device="c")
        assert "inserted" not in block(server, "c")
        server.qmp.command("blockdev-open-tray", device="c")
        server.qmp.refused("blockdev-open-tray", id="c", error_class="DeviceNotFound")
        change = {"device": "c", "filename": str(iso.path), "format": "raw"}
        for mode, read_only in (("retain", True), ("read-write", False), ("retain", False), ("read-only", True)):
            server.qmp.command("blockdev-change-medium", change, read_only_mode=mode)
            assert block(server, "c")["inserted"]["ro"] is read_only

    def test_refusals(self, launch: Launcher, iso: Disk) -> None:
        server = with_cd(launch, iso)
        for command in ("eject", "blockdev-open-tray", "blockdev-close-tray"):
            server.qmp.refused(command, device="d")
            server.qmp.refused(command, id=PART)
            server.qmp.refused(command, id="blk")
            server.qmp.refused(command)
            server.qmp.refused(command, device="c", id="cd")
            server.qmp.refused(command, device="nobody", error_class="DeviceNotFound")
            server.qmp.refused(command, id="nobody", error_class="DeviceNotFound")
        server.qmp.refused("blockdev-remove-medium", id=PART)
        server.qmp.refused("blockdev-change-medium", id=PART, filename=str(iso.path), format="raw")


class TestLimits:
    """block_set_io_throttle, and what --drive says about limits."""

    def test_they_are_told(self, launch: Launcher) -> None:
        server = launch(*DISK)
        server.qmp.command("block_set_io_throttle", {"device": "d", **NO_LIMITS, "bps": 1 << 20, "bps_max": 1 << 21})
        inserted = block(server, "d")["inserted"]
        assert {key: value for key, value in inserted.items() if key.startswith(("bps", "iops", "group"))} == {
            **NO_LIMITS,
            "bps": 1 << 20,
            "bps_max": 1 << 21,
            "bps_max_length": 1,
            "group": "d",
        }
        server.qmp.command("block_set_io_throttle", {"id": PART, **NO_LIMITS, "iops": 10, "iops_size": 4096})
        inserted = block(server, "d")["inserted"]
        assert (inserted["bps"], inserted["iops"], inserted["iops_size"], inserted["group"]) == (0, 10, 4096, "d")
        server.qmp.command("block_set_io_throttle", {"device": "d", **NO_LIMITS})
        assert "group" not in block(server, "d")["inserted"]

    def test_groups(self, launch: Launcher) -> None:
        server = launch(
            *DISK,
            *("--object", "throttle-group,id=made,x-bps-total=4096"),
            *("--drive", "if=none,id=e,driver=null-co,bps_wr=7,group=g"),
        )
        assert block(server, "e")["inserted"]["group"] == "g"
        server.qmp.command("block_set_io_throttle", {"device": "d", **NO_LIMITS, "iops": 9, "group": "g"})
        assert block(server, "e")["inserted"]["iops"] == 9 and block(server, "e")["inserted"]["bps_wr"] == 0
        server.qmp.command("block_set_io_throttle", {"device": "d", **NO_LIMITS, "bps": 5, "group": "made"})
        assert server.qmp.command("qom-get", path="made", property="limits")["bps-total"] == 5
        server.qmp.refused("object-del", id="made")
        server.qmp.command("block_set_io_throttle", {"device": "d", **NO_LIMITS})
        server.qmp.command("object-del", id="made")

    def test_refusals(self, launch: Launcher) -> None:
        server = launch(*DISK, "--drive", "if=none,id=e")
        throttle = "block_set_io_throttle"
        server.qmp.refused(throttle, {"device": "d", **NO_LIMITS, "bps": 1, "bps_rd": 2})
        server.qmp.refused(throttle, {"device": "d", **NO_LIMITS, "bps": -1})
        server.qmp.refused(throttle, {"device": "e", **NO_LIMITS, "bps": 1})
        server.qmp.refused(throttle, {"id": "blk", **NO_LIMITS})
        server.qmp.refused(throttle, NO_LIMITS)
        server.qmp.refused(throttle, {"device": "nobody", **NO_LIMITS}, error_class="DeviceNotFound")

    def test_options_that_cannot_be(self, launch: Launcher) -> None:
        server = launch("--drive", "if=none,id=d,driver=null-co,bps=1,bps_rd=1", start=False)
        server.spawn()
        assert server.wait_exit() == 1


def test_histograms(launch: Launcher) -> None:
    server = launch(*DISK)
    server.qmp.command("block-latency-histogram-set", id=PART, boundaries=[10, 100])
    (stats,) = server.qmp.command("query-blockstats")
    assert stats["stats"]["rd_latency_histogram"] == {"boundaries": [10, 100], "bins": [0, 0, 0]}
    server.qmp.refused("block-latency-histogram-set", id="nobody", boundaries=[1], error_class="DeviceNotFound")


@pytest.mark.qmpd_only("a guest of QEMU's does not come in by an export")
@pytest.mark.parametrize("end", ["limits", "device", "export"])
def test_limits_hold_for_guests(launch: Launcher, scratch: Scratch, end: str) -> None:
    """A write that has to wait for hours is done when limits, device or export go away."""
    disk = scratch.disk("disk", MIB)
    server = launch("--device", "virtio-scsi-pci")
    server.add_raw(disk)
    server.qmp.command("device_add", driver="scsi-hd", id="hd", drive="disk")
    server.qmp.command("block_set_io_throttle", {"id": "hd", **NO_LIMITS, "bps_wr": 1})
    server.export("disk")
    with RawNbd.attached(server.nbd_path, "disk") as client:
        assert client.request(nbd.WRITE, 0, 4096, data=b"1" * 4096).error == 0
        waiting = client.send_request(nbd.WRITE, 0, 4096, data=b"2" * 4096)
        assert client.read(0, 4096) == b"1" * 4096
        if end == "limits":
            server.qmp.command("block_set_io_throttle", {"id": "hd", **NO_LIMITS})
        elif end == "device":
            server.qmp.command("device_del", id="hd")
        else:
            server.qmp.command("block-export-del", id="export-disk", mode="hard")
            server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-disk")
        if end != "export":
            assert client.reply() == (waiting, nbd.Reply(0))
    assert disk.read(0, 4096) == b"2" * 4096
