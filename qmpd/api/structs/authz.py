"""The object types of `authz.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations



from qmpd.api.enums import QAuthZListFormat, QAuthZListPolicy
from qmpd.qapi.model import Array, Maybe, Model

__all__ = [
    "QAuthZListRule",
    "AuthZListProperties",
    "AuthZSimpleProperties",
]


class QAuthZListRule(Model):
    """One rule."""

    match: str
    """the users it is for"""

    policy: QAuthZListPolicy
    """what is decided about them"""

    format: Maybe[QAuthZListFormat] = None
    """how `match` is compared (default: 'exact')"""


class AuthZListProperties(Model):
    """A list of rules, of which the first that fits decides."""

    policy: Maybe[QAuthZListPolicy] = None
    """what is decided when none fits (default: 'deny')"""

    rules: Maybe[Array[QAuthZListRule]] = None
    """the rules (default: none)"""


class AuthZSimpleProperties(Model):
    """One user is let in."""

    identity: str
    """the user's name"""
