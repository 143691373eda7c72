"""Overlap checks: which host clusters hold the image's own structures, so that nothing else is ever written there.

A second line of defence. Reference counts say what is free; in a damaged image they may be wrong, and then a write
must not take the structures along. Which structures are watched is the client's choice (`overlap-check`). All that is
watched is in one set in memory, so a look costs the same for each choice; the set is bounded, and when it is full,
snapshots and bitmaps, which come last, are not watched any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import MAX_L1_BYTES, Header

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.snapshots import Snapshot
    from qmpd.block.drivers.qcow2.store import FileStore

_MAX_CLUSTERS = 2 << 20
_MAX_L1_READ = 64 << 20
_TABLE_OFFSET = ~0x1FF & 0xFFFF_FFFF_FFFF_FFFF
_L2_OFFSET = 0x00FF_FFFF_FFFF_FE00


class Structure(IntFlag):
    """What a cluster may hold besides guest data; the members of `Qcow2OverlapCheckFlags`."""

    MAIN_HEADER = 1
    ACTIVE_L1 = 2
    ACTIVE_L2 = 4
    REFCOUNT_TABLE = 8
    REFCOUNT_BLOCK = 16
    SNAPSHOT_TABLE = 32
    INACTIVE_L1 = 64
    INACTIVE_L2 = 128
    BITMAP_DIRECTORY = 256
    """The directory, and the tables and bits that it leads to."""


_CONSTANT = (
    Structure.MAIN_HEADER
    | Structure.ACTIVE_L1
    | Structure.REFCOUNT_TABLE
    | Structure.SNAPSHOT_TABLE
    | Structure.BITMAP_DIRECTORY
)
_CACHED = _CONSTANT | Structure.ACTIVE_L2 | Structure.REFCOUNT_BLOCK | Structure.INACTIVE_L1
_MODES = {
    "none": Structure(0),
    "constant": _CONSTANT,
    "cached": _CACHED,
    "all": _CACHED | Structure.INACTIVE_L2,
}


def watched_by(option: Any) -> Structure:
    """What the option `overlap-check` (a mode, flags, or None) asks to watch."""
    if option is None or isinstance(option, str):
        return _MODES[str(option or "cached")]
    watched = _MODES[str(option.template or "cached")]
    for structure in Structure:
        wanted = getattr(option, (structure.name or "").lower())
        if wanted is not None:
            watched = watched | structure if wanted else watched & ~structure
    return watched


class Protected(set[int]):
    """The host clusters that nothing but their own structure may be written to.

    :ivar watched: the structures that count.
    """

    def __init__(self, watched: Structure) -> None:
        super().__init__()
        self.watched = watched

    def protect(self, structure: Structure, clusters: range | Sequence[int] | set[int]) -> None:
        """Add the clusters of a structure, if it is watched."""
        if structure & self.watched and len(self) + len(clusters) <= _MAX_CLUSTERS:
            self.update(clusters)

    def meets(self, first: int, end: int) -> bool:
        """Whether any of the clusters from `first` up to `end` is protected."""
        return first in self if end == first + 1 else not self.isdisjoint(range(first, end))


def clusters(header: Header, offset: int, size: int) -> range:
    """The host clusters of `size` bytes at `offset`."""
    return range(offset >> header.cluster_bits, (offset + size + header.cluster_size - 1) >> header.cluster_bits)


async def survey(
    store: FileStore,
    header: Header,
    l1: Sequence[int],
    refcount_table: Sequence[int],
    snapshots: Sequence[Snapshot],
    watched: Structure,
) -> tuple[Protected, set[int]]:
    """What of an image is protected, and the refcount blocks and active L2 tables that are something else as well."""
    found = Protected(watched)
    bits, length = header.cluster_bits, store.length
    found.protect(Structure.MAIN_HEADER, range(1))
    found.protect(Structure.ACTIVE_L1, clusters(header, header.l1_offset, header.l1_size * 8))
    table_size = header.refcount_table_clusters << bits
    found.protect(Structure.REFCOUNT_TABLE, clusters(header, header.refcount_table_offset, table_size))
    if header.snapshot_count:
        size = sum(snapshot.disk_size for snapshot in snapshots)
        found.protect(Structure.SNAPSHOT_TABLE, clusters(header, header.snapshots_offset, size))
    torn: set[int] = set()
    blocks = _places(refcount_table, _TABLE_OFFSET, bits, length)
    torn.update(blocks & found)
    found.protect(Structure.REFCOUNT_BLOCK, blocks)
    tables = _places(l1, _L2_OFFSET, bits, length)
    torn.update(tables & found)
    found.protect(Structure.ACTIVE_L2, tables)
    if watched & Structure.INACTIVE_L1:
        old_l1 = _snapshot_tables(header, snapshots)
        torn.update(old_l1 & (blocks | tables))
        found.protect(Structure.INACTIVE_L1, old_l1)
    if watched & Structure.INACTIVE_L2:
        await _survey_snapshots(found, store, header, snapshots)
    return found, torn


def _snapshot_tables(header: Header, snapshots: Iterable[Snapshot]) -> set[int]:
    """The clusters of the L1 tables of snapshots, as many as are worth the time."""
    found: set[int] = set()
    looked_at = 0
    for snapshot in snapshots:
        table = clusters(header, snapshot.l1_offset, min(snapshot.l1_size * 8, MAX_L1_BYTES))
        looked_at += len(table)
        if looked_at > _MAX_CLUSTERS:
            break
        found.update(table)
    return found


async def _survey_snapshots(found: Protected, store: FileStore, header: Header, snapshots: Iterable[Snapshot]) -> None:
    read = 0
    for snapshot in snapshots:
        size = min(snapshot.l1_size * 8, MAX_L1_BYTES)
        read += size
        if read > _MAX_L1_READ:
            return
        l1 = packing.words(await store.read(snapshot.l1_offset, size))
        found.protect(Structure.INACTIVE_L2, _places(l1, _L2_OFFSET, header.cluster_bits, store.length))


def _places(entries: Iterable[int], mask: int, bits: int, length: int) -> set[int]:
    """The clusters within a file of `length` bytes that table entries point to."""
    return {(entry & mask) >> bits for entry in entries if 0 < entry & mask < length}
