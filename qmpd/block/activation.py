"""Inactive nodes: open, and left alone, so that another process may write to their images.

A disk on shared storage goes over from one process to another so: the one that has had it makes its nodes inactive,
which brings all they have to the images and gives up the locks; the other one makes its own active. An inactive node
can be read, with what it knew when it was opened or made inactive, and not be written to.

Making a node active opens its image afresh, for whatever is known of it may be out of date: a new node takes the name
and the users of the old one, which is closed. If the image cannot be opened, the old node stays as it is. A child that
was defined in place goes with its parent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from qmpd.block.blockers import BlockOp
from qmpd.block.drive import GuestBackend
from qmpd.block.drivers import make_driver
from qmpd.block.node import BlockNode
from qmpd.block.opening import node_options
from qmpd.block.reopen import Reopening, reopen
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qmpd.block.graph import BlockGraph

_DRIVERS = frozenset(
    {"compress", "copy-on-read", "file", "host_device", "nbd", "null-aio", "null-co", "preallocate", "qcow2", "raw"}
)
"""Those whose definition, and the nodes below, say all there is to say about a node."""


async def make_inactive(graph: BlockGraph, nodes: Iterable[BlockNode]) -> None:
    """Make nodes inactive, and those below that no active node uses. Call within `graph.exclusive()`.

    :raises GenericError: somebody writes to one of them or works on it, or its driver cannot be so; all is as before.
    """
    order: dict[BlockNode, None] = {}
    chosen = list(nodes)
    for node in chosen:
        if not any(user in chosen for user in _node_users(node)):
            _check_no_active_user(node)
            _collect(node, order)
    for node in order:
        _check_can_change(node)
    entries = [Reopening(node, dataclasses.replace(node.options, read_only=True, active=False)) for node in order]
    await reopen(graph, entries)


def _collect(node: BlockNode, found: dict[BlockNode, None]) -> None:
    """`node` and what goes with it, parents first."""
    if node in found or not node.options.active:
        return
    found[node] = None
    for child in node.children.values():
        if all(user in found or not user.options.active for user in _node_users(child.node)):
            _collect(child.node, found)


def _node_users(node: BlockNode) -> list[BlockNode]:
    return [edge.owner for edge in node.parents if isinstance(edge.owner, BlockNode)]


def _check_no_active_user(node: BlockNode) -> None:
    user = next((user for user in _node_users(node) if user.options.active), None)
    if user is not None:
        raise GenericError(f"Node '{node.node_name}' cannot be inactive while node '{user.node_name}' is active")


async def make_active(graph: BlockGraph, nodes: Iterable[BlockNode]) -> None:
    """Make nodes active, and all below them. Call within `graph.exclusive()`.

    :raises GenericError: an image cannot be opened, or is of another size than the clients of its exports were told;
        that node is as it was, and those before it are active.
    """
    for node in list(nodes):
        # Another one may have taken its place meanwhile.
        if graph.nodes.get(node.node_name) is node:
            await _make_active(graph, _owner(node))


def _owner(node: BlockNode) -> BlockNode:
    """The node that was not defined in place, and with which this one goes."""
    while node.inherits_from is not None and not node.inherits_from.options.active:
        node = node.inherits_from
    return node


async def _make_active(graph: BlockGraph, node: BlockNode) -> None:
    for child in list(node.children.values()):
        if child.node.inherits_from is not node:
            await _make_active(graph, child.node)
    if node.options.active:
        return
    _check_can_change(node)
    definition = _definition(node)
    family = list(_in_place(node))
    names = {one: one.node_name for one in family}
    for one in family:
        graph.rename(one, graph.generate_name())
    try:
        fresh = await _open_again(graph, node, definition, names[node])
    except BaseException:
        await graph.close_all_unused()  # only then the names are free
        for one, name in names.items():
            graph.rename(one, name)
        raise
    _hand_over(node, fresh)
    node.monitor_owned = False
    graph.discard_if_unused(node)
    await graph.close_all_unused()


async def _open_again(graph: BlockGraph, node: BlockNode, definition: Any, name: str) -> BlockNode:
    fresh = await graph.open_node(
        make_driver(str(definition.driver)),
        definition,
        node_options(definition),
        None if name.startswith("#") else name,
        monitor_owned=node.monitor_owned,
    )
    try:
        told = any(isinstance(edge.owner, GuestBackend) for edge in node.parents)
        if told and fresh.length != node.length:
            raise GenericError(
                f"The image of node '{name}' has {fresh.length} bytes by now, and the clients of its exports were told "
                f"of {node.length}"
            )
        async with graph.drained([node]):
            graph.replace_node(node, fresh)
    except BaseException:
        fresh.monitor_owned = False
        graph.discard_if_unused(fresh)
        raise
    return fresh


def _hand_over(node: BlockNode, fresh: BlockNode) -> None:
    """What only the old node knows, and no image."""
    fresh.write_threshold = node.write_threshold
    for bitmap in [bitmap for bitmap in node.bitmaps if not bitmap.persistent][::-1]:
        node.bitmaps.remove(bitmap)
        fresh.bitmaps.add(bitmap)
    fresh.bitmaps.resize(fresh.length)


def _definition(node: BlockNode) -> Any:
    """The options that open what the node is now: as it was defined, with the nodes that came to be below it since."""
    changes: dict[str, object] = {"active": True}
    for role, child in node.children.items():
        if child.node.inherits_from is not node:
            changes[role.replace("-", "_")] = child.node.node_name
    if node.driver.supports_backing and "backing" not in node.children:
        changes["backing"] = None
    return node.definition.model_copy(update=changes)


def _in_place(node: BlockNode) -> Iterable[BlockNode]:
    """`node` and all below that were defined in place."""
    yield node
    for child in node.children.values():
        if child.node.inherits_from is node:
            yield from _in_place(child.node)


def _check_can_change(node: BlockNode) -> None:
    if node.definition is None or node.driver.format_name not in _DRIVERS:
        raise GenericError(f"Node '{node.node_name}' of driver '{node.driver.format_name}' cannot be made inactive")
    node.blockers.check(BlockOp.CHANGE)
    busy = next((bitmap for bitmap in node.bitmaps if bitmap.busy), None)
    if busy is not None:
        raise GenericError(f"Bitmap '{busy.name}' of node '{node.node_name}' is in use")
