"""The action `block-dirty-bitmap-enable`: a bitmap records writes from now on.

How it is taken back: see `bitmap_action`.
"""

from __future__ import annotations

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.kinds.bitmap_action import BitmapSwitch


class BitmapEnable(BitmapSwitch):
    """Enables one bitmap, whatever it was."""

    kind = "block-dirty-bitmap-enable"

    def switch(self, bitmap: DirtyBitmap) -> None:
        """Enable it."""
        bitmap.enable()
