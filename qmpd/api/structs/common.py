"""The object types of `common.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.qapi.model import Model

__all__ = [
    "String",
]


class String(Model):
    """A string as an object, for unions whose branches must be objects."""

    str: str
    """the string"""
