"""Driver `copy-on-read`: what is read from a backing file is stored in the image on top of it.

A filter. It asks the filtered image to store what shows through it (`populate`), which that does in one step that no
write to the same clusters can come between. With `bottom` only what images down to that one store is copied.

A stream job puts one on top of its image; as a node of its own (blockdev-add) it fills an image as its guest reads.
"""

from __future__ import annotations

from typing import Any, Protocol

from qmpd.block import chain
from qmpd.block.child import Child
from qmpd.block.driver import FilterDriver, OpenContext
from qmpd.block.extents import ExtentKind
from qmpd.block.layers import stored_above
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

_PASSED_ON = Perm.CONSISTENT_READ | Perm.WRITE | Perm.RESIZE


class CopyOnReadOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    bottom: str | None


class CopyOnReadDriver(FilterDriver):
    """The filter.

    :ivar bottom: the lowest image whose contents are copied; None for all there are.
    """

    named_by_itself = True

    def __init__(self, format_name: str = "copy-on-read") -> None:
        super().__init__(format_name)
        self.bottom: BlockNode | None = None
        self._frozen: list[Child] = []

    @classmethod
    def for_job(cls, bottom: BlockNode) -> CopyOnReadDriver:
        """A filter for a stream job, which freezes the chain itself; to be put in with `BlockGraph.insert_filter`."""
        driver = cls()
        driver.named_by_itself = False
        driver.bottom = bottom
        return driver

    async def open(self, options: CopyOnReadOptions, context: OpenContext) -> None:
        await context.open_child("file", options.file, protocol=False)
        if options.bottom is not None:
            self._find_bottom(options.bottom)
        self.adopt_geometry()

    def _find_bottom(self, name: str) -> None:
        bottom = self.node.graph.lookup_node(name)
        if bottom.driver.is_filter:
            raise GenericError(f"'bottom' is the filter '{name}'; it has to be an image")
        if bottom not in chain.chain(self.below):
            raise GenericError(f"'bottom' is '{name}', which is not in the chain of '{self.below.node_name}'")
        self._frozen = chain.freeze(self.below, bottom)
        self.bottom = bottom

    async def close(self) -> None:
        chain.unfreeze(self._frozen)

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        return perm & _PASSED_ON | Perm.WRITE_UNCHANGED, shared | ~_PASSED_ON & Perm.ALL

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        below = self.below
        position, end = offset, offset + len(buffer)
        while position < end:
            position = await self._fill(below, position, end - position)
        await below.preadv(offset, buffer)

    async def _fill(self, below: BlockNode, offset: int, length: int) -> int:
        """Copy what is missing at the beginning of a range; gives the end of what was looked at."""
        extents = await below.map(offset, length)
        end = extents[-1].end
        if all(extent.depth == 0 and extent.kind is not ExtentKind.UNALLOCATED for extent in extents):
            return end
        if below.driver.debug is not None:
            await below.driver.debug.event("cor_write")
        if self.bottom is None:
            await below.populate(offset, end - offset)
            return end
        for start, size in stored_above(below, chain.backing_node(self.bottom), extents):
            await below.populate(start, size)
        return end
