"""Committing a disk into its backing image while the disk stands still.

What the image stores goes into the image below it, and the image is empty afterwards, but stays in place: guests go on
writing to it. (A commit job lets guests write meanwhile, and takes the image out.) The base is on stable storage before
the image gives anything up, so that a crash in between leaves a disk that reads the same.

As in a commit job, a `commit_top` filter stands between the two, which needs nothing of the base.
"""

from __future__ import annotations

import asyncio

from qmpd.block.backend import BlockBackend
from qmpd.block.blockers import BlockOp
from qmpd.block.chain import backing_node, skip_filters
from qmpd.block.drivers.commit_top import CommitTopDriver
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.block.reopen import read_only_afterwards, set_read_only
from qmpd.errors import GenericError, os_error_text

_STEP = 1 << 22
"""Bytes that are copied at once."""


async def commit_at_once(graph: BlockGraph, disk: BlockNode) -> None:
    """Commit the image at the top of a disk. Call within `graph.exclusive()`.

    :raises GenericError: there is no backing image, somebody else needs it or works on it, or copying has failed; the
        disk reads as before then.
    """
    image = skip_filters(disk)
    base = backing_node(image)
    if base is None:
        raise GenericError(f"Node '{image.node_name}' has no backing image that it could be committed into")
    image.blockers.check(BlockOp.COMMIT_SOURCE)
    base.blockers.check(BlockOp.COMMIT_TARGET)
    _check_unshared(image, base)
    was_read_only = base.read_only
    await set_read_only(graph, base, read_only=False)
    try:
        async with graph.drained([disk, base]):
            await _commit(graph, image, base)
    except OSError as error:
        raise GenericError(
            f"Node '{image.node_name}' cannot be committed into '{base.node_name}': {os_error_text(error)}"
        ) from error
    finally:
        if was_read_only:
            read_only_afterwards(graph, base)


def _check_unshared(image: BlockNode, base: BlockNode) -> None:
    """Pass unless somebody besides the image relies on what is in the base."""
    for child in base.parents:
        if child.owner is not image and not child.shared & Perm.WRITE:
            raise GenericError(
                f"Node '{base.node_name}' is in use by {child.owner.describe()}, which relies on what is in it"
            )


async def _commit(graph: BlockGraph, image: BlockNode, base: BlockNode) -> None:
    top = graph.insert_filter(CommitTopDriver(), base, None, {})
    writer = BlockBackend(graph, "", Perm.WRITE | Perm.RESIZE, Perm.ALL)
    try:
        writer.attach(base)
        if image.length > base.length:
            await base.truncate(image.length)
        await _copy(image, base)
        await base.flush()
        if not image.read_only:
            await image.driver.empty()
            await image.flush()
    finally:
        writer.detach()
        graph.remove_filter(top)


async def _copy(image: BlockNode, base: BlockNode) -> None:
    position = 0
    while position < image.length:
        for extent in await image.map(position, image.length - position):
            if extent.depth == 0 and extent.kind is not ExtentKind.UNALLOCATED:
                await _copy_extent(image, base, extent)
            position = extent.end


async def _copy_extent(image: BlockNode, base: BlockNode, extent: Extent) -> None:
    if extent.kind is ExtentKind.ZERO:
        await base.pwrite_zeroes(extent.offset, extent.length, may_unmap=True)
        return
    for offset in range(extent.offset, extent.end, _STEP):
        await asyncio.sleep(0)  # what is in memory is copied without suspending
        data = bytearray(min(_STEP, extent.end - offset))
        await image.preadv(offset, memoryview(data))
        await base.pwritev(offset, data)
