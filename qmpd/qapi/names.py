"""Names: which ones the schema language allows, and what they become in Python.

Leans on nothing. Generated code and `explain` must agree on the spelling, so it is decided here alone.
"""

from __future__ import annotations

import keyword
import re

_LOWER = r"[a-z][a-z0-9_-]*"
_VENDOR = r"(?:__[a-z0-9.-]+_)?"
_EXPERIMENT = r"(?:x-)?"
_COMMAND = re.compile(rf"{_VENDOR}{_EXPERIMENT}{_LOWER}$")
_MEMBER = re.compile(rf"{_VENDOR}{_EXPERIMENT}[A-Za-z][A-Za-z0-9_-]*$")
_VALUE = re.compile(rf"{_VENDOR}{_EXPERIMENT}[A-Za-z0-9][A-Za-z0-9_-]*$")
_TYPE = re.compile(r"(?:__[A-Za-z0-9.-]+_)?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*$")
_EVENT = re.compile(r"(?:__[A-Z0-9.-]+_)?[A-Z][A-Z0-9_]*$")

# Attributes of a pydantic model that a field of that name would hide.
_MODEL_ATTRIBUTES = frozenset(
    {
        "construct",
        "copy",
        "dict",
        "fields",
        "from_orm",
        "json",
        "parse_file",
        "parse_obj",
        "parse_raw",
        "schema",
        "schema_json",
        "to_json",
        "update_forward_refs",
        "validate",
    }
)


def check_command(name: str, *, exception: bool) -> str | None:
    """What is wrong with the name of a command; None if nothing is.

    :param exception: whether a pragma excuses underscores.
    """
    if not _COMMAND.match(name):
        return "a command's name is lower case, begins with a letter, and has only letters, digits and '-'"
    if "_" in name.removeprefix("__") and not name.startswith("__") and not exception:
        return "a command's name has '-' instead of '_'"
    return None


def check_event(name: str) -> str | None:
    """What is wrong with the name of an event; None if nothing is."""
    return None if _EVENT.match(name) else "an event's name is upper case, with '_' between words"


def check_type(name: str) -> str | None:
    """What is wrong with the name of a type; None if nothing is."""
    if not _TYPE.match(name):
        return "a type's name is CamelCase"
    if name.endswith("List"):
        return "names that end in 'List' are reserved"
    return None


def check_member(name: str, *, exception: bool) -> str | None:
    """What is wrong with the name of a member; None if nothing is.

    :param exception: whether a pragma excuses upper case and underscores.
    """
    if not _MEMBER.match(name):
        return "a member's name begins with a letter and has only letters, digits and '-'"
    if to_field(name) in ("u", "has") or name.startswith(("has-", "has_", "q_")):
        return "the names 'u' and 'has', and names that begin with 'has-' or 'q_' are reserved"
    if not exception and (name != name.lower() or ("_" in name and not name.startswith("__"))):
        return "a member's name is lower case with '-' between words"
    return None


def check_value(name: str, *, exception: bool) -> str | None:
    """What is wrong with the name of an enum value; None if nothing is."""
    if not _VALUE.match(name) or name.startswith("q_"):
        return "an enum value begins with a letter or digit and has only letters, digits and '-'"
    if not exception and (name != name.lower() or ("_" in name and not name.startswith("__"))):
        return "an enum value is lower case with '-' between words"
    return None


def normalized(name: str) -> str:
    """Two names with the same normalized form clash."""
    return re.sub(r"[-.]", "_", name)


def to_field(name: str) -> str:
    """The Python attribute for member `name`: `node-name` becomes `node_name`, `from` becomes `from_`."""
    field = normalized(name).lstrip("_")
    if keyword.iskeyword(field) or field in _MODEL_ATTRIBUTES or field.startswith("model_"):
        return field + "_"
    return field


def to_constant(value: str) -> str:
    """The member of a Python enum for `value`: `on-success` becomes `ON_SUCCESS`, `3des` becomes `_3DES`."""
    constant = normalized(value).lstrip("_").upper()
    return f"_{constant}" if constant[0].isdigit() else constant


def to_class(name: str) -> str:
    """CamelCase of a command, event, enum value or type: `BLOCK_JOB_READY` becomes `BlockJobReady`."""
    words = [word for word in re.split(r"[-_.]", name) if word]
    return "".join(word.capitalize() if word.isupper() else word[0].upper() + word[1:] for word in words)
