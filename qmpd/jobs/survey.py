"""Finding out, window by window, which clusters of a disk the images above a base store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitarray import bitarray
from bitarray.util import zeros

from qmpd.block.block_copy import CopyError
from qmpd.block.dirty_bitmap import MAX_BITS
from qmpd.block.layers import stored_above
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode

_WINDOW = 256 << 20
MIN_CLUSTER = 65536


class Survey:
    """The clusters of `top` that images above a base store, as far as they are known.

    :param cluster_size: a power of two up to the window's size, in bytes.
    :ivar todo: a bit for each cluster; set here, and cleared by whoever has done something about a cluster.
    """

    def __init__(self, top: BlockNode, cluster_size: int) -> None:
        size = -(-top.length // cluster_size)
        if size > MAX_BITS:
            raise GenericError(f"Node '{top.node_name}' has more than {MAX_BITS} clusters of {cluster_size} bytes")
        self._top = top
        self.cluster_size = cluster_size
        self.length = top.length
        self.todo: bitarray = zeros(size, endian="little")
        self._position = 0

    @property
    def complete(self) -> bool:
        """The whole disk is known."""
        return self._position >= self.length

    async def look_on(self, base: BlockNode | None) -> int:
        """Look at the next window; gives how many of its bytes nothing has to be done about.

        :raises CopyError: it cannot be told.
        """
        position = self._position
        end = min(position + _WINDOW, self.length)
        try:
            extents = await self._top.map_ranges([(position, end - position)])
        except OSError as error:
            raise CopyError(True, error) from error
        size = self.cluster_size
        first, last = position // size, -(-end // size)
        for offset, length in stored_above(self._top, base, extents):
            self.todo[offset // size : -(-(offset + length) // size)] = 1
        self._position = end
        return self.bytes_between(first, last) - self.bytes_marked(first, last)

    def skip_window(self) -> int:
        """Leave out the next window; gives how many bytes that are."""
        position, self._position = self._position, min(self._position + _WINDOW, self.length)
        return self._position - position

    def bytes_between(self, first: int, end: int) -> int:
        """Bytes of the disk from one cluster to another."""
        return min(end * self.cluster_size, self.length) - first * self.cluster_size

    def bytes_marked(self, first: int, end: int) -> int:
        """Bytes of the disk in marked clusters of a range."""
        marked = self.todo.count(1, first, end) * self.cluster_size
        if end * self.cluster_size > self.length and marked and self.todo[end - 1]:
            marked -= end * self.cluster_size - self.length
        return marked
