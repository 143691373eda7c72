"""Devices that are made, changed and removed by clients who do not know of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from qmpd.errors import DeviceNotFound, GenericError, QMPError
from qmpd.monitor.context import RequestContext
from tests.lab import Lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    try:
        for name in ("a", "b"):
            await lab.execute("blockdev-add", driver="null-co", node_name=name, size=1 << 20)
        yield lab
    finally:
        await lab.close()


async def add_device(lab: Lab, **options: Any) -> None:
    """`device_add`, whose members have underscores of their own."""
    handler = lab.daemon.dispatcher.lookup("device_add")
    await lab.daemon.dispatcher.run_async(handler, RequestContext(1, 1, None, 0.0), options)


async def at_the_same_time(lab: Lab, *requests: Coroutine[Any, Any, Any]) -> list[Any]:
    """Results and errors of requests that all begin while somebody holds the graph."""
    async with lab.graph.exclusive():
        tasks = [asyncio.ensure_future(request) for request in requests]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_another_node_for_a_device_that_goes(lab: Lab) -> None:
    """The node is not in use by a device that nobody can find any more."""
    await add_device(lab, driver="scsi-hd", id="disk", drive="a")
    removed, changed = await at_the_same_time(
        lab,
        lab.execute("device_del", id="disk"),
        lab.execute("qom-set", path="/machine/peripheral/disk", property="drive", value="b"),
    )
    assert removed == b"{}" and isinstance(changed, DeviceNotFound)
    for name in ("a", "b"):
        await lab.execute("blockdev-del", node_name=name)


async def test_a_drive_is_removed_twice(lab: Lab) -> None:
    await lab.execute("human-monitor-command", command_line="drive_add 0 file=null-co://,format=raw,id=d,if=none")
    line = "drive_del d"
    answers = await at_the_same_time(
        lab,
        lab.execute("human-monitor-command", command_line=line),
        lab.execute("human-monitor-command", command_line=line),
    )
    assert [orjson.loads(answer) for answer in answers] == ["", "Error: There is no drive 'd'\r\n"]


async def test_buses_in_a_circle(lab: Lab) -> None:
    """What is plugged into each other goes together, the last one first."""
    await add_device(lab, driver="virtio-scsi-pci", id="x", bus="z.0")
    await add_device(lab, driver="virtio-scsi-pci", id="y", bus="x.0")
    await add_device(lab, driver="virtio-scsi-pci", id="z", bus="y.0")
    await add_device(lab, driver="scsi-hd", id="disk", drive="a", bus="y.0")
    await lab.execute("device_del", id="x")
    assert list(lab.daemon.devices.all()) == []
    assert [data["device"] for data in lab.events.named("DEVICE_DELETED")] == ["z", "disk", "y", "x"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"serial": [1]},
        {"serial": {"a": 1}},
        {"serial": None},
        {"bootindex": {}},
        {"id": 7},
        {"id": True},
        {"id": {"a": 1}},
        {"bus": {"x": 1}},
        {"driver": ["scsi-hd"]},
    ],
)
async def test_values_of_the_wrong_kind(lab: Lab, wrong: dict[str, Any]) -> None:
    with pytest.raises(GenericError, match=f"'{next(iter(wrong))}' must be"):
        await add_device(lab, **{"driver": "scsi-hd", "drive": "a", **wrong})
    assert list(lab.daemon.devices.all()) == []
    await lab.execute("blockdev-del", node_name="a")


async def test_numbers_for_properties_that_are_text(lab: Lab) -> None:
    """As QEMU takes them."""
    await add_device(lab, driver="scsi-hd", id="disk", drive="a", serial=12)
    assert await lab.execute("qom-get", path="disk", property="serial") == b'"12"'
    with pytest.raises(QMPError):
        await lab.execute("blockdev-del", node_name="a")


@pytest.mark.parametrize("command", ["blockdev-open-tray", "blockdev-close-tray", "block_set_io_throttle"])
async def test_nothing_comes_into_the_midst_of_a_change(lab: Lab, command: str) -> None:
    """As `blockdev-change-medium`, which opens the tray, changes the medium, and closes the tray."""
    await add_device(lab, driver="scsi-cd", id="cd", drive="a")
    (device,) = lab.daemon.devices.all()
    limits = {"bps": 5, **dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)}
    members = {"id": "cd", **(limits if command == "block_set_io_throttle" else {})}
    handler = lab.daemon.dispatcher.lookup(command)
    async with lab.graph.exclusive():
        device.tray_open = command == "blockdev-close-tray"
        before = device.tray_open
        request = lab.daemon.dispatcher.run_async(handler, RequestContext(1, 1, None, 0.0), members)
        changing = asyncio.ensure_future(request)
        await asyncio.sleep(0)
        assert device.drive is not None and device.drive.throttling is None and device.tray_open is before
        assert not changing.done()
    assert await changing == b"{}"
    assert device.drive.throttling is not None if len(members) > 1 else device.tray_open is not before
