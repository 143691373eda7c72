"""What generated models are made of: the base class, integer types, how branches of unions are told apart.

Tags of unions read `member=value`, those of alternates `=type`: neither can be a member's name, so that
`explain` can tell them from members in the path of an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from qmpd.qapi.names import to_field

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")


class Model(BaseModel):
    """An object type of the schema: strict, immutable, refuses unknown members.

    Code makes one with Python names (`node_name=`); clients' data is validated by dashed names only, see
    `tables.CommandInfo.validate`.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        defer_build=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    if not TYPE_CHECKING:

        def __init__(self, /, **data: object) -> None:
            """Make a model from Python names; None stands for an absent member."""
            super().__init__(**{name: value for name, value in data.items() if value is not None})

        # Tells pydantic that validation need not come through here: JSON's null is not an absent member.
        __init__.__pydantic_base_init__ = True

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data with dashed names; absent members are left out, a null that was given is not."""
        dumped = self.__pydantic_serializer__.to_python(self, mode="json", exclude_unset=True)
        return cast("dict[str, Any]", dumped)


class _NotNull:
    """Takes the null out of what validation accepts; an absent member still reads as None."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


class _FailFast:
    """Ends the validation of an array at its first bad element."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return cast("CoreSchema", {**schema, "fail_fast": True}) if schema["type"] == "list" else schema


Maybe = Annotated[T | None, _NotNull()]
"""The type of an optional member."""

Array = Annotated[list[T], _FailFast()]
"""An array. However many bad elements a client sends, there is one error."""

Int8 = Annotated[int, Field(ge=-(1 << 7), le=(1 << 7) - 1)]
Int16 = Annotated[int, Field(ge=-(1 << 15), le=(1 << 15) - 1)]
Int32 = Annotated[int, Field(ge=-(1 << 31), le=(1 << 31) - 1)]
Int64 = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
UInt8 = Annotated[int, Field(ge=0, le=(1 << 8) - 1)]
UInt16 = Annotated[int, Field(ge=0, le=(1 << 16) - 1)]
UInt32 = Annotated[int, Field(ge=0, le=(1 << 32) - 1)]
UInt64 = Annotated[int, Field(ge=0, le=(1 << 64) - 1)]


def by_member(member: str) -> Callable[[object], str | None]:
    """The tag function of a union whose discriminator is `member`.

    Its name is the member's, which pydantic repeats in errors.
    """
    field, prefix = to_field(member), f"{member}="

    def tag(value: object) -> str | None:
        chosen = value.get(member) if isinstance(value, dict) else getattr(value, field, None)
        return prefix + chosen if isinstance(chosen, str) else None

    tag.__name__ = member
    return tag


def by_json_type(value: object) -> str | None:
    """The tag function of alternates."""
    if isinstance(value, str):
        return "=string"
    if isinstance(value, dict | BaseModel):
        return "=object"
    if value is None:
        return "=null"
    if isinstance(value, bool):
        return "=boolean"
    if isinstance(value, int | float):
        return "=number"
    return "=array" if isinstance(value, list) else None
