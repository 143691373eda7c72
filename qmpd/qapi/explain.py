"""Puts a failed validation into one sentence for the client.

Reads pydantic's errors alone; the tags of unions in their paths are recognised by the form that `model`
gives them. Given the schema's types too, it can say what is known where something unknown was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from qmpd.qapi.keyval import AlternateType, EnumType, KeyvalType, StructType, UnionType
from qmpd.qapi.ranges import INTEGER_RANGES

_LONGEST_SHOWN = 80
_LONGEST_PATH = 200
_TAG = re.compile(r"'([^']*)'")
_JSON_KINDS = {
    "=string": "a string",
    "=object": "an object",
    "=array": "an array",
    "=number": "a number",
    "=boolean": "a boolean",
    "=null": "null",
}
_WANTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
    "string_unicode": "a string of valid Unicode characters",
}

_PLAIN_TYPES = {"str": "a string", "bool": "true or false", "number": "a number", "null": "null"}

Details = Mapping[str, Any]


def explain(error: ValueError, types: Mapping[str, KeyvalType] | None = None) -> str:
    """One sentence: which member is wrong, and what would be right. Only the first mistake is told.

    :param error: the `pydantic.ValidationError` that `CommandInfo.validate` raised.
    :param types: `qmpd.api.keyval_types.TYPES`; with it an unknown member is answered with the known ones, and a
        missing one with its type.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    path = _path(location, keep_last=first["type"] == "extra_forbidden")
    handler = _HANDLERS.get(first["type"])
    if handler is not None:
        return handler(first, path, _Known(types or {}, error.title))
    return _must_be(path, _WANTED.get(first["type"], f"valid ({first['msg']})"), first["input"])


def _missing(details: Details, path: str, known: _Known) -> str:
    location = details["loc"]
    return _is_missing(path, known.describe(known.members(location[:-1]).get(location[-1], "")))


def _unknown(details: Details, path: str, known: _Known) -> str:
    members = list(known.members(details["loc"][:-1]))
    if members:
        return f"{_subject(path)} is unexpected; known here are {_listed(members, 'and')}"
    return f"{_subject(path)} is unexpected{'' if known.is_object else '; there are no parameters'}"


def _not_in_enum(details: Details, path: str, known: _Known) -> str:
    values = _TAG.findall(details["ctx"]["expected"])
    return _must_be(path, _choice(values), details["input"])


def _out_of_range(details: Details, path: str, known: _Known) -> str:
    context = details["ctx"]
    limit = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
    return _must_be(path, limit, details["input"])


def _wrong_tag(details: Details, path: str, known: _Known) -> str:
    """The value chooses no branch of a union, or is of no type that an alternate has."""
    expected = _TAG.findall(details["ctx"]["expected_tags"])
    if expected[0].startswith("="):
        return _must_be(path, _listed([_JSON_KINDS[tag] for tag in expected], "or", quoted=False), details["input"])
    member = expected[0].partition("=")[0]
    values = [tag.partition("=")[2] for tag in expected]
    return _must_be(_join(path, member), _choice(values), details["input"][member])


def _no_tag(details: Details, path: str, known: _Known) -> str:
    """What should choose a branch is missing, or is no string; or the value is no object at all."""
    value = details["input"]
    member = details["ctx"]["discriminator"].removesuffix("()")
    if not isinstance(value, Mapping):
        return _must_be(path, "an object", value)
    if member not in value:
        type_name = known.members(details["loc"]).get(member, "")
        return _is_missing(_join(path, member), known.describe(type_name))
    return _must_be(_join(path, member), "a string", value[member])


def _too_deep(details: Details, path: str, known: _Known) -> str:
    return f"{_subject(path)} is nested too deeply; refer to what exists by name instead of defining it in place"


