"""The edges of the graph: who uses a node, for what, and what the others may do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qmpd.block.permissions import Perm

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode


class ChildOwner(Protocol):
    """The upper end of an edge: a parent node, a backend or a job.

    The three drain methods are how the graph stops new requests: `drained_begin` makes the owner stop sending them,
    `drained_poll` tells whether requests of its own are still under way, `drained_end` lets it go on.
    """

    def describe(self) -> str:
        """The owner's name in an error message."""

    def drained_begin(self) -> None: ...

    def drained_end(self) -> None: ...

    def drained_poll(self) -> bool: ...


class Child:
    """An edge from an owner down to a node.

    :ivar name: the role, such as `file`, `target` or `root`.
    :ivar perm: what the owner does with the node.
    :ivar shared: what it lets other users of the node do.
    :ivar frozen: a job relies on the edge; it must neither move nor go (see `qmpd.block.chain`).
    """

    __slots__ = ("frozen", "name", "node", "owner", "perm", "shared")

    def __init__(self, owner: ChildOwner, name: str, node: BlockNode, perm: Perm, shared: Perm) -> None:
        self.owner = owner
        self.name = name
        self.node = node
        self.perm = perm
        self.shared = shared
        self.frozen = False

    def __repr__(self) -> str:
        return f"<Child {self.owner.describe()} -{self.name}-> {self.node.node_name}>"
