"""Key=value text, the command line's way to write an object.

`parse` turns `driver=raw,file.driver=file,file.filename=/a` into a tree of strings; `convert` turns the
tree's strings into what the schema's types want, ready for strict validation. Neither reports unknown or
missing members: that is validation's business, and its words name the member too.
Source: the comment on grammar in QEMU's key=value parser, and what `qemu-storage-daemon --blockdev` accepts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qmpd.qapi.ranges import INTEGER_RANGES

_FRAGMENT = re.compile(r"(?:__[A-Za-z0-9.-]+_)?[A-Za-z][A-Za-z0-9_-]*")
_INDEX = re.compile(r"[0-9]+")
_LONGEST_FRAGMENT = 127
_DEEPEST = 100
MOST_KEYS = 2000
"""Parameters that one text may have; clients send such text, too, and it is read without a pause."""

_INTEGER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]{1,100}|0[0-7]{0,100}|[1-9][0-9]{0,99})")
_SIZE = re.compile(r"\s*(\d{1,100})(\.\d{0,100})?([BKMGTPEbkmgtpe]?)|\s*(0[xX][0-9a-fA-F]{1,100})")
_SIZE_SHIFTS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_BOOLEANS = {
    **dict.fromkeys(("on", "yes", "true", "y"), True),
    **dict.fromkeys(("off", "no", "false", "n"), False),
}

Tree = dict[str, object]


class KeyvalError(ValueError):
    """The text cannot be read; the message names the fragment or parameter."""


@dataclass(frozen=True, slots=True)
class EnumType:
    """One of `values`."""

    values: list[str]


@dataclass(frozen=True, slots=True)
class StructType:
    """An object; `members` maps names to types, `[T]` being an array of `T`."""

    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UnionType:
    """An object whose further members are those of the struct that `branches` has for the value of `tag`."""

    members: Mapping[str, str]
    tag: str
    branches: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlternateType:
    """Any of `types`, told apart by what the value is."""

    types: list[str]


KeyvalType = EnumType | StructType | UnionType | AlternateType


def parse(text: str, implied_key: str | None = None) -> Tree:
    """Read `key=value,key=value,...`.

    A key is `name.name...`; a fragment of digits after the first one is an index of an array. In a value `,,` stands
    for a comma. Of a key that is given twice the last value counts.

    :param implied_key: the key of the first value if that has none.
    :returns: strings at the leaves, in dicts and lists.
    :raises KeyvalError: for text that cannot be read.
    """
    root: Tree = {}
    position = count = 0
    while position < len(text):
        count += 1
        _check_count(count)
        key, value, position = _next_pair(text, position, implied_key)
        _store(root, list(_fragments(key)), value)
        implied_key = None
    return _finished(root)


def nest(flat: Mapping[str, str]) -> Tree:
    """Dotted keys with their values as a tree, as `parse` makes it.

    :raises KeyvalError: for keys that are ill-formed or contradict each other, and for too many.
    """
    root: Tree = {}
    _check_count(len(flat))
    for key, value in flat.items():
        _store(root, list(_fragments(key)), value)
    return _finished(root)


def _check_count(count: int) -> None:
    if count > MOST_KEYS:
        raise KeyvalError(f"there are more than {MOST_KEYS} parameters")


def _finished(root: Tree) -> Tree:
    return {name: _with_lists(child, name) for name, child in root.items()}


def _next_pair(text: str, position: int, implied_key: str | None) -> tuple[str, str, int]:
    """Key and value at `position`, and where the next pair begins."""
    end = position
    while end < len(text) and text[end] not in "=,":
        end += 1
    key = text[position:end]
    if end < len(text) and text[end] == "=":
        value, position = _value(text, end + 1)
        return key, value, position
    if key in ("help", "?"):
        raise KeyvalError("help is not available here")
    if implied_key is not None and key:
        value, position = _value(text, position)
        return implied_key, value, position
    if not key:
        raise KeyvalError("a parameter's name is missing before ','")
    raise KeyvalError(f"parameter {_quote(key)} lacks '=' and a value")


def _value(text: str, position: int) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        comma = text.find(",", position)
        if comma < 0:
            return "".join([*parts, text[position:]]), len(text)
        parts.append(text[position:comma])
        if text[comma + 1 : comma + 2] != ",":
            return "".join(parts), comma + 1
        parts.append(",")
        position = comma + 2


def _fragments(key: str) -> Iterator[str]:
    """The parts of a dotted key."""
    position = 0
    for _ in range(_DEEPEST):
        match = _INDEX.match(key, position) if position else None
        match = match or _FRAGMENT.match(key, position)
        if match is None or key[match.end() : match.end() + 1] not in ("", "."):
            raise KeyvalError(f"parameter name {_quote(key)} is not made of names and indexes with '.' between")
        if len(match.group()) > _LONGEST_FRAGMENT:
            raise KeyvalError(f"parameter name {_quote(key)} has a part of more than {_LONGEST_FRAGMENT} characters")
        yield match.group()
        if match.end() == len(key):
            return
        position = match.end() + 1
    raise KeyvalError(f"parameter name {_quote(key)} has more than {_DEEPEST} parts")


def _store(root: Tree, path: list[str], value: str) -> None:
    node = root
    for depth, fragment in enumerate(path[:-1], 1):
        child = node.setdefault(fragment, {})
        if not isinstance(child, dict):
            raise _inconsistent(".".join(path[:depth]))
        node = child
    if isinstance(node.get(path[-1]), dict):
        raise _inconsistent(".".join(path))
    node[path[-1]] = value


def _inconsistent(path: str) -> KeyvalError:
    return KeyvalError(f"parameter {_quote(path)} is given both a value and members; it can have only one of them")


def _with_lists(node: object, path: str) -> object:
    """`node` with lists where all keys are indexes."""
    if not isinstance(node, dict):
        return node
    indexes = {int(key): key for key in node if key.isdigit()}
    if not indexes:
        return {key: _with_lists(child, f"{path}.{key}") for key, child in node.items()}
    if len(indexes) < len(node):
        raise KeyvalError(f"parameter {_quote(path)} is given both names and indexes as members")
    gap = next((number for number in range(len(indexes)) if number not in indexes), None)
    if gap is not None:
        raise KeyvalError(f"parameter '{path}.{gap}' is missing; indexes begin at 0 and leave nothing out")
    return [_with_lists(node[indexes[number]], f"{path}.{number}") for number in range(len(indexes))]


def convert(tree: object, type_name: str, types: Mapping[str, KeyvalType], path: str = "") -> object:
    """Turn strings into the values that type `type_name` wants.

    What does not fit the type's form (an object where a string is wanted, an unknown member) is left as it is, for
    validation to refuse.

    :param tree: from `parse`.
    :param type_name: a name of `types`, a built-in type, or `[T]` for an array of `T`.
    :param path: where `tree` stands, for errors.
    :raises KeyvalError: for text that is no value of its type.
    """
    if type_name.startswith("["):
        return _convert_list(tree, type_name[1:-1], types, path)
    match types.get(type_name):
        case None:
            return _convert_builtin(tree, type_name, path) if isinstance(tree, str) else tree
        case StructType(members):
            return _convert_members(tree, members, types, path)
        case UnionType() as union:
            return _convert_members(tree, _union_members(tree, union, types), types, path)
        case AlternateType(candidates):
            return _convert_alternate(tree, candidates, types, path)
    return tree


def _convert_list(tree: object, element: str, types: Mapping[str, KeyvalType], path: str) -> object:
    if not isinstance(tree, list):
        return tree
    return [convert(child, element, types, f"{path}.{index}") for index, child in enumerate(tree)]


def _convert_members(tree: object, members: Mapping[str, str], types: Mapping[str, KeyvalType], path: str) -> object:
    if not isinstance(tree, dict):
        return tree
    prefix = f"{path}." if path else ""
    return {
        name: convert(child, members[name], types, prefix + name) if name in members else child
        for name, child in tree.items()
    }


def _union_members(tree: object, union: UnionType, types: Mapping[str, KeyvalType]) -> Mapping[str, str]:
    chosen = tree.get(union.tag) if isinstance(tree, dict) else None
    branch = types.get(union.branches.get(chosen, "")) if isinstance(chosen, str) else None
    return {**union.members, **branch.members} if isinstance(branch, StructType) else union.members


def _convert_alternate(tree: object, candidates: list[str], types: Mapping[str, KeyvalType], path: str) -> object:
    """A string is taken as a string if the alternate allows one, else as whatever scalar it allows."""
    for candidate in candidates:
        if _takes(tree, candidate, types):
            return convert(tree, candidate, types, path)
    scalar = next((name for name in candidates if name not in types and name[0] != "["), None)
    return convert(tree, scalar, types, path) if scalar is not None and isinstance(tree, str) else tree


def _takes(tree: object, candidate: str, types: Mapping[str, KeyvalType]) -> bool:
    """Whether a value of this form is meant for the candidate."""
    if isinstance(tree, str):
        return candidate == "str" or isinstance(types.get(candidate), EnumType)
    if isinstance(tree, dict):
        return isinstance(types.get(candidate), StructType | UnionType)
    return candidate.startswith("[")


def _convert_builtin(text: str, type_name: str, path: str) -> object:
    if type_name == "bool":
        if text not in _BOOLEANS:
            raise _wrong(path, "'on' or 'off'", text)
        return _BOOLEANS[text]
    if type_name == "size":
        return _size(text, path)
    if type_name in INTEGER_RANGES:
        return _integer(text, path)
    if type_name == "number":
        return _number(text, path)
    if type_name == "null":
        if text:
            raise _wrong(path, "empty", text)
        return None
    return text


def _integer(text: str, path: str) -> int:
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise _wrong(path, "an integer", text)
    sign, digits = match.groups()
    octal = digits.startswith("0") and digits.isdigit()
    value = int(digits, 8 if octal else 0)
    return -value if sign == "-" else value


def _number(text: str, path: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong(path, "a number", text) from None
    if not math.isfinite(value) or "_" in text:
        raise _wrong(path, "a finite number", text)
    return value


def _size(text: str, path: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise _wrong(path, str(error), text) from None


def parse_size(text: str) -> int:
    """The number of bytes that `4096`, `0x1000`, `64k` or `1.5G` says.

    :raises ValueError: it says none; the message tells what is wanted.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("a size such as '4096', '64k' or '1.5G'")
    whole, fraction, suffix, hexadecimal = match.groups()
    if hexadecimal is not None:
        return int(hexadecimal, 16)
    shift = _SIZE_SHIFTS[suffix.lower()]
    digits = (fraction or ".")[1:]
    if digits.strip("0") and not shift:
        raise ValueError("a whole number of bytes")
    return (int(whole) << shift) + ((int(digits or "0") << shift) // int(f"1{'0' * len(digits)}"))


def _wrong(path: str, wanted: str, text: str) -> KeyvalError:
    return KeyvalError(f"parameter {_quote(path)} must be {wanted}, not {_quote(text)}")


def _quote(text: str) -> str:
    return f"'{text}'" if len(text) <= 80 else f"'{text[:80]}...'"
