"""A checked schema: definitions that refer to each other by name.

Made by `checker.check`; read by the generators. Nothing here can be wrong any more: every name resolves,
every member is unique, every discriminator fits. `if` conditions have been decided, so what is off is not
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qmpd.qapi.doc import Doc
from qmpd.qapi.ranges import INTEGER_RANGES
from qmpd.qapi.source import SourceInfo

BUILTIN_JSON_TYPES: dict[str, str] = {
    **dict.fromkeys(INTEGER_RANGES, "int"),
    "str": "string",
    "number": "number",
    "bool": "boolean",
    "null": "null",
    "any": "value",
}


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A use of a type: the type of that name, or an array of it."""

    name: str
    is_array: bool = False

    def __str__(self) -> str:
        return f"['{self.name}']" if self.is_array else f"'{self.name}'"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct, or of a union's base."""

    name: str
    type: TypeRef
    optional: bool
    features: tuple[str, ...]
    info: SourceInfo


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A value of an enum."""

    name: str
    features: tuple[str, ...]
    info: SourceInfo


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a union (`name` is the discriminator's value) or alternate (`name` is but a label)."""

    name: str
    type: TypeRef
    info: SourceInfo


@dataclass(frozen=True, slots=True)
class Definition:
    """What all definitions share."""

    name: str
    info: SourceInfo
    doc: Doc | None
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enum(Definition):
    """A closed set of strings."""

    values: tuple[EnumValue, ...]


@dataclass(frozen=True, slots=True)
class Struct(Definition):
    """An object type. `implicit` types are written in place and have no name clients could know."""

    base: str | None
    members: tuple[Member, ...]
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class Union(Definition):
    """An object type whose further members depend on its discriminator, an enum member of the base."""

    base: str
    discriminator: str
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Alternate(Definition):
    """A value that is one of several types, told apart by its JSON type."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Command(Definition):
    """A QMP command.

    :ivar free_form: it takes more members than its arguments name, and looks at all of them itself.
    """

    arg_type: str | None
    ret_type: TypeRef | None
    boxed: bool
    free_form: bool
    success_response: bool
    allow_oob: bool
    allow_preconfig: bool
    coroutine: bool


@dataclass(frozen=True, slots=True)
class Event(Definition):
    """A QMP event."""

    arg_type: str | None
    boxed: bool


TypeDefinition = Enum | Struct | Union | Alternate


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema, in the order in which it is written.

    :param types: by name; implicit types come right before what uses them.
    :param free_docs: documentation that belongs to no definition.
    """

    types: dict[str, TypeDefinition]
    commands: dict[str, Command]
    events: dict[str, Event]
    entities: tuple[Command | Event, ...]
    free_docs: tuple[Doc, ...]

    def members(self, name: str) -> Iterator[Member]:
        """The members of struct `name`, or of the base of union `name`; the base's first."""
        definition = self.types[name]
        assert isinstance(definition, Struct | Union), name
        if definition.base is not None:
            yield from self.members(definition.base)
        if isinstance(definition, Struct):
            yield from definition.members

    def discriminator(self, union: Union) -> Enum:
        """The enum that chooses the union's branch."""
        member = next(item for item in self.members(union.base) if item.name == union.discriminator)
        enum = self.types[member.type.name]
        assert isinstance(enum, Enum)
        return enum

    def branch_type(self, union: Union, value: str) -> str | None:
        """The struct that holds the further members for discriminator `value`; None if there are none."""
        return next((branch.type.name for branch in union.branches if branch.name == value), None)
