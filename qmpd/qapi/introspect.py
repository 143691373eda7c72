"""Builds the payload of `query-qmp-schema` as QEMU's tools build it.

Type names are no part of the interface, so they are masked: each type gets a decimal number in the order of
its first use, arrays are `[element]`, built-in types keep their names, and all integer types are `int`.
Commands and events come first, in schema order, then types in the order of their first use. Types that
nothing uses are left out.
Source: "Client JSON Protocol introspection" in the QEMU manual's description of the QAPI code generator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qmpd.qapi.ranges import INTEGER_RANGES
from qmpd.qapi.schema import (
    BUILTIN_JSON_TYPES,
    Alternate,
    Command,
    Enum,
    Event,
    Member,
    Schema,
    Struct,
    TypeRef,
    Union,
)

Entity = dict[str, Any]

# What a command takes that takes nothing, and returns that returns nothing.
_EMPTY = TypeRef("q_empty")


def introspect(schema: Schema) -> list[Entity]:
    """The payload: one object for each command, event and type that a client can meet."""
    return _Introspection(schema).run()


class _Introspection:
    """Numbers types while it describes what uses them."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._numbers: dict[str, str] = {}
        self._used: dict[TypeRef, None] = {}

    def run(self) -> list[Entity]:
        """Describe everything."""
        entities = [self._entity(entity) for entity in self._schema.entities]
        described = 0
        while described < len(self._used):
            reference = list(self._used)[described]
            entities.append(self._type(reference))
            described += 1
        return entities

    def _use(self, reference: TypeRef) -> str:
        """The masked name of a type, which is then described in its turn."""
        if reference.name in INTEGER_RANGES:
            reference = TypeRef("int", reference.is_array)
        self._used.setdefault(reference)
        if reference.is_array:
            return f"[{self._use(TypeRef(reference.name))}]"
        if reference.name in BUILTIN_JSON_TYPES:
            return reference.name
        return self._numbers.setdefault(reference.name, str(len(self._numbers)))

    def _entity(self, entity: Command | Event) -> Entity:
        described: Entity = {
            "name": entity.name,
            "meta-type": "command" if isinstance(entity, Command) else "event",
            "arg-type": self._use(TypeRef(entity.arg_type) if entity.arg_type is not None else _EMPTY),
        }
        if isinstance(entity, Command):
            described["ret-type"] = self._use(entity.ret_type or _EMPTY)
            if entity.allow_oob:
                described["allow-oob"] = True
        return _with_features(described, entity.features)

    def _type(self, reference: TypeRef) -> Entity:
        name = self._use(reference)
        if reference.is_array:
            return {"name": name, "meta-type": "array", "element-type": self._use(TypeRef(reference.name))}
        if reference.name in BUILTIN_JSON_TYPES:
            return {"name": name, "meta-type": "builtin", "json-type": BUILTIN_JSON_TYPES[reference.name]}
        if reference == _EMPTY:
            return {"name": name, "meta-type": "object", "members": []}
        definition = self._schema.types[reference.name]
        described: Entity = {"name": name}
        match definition:
            case Enum():
                described |= _enum(definition)
            case Struct():
                described |= {"meta-type": "object", "members": self._members(definition.name)}
            case Union():
                described |= self._union(definition)
            case Alternate():
                branches = [{"type": self._use(branch.type)} for branch in definition.branches]
                described |= {"meta-type": "alternate", "members": branches}
        return _with_features(described, definition.features)

    def _members(self, name: str) -> list[Entity]:
        return [self._member(member) for member in self._schema.members(name)]

    def _member(self, member: Member) -> Entity:
        described: Entity = {"name": member.name, "type": self._use(member.type)}
        if member.optional:
            described["default"] = None
        return _with_features(described, member.features)

    def _union(self, union: Union) -> Entity:
        members = self._members(union.base)
        variants = [{"case": branch.name, "type": self._use(branch.type)} for branch in union.branches]
        present = {branch.name for branch in union.branches}
        variants += [
            {"case": value.name, "type": self._use(_EMPTY)}
            for value in self._schema.discriminator(union).values
            if value.name not in present
        ]
        return {"meta-type": "object", "members": members, "tag": union.discriminator, "variants": variants}


def _enum(enum: Enum) -> Entity:
    return {
        "meta-type": "enum",
        "members": [_with_features({"name": value.name}, value.features) for value in enum.values],
        "values": [value.name for value in enum.values],
    }


def _with_features(described: Entity, features: Iterable[str]) -> Entity:
    listed = list(features)
    return {**described, "features": listed} if listed else described
