"""Commands on devices: making and removing them, and what can be said about one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjDeviceDelArg, QObjDeviceListPropertiesArg
    from qmpd.block.graph import BlockGraph
    from qmpd.devices.manager import DeviceManager


class DeviceCommands:
    """device_add, device_del, device-list-properties."""

    def __init__(self, graph: BlockGraph, devices: DeviceManager) -> None:
        self._graph = graph
        self._devices = devices

    @command("device_add")
    async def device_add(self, ctx: RequestContext, args: Mapping[str, object]) -> None:
        """Make a device.

        :raises GenericError: see `DeviceManager.add`.
        """
        async with self._graph.exclusive():
            self._devices.add(args, hotplugged=ctx.session_id != 0)

    @command("device_del")
    async def device_del(self, ctx: RequestContext, args: QObjDeviceDelArg) -> None:
        """Remove a device.

        :raises DeviceNotFound: there is none.
        """
        async with self._graph.exclusive():
            await self._devices.remove(self._devices.lookup(args.id))

    @command("device-list-properties")
    def list_properties(self, ctx: RequestContext, args: QObjDeviceListPropertiesArg) -> list[dict[str, Any]]:
        """What can be said about devices of a kind.

        :raises DeviceNotFound: there is no such kind.
        :raises GenericError: it is a type of something else.
        """
        from qmpd.devices.kinds import kinds
        from qmpd.objects.types import TYPES

        kind = kinds().get(args.typename)
        if kind is None:
            if args.typename in TYPES:
                raise GenericError(f"'{args.typename}' is no type of devices")
            raise DeviceNotFound(f"There is no type of devices '{args.typename}'")
        return [
            {
                "name": known.name,
                "type": known.type,
                **({"default-value": known.default} if known.default is not None else {}),
            }
            for known in kind.properties.values()
        ]
