"""What generated enums are made of.

Stands alone so that enums can be used without importing pydantic.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class QAPIEnum(StrEnum):
    """An enum of the schema. Models take its values as strings, even though they are strict otherwise."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """The validator: a member or its value, nothing else."""
        from pydantic_core import core_schema

        return core_schema.enum_schema(cls, list(cls), sub_type="str", strict=False)
