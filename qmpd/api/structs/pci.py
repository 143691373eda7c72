"""The object types of `pci.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "PciMemoryRange",
    "PciMemoryRegion",
    "PciBusInfo",
    "PciBridgeInfo",
    "PciDeviceClass",
    "PciDeviceId",
    "PciDeviceInfo",
    "PciInfo",
]


class PciMemoryRange(Model):
    """A range of addresses."""

    base: Int64
    """the first one"""

    limit: Int64
    """the last one"""


class PciMemoryRegion(Model):
    """A range of addresses that a device answers at."""

    bar: Int64
    """its number"""

    type: str
    """'io' or 'memory'"""

    address: Int64
    """the first address"""

    size: Int64
    """its size in bytes"""

    prefetch: Maybe[bool] = None
    """whether it may be read ahead"""

    mem_type_64: Maybe[bool] = None
    """whether its address has 64 bits"""


class PciBusInfo(Model):
    """A bus behind a bridge."""

    number: Int64
    """its number"""

    secondary: Int64
    """the number of the bus behind it"""

    subordinate: Int64
    """the largest number of a bus behind it"""

    io_range: PciMemoryRange
    """ports"""

    memory_range: PciMemoryRange
    """memory"""

    prefetchable_range: PciMemoryRange
    """memory that may be read ahead"""


class PciBridgeInfo(Model):
    """A bridge."""

    bus: PciBusInfo
    """the bus"""

    devices: Maybe[Array[PciDeviceInfo]] = None
    """what is on it"""


class PciDeviceClass(Model):
    """What a device is."""

    desc: Maybe[str] = None
    """in words"""

    class_: Int64 = Field(alias="class")
    """as a number"""


class PciDeviceId(Model):
    """Who made a device."""

    device: Int64
    """which one it is"""

    vendor: Int64
    """who made it"""

    subsystem: Maybe[Int64] = None
    """which board it is"""

    subsystem_vendor: Maybe[Int64] = Field(default=None, alias="subsystem-vendor")
    """who made the board"""


class PciDeviceInfo(Model):
    """A device."""

    bus: Int64
    """its bus"""

    slot: Int64
    """its slot"""

    function: Int64
    """its function"""

    class_info: PciDeviceClass
    """what it is"""

    id: PciDeviceId
    """who made it"""

    irq: Maybe[Int64] = None
    """its interrupt"""

    irq_pin: Int64
    """the pin of its interrupt"""

    qdev_id: str
    """its id"""

    pci_bridge: Maybe[PciBridgeInfo] = None
    """if it is a bridge, what is behind it"""

    regions: Array[PciMemoryRegion]
    """where it answers"""


class PciInfo(Model):
    """A bus."""

    bus: Int64
    """its number"""

    devices: Array[PciDeviceInfo]
    """what is on it"""
