"""Who keeps the bits of persistent bitmaps where they outlive the process.

An image that cannot store bitmaps needs that at all times (`check`, `opened`, `closing`), one that can (qcow2) while it
is open for writing: what it stores is not true then (`recover`, `take_up`, `put_down`).

The block layer only asks: a daemon with a state directory answers (`qmpd.state.bitmap_files`), any other has nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.block.dirty_bitmap import DirtyBitmap
    from qmpd.block.node import BlockNode


class BitmapKeeper(Protocol):
    """Keeps bits where they outlive the process."""

    def check(self, node: BlockNode) -> None:
        """Pass if bitmaps of `node`, which cannot store them, can be kept.

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

    async def secure(self, node: BlockNode) -> None:
        """Before a persistent bitmap of `node` begins, or gives up what it knows: let nothing that was written be lost
        with the process, for then the bitmap would not know of it. Waits for no request, so the node may be drained.

        :raises OSError: that cannot be.
        """

    async def opened(self, node: BlockNode) -> None:
        """`node` has been opened: add the bitmaps that are kept for its image."""

    async def closing(self, node: BlockNode) -> None:
        """`node` has written everything and is about to be closed. Does not fail."""

    # For nodes that store bitmaps themselves.

    async def recover(self, node: BlockNode, in_use: Collection[str]) -> None:
        """`node` has loaded its bitmaps: bring back what a crash has left untrue there, or not stored. Does not fail.

        :param in_use: the bitmaps that are inconsistent because the image was in use.
        """

    async def take_up(self, node: BlockNode) -> None:
        """What `node` stores is about to be untrue. Does not fail."""

    async def put_down(self, node: BlockNode, *, stored: bool) -> None:
        """`node` has stored its bitmaps (or has failed to) and is not open for writing any more. Does not fail."""


async def secure(node: BlockNode, *, persistent: bool) -> None:
    """As `BitmapKeeper.secure`, if the bitmap is persistent and there is a keeper."""
    if persistent and node.graph.bitmap_keeper is not None:
        await node.graph.bitmap_keeper.secure(node)
