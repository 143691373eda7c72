"""The object types of `block.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import BlockdevChangeReadOnlyMode
from qmpd.qapi.model import Int64, Maybe, Model

__all__ = [
    "QObjEjectArg",
    "QObjBlockdevOpenTrayArg",
    "QObjBlockdevCloseTrayArg",
    "QObjBlockdevRemoveMediumArg",
    "QObjBlockdevInsertMediumArg",
    "QObjBlockdevChangeMediumArg",
    "QObjDeviceTrayMovedArg",
    "BlockIOThrottle",
    "PRManagerInfo",
]


class QObjEjectArg(Model):
    """The arguments of `eject`."""

    device: Maybe[str] = None
    """the drive's name"""

    id: Maybe[str] = None
    """the device's id or path"""

    force: Maybe[bool] = None
    """whether to do it also if the guest has locked the medium (default: false)"""


class QObjBlockdevOpenTrayArg(Model):
    """The arguments of `blockdev-open-tray`."""

    device: Maybe[str] = None
    """the drive's name"""

    id: Maybe[str] = None
    """the device's id or path"""

    force: Maybe[bool] = None
    """whether to do it also if the guest has locked the medium (default: false)"""


class QObjBlockdevCloseTrayArg(Model):
    """The arguments of `blockdev-close-tray`."""

    device: Maybe[str] = None
    """the drive's name"""

    id: Maybe[str] = None
    """the device's id or path"""


class QObjBlockdevRemoveMediumArg(Model):
    """The arguments of `blockdev-remove-medium`."""

    id: str
    """the device's id or path"""


class QObjBlockdevInsertMediumArg(Model):
    """The arguments of `blockdev-insert-medium`."""

    id: str
    """the device's id or path"""

    node_name: str = Field(alias="node-name")
    """the node"""


class QObjBlockdevChangeMediumArg(Model):
    """The arguments of `blockdev-change-medium`."""

    device: Maybe[str] = None
    """the drive's name"""

    id: Maybe[str] = None
    """the device's id or path"""

    filename: str
    """the image's file name"""

    format: Maybe[str] = None
    """its format (default: what its first bytes say)"""

    force: Maybe[bool] = None
    """whether to do it also if the guest has locked the medium (default: false)"""

    read_only_mode: Maybe[BlockdevChangeReadOnlyMode] = Field(default=None, alias="read-only-mode")
    """whether it is read-only (default: 'retain')"""


class QObjDeviceTrayMovedArg(Model):
    """The arguments of `DEVICE_TRAY_MOVED`."""

    device: str
    """the drive's name; empty for one without"""

    id: str
    """the device's id, or its path if it has none"""

    tray_open: bool = Field(alias="tray-open")
    """whether it is open now"""


class BlockIOThrottle(Model):
    """Limits for a drive; 0 for none."""

    device: Maybe[str] = None
    """the drive's name"""

    id: Maybe[str] = None
    """the device's id or path"""

    bps: Int64
    """of all throughput, in bytes a second"""

    bps_rd: Int64
    """of reading, in bytes a second"""

    bps_wr: Int64
    """of writing, in bytes a second"""

    iops: Int64
    """of all requests a second"""

    iops_rd: Int64
    """of read requests a second"""

    iops_wr: Int64
    """of write requests a second"""

    bps_max: Maybe[Int64] = None
    """of all throughput in a burst, in bytes a second"""

    bps_rd_max: Maybe[Int64] = None
    """of reading in a burst, in bytes a second"""

    bps_wr_max: Maybe[Int64] = None
    """of writing in a burst, in bytes a second"""

    iops_max: Maybe[Int64] = None
    """of all requests a second in a burst"""

    iops_rd_max: Maybe[Int64] = None
    """of read requests a second in a burst"""

    iops_wr_max: Maybe[Int64] = None
    """of write requests a second in a burst"""

    bps_max_length: Maybe[Int64] = None
    """how long a burst of `bps_max` may last, in seconds (default: 1)"""

    bps_rd_max_length: Maybe[Int64] = None
    """how long a burst of `bps_rd_max` may last, in seconds (default: 1)"""

    bps_wr_max_length: Maybe[Int64] = None
    """how long a burst of `bps_wr_max` may last, in seconds (default: 1)"""

    iops_max_length: Maybe[Int64] = None
    """how long a burst of `iops_max` may last, in seconds (default: 1)"""

    iops_rd_max_length: Maybe[Int64] = None
    """how long a burst of `iops_rd_max` may last, in seconds (default: 1)"""

    iops_wr_max_length: Maybe[Int64] = None
    """how long a burst of `iops_wr_max` may last, in seconds (default: 1)"""

    iops_size: Maybe[Int64] = None
    """bytes for which a request counts as one; a larger one counts as several"""

    group: Maybe[str] = None
    """the group with which the limits are shared (default: the one that the drive is in, else one of its
    own that is named after it)
    """


class PRManagerInfo(Model):
    """A helper for persistent reservations."""

    id: str
    """its id"""

    connected: bool
    """whether it is there"""
