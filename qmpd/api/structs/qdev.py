"""The object types of `qdev.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.qapi.model import Maybe, Model

__all__ = [
    "QObjDeviceListPropertiesArg",
    "QObjDeviceAddArg",
    "QObjDeviceDelArg",
    "QObjDeviceDeletedArg",
]


class QObjDeviceListPropertiesArg(Model):
    """The arguments of `device-list-properties`."""

    typename: str
    """the kind"""


class QObjDeviceAddArg(Model):
    """The arguments of `device_add`."""

    driver: str
    """the kind of device"""

    bus: Maybe[str] = None
    """the bus that it is on; it changes nothing here"""

    id: Maybe[str] = None
    """its id; without one it cannot be removed by name"""


class QObjDeviceDelArg(Model):
    """The arguments of `device_del`."""

    id: str
    """the device's id or path"""


class QObjDeviceDeletedArg(Model):
    """The arguments of `DEVICE_DELETED`."""

    device: Maybe[str] = None
    """its id; absent if it had none"""

    path: str
    """where it was in the tree of objects"""
