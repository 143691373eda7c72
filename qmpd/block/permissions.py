"""Permissions on block nodes: what a user of a node does to it, and what it lets others do.

Each edge of the graph (`Child`) states two sets: the permissions it takes and the permissions it leaves to the
other users of the same node. Two users conflict when one takes what the other does not share. The bit positions
are QEMU's, since image locks on disk encode them.
"""

from __future__ import annotations

from enum import IntFlag


class Perm(IntFlag):
    """What a user of a node may do."""

    NONE = 0
    CONSISTENT_READ = 0x01
    WRITE = 0x02
    WRITE_UNCHANGED = 0x04
    RESIZE = 0x08
    ALL = 0x0F


WRITING = Perm.WRITE | Perm.WRITE_UNCHANGED | Perm.RESIZE
"""All that changes an image."""

PERM_NAMES: dict[Perm, str] = {
    Perm.CONSISTENT_READ: "consistent-read",
    Perm.WRITE: "write",
    Perm.WRITE_UNCHANGED: "write-unchanged",
    Perm.RESIZE: "resize",
}


def perm_list(perm: Perm) -> list[str]:
    """The published names (`BlockPermission`) of the bits in `perm`."""
    return [name for bit, name in PERM_NAMES.items() if perm & bit]


def describe(perm: Perm) -> str:
    """The names of the bits in `perm`, for an error message."""
    return ", ".join(f"'{name}'" for name in perm_list(perm))
