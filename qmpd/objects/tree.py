"""The tree of objects: made, found by path, changed, deleted.

The root has the container `objects` as soon as there is an object, and whatever others have put there, such as
`machine` with the devices. A path is absolute (`/objects/ID`), or the end of one (`ID`), as long as only one object is
found by it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, ClassVar

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.objects.base import Offload, Property, QomObject, UserObject
from qmpd.objects.types import user_class

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_SCHEMA_TYPES = {"int": "Int64", "string": "str"}


class AmbiguousPath(GenericError):
    """More than one object is found by the path."""


class Container(QomObject):
    """An object that only has others below it."""

    type_name: ClassVar[str] = "container"

    def __init__(self) -> None:
        self.below: dict[str, QomObject] = {}

    def children(self) -> Mapping[str, QomObject]:
        return self.below


class ObjectTree:
    """All objects of a daemon.

    :param offload: calls functions that read files in another thread.
    """

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._root = Container()
        self._objects = Container()
        self._making: set[str] = set()

    def __iter__(self) -> Iterator[UserObject]:
        """The objects that clients have made, oldest first."""
        return (found for found in list(self._objects.below.values()) if isinstance(found, UserObject))

    def mount(self, name: str, below: QomObject) -> None:
        """Let something be found below the root."""
        self._root.below[name] = below

    async def add(self, type_name: str, object_id: str, properties: Mapping[str, Any]) -> UserObject:
        """Make an object.

        :param type_name: one of the schema's `ObjectType`.
        :param properties: validated by the schema.
        :raises GenericError: the id is ill-formed or taken, or the properties are wrong; there is no object then.
        """
        if not _WELL_FORMED.match(object_id):
            raise GenericError(
                f"'{object_id}' cannot be an object's id: it begins with a letter and has only letters, digits, "
                "'-', '.' and '_'"
            )
        if object_id in self._objects.below or object_id in self._making:
            raise GenericError(f"The object id '{object_id}' is in use; choose another 'id'")
        made = user_class(type_name)(object_id, self)
        self._making.add(object_id)
        try:
            for name, value in properties.items():
                _change(made, name, value)
            await made.load(self._offload)
        finally:
            self._making.remove(object_id)
        made.complete = True
        made.definition = dict(properties)
        self._objects.below[object_id] = made
        self._root.below["objects"] = self._objects
        return made

    def remove(self, object_id: str) -> None:
        """Delete an object that a client has made.

        :raises GenericError: there is none, or it is in use.
        """
        found = self.find(object_id)
        if found is None:
            raise GenericError(f"There is no object with the id '{object_id}'")
        if found.users:
            raise GenericError(f"Object '{object_id}' is in use by {found.users[0]}")
        del self._objects.below[object_id]
        found.close()

    async def let_pass(self) -> None:
        """Let no object hold back anything any more. For shutdown."""
        for found in self:
            found.let_pass()

    def find(self, object_id: str) -> UserObject | None:
        """The object of that id, None if there is none."""
        found = self._objects.below.get(object_id)
        return found if isinstance(found, UserObject) else None

    def resolve(self, path: str) -> QomObject:
        """The object at `path`.

        :raises DeviceNotFound: there is none.
        :raises AmbiguousPath: it is the end of several paths.
        """
        parts = [part for part in path.split("/") if part]
        if path.startswith("/"):
            found = _walk(self._root, parts)
            candidates = [] if found is None else [found]
        else:
            starts = [self._root, *_all_below(self._root)]
            candidates = [end for start in starts if (end := _walk(start, parts)) is not None]
        if not candidates:
            raise DeviceNotFound(f"There is no object with the path '{path}'")
        if len(candidates) > 1:
            raise AmbiguousPath(f"Path '{path}' is ambiguous; begin it with '/'")
        return candidates[0]

    def get(self, path: str, name: str) -> object:
        """The value of a property; of an object below, its path.

        :raises DeviceNotFound: there is no such object.
        :raises GenericError: it has no such property, or does not show it.
        """
        owner = self._resolve_one(path)
        below = owner.children().get(name)
        if below is not None:
            return self._path_of(below)
        return _property(owner, name).get(owner)

    def set(self, path: str, name: str, value: object) -> Awaitable[None] | None:
        """Change a property.

        :param value: as the client sent it.
        :returns: what has to be awaited for the change to take effect, None if it has.
        :raises DeviceNotFound: there is no such object.
        :raises GenericError: it has no such property, it cannot be changed, or not to that.
        """
        owner = self._resolve_one(path)
        if name in owner.children():
            raise GenericError(f"'{owner.type_name}.{name}' is an object and cannot be set")
        found = _property(owner, name)
        if found.set is None:
            raise GenericError(f"Property '{owner.type_name}.{name}' is not writable")
        valid = _validated(found, value)
        change = _change(owner, name, valid)
        if isinstance(owner, UserObject):
            owner.definition[name] = valid
        return change

    def _resolve_one(self, path: str) -> QomObject:
        try:
            return self.resolve(path)
        except AmbiguousPath as error:
            raise DeviceNotFound(error.desc) from error

    def _path_of(self, wanted: QomObject) -> str:
        return next(path for path, found in _all_paths("", self._root) if found is wanted)


def _walk(start: QomObject, parts: list[str]) -> QomObject | None:
    found: QomObject | None = start
    for part in parts:
        if found is None:
            return None
        found = found.children().get(part)
    return found


def _all_below(start: QomObject) -> Iterator[QomObject]:
    for child in start.children().values():
        yield child
        yield from _all_below(child)


def _all_paths(path: str, start: QomObject) -> Iterator[tuple[str, QomObject]]:
    for name, child in start.children().items():
        yield f"{path}/{name}", child
        yield from _all_paths(f"{path}/{name}", child)


def _property(owner: QomObject, name: str) -> Property:
    found = owner.find_property(name)
    if found is None:
        known = ", ".join(f"'{known.name}'" for known in owner.all_properties())
        raise GenericError(f"Property '{owner.type_name}.{name}' does not exist; there are {known}")
    return found


def _change(owner: QomObject, name: str, value: Any) -> Awaitable[None] | None:
    change = _property(owner, name).set
    if change is None:
        raise GenericError(f"Property '{owner.type_name}.{name}' is not writable")
    return change(owner, value)


def _validated(found: Property, value: object) -> Any:
    """`value` as JSON-ready data that is what the property's type wants.

    :raises GenericError: it is not.
    """
    # Not before the first object is changed: most daemons never change one.
    from qmpd.api.keyval_types import TYPES
    from qmpd.qapi.explain import explain
    from qmpd.qapi.tables import validator

    name = found.schema or _SCHEMA_TYPES.get(found.type, found.type)
    try:
        made = validator("qmpd.api.models", name).validate_python(value, by_alias=True, by_name=False)
    except ValueError as error:
        raise GenericError(f"Property '{found.name}': {explain(error, TYPES)}") from error
    if isinstance(made, list):
        return [item.to_json() for item in made]
    return made.to_json() if hasattr(made, "to_json") else made
