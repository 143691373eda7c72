"""Limits on the speed of drives: the groups that they are in, by name.

A group is an object of type `throttle-group` if there is one of that name; otherwise it exists as long as drives are in
it. The limits belong to the group: whoever sets those of one drive sets those of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.objects.throttling import Limit, Limits, ThrottleGroup, ThrottleMember

if TYPE_CHECKING:
    from qmpd.objects.throttle_group import ThrottleGroupObject
    from qmpd.objects.tree import ObjectTree

LIMIT_NAMES = {
    Limit.BPS_TOTAL: "bps",
    Limit.BPS_READ: "bps_rd",
    Limit.BPS_WRITE: "bps_wr",
    Limit.IOPS_TOTAL: "iops",
    Limit.IOPS_READ: "iops_rd",
    Limit.IOPS_WRITE: "iops_wr",
}
"""The limits as commands and queries on drives name them; bursts are `NAME_max` and `NAME_max_length`."""


class DriveGroups:
    """The groups of drives that no client has made as objects."""

    def __init__(self, objects: ObjectTree) -> None:
        self._objects = objects
        self._groups: dict[str, ThrottleGroup] = {}

    def join(self, name: str, user: str) -> GroupMembership:
        """Become a member of the group of that name."""
        made = self._find_object(name)
        if made is not None:
            made.use(user)
            return GroupMembership(self, name, user, made.group, made)
        return GroupMembership(self, name, user, self._groups.setdefault(name, ThrottleGroup()), None)

    def _find_object(self, name: str) -> ThrottleGroupObject | None:
        found = self._objects.find(name)
        if found is None:
            return None
        from qmpd.objects.throttle_group import ThrottleGroupObject

        return found if isinstance(found, ThrottleGroupObject) else None

    def left(self, name: str) -> None:
        """A drive has left a group that is no object."""
        group = self._groups.get(name)
        if group is not None and not group.members:
            del self._groups[name]

    async def let_pass(self) -> None:
        """Hold back nothing any more: the daemon ends."""
        for group in self._groups.values():
            group.open_for_good()


class GroupMembership:
    """A drive's place in a group.

    :ivar name: the group's.
    """

    def __init__(
        self, groups: DriveGroups, name: str, user: str, group: ThrottleGroup, made: ThrottleGroupObject | None
    ) -> None:
        self.name = name
        self._groups = groups
        self._user = user
        self._group = group
        self._object = made
        self.member: ThrottleMember = group.join()

    @property
    def limits(self) -> Limits:
        """What holds for the group."""
        return self._group.limits

    def set_limits(self, limits: Limits) -> None:
        """Change what holds for the group; the limits have been checked."""
        self._group.set_limits(limits)

    def leave(self) -> None:
        """Leave the group; what waits may pass."""
        self.member.pass_begin()
        self.member.leave()
        if self._object is not None:
            self._object.release(self._user)
        else:
            self._groups.left(self.name)
