"""Reopening: nodes go on with other options while their users stay; all of a list of nodes, or none.

The order of steps is the same for one node and for many:

1. All nodes are drained. Who writes to a node that is to be read-only must be in the list, and give that up, too.
2. All that was written is flushed, and every driver prepares (`prepare_reopen`), parents before children: an image
   that becomes read-only brings all it has in memory to its file, which can still be written. What a driver opens for
   its new options, it keeps in the state that it gives; the options that are in force stay in force.
3. The nodes get their new children and flags, the drivers have a look at them (`check_reopen`), and permissions are
   worked out anew. This is the last step that can refuse.
4. Every driver commits (`commit_reopen`), which cannot fail.
5. Every driver may do I/O under the new options (`reopened`), children before parents: an image that has become
   writable says in its header that it is in use. Where this fails, that node is read-only from then on.

A child that was defined in place takes part in what its parent's options say, as when it was opened. What the client's
options mean for the nodes, `qmpd.block.reopen_plan` tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qmpd.block.opening import node_options
from qmpd.block.permissions import WRITING, Perm
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode, NodeOptions



@dataclass(slots=True, eq=False)
class Reopening:
    """One node and what is to hold for it.

    :ivar flags: the options that all drivers share, inheritance applied.
    :ivar options: the driver's branch of `BlockdevOptions`; None when only the flags change.
    :ivar children: the roles whose child changes, and the node that it will be.
    :ivar state: what the driver's `prepare_reopen` gave.
    """

    node: BlockNode
    flags: NodeOptions
    options: Any | None = None
    children: dict[str, BlockNode | None] = field(default_factory=dict)
    state: Any = None
    _old_children: dict[str, BlockNode | None] = field(default_factory=dict)
    _old_flags: NodeOptions | None = None
    _was_read_only: bool = False
    _tolerated: Perm = Perm.NONE

    def change_children(self, graph: BlockGraph) -> None:
        """Let the edges lead to the new children; permissions are not looked at.

        :raises GenericError: an edge is frozen, or there would be a loop.
        """
        for role, target in self.children.items():
            child = self.node.children.get(role)
            before = None if child is None else child.node
            graph.relink(self.node, role, target)
            self._old_children[role] = before

    def change_children_back(self, graph: BlockGraph) -> None:
        """Undo `change_children`, as far as it came."""
        while self._old_children:
            role, target = self._old_children.popitem()
            graph.relink(self.node, role, target)

    def disown(self) -> None:
        """The children that are gone do not inherit from the node any more."""
        for before in self._old_children.values():
            if before is not None and before.inherits_from is self.node:
                before.inherits_from = None

    def take_flags(self) -> None:
        """Let the node have its new flags."""
        node = self.node
        self._old_flags, self._was_read_only, self._tolerated = node.options, node.read_only, node.tolerated
        node.options, node.read_only, node.tolerated = self.flags, self.flags.read_only, Perm.NONE
        node.changed()

    def give_back_flags(self) -> None:
        """Undo `take_flags`, if it was called."""
        if self._old_flags is not None:
            self.node.options, self.node.read_only = self._old_flags, self._was_read_only
            self.node.tolerated = self._tolerated
            self.node.changed()


async def reopen(graph: BlockGraph, entries: Sequence[Reopening]) -> None:
    """Reopen all of `entries`, parents before their children. Call within `graph.exclusive()`.

    :raises GenericError: one of them cannot be; all nodes are as before. After step 5 (see above) they are not: a node
        that could not get ready to be written is read-only then.
    """
    async with graph.drained(_nodes_of(entries)):
        await _prepare_and_commit(graph, entries)
        await _let_go_on(graph, entries)


async def set_read_only(graph: BlockGraph, node: BlockNode, read_only: bool) -> None:
    """Make a node, and children defined in place for it, read-only or writable.

    Call within `graph.exclusive()`.

    :raises GenericError: it cannot be; it is as before, or read-only.
    """
    if not read_only and not node.options.active:
        raise GenericError(f"Node '{node.node_name}' is inactive; make it active before it is written to")
    if node.read_only is not read_only:
        await reopen(graph, with_children(node, dataclasses.replace(node.options, read_only=read_only)))


@asynccontextmanager
async def writable_for_job(graph: BlockGraph, node: BlockNode) -> AsyncIterator[bool]:
    """Make a node writable for a job that is being built; tells whether it was read-only. Within `graph.exclusive()`.

    When the job does not come to be, the node is read-only again; else that is for the job to see to.

    :raises GenericError: the node cannot be written.
    """
    was_read_only = node.read_only
    await set_read_only(graph, node, read_only=False)
    try:
        yield was_read_only
    except BaseException:
        if was_read_only:
            read_only_afterwards(graph, node)
        raise


def read_only_afterwards(graph: BlockGraph, node: BlockNode) -> None:
    """Make a node read-only at the end of the exclusive section. Plain, cannot fail.

    A node that cannot be, because somebody has come to write to it or its file fails, stays as it is.
    """

    async def restore() -> None:
        if graph.nodes.get(node.node_name) is node:
            with suppress(GenericError):
                await set_read_only(graph, node, read_only=True)

    graph.defer(restore)


def with_children(node: BlockNode, flags: NodeOptions) -> list[Reopening]:
    """`node` with its new flags, and all below it that inherit them. Backing files do not: they are read-only."""
    entries = [Reopening(node, flags)]
    for name, child in node.children.items():
        below = child.node
        if name != "backing" and below.inherits_from is node and below.definition is not None:
            entries += with_children(below, node_options(below.definition, flags, protocol=below.inherits_protocol))
    return entries


def _nodes_of(entries: Sequence[Reopening]) -> list[BlockNode]:
    """The nodes, and those that become their children or were so."""
    found: dict[BlockNode, None] = {}
    for entry in entries:
        found[entry.node] = None
        for role, target in entry.children.items():
            child = entry.node.children.get(role)
            if child is not None:
                found[child.node] = None
            if target is not None:
                found[target] = None
    return list(found)


async def _prepare_and_commit(graph: BlockGraph, entries: Sequence[Reopening]) -> None:
    _check_writers(entries)
    prepared: list[Reopening] = []
    nodes = _nodes_of(entries)
    try:
        for entry in entries:
            await _prepare(entry)
            prepared.append(entry)
        for entry in entries:
            entry.change_children(graph)
            entry.take_flags()
        for entry in entries:
            entry.node.driver.check_reopen(entry.state)
            graph.admit(entry.node)
        graph.refresh_permissions(nodes)
    except BaseException:
        for entry in reversed(prepared):
            entry.give_back_flags()
            entry.change_children_back(graph)
        graph.refresh_permissions(nodes)
        for entry in reversed(prepared):
            await entry.node.driver.abort_reopen(entry.state)
        raise
    for entry in entries:
        _commit(entry)


async def _prepare(entry: Reopening) -> None:
    node = entry.node
    try:
        if not node.read_only:
            await node.flush()
        entry.state = await node.driver.prepare_reopen(entry.options, entry.flags)
    except OSError as error:
        raise GenericError(f"Node '{node.node_name}' cannot be reopened: {os_error_text(error)}") from error


def _commit(entry: Reopening) -> None:
    node = entry.node
    node.driver.commit_reopen(entry.state)
    if entry.options is not None:
        node.definition = entry.options
    entry.disown()
    for role in entry.children:
        if role == node.driver.main_child and node.driver.child_resized(role):
            node.refresh_length()


def _check_writers(entries: Sequence[Reopening]) -> None:
    """Pass if nobody writes to a node that is to be read-only, but those that are to be read-only themselves."""
    giving_up = {entry.node for entry in entries if entry.flags.read_only}
    leaving = {(entry.node, role) for entry in entries for role in entry.children}
    for node in giving_up:
        for child in node.parents:
            if child.perm & WRITING and child.owner not in giving_up and (child.owner, child.name) not in leaving:
                raise GenericError(
                    f"Node '{node.node_name}' cannot be made read-only: {child.owner.describe()} writes to it"
                )


async def _let_go_on(graph: BlockGraph, entries: Sequence[Reopening]) -> None:
    first: GenericError | None = None
    for entry in reversed(entries):
        node = entry.node
        try:
            await node.driver.reopened()
        except (OSError, GenericError) as error:
            node.become_read_only()
            graph.refresh_permissions([node])
            reason = os_error_text(error) if isinstance(error, OSError) else error.desc
            text = f"Node '{node.node_name}' could not get ready to be written, and is read-only: {reason}"
            first = first or GenericError(text)
    if first is not None:
        raise first
