"""Is an image consistent, and can it be made so?

All structures are walked from the header, and every host cluster that something refers to is counted. What the
refcount blocks say is held against that: too high a count is a leak (space is lost), too low a one a corruption
(space may be used twice). Repair writes the right counts, in place or, when the refcount structures themselves are
damaged, as a new set of them after all else; the switch is one header write.

The node is drained, or not yet open to anybody.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import MAX_REFCOUNT_TABLE_BYTES, Incompatible
from qmpd.block.drivers.qcow2.mapping import ALL_ALLOCATED, ALL_ZERO
from qmpd.block.drivers.qcow2.metadata import COMPRESSED, COPIED, OFFSET_MASK, ZERO
from qmpd.block.drivers.qcow2.refcounts import TABLE_OFFSET_MASK, Corruption
from qmpd.block.drivers.qcow2.snapshots import check_l1
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver

_CHUNK_BITS = 16
_MAX_NOTES = 1000
_L1_RESERVED = 0x7F00_0000_0000_01FF
_L2_RESERVED = 0x3F00_0000_0000_01FE


class Repair(StrEnum):
    """What to repair."""

    NOTHING = "nothing"
    LEAKS = "leaks"
    ALL = "all"


@dataclass(slots=True)
class Report:
    """What a check has found. `notes` are for people, the first ones only."""

    leaks: int = 0
    corruptions: int = 0
    leaks_fixed: int = 0
    corruptions_fixed: int = 0
    check_errors: int = 0
    image_end: int = 0
    notes: list[str] = field(default_factory=list)
    broken_refcounts: bool = False

    def note(self, text: str) -> None:
        """Keep a finding for people."""
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(text)

    def corrupt(self, text: str) -> None:
        """Count a corruption."""
        self.corruptions += 1
        self.note(text)


class References:
    """How often each host cluster is referred to; memory grows with the clusters that are."""

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self._chunks: dict[int, array[int]] = {}

    def add(self, cluster: int) -> None:
        """Count one reference."""
        chunk = self._chunks.get(cluster >> _CHUNK_BITS)
        if chunk is None:
            chunk = self._chunks[cluster >> _CHUNK_BITS] = array("I", bytes(4 << _CHUNK_BITS))
        chunk[cluster & (1 << _CHUNK_BITS) - 1] += 1

    def get(self, cluster: int) -> int:
        """How often the cluster is referred to."""
        chunk = self._chunks.get(cluster >> _CHUNK_BITS)
        return 0 if chunk is None else chunk[cluster & (1 << _CHUNK_BITS) - 1]

    def remove(self, cluster: int) -> None:
        """Count one reference less, of those that were counted."""
        self._chunks[cluster >> _CHUNK_BITS][cluster & (1 << _CHUNK_BITS) - 1] -= 1

    def used(self) -> list[int]:
        """All clusters that are referred to, ascending."""
        found = []
        for number in sorted(self._chunks):
            base = number << _CHUNK_BITS
            found += [base + at for at, count in enumerate(self._chunks[number]) if count]
        return found


class Checker:
    """One check of one image."""

    def __init__(self, driver: Qcow2Driver) -> None:
        self._driver = driver
        self._header = driver.header
        self._bits = driver.header.cluster_bits
        self.report = Report()
        self.references = References(-(-driver.store.length // driver.header.cluster_size))

    # Counting.

    async def count(self, *, fix: bool) -> None:
        """Count all references.

        :param fix: take out entries that point to where nothing can be.
        """
        header = self._header
        self._add(0, header.cluster_size, "the header")
        self._add(header.l1_offset, header.l1_size * 8, "the L1 table")
        await self._count_tree(self._driver.meta.l1, fix=fix)
        for snapshot in self._driver.snapshots:
            try:
                check_l1(snapshot, header)
            except Corruption as corruption:
                self.report.corrupt(str(corruption))
                continue
            self._add(snapshot.l1_offset, snapshot.l1_size * 8, "the L1 table of a snapshot")
            words = packing.words(await self._driver.store.read(snapshot.l1_offset, snapshot.l1_size * 8))
            await self._count_tree(words, fix=False)
        if header.snapshot_count:
            size = sum(snapshot.disk_size for snapshot in self._driver.snapshots)
            self._add(header.snapshots_offset, size, "the snapshot table")
        await self._count_bitmaps()
        self._count_refcounts()

    def _add(self, offset: int, length: int, what: str) -> bool:
        if length <= 0:
            return True
        first, last = offset >> self._bits, (offset + length - 1) >> self._bits
        if last >= self.references.clusters:
            self.report.corrupt(f"{what} at {offset:#x} reaches beyond the end of the file")
            return False
        for cluster in range(first, last + 1):
            self.references.add(cluster)
        return True

    async def _count_tree(self, l1: array[int], *, fix: bool) -> None:
        for index, entry in enumerate(l1):
            right = await self._count_l1_entry(index, entry, fix=fix)
            if fix and right != entry:
                l1[index] = right
                self._driver.meta.dirty_l1.add(index)
                if not right:
                    self._driver.meta.forget_table(index)
                self.report.corruptions_fixed += 1

    async def _count_l1_entry(self, index: int, entry: int, *, fix: bool) -> int:
        """Count an L2 table and what it refers to; gives the L1 entry as it should be."""
        offset = entry & OFFSET_MASK
        if offset % self._header.cluster_size:
            self.report.corrupt(f"L2 table {index} at {offset:#x} is not at the start of a cluster")
            return 0
        if offset and not self._add(offset, self._header.cluster_size, f"L2 table {index}"):
            return 0
        if offset:
            await self._count_table(index, offset, fix=fix)
        if entry & _L1_RESERVED:
            self.report.corrupt(f"L1 entry {index} uses reserved bits: {entry:#x}")
        return entry & ~_L1_RESERVED

    async def _count_table(self, index: int, offset: int, *, fix: bool) -> None:
        words = packing.words(await self._driver.store.read(offset, self._header.cluster_size))
        step = 2 if self._header.extended_l2 else 1
        for at in range(0, len(words), step):
            said = words[at : at + step]
            if not any(said):
                continue
            right = self._right_entry(said)
            if right == said:
                continue
            if fix:
                table = await self._driver.meta.table(index)
                if table is not None and table.offset == offset:
                    table.entries[at : at + step] = right
                    self._driver.meta.touch(table, at, at + step)
                    self.report.corruptions_fixed += 1

    def _right_entry(self, said: array[int]) -> array[int]:
        """Count what an L2 entry refers to; gives the entry as it should be: zero, if it cannot be at all.

        What is lost then must not let old data of a backing file show. Version 2 cannot say so.
        """
        right, entry = said[:], said[0]
        if not self._count_entry(entry):
            if len(said) == 2:
                return array("Q", (0, ALL_ZERO))
            return array("Q", (ZERO if self._header.version >= 3 else 0,))
        if not entry & COMPRESSED:
            right[0] &= ~_L2_RESERVED
        if len(said) == 2:
            right[1] = self._right_subclusters(entry, said[1])
        if right != said:
            self.report.corrupt(f"An L2 entry uses reserved bits, or its subclusters cannot be: {said.tolist()}")
        return right

    def _right_subclusters(self, entry: int, bitmap: int) -> int:
        """The states of the subclusters of a cluster; those said to be zero are, whatever else is said of them."""
        if entry & COMPRESSED:
            return 0
        stored = entry & OFFSET_MASK or self._header.has_data_file
        return bitmap & ~(bitmap >> 32 if stored else ALL_ALLOCATED)

    def _count_entry(self, entry: int) -> bool:
        """Count what an L2 entry refers to; False if that cannot be."""
        mapping = self._driver.path.mapping
        if entry & COMPRESSED:
            if self._header.has_data_file:
                self.report.corrupt("There is a compressed cluster in an image with an external data file")
                return False
            first, count = mapping.host_clusters(entry)
            return self._add(first << self._bits, count << self._bits, "a compressed cluster")
        offset = entry & OFFSET_MASK
        if offset % self._header.cluster_size:
            self.report.corrupt(f"A data cluster at {offset:#x} is not at the start of a cluster")
            return False
        if not offset or mapping.data_file:
            return True
        return self._add(offset, self._header.cluster_size, "a data cluster")

    async def _count_bitmaps(self) -> None:
        if self._driver.checking:
            try:
                await self._driver.bitmaps.load()
            except Corruption as corruption:
                self.report.corrupt(str(corruption))
        try:
            for offset, length in await self._driver.bitmaps.places():
                self._add(offset, length, "a stored bitmap")
        except Corruption as corruption:
            self.report.corrupt(str(corruption))

    def _count_refcounts(self) -> None:
        header = self._header
        table_bytes = header.refcount_table_clusters << self._bits
        if not self._add(header.refcount_table_offset, table_bytes, "the refcount table"):
            self.report.broken_refcounts = True
        for index, entry in enumerate(self._driver.refcounts.table):
            offset = entry & TABLE_OFFSET_MASK
            if entry != offset:
                self.report.corrupt(f"Entry {index} of the refcount table uses reserved bits: {entry:#x}")
                self.report.broken_refcounts = True
            if not offset:
                continue
            if offset % header.cluster_size:
                self.report.corrupt(f"Refcount block {index} at {offset:#x} is not at the start of a cluster")
                self.report.broken_refcounts = True
            elif not self._add(offset, header.cluster_size, f"refcount block {index}"):
                self.report.broken_refcounts = True
            elif self.references.get(offset >> self._bits) > 1:
                self.report.corrupt(f"Refcount block {index} at {offset:#x} is used for something else as well")
                self.report.broken_refcounts = True

    # Comparing.

    async def compare(self) -> list[tuple[int, int, int]]:
        """Clusters whose count is wrong: (cluster, what is said, what is right)."""
        refcounts = self._driver.refcounts
        wrong = []
        top = 0
        seen = set()
        for index in range(len(refcounts.table)):
            counts = await self._counts_of(index)
            if counts is None:
                continue
            base = index << refcounts.block_bits
            for at, count in enumerate(counts):
                # What is said of places beyond the end of the file takes no space and does no harm.
                if not count or base + at >= self.references.clusters:
                    continue
                top = max(top, base + at + 1)
                seen.add(base + at)
                right = self.references.get(base + at)
                if count != right:
                    wrong.append((base + at, count, right))
        for cluster in self.references.used():
            top = max(top, cluster + 1)
            if cluster not in seen:
                wrong.append((cluster, 0, self.references.get(cluster)))
        self.report.image_end = top << self._bits
        return wrong

    async def _counts_of(self, index: int) -> array[int] | None:
        try:
            block = await self._driver.refcounts.block(index)
        except Corruption:
            return None
        return None if block is None else block.counts

    def judge(self, wrong: list[tuple[int, int, int]]) -> None:
        """Count leaks and corruptions."""
        for cluster, count, right in wrong:
            if count > right:
                self.report.leaks += 1
                self.report.note(f"Leaked cluster {cluster}: refcount {count}, references {right}")
            else:
                self.report.corrupt(f"Cluster {cluster}: refcount {count}, references {right}")

    async def check_copied(self, *, fix: bool) -> None:
        """Hold the COPIED flags of the active tables against the counts."""
        from qmpd.block.drivers.qcow2 import snapshots

        meta, refcounts = self._driver.meta, self._driver.refcounts
        step = 2 if self._header.extended_l2 else 1
        found = 0
        for entry in meta.l1:
            offset = entry & OFFSET_MASK
            if not offset or offset % self._header.cluster_size or offset >= self._driver.store.length:
                continue
            found += bool(entry & COPIED) != (await refcounts.get(offset >> self._bits) == 1)
            words = packing.words(await self._driver.store.read(offset, self._header.cluster_size))
            for word in words[::step]:
                place = word & OFFSET_MASK
                found += word & (COMPRESSED | COPIED) == COMPRESSED | COPIED
                if place and not word & COMPRESSED:
                    own = self._header.has_data_file or await refcounts.get(place >> self._bits) == 1
                    found += bool(word & COPIED) != own
        if found:
            self.report.corruptions += found
            self.report.note(f"{found} entries have a wrong COPIED flag")
        if found and fix:
            await snapshots.refresh_copied(self._driver)
            self.report.corruptions_fixed += found


async def check(driver: Qcow2Driver, repair: Repair = Repair.NOTHING) -> Report:
    """Check the image, and repair what was asked for.

    :raises OSError: reading or writing failed.
    """
    fix_all = repair is Repair.ALL
    checker = Checker(driver)
    await checker.count(fix=fix_all)
    wrong = await checker.compare()
    checker.judge(wrong)
    report = checker.report
    if repair is not Repair.NOTHING:
        await _repair_counts(driver, checker, wrong, fix_all=fix_all)
    if report.broken_refcounts and not fix_all:
        return report
    await checker.check_copied(fix=fix_all)
    if repair is not Repair.NOTHING:
        await driver.meta.settle()
        if fix_all:
            await _clear_marks(driver)
    return report


async def _repair_counts(
    driver: Qcow2Driver, checker: Checker, wrong: list[tuple[int, int, int]], *, fix_all: bool
) -> None:
    report = checker.report
    if report.broken_refcounts and not fix_all:
        report.note("Leaks are left alone: the counts themselves may lie on something else")
        return
    missing = any(
        right > count and not driver.refcounts.block_offset(cluster >> driver.refcounts.block_bits)
        for cluster, count, right in wrong
        if not report.broken_refcounts
    )
    too_high = any(right > driver.refcounts.maximum for _, _, right in wrong)
    if fix_all and too_high:
        report.check_errors += 1
        report.note("Some clusters are used more often than the reference counts of this image can say")
        return
    if fix_all and (report.broken_refcounts or missing):
        await rebuild(driver, checker.references, driver.header.refcount_order)
        report.leaks_fixed, report.corruptions_fixed = report.leaks, report.corruptions
        return
    for cluster, count, right in wrong:
        if count > right:
            await driver.refcounts.change(cluster, 1, right - count)
            report.leaks_fixed += 1
        elif fix_all:
            await driver.refcounts.change(cluster, 1, right - count)
            report.corruptions_fixed += 1


async def _clear_marks(driver: Qcow2Driver) -> None:
    marks = Incompatible.DIRTY | Incompatible.CORRUPT
    if driver.header.incompatible & marks:
        await driver.store.sync()
        driver.header.incompatible &= ~int(marks)
        await driver.write_header()
        await driver.store.sync()


async def repair_dirty(driver: Qcow2Driver) -> None:
    """Bring an image in order that was not closed properly with lazy reference counts.

    :raises Corruption: it is damaged beyond that.
    """
    report = await check(driver, Repair.ALL)
    if report.check_errors or report.corruptions > report.corruptions_fixed:
        raise Corruption("it was not closed properly and cannot be repaired")


async def change_width(driver: Qcow2Driver, order: int) -> None:
    """Give the image reference counts of 2^order bits.

    :raises GenericError: a count does not fit.
    """
    refcounts, bits = driver.refcounts, driver.header.cluster_bits
    references = References(0)
    largest = (1 << (1 << order)) - 1
    own = {(entry & TABLE_OFFSET_MASK) >> bits for entry in refcounts.table if entry & TABLE_OFFSET_MASK}
    first = driver.header.refcount_table_offset >> bits
    own.update(range(first, first + driver.header.refcount_table_clusters))
    for index in range(len(refcounts.table)):
        block = await refcounts.block(index)
        if block is None:
            continue
        base = index << refcounts.block_bits
        for at, count in enumerate(block.counts):
            if count > largest:
                raise GenericError(
                    f"A cluster has {count} users, too many for 'refcount-bits' of {1 << order}; "
                    "delete snapshots, or choose a larger width"
                )
            if base + at not in own:
                for _ in range(count):
                    references.add(base + at)
    await rebuild(driver, references, order, count_own=False)


async def rebuild(driver: Qcow2Driver, references: References, order: int, *, count_own: bool = True) -> None:
    """Write new refcount structures after all else, and switch to them.

    :param count_own: `references` counts the old structures, which are to be forgotten.
    """
    header, store = driver.header, driver.store
    bits, cluster = header.cluster_bits, header.cluster_size
    if count_own:
        _forget_structures(driver, references)
    used = references.used()
    block_bits = bits + 3 - order
    first = max(-(-store.length // cluster), driver.refcounts.fresh_from, used[-1] + 1 if used else 0)
    indexes = {at >> block_bits for at in used}
    table_clusters = 1
    while True:
        end = first + table_clusters + len(indexes)
        wanted = indexes | set(range(first >> block_bits, ((end - 1) >> block_bits) + 1))
        needed = -(-(max(wanted) + 1) * 8 // cluster)
        if wanted == indexes and needed <= table_clusters:
            break
        indexes, table_clusters = wanted, max(needed, table_clusters)
    if table_clusters * cluster > MAX_REFCOUNT_TABLE_BYTES:
        raise GenericError("The image is too large for reference counts of this width")
    for at in range(first, first + table_clusters + len(indexes)):
        references.add(at)
    table = array("Q", bytes(table_clusters * cluster))
    for number, index in enumerate(sorted(indexes)):
        counts = packing.no_counts(1 << block_bits, order)
        base = index << block_bits
        for at in range(len(counts)):
            counts[at] = references.get(base + at)
        place = (first + table_clusters + number) << bits
        table[index] = place
        await store.write(place, packing.count_bytes(counts, order))
    await store.write(first << bits, packing.word_bytes(table))
    await store.sync()
    before = header.refcount_table_offset, header.refcount_table_clusters, header.refcount_order
    header.refcount_table_offset, header.refcount_table_clusters = first << bits, table_clusters
    header.refcount_order = order
    try:
        await driver.write_header()
        await store.sync()
    except BaseException:
        header.refcount_table_offset, header.refcount_table_clusters, header.refcount_order = before
        await driver.put_header_back()
        raise
    old = range(before[0] >> bits, (before[0] >> bits) + before[1])
    driver.adopt_refcounts(table, first + table_clusters + len(indexes), old)


def _forget_structures(driver: Qcow2Driver, references: References) -> None:
    """Count the old refcount structures no more; those that reach beyond the end of the file were not."""
    header, bits = driver.header, driver.header.cluster_bits
    first = header.refcount_table_offset >> bits
    places = [range(first, first + header.refcount_table_clusters)]
    for entry in driver.refcounts.table:
        offset = entry & TABLE_OFFSET_MASK
        if offset and not offset % header.cluster_size:
            places.append(range(offset >> bits, (offset >> bits) + 1))
    for place in places:
        if place.stop <= references.clusters:
            for cluster in place:
                references.remove(cluster)
