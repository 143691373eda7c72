"""Reference counts of host clusters: looking them up, changing them, and finding free clusters.

The counts in memory are always at least what the image on disk and all changes under way need. They are written
back by `Metadata.write_back` before anything that refers to the clusters; clusters are given back (`release`) only
after nothing on disk refers to them any more. So a crash at any point costs leaked clusters at most.

Blocks of counts are kept in a cache bounded in bytes; those with changes stay until they are written. Allocation
is a plain function as long as the block it needs is in memory. What needs I/O (loading a block, making a new one,
a larger table) happens under one lock, one such step at a time.
"""

from __future__ import annotations

import asyncio
import errno
import os
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import MAX_REFCOUNT_TABLE_BYTES, Header
from qmpd.block.drivers.qcow2.overlap import Protected, Structure
from qmpd.block.drivers.qcow2.store import FileStore

TABLE_OFFSET_MASK = ~0x1FF & 0xFFFF_FFFF_FFFF_FFFF
MAX_HOST_OFFSET = 1 << 56


class Corruption(Exception):
    """The image's structures contradict each other.

    :ivar offset: where in the image file, None if that does not say anything.
    """

    def __init__(self, message: str, offset: int | None = None, size: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.size = size


class RefcountBlock:
    """One block of counts in memory. `low` and `high` bound the entries not yet written.

    :ivar fresh: it has never been written.
    """

    __slots__ = ("counts", "fresh", "high", "low", "offset", "used", "writing")

    def __init__(self, offset: int, counts: array[int], *, fresh: bool = False) -> None:
        self.fresh = fresh
        self.offset = offset
        self.counts = counts
        self.low = len(counts)
        self.high = 0
        self.used = True
        self.writing = 0

    def touch(self, first: int, end: int) -> None:
        """Entries first to end have changed."""
        if first < self.low:
            self.low = first
        if end > self.high:
            self.high = end

    @property
    def dirty(self) -> bool:
        """It has entries that are not written."""
        return self.high > self.low


@dataclass(slots=True)
class _TableMove:
    """A larger refcount table on its way: its host clusters, and those of the one that it replaces."""

    first: int
    clusters: int
    old_first: int
    old_clusters: int


class Refcounts:
    """The counts of one image.

    :param forbidden: host clusters that hold metadata; allocation must never give one of them.
    :param write_header: writes the header once the table has moved.
    :ivar packing_cluster: the cluster that compressed data is being packed into, -1 for none.
    :ivar fresh_from: clusters from here on have never been used: the file reads as zeroes there.
    """

    def __init__(
        self,
        store: FileStore,
        header: Header,
        table: array[int],
        forbidden: Protected,
        write_header: Callable[[], Awaitable[None]],
        cache_bytes: int,
    ) -> None:
        self._store = store
        self._header = header
        self.table = table
        self.dirty_table: set[int] = set()
        self.blocks: dict[int, RefcountBlock] = {}
        self._forbidden = forbidden
        self._write_header = write_header
        self.cluster_bits = header.cluster_bits
        self.order = header.refcount_order
        self.block_bits = self.cluster_bits + 3 - self.order
        self.block_entries = 1 << self.block_bits
        self.maximum = (1 << (1 << self.order)) - 1
        self.initial_length = store.length
        self.hint = 0
        self.packing_cluster = -1
        self.fresh_from = -(-store.length // header.cluster_size)
        self._distrusted: set[int] = set()
        self._moving: _TableMove | None = None
        self._lock = asyncio.Lock()
        self._writing = asyncio.Lock()
        self.set_cache(cache_bytes)

    def set_cache(self, cache_bytes: int) -> None:
        """How much memory blocks of counts may take."""
        item = packing.no_counts(1, self.order).itemsize
        self._cache_limit = max(cache_bytes // (self.block_entries * item), 2)

    def distrust(self, clusters: set[int]) -> None:
        """Refuse to write blocks of counts in these host clusters: they are something else as well."""
        self._distrusted = clusters

    # Blocks.

    def _drop_clean(self) -> None:
        if len(self.blocks) < self._cache_limit:
            return
        for _ in range(2):
            for index, block in list(self.blocks.items()):
                if block.high > block.low or block.writing:
                    continue
                if block.used:
                    block.used = False
                    continue
                del self.blocks[index]
                if len(self.blocks) < self._cache_limit:
                    return

    def drop_unused(self) -> None:
        """Drop the blocks that have not been used since the last call."""
        for index, block in list(self.blocks.items()):
            if not block.used and not block.dirty and not block.writing:
                del self.blocks[index]
            block.used = False

    def block_offset(self, index: int) -> int:
        """Where on disk block `index` lies, 0 if there is none.

        :raises Corruption: the table points to where no block can be.
        """
        if index >= len(self.table):
            return 0
        offset = self.table[index] & TABLE_OFFSET_MASK
        if offset % self._header.cluster_size:
            raise Corruption(f"Refcount block {index} lies at {offset}, not at the start of a cluster", offset)
        if offset >= max(self._store.length, self.fresh_from << self.cluster_bits):
            raise Corruption(f"Refcount block {index} lies at {offset}, beyond the end of the file", offset)
        return offset

    async def block(self, index: int) -> RefcountBlock | None:
        """Block `index`, from memory or disk; None if there is none."""
        block = self.blocks.get(index)
        if block is not None:
            block.used = True
            return block
        if self.block_offset(index) == 0:
            return None
        async with self._lock:
            return await self._load(index)

    async def _load(self, index: int) -> RefcountBlock | None:
        block = self.blocks.get(index)
        offset = self.block_offset(index)
        if block is not None or offset == 0:
            return block
        await self._store.event("refblock_load")
        data = await self._store.read(offset, self._header.cluster_size)
        self._drop_clean()
        block = RefcountBlock(offset, packing.counts(data, self.order))
        self.blocks[index] = block
        return block

    async def get(self, cluster: int) -> int:
        """The count of a host cluster."""
        block = await self.block(cluster >> self.block_bits)
        return 0 if block is None else block.counts[cluster & (self.block_entries - 1)]

    # Allocation.

    def try_allocate(self, wanted: int) -> tuple[int, int] | None:
        """Take up to `wanted` free clusters in a row: (first, how many), None if that needs I/O."""
        cluster = self.hint
        mask = self.block_entries - 1
        while True:
            block = self.blocks.get(cluster >> self.block_bits)
            if block is None:
                self.hint = cluster
                return None
            counts = block.counts
            try:
                first = counts.index(0, cluster & mask)
            except ValueError:
                cluster = ((cluster >> self.block_bits) + 1) << self.block_bits
                continue
            end = first + 1
            limit = min(first + wanted, len(counts))
            while end < limit and counts[end] == 0:
                end += 1
            base = cluster & ~mask
            self._take(block, base, first, end)
            self.hint = base + end
            return base + first, end - first

    def try_fresh(self, end: int) -> int:
        """Take one cluster before `end` that has never been used; -1 if there is none at hand, or one to use again."""
        cluster = self.hint
        if not self.fresh_from <= cluster < end:
            return -1
        block = self.blocks.get(cluster >> self.block_bits)
        at = cluster & (self.block_entries - 1)
        if block is None or block.counts[at]:
            return -1
        self._take(block, cluster - at, at, at + 1)
        self.hint = cluster + 1
        return cluster

    def _take(self, block: RefcountBlock, base: int, first: int, end: int) -> None:
        if self._forbidden.meets(base + first, base + end):
            offset = (base + first) << self.cluster_bits
            raise Corruption(f"Clusters at {offset} hold metadata, and their refcount says that they are free", offset)
        if (base + end) << self.cluster_bits > MAX_HOST_OFFSET:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        for at in range(first, end):
            block.counts[at] = 1
        block.touch(first, end)
        block.used = True
        if base + end > self.fresh_from:
            self.fresh_from = base + end

    async def allocate(self, wanted: int) -> tuple[int, int]:
        """Take up to `wanted` free clusters in a row: (first, how many)."""
        while True:
            found = self.try_allocate(wanted)
            if found is not None:
                return found
            async with self._lock:
                await self._provide(self.hint >> self.block_bits)

    async def allocate_exactly(self, wanted: int) -> int:
        """The first of exactly `wanted` free clusters in a row."""
        if wanted == 1:
            return (await self.allocate(1))[0]
        async with self._lock:
            for index, block in self.blocks.items():
                base = index << self.block_bits
                first = packing.find_zero_run(block.counts, 0, wanted)
                if first >= 0:
                    self._take(block, base, first, first + wanted)
                    return base + first
            return await self._allocate_at_end(wanted)

    async def _allocate_at_end(self, wanted: int) -> int:
        """A run after everything. Blocks that it needs come behind it: inside they would cut a long run in pieces."""
        while True:
            first = self.fresh_from
            missing = self._missing_blocks(first, wanted)
            end = first + wanted + len(missing)
            last = (end - 1) >> self.block_bits
            if last >= len(self.table):
                await self._grow_table(last)
            elif await self._all_free(first, end, missing) and self.fresh_from == first:
                break
            else:
                self.fresh_from = max(self.fresh_from, first + 1)
        for number, index in enumerate(missing):
            self._new_block(index, first + wanted + number)
        at = first
        while at < end:
            index = at >> self.block_bits
            base = index << self.block_bits
            stop = min(end, base + self.block_entries)
            self._take(self.blocks[index], base, at - base, stop - base)
            at = stop
        self._forbidden.protect(Structure.REFCOUNT_BLOCK, range(first + wanted, end))
        return first

    def _missing_blocks(self, first: int, wanted: int) -> list[int]:
        """The blocks to be made for a run of `wanted` clusters from `first`, and for these blocks right after it."""
        missing: list[int] = []
        while True:
            last = first + wanted + len(missing) - 1
            indexes = range(first >> self.block_bits, (last >> self.block_bits) + 1)
            needed = [index for index in indexes if index not in self.blocks and self.block_offset(index) == 0]
            if len(needed) == len(missing):
                return needed
            missing = needed

    async def _all_free(self, first: int, end: int, missing: list[int]) -> bool:
        """Whether all clusters are free, as far as there are counts, and the blocks with these are in memory."""
        at = first
        while at < end:
            index = at >> self.block_bits
            base = index << self.block_bits
            stop = min(end, base + self.block_entries)
            if index not in missing:
                block = await self._load(index)
                if block is None or any(block.counts[at - base : stop - base]):
                    return False
                # Pins it until it is written.
                block.touch(at - base, stop - base)
            at = stop
        indexes = range(first >> self.block_bits, ((end - 1) >> self.block_bits) + 1)
        return all(index in self.blocks or index in missing for index in indexes)

    async def _provide(self, index: int) -> None:
        """Make sure that block `index` exists and is in memory."""
        if index in self.blocks:
            return
        if index >= len(self.table):
            await self._grow_table(index)
            if index in self.blocks:
                return
        if self.block_offset(index):
            await self._load(index)
            return
        await self._store.event("refblock_alloc")
        first = index << self.block_bits
        place = max(first, min(self.hint, first + self.block_entries - 1))
        self._drop_clean()
        self._make_block(index, place)

    def _make_block(self, index: int, place: int) -> None:
        """A new block `index` at the free cluster `place`, which it covers itself unless another one does already."""
        block = self._new_block(index, place)
        base = index << self.block_bits
        if base <= place < base + self.block_entries:
            self._take(block, base, place - base, place - base + 1)
        self._forbidden.protect(Structure.REFCOUNT_BLOCK, (place,))

    def _new_block(self, index: int, place: int) -> RefcountBlock:
        block = RefcountBlock(place << self.cluster_bits, packing.no_counts(self.block_entries, self.order), fresh=True)
        block.touch(0, self.block_entries)
        self.blocks[index] = block
        self.table[index] = block.offset
        self.dirty_table.add(index)
        return block

    async def _grow_table(self, index: int) -> None:
        """A larger table that has room for block `index`; it and the blocks that cover it come after all else."""
        if self._moving is not None:
            await self._finish_move(self._moving)
        await self._store.event("reftable_grow")
        old_entries = len(self.table)
        per_cluster = self._header.cluster_size // 8
        entries = max(index + 1, old_entries + max(old_entries // 2, 1))
        first = max(old_entries << self.block_bits, self.fresh_from)
        while True:
            table_clusters = -(-entries // per_cluster)
            new_blocks = self._blocks_for(first, table_clusters)
            last_index = (first + table_clusters + new_blocks - 1) >> self.block_bits
            if last_index < table_clusters * per_cluster:
                break
            entries = last_index + 1
        if table_clusters * self._header.cluster_size > MAX_REFCOUNT_TABLE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        await self._move_table(first, table_clusters, new_blocks)

    def _blocks_for(self, first: int, table_clusters: int) -> int:
        blocks = 1
        while True:
            last = first + table_clusters + blocks - 1
            needed = (last >> self.block_bits) - (first >> self.block_bits) + 1
            if needed <= blocks:
                return blocks
            blocks = needed

    async def _move_table(self, first: int, table_clusters: int, new_blocks: int) -> None:
        header, bits = self._header, self.cluster_bits
        grown = self.table[:]
        grown.extend([0] * (table_clusters * (header.cluster_size // 8) - len(grown)))
        self.table = grown
        first_index = first >> self.block_bits
        for number in range(new_blocks):
            self._new_block(first_index + number, first + table_clusters + number)
        for cluster in range(first, first + table_clusters + new_blocks):
            index = cluster >> self.block_bits
            block = self.blocks[index]
            at = cluster & (self.block_entries - 1)
            if block.counts[at] == 0:
                self._take(block, index << self.block_bits, at, at + 1)
        self._forbidden.protect(Structure.REFCOUNT_TABLE, range(first, first + table_clusters))
        end = first + table_clusters
        self._forbidden.protect(Structure.REFCOUNT_BLOCK, range(end, end + new_blocks))
        old = header.refcount_table_offset >> bits, header.refcount_table_clusters
        self._moving = _TableMove(first, table_clusters, *old)
        await self._finish_move(self._moving)

    async def _finish_move(self, move: _TableMove) -> None:
        """Bring a larger table to the file and switch to it.

        In memory it is in use already, and clusters may have been taken that only it accounts for. So whoever fails or
        is cancelled here leaves the rest to the next, who does it before anything else is written of the table.
        """
        header, bits = self._header, self.cluster_bits
        await self._store.event("refblock_alloc_write_blocks")
        await self._write_blocks()
        # The file may use the table already, if the header write has failed before: blocks come first then as well.
        await self._store.sync()
        await self._store.event("refblock_alloc_write_table")
        await self._store.write(move.first << bits, packing.word_bytes(self.table))
        await self._store.sync()
        header.refcount_table_offset = move.first << bits
        header.refcount_table_clusters = move.clusters
        self.dirty_table.clear()
        await self._store.event("refblock_alloc_switch_table")
        await self._write_header()
        await self._store.sync()
        while move.old_clusters:
            await self._change_loaded(move.old_first, -1)
            self._forbidden.discard(move.old_first)
            move.old_first, move.old_clusters = move.old_first + 1, move.old_clusters - 1
        self._moving = None

    # Changing counts.

    async def change(self, first: int, count: int, delta: int) -> None:
        """Add `delta` to the counts of `count` clusters from `first`.

        :raises Corruption: a count would become negative.
        :raises OSError: EINVAL when a count would not fit its width.
        """
        for cluster in range(first, first + count):
            index = cluster >> self.block_bits
            block = self.blocks.get(index)
            if block is None:
                async with self._lock:
                    await self._provide(index) if delta > 0 else await self._load(index)
            await self._change_loaded(cluster, delta)

    async def _change_loaded(self, cluster: int, delta: int) -> None:
        index = cluster >> self.block_bits
        block = self.blocks.get(index) or await self._load(index)
        at = cluster & (self.block_entries - 1)
        count = (block.counts[at] if block is not None else 0) + delta
        if block is None or count < 0:
            raise Corruption(
                f"The refcount of the cluster at {cluster << self.cluster_bits} is too small for what uses it",
                cluster << self.cluster_bits,
            )
        if count > self.maximum:
            raise OSError(errno.EINVAL, "the reference counts of this image are not wide enough")
        block.counts[at] = count
        block.touch(at, at + 1)
        block.used = True
        if count == 0:
            self.hint = min(self.hint, cluster)
            if cluster == self.packing_cluster:
                self.packing_cluster = -1

    def give_back_unused(self, first: int, count: int) -> list[int]:
        """Undo an allocation that nothing came to refer to; gives the clusters for which that takes I/O."""
        late: list[int] = []
        for cluster in range(first, first + count):
            block = self.blocks.get(cluster >> self.block_bits)
            at = cluster & (self.block_entries - 1)
            if block is None:
                late.append(cluster)
            elif block.counts[at] == 1:
                block.counts[at] = 0
                block.touch(at, at + 1)
                self.hint = min(self.hint, cluster)
        return late

    # Writing.

    @property
    def dirty(self) -> bool:
        """There are counts or table entries that are not written."""
        waiting = bool(self.dirty_table) or self._moving is not None
        return waiting or any(block.high > block.low for block in self.blocks.values())

    @property
    def crowded(self) -> bool:
        """More blocks wait to be written than the cache should hold."""
        return len(self.blocks) > 2 * self._cache_limit

    def _capture(self) -> list[tuple[RefcountBlock, int, bytes]]:
        """What has to be written of the blocks: (block, offset in the file, bytes). Marks them clean."""
        if self._distrusted:
            self._check_trust()
        captured = []
        per_byte = 8 >> self.order if self.order < 3 else 1
        size = (1 << self.order) // 8 or 1
        for block in self.blocks.values():
            if block.high <= block.low:
                continue
            low = block.low // per_byte * per_byte
            high = -(-block.high // per_byte) * per_byte
            data = packing.count_bytes(block.counts[low:high], self.order)
            captured.append((block, block.offset + low // per_byte * size, data))
            block.low, block.high = len(block.counts), 0
            block.writing += 1
        return captured

    def _check_trust(self) -> None:
        for block in self.blocks.values():
            if block.dirty and block.offset >> self.cluster_bits in self._distrusted:
                raise Corruption(f"The refcount block at {block.offset:#x} is something else as well", block.offset)

    async def _write_blocks(self) -> None:
        """Write all blocks that have changes, as they are now. One caller at a time, so that none is overtaken."""
        async with self._writing:
            captured = self._capture()
            done = 0
            try:
                if captured:
                    await self._store.event("refblock_update")
                for block, offset, data in captured:
                    await self._store.event("refblock_alloc_write" if block.fresh else "refblock_update_part")
                    await self._store.write(offset, data)
                    block.fresh = False
                    done += 1
            finally:
                for at, (block, _, _) in enumerate(captured):
                    block.writing -= 1
                    if at >= done:
                        block.touch(0, len(block.counts))

    async def write(self) -> None:
        """Write all changes made so far (and maybe later ones): blocks before the table that points to them."""
        entries = sorted(self.dirty_table)
        self.dirty_table.clear()
        try:
            async with self._lock:
                if self._moving is not None:
                    await self._finish_move(self._moving)
            await self._write_blocks()
            if entries:
                await self._store.sync()
                # Under the lock, since the table may be about to move.
                async with self._lock:
                    for index in entries:
                        place = self._header.refcount_table_offset + index * 8
                        await self._store.event("refblock_alloc_hookup")
                        await self._store.write(place, self.table[index].to_bytes(8, "big"))
        except BaseException:
            self.dirty_table.update(entries)
            raise
