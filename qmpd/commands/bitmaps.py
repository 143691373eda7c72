"""The commands on dirty bitmaps.

Each but the checksum is a transaction of one action, so that what a bitmap may undergo stands in one place:
the action kinds. Must never change a bitmap itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import BlockDirtyBitmap, BlockDirtyBitmapAdd, BlockDirtyBitmapMerge
    from qmpd.block.graph import BlockGraph
    from qmpd.transaction.engine import TransactionEngine


class BitmapCommands:
    """block-dirty-bitmap-add, -remove, -clear, -enable, -disable, -merge, x-debug-block-dirty-bitmap-sha256."""

    def __init__(self, graph: BlockGraph, engine: TransactionEngine) -> None:
        self._graph = graph
        self._engine = engine

    @command("block-dirty-bitmap-add")
    async def add(self, ctx: RequestContext, args: BlockDirtyBitmapAdd) -> None:
        """Make a bitmap."""
        await self._engine.run_single("block-dirty-bitmap-add", args, ctx)

    @command("block-dirty-bitmap-remove")
    async def remove(self, ctx: RequestContext, args: BlockDirtyBitmap) -> None:
        """Remove a bitmap."""
        await self._engine.run_single("block-dirty-bitmap-remove", args, ctx)

    @command("block-dirty-bitmap-clear")
    async def clear(self, ctx: RequestContext, args: BlockDirtyBitmap) -> None:
        """Clear a bitmap."""
        await self._engine.run_single("block-dirty-bitmap-clear", args, ctx)

    @command("block-dirty-bitmap-enable")
    async def enable(self, ctx: RequestContext, args: BlockDirtyBitmap) -> None:
        """Let a bitmap record."""
        await self._engine.run_single("block-dirty-bitmap-enable", args, ctx)

    @command("block-dirty-bitmap-disable")
    async def disable(self, ctx: RequestContext, args: BlockDirtyBitmap) -> None:
        """Let a bitmap record no more."""
        await self._engine.run_single("block-dirty-bitmap-disable", args, ctx)

    @command("block-dirty-bitmap-merge")
    async def merge(self, ctx: RequestContext, args: BlockDirtyBitmapMerge) -> None:
        """Merge bitmaps into one."""
        await self._engine.run_single("block-dirty-bitmap-merge", args, ctx)

    @command("x-debug-block-dirty-bitmap-sha256")
    def sha256(self, ctx: RequestContext, args: BlockDirtyBitmap) -> dict[str, str]:
        """The checksum of a bitmap's bits, whatever state it is in.

        :raises GenericError: no such node or bitmap.
        """
        return {"sha256": self._graph.lookup(args.node).bitmaps.lookup(args.name).sha256()}
