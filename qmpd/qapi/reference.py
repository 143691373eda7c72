"""Writes the reference manual of the interface, in Markdown, from the schema and its documentation comments.

Definitions stand in the order of the schema, a file at a time, under the headings (`= Title`, `== Title`) of its free
documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from qmpd.qapi.doc import Doc
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

_BUILTIN_WORDS = {"str": "string", "bool": "boolean", "any": "anything", "size": "size in bytes"}
_KINDS = {Enum: "enum", Struct: "object", Union: "object", Alternate: "alternate", Command: "command", Event: "event"}
_HEADING = re.compile(r"(=+) (.*)")


def generate_reference(schema: Schema) -> str:
    """The whole manual."""
    definitions = [*schema.types.values(), *schema.entities]
    shown = [item for item in definitions if not (isinstance(item, Struct) and item.implicit)]
    files = list(dict.fromkeys(item.info.path for item in [*schema.free_docs, *shown]))
    parts: list[Doc | Definition] = [*schema.free_docs, *shown]
    parts.sort(key=lambda item: (files.index(item.info.path), item.info.line))
    lines: list[str] = []
    for part in parts:
        if isinstance(part, Doc):
            lines += _free_text(part, 1 if lines else 0)
        else:
            lines += _definition(schema, part)
    return "\n".join(lines).rstrip() + "\n"


def _free_text(doc: Doc, depth: int) -> Iterator[str]:
    for line in doc.summary.split("\n"):
        heading = _HEADING.match(line)
        yield f"{'#' * (depth + len(heading.group(1)))} {heading.group(2)}" if heading is not None else _text(line)
    yield ""


def _definition(schema: Schema, definition: Definition) -> Iterator[str]:
    doc = definition.doc or Doc(definition.info)
    yield f"#### {definition.name} ({_KINDS[type(definition)]})"
    yield ""
    if doc.summary:
        yield from (_text(doc.summary), "")
    match definition:
        case Enum():
            yield from _values(definition, doc)
        case Struct():
            yield from _object(schema, definition.base, definition.members, doc)
        case Union():
            yield from _union(schema, definition, doc)
        case Alternate():
            yield from (_item(branch.name, _type(schema, branch.type), doc) for branch in definition.branches)
            yield ""
        case Command() | Event():
            yield from _entity(schema, definition, doc)
    yield from _features(doc)


def _values(enum: Enum, doc: Doc) -> Iterator[str]:
    yield from (_item(value.name, _marks(value.features), doc) for value in enum.values)
    yield ""


def _object(schema: Schema, base: str | None, members: Iterable[Member], doc: Doc) -> Iterator[str]:
    if base is not None:
        yield from (f"All members of {_type(schema, TypeRef(base))}, and:", "")
    described = [_member(schema, member, doc) for member in members]
    yield from described or ["No members."]
    yield ""


def _union(schema: Schema, union: Union, doc: Doc) -> Iterator[str]:
    base = schema.types[union.base]
    assert isinstance(base, Struct)
    if base.implicit:
        yield from _object(schema, None, base.members, doc)
    else:
        yield from (f"All members of {_type(schema, TypeRef(union.base))}.", "")
    for branch in union.branches:
        yield f"- with `{union.discriminator}` `{branch.name}`: all members of {_type(schema, branch.type)}"
    yield ""


def _entity(schema: Schema, entity: Command | Event, doc: Doc) -> Iterator[str]:
    what = "Arguments" if isinstance(entity, Command) else "Data"
    if entity.arg_type is None:
        yield from (f"{what}: none.", "")
    else:
        struct = schema.types[entity.arg_type]
        if isinstance(struct, Struct) and struct.implicit:
            yield from (f"{what}:", "", *(_member(schema, member, doc) for member in struct.members), "")
        else:
            yield from (f"{what}: all members of {_type(schema, TypeRef(entity.arg_type))}.", "")
    returns = next((section.text for section in doc.sections if section.tag == "Returns"), "")
    if isinstance(entity, Command) and entity.ret_type is not None:
        yield from (f"Returns: {_type(schema, entity.ret_type)}{f'; {_text(returns)}' if returns else ''}.", "")
    for section in doc.sections:
        if section.tag != "Returns":
            yield from (f"{section.tag}: {_text(section.text)}.", "")


def _member(schema: Schema, member: Member, doc: Doc) -> str:
    optional = ", optional" if member.optional else ""
    return _item(member.name, _type(schema, member.type) + optional + _marks(member.features, ", "), doc)


def _item(name: str, what: str, doc: Doc) -> str:
    text = doc.members[name].text if name in doc.members else ""
    shown = f" ({what})" if what else ""
    return f"- `{name}`{shown}{f': {_text(text)}' if text else ''}"


def _features(doc: Doc) -> Iterator[str]:
    if doc.features:
        yield from ("Features:", "")
        yield from (f"- `{name}`: {_text(section.text)}" for name, section in doc.features.items())
        yield ""


def _marks(features: tuple[str, ...], prefix: str = "") -> str:
    return prefix + ", ".join(features) if features else ""


def _type(schema: Schema, reference: TypeRef) -> str:
    if reference.name[0].isupper():
        kind = _KINDS[type(schema.types[reference.name])]
        shown = f"[{reference.name}](#{reference.name.lower()}-{kind})"
    else:
        shown = _BUILTIN_WORDS.get(reference.name, reference.name)
    return f"array of {shown}" if reference.is_array else shown


def _text(text: str) -> str:
    """Documentation text as Markdown: `@name` becomes code, a line is one paragraph's."""
    marked = re.sub(r"@([A-Za-z][\w-]*)", r"`\1`", re.sub(r"(?<!\n)\n(?!\n)", " ", text))
    return re.sub(r"  +", " ", marked)
