"""Extents: how a range of a node is stored.

`BlockDriver.map` answers in extents. Block copy, NBD block status and exports build on them: a hole is never read,
and an extent that is plain bytes of a host file can be copied by the kernel.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol


class ExtentKind(StrEnum):
    """What reading an extent gives, and whether this layer stores it."""

    DATA = "data"
    ZERO = "zero"  # reads as zeroes; this layer says so
    UNALLOCATED = "unallocated"  # this layer says nothing: the backing file shows through, else zeroes


class HostFile(Protocol):
    """An open file of the host that holds plain image bytes."""

    def fileno(self) -> int:
        """The descriptor, valid as long as the node is open."""


class Extent(NamedTuple):
    """One run of bytes of the same kind. A tuple, since a fragmented disk has very many of them.

    :ivar offset: bytes from the start of the node that was asked.
    :ivar length: bytes, never 0.
    :ivar host: the host file where the bytes lie as they are, if they do.
    :ivar host_offset: where in `host` the extent begins.
    :ivar allocated: space is taken for it on the host.
    """

    offset: int
    length: int
    kind: ExtentKind
    host: HostFile | None = None
    host_offset: int = 0
    allocated: bool = True
    depth: int = 0

    @property
    def end(self) -> int:
        """The first byte after the extent."""
        return self.offset + self.length

    @property
    def reads_zero(self) -> bool:
        """Reading gives zeroes (for an unallocated extent: when nothing backs it)."""
        return self.kind is not ExtentKind.DATA

    def part(self, start: int, end: int) -> Extent:
        """The bytes of the extent from `start` to `end`, which lie within it (or before `start`: nothing is left)."""
        if start == self.offset and end == self.end:
            return self
        delta = start - self.offset
        return self._replace(offset=start, length=end - start, host_offset=self.host_offset + delta)

    def shifted(self, delta: int) -> Extent:
        """The same extent seen `delta` bytes further on."""
        return Extent(
            self.offset + delta, self.length, self.kind, self.host, self.host_offset, self.allocated, self.depth
        )
