"""The object types of `misc-target.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import SevState
from qmpd.qapi.model import UInt32, UInt8, Model

__all__ = [
    "SevInfo",
]


class SevInfo(Model):
    """The encryption of the guest."""

    enabled: bool
    """whether it is encrypted"""

    api_major: UInt8 = Field(alias="api-major")
    """version of the interface"""

    api_minor: UInt8 = Field(alias="api-minor")
    """version of the interface, behind the dot"""

    build_id: UInt8 = Field(alias="build-id")
    """version of the firmware"""

    policy: UInt32
    """what is allowed with it"""

    state: SevState
    """what becomes of it"""

    handle: UInt32
    """the firmware's number for it"""
