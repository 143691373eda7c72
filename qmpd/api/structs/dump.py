"""The object types of `dump.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.api.enums import DumpGuestMemoryFormat, DumpStatus
from qmpd.qapi.model import Int64, Array, Model

__all__ = [
    "DumpQueryResult",
    "DumpGuestMemoryCapability",
]


class DumpQueryResult(Model):
    """How far a dump is."""

    status: DumpStatus
    """what becomes of it"""

    completed: Int64
    """how much is done, in bytes"""

    total: Int64
    """how much there is to do, in bytes"""


class DumpGuestMemoryCapability(Model):
    """The formats in which dumps can be made."""

    formats: Array[DumpGuestMemoryFormat]
    """the formats"""
