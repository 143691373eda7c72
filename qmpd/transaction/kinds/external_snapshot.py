"""What the two kinds of external snapshots share: an overlay goes on top of a disk and takes all its users along.

The overlay is in place from `prepare` on, so that later actions of the transaction see it: they can put a further
overlay on top of it, add a bitmap to it, or back it up. Until the transaction has an outcome nothing is written, for
base and overlay stand still.

When all is done the base is made read-only if nobody writes to it any more, as in QEMU: its bitmaps are stored then,
and its lock is one that lets others read. Should that fail, nothing is lost; the base just stays as it was.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING

from qmpd.block.blockers import BlockOp
from qmpd.block.overlay import Overlay
from qmpd.block.reopen import set_read_only
from qmpd.errors import GenericError
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.outcome import Fact, SnapshotTaken

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode

_log = logging.getLogger(__name__)


class ExternalSnapshot(TransactionAction):
    """Puts one overlay on one disk."""

    ungroupable = "its users may have written to the overlay by the time that a job fails"

    _base: BlockNode | None = None
    _overlay: Overlay | None = None

    @abstractmethod
    def base_node(self) -> BlockNode:
        """The disk.

        :raises GenericError: there is none of that name.
        """

    @abstractmethod
    async def overlay_node(self, base: BlockNode) -> BlockNode:
        """The overlay, made if need be.

        :raises GenericError: there is none of that name, or it cannot be made or opened.
        """

    async def prepare(self) -> None:
        """Put the overlay on the disk.

        :raises GenericError: there is no such disk or overlay, one of them is blocked, or the overlay cannot be one.
        """
        base = self.base_node()
        base.blockers.check(BlockOp.EXTERNAL_SNAPSHOT)
        if not base.read_only:
            await base.flush()
        overlay = Overlay(self.env.graph, base, await self.overlay_node(base))
        overlay.check()
        overlay.put_on()
        self._base, self._overlay = base, overlay

    def outcome(self) -> list[Fact]:
        """A snapshot."""
        if self._base is None or self._overlay is None:
            return []
        return [SnapshotTaken(self._base, overlay=self._overlay.node)]

    def abort(self) -> None:
        """Take the overlay off again."""
        if self._overlay is not None:
            self._overlay.take_off()

    def commit(self) -> None:
        """The overlay stays; the base becomes read-only as soon as can be."""
        self.env.graph.defer(self._close_base)

    async def _close_base(self) -> None:
        base, graph = self._base, self.env.graph
        if base is None or graph.nodes.get(base.node_name) is not base:
            return
        try:
            await set_read_only(graph, base, True)
        except GenericError as error:
            _log.warning("node '%s' has an overlay now, but is still writable: %s", base.node_name, error.desc)
