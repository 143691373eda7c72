"""The object types of `misc.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.qapi.model import Int64, Maybe, Model

__all__ = [
    "QObjHumanMonitorCommandArg",
    "NameInfo",
]


class QObjHumanMonitorCommandArg(Model):
    """The arguments of `human-monitor-command`."""

    command_line: str = Field(alias="command-line")
    """the line, as 'info block' or 'qemu-io disk0 "read 0 64k"'"""

    cpu_index: Maybe[Int64] = Field(default=None, alias="cpu-index")
    """the processor that the line is about; there is none here"""


class NameInfo(Model):
    """What 'query-name' answers."""

    name: Maybe[str] = None
    """the daemon's name; absent if it was given none"""
