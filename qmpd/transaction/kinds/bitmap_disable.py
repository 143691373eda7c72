"""The action `block-dirty-bitmap-disable`: a bitmap records no more writes.

How it is taken back: see `bitmap_action`.
"""

from __future__ import annotations

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.transaction.kinds.bitmap_action import BitmapSwitch


class BitmapDisable(BitmapSwitch):
    """Disables one bitmap, whatever it was."""

    kind = "block-dirty-bitmap-disable"

    def switch(self, bitmap: DirtyBitmap) -> None:
        """Disable it."""
        bitmap.disable()
