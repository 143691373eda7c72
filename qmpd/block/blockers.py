"""Operation blockers: a job forbids operations on the nodes it works on, and says why.

Unlike permissions, which guard data, blockers guard whole operations, such as a second job on the same node. An image
that others are an overlay of is blocked by that alone, but for what works on chains.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from qmpd.errors import GenericError


class BlockOp(StrEnum):
    """The operations that can be blocked."""

    BACKUP_SOURCE = "backup source"
    BACKUP_TARGET = "backup target"
    CHANGE = "change"
    COMMIT_SOURCE = "commit source"
    COMMIT_TARGET = "commit target"
    DELETE = "delete"
    EXTERNAL_SNAPSHOT = "external snapshot"
    INTERNAL_SNAPSHOT = "internal snapshot"
    INTERNAL_SNAPSHOT_DELETE = "internal snapshot delete"
    MIRROR_SOURCE = "mirror source"
    MIRROR_TARGET = "mirror target"
    REPLACE = "replace"
    RESIZE = "resize"
    STREAM = "stream"


FOR_BACKING_IMAGES = frozenset(
    {BlockOp.BACKUP_SOURCE, BlockOp.BACKUP_TARGET, BlockOp.CHANGE, BlockOp.COMMIT_TARGET, BlockOp.STREAM}
)
"""What can be done with the backing image of another one."""


class OpBlocker:
    """One reason why some operations on a node are refused. Compared by identity."""

    __slots__ = ("operations", "reason")

    def __init__(self, reason: str, operations: frozenset[BlockOp]) -> None:
        self.reason = reason
        self.operations = operations


class OpBlockers:
    """All blockers of one node.

    :param overlay: gives the name of an image that has the node as its backing image, None if there is none.
    """

    __slots__ = ("_blockers", "_overlay", "node_name")

    def __init__(self, node_name: str, overlay: Callable[[], str | None] = lambda: None) -> None:
        self.node_name = node_name
        self._overlay = overlay
        self._blockers: list[OpBlocker] = []

    def __len__(self) -> int:
        return len(self._blockers)

    def block(self, reason: str, operations: frozenset[BlockOp] = frozenset(BlockOp)) -> OpBlocker:
        """Refuse `operations` (all, unless told otherwise) until `unblock` is called with the result."""
        blocker = OpBlocker(reason, operations)
        self._blockers.append(blocker)
        return blocker

    def unblock(self, blocker: OpBlocker) -> None:
        """Take `blocker` away; it must be there."""
        self._blockers.remove(blocker)

    def check(self, operation: BlockOp) -> None:
        """Pass if nobody blocks `operation`.

        :raises GenericError: the first reason against it.
        """
        for blocker in self._blockers:
            if operation in blocker.operations:
                raise GenericError(
                    f"Node '{self.node_name}' does not take the operation '{operation}' now: {blocker.reason}"
                )
        overlay = None if operation in FOR_BACKING_IMAGES else self._overlay()
        if overlay is not None:
            raise GenericError(
                f"Node '{self.node_name}' does not take the operation '{operation}': it is the backing image of node "
                f"'{overlay}'"
            )
