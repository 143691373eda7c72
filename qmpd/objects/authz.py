"""Objects `authz-list` and `authz-simple`: who is let in.

A list's first rule that fits a user decides; where none fits, its policy does.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, ClassVar

from qmpd.objects.base import Property, UserObject, changeable


class AuthzSimple(UserObject):
    """One user is let in."""

    type_name: ClassVar[str] = "authz-simple"
    properties: ClassVar[tuple[Property, ...]] = (changeable("identity", "string", "identity"),)

    identity = ""

    def allows(self, user: str) -> bool:
        """Whether that user is let in."""
        return user == self.identity


class AuthzList(UserObject):
    """Rules, and what holds for those whom no rule is for."""

    type_name: ClassVar[str] = "authz-list"
    properties: ClassVar[tuple[Property, ...]] = (
        changeable("policy", "QAuthZListPolicy", "policy"),
        Property(
            "rules",
            "QAuthZListRule",
            lambda self: self.rules,
            lambda self, value: setattr(self, "rules", value),
            "[QAuthZListRule]",
        ),
    )

    policy = "deny"
    rules: list[dict[str, Any]] = []  # noqa: RUF012 - replaced as a whole, never changed

    def allows(self, user: str) -> bool:
        """Whether that user is let in."""
        for rule in self.rules:
            match = rule["match"]
            if fnmatchcase(user, match) if rule.get("format") == "glob" else user == match:
                return bool(rule["policy"] == "allow")
        return self.policy == "allow"
