"""Reading, writing, zeroing and discarding guest data of one qcow2 image.

Leans on `mapping` (what an address is), `metadata` (how a change of that reaches the disk) and `ranges` (who may
change what at the same time). Three rules:

* Data is written before the L2 entry that makes it visible is changed in memory.
* After every await, tables are looked up again: they may have been dropped and loaded anew meanwhile. Entries within
  a range that is claimed exclusively are changed by nobody else.
* Clusters that an entry no longer refers to are given to `Metadata.free_later`, never freed at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from qmpd.block.driver import Buffer, HostPiece, Range, not_supported
from qmpd.block.drivers.qcow2 import compression
from qmpd.block.drivers.qcow2.header import Header
from qmpd.block.drivers.qcow2.mapping import ALL_ALLOCATED, ALL_ZERO, SUBCLUSTERS, Kind, Mapping, Run
from qmpd.block.drivers.qcow2.metadata import COMPRESSED, COPIED, OFFSET_MASK, ZERO, Freed, L2Table, Metadata
from qmpd.block.drivers.qcow2.ranges import Claim, RangeLocks
from qmpd.block.drivers.qcow2.refcounts import Corruption, Refcounts
from qmpd.block.drivers.qcow2.store import FileStore
from qmpd.block.extents import Extent, ExtentKind, HostFile
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode, is_zero

_JOIN_LIMIT = 1 << 20
_MAX_EXTENTS = 8192
_MAP_KINDS = {
    Kind.UNALLOCATED: ExtentKind.UNALLOCATED,
    Kind.ZERO: ExtentKind.ZERO,
    Kind.NORMAL: ExtentKind.DATA,
    Kind.COMPRESSED: ExtentKind.DATA,
}


@dataclass(slots=True)
class _Filled:
    """A place for whole clusters in the data file: `count` clusters of guest address `guest` at `host`.

    :ivar new: it has never been used, so it reads as zeroes.
    :ivar taken: it was allocated for this request, and nothing refers to it as yet.
    :ivar linked: the L2 entries say all of it already.
    """

    guest: int
    host: int
    count: int
    new: bool
    taken: bool = False
    linked: bool = False


class DataPath:
    """The guest's view of one image.

    :param store: the image file.
    :param data: where guest data lies; the same as `store` unless there is an external data file.
    :ivar backing: what shows through where nothing is stored, if anything.
    :ivar length: bytes of the disk.
    """

    def __init__(
        self,
        header: Header,
        store: FileStore,
        data: FileStore,
        metadata: Metadata,
        refcounts: Refcounts,
        pool: IOPool,
    ) -> None:
        self.header = header
        self.store = store
        self.data = data
        self.meta = metadata
        self.refcounts = refcounts
        self.pool = pool
        self.mapping = Mapping(header, metadata.part_bits)
        self.locks = RangeLocks()
        self.backing: BlockNode | None = None
        self.length = header.size
        self._external = header.has_data_file
        self._words = 2 if header.extended_l2 else 1
        self._plain = not (header.has_data_file or header.extended_l2)
        self._packing = asyncio.Lock()
        self._packed_end = 0

    # Reading.

    async def run_at(self, position: int, end: int) -> Run:
        """What lies at the guest address `position`, up to `end` at most."""
        shift = self.mapping.part_shift
        index = position >> shift
        stop = min(end, (index + 1) << shift)
        table = self.meta.tables.get(index) or await self.meta.table(index)
        if table is None:
            return Run(Kind.UNALLOCATED, 0, stop - position)
        return self.mapping.run(table, position, stop)

    async def read(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with guest data from `offset`."""
        epoch = self.meta.epoch
        epoch.readers += 1
        try:
            host = self.host_of(offset, len(buffer))
            if host >= 0:
                await self.data.node.preadv(host, buffer)
            else:
                await self._read(offset, buffer)
        finally:
            epoch.readers -= 1

    def host_of(self, offset: int, length: int) -> int:
        """Where in the data file a range within one plain cluster lies, if its table is in memory; -1 for all else.

        Most reads are such. Whatever is odd about an entry is left to `run_at` to say.
        """
        mapping = self.mapping
        table = self.meta.tables.get(offset >> mapping.part_shift)
        if table is None:
            return -1
        inside = offset & mapping.cluster_mask
        entry = table.entries[(offset >> mapping.cluster_bits) & mapping.part_mask]
        host = entry & OFFSET_MASK
        if (
            not host
            or inside + length > mapping.cluster_size
            or entry & (COMPRESSED | ZERO)
            or host & mapping.cluster_mask
            or not self._plain
            or self.store.debug is not None
            or host + inside + length > self.data.node.driver.length
        ):
            return -1
        table.used = True
        return host + inside

    async def _read(self, offset: int, buffer: memoryview) -> None:
        position, end = offset, offset + len(buffer)
        while position < end:
            run = await self.run_at(position, end)
            part = buffer[position - offset : position - offset + run.length]
            if run.kind is Kind.NORMAL:
                if self.store.debug is not None:
                    await self.store.debug.event("read_aio")
                await self.data.read_into(run.host, part)
            elif run.kind is Kind.ZERO:
                part[:] = bytes(len(part))
            elif run.kind is Kind.UNALLOCATED:
                await self._read_backing(position, part)
            else:
                inside = position & self.mapping.cluster_mask
                cluster = await self._inflate(run.host)
                part[:] = cluster[inside : inside + len(part)]
            position += run.length

    async def _read_backing(self, position: int, part: memoryview) -> None:
        below = self.backing
        present = 0 if below is None else min(len(part), max(below.length - position, 0))
        if below is not None and present:
            await self.store.event("read_backing_aio")
            await below.preadv(position, part[:present])
        if present < len(part):
            part[present:] = bytes(len(part) - present)

    async def _inflate(self, entry: int) -> bytes:
        place = self.mapping.compressed(entry)
        if place.offset >= self.store.length:
            raise Corruption("A compressed cluster lies beyond the end of the file", place.offset)
        await self.store.event("read_compressed")
        raw = await self.store.read(place.offset, place.length)
        return await self.pool.run(
            compression.decompress, self.header.compression, bytes(raw), self.mapping.cluster_size
        )

    def _backed(self, position: int) -> bool:
        """Something may show through at an address that is not allocated."""
        return self.backing is not None and position < self.backing.length

    def may_be_backed(self, position: int) -> bool:
        """Whether a backing file shows, or may show later, where nothing is stored.

        A mirror writes to images whose backing file is named by the header, but attached only in the end.
        """
        return self._backed(position) or (self.backing is None and self.header.backing_file is not None)

    async def _old_bytes(self, start: int, end: int) -> bytes | None:
        """What the guest reads in a range now; None when that is known to be zeroes."""
        if start >= end:
            return b""
        run = await self.run_at(start, end)
        if run.length == end - start and (
            run.kind is Kind.ZERO or (run.kind is Kind.UNALLOCATED and not self._backed(start))
        ):
            return None
        data = bytearray(end - start)
        await self._read(start, memoryview(data))
        return bytes(data)

    # Writing in place.

    def place_of(self, offset: int, end: int) -> int:
        """Where in the data file [offset, end) can be written as it is, -1 if it cannot."""
        mapping = self.mapping
        table = self.meta.writable_now(offset >> mapping.part_shift)
        if table is None or not table.entries[mapping.index(offset) * self._words] & COPIED:
            return -1
        run = mapping.run(table, offset, end)
        if run.kind is not Kind.NORMAL or run.length < end - offset or not self._all_own(table, offset, end):
            return -1
        self._check_overlap(run.host, run.length)
        return run.host

    def _all_own(self, table: L2Table, offset: int, end: int) -> bool:
        mapping, step = self.mapping, self._words
        first = mapping.index(offset)
        last = mapping.index(end - 1)
        entries = table.entries
        return all(entries[at * step] & COPIED for at in range(first, last + 1))

    def _check_overlap(self, host: int, length: int) -> None:
        if self._external:
            return
        bits = self.mapping.cluster_bits
        if self.meta.forbidden.meets(host >> bits, ((host + length - 1) >> bits) + 1):
            raise Corruption(f"Guest data would overwrite metadata at {host:#x}", host, length)

    async def write(self, offset: int, data: Buffer) -> None:
        """Write guest data at `offset`."""
        end = offset + len(data)
        host = self.place_of(offset, end)
        if host >= 0:
            claim = self.locks.try_share(offset, end)
            if claim is not None:
                await self._write_in_place(host, data, claim)
                return
        else:
            fresh = self._take_fresh(offset, end)
            if fresh is not None:
                await self._write_fresh(offset, data, *fresh)
                return
        await self._write_exclusive(offset, data)

    async def _write_in_place(self, host: int, data: Buffer, claim: Claim) -> None:
        try:
            if self.store.debug is not None:
                await self.store.debug.event("write_aio")
            await self.data.write(host, data)
        finally:
            self.locks.release(claim)

    # Writing with allocation.

    def _aligned(self, offset: int, end: int) -> tuple[int, int]:
        mask = self.mapping.cluster_mask
        return offset & ~mask, (end + mask) & ~mask

    async def _write_exclusive(self, offset: int, data: Buffer) -> None:
        end = offset + len(data)
        claim = await self.locks.take(*self._aligned(offset, end))
        try:
            await self._write_claimed(offset, memoryview(data))
        finally:
            self.locks.release(claim)
        await self.meta.relieve()

    async def _write_claimed(self, offset: int, view: memoryview) -> None:
        position, end = offset, offset + len(view)
        step = self._write_subclusters if self.mapping.extended else self._write_clusters
        while position < end:
            stop = min(end, ((position >> self.mapping.part_shift) + 1) << self.mapping.part_shift)
            position += await step(position, view[position - offset : stop - offset])

    def _take_fresh(self, offset: int, end: int) -> tuple[Claim, int] | None:
        """The claim and the host cluster for a write into one cluster, if getting them takes nothing but memory.

        That is what most first writes to a thin image are: nothing is stored there, nothing shows through, and a host
        cluster that has never been used reads as zeroes around what is written. None for everything else.
        """
        mapping, store = self.mapping, self.data
        start = offset & ~mapping.cluster_mask
        stop = start + mapping.cluster_size
        if end > stop or not self._plain or store.debug is not None or self.may_be_backed(start):
            return None
        table = self.meta.writable_now(offset >> mapping.part_shift)
        if table is None or table.entries[mapping.index(offset)]:
            return None
        claim = self.locks.try_take(start, stop)
        if claim is None:
            return None
        cluster = self.refcounts.try_fresh(store.length >> mapping.cluster_bits)
        if cluster < 0:
            self.locks.release(claim)
            return None
        return claim, cluster

    async def _write_fresh(self, offset: int, data: Buffer, claim: Claim, cluster: int) -> None:
        mapping = self.mapping
        host = cluster << mapping.cluster_bits
        try:
            await self.data.node.pwritev(host + (offset & mapping.cluster_mask), data)
            part = offset >> mapping.part_shift
            table = self.meta.writable_now(part) or await self.meta.writable(part)
            index = mapping.index(offset)
            table.entries[index] = host | COPIED
            self.meta.touch(table, index, index + 1)
        except BaseException:
            self._give_back(_Filled(claim.start, host, 1, True, taken=True))
            raise
        finally:
            self.locks.release(claim)
        if self.meta.crowded:
            await self.meta.relieve()

    async def _allocate(self, guest: int, count: int) -> _Filled:
        """A place for up to `count` clusters of the guest address `guest`."""
        if self._external:
            return _Filled(guest, guest, count, False)
        await self.store.event("cluster_alloc")
        refcounts = self.refcounts
        while True:
            fresh_from = refcounts.fresh_from
            found = refcounts.try_allocate(count)
            if found is not None:
                break
            first, got = await refcounts.allocate(1)
            refcounts.give_back_unused(first, got)
        first, got = found
        return _Filled(guest, first << self.mapping.cluster_bits, got, first >= fresh_from, taken=True)

    def _give_back(self, place: _Filled) -> None:
        if place.taken:
            for cluster in self.refcounts.give_back_unused(place.host >> self.mapping.cluster_bits, place.count):
                self.meta.free_later(cluster, 1)

    def _is_own(self, entry: int) -> bool:
        """The entry stands for data that may be overwritten where it is."""
        return bool(entry & COPIED) and self.mapping.kind_of(entry) is Kind.NORMAL

    async def _write_clusters(self, position: int, view: memoryview) -> int:
        mapping = self.mapping
        table = await self.meta.writable(position >> mapping.part_shift)
        first = mapping.index(position)
        end = position + len(view)
        count = mapping.index(end - 1) - first + 1
        entry = table.entries[first]
        if self._is_own(entry):
            run = mapping.run(table, position, end)
            length = run.length
            while not self._all_own(table, position, position + length):
                length = ((position + length - 1) & ~mapping.cluster_mask) - position
            self._check_overlap(run.host, length)
            await self.store.event("write_aio")
            await self.data.write(run.host, view[:length])
            return length
        if entry:
            # For what it says of entries that cannot be.
            mapping.run(table, position, position + 1)
        guest = position & ~mapping.cluster_mask
        if entry & COPIED and entry & mapping.zero_flag and not entry & COMPRESSED and entry & OFFSET_MASK:
            place = _Filled(guest, entry & OFFSET_MASK, 1, False)
            self._check_overlap(place.host, mapping.cluster_size)
            return await self._write_over_zero(place, position, view)
        wanted = 1
        while wanted < count and not self._is_own(table.entries[first + wanted]):
            wanted += 1
        place = await self._allocate(guest, wanted)
        stop = min(end, guest + (place.count << mapping.cluster_bits))
        try:
            end = guest + (place.count << mapping.cluster_bits)
            await self._store_with_edges(place, guest, end, position, view[: stop - position])
            await self._link(place)
        except BaseException:
            self._give_back(place)
            raise
        return stop - position

    async def _write_over_zero(self, place: _Filled, position: int, view: memoryview) -> int:
        stop = min(position + len(view), place.guest + self.mapping.cluster_size)
        end = place.guest + self.mapping.cluster_size
        await self._store_with_edges(place, place.guest, end, position, view[: stop - position])
        table = await self.meta.writable(position >> self.mapping.part_shift)
        index = self.mapping.index(position)
        table.entries[index] = place.host | COPIED
        self.meta.touch(table, index, index + 1)
        return stop - position

    async def _store_with_edges(
        self, place: _Filled, copy_from: int, copy_to: int, position: int, view: memoryview
    ) -> None:
        """Write `view`, and around it what the guest reads now from `copy_from` to `copy_to`."""
        stop = position + len(view)
        if copy_from < position or stop < copy_to:
            await self.store.event("cow_read")
        head = await self._old_bytes(copy_from, position)
        tail = await self._old_bytes(stop, min(copy_to, self.length))
        if not self._external:
            await self.data.reach(place.host + (place.count << self.mapping.cluster_bits))
        start = position
        if not place.new:
            # What was there before must not show: neither here nor, beyond the end, once the disk is longer.
            end = min(copy_to, self.length) if self._external else copy_to
            head = bytes(position - copy_from) if head is None else head
            tail = (tail or b"").ljust(end - stop, b"\0")
        if head:
            start = copy_from
        host = place.host + start - place.guest
        await self.store.event("write_aio")
        if not head and not tail:
            await self.data.write(host, view)
            return
        await self.store.event("cow_write")
        if len(view) <= _JOIN_LIMIT:
            await self.data.write(host, b"".join((head or b"", view, tail or b"")))
        else:
            if head:
                await self.data.write(host, head)
            await self.data.write(place.host + position - place.guest, view)
            if tail:
                await self.data.write(place.host + stop - place.guest, tail)

    async def _link(self, place: _Filled) -> None:
        """Let the L2 entries of the clusters at `place` point there."""
        self._link_in(await self.meta.writable(place.guest >> self.mapping.part_shift), place)

    def _link_now(self, place: _Filled) -> bool:
        """The same, if the table is in memory."""
        table = self.meta.writable_now(place.guest >> self.mapping.part_shift)
        if table is not None:
            self._link_in(table, place)
        return table is not None

    def _link_in(self, table: L2Table, place: _Filled) -> None:
        mapping = self.mapping
        first = mapping.index(place.guest)
        end = first + place.count
        if mapping.extended:
            self._link_extended(table, place, first, end)
            return
        entries, host = table.entries, place.host
        for index in range(first, end):
            old = entries[index]
            entries[index] = host | COPIED
            host += mapping.cluster_size
            if old & ~(COPIED | ZERO):
                self._drop(old)
        self.meta.touch(table, first, end)

    def _link_extended(self, table: L2Table, place: _Filled, first: int, end: int) -> None:
        entries, size = table.entries, self.mapping.cluster_size
        for index in range(first, end):
            new = place.host + (index - first) * size | COPIED
            old, entries[2 * index] = entries[2 * index], new
            entries[2 * index + 1] = self._whole(place.guest + (index - first) * size)
            if old & OFFSET_MASK and (old ^ new) & ~COPIED:
                self._drop(old)
        self.meta.touch(table, 2 * first, 2 * end)

    def _drop(self, entry: int, reason: Freed = Freed.REWRITTEN) -> None:
        first, count = self.mapping.host_clusters(entry)
        if count:
            self.meta.free_later(first, count, reason)

    async def _write_subclusters(self, position: int, view: memoryview) -> int:
        mapping = self.mapping
        table = await self.meta.writable(position >> mapping.part_shift)
        index = mapping.index(position)
        entry, bitmap = mapping.subclusters(table, index, position)
        guest = position & ~mapping.cluster_mask
        view = view[: guest + mapping.cluster_size - position]
        own = bool(entry & COPIED) and (bool(entry & OFFSET_MASK) or self._external)
        size = mapping.subcluster_size
        first = (position - guest) // size
        last = (position + len(view) - 1 - guest) // size
        touched = (1 << (last + 1)) - (1 << first)
        copy_from, copy_to = guest + first * size, guest + (last + 1) * size
        if entry & COMPRESSED:
            copy_from, copy_to = guest, guest + mapping.cluster_size
            touched = ALL_ALLOCATED
        elif entry & OFFSET_MASK and not own and bitmap & ALL_ALLOCATED:
            # What is stored has to be copied, and what lies between it and the new data.
            stored = bitmap & ALL_ALLOCATED
            first, last = min(first, (stored & -stored).bit_length() - 1), max(last, stored.bit_length() - 1)
            touched = (1 << (last + 1)) - (1 << first)
            copy_from, copy_to = guest + first * size, guest + (last + 1) * size
        new_bitmap = (bitmap | touched) & ~(touched << 32)
        if not own:
            await self._write_new_subclusters(guest, copy_from, copy_to, position, view, new_bitmap)
            return len(view)
        if bitmap >> first & 1:
            copy_from = position
        if bitmap >> last & 1:
            copy_to = position + len(view)
        place = _Filled(guest, entry & OFFSET_MASK, 1, False)
        self._check_overlap(place.host, mapping.cluster_size)
        await self._store_with_edges(place, copy_from, copy_to, position, view)
        if new_bitmap != bitmap:
            await self._set_extended(position, entry, new_bitmap)
        return len(view)

    async def _write_new_subclusters(
        self, guest: int, copy_from: int, copy_to: int, position: int, view: memoryview, bitmap: int
    ) -> None:
        place = await self._allocate(guest, 1)
        try:
            await self._store_with_edges(place, copy_from, copy_to, position, view)
            await self._set_extended(position, place.host | COPIED, bitmap)
        except BaseException:
            self._give_back(place)
            raise

    async def _set_extended(self, position: int, entry: int, bitmap: int) -> None:
        table = await self.meta.writable(position >> self.mapping.part_shift)
        at = 2 * self.mapping.index(position)
        old = table.entries[at]
        table.entries[at], table.entries[at + 1] = entry, bitmap
        self.meta.touch(table, at, at + 2)
        if old & OFFSET_MASK and (old ^ entry) & ~COPIED:
            self._drop(old)

    # Compressed writing.

    async def write_compressed(self, offset: int, data: Buffer) -> None:
        """Write whole clusters (the last one of the disk may be short) in compressed form.

        :raises OSError: ENOTSUP with an external data file, EINVAL when a cluster is covered in part.
        """
        size = self.mapping.cluster_size
        end = offset + len(data)
        if self._external:
            raise not_supported()
        if offset % size or (end % size and end != self.length):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        view = memoryview(data)
        for at in range(0, len(view), size):
            await self._write_one_compressed(offset + at, view[at : at + size])
        await self.meta.relieve()

    async def _write_one_compressed(self, offset: int, view: memoryview) -> None:
        size = self.mapping.cluster_size
        packed = await self.pool.run(compression.compress, self.header.compression, bytes(view).ljust(size, b"\0"))
        claim = await self.locks.take(offset, offset + size)
        try:
            if len(packed) >= size:
                await self._write_claimed(offset, view)
                return
            await self._write_packed(offset, packed)
        finally:
            self.locks.release(claim)

    async def _write_packed(self, offset: int, packed: bytes) -> None:
        host = await self._allocate_bytes(len(packed))
        entry = self.mapping.compressed_entry(host, len(packed))
        try:
            await self.store.event("write_compressed")
            await self.store.write(host, packed)
            await self.store.reach(-(-(host + len(packed)) // 512) * 512)
            await self._link_compressed(offset, entry)
        except BaseException:
            self._drop(entry)
            raise

    async def _link_compressed(self, offset: int, entry: int) -> None:
        await self.store.event("l2_update_compressed")
        if self.mapping.extended:
            await self._set_extended(offset, entry, 0)
            return
        table = await self.meta.writable(offset >> self.mapping.part_shift)
        index = self.mapping.index(offset)
        old = table.entries[index]
        table.entries[index] = entry
        self.meta.touch(table, index, index + 1)
        if old & ~(COPIED | ZERO):
            self._drop(old)

    async def _allocate_bytes(self, length: int) -> int:
        """Room for compressed bytes; several compressed clusters share a host cluster."""
        refcounts, bits = self.refcounts, self.mapping.cluster_bits
        await self.store.event("cluster_alloc_bytes")
        async with self._packing:
            current = refcounts.packing_cluster
            room = 0
            if current >= 0 and await refcounts.get(current) < refcounts.maximum:
                room = ((current + 1) << bits) - self._packed_end
            if 0 < length <= room and refcounts.packing_cluster == current:
                await refcounts.change(current, 1, 1)
                start = self._packed_end
            else:
                start = await self._begin_packing(current, room)
            self._packed_end = start + length
            last = (start + length - 1) >> bits
            full = self._packed_end & self.mapping.cluster_mask == 0
            refcounts.packing_cluster = -1 if full else last
            return start

    async def _begin_packing(self, current: int, room: int) -> int:
        refcounts = self.refcounts
        cluster, _ = await refcounts.allocate(1)
        if room and cluster == current + 1 and refcounts.packing_cluster == current:
            try:
                await refcounts.change(current, 1, 1)
            except BaseException:
                self._give_back(_Filled(0, cluster << self.mapping.cluster_bits, 1, False, taken=True))
                raise
            return self._packed_end
        return cluster << self.mapping.cluster_bits

    # Zeroes and discard.

    async def zero(self, offset: int, length: int, unmap: bool) -> None:
        """Make a range read as zeroes.

        :raises OSError: ENOTSUP when the format has no way to say so; nothing has been changed then.
        """
        end = offset + length
        if self.header.version < 3 and self.may_be_backed(offset):
            raise not_supported()
        claim = await self.locks.take(*self._aligned(offset, end))
        try:
            if self.header.data_file_raw:
                await self.data.node.pwrite_zeroes(offset, length, may_unmap=unmap)
            await self._zero_claimed(offset, end, unmap)
        finally:
            self.locks.release(claim)
        await self.meta.relieve()

    async def _zero_claimed(self, offset: int, end: int, unmap: bool) -> None:
        size = self.mapping.cluster_size
        first = -(-offset // size) * size
        last = end if end == self.length else end // size * size
        if first >= last:
            await self._zero_part(offset, end)
            return
        if offset < first:
            await self._zero_part(offset, first)
        await self._clear(first, last, unmap)
        if last < end:
            await self._zero_part(last, end)

    async def _zero_part(self, start: int, end: int) -> None:
        """Zero less than a cluster (or two parts of neighbours)."""
        unit = self.mapping.subcluster_size
        while start < end:
            stop = min(end, (start // unit + 1) * unit)
            if not await self._zero_whole(start, stop):
                await self._wipe(start, stop)
            start = stop

    async def _wipe(self, start: int, stop: int) -> bool:
        """Zero what is in (a part of) a (sub)cluster; False if it reads as zeroes already."""
        if await self._old_bytes(start, stop) is None:
            return False
        unit = self.mapping.subcluster_size
        whole = self.mapping.extended and not start % unit and (stop - start == unit or stop == self.length)
        if not (whole and await self._zero_subcluster(start)):
            await self._write_claimed(start, memoryview(bytes(stop - start)))
        return True

    async def wipe(self, start: int, end: int) -> None:
        """Make what is stored in a range within one cluster read as zeroes; nothing is stored where nothing is."""
        unit = self.mapping.subcluster_size
        claim = await self.locks.take(*self._aligned(start, end))
        try:
            while start < end:
                stop = min(end, (start // unit + 1) * unit)
                if (await self.run_at(start, stop)).kind is not Kind.UNALLOCATED:
                    await self._wipe(start, stop)
                start = stop
        finally:
            self.locks.release(claim)

    async def _zero_whole(self, start: int, stop: int) -> bool:
        """Let the (sub)cluster around a range say that it is zero, if nothing is stored in it and all the rest of it
        reads as zeroes.
        """
        unit = self.mapping.subcluster_size
        first = start // unit * unit
        end = min(first + unit, self.length)
        if self.header.version < 3:
            return False
        run = await self.run_at(first, end)
        if run.kind not in (Kind.UNALLOCATED, Kind.ZERO):
            return False
        if run.kind is Kind.UNALLOCATED:
            if not (await self._shows_zeroes(first, start) and await self._shows_zeroes(stop, end)):
                return False
            await self._say_zero(first, first + unit)
        return True

    async def _shows_zeroes(self, start: int, end: int) -> bool:
        """A range is known to read as zeroes, without a look at data."""
        while start < end:
            for extent in await self.map(start, end - start, None):
                if extent.kind is ExtentKind.DATA:
                    return False
                start = extent.end
        return True

    async def _zero_subcluster(self, position: int) -> bool:
        mapping = self.mapping
        table = await self.meta.writable(position >> mapping.part_shift)
        index = mapping.index(position)
        entry, bitmap = mapping.subclusters(table, index, position)
        if entry & COMPRESSED:
            return False
        bit = 1 << ((position & mapping.cluster_mask) // mapping.subcluster_size)
        table.entries[2 * index + 1] = (bitmap | bit << 32) & ~bit
        self.meta.touch(table, 2 * index, 2 * index + 2)
        return True

    async def _clear(self, first: int, end: int, unmap: bool) -> None:
        """Let whole clusters read as zeroes.

        Those that do so because nothing is stored say it from now on: the image may get a backing file later, as one
        that holds an incremental backup does.
        """
        position = first
        while position < end:
            stop = min(end, ((position >> self.mapping.part_shift) + 1) << self.mapping.part_shift)
            index = position >> self.mapping.part_shift
            if self.meta.mapped(index) or self.header.version >= 3:
                table = await self.meta.writable(index)
                if not self._clear_empty(table, position, stop):
                    for place in range(position, stop, self.mapping.cluster_size):
                        self._clear_one(table, place, unmap)
                await self.meta.relieve()
            position = stop

    def _clear_empty(self, table: L2Table, position: int, stop: int) -> bool:
        """Let clusters say that they are zero all at once, if nothing is stored in any of them."""
        first, end = self.mapping.index(position), self.mapping.index(stop - 1) + 1
        if self.mapping.extended or self.header.version < 3 or any(table.entries[first:end]):
            return False
        table.entries[first:end] = array("Q", [ZERO]) * (end - first)
        self.meta.touch(table, first, end)
        return True

    def _clear_one(self, table: L2Table, position: int, unmap: bool) -> None:
        mapping = self.mapping
        step = 2 if mapping.extended else 1
        at = step * mapping.index(position)
        entries = table.entries
        old = entries[at]
        bitmap = entries[at + 1] if mapping.extended else 0
        keep = not unmap and not old & COMPRESSED and self.header.version >= 3
        new = old if keep else 0
        new_bitmap = 0
        if mapping.extended:
            new_bitmap = ALL_ZERO
        elif self.header.version >= 3:
            new |= ZERO
        if new == old and new_bitmap == bitmap:
            return
        entries[at] = new
        if mapping.extended:
            entries[at + 1] = new_bitmap
        self.meta.touch(table, at, at + step)
        if not keep and old & ~(COPIED | ZERO):
            self._drop(old, Freed.REQUEST)

    async def discard(self, offset: int, length: int) -> None:
        """Give back the space of the whole clusters in a range; they read as zeroes afterwards."""
        size = self.mapping.cluster_size
        end = offset + length
        first = -(-offset // size) * size
        last = end if end == self.length else end // size * size
        if first >= last or (self.header.version < 3 and self.may_be_backed(first)):
            return
        claim = await self.locks.take(*self._aligned(first, last))
        try:
            await self._discard_claimed(first, last)
        finally:
            self.locks.release(claim)
        await self.meta.relieve()

    async def _discard_claimed(self, first: int, last: int) -> None:
        mapping = self.mapping
        position = first
        while position < last:
            index = position >> mapping.part_shift
            stop = min(last, (index + 1) << mapping.part_shift)
            if self.meta.mapped(index) or self.backing is not None:
                table = await self.meta.writable(index)
                for place in range(position, stop, mapping.cluster_size):
                    if self.backing is not None or self._has_clusters(table, place):
                        self._clear_one(table, place, True)
                await self.meta.relieve()
            position = stop
        if self._external:
            await self.data.node.pdiscard(first, min(last, self.length) - first)

    def _has_clusters(self, table: L2Table, position: int) -> bool:
        """Something is stored in a cluster, or space is taken for it."""
        mapping = self.mapping
        # For what it says of entries that cannot be.
        mapping.run(table, position, position + 1)
        entry = table.entries[mapping.index(position) * self._words]
        return bool(entry & (COMPRESSED | OFFSET_MASK)) or (self._external and bool(entry & COPIED))

    async def empty(self) -> None:
        """Give back the space of all that is stored; what is below shows everywhere afterwards."""
        mapping = self.mapping
        first, end = self._aligned(0, self.length)
        claim = await self.locks.take(first, end)
        try:
            for index in range(-(-end >> mapping.part_shift) if end else 0):
                if self.meta.mapped(index):
                    self._forget_part(await self.meta.writable(index))
                    await self.meta.relieve()
        finally:
            self.locks.release(claim)

    def _forget_part(self, table: L2Table) -> None:
        step = 2 if self.mapping.extended else 1
        entries = table.entries
        for at in range(0, len(entries), step):
            old = entries[at]
            if not old and not (step == 2 and entries[at + 1]):
                continue
            for word in range(at, at + step):
                entries[word] = 0
            self.meta.touch(table, at, at + step)
            if old & ~(COPIED | ZERO):
                self._drop(old, Freed.REQUEST)

    # Copying by the kernel.

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        """Have the kernel copy pieces of host files into guest addresses."""
        spans: list[tuple[int, int]] = []
        last = 0
        for start, end in sorted(self._aligned(piece.offset, piece.offset + piece.length) for piece in pieces):
            # Two pieces that share a cluster are under one claim.
            if last < end:
                spans.append((max(start, last), end))
                last = end
        claims = self.locks.try_take_all(spans) or []
        try:
            for start, end in spans[len(claims) :]:
                claims.append(await self.locks.take(start, end, has_others=bool(claims)))
            await self._copy_claimed(pieces)
        finally:
            for claim in claims:
                self.locks.release(claim)
        await self.meta.relieve()

    async def _copy_claimed(self, pieces: Sequence[HostPiece]) -> None:
        size = self.mapping.cluster_size
        places: list[_Filled] = []
        plan: list[HostPiece] = []
        edges: list[HostPiece] = []
        try:
            await self._make_tables(pieces)
            if not self._plan_unallocated(pieces, places, plan):
                for piece in pieces:
                    end = piece.offset + piece.length
                    first = -(-piece.offset // size) * size
                    last = end if end == self.length else end // size * size
                    if first >= last:
                        edges.append(piece)
                        continue
                    if piece.offset < first:
                        edges.append(_cut(piece, piece.offset, first))
                    if last < end:
                        edges.append(_cut(piece, last, end))
                    await self._plan_whole(_cut(piece, first, last), places, plan)
            if plan:
                top = max(place.host + place.count * size for place in places) if places else 0
                if not self._external:
                    await self.data.reach(top)
                await self.data.node.copy_from_host(plan)
            await self._clear_beyond_end(places)
            places.reverse()
            while places:
                place = places[-1]
                if not (place.linked or self._link_now(place)):
                    await self._link(place)
                places.pop()
        except BaseException:
            for place in places:
                self._give_back(place)
            raise
        for piece in edges:
            data = await self.pool.run(_read_host, piece.host.fileno(), piece.host_offset, piece.length)
            await self._write_claimed(piece.offset, memoryview(data))

    async def _clear_beyond_end(self, places: Sequence[_Filled]) -> None:
        """Let the part of the last cluster that is not part of the disk read as zeroes, should the disk grow."""
        for place in places:
            beyond = place.guest + place.count * self.mapping.cluster_size - self.length
            if place.taken and not place.new and beyond > 0:
                end = place.host + place.count * self.mapping.cluster_size
                await self.data.write(end - beyond, bytes(beyond))

    async def _make_tables(self, pieces: Sequence[HostPiece]) -> None:
        """Have the tables at hand that tell of the first cluster of each piece."""
        shift = self.mapping.part_shift
        for part in sorted({piece.offset >> shift for piece in pieces}):
            if self.meta.writable_now(part) is None:
                await self.meta.writable(part)

    def _plan_unallocated(self, pieces: Sequence[HostPiece], places: list[_Filled], plan: list[HostPiece]) -> bool:
        """Plan for whole clusters where nothing is stored as yet, if that takes nothing but memory.

        Their places follow one another as the pieces do, so that they can be written in few and large requests.
        """
        wanted = self._count_unallocated(pieces)
        if not wanted:
            return False
        space: list[_Filled] = []
        bits = self.mapping.cluster_bits
        while wanted:
            fresh_from = self.refcounts.fresh_from
            found = self.refcounts.try_allocate(wanted)
            if found is None:
                for place in space:
                    self._give_back(place)
                return False
            space.append(_Filled(0, found[0] << bits, found[1], found[0] >= fresh_from, taken=True))
            wanted -= found[1]
        self._spread(pieces, space, places, plan)
        return True

    def _count_unallocated(self, pieces: Sequence[HostPiece]) -> int:
        """How many clusters the pieces are, if each is some whole ones of one table at hand that has nothing there;
        otherwise 0.
        """
        mapping, length = self.mapping, self.length
        bits, mask, part_mask, part_shift = (
            mapping.cluster_bits,
            mapping.cluster_mask,
            mapping.part_mask,
            mapping.part_shift,
        )
        if not self._plain or self.store.debug is not None:
            return 0
        wanted = 0
        part, table = -1, None
        for piece in pieces:
            offset = piece.offset
            end = offset + piece.length
            if offset >> part_shift != part:
                part = offset >> part_shift
                table = self.meta.writable_now(part)
            if table is None or offset & mask or (end & mask and end != length) or (end - 1) >> part_shift != part:
                return 0
            first = (offset >> bits) & part_mask
            count = (end - 1 >> bits) - (offset >> bits) + 1
            if table.entries[first] if count == 1 else any(table.entries[first : first + count]):
                return 0
            wanted += count
        return wanted

    def _spread(
        self, pieces: Sequence[HostPiece], space: list[_Filled], places: list[_Filled], plan: list[HostPiece]
    ) -> None:
        """Give out the host clusters of `space` to the pieces, in their order."""
        bits = self.mapping.cluster_bits
        runs = iter(space)
        run = next(runs)
        place, left = run.host, run.count
        for host, host_offset, offset, length, *_ in pieces:
            while length:
                if not left:
                    run = next(runs)
                    place, left = run.host, run.count
                count = min((length + self.mapping.cluster_mask) >> bits, left)
                step = min(count << bits, length)
                places.append(_Filled(offset, place, count, run.new, taken=True))
                plan.append(HostPiece(host, host_offset, place, step))
                place, left = place + (count << bits), left - count
                host_offset, offset, length = host_offset + step, offset + step, length - step

    async def _plan_whole(self, piece: HostPiece, places: list[_Filled], plan: list[HostPiece]) -> None:
        mapping = self.mapping
        position, end = piece.offset, piece.offset + piece.length
        while position < end:
            index = position >> mapping.part_shift
            stop = min(end, (index + 1) << mapping.part_shift)
            table = await self.meta.writable(index)
            first = mapping.index(position)
            count = mapping.index(stop - 1) - first + 1
            place = self._place_in_use(table, first, position)
            if place is None:
                wanted = 1
                while wanted < count and not self._has_place(table, first + wanted):
                    wanted += 1
                place = await self._allocate(position, wanted)
            places.append(place)
            stop = min(stop, position + (place.count << mapping.cluster_bits))
            source = piece.host_offset + position - piece.offset
            plan.append(HostPiece(piece.host, source, place.host, stop - position))
            position = stop

    def _has_place(self, table: L2Table, index: int) -> bool:
        """The cluster of an entry has a place in the data file that may be written to."""
        if not self.mapping.extended:
            return self._is_own(table.entries[index])
        entry = table.entries[2 * index]
        return bool(entry & COPIED) and not entry & COMPRESSED and (bool(entry & OFFSET_MASK) or self._external)

    def _place_in_use(self, table: L2Table, index: int, position: int) -> _Filled | None:
        mapping = self.mapping
        if not self._has_place(table, index):
            return None
        linked = True
        entry = table.entries[index]
        if mapping.extended:
            entry, bitmap = mapping.subclusters(table, index, position)
            linked = bitmap == self._whole(position)
        host = entry & OFFSET_MASK
        if host & mapping.cluster_mask:
            raise Corruption(f"The cluster of guest address {position:#x} lies at {host:#x}", host)
        self._check_overlap(host, mapping.cluster_size)
        return _Filled(position, host, 1, False, linked=linked)

    def _whole(self, guest: int) -> int:
        """The subclusters of the cluster at `guest` that lie within the disk, as allocated ones."""
        size = self.mapping.subcluster_size
        count = min(-(-(self.length - guest) // size), SUBCLUSTERS)
        return (1 << count) - 1

    # Taking over what shows through.

    async def populate(self, offset: int, length: int) -> None:
        """Store what the backing file shows in a range, where nothing is stored; whole (sub)clusters.

        Who writes to the same clusters waits, so a write is never undone by older data. Only clusters that are not
        allocated are claimed. A guest who writes to one of them does the work, so nobody can keep this waiting for
        ever.
        """
        unit = self.mapping.subcluster_size
        position, end = offset // unit * unit, min(-(-(offset + length) // unit) * unit, self.length)
        while position < end:
            run = await self.run_at(position, end)
            stop = position + min(run.length, _JOIN_LIMIT)
            if run.kind is Kind.UNALLOCATED and self.backing is not None:
                await self._populate_unallocated(position, stop)
            position = stop
        await self.meta.relieve()

    async def _populate_unallocated(self, position: int, end: int) -> None:
        claim = await self.locks.take(*self._aligned(position, end))
        try:
            while position < end:
                run = await self.run_at(position, end)
                stop = position + run.length
                if run.kind is Kind.UNALLOCATED:
                    await self._populate_run(position, stop)
                position = stop
        finally:
            self.locks.release(claim)

    async def _populate_run(self, position: int, end: int) -> None:
        buffer = memoryview(bytearray(min(end - position, _JOIN_LIMIT)))
        while position < end:
            part = buffer[: min(len(buffer), end - position)]
            await self._read_backing(position, part)
            for start, stop, zero in self._zero_runs(part):
                if zero and self.header.version >= 3:
                    await self._say_zero(position + start, position + stop)
                else:
                    await self._write_claimed(position + start, part[start:stop])
            position += len(part)

    async def _say_zero(self, position: int, end: int) -> None:
        """Let (sub)clusters that are not allocated say that they are zero, also where no backing file reaches."""
        mapping = self.mapping
        while position < end:
            if mapping.extended:
                if not await self._zero_subcluster(position):
                    raise RuntimeError("a compressed cluster is no unallocated one")
            else:
                table = await self.meta.writable(position >> mapping.part_shift)
                index = mapping.index(position)
                table.entries[index] |= ZERO
                self.meta.touch(table, index, index + 1)
            position += mapping.subcluster_size

    def _zero_runs(self, data: memoryview) -> list[tuple[int, int, bool]]:
        """`data`, which begins at a (sub)cluster, in runs of those that are all zero and those that are not."""
        unit = self.mapping.subcluster_size
        runs: list[tuple[int, int, bool]] = []
        for start in range(0, len(data), unit):
            stop = min(start + unit, len(data))
            zero = is_zero(data[start:stop])
            if runs and runs[-1][2] is zero:
                runs[-1] = (runs[-1][0], stop, zero)
            else:
                runs.append((start, stop, zero))
        return runs

    async def preallocate(self, position: int, end: int) -> tuple[int, int]:
        """Map empty clusters from `position` on to fresh space: where in the data file, and how many bytes.

        For a new image only: nothing is written, since the space reads as zeroes.
        """
        mapping = self.mapping
        count = mapping.index(end - 1) - mapping.index(position) + 1
        await self.meta.writable(position >> mapping.part_shift)
        place = await self._allocate(position, 1 if mapping.extended else count)
        length = place.count << mapping.cluster_bits
        if not self._external:
            await self.data.reach(place.host + length)
        if mapping.extended:
            # Mapped, but not yet allocated: a backing file still shows through.
            await self._set_extended(position, place.host | COPIED, 0)
        else:
            await self._link(place)
        await self.meta.relieve()
        return place.host, min(length, end - position)

    # How it is stored.

    async def map(self, offset: int, length: int, host: tuple[HostFile, int] | None) -> list[Extent]:
        """How a range is stored, through all backing files; `depth` tells how far down. May end early.

        :param host: the host file that the data file is, and where in it that begins, if it is plain.
        """
        extents: list[Extent] = []
        position, end = offset, offset + length
        shift, tables, run_in = self.mapping.part_shift, self.meta.tables, self.mapping.run
        while position < end and len(extents) < _MAX_EXTENTS:
            table = tables.get(position >> shift)
            if table is None:
                run = await self.run_at(position, end)
            else:
                run = run_in(table, position, min(end, (position >> shift) + 1 << shift))
            if run.kind is Kind.UNALLOCATED and self._backed(position):
                position += await self._map_backing(position, run.length, extents)
                continue
            kind = _MAP_KINDS[run.kind]
            file, place = None, 0
            if run.kind is Kind.NORMAL and host is not None and run.host + run.length <= self.data.length:
                file, place = host[0], host[1] + run.host
            taken = run.kind in (Kind.NORMAL, Kind.COMPRESSED)
            _append(extents, Extent(position, run.length, kind, file, place, taken))
            position += run.length
        return extents

    async def map_ranges(self, ranges: Sequence[Range], host: tuple[HostFile, int] | None) -> list[Extent]:
        """How several ranges are stored, complete, as `map` tells it.

        Most are within one plain cluster, of which a look at the entry says all.
        """
        extents: list[Extent] = []
        host_of, data = self.host_of, ExtentKind.DATA
        for offset, length in ranges:
            place = host_of(offset, length)
            if place < 0:
                end = offset + length
                while offset < end:
                    extents += await self.map(offset, end - offset, host)
                    offset = extents[-1].end
            elif host is None:
                extents.append(Extent(offset, length, data))
            else:
                extents.append(Extent(offset, length, data, host[0], host[1] + place))
        return extents

    async def _map_backing(self, position: int, length: int, extents: list[Extent]) -> int:
        below = self.backing
        if below is None:
            raise RuntimeError("there is no backing file")
        length = min(length, below.length - position)
        found = await below.map(position, length)
        for extent in found:
            deeper = Extent(
                extent.offset,
                extent.length,
                extent.kind,
                extent.host,
                extent.host_offset,
                extent.allocated,
                extent.depth + 1,
            )
            _append(extents, deeper)
        return found[-1].end - position


def _append(extents: list[Extent], new: Extent) -> None:
    """Add an extent, as a part of the last one if they go together."""
    if extents:
        last = extents[-1]
        if (
            last.kind is new.kind
            and last.host is new.host
            and last.allocated == new.allocated
            and last.depth == new.depth
            and (last.host is None or last.host_offset + last.length == new.host_offset)
        ):
            extents[-1] = Extent(
                last.offset,
                last.length + new.length,
                last.kind,
                last.host,
                last.host_offset,
                last.allocated,
                last.depth,
            )
            return
    extents.append(new)


def _cut(piece: HostPiece, start: int, end: int) -> HostPiece:
    return HostPiece(piece.host, piece.host_offset + start - piece.offset, start, end - start)


def _read_host(fd: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = os.pread(fd, length, offset)
        if not part:
            parts.append(bytes(length))
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)
