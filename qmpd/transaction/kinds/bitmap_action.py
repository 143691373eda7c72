"""What the bitmap actions share: above all, taking an action back.

Leans on `qmpd.block.dirty_bitmap` and on the engine's promise that all nodes of a transaction are drained
from the first prepare to the last commit. Must never await and never touch a bitmap that is busy.

Taking back comes in two forms.

*Before the transaction is committed* nothing was written since prepare, so each action remembers what it
replaced (the old bits, the old state) and `abort` puts it back; actions abort in reverse, so it ends where
it began.

*After it, in a grouped transaction*, the action stands on trial until the group's last job has ended,
perhaps hours later and with writes all the while. To be put back is then: as it was, plus what was written
since. The action keeps no log for that. It leaves the bitmap's *twin* beside it, with the bits and the
recording state from before the first action of this transaction on that bitmap. The twin is marked by
writes like any bitmap, so at any time it is precisely what the bitmap would be had the transaction never
been: a cleared bitmap has its old bits and the new ones, a disabled one did not miss a write, and one that
was enabled is disabled again, with its old bits only, since it would not have recorded. When the group
fails the bitmap becomes its twin, when it succeeds the twin goes. Rejected: one undo record per action, for
these would have to be merged in the right order with what was written between any two of them; one twin per
bitmap does not care how many actions there were.

The two actions at the ends of a bitmap's life need no twin. An added bitmap is taken away when the group
fails. A removed one only hides: it keeps recording and its name stays taken, until it goes for good or is
simply seen again.

From commit to the end of the group such a bitmap is locked, hence busy to everybody: a change made
meanwhile would be lost or would make the past unrecoverable. It is locked at commit and not at prepare, so
that later actions of the same transaction, a backup above all, can use it. A backup holds it frozen as
well; its hooks have ended that by the time the group is settled.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.block.bitmap_keeper import secure
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.action import TransactionAction

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmap
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode


def found_nodes(graph: BlockGraph, *names: str) -> list[BlockNode]:
    """Those nodes among `names` that exist; prepare complains of the others."""
    return [node for node in map(graph.find, names) if node is not None]


class BitmapChange(TransactionAction):
    """An action that changes the contents or the recording state of one bitmap that stays.

    A subclass's `prepare` makes sure that the action is allowed, calls `keep` and only then changes the
    bitmap; its `undo` puts back what it changed.
    """

    _bitmap: DirtyBitmap | None = None
    _made_twin = False

    def keep(self, bitmap: DirtyBitmap) -> None:
        """Remember that `bitmap` is about to be changed, for `abort` and for the group's failure."""
        if self.env.group is not None and not bitmap.has_twin:
            bitmap.make_twin()
            self._made_twin = True
        self._bitmap = bitmap

    async def anticipate(self) -> None:
        """Most of what is in memory only reaches the images, in case that a bitmap gives up what it knows."""
        for node in self.nodes():
            with suppress(OSError):
                await secure(node, persistent=any(bitmap.persistent for bitmap in node.bitmaps))

    @abstractmethod
    def undo(self, bitmap: DirtyBitmap) -> None:
        """Put `bitmap` back as it was before `prepare`; nothing was written since."""

    def commit(self) -> None:
        """The change stands; in a group, until further notice."""
        if self._made_twin and self.env.group is not None and self._bitmap is not None:
            self._bitmap.lock()
            self.env.group.on_settled(self._settle)

    def abort(self) -> None:
        """Undo what prepare got to."""
        if self._bitmap is None:
            return
        self.undo(self._bitmap)
        if self._made_twin:
            self._bitmap.drop_twin()

    def _settle(self, succeeded: bool) -> None:
        bitmap = self._bitmap
        assert bitmap is not None
        bitmap.unlock()
        if succeeded:
            bitmap.drop_twin()
        else:
            bitmap.adopt_twin()


class BitmapSwitch(BitmapChange):
    """An action that switches recording on or off."""

    data: BlockDirtyBitmap
    _was_enabled = False

    def nodes(self) -> list[BlockNode]:
        """The node that has the bitmap."""
        return found_nodes(self.env.graph, self.data.node)

    async def prepare(self) -> None:
        """Switch it.

        :raises GenericError: no such node or bitmap, or one that is busy or inconsistent.
        """
        node = self.env.graph.lookup(self.data.node)
        bitmap = node.bitmaps.lookup(self.data.name)
        bitmap.check(allow_ro=True)
        await secure(node, persistent=bitmap.persistent)
        self.keep(bitmap)
        self._was_enabled = bitmap.enabled
        self.switch(bitmap)

    @abstractmethod
    def switch(self, bitmap: DirtyBitmap) -> None:
        """Do it."""

    def undo(self, bitmap: DirtyBitmap) -> None:
        """Switch back to what it was."""
        if self._was_enabled:
            bitmap.enable()
        else:
            bitmap.disable()
