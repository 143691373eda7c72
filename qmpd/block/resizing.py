"""Changing the length of a disk, with all that has to be asked before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.backend import BlockBackend
from qmpd.block.blockers import BlockOp
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph


async def resize(graph: BlockGraph, node: BlockNode, size: int, perm: Perm) -> None:
    """Give a disk another length. Call within `graph.exclusive()`.

    :param size: bytes.
    :param perm: what that takes of the node.
    :raises GenericError: a negative size, users that do not share what it takes, or a driver that cannot.
    """
    if size < 0:
        raise GenericError(f"'size' is {size}; it must not be negative")
    node.blockers.check(BlockOp.RESIZE)
    for follower in _and_all_above(node):
        follower.bitmaps.check_resize(size)
    backend = BlockBackend(graph, "", perm, Perm.ALL)
    backend.attach(node)
    try:
        async with graph.drained([node]):
            await _truncate(node, size)
    finally:
        backend.detach()


def _and_all_above(node: BlockNode) -> list[BlockNode]:
    """`node` and those on top of it, which may follow when its length changes."""
    found = [node]
    for below in found:
        owners = (child.owner for child in below.parents)
        found += [owner for owner in owners if isinstance(owner, BlockNode) and owner not in found]
    return found


async def _truncate(node: BlockNode, size: int) -> None:
    try:
        await node.truncate(size)
    except OSError as error:
        raise GenericError(
            f"Node '{node.node_name}' cannot be made {size} bytes long: {os_error_text(error)}"
        ) from error
