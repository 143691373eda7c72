"""Clusters that only a flag makes zero, made into what version 2 of the format knows: nothing, or stored zeroes.

The node is drained. Zeroes are stored where a backing file shows, or may show later because the image was opened
without the one that its header names. The disk comes first: its tables that a snapshot shares are copied for that, so
that no table of a snapshot with such clusters is shared with it afterwards. Each table of a snapshot is then changed
where it lies, since all that share it mean the same.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import packing, snapshots
from qmpd.block.drivers.qcow2.mapping import Kind
from qmpd.block.drivers.qcow2.metadata import OFFSET_MASK, ZERO, Freed
from qmpd.block.drivers.qcow2.refcounts import Corruption

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver


async def expand_zeroes(driver: Qcow2Driver) -> None:
    """Leave no cluster with the flag, in the disk and in its snapshots.

    :raises OSError: it failed; the image shows the same as before.
    :raises Corruption: it has tables that cannot be.
    """
    await _expand_disk(driver)
    await driver.meta.settle()
    seen: set[int] = set()
    for snapshot in driver.snapshots:
        snapshots.check_l1(snapshot, driver.header)
        l1 = packing.words(await driver.store.read(snapshot.l1_offset, snapshot.l1_size * 8))
        for index, entry in enumerate(l1):
            offset = entry & OFFSET_MASK
            if offset and offset not in seen:
                seen.add(offset)
                await _expand_table(driver, offset, index << (driver.header.cluster_bits + driver.header.l2_bits))
    if seen:
        await snapshots.refresh_copied(driver)
    await driver.meta.settle()


def _is_to_be_stored(driver: Qcow2Driver, position: int) -> bool:
    """A cluster of a disk would show something else if it were not stored."""
    return position < driver.path.length and driver.path.may_be_backed(position)


async def _expand_disk(driver: Qcow2Driver) -> None:
    path, meta = driver.path, driver.meta
    size = path.mapping.cluster_size
    for index in range(len(meta.l1) << meta.part_bits):
        if not meta.mapped(index):
            continue
        table = await meta.writable(index)
        for at in range(len(table.entries)):
            position = (index << path.mapping.part_shift) + at * size
            if path.mapping.kind_of(table.entries[at]) is not Kind.ZERO:
                continue
            if _is_to_be_stored(driver, position):
                await path.write(position, bytes(min(size, path.length - position)))
            else:
                clusters = path.mapping.host_clusters(table.entries[at] & ~ZERO)
                table.entries[at] = 0
                meta.touch(table, at, at + 1)
                if clusters[1]:
                    meta.free_later(*clusters)
            table = await meta.writable(index)
        await meta.relieve()


async def _expand_table(driver: Qcow2Driver, offset: int, start: int) -> None:
    """Expand an L2 table of snapshots, which tells of the guest addresses from `start` on."""
    mapping, size = driver.path.mapping, driver.header.cluster_size
    if offset % size:
        raise Corruption(f"An L2 table lies at {offset:#x}, not at the start of a cluster", offset)
    entries = packing.words(await driver.store.read(offset, size))
    zero = [at for at, entry in enumerate(entries) if mapping.kind_of(entry) is Kind.ZERO]
    if not zero:
        return
    users = await driver.refcounts.get(offset // size)
    old = [mapping.host_clusters(entries[at] & ~ZERO)[0] for at in zero]
    await _store_zeroes(driver, entries, [at for at in zero if _is_to_be_stored(driver, start + at * size)], users)
    for at in zero:
        if entries[at] & ZERO:
            entries[at] = 0
    # What the table refers to is counted before it does.
    await driver.meta.write_back(everything=True)
    await driver.store.sync()
    await driver.store.write(offset, packing.word_bytes(entries))
    await driver.store.sync()
    for cluster in filter(None, old):
        for _ in range(users):
            await driver.meta.release(cluster, 1, Freed.SNAPSHOT)


async def _store_zeroes(driver: Qcow2Driver, entries: array[int], places: list[int], users: int) -> None:
    """Let entries of a table with so many users point to new clusters of zeroes."""
    size = driver.header.cluster_size
    taken: list[int] = []
    try:
        for at in places:
            cluster = await driver.refcounts.allocate_exactly(1)
            taken.append(cluster)
            await driver.refcounts.change(cluster, 1, users - 1)
            await driver.store.write(cluster * size, bytes(size))
            entries[at] = cluster * size
    except BaseException:
        for cluster in taken:
            for _ in range(await driver.refcounts.get(cluster)):
                driver.meta.free_later(cluster, 1, Freed.OTHER)
        raise
