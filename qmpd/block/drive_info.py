"""What the query commands tell about drives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.chain import skip_implicit_filters
from qmpd.block.drive_throttling import LIMIT_NAMES
from qmpd.block.info import JSONObject, backend_stats, device_info

if TYPE_CHECKING:
    from qmpd.block.drive import Drive
    from qmpd.block.graph import BlockGraph
    from qmpd.objects.throttling import Limits


def listed(graph: BlockGraph) -> list[Drive]:
    """All drives in the order of queries: those with a name first."""
    return sorted(graph.drives, key=lambda drive: not drive.name)


def drive_info(drive: Drive, *, flat: bool = False) -> JSONObject:
    """`BlockInfo` of a drive; with `flat` without the images below in the chain."""
    info: JSONObject = {
        "device": drive.name,
        "type": "unknown",
        "removable": drive.removable,
        "locked": drive.locked,
    }
    frontend = drive.frontend
    if frontend is not None:
        info["qdev"] = frontend.qdev
        if frontend.tray_open is not None:
            info["tray_open"] = frontend.tray_open
        if frontend.has_io_status:
            info["io-status"] = drive.io_status
    if drive.medium is not None:
        info["inserted"] = _inserted(drive, flat)
    return info


def _inserted(drive: Drive, flat: bool) -> JSONObject:
    info = device_info(skip_implicit_filters(drive.node), flat=flat)
    info["cache"]["writeback"] = drive.writeback
    if drive.throttling is not None:
        info.update(_limits(drive.throttling.limits))
        info["group"] = drive.throttling.name
    return info


def _limits(limits: Limits) -> JSONObject:
    """Limits as `BlockDeviceInfo` has them; bursts only where there are any."""
    info: JSONObject = {}
    for limit, rate in limits.rates.items():
        name = LIMIT_NAMES[limit]
        info[name] = rate.average
        if rate.burst:
            info[f"{name}_max"] = rate.burst
            info[f"{name}_max_length"] = rate.burst_seconds
    if limits.iops_size:
        info["iops_size"] = limits.iops_size
    return info


def drive_stats(drive: Drive) -> JSONObject:
    """`BlockStats` of a drive."""
    info = backend_stats(drive, None if drive.frontend is None else drive.frontend.qdev)
    # What is counted in them has been counted by the drive, whose failed requests count as uses of the disk.
    info["stats"].update(account_invalid=True, account_failed=True)
    return info
