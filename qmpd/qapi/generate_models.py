"""Writes the types of `qmpd.api`: enums, structs, and `models`, which has all of them under one roof.

Structs go into one module a schema file, so that a run loads the parts of the interface that it uses; a struct costs a
third of a millisecond.
"""

from __future__ import annotations

import re
from pathlib import Path

from qmpd.qapi.names import to_class, to_constant, to_field
from qmpd.qapi.render import all_list, docstring, imports, member_doc, module, quote, used
from qmpd.qapi.schema import Alternate, Enum, Member, Schema, Struct, TypeDefinition, TypeRef, Union
from qmpd.qapi.source import SchemaError, SourceInfo

PYTHON_TYPES = {
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
    *sorted(set(PYTHON_TYPES.values()) - {*_PLAIN_TYPES, "Any"}),
    "Array",
    "Maybe",
    "Model",
    "by_json_type",
    "by_member",
)


def generate_enums(schema: Schema) -> str:
    """`enums.py`: the enums, usable without pydantic."""
    lines = [module("The enums of the schema."), "from qmpd.qapi.enums import QAPIEnum\n"]
    enums = [item for item in schema.types.values() if isinstance(item, Enum)]
    lines.append(all_list(item.name for item in enums))
    for enum in enums:
        lines += ["", f"\nclass {to_class(enum.name)}(QAPIEnum):", *docstring(enum.doc, "    ")]
        for value in enum.values:
            lines += ["", f"    {to_constant(value.name)} = {quote(value.name)}"]
            lines += member_doc(enum.doc, value.name)
        if not enum.values:
            lines += ["", "    pass"]
    return "\n".join(lines) + "\n"


def generate_structs(schema: Schema, package: str) -> dict[str, str]:
    """The modules of `structs/`: pydantic models of structs and of union branches, then unions and alternates.

    :raises SchemaError: when two files need each other's types, which Python modules cannot.
    """
    homes = struct_homes(schema)
    _reject_loops(schema, homes)
    modules: dict[str, list[TypeDefinition]] = {}
    for name, home in homes.items():
        modules.setdefault(home, []).append(schema.types[name])
    texts = {"structs/__init__.py": module("The object types of the schema, one module a schema file.")}
    for home, definitions in modules.items():
        texts[f"structs/{home}.py"] = _struct_module(schema, package, homes, definitions)
    return texts


def struct_homes(schema: Schema) -> dict[str, str]:
    """For each type that is no enum the module in `structs/` that has it, named after the schema's file."""
    return {
        name: re.sub(r"\W", "_", Path(definition.info.path).stem)
        for name, definition in schema.types.items()
        if not isinstance(definition, Enum)
    }


def _references(schema: Schema, definition: TypeDefinition) -> list[str]:
    """The types of the schema that the text of `definition` mentions, in order."""
    match definition:
        case Struct():
            names = [definition.base, *(member.type.name for member in definition.members)]
        case Union():
            tag = schema.discriminator(definition).name
            names = [definition.base, tag, *(branch.type.name for branch in definition.branches)]
        case Alternate():
            names = [branch.type.name for branch in definition.branches]
        case _:
            names = []
    return [name for name in names if name in schema.types]


def _reject_loops(schema: Schema, homes: dict[str, str]) -> None:
    """Python modules cannot import each other in circles."""
    needs: dict[str, dict[str, SourceInfo]] = {home: {} for home in homes.values()}
    for name, home in homes.items():
        for other in _references(schema, schema.types[name]):
            if homes.get(other, home) != home:
                needs[home].setdefault(homes[other], schema.types[name].info)
    settled: set[str] = set()
    while len(settled) < len(needs):
        free = {home for home in needs if home not in settled and needs[home].keys() <= settled}
        if not free:
            home = next(home for home in needs if home not in settled)
            other = next(other for other in needs[home] if other not in settled)
            raise SchemaError(needs[home][other], f"'{home}' needs types of '{other}', which in turn needs its types")
        settled |= free


def _struct_module(schema: Schema, package: str, homes: dict[str, str], definitions: list[TypeDefinition]) -> str:
    structs = sorted(
        (item for item in definitions if isinstance(item, Struct)), key=lambda struct: _depth(schema, struct)
    )
    lines = [line for struct in structs for line in _struct_class(schema, struct)]
    aliases: list[str] = []
    for definition in definitions:
        if isinstance(definition, Union):
            lines += _branch_classes(schema, definition)
            aliases += _union_alias(schema, definition)
        elif isinstance(definition, Alternate):
            aliases += _alternate_alias(schema, definition)
    body = "\n".join([*lines, *aliases])
    home = homes[definitions[0].name]
    head = [
        module(f"The object types of `{Path(definitions[0].info.path).name}`."),
        *imports("from typing import ", used(body, ("Annotated", "Any", "Literal", "Union"))),
        "",
        *imports("from pydantic import ", used(body, ("Discriminator", "Field", "Tag"))),
        *imports("from typing_extensions import ", used(body, ("TypeAliasType",))),
        "",
        *_schema_imports(schema, package, homes, home, definitions),
        *imports("from qmpd.qapi.model import ", used(body, _MODEL_NAMES)),
        "",
        all_list(_names_of(schema, definitions)),
    ]
    return "\n".join([*head, body]) + "\n"


