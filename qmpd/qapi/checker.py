"""Turns parsed expressions into a `Schema`, or says what is wrong with them and where.

Two passes: `shapes` reads each expression alone (keys, names, flags, conditions, features); this module then
resolves names across all of them. Nothing leaves here half checked.
Source: "How to use the QAPI code generator", section "QAPI schema language" of the QEMU manual.
"""

from __future__ import annotations

from collections.abc import Iterable

from qmpd.qapi.names import normalized
from qmpd.qapi.parser import ParsedSchema, Pragma, parse_file
from qmpd.qapi.schema import (
    BUILTIN_JSON_TYPES,
    Alternate,
    Branch,
    Command,
    Definition,
    Enum,
    Event,
    Member,
    Schema,
    Struct,
    TypeDefinition,
    TypeRef,
    Union,
)
from qmpd.qapi.shapes import Shapes
from qmpd.qapi.source import SchemaError, SourceInfo

# What the `if` conditions of the schema may count on: qmpd runs on Linux only.
DEFINED = frozenset({"CONFIG_POSIX", "CONFIG_LINUX", "CONFIG_LINUX_AIO", "CONFIG_LINUX_IO_URING", "CONFIG_ZSTD"})

_NO_COMPOUND_RETURN = "a command returns an object or an array of objects, so that it can be extended"


def load(path: str, defined: frozenset[str] = DEFINED) -> Schema:
    """Parse and check the schema in `path`.

    :param defined: the symbols that `if` conditions take for true.
    :raises SchemaError: for the first thing found wrong.
    """
    return check(parse_file(path), defined)


def check(parsed: ParsedSchema, defined: frozenset[str] = DEFINED) -> Schema:
    """Check what `parse_file` read; see `load`."""
    schema = _collect(parsed, defined)
    _Checker(schema, parsed.pragma).run()
    return schema


def _collect(parsed: ParsedSchema, defined: frozenset[str]) -> Schema:
    """All definitions by name, none of them resolved yet."""
    shapes = Shapes(parsed.pragma, defined)
    types: dict[str, TypeDefinition] = {}
    entities: list[Command | Event] = []
    seen: dict[str, Definition] = {}
    for expression in parsed.expressions:
        for definition in shapes.read(expression):
            _reject_duplicate(seen, definition)
            if isinstance(definition, Command | Event):
                entities.append(definition)
            elif isinstance(definition, TypeDefinition):
                types[definition.name] = definition
    return Schema(
        types,
        {entity.name: entity for entity in entities if isinstance(entity, Command)},
        {entity.name: entity for entity in entities if isinstance(entity, Event)},
        tuple(entities),
        tuple(parsed.free_docs),
    )


def _reject_duplicate(seen: dict[str, Definition], definition: Definition) -> None:
    name = definition.name
    if name in BUILTIN_JSON_TYPES:
        raise SchemaError(definition.info, f"'{name}' is a built-in type")
    earlier = seen.setdefault(normalized(name), definition)
    if earlier is not definition:
        raise SchemaError(definition.info, f"'{name}' is already defined at {earlier.info}")


