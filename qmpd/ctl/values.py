"""`key=value` words of a command line, turned into the arguments of a QMP command.

The server's own schema (`query-qmp-schema`) decides what a word stands for: `12` is a number for an `int`
member and a text for a `str` one. Where the schema is silent (no such member, no schema at all) a word is
read as qmp-shell reads it, and the server has the last word. Pure text to data: never touches a connection.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qmpd.ctl.failure import UsageError

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_INT = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_SIZE = re.compile(r"([0-9]+)([kKmMgGtTpP])(?:i?[bB])?")
_MAX_DIGITS = 1000
"""Of an integer; servers take 20, and Python neither reads nor writes more than a few thousand."""
_MAX_DEPTH = 500
"""Of objects and lists in each other; servers take about 1000, and so does Python, for all that is on its stack."""
_TRUE = frozenset({"true", "on", "yes"})
_FALSE = frozenset({"false", "off", "no"})


@dataclass(frozen=True, slots=True)
class Word:
    """A value as the user typed it; what it means is not decided yet."""

    text: str


Tree = dict[str, "Word | Tree"]


class ServerSchema:
    """What a server says about its own interface.

    :param entries: the return value of `query-qmp-schema`.
    """

    def __init__(self, entries: Iterable[Mapping[str, Any]] = ()) -> None:
        self._entries = {entry["name"]: entry for entry in entries}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def has_command(self, name: str) -> bool:
        """Whether the server has this command."""
        return self._entries.get(name, {}).get("meta-type") == "command"

    @property
    def commands(self) -> list[str]:
        """All commands of the server."""
        return sorted(name for name, entry in self._entries.items() if entry["meta-type"] == "command")

    def arguments_type(self, command: str) -> str | None:
        """The name of the type of a command's arguments; None when the command is unknown."""
        return self._entries[command].get("arg-type") if self.has_command(command) else None

    def meta(self, type_name: str | None) -> str:
        """`object`, `array`, `enum`, `alternate`; for a builtin its JSON type; `""` when unknown."""
        entry = self._entries.get(type_name or "", {})
        if entry.get("meta-type") == "builtin":
            return str(entry["json-type"])
        return str(entry.get("meta-type", ""))

    def element(self, type_name: str | None) -> str | None:
        """The type of an array's elements."""
        return self._entries.get(type_name or "", {}).get("element-type")

    def choices(self, type_name: str | None) -> list[str]:
        """The types an alternate may have."""
        return [member["type"] for member in self._entries.get(type_name or "", {}).get("members", [])]

    def values(self, type_name: str | None) -> list[str]:
        """The values of an enum."""
        return list(self._entries.get(type_name or "", {}).get("values", []))

    def members(self, type_name: str | None, given: Tree) -> dict[str, str]:
        """Name and type of an object's members, for a union those of the branch that `given` selects."""
        entry = self._entries.get(type_name or "", {})
        members = {member["name"]: member["type"] for member in entry.get("members", [])}
        selector = given.get(entry.get("tag", ""))
        if isinstance(selector, Word):
            branches = {variant["case"]: variant["type"] for variant in entry["variants"]}
            members.update(self.members(branches.get(selector.text), given))
        return members


def parse_words(words: Iterable[str]) -> Tree:
    """Sort `a.b=1 c=2` into a tree of undecided words.

    :raise UsageError: a word is no `key=value`, a key comes twice, or is both a value and an object.
    """
    tree: Tree = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"'{word}' is no argument: expected key=value, or a JSON object")
        _put(tree, key, value)
    return tree


def _put(tree: Tree, key: str, value: str) -> None:
    *parents, last = key.split(".")
    place = tree
    for depth, name in enumerate(parents, 1):
        child = place.setdefault(name, {})
        if isinstance(child, Word):
            raise UsageError(f"'{'.'.join(parents[:depth])}' cannot be both a value and an object with members")
        place = child
    if isinstance(place.get(last), dict):
        raise UsageError(f"'{key}' cannot be both a value and an object with members")
    if last in place:
        raise UsageError(f"'{key}' is given twice")
    place[last] = Word(value)


def build_arguments(command: str, words: Iterable[str], schema: ServerSchema) -> dict[str, Any]:
    """The arguments of `command`: whole JSON objects first, `key=value` words on top of them.

    :raise UsageError: a word is malformed or does not fit the server's schema.
    """
    whole: dict[str, Any] = {}
    pairs: list[str] = []
    for word in words:
        if word.lstrip().startswith("{"):
            whole.update(_json_object(word))
        else:
            pairs.append(word)
    tree = parse_words(pairs)
    _check_depth(tree)
    arguments = whole | _object(tree, schema.arguments_type(command), "", schema)
    _check_depth(arguments)
    return arguments