def _schema_imports(
    schema: Schema, package: str, homes: dict[str, str], home: str, definitions: list[TypeDefinition]
) -> list[str]:
    """What the module needs of others of the package."""
    needed: dict[str, set[str]] = {}
    for definition in definitions:
        for name in _references(schema, definition):
            source = f"structs.{homes[name]}" if name in homes else "enums"
            needed.setdefault(source, set()).add(to_class(name))
    needed.pop(f"structs.{home}", None)
    return [
        line
        for source, names in sorted(needed.items())
        for line in imports(f"from {package}.{source} import ", sorted(names))
    ]


def generate_models(schema: Schema, package: str) -> str:
    """`models.py`: enums and structs under one name, imported when they are first used.

    :raises SchemaError: when two types would have the same name.
    """
    structs = struct_homes(schema)
    homes: dict[str, str] = {}
    for definition in schema.types.values():
        home = f"structs.{structs[definition.name]}" if definition.name in structs else "enums"
        for name in _names_of(schema, [definition]):
            if name in homes:
                raise SchemaError(definition.info, f"'{definition.name}' makes a second Python class '{name}'")
            homes[name] = home
    return "\n".join(
        [
            module(
                "Every type of the schema under its own name.",
                "Imports a type when it is first asked for: an enum does not bring in pydantic.",
            ),
            "from importlib import import_module",
            "from typing import TYPE_CHECKING\n",
            "if TYPE_CHECKING:",
            *(f"    from {package}.{home} import {name} as {name}" for name, home in homes.items()),
            "",
            "_HOMES = {",
            *(f"    {quote(name)}: {quote(f'{package}.{home}')}," for name, home in homes.items()),
            "}",
            "",
            all_list(homes),
            _LAZY_LOOKUP,
        ]
    )


_LAZY_LOOKUP = '''

def __getattr__(name: str) -> object:
    """Fetch `name` from the module that defines it, once."""
    if name not in _HOMES:
        raise AttributeError(f"the schema has no type '{name}'")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
'''


def _struct_class(schema: Schema, struct: Struct) -> list[str]:
    base = to_class(struct.base) if struct.base is not None else "Model"
    lines = ["", f"\nclass {to_class(struct.name)}({base}):"]
    if struct.implicit:
        lines += _implicit_docstring(struct.name)
    else:
        lines += docstring(struct.doc, "    ")
    for member in struct.members:
        lines += ["", _field(member), *member_doc(struct.doc, member.name)]
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
    return f" = Field({default}alias={quote(name)})"


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
        tag = quote(f"{union.discriminator}={value.name}")
        tagged.append(f"Annotated[{branch_class(schema, union, value.name)}, Tag({tag})]")
    return _alias(union, tagged, f"by_member({quote(union.discriminator)})")


def _alternate_alias(schema: Schema, alternate: Alternate) -> list[str]:
    tagged = []
    for branch in alternate.branches:
        tag = quote(_json_type_tag(schema, branch.type))
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
        f"    {quote(name)},",
        "    Annotated[",
        "        Union[",
        *(f"            {item}," for item in tagged),
        "        ],",
        f"        Discriminator({tag_function}),",
        "    ],",
        ")",
        *docstring(definition.doc, ""),
    ]


def _python_type(reference: TypeRef, *, quoted: bool = False) -> str:
    name = type_name(reference)
    if quoted and reference.name not in PYTHON_TYPES:
        name = quote(name)
    return f"Array[{name}]" if reference.is_array else name


def type_name(reference: TypeRef) -> str:
    return PYTHON_TYPES.get(reference.name) or to_class(reference.name)


def _depth(schema: Schema, struct: Struct) -> int:
    depth, base = 0, struct.base
    while base is not None:
        parent = schema.types[base]
        assert isinstance(parent, Struct)
        depth, base = depth + 1, parent.base
    return depth


def _names_of(schema: Schema, definitions: list[TypeDefinition]) -> list[str]:
    """The Python names that the definitions make."""
    names = []
    for definition in definitions:
        names.append(to_class(definition.name))
        if isinstance(definition, Union):
            values = schema.discriminator(definition).values
            names += [branch_class(schema, definition, value.name) for value in values]
    return names
