"""The action `block-dirty-bitmap-clear`: nothing is dirty any more.

How it is taken back: see `bitmap_action`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitarray import bitarray

from qmpd.block.bitmap_keeper import secure
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.kinds.bitmap_action import BitmapChange, found_nodes
from qmpd.transaction.outcome import BitmapBegins, Fact

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmap
    from qmpd.block.node import BlockNode


class BitmapClear(BitmapChange):
    """Clears one bitmap."""

    kind = "block-dirty-bitmap-clear"

    data: BlockDirtyBitmap
    _bits: bitarray | None = None

    def nodes(self) -> list[BlockNode]:
        """The node that has the bitmap."""
        return found_nodes(self.env.graph, self.data.node)

    async def prepare(self) -> None:
        """Clear it.

        :raises GenericError: no such node or bitmap, or one that is busy, read-only or inconsistent.
        """
        node = self.env.graph.lookup(self.data.node)
        bitmap = node.bitmaps.lookup(self.data.name)
        bitmap.check()
        await secure(node, persistent=bitmap.persistent)
        self.keep(bitmap)
        self._bits = bitmap.take()

    def outcome(self) -> list[Fact]:
        """A bitmap with nothing dirty in it."""
        return [BitmapBegins(self._bitmap)] if self._bitmap is not None else []

    def undo(self, bitmap: DirtyBitmap) -> None:
        """Put the bits back."""
        if self._bits is not None:
            bitmap.restore(self._bits)

    def clean(self) -> None:
        """Let go of the old bits."""
        self._bits = None
