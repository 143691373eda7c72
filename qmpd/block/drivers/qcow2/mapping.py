"""From L2 entries to runs: what a stretch of guest addresses is, and where its bytes lie.

Plain code over tables that are in memory. Both forms of entries are read here and nowhere else: the plain one of 64
bits, and the extended one whose second word tells the state of 32 subclusters (bits 0-31: allocated, bits 32-63:
reads as zeroes).
"""

from __future__ import annotations

from array import array
from enum import IntEnum
from typing import NamedTuple, cast

from qmpd.block.drivers.qcow2.header import Header
from qmpd.block.drivers.qcow2.metadata import COMPRESSED, COPIED, OFFSET_MASK, ZERO, L2Table
from qmpd.block.drivers.qcow2.refcounts import Corruption

SUBCLUSTERS = 32
ALL_ALLOCATED = 0xFFFF_FFFF
ALL_ZERO = 0xFFFF_FFFF << 32
_ZERO_STEP = 512


class Kind(IntEnum):
    """What reading a run gives."""

    UNALLOCATED = 0
    ZERO = 1
    NORMAL = 2
    COMPRESSED = 3


class Run(NamedTuple):
    """Guest bytes of one kind. `host` is where they begin in the data file (normal), or the entry (compressed)."""

    kind: Kind
    host: int
    length: int


class Compressed(NamedTuple):
    """Where a compressed cluster lies: bytes of the image file."""

    offset: int
    length: int


def bit_run(bits: int, start: int) -> int:
    """How many bits of `bits` in a row, from `start` upwards, are like the one at `start` (of 32)."""
    rest = bits >> start
    if not rest & 1:
        return min(((rest & -rest).bit_length() - 1) if rest else SUBCLUSTERS, SUBCLUSTERS - start)
    flipped = ~rest
    return min((flipped & -flipped).bit_length() - 1, SUBCLUSTERS - start)


def zero_run(entries: array[int], start: int, limit: int) -> int:
    """How many words from `start` and before `limit` are zero, without a look at each: such stretches are long."""
    raw = memoryview(cast("memoryview", entries)).cast("B")
    at = start
    while at < limit:
        stop = min(at + _ZERO_STEP, limit)
        chunk = bytes(raw[at * 8 : stop * 8])
        rest = len(chunk.lstrip(b"\0"))
        if rest:
            return at - start + (len(chunk) - rest) // 8
        at = stop
    return limit - start


