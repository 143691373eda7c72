"""Which parts of a disk the images of a chain store above a certain one of them."""

from __future__ import annotations

from collections.abc import Sequence

from qmpd.block import chain
from qmpd.block.driver import Range
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.node import BlockNode


def stored_above(top: BlockNode, base: BlockNode | None, extents: Sequence[Extent]) -> list[Range]:
    """The ranges in which what `top` shows comes from images above `base`, of those that `top.map` has told.

    An image that is shorter than the one on top of it says "zero" about all that it does not have: its backing file
    does not show there. Where `base` is long enough to do so once the images between are gone, such a range counts.

    :param base: None for the whole chain.
    """
    depth = _depth(top, base)
    ranges: list[Range] = []
    for extent in extents:
        length = extent.length
        if extent.depth >= depth:
            continue
        if extent.kind is ExtentKind.UNALLOCATED:
            if base is None or base.length <= extent.offset:
                continue
            length = min(length, base.length - extent.offset)
        if ranges and sum(ranges[-1]) == extent.offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
        else:
            ranges.append((extent.offset, length))
    return ranges


def _depth(top: BlockNode, base: BlockNode | None) -> int:
    """How many images there are from `top` down to `base`, without it."""
    depth = 0
    image: BlockNode | None = chain.skip_filters(top)
    end = None if base is None else chain.skip_filters(base)
    while image is not None and image is not end:
        depth += 1
        image = chain.backing_node(image)
    return depth