_HANDLERS: dict[str, Callable[[Details, str, _Known], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "enum": _not_in_enum,
    "literal_error": _not_in_enum,
    "greater_than_equal": _out_of_range,
    "less_than_equal": _out_of_range,
    "recursion_depth_exceeded": _too_deep,
    "recursion_loop": _too_deep,
    "union_tag_invalid": _wrong_tag,
    "union_tag_not_found": _no_tag,
}


class _Known:
    """Follows the path of an error through the schema's types."""

    def __init__(self, types: Mapping[str, KeyvalType], root: str) -> None:
        self._types = types
        self._root = root

    @property
    def is_object(self) -> bool:
        """Whether the arguments are an object that may have members."""
        return not self._types or self._root in self._types

    def members(self, location: Sequence[int | str]) -> Mapping[str, str]:
        """The members of the object at `location`; empty when that is not known."""
        name, branch = self._root, ""
        for step in location:
            if isinstance(step, int):
                name = name[1:-1]
            elif step.startswith("="):
                name = self._alternative(name, step)
            elif "=" in step:
                branch = step.partition("=")[2]
            else:
                name, branch = self._of(name, branch).get(step, ""), ""
        return self._of(name, branch)

    def describe(self, type_name: str) -> str:
        """What the type's values are, in words; empty when that is not known."""
        if type_name.startswith("["):
            return "an array"
        match self._types.get(type_name):
            case EnumType(values):
                return _choice(values)
            case StructType() | UnionType():
                return "an object"
            case AlternateType(candidates):
                return _listed([self.describe(item) for item in candidates], "or", quoted=False)
        return _PLAIN_TYPES.get(type_name, "an integer" if type_name in INTEGER_RANGES else "")

    def _of(self, name: str, branch: str) -> Mapping[str, str]:
        match self._types.get(name):
            case StructType(members):
                return members
            case UnionType() as union:
                return {**union.members, **self._of(union.branches.get(branch, ""), "")}
        return {}

    def _alternative(self, name: str, tag: str) -> str:
        alternate = self._types.get(name)
        if tag != "=object" or not isinstance(alternate, AlternateType):
            return ""
        objects = (item for item in alternate.types if isinstance(self._types.get(item), StructType | UnionType))
        return next(objects, "")


def _path(location: Sequence[int | str], *, keep_last: bool) -> str:
    """The dotted path of members; tags are left out."""
    path = ""
    for number, step in enumerate(location):
        is_last_member = keep_last and number == len(location) - 1
        if isinstance(step, int):
            path += f"[{step}]"
        elif is_last_member or "=" not in step:
            path = _join(path, step)
    return path


def _join(path: str, member: str) -> str:
    return f"{path}.{_shortened(member)}" if path else _shortened(member)


def _is_missing(path: str, wanted: str) -> str:
    return f"{_subject(path)} is missing{f'; it must be {wanted}' if wanted else ''}"


def _subject(path: str) -> str:
    if len(path) > _LONGEST_PATH:
        path = f"{path[:_LONGEST_PATH]}..."
    return f"parameter '{path}'" if path else "the argument"


def _must_be(path: str, wanted: str, value: object) -> str:
    return f"{_subject(path)} must be {wanted}, not {_shown(value)}"


def _shown(value: object) -> str:
    """What the client sent, in few words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"'{_shortened(value)}'"
    if isinstance(value, int | float):
        return _shortened(str(value)) if not isinstance(value, int) or value.bit_length() < 256 else "a huge number"
    return "an object" if isinstance(value, Mapping) else "an array"


def _shortened(text: str) -> str:
    printable = text if text.isprintable() else text.encode("ascii", "backslashreplace").decode("ascii")
    printable = printable if printable.isprintable() else repr(printable)[1:-1]
    return printable if len(printable) <= _LONGEST_SHOWN else printable[:_LONGEST_SHOWN] + "..."


def _choice(values: list[str]) -> str:
    return f"one of {_listed(values, 'or')}" if len(values) > 1 else f"'{values[0]}'"


def _listed(items: list[str], conjunction: str, *, quoted: bool = True) -> str:
    words = [f"'{item}'" for item in items] if quoted else items
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"
