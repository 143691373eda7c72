"""Pieces of Python text that the generators put together.

Knows how generated code looks, nothing of what it means.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable

from qmpd.qapi.doc import Doc
from qmpd.qapi.names import to_class

_WIDTH = 110
_NOTICE = "GENERATED from schema/ by `make schema`; change the schema, not this file."


def module(summary: str, *more: str) -> str:
    rest = "".join(f"\n{line}" for line in more)
    body = f"{summary}\n{rest}\n" if more else f"{summary}\n"
    return f'"""{body}\n{_NOTICE}\n"""\n\nfrom __future__ import annotations\n'


def imports(prefix: str, names: list[str]) -> list[str]:
    if not names:
        return []
    line = prefix + ", ".join(names)
    if len(line) <= _WIDTH:
        return [line]
    return [f"{prefix}(", *(f"    {name}," for name in names), ")"]


def used(body: str, names: Iterable[str]) -> list[str]:
    words = set(re.findall(r"\w+", body))
    return [name for name in names if name in words and name not in ("str", "bool", "float", "None")]


def all_list(names: Iterable[str]) -> str:
    return "__all__ = [\n" + "".join(f"    {quote(to_class(name))},\n" for name in names) + "]"


def quote(text: str) -> str:
    return json.dumps(text)


def literal(value: object) -> str:
    """Python source for JSON-like data."""
    match value:
        case dict():
            return "{" + ", ".join(f"{quote(key)}: {literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case str():
            return quote(value)
        case _:
            return repr(value)


def docstring(doc: Doc | None, indent: str) -> list[str]:
    text = _markup(doc.summary) if doc is not None else ""
    return string_block(text or "Not documented.", indent)


def member_doc(doc: Doc | None, name: str) -> list[str]:
    if doc is None or name not in doc.members:
        return []
    return string_block(_markup(doc.members[name].text), "    ")


def string_block(text: str, indent: str) -> list[str]:
    width = _WIDTH - len(indent) - 6
    paragraphs = [textwrap.wrap(" ".join(paragraph.split()), width) for paragraph in text.split("\n\n")]
    lines = [line for paragraph in paragraphs for line in [*paragraph, ""]][:-1]
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']


def _markup(text: str) -> str:
    """Documentation as Python has it: references to members in backquotes."""
    return re.sub(r"@([A-Za-z][\w-]*)", r"`\1`", text.replace("\\", "\\\\"))
