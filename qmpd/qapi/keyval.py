"""Key=value text: `driver=raw,file.driver=file,file.filename=/a` to a tree, and its strings to values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    """Any of `types`."""

    types: list[str]


KeyvalType = EnumType | StructType | UnionType | AlternateType
