"""The object types of `net.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import RxState
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "RxFilterInfo",
    "QObjQueryRxFilterArg",
]


class RxFilterInfo(Model):
    """Which packets a network card takes."""

    name: str
    """its name"""

    promiscuous: bool
    """whether it takes all"""

    multicast: RxState
    """of those for groups"""

    unicast: RxState
    """of those for one"""

    vlan: RxState
    """of those of virtual networks"""

    broadcast_allowed: bool = Field(alias="broadcast-allowed")
    """whether it takes those for all"""

    multicast_overflow: bool = Field(alias="multicast-overflow")
    """whether there are too many groups to tell apart"""

    unicast_overflow: bool = Field(alias="unicast-overflow")
    """whether there are too many addresses to tell apart"""

    main_mac: str = Field(alias="main-mac")
    """its address"""

    vlan_table: Array[Int64] = Field(alias="vlan-table")
    """virtual networks"""

    unicast_table: Array[str] = Field(alias="unicast-table")
    """addresses"""

    multicast_table: Array[str] = Field(alias="multicast-table")
    """groups"""


class QObjQueryRxFilterArg(Model):
    """The arguments of `query-rx-filter`."""

    name: Maybe[str] = None
    """the card; there is none of any name"""
