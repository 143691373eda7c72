"""The action `block-dirty-bitmap-add`: a new bitmap on a node.

Leans on the node's `BitmapStore`. In a group that fails the bitmap is taken away again, see `bitmap_action`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.block.bitmap_keeper import secure
from qmpd.block.dirty_bitmap import BitmapStore, DirtyBitmap, check_granularity, default_granularity
from qmpd.errors import GenericError
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.outcome import BitmapBegins, Demand, Fact

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmapAdd
    from qmpd.block.node import BlockNode


class BitmapAdd(TransactionAction):
    """Adds one bitmap, with nothing dirty in it."""

    kind = "block-dirty-bitmap-add"

    data: BlockDirtyBitmapAdd
    _added: tuple[BitmapStore, DirtyBitmap] | None = None

    def nodes(self) -> list[BlockNode]:
        """The node that gets the bitmap."""
        return found_nodes(self.env.graph, self.data.node)

    async def anticipate(self) -> None:
        """Most of what is in memory only reaches the image."""
        for node in self.nodes():
            with suppress(OSError):
                await secure(node, persistent=bool(self.data.persistent))

    async def prepare(self) -> None:
        """Add it.

        :raises GenericError: no such node, a bad or taken name, a bad granularity, or a node that cannot
            store what is to be persistent.
        """
        node = self.env.graph.lookup(self.data.node)
        node.bitmaps.check_name(self.data.name)
        bitmap = await self._make(node)
        bitmap.on_trial = self.env.group is not None
        node.bitmaps.add(bitmap)
        self._added = node.bitmaps, bitmap
        await secure(node, persistent=bitmap.persistent)

    def commit(self) -> None:
        """It stays; in a group, until further notice."""
        if self.env.group is not None and self._added is not None:
            self._added[1].lock()
            self.env.group.on_settled(self._settle)

    def abort(self) -> None:
        """Take it away."""
        if self._added is not None:
            self._take_away()

    def outcome(self) -> list[Fact]:
        """A bitmap with nothing dirty in it."""
        return [BitmapBegins(self._added[1])] if self._added is not None else []

    def demand(self) -> Demand:
        """One bitmap."""
        return Demand(bitmaps=1)

    def _take_away(self) -> None:
        assert self._added is not None
        store, bitmap = self._added
        store.discard(bitmap)
        if self.env.graph.bitmap_keeper is not None:
            self.env.graph.bitmap_keeper.discard(bitmap)

    async def _make(self, node: BlockNode) -> DirtyBitmap:
        data = self.data
        granularity = data.granularity
        if granularity is None:
            granularity = default_granularity(node.driver.cluster_size)
        check_granularity(granularity)
        if data.persistent:
            node.driver.check_can_store_bitmap(data.name, node.length, granularity)
            keeper = self.env.graph.bitmap_keeper
            if keeper is not None:
                return await keeper.make(node, data.name, granularity, disabled=bool(data.disabled))
        try:
            return DirtyBitmap(
                data.name,
                node.length,
                granularity,
                persistent=bool(data.persistent),
                disabled=bool(data.disabled),
            )
        except MemoryError as error:
            raise GenericError(f"There is no memory for bitmap '{data.name}', free some first") from error

    def _settle(self, succeeded: bool) -> None:
        assert self._added is not None
        self._added[1].unlock()
        self._added[1].on_trial = False
        if not succeeded:
            self._take_away()
