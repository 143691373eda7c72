"""The action `block-dirty-bitmap-remove`: a bitmap ceases to be.

It is locked by prepare and goes at commit, so until then its name is taken and nobody can use it, later
actions of the same transaction included (as in QEMU). In a group it only hides at commit: see
`bitmap_action`.

What an image stores of the bitmap goes in prepare (as in QEMU, too), since that writes to a disk and may
fail. While the image is in use that copy says of itself that it is not true, so nothing is lost with it: if
the removal is undone, the bitmap in memory is stored when the image is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.dirty_bitmap import BitmapStore, DirtyBitmap
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.outcome import BitmapEnds, Fact

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmap
    from qmpd.block.node import BlockNode


class BitmapRemove(TransactionAction):
    """Removes one bitmap; an inconsistent one, too."""

    kind = "block-dirty-bitmap-remove"

    data: BlockDirtyBitmap
    _removing: tuple[BitmapStore, DirtyBitmap] | None = None

    def nodes(self) -> list[BlockNode]:
        """The node that loses the bitmap."""
        return found_nodes(self.env.graph, self.data.node)

    async def prepare(self) -> None:
        """Make sure that it can go, and that nobody takes it up before it does.

        :raises GenericError: no such node or bitmap, or one that is busy or read-only.
        """
        node = self.env.graph.lookup(self.data.node)
        bitmap = node.bitmaps.lookup(self.data.name)
        bitmap.check(allow_inconsistent=True)
        bitmap.lock()
        self._removing = node.bitmaps, bitmap
        if bitmap.persistent:
            await node.driver.forget_bitmap(self.data.name)

    def outcome(self) -> list[Fact]:
        """A bitmap less; in a group of jobs that is not certain as yet."""
        if self._removing is None or (self.env.group is not None and self.env.group.members):
            return []
        return [BitmapEnds(self._removing[1])]

    def commit(self) -> None:
        """It goes; in a group it hides and records on, until further notice."""
        assert self._removing is not None
        store, bitmap = self._removing
        if self.env.group is None:
            bitmap.unlock()
            self._discard(store, bitmap)
            return
        bitmap.hide()
        self.env.group.on_settled(self._settle)

    def abort(self) -> None:
        """It stays."""
        if self._removing is not None:
            self._removing[1].unlock()

    def _settle(self, succeeded: bool) -> None:
        assert self._removing is not None
        store, bitmap = self._removing
        bitmap.unlock()
        if succeeded:
            self._discard(store, bitmap)
        else:
            bitmap.unhide()

    def _discard(self, store: BitmapStore, bitmap: DirtyBitmap) -> None:
        store.discard(bitmap)
        if self.env.graph.bitmap_keeper is not None:
            self.env.graph.bitmap_keeper.discard(bitmap)
