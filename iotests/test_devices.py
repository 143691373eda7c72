"""Devices: the guest's side of drives and nodes. On qmpd and on a QEMU whose PC is not started."""

from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server, nbd
from iotests.harness.images import KIB, MIB
from iotests.harness.nbd import RawNbd
from iotests.harness.tools import qemu_io

pytestmark = pytest.mark.peer("pc")

NULL = "driver=null-co,size=1048576"


def queried(server: Server) -> list[dict[str, Any]]:
    """What query-block tells, without what is inserted."""
    entries = server.qmp.command("query-block")
    return [{key: value for key, value in entry.items() if key != "inserted"} for entry in entries]


def block(server: Server, qdev: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (entry for entry in server.qmp.command("query-block") if entry.get("qdev") == qdev)
    return found


def qom_types(server: Server, path: str) -> dict[str, str]:
    return {item["name"]: item["type"] for item in server.qmp.command("qom-list", path=path)}


def node(name: str, **options: Any) -> tuple[str, str]:
    """The words for a node that keeps nothing."""
    more = "".join(f",{key.replace('_', '-')}={value}" for key, value in options.items())
    return "--blockdev", f"driver=null-co,node-name={name},size=1048576{more}"


class TestKinds:
    """How devices of each kind show in queries."""

    def test_disks(self, launch: Launcher) -> None:
        drives = [word for number in range(9) for word in ("--drive", f"if=none,id=d{number},{NULL}")]
        server = launch(
            *drives,
            *("--device", "virtio-blk-pci,drive=d0,id=blk"),
            *("--device", "virtio-scsi-pci,id=scsi", "--device", "scsi-hd,drive=d1,id=hd,bus=scsi.0"),
            *("--device", "scsi-cd,drive=d2,id=cd", "--device", "ide-hd,drive=d3,id=ide"),
            *("--device", "ide-cd,drive=d4", "--device", "qemu-xhci", "--device", "usb-storage,drive=d5,id=usb"),
            *("--device", "nvme,drive=d6,serial=x,id=nvme", "--device", "floppy,drive=d7,id=fd"),
        )
        common = {"locked": False, "type": "unknown"}
        disk = {**common, "removable": False, "io-status": "ok"}
        cd = {**common, "removable": True, "io-status": "ok", "tray_open": False}
        assert queried(server) == [
            {**disk, "device": "d0", "qdev": "/machine/peripheral/blk/virtio-backend"},
            {**disk, "device": "d1", "qdev": "hd"},
            {**cd, "device": "d2", "qdev": "cd"},
            {**disk, "device": "d3", "qdev": "ide"},
            {**cd, "device": "d4", "qdev": "/machine/peripheral-anon/device[0]"},
            {**disk, "device": "d5", "qdev": "/machine/peripheral/usb/usb.0/legacy[0]"},
            {**common, "removable": False, "device": "d6", "qdev": "nvme"},
            {**common, "removable": True, "device": "d7", "qdev": "fd"},
            {**common, "removable": True, "device": "d8"},
        ]

    def test_nodes(self, launch: Launcher) -> None:
        """A device takes a node as well, and has a drive without a name then."""
        server = launch(*node("n"), "--device", "virtio-blk-pci,drive=n,id=blk")
        entry = block(server, "/machine/peripheral/blk/virtio-backend")
        assert entry["device"] == "" and entry["inserted"]["node-name"] == "n"
        server.qmp.refused("blockdev-del", node_name="n")
        (stats,) = server.qmp.command("query-blockstats")
        assert (stats["device"], stats["node-name"]) == ("", "n")
        assert stats["qdev"] == "/machine/peripheral/blk/virtio-backend"

    def test_an_empty_cd(self, launch: Launcher) -> None:
        server = launch("--drive", "if=ide,media=cdrom", "--device", "ide-cd,id=cd,bus=ide.1")
        named, unnamed = queried(server)
        assert named["device"] == "ide0-cd0" and named["qdev"].startswith("/machine/unattached/device[")
        assert (unnamed["device"], unnamed["qdev"], unnamed["tray_open"]) == ("", "cd", False)

    def test_a_drive_brings_its_device(self, launch: Launcher) -> None:
        server = launch("--drive", f"if=virtio,{NULL}", "--drive", f"if=virtio,{NULL}")
        first, second = queried(server)
        assert (first["device"], second["device"]) == ("virtio0", "virtio1")
        assert first["qdev"] == "/machine/peripheral-anon/device[0]/virtio-backend"
        assert second["qdev"] == "/machine/peripheral-anon/device[1]/virtio-backend"

    def test_json(self, launch: Launcher) -> None:
        device = '{"driver": "virtio-blk-pci", "drive": "n", "id": "x", "share-rw": true}'
        server = launch(*node("n"), "--device", device)
        assert server.qmp.command("qom-get", path="x", property="share-rw") is True


@pytest.mark.qmpd_only("QEMU lists far more")
@pytest.mark.parametrize(("text", "line"), [("help", "scsi-hd"), ("scsi-hd,help", "share-rw=<bool>")])
def test_help(launch: Launcher, text: str, line: str) -> None:
    server = launch("--device", text, start=False)
    server.spawn()
    assert server.wait_exit() == 0
    assert line in server.stderr.split()


class TestAddAndDelete:
    def test_a_life(self, launch: Launcher) -> None:
        server = launch(*node("n"), "--device", "virtio-scsi-pci,id=scsi")
        server.qmp.command("device_add", driver="scsi-hd", drive="n", id="hd", serial="S1")
        assert block(server, "hd")["inserted"]["node-name"] == "n"
        assert server.qmp.command("qom-get", path="/machine/peripheral/hd", property="hotplugged") is True
        server.qmp.command("device_del", id="hd")
        event = server.qmp.wait_event("DEVICE_DELETED", device="hd")
        assert event.data["path"] == "/machine/peripheral/hd"
        assert queried(server) == []
        server.qmp.command("blockdev-del", node_name="n")

    def test_the_drive_goes_with_it(self, launch: Launcher) -> None:
        server = launch("--drive", f"if=none,id=d0,{NULL}", "--device", "virtio-scsi-pci")
        server.qmp.command("device_add", driver="scsi-hd", drive="d0", id="hd")
        server.qmp.command("device_del", id="/machine/peripheral/hd")
        server.qmp.wait_event("DEVICE_DELETED", device="hd")
        assert queried(server) == [] and server.node_names() == set()

    def test_refusals(self, launch: Launcher) -> None:
        server = launch(
            *(*node("n"), *node("m"), "--device", "virtio-scsi-pci", "--device", "scsi-hd,drive=n,id=hd"),
            *("--drive", f"if=none,id=d,{NULL}", "--device", "scsi-hd,drive=d,id=other", "--drive", "if=none,id=empty"),
        )
        for arguments in (
            {"driver": "nonsense"},
            {"id": "x"},
            {"driver": "scsi-hd"},
            {"driver": "scsi-hd", "drive": "nobody"},
            {"driver": "scsi-hd", "drive": "m", "id": "hd"},
            {"driver": "scsi-hd", "drive": "m", "id": "1"},
            {"driver": "scsi-hd", "drive": "m", "nonsense": 1},
            {"driver": "scsi-hd", "drive": "m", "share-rw": "maybe"},
            {"driver": "scsi-hd", "drive": "d", "scsi-id": 3},
            {"driver": "scsi-hd", "drive": "n", "scsi-id": 3},
            {"driver": "scsi-hd", "drive": "empty", "scsi-id": 3},
        ):
            server.qmp.refused("device_add", arguments)
        server.qmp.refused("device_del", id="nobody", error_class="DeviceNotFound")
        assert len(queried(server)) == 3

    def test_who_writes_writes_alone(self, launch: Launcher) -> None:
        server = launch(*node("n"), *node("r", read_only="on"), "--device", "virtio-scsi-pci")
        server.qmp.command("device_add", driver="scsi-hd", drive="n", id="a", **{"share-rw": True})
        server.qmp.command("device_add", driver="scsi-hd", drive="n", id="b", **{"share-rw": "on"})
        server.qmp.refused("device_add", driver="scsi-hd", drive="n", id="c")
        # Those who only read do not mind each other.
        server.qmp.command("device_add", driver="scsi-cd", drive="r", id="d")
        server.qmp.command("device_add", driver="scsi-hd", drive="r", id="e")
        server.qmp.refused("block_resize", node_name="r", size=2 * MIB)

    def test_properties(self, launch: Launcher) -> None:
        server = launch()
        listed = server.qmp.command("device-list-properties", typename="virtio-blk-pci")
        by_name = {item["name"]: item for item in listed}
        assert {"drive", "serial", "share-rw", "werror", "logical_block_size", "iothread"} <= set(by_name)
        for name, type_name, default in (
            ("share-rw", "bool", False),
            ("num-queues", "uint16", 65535),
            ("werror", "BlockdevOnError", "auto"),
            ("logical_block_size", "size", 0),
        ):
            assert (by_name[name]["type"], by_name[name]["default-value"]) == (type_name, default)
        server.qmp.refused("device-list-properties", typename="nonsense", error_class="DeviceNotFound")
        server.qmp.refused("device-list-properties", typename="secret")


@pytest.mark.qmpd_only("it starts both servers itself")
def test_the_same_properties(launch: Launcher) -> None:
    """All that QEMU lists, with the same types and defaults; but for parts that it lists beside them."""
    ours, theirs = launch.peer("qmpd"), launch.peer("qemu")
    for kind in ("virtio-blk-pci", "scsi-hd", "scsi-cd", "ide-hd", "ide-cd", "usb-storage", "nvme", "floppy"):
        assert properties(ours, kind) == properties(theirs, kind)


def properties(server: Server, kind: str) -> dict[str, tuple[str, Any]]:
    return {
        item["name"]: (item["type"], item.get("default-value"))
        for item in server.qmp.command("device-list-properties", typename=kind)
        if not item["type"].startswith("child<")
    }


class TestTree:
    """Devices in the tree of objects."""

    def test_where_they_are(self, launch: Launcher) -> None:
        devices = "--device", "virtio-blk-pci,drive=n,id=blk", "--device", "virtio-blk-pci,drive=m"
        server = launch(*node("n"), *node("m"), *devices)
        assert qom_types(server, "/")["machine"].startswith("child<")
        assert qom_types(server, "/machine")["peripheral"] == "child<container>"
        assert qom_types(server, "/machine/peripheral") == {"type": "string", "blk": "child<virtio-blk-pci>"}
        assert qom_types(server, "/machine/peripheral-anon") == {"type": "string", "device[0]": "child<virtio-blk-pci>"}
        listed = qom_types(server, "/machine/peripheral/blk")
        assert (listed["drive"], listed["serial"], listed["realized"]) == ("str", "str", "bool")
        for path in ("/machine/peripheral/blk", "blk", "/machine/peripheral/blk/virtio-backend"):
            assert server.qmp.command("qom-get", path=path, property="drive") == "n"
        assert server.qmp.command("qom-get", path="/machine/peripheral", property="blk") == "/machine/peripheral/blk"
        for name, value in (
            ("type", "virtio-blk-pci"),
            ("logical_block_size", 512),
            ("serial", ""),
            ("bootindex", -1),
            ("realized", True),
            ("hotplugged", False),
            ("write-cache", "auto"),
        ):
            assert server.qmp.command("qom-get", path="blk", property=name) == value
        server.qmp.refused("qom-set", path="blk", property="serial", value="x")
        names = {item["name"] for item in server.qmp.command("qom-list-types", implements="device")}
        assert {"virtio-blk-pci", "scsi-hd", "scsi-cd", "ide-hd", "usb-storage", "nvme"} <= names

    def test_another_node(self, launch: Launcher) -> None:
        server = launch(
            *(*node("n"), *node("m"), *node("r", read_only="on"), "--device", "virtio-blk-pci,drive=n,id=blk"),
            *("--device", "virtio-scsi-pci", "--device", "scsi-cd,drive=r,id=cd"),
        )
        server.qmp.command("qom-set", path="blk", property="drive", value="m")
        assert server.qmp.command("qom-get", path="blk", property="drive") == "m"
        assert block(server, "/machine/peripheral/blk/virtio-backend")["inserted"]["node-name"] == "m"
        server.qmp.command("blockdev-del", node_name="n")
        # The reader of that one does not let anybody write.
        server.qmp.refused("qom-set", path="blk", property="drive", value="r")
        server.qmp.refused("qom-set", path="blk", property="drive", value="nobody")
        server.qmp.refused("qom-set", path="blk", property="drive", value="")
        assert server.qmp.command("qom-get", path="blk", property="drive") == "m"


@pytest.mark.qmpd_only("a guest of QEMU's does not come in by an export")
class TestGuests:
    """Exports of what is in a device stand for its guest."""

    def test_an_export_writes_for_the_device(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch("--device", "virtio-scsi-pci")
        disk = server.add_raw(scratch.disk("disk", MIB))
        server.qmp.command("device_add", driver="scsi-hd", drive=disk, id="hd")
        qemu_io(server.export(disk), "write 0 64k", "read 0 4k", "flush")
        (stats,) = server.qmp.command("query-blockstats")
        assert (stats["stats"]["wr_bytes"], stats["stats"]["rd_bytes"]) == (64 * KIB, 4 * KIB)
        (of_node,) = (
            entry
            for entry in server.qmp.command("query-blockstats", query_nodes=True)
            if entry.get("node-name") == disk
        )
        assert of_node["stats"]["wr_bytes"] == 64 * KIB

    def test_the_device_may_come_later_and_go_earlier(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch("--device", "virtio-scsi-pci")
        disk = server.add_raw(scratch.disk("disk", MIB))
        uri = server.export(disk)
        server.qmp.command("device_add", driver="scsi-hd", drive=disk, id="hd")
        qemu_io(uri, "write 0 64k")
        (stats,) = server.qmp.command("query-blockstats")
        assert stats["stats"]["wr_bytes"] == 64 * KIB
        server.qmp.command("device_del", id="hd")
        server.qmp.wait_event("DEVICE_DELETED", device="hd")
        qemu_io(uri, "write -P 3 0 64k", "read -P 3 0 64k")

    def test_clients_follow_to_another_node(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch("--device", "virtio-scsi-pci")
        one, other = scratch.disk("one", MIB), scratch.disk("other", MIB)
        server.add_raw(one)
        server.add_raw(other)
        server.add_null("small", 64 * KIB)
        server.qmp.command("device_add", driver="scsi-hd", drive="one", id="hd")
        server.export("one")
        with RawNbd.attached(server.nbd_path, "one") as client:
            client.request(nbd.WRITE, 0, 4096, data=b"1" * 4096)
            server.qmp.command("qom-set", path="hd", property="drive", value="other")
            client.request(nbd.WRITE, 0, 4096, data=b"2" * 4096)
            assert client.read(0, 4096) == b"2" * 4096
            server.qmp.refused("qom-set", path="hd", property="drive", value="small")
        assert one.read(0, 4096) == b"1" * 4096
        assert other.read(0, 4096) == b"2" * 4096
        (export,) = server.qmp.command("query-block-exports")
        assert export["node-name"] == "other"