class Mapping:
    """How to read the L2 entries of one image.

    L2 tables are kept and looked up in parts (`Metadata`), so indexes count within a part.

    :param part_bits: the binary logarithm of the number of parts of a table.
    :ivar part_shift: how far to shift a guest address to have the number of the part that tells of it.
    """

    def __init__(self, header: Header, part_bits: int = 0) -> None:
        self.extended = header.extended_l2
        self.cluster_bits = header.cluster_bits
        self.cluster_size = header.cluster_size
        self.cluster_mask = header.cluster_size - 1
        self.part_bits = part_bits
        self.part_mask = (1 << (header.l2_bits - part_bits)) - 1
        self.part_shift = header.cluster_bits + header.l2_bits - part_bits
        self.zero_flag = 0 if self.extended else ZERO
        self._zeroes = header.version >= 3
        self.data_file = header.has_data_file
        self.subcluster_size = header.cluster_size // SUBCLUSTERS if self.extended else header.cluster_size
        self._size_shift = 62 - (header.cluster_bits - 8)
        self._size_mask = (1 << (header.cluster_bits - 8)) - 1

    def compressed(self, entry: int) -> Compressed:
        """Where the bytes of a compressed entry lie."""
        offset = entry & ((1 << self._size_shift) - 1)
        sectors = ((entry >> self._size_shift) & self._size_mask) + 1
        return Compressed(offset, sectors * 512 - (offset & 511))

    def compressed_entry(self, offset: int, length: int) -> int:
        """The entry for `length` compressed bytes at `offset`."""
        sectors = (offset + length - 1) // 512 - offset // 512
        return COMPRESSED | offset | sectors << self._size_shift

    def host_clusters(self, entry: int) -> tuple[int, int]:
        """The host clusters (first, count) that an entry refers to; (0, 0) for none."""
        if entry & COMPRESSED:
            place = self.compressed(entry)
            first = place.offset >> self.cluster_bits
            return first, ((place.offset + place.length - 1) >> self.cluster_bits) - first + 1
        offset = entry & OFFSET_MASK
        return (offset >> self.cluster_bits, 1) if offset and not self.data_file else (0, 0)

    def index(self, position: int) -> int:
        """Which entry of its part the guest address `position` has."""
        return (position >> self.cluster_bits) & self.part_mask

    def kind_of(self, entry: int) -> Kind:
        """What a whole cluster with this (not extended) entry is."""
        if entry & COMPRESSED:
            return Kind.COMPRESSED
        if entry & self.zero_flag:
            return Kind.ZERO
        if entry & OFFSET_MASK or (self.data_file and entry & COPIED):
            return Kind.NORMAL
        return Kind.UNALLOCATED

    def run(self, table: L2Table, position: int, end: int) -> Run:
        """The run that begins at the guest address `position` and ends at or before `end`, within this table.

        :raises Corruption: an entry cannot be.
        """
        if self.extended:
            return self._extended_run(table, position, end)
        entries, index, size = table.entries, self.index(position), self.cluster_size
        entry = entries[index]
        kind = self.kind_of(entry)
        if kind is Kind.ZERO and not self._zeroes:
            raise Corruption(f"Guest address {position:#x} has a zero cluster, which version 2 does not know")
        inside = position & self.cluster_mask
        stop = position - inside + size
        if kind is Kind.COMPRESSED:
            self._check_compressed(position)
            return Run(kind, entry, min(stop, end) - position)
        last = len(entries)
        index += 1
        if kind is Kind.NORMAL:
            offset = entry & OFFSET_MASK
            self._check_offset(offset, position)
            expected = offset + size
            flags = COMPRESSED | self.zero_flag | OFFSET_MASK
            first = index
            limit = min(last, index + max(-(-(end - stop) // size), 0))
            while index < limit and entries[index] & flags == expected:
                expected += size
                index += 1
            stop += (index - first) * size
            return Run(kind, offset + inside, min(stop, end) - position)
        if not entry:
            limit = min(last, index + max(-(-(end - stop) // size), 0))
            empty = zero_run(entries, index, limit)
            stop += empty * size
            index += empty
        while stop < end and index < last and self.kind_of(entries[index]) is kind:
            stop += size
            index += 1
        return Run(kind, 0, min(stop, end) - position)

    def _check_offset(self, offset: int, position: int) -> None:
        if offset & self.cluster_mask:
            raise Corruption(
                f"The cluster of guest address {position:#x} lies at {offset:#x}, not at the start of a cluster", offset
            )
        if self.data_file and offset != position & ~self.cluster_mask:
            raise Corruption(f"Guest address {position:#x} lies at {offset:#x} of the external data file", offset)

    def _check_compressed(self, position: int) -> None:
        if self.data_file:
            raise Corruption(f"Guest address {position:#x} is compressed, which an external data file has no place for")

    def subclusters(self, table: L2Table, index: int, position: int) -> tuple[int, int]:
        """The two words of an extended entry.

        :raises Corruption: they contradict each other.
        """
        entry, bitmap = table.entries[2 * index], table.entries[2 * index + 1]
        if entry & COMPRESSED:
            self._check_compressed(position)
            if bitmap:
                raise Corruption(f"The compressed cluster of guest address {position:#x} has subclusters")
            return entry, bitmap
        offset = entry & OFFSET_MASK
        if offset or entry & COPIED:
            self._check_offset(offset, position)
        allocated = bitmap & ALL_ALLOCATED
        if allocated & (bitmap >> 32) or (allocated and not offset and not self.data_file):
            raise Corruption(f"The subclusters of guest address {position:#x} are in a state that cannot be")
        return entry, bitmap

    def _extended_run(self, table: L2Table, position: int, end: int) -> Run:
        index = self.index(position)
        kind, host, length = self._one_extended(table, index, position)
        first_host = host
        stop = position + length
        entries_count = len(table.entries) // 2
        while stop < end and kind is not Kind.COMPRESSED and stop & self.cluster_mask == 0:
            index += 1
            if index >= entries_count:
                break
            other, other_host, length = self._one_extended(table, index, stop)
            if other is not kind or (kind is Kind.NORMAL and other_host != host + stop - position):
                break
            stop += length
        return Run(kind, first_host, min(stop, end) - position)

    def _one_extended(self, table: L2Table, index: int, position: int) -> Run:
        entry, bitmap = self.subclusters(table, index, position)
        inside = position & self.cluster_mask
        if entry & COMPRESSED:
            return Run(Kind.COMPRESSED, entry, self.cluster_size - inside)
        number = inside // self.subcluster_size
        allocated, zeroed = bitmap & ALL_ALLOCATED, bitmap >> 32
        if allocated >> number & 1:
            kind, count = Kind.NORMAL, bit_run(allocated, number)
        elif zeroed >> number & 1:
            kind, count = Kind.ZERO, bit_run(zeroed, number)
        else:
            kind, count = Kind.UNALLOCATED, bit_run(allocated | zeroed, number)
        host = (entry & OFFSET_MASK) + inside if kind is Kind.NORMAL else 0
        return Run(kind, host, (number + count) * self.subcluster_size - inside)
