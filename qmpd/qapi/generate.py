"""Writes the package `qmpd.api` from a checked schema.

Each `generate_*` function gives the text of one module; `generate` names them all. The text depends on the
schema alone, so that a stale package can be told by comparing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qmpd.qapi.generate_models import PYTHON_TYPES, generate_enums, generate_models, generate_structs, type_name
from qmpd.qapi.introspect import introspect
from qmpd.qapi.names import to_class
from qmpd.qapi.render import literal, module, quote
from qmpd.qapi.schema import (
    Alternate,
    Command,
    Definition,
    Enum,
    Event,
    Member,
    Schema,
    Struct,
    TypeRef,
    Union,
)


def generate(schema: Schema, package: str = "qmpd.api") -> dict[str, str]:
    """All modules of the package: file name to text.

    :param package: the name under which the package will be imported.
    """
    return {
        "__init__.py": generate_package(),
        "enums.py": generate_enums(schema),
        **generate_structs(schema, package),
        "models.py": generate_models(schema, package),
        "tables.py": generate_tables(schema, package),
        "introspection.py": generate_introspection(schema),
        "keyval_types.py": generate_keyval_types(schema),
    }


def generate_package() -> str:
    """`__init__.py`: what the package is."""
    return module(
        "The interface as Python: models, tables of commands and events, introspection.",
        "Importing the package or its `tables` is cheap; pydantic comes in with the first use of a struct.",
    )


def generate_tables(schema: Schema, package: str) -> str:
    """`tables.py`: what the monitor must know of commands and events."""
    lines = [
        module("The commands and events of the schema, by name."),
        "from collections.abc import Mapping",
        "from types import MappingProxyType\n",
        "from qmpd.qapi.tables import CommandInfo, EventInfo\n",
        f'_MODELS = "{package}.models"\n',
        "COMMANDS: Mapping[str, CommandInfo] = MappingProxyType(",
        "    {",
    ]
    lines += [_table_entry("CommandInfo", item, _command_fields(item)) for item in schema.commands.values()]
    lines += ["    }", ")", "", "EVENTS: Mapping[str, EventInfo] = MappingProxyType(", "    {"]
    lines += [_table_entry("EventInfo", item, _event_fields(item)) for item in schema.events.values()]
    lines += ["    }", ")"]
    return "\n".join(lines) + "\n"


def _command_fields(command: Command) -> Iterator[str]:
    yield from _event_fields(command)
    if command.ret_type is not None:
        name = type_name(command.ret_type)
        yield f"ret_type={quote(f'[{name}]' if command.ret_type.is_array else name)}"
    for flag in ("free_form", "allow_oob", "allow_preconfig", "coroutine"):
        if getattr(command, flag):
            yield f"{flag}=True"
    if not command.success_response:
        yield "success_response=False"


def _event_fields(entity: Command | Event) -> Iterator[str]:
    if entity.arg_type is not None:
        yield f"arg_type={quote(to_class(entity.arg_type))}"
    if entity.features:
        yield f"features=({', '.join(map(quote, entity.features))},)"


def _table_entry(kind: str, entity: Command | Event, fields: Iterable[str]) -> str:
    arguments = ", ".join([quote(entity.name), "_MODELS", *fields])
    return f"        {quote(entity.name)}: {kind}({arguments}),"


def generate_introspection(schema: Schema) -> str:
    """`introspection.py`: the payload of `query-qmp-schema`."""
    entities = ",\n".join("        " + literal(entity) for entity in introspect(schema))
    return "\n".join(
        [
            module("What `query-qmp-schema` answers."),
            "from typing import Any\n\n",
            "def schema_info() -> list[dict[str, Any]]:",
            '    """The interface as clients see it, type names masked as QEMU does; a new copy."""',
            "    return [",
            entities + ",",
            "    ]",
            "",
        ]
    )


def generate_keyval_types(schema: Schema) -> str:
    """`keyval_types.py`: what `qmpd.qapi.keyval.convert` must know to read values from text."""
    lines = [
        module("The types of the schema, for reading values from key=value text."),
        "from collections.abc import Mapping\n",
        "from qmpd.qapi.keyval import AlternateType, EnumType, KeyvalType, StructType, UnionType\n",
        "TYPES: Mapping[str, KeyvalType] = {",
    ]
    for definition in schema.types.values():
        name = to_class(definition.name)
        lines.append(f"    {quote(name)}: {_keyval_type(schema, definition)},")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _keyval_type(schema: Schema, definition: Definition) -> str:
    match definition:
        case Enum():
            return f"EnumType({literal([value.name for value in definition.values])})"
        case Struct():
            return f"StructType({_keyval_members(schema.members(definition.name))})"
        case Union():
            branches = {branch.name: to_class(branch.type.name) for branch in definition.branches}
            members = _keyval_members(schema.members(definition.base))
            return f"UnionType({members}, {quote(definition.discriminator)}, {literal(branches)})"
        case Alternate():
            return f"AlternateType({literal([_keyval_ref(branch.type) for branch in definition.branches])})"
    raise AssertionError(definition)


def _keyval_members(members: Iterable[Member]) -> str:
    return literal({member.name: _keyval_ref(member.type) for member in members})


def _keyval_ref(reference: TypeRef) -> str:
    name = reference.name if reference.name in PYTHON_TYPES else to_class(reference.name)
    return f"[{name}]" if reference.is_array else name
