"""One device, as an object with a path and properties."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.block.drive import Drive
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.objects.base import Property, QomObject
from qmpd.objects.tree import Container

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode
    from qmpd.devices.kinds import DeviceKind
    from qmpd.devices.manager import DeviceManager

_BLOCK_SIZES = ("logical_block_size", "physical_block_size")


class Device(QomObject):
    """A device; its class is made by `device_class`.

    :cvar kind: what is common to all of its kind.
    :ivar device_id: the id, None for one without.
    :ivar path: where it is in the tree of objects.
    :ivar drive: what it shows to its guest; None for a controller.
    :ivar values: the properties that were given.
    :ivar tray_open: None for a device without a tray.
    """

    kind: ClassVar[DeviceKind]
    properties: ClassVar[tuple[Property, ...]] = (
        Property("realized", "bool", lambda self: True),
        Property("hotplugged", "bool", lambda self: self.hotplugged),
        Property("hotpluggable", "bool", lambda self: True),
    )

    def __init__(
        self, manager: DeviceManager, device_id: str | None, path: str, values: Mapping[str, object], hotplugged: bool
    ) -> None:
        self.manager = manager
        self.device_id = device_id
        self.path = path
        self.values = values
        self.hotplugged = hotplugged
        self.drive: Drive | None = None
        self.locked = False
        self.tray_open: bool | None = False if self.kind.tray else None
        self._parts = self._make_parts()

    # What a drive wants to know of its front-end.

    @property
    def qdev(self) -> str:
        """What queries tell: the id; where the drive belongs to a part of the device, the path of that."""
        part = self._part_path()
        if part is not None:
            return f"{self.path}/{part}"
        return self.device_id or self.path

    @property
    def removable(self) -> bool:
        """The medium can be taken out."""
        return self.kind.removable

    @property
    def has_io_status(self) -> bool:
        """It tells how its I/O goes."""
        return self.kind.io_status

    def permissions(self, medium: BlockNode) -> tuple[Perm, Perm]:
        """What it does with a medium, and what it lets others do.

        :raises GenericError: it does not take such a medium.
        """
        if self.kind.needs_writable and medium.read_only:
            raise GenericError(f"Node '{medium.node_name}' is read-only, and '{self.kind.name}' has to write")
        perm, shared = Perm.CONSISTENT_READ, Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED
        if not self.kind.read_only and not medium.read_only:
            perm |= Perm.WRITE
        if self.kind.resizable:
            shared |= Perm.RESIZE
        if self.values.get("share-rw"):
            shared |= Perm.WRITE
        return perm, shared

    @property
    def bus_of(self) -> str | None:
        """The id of the controller whose bus it is on, None if it was given none."""
        bus = self.values.get("bus")
        return None if bus is None else str(bus).partition(".")[0]

    # The tree.

    def children(self) -> Mapping[str, QomObject]:
        return self._parts

    def _part_path(self) -> str | None:
        return None if self.kind.part is None else self.kind.part.format(name=self.device_id or "device")

    def _make_parts(self) -> dict[str, QomObject]:
        below: dict[str, QomObject] = {}
        names = (self._part_path() or "").split("/")
        part: QomObject = DevicePart(self)
        for name in reversed(names if names != [""] else []):
            below = {name: part}
            part = Container()
            part.below = below
        return below

    def read(self, name: str) -> object:
        """The value of a property of its kind."""
        if name == "drive":
            return self.drive_name
        value = self.values.get(name)
        if value is None:
            declared = self.kind.properties[name]
            value = declared.empty if declared.default is None else declared.default
        if name in _BLOCK_SIZES and not value:
            return 512
        return -1 if name == "bootindex" and "bootindex" not in self.values else value

    @property
    def drive_name(self) -> str:
        """The drive's name, or that of the node that it was given."""
        if self.drive is None or (not self.drive.name and self.drive.medium is None):
            return ""
        return self.drive.name or self.drive.node.node_name

    def change_drive(self, node_name: str) -> Awaitable[None]:
        """Go on with another node."""
        return self.manager.replace_medium(self, node_name)


class DevicePart(QomObject):
    """The part of a device that its drive belongs to."""

    type_name: ClassVar[str] = "device"
    properties: ClassVar[tuple[Property, ...]] = (
        Property(
            "drive",
            "str",
            lambda self: self.device.drive_name,
            lambda self, value: self.device.change_drive(value),
        ),
    )

    def __init__(self, device: Device) -> None:
        self.device = device


@cache
def device_class(kind: DeviceKind) -> type[Device]:
    """The class of the devices of a kind."""
    return type("Device", (Device,), {"kind": kind, "type_name": kind.name, "properties": tuple(_properties(kind))})


def _properties(kind: DeviceKind) -> Iterator[Property]:
    for name, declared in kind.properties.items():
        yield _drive() if name == "drive" else _fixed(name, declared.type)


def _drive() -> Property:
    return Property("drive", "str", lambda self: self.drive_name, lambda self, value: self.change_drive(value))


def _fixed(name: str, type_name: str) -> Property:
    def change(self: Device, value: Any) -> None:
        whose = f"'{self.device_id}'" if self.device_id else "without an id"
        raise GenericError(f"Property '{name}' of device {whose} ('{self.kind.name}') is fixed")

    return Property(name, type_name, lambda self: self.read(name), change, schema="Any")
