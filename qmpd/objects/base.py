"""What all objects have in common: a type, an id, properties, users.

Properties are given when an object is made, and some may be changed later. Their values are validated by the schema's
types before an object sees them. An object in use cannot be deleted, so whoever uses one says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.objects.tree import ObjectTree

T = TypeVar("T")


class Offload(Protocol):
    """Calls a function that may block in another thread."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a type of objects.

    :ivar type: the name that clients are shown: `int`, `bool`, `string`, or a type of the schema.
    :ivar get: reads it.
    :ivar set: changes it, or gives what is to be awaited for that; None if it cannot be changed, not even when the
        object is made.
    :ivar schema: the schema's type of its value, where `type` is not its name.
    """

    name: str
    type: str
    get: Callable[[Any], object]
    set: Callable[[Any, Any], Awaitable[None] | None] | None = None
    schema: str | None = None


class QomObject:
    """Anything that has a path.

    :cvar type_name: its type.
    :cvar properties: those that its type adds to its parent's.
    """

    type_name: ClassVar[str] = "object"
    properties: ClassVar[tuple[Property, ...]] = (Property("type", "string", lambda self: self.type_name),)

    @classmethod
    def all_properties(cls) -> Iterator[Property]:
        """Those of its type and of all types that this is derived from, the most general ones first."""
        for kind in reversed(cls.__mro__):
            yield from vars(kind).get("properties", ())

    @classmethod
    def find_property(cls, name: str) -> Property | None:
        """The property of that name."""
        return next((found for found in cls.all_properties() if found.name == name), None)

    def children(self) -> Mapping[str, QomObject]:
        """The objects below, by name."""
        return {}


class UserObject(QomObject):
    """An object that a client makes; `tree.ObjectTree.add` does it.

    :ivar complete: it has been made: what is not meant to change is fixed from now on.
    :ivar users: what uses it, in words for messages.
    :ivar definition: the properties as clients have given them.
    """

    def __init__(self, object_id: str, tree: ObjectTree) -> None:
        self.object_id = object_id
        self.tree = tree
        self.complete = False
        self.users: list[str] = []
        self.definition: dict[str, Any] = {}

    async def load(self, offload: Offload) -> None:
        """Read what the properties name, and check it. Called once, with all properties set.

        :raises GenericError: it is missing or wrong.
        """

    def use(self, user: str) -> None:
        """Keep the object from being deleted."""
        self.users.append(user)

    def release(self, user: str) -> None:
        """End one `use`."""
        self.users.remove(user)

    def close(self) -> None:
        """The object has been deleted."""

    def let_pass(self) -> None:
        """Hold back nothing any more: the daemon ends."""

    def check_changeable(self, name: str) -> None:
        """Pass while the object is being made.

        :raises GenericError: it has been made, and `name` is fixed.
        """
        if self.complete:
            raise GenericError(
                f"Property '{name}' of object '{self.object_id}' is fixed; delete the object and make another one"
            )


def fixed(name: str, type_name: str, attribute: str) -> Property:
    """A property that is set only while its object is being made; kept as `attribute`."""

    def change(self: UserObject, value: object) -> None:
        self.check_changeable(name)
        setattr(self, attribute, value)

    return Property(name, type_name, lambda self: getattr(self, attribute), change)


def changeable(name: str, type_name: str, attribute: str) -> Property:
    """A property that may be set at any time; kept as `attribute`."""
    return Property(
        name, type_name, lambda self: getattr(self, attribute), lambda self, value: setattr(self, attribute, value)
    )
