"""The object types of `machine-target.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.qapi.model import Array, Maybe, Model

__all__ = [
    "CpuDefinitionInfo",
]


class CpuDefinitionInfo(Model):
    """A model of processors."""

    name: str
    """its name"""

    migration_safe: Maybe[bool] = Field(default=None, alias="migration-safe")
    """whether a guest may move to another host with it"""

    static: bool
    """whether it is the same for ever"""

    unavailable_features: Maybe[Array[str]] = Field(default=None, alias="unavailable-features")
    """what of it the host does not have"""

    typename: str
    """its type"""

    alias_of: Maybe[str] = Field(default=None, alias="alias-of")
    """the model that it is another name for"""

    deprecated: bool
    """whether it is going to go"""
