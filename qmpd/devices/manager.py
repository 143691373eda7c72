"""All devices: made, found, removed, and given other nodes.

They hang below `/machine` in the tree of objects: in `peripheral` those with an id, in `peripheral-anon` those without,
in `unattached` those that a drive with `if=...` has brought with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from qmpd.block.chain import top_of_guards
from qmpd.block.drive import Drive, ErrorPolicies
from qmpd.devices.device import Device, device_class
from qmpd.devices.kinds import FOR_INTERFACES, DeviceKind, find_kind
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.objects.tree import Container

if TYPE_CHECKING:
    from qmpd.block.drive_options import DriveRequest
    from qmpd.block.graph import BlockGraph
    from qmpd.events import EventSink

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_NOT_PROPERTIES = ("driver", "id", "bus", "addr")


class DeviceManager:
    """The devices of a daemon."""

    def __init__(self, graph: BlockGraph, events: EventSink) -> None:
        self._graph = graph
        self._events = events
        self._places = {name: Container() for name in ("peripheral", "peripheral-anon", "unattached")}
        self._anonymous = 0
        machine = Container()
        machine.below.update(self._places)
        graph.objects.mount("machine", machine)

    def all(self) -> Iterator[Device]:
        """All devices, those with an id first."""
        for place in self._places.values():
            yield from (found for found in place.below.values() if isinstance(found, Device))

    def find(self, name: str) -> Device | None:
        """The device of that id, or at that path or that of one of its parts; None if there is none."""
        for device in self.all():
            if name in (device.device_id, device.path, device.qdev):
                return device
        return None

    def lookup(self, name: str) -> Device:
        """The device of that id or path.

        :raises DeviceNotFound: there is none.
        """
        found = self.find(name)
        if found is None:
            raise DeviceNotFound(f"There is no device '{name}'")
        return found

    def drive_of(self, name: str) -> Drive:
        """The drive of the device of that id or path; where it belongs to a part of the device, of that path only.

        :raises DeviceNotFound: there is no such device.
        :raises GenericError: it has no drive.
        """
        device = self.lookup(name)
        if device.drive is None or (device.kind.part is not None and name != device.qdev):
            hint = f"; that is '{device.qdev}'" if device.drive is not None else ""
            raise GenericError(f"The device '{name}' itself has no drive{hint}")
        return device.drive

    # Making and removing. Call within `graph.exclusive()`.

    def add(self, options: Mapping[str, object], *, hotplugged: bool = False) -> Device:
        """Make a device.

        :param options: `driver`, `id`, `bus`, `addr` and properties; text or values of the right type.
        :raises GenericError: there is no such kind or drive, a property is wrong, the id is taken, or the drive is in
            use; there is no device then.
        """
        driver, device_id = _text(options, "driver"), _text(options, "id")
        if driver is None:
            raise GenericError("'driver' is missing: it says what kind of device to make")
        _text(options, "bus")
        kind = find_kind(driver)
        values = _read_properties(kind, options)
        if device_id is not None:
            self._check_new_id(device_id)
        place = "peripheral-anon" if device_id is None else "peripheral"
        return self._make(kind, device_id, place, values, hotplugged)

    def add_for_drive(self, drive: Drive, request: DriveRequest) -> None:
        """Make the device that a drive with that `if` is plugged into, if there is one."""
        name = FOR_INTERFACES.get((request.interface, request.cdrom))
        if name is not None:
            place = "peripheral-anon" if request.interface == "virtio" else "unattached"
            self._make(find_kind(name), None, place, {"drive": drive.name}, False)

    async def remove(self, device: Device) -> None:
        """Remove a device, with what is plugged into it, and with its drive."""
        for one in reversed(self._with_plugged_in(device)):
            await self._remove_one(one)

    def _with_plugged_in(self, device: Device) -> list[Device]:
        """A device and what is plugged into it, behind it; buses are names, and may be named in a circle."""
        found: dict[Device, None] = {}
        waiting = [device]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = None
                waiting += [other for other in self.all() if one.device_id and other.bus_of == one.device_id]
        return list(found)

    async def _remove_one(self, device: Device) -> None:
        drive = device.drive
        if drive is not None:
            medium = drive.medium
            async with self._graph.drained([] if medium is None else [medium]):
                drive.unplug()
                self._graph.remove_drive(drive)
            device.drive = None
        for place in self._places.values():
            place.below = {name: found for name, found in place.below.items() if found is not device}
        self._announce_end(device)

    def _make(
        self, kind: DeviceKind, device_id: str | None, place: str, values: Mapping[str, object], hotplugged: bool
    ) -> Device:
        name = device_id
        if name is None:
            name = f"device[{self._anonymous}]"
        device = device_class(kind)(self, device_id, f"/machine/{place}/{name}", values, hotplugged)
        if kind.disk:
            self._plug(device)
        if device_id is None:
            self._anonymous += 1
        self._places[place].below[name] = device
        return device

    def _plug(self, device: Device) -> None:
        """Give a device its drive."""
        drive = self._find_drive(device)
        made = drive not in self._graph.drives
        if drive.medium is None and not made and not device.kind.removable:
            raise GenericError(f"'{device.kind.name}' needs a medium, and drive '{drive.name}' is empty")
        drive.plug(device)
        try:
            if made:
                self._fill(device, drive)
                self._graph.add_drive(drive)
        except BaseException:
            drive.unplug()
            raise
        device.drive = drive
        drive.policies = _policies(device.values, drive.policies)
        cache = device.values.get("write-cache", "auto")
        if cache != "auto":
            drive.writeback = cache == "on"

    def _find_drive(self, device: Device) -> Drive:
        """The drive that a device names, or one of its own."""
        name = device.values.get("drive")
        if name is None:
            if not device.kind.removable:
                raise GenericError(f"'drive' is missing: '{device.kind.name}' needs a drive or a node")
            return Drive(self._graph, "")
        drive = self._graph.backends.get(str(name))
        if drive is None:
            return Drive(self._graph, "")
        if drive.frontend is not None:
            raise GenericError(f"Drive '{name}' is in use by device '{drive.frontend.qdev}'")
        return drive

    def _fill(self, device: Device, drive: Drive) -> None:
        name = device.values.get("drive")
        if name is None:
            return
        node = self._graph.nodes.get(str(name))
        if node is None:
            raise GenericError(f"'drive' is '{name}', and there is neither a drive nor a node of that name")
        drive.attach(top_of_guards(node))

    def _check_new_id(self, device_id: str) -> None:
        if not _WELL_FORMED.match(device_id):
            raise GenericError(
                f"'{device_id}' cannot be a device's id: it begins with a letter and has only letters, digits, "
                "'-', '.' and '_'"
            )
        if device_id in self._places["peripheral"].below:
            raise GenericError(f"There is a device '{device_id}' already; choose another 'id'")

    def _announce_end(self, device: Device) -> None:
        if device.qdev != (device.device_id or device.path):
            self._events.emit("DEVICE_DELETED", {"path": device.qdev})
        named = {} if device.device_id is None else {"device": device.device_id}
        self._events.emit("DEVICE_DELETED", {**named, "path": device.path})

    # Another node.

    async def replace_medium(self, device: Device, node_name: str) -> None:
        """Let a device, and the exports that stand for its guest, go on with another node.

        :raises DeviceNotFound: the device has been removed.
        :raises GenericError: there is no such node, it cannot be used so, or it has another length while there are
            exports, whose clients have been told of the length; nothing has changed then.
        """
        graph = self._graph
        async with graph.exclusive():
            drive = device.drive
            if drive is None:  # all that have the property have a drive as long as they live
                raise DeviceNotFound(f"Device '{device.qdev}' has been removed")
            target = top_of_guards(graph.lookup_node(node_name))
            source = drive.medium
            if source is None:
                drive.attach(target)
                return
            if drive.guests and target.length != source.length:
                raise GenericError(
                    f"Node '{node_name}' has {target.length} bytes, and the clients of the exports of "
                    f"'{source.node_name}' were told of {source.length}"
                )
            async with graph.drained([source, target]):
                drive.move(target)


def _text(options: Mapping[str, object], name: str) -> str | None:
    """What is given under that name, None if nothing is.

    :raises GenericError: it is no text.
    """
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise GenericError(f"'{name}' must be a string")
    return value


def _read_properties(kind: DeviceKind, options: Mapping[str, object]) -> dict[str, object]:
    """The properties that are given, as values of their types.

    :raises GenericError: there is no such property, or the value is wrong.
    """
    known = kind.properties
    values: dict[str, object] = {}
    for name, value in options.items():
        if name in _NOT_PROPERTIES:
            values[name] = value
        elif not kind.disk:  # what controllers are told changes nothing here
            continue
        elif name not in known:
            raise GenericError(f"There is no property '{name}' of '{kind.name}'")
        else:
            values[name] = known[name].read(value)
    return values


def _policies(values: Mapping[str, object], given: ErrorPolicies) -> ErrorPolicies:
    """The policies of the device where it has some of its own, those of the drive otherwise."""
    read, write = (str(values.get(name, "auto")) for name in ("rerror", "werror"))
    return ErrorPolicies(given.read if read == "auto" else read, given.write if write == "auto" else write)
