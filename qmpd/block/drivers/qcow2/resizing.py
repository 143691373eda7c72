"""Making a qcow2 disk longer or shorter. The node is drained: nobody else changes the image meanwhile.

The header's size is written last: what a crash leaves is the old disk, of which the part to be cut off may already
read as zeroes.
"""

from __future__ import annotations

import errno
import os
from array import array
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import MAX_L1_BYTES
from qmpd.block.drivers.qcow2.metadata import OFFSET_MASK, Freed
from qmpd.block.drivers.qcow2.overlap import Structure

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver

SECTOR = 512
_ZEROES = 1 << 20


def _fail(code: int) -> OSError:
    return OSError(code, os.strerror(code))


async def resize(driver: Qcow2Driver, length: int) -> None:
    """Give the disk another length in bytes.

    :raises OSError: EINVAL for no multiple of 512, ENOTSUP for a version 2 image with snapshots, EFBIG.
    """
    header = driver.header
    if length % SECTOR:
        raise _fail(errno.EINVAL)
    if header.version < 3 and driver.snapshots:
        raise _fail(errno.ENOTSUP)
    if header.l1_entries_for(length) * 8 > MAX_L1_BYTES:
        raise _fail(errno.EFBIG)
    if length < header.size:
        await _shrink(driver, length)
    elif length > header.size:
        await _grow(driver, length)
    await driver.meta.write_back()
    await driver.store.sync()
    before, header.size = header.size, length
    try:
        await driver.write_header()
        await driver.store.sync()
    except BaseException:
        header.size = driver.path.length = before
        await driver.put_header_back()
        raise


async def _shrink(driver: Qcow2Driver, length: int) -> None:
    meta, mapping = driver.meta, driver.path.mapping
    first = -(-length // mapping.cluster_size) * mapping.cluster_size
    if length < first:
        # QEMU, should it make the disk longer again, shows what is left in the last cluster.
        await driver.path.wipe(length, min(first, driver.header.size))
    await driver.store.event("l1_shrink_free_l2_clusters")
    keep = first >> mapping.part_shift
    for entry in range(keep >> meta.part_bits, len(meta.l1)):
        if not meta.l1[entry] & OFFSET_MASK:
            continue
        parts = meta.parts_of(entry)
        for index in range(max(keep, parts.start), parts.stop):
            start = mapping.index(first) if index == keep else 0
            await _clear_part(driver, index, start)
        if parts.start << mapping.part_shift >= first:
            meta.drop_table(entry)
        await meta.relieve()
    await driver.store.event("l1_shrink_write_table")
    if driver.header.has_data_file:
        await driver.path.data.node.truncate(length)


async def _clear_part(driver: Qcow2Driver, index: int, start: int) -> None:
    """Unmap what a part of an L2 table says from its entry `start` on."""
    meta, mapping = driver.meta, driver.path.mapping
    step = 2 if mapping.extended else 1
    table = await meta.writable(index)
    for at in range(start * step, len(table.entries), step):
        clusters = mapping.host_clusters(table.entries[at])
        if clusters[1]:
            meta.free_later(*clusters, Freed.ALWAYS)
    table.entries[start * step :] = array("Q", bytes(8 * (len(table.entries) - start * step)))
    meta.touch(table, start * step, len(table.entries))


async def _grow(driver: Qcow2Driver, length: int) -> None:
    header, path = driver.header, driver.path
    old = header.size
    if header.has_data_file:
        await path.data.node.truncate(length)
    if header.l1_entries_for(length) > header.l1_size:
        await _move_l1(driver, header.l1_entries_for(length))
    end = -(-old // header.cluster_size) * header.cluster_size
    if path.backing is not None:
        # What the backing file holds beyond the old end was never part of this disk.
        end = max(end, path.backing.length)
    end = min(end, length)
    path.length = length
    try:
        if header.data_file_raw:
            await _map_raw_data(driver, old)
        elif end > old:
            await _zero_new_part(driver, old, end)
    except BaseException:
        path.length = old
        raise


async def _map_raw_data(driver: Qcow2Driver, old: int) -> None:
    """Let the disk show what its data file has beyond the old end: that file can be used by itself."""
    path, cluster_size = driver.path, driver.header.cluster_size
    position = -(-old // cluster_size) * cluster_size
    while position < path.length:
        part_end = ((position >> path.mapping.part_shift) + 1) << path.mapping.part_shift
        _, length = await path.preallocate(position, min(path.length, part_end))
        position += length


async def _zero_new_part(driver: Qcow2Driver, start: int, end: int) -> None:
    path = driver.path
    if path.backing is None or path.backing.length <= start:
        # Less than a cluster.
        await path.wipe(start, end)
        return
    if driver.header.version >= 3:
        await path.zero(start, end - start, False)
        return
    zeroes = bytes(min(_ZEROES, end - start))
    while start < end:
        step = min(len(zeroes), end - start)
        await path.write(start, zeroes[:step])
        start += step


async def _move_l1(driver: Qcow2Driver, entries: int) -> None:
    header, meta, bits = driver.header, driver.meta, driver.header.cluster_bits
    count = -(-entries * 8 // header.cluster_size)
    old = header.l1_offset, header.l1_size
    await meta.write_back()
    await driver.store.event("l1_grow_alloc_table")
    first = await driver.refcounts.allocate_exactly(count)
    table = meta.l1[:]
    table.extend([0] * (entries - len(table)))
    try:
        await driver.store.event("l1_grow_write_table")
        await driver.store.write(first << bits, packing.word_bytes(table).ljust(count << bits, b"\0"))
        await meta.write_back(everything=True)
        await driver.store.sync()
    except BaseException:
        meta.free_later(first, count, Freed.OTHER)
        raise
    header.l1_offset, header.l1_size = first << bits, entries
    try:
        await driver.store.event("l1_grow_activate_table")
        await driver.write_header()
        await driver.store.sync()
    except BaseException:
        header.l1_offset, header.l1_size = old
        if await driver.put_header_back():
            meta.free_later(first, count, Freed.OTHER)
        raise
    meta.l1 = table
    meta.forbidden.protect(Structure.ACTIVE_L1, range(first, first + count))
    old_clusters = -(-old[1] * 8 // header.cluster_size)
    await meta.release(old[0] >> bits, old_clusters, Freed.OTHER)
