"""The action `block-dirty-bitmap-merge`: what is dirty in some bitmaps becomes dirty in another.

The sources may have another granularity than the target and may be on other nodes of the same size.
Everything is checked before the target is touched. How it is taken back: see `bitmap_action`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitarray import bitarray

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.kinds.bitmap_action import BitmapChange, found_nodes

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmap, BlockDirtyBitmapMerge
    from qmpd.block.node import BlockNode


class BitmapMerge(BitmapChange):
    """Merges any number of bitmaps into one. With none to merge, nothing happens."""

    kind = "block-dirty-bitmap-merge"

    data: BlockDirtyBitmapMerge
    _bits: bitarray | None = None

    def nodes(self) -> list[BlockNode]:
        """The nodes of the target and of every source."""
        others = [source.node for source in self.data.bitmaps if not isinstance(source, str)]
        return found_nodes(self.env.graph, *dict.fromkeys([self.data.node, *others]))

    async def prepare(self) -> None:
        """Merge.

        :raises GenericError: no such node or bitmap, a bitmap that is busy or inconsistent, a target that is
            read-only, or a source of another size.
        """
        target = self.env.graph.lookup(self.data.node).bitmaps.lookup(self.data.target)
        target.check()
        sources = [self._lookup(source) for source in self.data.bitmaps]
        for source in sources:
            source.check(allow_ro=True)
            target.check_mergeable(source)
        self.keep(target)
        self._bits = target.snapshot()
        for source in sources:
            target.merge_from(source)

    def undo(self, bitmap: DirtyBitmap) -> None:
        """Put the bits back."""
        if self._bits is not None:
            bitmap.restore(self._bits)

    def clean(self) -> None:
        """Let go of the old bits."""
        self._bits = None

    def _lookup(self, source: str | BlockDirtyBitmap) -> DirtyBitmap:
        if isinstance(source, str):
            return self.env.graph.lookup(self.data.node).bitmaps.lookup(source)
        return self.env.graph.lookup(source.node).bitmaps.lookup(source.name)
