"""L1 tables and parts of L2 tables in memory, and the order in which all metadata reaches the disk.

Changes happen in memory, in plain code between two awaits; `write_back` brings them to the file in this order:

1. blocks of reference counts, then the refcount table entries that point to new ones;
2. a barrier, which also covers all data written so far;
3. L2 tables;
4. a barrier, and then L1 entries that point to new L2 tables;
5. a barrier, and only then the clusters that nothing refers to any more are given back.

What tables get in one round is copied at its beginning, all in one turn of the event loop: an entry that is made
while the round is under way belongs to the next round, because its reference count may not have been in step 1.

A cluster given back may be used again at once. Requests that began to read before the mapping changed may still
read it; they are counted in epochs, and clusters are held back until the epochs that may know them have no readers.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from enum import IntEnum

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import Header
from qmpd.block.drivers.qcow2.overlap import Protected, Structure
from qmpd.block.drivers.qcow2.refcounts import Corruption, Refcounts
from qmpd.block.drivers.qcow2.store import FileStore

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00


class L2Table:
    """A part of an L2 table in memory: `index` counts the parts of all tables of the disk.

    `low` and `high` bound the words not yet written.
    """

    __slots__ = ("entries", "high", "index", "low", "offset", "used", "writing")

    def __init__(self, index: int, offset: int, entries: array[int]) -> None:
        self.index = index
        self.offset = offset
        self.entries = entries
        self.low = len(entries)
        self.high = 0
        self.used = True
        self.writing = 0


class Epoch:
    """Readers that began in the same stretch of time."""

    __slots__ = ("readers",)

    def __init__(self) -> None:
        self.readers = 0


class Freed(IntEnum):
    """Why clusters are no longer used; whether the host is told depends on it."""

    REWRITTEN = 0
    """They were copied before a write; most likely the next write takes them again."""
    REQUEST = 1
    """The guest discarded them, or had them read as zeroes and given back."""
    SNAPSHOT = 2
    """A snapshot was deleted."""
    OTHER = 3
    """A structure of the image has moved or gone."""
    ALWAYS = 4
    """The disk has become shorter, or a stored bitmap was removed."""


Span = tuple[int, int, Freed]

_CapturedTable = tuple[L2Table, int, int, bytes]
"""A table, where its changed words belong in the file, the first of them, and their bytes."""


class Metadata:
    """The mapping of one image.

    :param forbidden: host clusters that hold structures; kept up to date here.
    :param part_bytes: how much of an L2 table is read, kept and dropped together.
    :param sync_data: makes guest data stable when it lies in another file.
    :ivar part_bytes: bytes of a part of an L2 table.
    :ivar part_bits: the binary logarithm of the number of parts of an L2 table.
    :ivar discard: tells the host that bytes (offset, length) are no longer used. It must not raise.
    :ivar discarded: for what reasons the host is told.
    :ivar before_lazy: called before tables are written without their reference counts.
    :ivar lazy: reference counts are written when the image is closed only (its dirty bit is set meanwhile).
    """

    def __init__(
        self,
        store: FileStore,
        header: Header,
        l1: array[int],
        refcounts: Refcounts,
        forbidden: Protected,
        cache_bytes: int,
        part_bytes: int,
        sync_data: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._header = header
        self.l1 = l1
        self.refcounts = refcounts
        self.forbidden = forbidden
        self.tables: dict[int, L2Table] = {}
        self.dirty_tables: set[L2Table] = set()
        self.dirty_l1: set[int] = set()
        self.lazy = False
        self.before_lazy: Callable[[], Awaitable[None]] | None = None
        self.discard: Callable[[int, int], Awaitable[None]] | None = None
        self.discarded = {Freed.ALWAYS}
        self.epoch = Epoch()
        self._sync_data = sync_data
        self._old_epochs: list[Epoch] = []
        self._frees: list[Span] = []
        self._ready: list[tuple[list[Epoch], list[Span]]] = []
        self._cluster_bits = header.cluster_bits
        self.part_bytes = self.part_bits = self._part_mask = 0
        self.set_cache(cache_bytes, part_bytes)
        self._loading: dict[int, asyncio.Future[None]] = {}
        self._making = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._distrusted: set[int] = set()
        self._shared_tables = self._duplicates()

    def _duplicates(self) -> set[int]:
        """L2 tables that two L1 entries claim for themselves."""
        seen: set[int] = set()
        twice: set[int] = set()
        for entry in self.l1:
            offset = entry & OFFSET_MASK
            if offset:
                (twice if offset in seen else seen).add(offset)
        return twice

    def set_cache(self, cache_bytes: int, part_bytes: int) -> bool:
        """How much memory L2 tables may take, and in what parts. True if the parts are others than before.

        Those in memory are dropped then; as long as one is not written the parts stay as they are.
        """
        changed = part_bytes != self.part_bytes and not self.dirty_tables
        if changed:
            self.tables.clear()
            self.part_bytes = part_bytes
            self.part_bits = (self._header.cluster_size // part_bytes).bit_length() - 1
            self._part_mask = (1 << self.part_bits) - 1
        self._cache_limit = max(cache_bytes // self.part_bytes, 2)
        self._dirty_limit = max(self._cache_limit // 2, 1)
        return changed

    def distrust(self, clusters: set[int]) -> None:
        """Refuse to change L2 tables in these host clusters: they are something else as well."""
        self._distrusted = clusters
        self._shared_tables |= {cluster << self._cluster_bits for cluster in clusters}

    # L2 tables.

    def _check_table_offset(self, index: int, offset: int) -> None:
        if offset & (self._header.cluster_size - 1):
            raise Corruption(f"L2 table {index} lies at {offset:#x}, not at the start of a cluster", offset)
        if offset >= self._store.length:
            raise Corruption(f"L2 table {index} lies at {offset:#x}, beyond the end of the file", offset)

    async def table(self, index: int) -> L2Table | None:
        """The part `index` of all L2 tables; None when nothing is mapped there.

        :raises Corruption: the entry points to where no table can be.
        """
        while True:
            table = self.tables.get(index)
            if table is not None:
                table.used = True
                return table
            offset = self.l1[index >> self.part_bits] & OFFSET_MASK
            if offset == 0:
                return None
            under_way = self._loading.get(index)
            if under_way is None:
                return await self._load(index, offset)
            await asyncio.shield(under_way)

    async def _load(self, index: int, offset: int) -> L2Table | None:
        self._check_table_offset(index >> self.part_bits, offset)
        offset += (index & self._part_mask) * self.part_bytes
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading[index] = done
        try:
            await self._store.event("l2_load")
            data = await self._store.read(offset, self.part_bytes)
            newer = self.tables.get(index)
            if newer is not None:
                # Somebody copied the table while this one was being read.
                return newer
            table = L2Table(index, offset, packing.words(data))
            self._drop_clean()
            self.tables[index] = table
            return table
        finally:
            del self._loading[index]
            done.set_result(None)

    def _drop_clean(self) -> None:
        if len(self.tables) < self._cache_limit:
            return
        # Some at once: a walk over all of them for each one that comes would cost more than what it saves.
        wanted = self._cache_limit - max(self._cache_limit // 16, 1)
        for _ in range(2):
            for index, table in list(self.tables.items()):
                if table.high > table.low or table.writing:
                    continue
                if table.used:
                    table.used = False
                    continue
                del self.tables[index]
                if len(self.tables) <= wanted:
                    return

    def drop_unused(self) -> None:
        """Drop the tables that have not been used since the last call."""
        for index, table in list(self.tables.items()):
            if not table.used and table.high <= table.low and not table.writing:
                del self.tables[index]
            table.used = False

    def forget_tables(self) -> None:
        """Drop all L2 tables from memory; nothing may be unwritten."""
        self.tables.clear()
        self._shared_tables = self._duplicates() | {at << self._cluster_bits for at in self._distrusted}

    def mapped(self, index: int) -> bool:
        """There is an L2 table for the part `index`."""
        return bool(self.l1[index >> self.part_bits] & OFFSET_MASK)

    def parts_of(self, entry: int) -> range:
        """The parts of the table of an L1 entry."""
        return range(entry << self.part_bits, (entry + 1) << self.part_bits)

    def writable_now(self, index: int) -> L2Table | None:
        """The part `index` if it is in memory and of a table that is this image's own."""
        table = self.tables.get(index)
        if table is None:
            return None
        entry = self.l1[index >> self.part_bits]
        if not entry & COPIED or (self._shared_tables and entry & OFFSET_MASK in self._shared_tables):
            return None
        table.used = True
        return table

    async def writable(self, index: int) -> L2Table:
        """The part `index`, its table made or copied if need be, so that it can be changed."""
        entry = index >> self.part_bits
        while True:
            table = self.writable_now(index)
            if table is not None:
                return table
            if self._is_own(entry) and await self.table(index) is not None:
                if self.l1[entry] & OFFSET_MASK in self._shared_tables:
                    offset = self.l1[entry] & OFFSET_MASK
                    raise Corruption(f"The L2 table at {offset:#x} is used for something else as well", offset)
                continue
            if len(self.dirty_tables) >= self._dirty_limit:
                await self.write_back()
            async with self._making:
                if not self._is_own(entry):
                    await (self._copy(entry) if self.l1[entry] & OFFSET_MASK else self._make(entry, index))

    def _is_own(self, entry: int) -> bool:
        value = self.l1[entry]
        return bool(value & COPIED and value & OFFSET_MASK)

    async def _make(self, entry: int, index: int) -> None:
        """An empty table for an L1 entry, of which the part `index` is about to be changed."""
        fresh_from = self.refcounts.fresh_from
        cluster, _ = await self.refcounts.allocate(1)
        offset = cluster << self._cluster_bits
        if self.part_bits:
            await self._clear_new(cluster, fresh_from)
        table = L2Table(index, offset + (index & self._part_mask) * self.part_bytes, array("Q", bytes(self.part_bytes)))
        self._drop_clean()
        self.tables[index] = table
        self.touch(table, 0, len(table.entries))
        self._switch_table(entry, cluster)

    async def _clear_new(self, cluster: int, fresh_from: int) -> None:
        """Let a new table read as zeroes: parts of it that nobody touches are not written with it."""
        size = self._header.cluster_size
        try:
            await self._store.reach((cluster + 1) * size)
            if cluster < fresh_from:
                await self._store.write(cluster * size, bytes(size))
        except BaseException:
            self.free_later(cluster, 1)
            raise

    async def _copy(self, entry: int) -> None:
        """A table of this image's own, like the one that the L1 entry shares with a snapshot."""
        await self._store.event("l2_alloc_cow_read")
        parts: list[L2Table] = []
        try:
            for index in self.parts_of(entry):
                part = await self.table(index)
                if part is None:
                    raise RuntimeError("a table that is mapped has vanished")
                # It stays until it is written: nobody else makes or copies tables meanwhile.
                part.writing += 1
                parts.append(part)
            cluster, _ = await self.refcounts.allocate(1)
            self.free_later((self.l1[entry] & OFFSET_MASK) >> self._cluster_bits, 1, Freed.OTHER)
            for number, part in enumerate(parts):
                part.offset = (cluster << self._cluster_bits) + number * self.part_bytes
                self.touch(part, 0, len(part.entries))
        finally:
            for part in parts:
                part.writing -= 1
        self._switch_table(entry, cluster)

    def _switch_table(self, entry: int, cluster: int) -> None:
        self.l1[entry] = cluster << self._cluster_bits | COPIED
        self.dirty_l1.add(entry)
        self.forbidden.protect(Structure.ACTIVE_L2, (cluster,))

    def drop_table(self, entry: int) -> None:
        """Unmap all that an L1 entry covers; what its table refers to has been given to `free_later`."""
        self.forget_table(entry)
        self.free_later((self.l1[entry] & OFFSET_MASK) >> self._cluster_bits, 1, Freed.ALWAYS)
        self.l1[entry] = 0
        self.dirty_l1.add(entry)

    def forget_table(self, entry: int) -> None:
        """Drop the parts of a table from memory, written or not."""
        for index in self.parts_of(entry):
            table = self.tables.pop(index, None)
            if table is not None:
                self.dirty_tables.discard(table)

    def touch(self, table: L2Table, first: int, end: int) -> None:
        """Words first to end of `table` have changed."""
        if first < table.low:
            table.low = first
        if end > table.high:
            table.high = end
        self.dirty_tables.add(table)

    def free_later(self, first: int, count: int, reason: Freed = Freed.REWRITTEN) -> None:
        """Host clusters that a change in memory has made unused; one count each is to be given back."""
        frees = self._frees
        if not count:
            return
        if frees and frees[-1][0] + frees[-1][1] == first and frees[-1][2] is reason:
            frees[-1] = (frees[-1][0], frees[-1][1] + count, reason)
        else:
            frees.append((first, count, reason))

    @property
    def crowded(self) -> bool:
        """More tables wait to be written than the caches should hold."""
        return len(self.dirty_tables) > self._dirty_limit or self.refcounts.crowded

    async def relieve(self) -> None:
        """Write back if more tables wait for it than the caches should hold."""
        if self.crowded:
            await self.write_back()

    # Writing back.

    @property
    def dirty(self) -> bool:
        """A flush has something to write, or to wait for: what a round has taken along counts until it is written."""
        changed = self.dirty_tables or self.dirty_l1 or self._frees or self._ready
        return bool(changed) or self._writing.locked() or (not self.lazy and self.refcounts.dirty)

    async def write_back(self, everything: bool = False) -> None:
        """Bring all changes made so far to the file, in an order that a crash cannot hurt.

        :param everything: reference counts too when they are lazy.
        """
        async with self._writing:
            await self._write_round(everything or not self.lazy)
            await self._give_back_ready()

    def _capture_tables(self) -> list[_CapturedTable]:
        captured = []
        for table in self.dirty_tables:
            low, high = table.low, table.high
            # Whole blocks of 512 bytes, so that a torn write does not tear an entry.
            low, high = low & ~63, min((high + 63) & ~63, len(table.entries))
            captured.append((table, table.offset, low, packing.word_bytes(table.entries[low:high])))
            table.low, table.high = len(table.entries), 0
            table.writing += 1
        self.dirty_tables.clear()
        return captured

    async def _write_round(self, with_counts: bool) -> None:
        tables = left = self._capture_tables()
        l1 = [(index, self.l1[index]) for index in sorted(self.dirty_l1)]
        self.dirty_l1.clear()
        frees, self._frees = self._frees, []
        if frees:
            self._old_epochs.append(self.epoch)
            self.epoch = Epoch()
        epochs = list(self._old_epochs)
        try:
            if with_counts:
                await self.refcounts.write()
            elif self.before_lazy is not None:
                await self.before_lazy()
            if tables or l1:
                await self._barrier()
            failed, reason = await self._write_tables(tables, {index for index, _ in l1})
            behind = {table.index >> self.part_bits for table, _, _, _ in failed}
            ready = [entry for entry in l1 if entry[0] not in behind]
            if ready:
                if tables:
                    await self._store.sync()
                await self.write_l1_entries(ready)
            if reason is not None:
                left = failed
                raise reason
            if frees:
                await self._store.sync()
        except BaseException:
            for table, _, low, data in left:
                if self.tables.get(table.index) is table:
                    self.touch(table, low, low + len(data) // 8)
            self.dirty_l1.update(index for index, _ in l1)
            self._frees = frees + self._frees
            raise
        finally:
            for table, _, _, _ in tables:
                table.writing -= 1
        if frees:
            self._ready.append((epochs, frees))

    async def _write_tables(
        self, tables: list[_CapturedTable], new: set[int]
    ) -> tuple[list[_CapturedTable], OSError | None]:
        """Write tables; on a full disk those that have their place already are written all the same.

        :param new: L1 entries whose tables nothing on disk points to as yet.
        :returns: those that could not be written, and why.
        """
        failed: list[_CapturedTable] = []
        reason: OSError | None = None
        for captured in tables:
            table, offset, low, data = captured
            try:
                await self._store.event("l2_alloc_write" if table.index >> self.part_bits in new else "l2_update")
                await self._store.write(offset + low * 8, data)
            except OSError as error:
                failed.append(captured)
                reason = reason or error
        return failed, reason

    async def _barrier(self) -> None:
        await self._sync_data()
        await self._store.sync()

    async def write_l1_entries(self, entries: list[tuple[int, int]]) -> None:
        """Write L1 entries (index, value) to where the header says that the table is."""
        at = 0
        while at < len(entries):
            end = at + 1
            while end < len(entries) and entries[end][0] == entries[end - 1][0] + 1:
                end += 1
            data = packing.word_bytes(array("Q", [value for _, value in entries[at:end]]))
            await self._store.event("l1_update")
            await self._store.write(self._header.l1_offset + entries[at][0] * 8, data)
            at = end

    async def _give_back_ready(self) -> None:
        self._old_epochs = [epoch for epoch in self._old_epochs if epoch.readers]
        while self._ready and not any(epoch.readers for epoch in self._ready[0][0]):
            frees = self._ready[0][1]
            while frees:
                await self._give_back(frees)
            self._ready.pop(0)

    async def _give_back(self, frees: list[Span]) -> None:
        """Give back the last span; whoever is cancelled meanwhile leaves what is not done to the next."""
        first, count, reason = frees[-1]
        await self._store.event("cluster_free")
        await self._tell_host(first, count, reason)
        while count:
            await self._lower(first)
            first, count = first + 1, count - 1
            frees[-1] = (first, count, reason)
        frees.pop()

    async def release(self, first: int, count: int, reason: Freed = Freed.REWRITTEN) -> None:
        """Lower the counts of clusters that nothing on disk refers to any more, one each."""
        await self._store.event("cluster_free")
        await self._tell_host(first, count, reason)
        for cluster in range(first, first + count):
            await self._lower(cluster)

    async def _lower(self, cluster: int) -> None:
        await self.refcounts.change(cluster, 1, -1)
        if cluster in self.forbidden and await self.refcounts.get(cluster) == 0:
            self.forbidden.discard(cluster)

    async def _tell_host(self, first: int, count: int, reason: Freed) -> None:
        """Tell of clusters with one user only. Before their counts fall: from then on they may be used again."""
        if self.discard is None or reason not in self.discarded:
            return
        start, end = first, first + count
        for cluster in range(first, end + 1):
            if cluster == end or await self.refcounts.get(cluster) != 1:
                if start < cluster:
                    await self.discard(start << self._cluster_bits, (cluster - start) << self._cluster_bits)
                start = cluster + 1

    async def settle(self) -> None:
        """Write everything and give back all that can be; nobody may be reading."""
        while self.dirty or self.refcounts.dirty:
            await self.write_back(everything=True)
