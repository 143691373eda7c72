"""The object types of `misc.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.qapi.model import Maybe, Model

__all__ = [
    "NameInfo",
]


class NameInfo(Model):
    """What 'query-name' answers."""

    name: Maybe[str] = None
    """the daemon's name; absent if it was given none"""
