"""Writes the package `qmpd.api` from a checked schema.

Each `generate_*` function gives the text of one module; `generate` names them all. The text depends on the
schema alone, so that a stale package can be told by comparing.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator

from qmpd.qapi.doc import Doc
from qmpd.qapi.introspect import introspect
from qmpd.qapi.names import to_class, to_constant, to_field
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

_WIDTH = 110
_PYTHON_TYPES = {
    "str": "str",
    "bool": "bool",
    "number": "float",
    "null": "None",
    "any": "Any",
    "int": "Int64",
    "size": "UInt64",
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
}
_PLAIN_TYPES = ("str", "bool", "float", "None")
_JSON_TYPE_TAGS = {"str": "=string", "bool": "=boolean", "null": "=null"}
_MODEL_NAMES = (
    *sorted(set(_PYTHON_TYPES.values()) - {*_PLAIN_TYPES, "Any"}),
    "Array",
    "Maybe",
    "Model",
    "by_json_type",
    "by_member",
)
_NOTICE = "GENERATED from schema/ by `make schema`; change the schema, not this file."


def generate(schema: Schema, package: str = "qmpd.api") -> dict[str, str]:
    """All modules of the package: file name to text.

    :param package: the name under which the package will be imported.
    """
    return {
        "__init__.py": generate_package(),
        "enums.py": generate_enums(schema),
        "structs.py": generate_structs(schema, package),
        "models.py": generate_models(schema, package),
        "tables.py": generate_tables(schema, package),
        "introspection.py": generate_introspection(schema),
        "keyval_types.py": generate_keyval_types(schema),
    }


def generate_package() -> str:
    """`__init__.py`: what the package is."""
    return _module(
        "The interface as Python: models, tables of commands and events, introspection.",
        "Importing the package or its `tables` is cheap; pydantic comes in with the first use of a struct.",
    )


def generate_enums(schema: Schema) -> str:
    """`enums.py`: the enums, usable without pydantic."""
    lines = [_module("The enums of the schema."), "from qmpd.qapi.enums import QAPIEnum\n"]
    enums = [item for item in schema.types.values() if isinstance(item, Enum)]
    lines.append(_all_list(item.name for item in enums))
    for enum in enums:
        lines += ["", f"\nclass {to_class(enum.name)}(QAPIEnum):", *_docstring(enum.doc, "    ")]
        for value in enum.values:
            lines += ["", f"    {to_constant(value.name)} = {_quote(value.name)}"]
            lines += _member_doc(enum.doc, value.name)
        if not enum.values:
            lines += ["", "    pass"]
    return "\n".join(lines) + "\n"


def generate_structs(schema: Schema, package: str) -> str:
    """`structs.py`: pydantic models of structs and of the branches of unions, then unions and alternates."""
    classes: list[str] = []
    ordered = sorted(
        (item for item in schema.types.values() if isinstance(item, Struct)),
        key=lambda struct: _depth(schema, struct),
    )
    for struct in ordered:
        classes += _struct_class(schema, struct)
    aliases: list[str] = []
    for definition in schema.types.values():
        if isinstance(definition, Union):
            classes += _branch_classes(schema, definition)
            aliases += _union_alias(schema, definition)
        elif isinstance(definition, Alternate):
            aliases += _alternate_alias(schema, definition)
    body = "\n".join([*classes, *aliases])
    enums = sorted(item.name for item in schema.types.values() if isinstance(item, Enum))
    exported = [name for name in _defined_names(schema) if name not in enums]
    head = [
        _module("The object types of the schema, as pydantic models."),
        *_imports("from typing import ", _used(body, ("Annotated", "Any", "Literal", "Union"))),
        "",
        *_imports("from pydantic import ", _used(body, ("Discriminator", "Field", "Tag"))),
        *_imports("from typing_extensions import ", _used(body, ("TypeAliasType",))),
        "",
        *_imports(f"from {package}.enums import ", _used(body, enums)),
        *_imports("from qmpd.qapi.model import ", _used(body, _MODEL_NAMES)),
        "",
        _all_list(exported),
    ]
    return "\n".join([*head, body]) + "\n"


def generate_models(schema: Schema, package: str) -> str:
    """`models.py`: enums and structs under one name, imported when they are first used."""
    enums = [item.name for item in schema.types.values() if isinstance(item, Enum)]
    structs = [name for name in _defined_names(schema) if name not in enums]
    return "\n".join(
        [
            _module(
                "Every type of the schema under its own name.",
                "Imports a type when it is first asked for: an enum does not bring in pydantic.",
            ),
            "from typing import TYPE_CHECKING\n",
            "if TYPE_CHECKING:",
            *(f"    from {package}.enums import {to_class(name)} as {to_class(name)}" for name in enums),
            *(f"    from {package}.structs import {name} as {name}" for name in structs),
            "",
            f"_ENUMS = frozenset({json.dumps(sorted(enums), indent=4)})",
            _all_list([*enums, *structs]),
            _LAZY_LOOKUP.replace("PACKAGE", package),
        ]
    )


_LAZY_LOOKUP = '''

def __getattr__(name: str) -> object:
    """Fetch `name` from the module that defines it, once."""
    if name not in __all__:
        raise AttributeError(f"the schema has no type '{name}'")
    if name in _ENUMS:
        from PACKAGE import enums as source
    else:
        from PACKAGE import structs as source  # type: ignore[no-redef]
    found: object = getattr(source, name)
    globals()[name] = found
    return found
'''


def generate_tables(schema: Schema, package: str) -> str:
    """`tables.py`: what the monitor must know of commands and events."""
    lines = [
        _module("The commands and events of the schema, by name."),
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
        name = _type_name(command.ret_type)
        yield f"ret_type={_quote(f'[{name}]' if command.ret_type.is_array else name)}"
    for flag in ("allow_oob", "allow_preconfig", "coroutine"):
        if getattr(command, flag):
            yield f"{flag}=True"
    if not command.success_response:
        yield "success_response=False"


def _event_fields(entity: Command | Event) -> Iterator[str]:
    if entity.arg_type is not None:
        yield f"arg_type={_quote(to_class(entity.arg_type))}"
    if entity.features:
        yield f"features=({', '.join(map(_quote, entity.features))},)"


def _table_entry(kind: str, entity: Command | Event, fields: Iterable[str]) -> str:
    arguments = ", ".join([_quote(entity.name), "_MODELS", *fields])
    return f"        {_quote(entity.name)}: {kind}({arguments}),"


def generate_introspection(schema: Schema) -> str:
    """`introspection.py`: the payload of `query-qmp-schema`."""
    entities = ",\n".join("        " + _literal(entity) for entity in introspect(schema))
    return "\n".join(
        [
            _module("What `query-qmp-schema` answers."),
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
        _module("The types of the schema, for reading values from key=value text."),
        "from collections.abc import Mapping\n",
        "from qmpd.qapi.keyval import AlternateType, EnumType, KeyvalType, StructType, UnionType\n",
        "TYPES: Mapping[str, KeyvalType] = {",
    ]
    for definition in schema.types.values():
        name = to_class(definition.name)
        lines.append(f"    {_quote(name)}: {_keyval_type(schema, definition)},")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _keyval_type(schema: Schema, definition: Definition) -> str:
    match definition:
        case Enum():
            return f"EnumType({_literal([value.name for value in definition.values])})"
        case Struct():
            return f"StructType({_keyval_members(schema.members(definition.name))})"
        case Union():
            branches = {branch.name: to_class(branch.type.name) for branch in definition.branches}
            members = _keyval_members(schema.members(definition.base))
            return f"UnionType({members}, {_quote(definition.discriminator)}, {_literal(branches)})"
        case Alternate():
            return f"AlternateType({_literal([_keyval_ref(branch.type) for branch in definition.branches])})"
    raise AssertionError(definition)


def _keyval_members(members: Iterable[Member]) -> str:
    return _literal({member.name: _keyval_ref(member.type) for member in members})


def _keyval_ref(reference: TypeRef) -> str:
    name = reference.name if reference.name in _PYTHON_TYPES else to_class(reference.name)
    return f"[{name}]" if reference.is_array else name


def _struct_class(schema: Schema, struct: Struct) -> list[str]:
    base = to_class(struct.base) if struct.base is not None else "Model"
    lines = ["", f"\nclass {to_class(struct.name)}({base}):"]
    if struct.implicit:
        lines += _implicit_docstring(struct.name)
    else:
        lines += _docstring(struct.doc, "    ")
    for member in struct.members:
        lines += ["", _field(member), *_member_doc(struct.doc, member.name)]
    return lines


def _implicit_docstring(name: str) -> list[str]:
    owner, kind = name.removeprefix("q_obj_").rsplit("-", 1)
    what = "The members all branches of" if kind == "base" else "The arguments of"
    suffix = " have." if kind == "base" else "."
    return [f'    """{what} `{owner}`{suffix}"""']


def _field(member: Member) -> str:
    field = to_field(member.name)
    kind = _python_type(member.type)
    if member.optional and kind != "Any":
        kind = f"Maybe[{kind}]"
    default = _field_default(member.name, field, optional=member.optional)
    return f"    {field}: {kind}{default}"


def _field_default(name: str, field: str, *, optional: bool) -> str:
    if name == field:
        return " = None" if optional else ""
    default = "default=None, " if optional else ""
    return f" = Field({default}alias={_quote(name)})"


def _branch_classes(schema: Schema, union: Union) -> list[str]:
    """One class for each value of the discriminator, with the members of base and branch."""
    lines: list[str] = []
    enum = schema.discriminator(union)
    for value in enum.values:
        branch = schema.branch_type(union, value.name)
        bases = ([to_class(branch)] if branch is not None else []) + [to_class(union.base)]
        literal = f"Literal[{to_class(enum.name)}.{to_constant(value.name)}]"
        field = to_field(union.discriminator)
        default = _field_default(union.discriminator, field, optional=False)
        lines += [
            "",
            f"\nclass {branch_class(schema, union, value.name)}({', '.join(bases)}):",
            f'    """`{union.name}` with `{union.discriminator}` `{value.name}`."""',
            "",
            f"    {field}: {literal}{default}",
        ]
    return lines


def branch_class(schema: Schema, union: Union, value: str) -> str:
    """The name of the class for one value of a union's discriminator."""
    name = to_class(union.name) + to_class(value)
    return f"{name}Branch" if name in {to_class(other) for other in schema.types} else name


