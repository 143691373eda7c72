"""Commands on objects: making and deleting them, and the tree that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.commands.recording import Recording
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import (
        ObjectOptions,
        QObjObjectDelArg,
        QObjQomGetArg,
        QObjQomListArg,
        QObjQomListPropertiesArg,
        QObjQomListTypesArg,
        QObjQomSetArg,
    )
    from qmpd.objects.base import QomObject
    from qmpd.objects.tree import ObjectTree


class ObjectCommands:
    """object-add, object-del, qom-list, qom-get, qom-set, qom-list-types, qom-list-properties."""

    def __init__(self, objects: ObjectTree, recording: Recording | None = None) -> None:
        self._objects = objects
        self._recording = recording or Recording()

    @command("object-add")
    async def object_add(self, ctx: RequestContext, args: ObjectOptions) -> None:
        """Make an object.

        :raises GenericError: the id is ill-formed or taken, or the properties are wrong.
        """
        properties = args.to_json()
        type_name, object_id = properties.pop("qom-type"), properties.pop("id")
        await self._objects.add(type_name, object_id, properties)
        try:
            await self._recording.hold_and_save(ctx)
        except BaseException:
            self._objects.remove(object_id)
            self._recording.later()
            raise

    @command("object-del")
    def object_del(self, ctx: RequestContext, args: QObjObjectDelArg) -> None:
        """Delete an object.

        :raises GenericError: there is none, or it is in use.
        """
        self._objects.remove(args.id)
        self._recording.later()

    @command("qom-list")
    def qom_list(self, ctx: RequestContext, args: QObjQomListArg) -> list[dict[str, Any]]:
        """The properties of an object, and the objects below it.

        :raises DeviceNotFound: there is no such object.
        :raises GenericError: the path is ambiguous.
        """
        found = self._objects.resolve(args.path)
        below = [{"name": name, "type": f"child<{child.type_name}>"} for name, child in found.children().items()]
        return _described(type(found)) + below

    @command("qom-get")
    def qom_get(self, ctx: RequestContext, args: QObjQomGetArg) -> object:
        """The value of a property.

        :raises DeviceNotFound: there is no such object.
        :raises GenericError: it has no such property, or does not show it.
        """
        return self._objects.get(args.path, args.property)

    @command("qom-set")
    async def qom_set(self, ctx: RequestContext, args: QObjQomSetArg) -> None:
        """Change a property.

        :raises DeviceNotFound: there is no such object.
        :raises GenericError: it has no such property, it cannot be changed, or not to that.
        """
        taking_effect = self._objects.set(args.path, args.property, args.value)
        if taking_effect is not None:
            await taking_effect
        self._recording.later()

    @command("qom-list-types")
    def qom_list_types(self, ctx: RequestContext, args: QObjQomListTypesArg) -> list[dict[str, Any]]:
        """The types of objects."""
        from qmpd.devices.kinds import kinds
        from qmpd.objects.types import TYPES, ObjectType

        devices = [ObjectType(name, "device") for name in kinds()]
        return [
            {
                "name": kind.name,
                **({"abstract": True} if kind.abstract else {}),
                **({"parent": kind.parent} if kind.parent is not None else {}),
            }
            for kind in (*TYPES.values(), *devices)
            if (args.abstract or not kind.abstract) and (args.implements is None or kind.is_a(args.implements))
        ]

    @command("qom-list-properties")
    def qom_list_properties(self, ctx: RequestContext, args: QObjQomListPropertiesArg) -> list[dict[str, Any]]:
        """The properties that objects of a type have.

        :raises DeviceNotFound: there is no such type.
        """
        from qmpd.devices.kinds import kinds
        from qmpd.objects.types import lookup_type

        device = kinds().get(args.typename)
        if device is None:
            return _described(lookup_type(args.typename).load())
        from qmpd.devices.device import device_class

        return _described(device_class(device))


def _described(kind: type[QomObject]) -> list[dict[str, Any]]:
    return [{"name": found.name, "type": found.type} for found in kind.all_properties()]