class _Checker:
    """Resolves names of one schema."""

    def __init__(self, schema: Schema, pragma: Pragma) -> None:
        self._schema = schema
        self._pragma = pragma

    def run(self) -> None:
        """Check every definition."""
        for definition in self._schema.types.values():
            self._type(definition)
        for entity in self._schema.entities:
            self._entity(entity)

    def _type(self, definition: TypeDefinition) -> None:
        match definition:
            case Struct():
                self._struct(definition)
            case Union():
                self._union(definition)
            case Alternate():
                self._alternate(definition)

    def _struct(self, struct: Struct) -> None:
        for member in struct.members:
            self._resolve(member.type, member.info, f"member '{member.name}' of '{struct.name}'")
        if struct.base is not None:
            self._base(struct, struct.base)
        self._reject_member_clashes(struct.name, self._schema.members(struct.name))

    def _base(self, definition: Struct | Union, name: str) -> None:
        self._resolve(TypeRef(name), definition.info, f"the base of '{definition.name}'")
        seen = {definition.name}
        base: str | None = name
        while base is not None:
            struct = self._schema.types.get(base)
            if not isinstance(struct, Struct):
                raise SchemaError(definition.info, f"the base of '{definition.name}' must be a struct, '{base}' is not")
            if base in seen:
                raise SchemaError(definition.info, f"the bases of '{definition.name}' form a loop")
            seen.add(base)
            base = struct.base

    def _union(self, union: Union) -> None:
        self._base(union, union.base)
        base_members = list(self._schema.members(union.base))
        tag = next((member for member in base_members if member.name == union.discriminator), None)
        label = f"discriminator '{union.discriminator}' of '{union.name}'"
        if tag is None:
            raise SchemaError(union.info, f"{label} must be a member of its base '{union.base}'")
        enum = self._schema.types.get(tag.type.name)
        if not isinstance(enum, Enum) or tag.type.is_array:
            raise SchemaError(union.info, f"{label} must be of an enum type, {tag.type} is not")
        if tag.optional:
            raise SchemaError(union.info, f"{label} must not be optional")
        values = {value.name for value in enum.values}
        for branch in union.branches:
            self._union_branch(union, branch, base_members)
            if branch.name not in values:
                raise SchemaError(
                    branch.info, f"branch '{branch.name}' of '{union.name}' is not a value of '{enum.name}'"
                )

    def _union_branch(self, union: Union, branch: Branch, base_members: list[Member]) -> None:
        label = f"branch '{branch.name}' of '{union.name}'"
        self._resolve(branch.type, branch.info, label)
        struct = self._schema.types.get(branch.type.name)
        if not isinstance(struct, Struct) or branch.type.is_array:
            raise SchemaError(branch.info, f"{label} must be of a struct type, {branch.type} is not")
        if struct.base is not None:
            self._base(struct, struct.base)
        self._reject_member_clashes(label, [*base_members, *self._schema.members(struct.name)])

    def _alternate(self, alternate: Alternate) -> None:
        kinds: dict[str, Branch] = {}
        for branch in alternate.branches:
            label = f"branch '{branch.name}' of '{alternate.name}'"
            self._resolve(branch.type, branch.info, label)
            for kind in self._json_kinds(branch, label):
                earlier = kinds.setdefault(kind, branch)
                if earlier is not branch:
                    raise SchemaError(branch.info, f"{label} cannot be told apart from its branch '{earlier.name}'")

    def _json_kinds(self, branch: Branch, label: str) -> list[str]:
        """What values of the branch may look like. On a command line numbers and booleans come as strings."""
        if branch.type.is_array:
            return ["array"]
        definition = self._schema.types.get(branch.type.name)
        if isinstance(definition, Struct | Union):
            return ["object"]
        if isinstance(definition, Alternate):
            raise SchemaError(branch.info, f"{label} must not be an alternate itself")
        if isinstance(definition, Enum):
            return self._enum_kinds(definition)
        kind = BUILTIN_JSON_TYPES[branch.type.name]
        if kind == "value":
            raise SchemaError(branch.info, f"{label} must not be of type {branch.type}, which is everything")
        return {
            "string": ["string", "number text", "boolean text"],
            "int": ["number", "number text"],
            "number": ["number", "number text"],
            "boolean": ["boolean", "boolean text"],
        }.get(kind, [kind])

    def _enum_kinds(self, enum: Enum) -> list[str]:
        kinds = ["string"]
        if any(value.name[0].isdigit() for value in enum.values):
            kinds.append("number text")
        if any(value.name in ("on", "off") for value in enum.values):
            kinds.append("boolean text")
        return kinds

    def _entity(self, entity: Command | Event) -> None:
        if entity.arg_type is not None:
            self._arguments(entity, entity.arg_type)
        if isinstance(entity, Command) and entity.ret_type is not None:
            self._return(entity, entity.ret_type)

    def _arguments(self, entity: Command | Event, name: str) -> None:
        label = f"the data of '{entity.name}'"
        self._resolve(TypeRef(name), entity.info, label)
        definition = self._schema.types.get(name)
        if not isinstance(definition, Struct | Union):
            raise SchemaError(entity.info, f"{label} must be an object type, '{name}' is not")
        if isinstance(definition, Union) and not entity.boxed:
            raise SchemaError(entity.info, f"{label} is a union, which needs 'boxed': true")

    def _return(self, command: Command, returned: TypeRef) -> None:
        self._resolve(returned, command.info, f"what '{command.name}' returns")
        definition = self._schema.types.get(returned.name)
        excused = command.name in self._pragma.command_returns_exceptions
        if not isinstance(definition, Struct | Union) and not excused:
            raise SchemaError(command.info, f"'{command.name}' returns {returned}; {_NO_COMPOUND_RETURN}")

    def _resolve(self, reference: TypeRef, info: SourceInfo, label: str) -> None:
        if reference.name not in self._schema.types and reference.name not in BUILTIN_JSON_TYPES:
            raise SchemaError(info, f"{label} has the unknown type '{reference.name}'")

    def _reject_member_clashes(self, owner: str, members: Iterable[Member]) -> None:
        seen: dict[str, Member] = {}
        for member in members:
            earlier = seen.setdefault(normalized(member.name), member)
            if earlier is not member:
                label = f"member '{member.name}' of {_quoted(owner)}"
                raise SchemaError(member.info, f"{label} clashes with '{earlier.name}' at {earlier.info}")


def _quoted(owner: str) -> str:
    return owner if " " in owner else f"'{owner}'"
