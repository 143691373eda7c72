"""Object `throttle-group`: limits that several `throttle` nodes have in common.

`limits` may be changed at any time; what it leaves out stays as it is. The properties that begin with `x-` are an older
way to write the same, and can be given only when the object is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from qmpd.objects.base import Offload, Property, UserObject
from qmpd.objects.throttling import Limit, Limits, ThrottleGroup

if TYPE_CHECKING:
    from qmpd.objects.tree import ObjectTree

_PARTS = {"": "average", "-max": "burst", "-max-length": "burst_seconds"}


def read_limits(limits: Limits) -> dict[str, int]:
    """The limits as the schema's `ThrottleLimits`, complete."""
    told = {
        f"{limit}{suffix}": getattr(limits.rates[limit], part) for limit in Limit for suffix, part in _PARTS.items()
    }
    return {**told, "iops-size": limits.iops_size}


def changed_limits(limits: Limits, changes: Mapping[str, int]) -> Limits:
    """The limits with what the schema's `ThrottleLimits` (any part of it) changes; not checked."""
    rates = dict(limits.rates)
    for limit in Limit:
        given = {part: changes[limit + suffix] for suffix, part in _PARTS.items() if limit + suffix in changes}
        rates[limit] = replace(rates[limit], **given)
    return Limits(rates, changes.get("iops-size", limits.iops_size))


def _one(name: str) -> Property:
    def change(self: ThrottleGroupObject, value: int) -> None:
        self.check_changeable(f"x-{name}")
        self.older[name] = value

    return Property(f"x-{name}", "int", lambda self: read_limits(self.group.limits)[name], change)


def _properties() -> Iterator[Property]:
    yield Property(
        "limits",
        "ThrottleLimits",
        lambda self: read_limits(self.group.limits),
        lambda self, value: self.set_limits(value),
    )
    for name in read_limits(Limits()):
        yield _one(name)


class ThrottleGroupObject(UserObject):
    """The object.

    :ivar group: what its nodes are members of.
    """

    type_name: ClassVar[str] = "throttle-group"
    properties: ClassVar[tuple[Property, ...]] = tuple(_properties())

    def __init__(self, object_id: str, tree: ObjectTree) -> None:
        super().__init__(object_id, tree)
        self.group = ThrottleGroup()
        self.older: dict[str, int] = {}
        self._given: Mapping[str, int] = {}

    def set_limits(self, changes: Mapping[str, int]) -> None:
        """Change some limits.

        :raises GenericError: they would not make sense together; all are as before.
        """
        if not self.complete:
            self._given = changes
            return
        limits = changed_limits(self.group.limits, changes)
        limits.check()
        self.group.set_limits(limits)

    def let_pass(self) -> None:
        self.group.open_for_good()

    async def load(self, offload: Offload) -> None:
        # Of a limit that is given in both ways, `limits` counts.
        limits = changed_limits(Limits(), {**self.older, **self._given})
        limits.check()
        self.group.set_limits(limits)