def _union_alias(schema: Schema, union: Union) -> list[str]:
    tagged = []
    for value in schema.discriminator(union).values:
        tag = _quote(f"{union.discriminator}={value.name}")
        tagged.append(f"Annotated[{branch_class(schema, union, value.name)}, Tag({tag})]")
    return _alias(union, tagged, f"by_member({_quote(union.discriminator)})")


def _alternate_alias(schema: Schema, alternate: Alternate) -> list[str]:
    tagged = []
    for branch in alternate.branches:
        tag = _quote(_json_type_tag(schema, branch.type))
        tagged.append(f"Annotated[{_python_type(branch.type, quoted=True)}, Tag({tag})]")
    return _alias(alternate, tagged, "by_json_type")


def _json_type_tag(schema: Schema, reference: TypeRef) -> str:
    if reference.is_array:
        return "=array"
    definition = schema.types.get(reference.name)
    if definition is not None:
        return "=string" if isinstance(definition, Enum) else "=object"
    return _JSON_TYPE_TAGS.get(reference.name, "=number")


def _alias(definition: Union | Alternate, tagged: list[str], tag_function: str) -> list[str]:
    name = to_class(definition.name)
    return [
        "",
        f"{name} = TypeAliasType(",
        f"    {_quote(name)},",
        "    Annotated[",
        "        Union[",
        *(f"            {item}," for item in tagged),
        "        ],",
        f"        Discriminator({tag_function}),",
        "    ],",
        ")",
        *_docstring(definition.doc, ""),
    ]


