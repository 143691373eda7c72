"""The action `block-dirty-bitmap-enable`: a bitmap records writes from now on.

How it is taken back: see `bitmap_action`.
"""

from __future__ import annotations

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.kinds.bitmap_action import BitmapSwitch
from qmpd.transaction.outcome import BitmapResumes, Fact


class BitmapEnable(BitmapSwitch):
    """Enables one bitmap, whatever it was."""

    kind = "block-dirty-bitmap-enable"

    def switch(self, bitmap: DirtyBitmap) -> None:
        """Enable it."""
        bitmap.enable()

    def outcome(self) -> list[Fact]:
        """A bitmap that has missed something, unless it was enabled before."""
        return [BitmapResumes(self._bitmap)] if self._bitmap is not None and not self._was_enabled else []