def _check_depth(value: Any) -> None:
    """Pass if `value` is not nested so deeply that neither we nor a server could take it apart."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            raise UsageError(f"the arguments are nested too deeply, more than {_MAX_DEPTH} levels")
        members = (one.values() if isinstance(one, dict) else one for one in level)
        level = [member for one in members for member in one if isinstance(member, (dict, list))]


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are no JSON object: {error}") from error
    except RecursionError as error:
        raise UsageError("the arguments are nested too deeply") from error
    if not isinstance(value, dict):
        raise UsageError("the arguments must be a JSON object")
    return value


def _object(tree: Tree, type_name: str | None, path: str, schema: ServerSchema) -> dict[str, Any]:
    members = schema.members(type_name, tree)
    return {name: _value(branch, members.get(name), f"{path}{name}", schema) for name, branch in tree.items()}


def _value(branch: Word | Tree, type_name: str | None, path: str, schema: ServerSchema) -> Any:
    if isinstance(branch, Word):
        return _leaf(branch.text, type_name, path, schema)
    meta = schema.meta(type_name)
    if meta == "alternate":
        choices = {schema.meta(choice): choice for choice in schema.choices(type_name)}
        return _value(branch, choices.get("object", choices.get("array")), path, schema)
    if meta == "array":
        return _array(branch, schema.element(type_name), path, schema)
    return _object(branch, type_name, f"{path}.", schema)


def _array(tree: Tree, element: str | None, path: str, schema: ServerSchema) -> list[Any]:
    if sorted(tree) != sorted(str(index) for index in range(len(tree))):
        raise UsageError(f"'{path}' is a list: its members are {path}.0, {path}.1 and so on, without a gap")
    return [_value(tree[str(index)], element, f"{path}.{index}", schema) for index in range(len(tree))]


def _leaf(text: str, type_name: str | None, path: str, schema: ServerSchema) -> Any:
    meta = schema.meta(type_name)
    if meta in ("string", "enum"):
        return text
    if meta == "int":
        return _integer(text, path)
    if meta == "number":
        return _number(text, path)
    if meta == "boolean":
        return _boolean(text, path)
    if meta in ("object", "array"):
        return _literal(text, meta, path)
    if meta == "alternate":
        return _alternate(text, type_name, path, schema)
    return guess(text, path)


def _integer(text: str, path: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise UsageError(f"'{path}' must be an integer that a server can take, not one of {len(text)} digits")
    if _INT.fullmatch(text):
        return int(text, 16 if "x" in text.lower() else 10)
    size = _SIZE.fullmatch(text)
    if size is not None:
        return int(size[1]) * _UNITS[size[2].lower()]
    raise UsageError(f"'{path}' must be an integer (12, 0x40, or with a unit: 64k, 2G), not '{text}'")


def _number(text: str, path: str) -> int | float:
    if _INT.fullmatch(text):
        return _integer(text, path)
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"'{path}' must be a number, not '{text}'") from None


def _boolean(text: str, path: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"'{path}' must be true or false (or on, off, yes, no), not '{text}'")


def _literal(text: str, meta: str, path: str) -> Any:
    value = guess(text, path) if text.startswith(("{", "[")) else None
    if meta == "object" and isinstance(value, dict):
        return value
    if meta == "array" and isinstance(value, list):
        return value
    hint = f"{path}.member=value, or JSON: {path}='{{...}}'"
    if meta == "array":
        hint = f"{path}.0=value, or JSON: {path}='[...]'"
    raise UsageError(f"'{path}' must be {'a list' if meta == 'array' else 'an object'}: write {hint}")


def _alternate(text: str, type_name: str | None, path: str, schema: ServerSchema) -> Any:
    """The first of the alternate's types that can be meant; a text where it may be one."""
    choices = {schema.meta(choice): choice for choice in schema.choices(type_name)}
    if text.startswith(("{", "[")) and choices.keys() & {"object", "array"}:
        return _literal(text, "object" if text.startswith("{") else "array", path)
    if text == "null" and "null" in choices:
        return None
    named = schema.values(choices.get("enum"))
    if "boolean" in choices and text.lower() in _TRUE | _FALSE and text not in named:
        return _boolean(text, path)
    if "int" in choices and (_INT.fullmatch(text) or _SIZE.fullmatch(text)):
        return _integer(text, path)
    if "string" in choices or "enum" in choices:
        return text
    return guess(text, path)


def guess(text: str, path: str = "") -> Any:
    """Read a word as qmp-shell does: integer, true or false, JSON or Python list or object, else text."""
    if _INT.fullmatch(text):
        return _integer(text, path)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _python_literal(text)


def _python_literal(text: str) -> Any:
    """JSON's relaxed sister: single quotes and Python's names, as qmp-shell allows them."""
    names = re.compile(r"\b(true|false|null)\b(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)")
    spelled = names.sub(lambda match: {"true": "True", "false": "False", "null": "None"}[match[0]], text)
    try:
        value = ast.literal_eval(spelled)
        json.dumps(value)
    except (TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return value
