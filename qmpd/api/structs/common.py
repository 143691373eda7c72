"""The object types of `common.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Union

from pydantic import Discriminator, Tag
from typing_extensions import TypeAliasType

from qmpd.qapi.model import Model, by_json_type

__all__ = [
    "String",
    "StrOrNull",
]


class String(Model):
    """A string as an object, for unions whose branches must be objects."""

    str: str
    """the string"""

StrOrNull = TypeAliasType(
    "StrOrNull",
    Annotated[
        Union[
            Annotated[str, Tag("=string")],
            Annotated[None, Tag("=null")],
        ],
        Discriminator(by_json_type),
    ],
)
"""A string, or null where that means something else than leaving the member out."""
