"""Commands on drives: trays and media, and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import (
        BlockIOThrottle,
        QObjBlockdevChangeMediumArg,
        QObjBlockdevCloseTrayArg,
        QObjBlockdevInsertMediumArg,
        QObjBlockdevOpenTrayArg,
        QObjBlockdevRemoveMediumArg,
        QObjEjectArg,
    )
    from qmpd.block.drive import Drive
    from qmpd.block.graph import BlockGraph
    from qmpd.devices.manager import DeviceManager
    from qmpd.objects.throttling import Limits

_READ_ONLY_MODES = {None: None, "retain": None, "read-only": True, "read-write": False}


class MediaCommands:
    """eject, blockdev-open-tray, -close-tray, -remove-medium, -insert-medium, -change-medium, block_set_io_throttle.

    Each raises DeviceNotFound where there is no such device.
    """

    def __init__(self, graph: BlockGraph, devices: DeviceManager) -> None:
        self._graph = graph
        self._devices = devices

    @command("eject")
    async def eject(self, ctx: RequestContext, args: QObjEjectArg) -> None:
        """Open the tray, and take the medium out.

        :raises GenericError: the medium is fixed.
        """
        from qmpd.devices import media

        async with self._graph.exclusive():
            drive = self._drive(args.device, args.id)
            media.open_tray(drive)
            await media.remove_medium(drive)

    @command("blockdev-open-tray")
    async def open_tray(self, ctx: RequestContext, args: QObjBlockdevOpenTrayArg) -> None:
        """Open the tray.

        :raises GenericError: the medium is fixed.
        """
        from qmpd.devices import media

        async with self._graph.exclusive():
            media.open_tray(self._drive(args.device, args.id))

    @command("blockdev-close-tray")
    async def close_tray(self, ctx: RequestContext, args: QObjBlockdevCloseTrayArg) -> None:
        """Close the tray.

        :raises GenericError: the medium is fixed.
        """
        from qmpd.devices import media

        async with self._graph.exclusive():
            media.close_tray(self._drive(args.device, args.id))

    @command("blockdev-remove-medium")
    async def remove_medium(self, ctx: RequestContext, args: QObjBlockdevRemoveMediumArg) -> None:
        """Take the medium out.

        :raises GenericError: it is fixed, or the tray closed.
        """
        from qmpd.devices import media

        async with self._graph.exclusive():
            await media.remove_medium(self._drive(None, args.id))

    @command("blockdev-insert-medium")
    async def insert_medium(self, ctx: RequestContext, args: QObjBlockdevInsertMediumArg) -> None:
        """Put a node in.

        :raises GenericError: see `media.insert_node`.
        """
        from qmpd.devices import media

        async with self._graph.exclusive():
            media.insert_node(self._drive(None, args.id), args.node_name)

    @command("blockdev-change-medium")
    async def change_medium(self, ctx: RequestContext, args: QObjBlockdevChangeMediumArg) -> None:
        """Put another image in.

        :raises GenericError: see `media.change_medium`.
        """
        from qmpd.devices import media

        read_only = _READ_ONLY_MODES[args.read_only_mode]
        async with self._graph.exclusive():
            await media.change_medium(self._drive(args.device, args.id), args.filename, args.format, read_only)

    @command("block_set_io_throttle")
    async def set_io_throttle(self, ctx: RequestContext, args: BlockIOThrottle) -> None:
        """Limit what goes through a drive.

        :raises GenericError: there is no medium, or the limits make no sense together; nothing has changed then.
        """
        async with self._graph.exclusive():
            drive = self._drive(args.device, args.id)
            if drive.medium is None:
                raise GenericError(f"{drive.describe()} has no medium")
            limits = _limits(args)
            if limits.unlimited:
                drive.unthrottle()
                return
            present = None if drive.throttling is None else drive.throttling.name
            drive.throttle(args.group or present or args.device or args.id or "", limits)

    def _drive(self, device: str | None, device_id: str | None) -> Drive:
        if (device is None) == (device_id is None):
            raise GenericError("Exactly one of 'id' and 'device' says which device")
        if device is None:
            return self._devices.drive_of(str(device_id))
        drive = self._graph.backends.get(device)
        if drive is None:
            raise DeviceNotFound(f"There is no drive '{device}'")
        return drive


def _limits(args: BlockIOThrottle) -> Limits:
    """The limits that are asked for.

    :raises GenericError: they make no sense together.
    """
    from qmpd.block.drive_throttling import LIMIT_NAMES
    from qmpd.objects.throttling import Limits, Rate

    def given(name: str, default: int = 0) -> int:
        value: int | None = getattr(args, name)
        return default if value is None else value

    rates = {
        limit: Rate(given(name), given(f"{name}_max"), given(f"{name}_max_length", 1))
        for limit, name in LIMIT_NAMES.items()
    }
    limits = Limits(rates, given("iops_size"))
    limits.check()
    return limits
