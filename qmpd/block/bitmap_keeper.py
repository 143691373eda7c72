"""Who keeps persistent bitmaps of images that cannot store them themselves.

The block layer only asks: a daemon with a state directory answers (`qmpd.state.bitmap_files`), any other has nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.block.dirty_bitmap import DirtyBitmap
    from qmpd.block.node import BlockNode


class BitmapKeeper(Protocol):
    """Keeps bits where they outlive the process."""

    def check(self, node: BlockNode) -> None:
        """Pass if bitmaps of `node` can be kept.

        :raises GenericError: they cannot.
        """

    def admit(self, node: BlockNode) -> None:
        """Pass if `node`, which is being opened or reopened, keeps no bitmap from being true.

        :raises GenericError: it would.
        """

    async def make(self, node: BlockNode, name: str, granularity: int, *, disabled: bool) -> DirtyBitmap:
        """A new persistent bitmap for `node`, not yet added to it.

        :raises GenericError: there is no room for it.
        """

    def discard(self, bitmap: DirtyBitmap) -> None:
        """The bitmap is not to be kept after all, or no longer. Harmless for one that is not kept."""

    async def opened(self, node: BlockNode) -> None:
        """`node` has been opened: add the bitmaps that are kept for its image."""

    async def closing(self, node: BlockNode) -> None:
        """`node` has written everything and is about to be closed. Does not fail."""
