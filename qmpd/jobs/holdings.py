"""What a job holds while it works: edges to nodes, blockers on them, frozen edges.

All of it is given back in one plain call, in the reverse order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qmpd.block import chain
from qmpd.block.blockers import OpBlocker
from qmpd.block.child import Child
from qmpd.block.permissions import Perm

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode
    from qmpd.jobs.block_job import BlockJob


class Holdings:
    """The holdings of one job."""

    def __init__(self, graph: BlockGraph, job: BlockJob) -> None:
        self._graph = graph
        self._job = job
        self._children: list[Child] = []
        self._blockers: list[tuple[BlockNode, OpBlocker]] = []
        self._frozen: list[Child] = []

    def use(self, role: str, node: BlockNode, perm: Perm = Perm.NONE, shared: Perm = Perm.ALL) -> None:
        """Be a user of `node`, and let nobody else begin an operation on it.

        :raises GenericError: the permissions conflict with those of other users.
        """
        self._children.append(self._graph.attach(self._job, role, node, perm, shared))
        self.block(node)

    def block(self, node: BlockNode) -> None:
        """Let nobody else begin an operation on `node`."""
        blocker = node.blockers.block(f"block job '{self._job.job_id}' of type '{self._job.job_type}' uses it")
        self._blockers.append((node, blocker))

    def freeze(self, top: BlockNode, base: BlockNode) -> None:
        """Keep all edges from `top` down to `base` where they are.

        :raises GenericError: one of them is frozen by somebody else.
        """
        self._frozen += chain.freeze(top, base)

    def unfreeze(self) -> None:
        """Let edges be moved again. Plain, cannot fail."""
        chain.unfreeze(self._frozen)

    def retire(self) -> None:
        """Take nothing any more and forbid nothing to others, but be there still. Plain, cannot fail."""
        self.unfreeze()
        for child in self._children:
            self._graph.change_permissions(child, Perm.NONE, Perm.ALL)

    def give_back(self) -> None:
        """Let go of everything. Plain, cannot fail; harmless a second time."""
        self.unfreeze()
        while self._blockers:
            node, blocker = self._blockers.pop()
            node.blockers.unblock(blocker)
        while self._children:
            self._graph.detach(self._children.pop())


def between(top: BlockNode, base: BlockNode) -> Iterator[tuple[BlockNode, Perm]]:
    """All nodes from `top` down to `base`, without that, and what others may do with them while `base` is written.

    What they show changes below their own data, so nobody can rely on it; but filters that stand directly on the base
    show just what it holds.
    """
    overlay = chain.overlay_of(top, base)
    edge = None if overlay is None else chain.cow_child(overlay)
    shared = Perm.WRITE | Perm.WRITE_UNCHANGED
    for node in chain.chain(top):
        if node is base:
            return
        if edge is not None and node is edge.node:
            shared |= Perm.CONSISTENT_READ
        yield node, shared