def _python_type(reference: TypeRef, *, quoted: bool = False) -> str:
    name = _type_name(reference)
    if quoted and reference.name not in _PYTHON_TYPES:
        name = _quote(name)
    return f"Array[{name}]" if reference.is_array else name


def _type_name(reference: TypeRef) -> str:
    return _PYTHON_TYPES.get(reference.name) or to_class(reference.name)


def _depth(schema: Schema, struct: Struct) -> int:
    depth, base = 0, struct.base
    while base is not None:
        parent = schema.types[base]
        assert isinstance(parent, Struct)
        depth, base = depth + 1, parent.base
    return depth


def _defined_names(schema: Schema) -> list[str]:
    names = []
    for definition in schema.types.values():
        names.append(to_class(definition.name))
        if isinstance(definition, Union):
            values = schema.discriminator(definition).values
            names += [branch_class(schema, definition, value.name) for value in values]
    assert len(names) == len(set(names)), "generated class names clash"
    return names


def _module(summary: str, *more: str) -> str:
    rest = "".join(f"\n{line}" for line in more)
    body = f"{summary}\n{rest}\n" if more else f"{summary}\n"
    return f'"""{body}\n{_NOTICE}\n"""\n\nfrom __future__ import annotations\n'


def _imports(prefix: str, names: list[str]) -> list[str]:
    if not names:
        return []
    line = prefix + ", ".join(names)
    if len(line) <= _WIDTH:
        return [line]
    return [f"{prefix}(", *(f"    {name}," for name in names), ")"]


def _used(body: str, names: Iterable[str]) -> list[str]:
    words = set(re.findall(r"\w+", body))
    return [name for name in names if name in words and name not in _PLAIN_TYPES]


def _all_list(names: Iterable[str]) -> str:
    return "__all__ = [\n" + "".join(f"    {_quote(to_class(name))},\n" for name in names) + "]"


def _quote(text: str) -> str:
    return json.dumps(text)


def _literal(value: object) -> str:
    """Python source for JSON-like data."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_quote(key)}: {_literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case str():
            return _quote(value)
        case _:
            return repr(value)


def _docstring(doc: Doc | None, indent: str) -> list[str]:
    text = _markup(doc.summary) if doc is not None else ""
    return _string_block(text or "Not documented.", indent)


def _member_doc(doc: Doc | None, name: str) -> list[str]:
    if doc is None or name not in doc.members:
        return []
    return _string_block(_markup(doc.members[name].text), "    ")


def _string_block(text: str, indent: str) -> list[str]:
    width = _WIDTH - len(indent) - 6
    paragraphs = [textwrap.wrap(" ".join(paragraph.split()), width) for paragraph in text.split("\n\n")]
    lines = [line for paragraph in paragraphs for line in [*paragraph, ""]][:-1]
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']


def _markup(text: str) -> str:
    """Documentation as Python has it: references to members in backquotes."""
    return re.sub(r"@([A-Za-z][\w-]*)", r"`\1`", text.replace("\\", "\\\\"))
