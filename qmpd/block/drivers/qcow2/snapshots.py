"""Internal snapshots: the table of them, making one and deleting one.

Making one is split as transactions need it. `prepare` does everything that may fail: it raises the reference counts
of all that the disk uses, takes away the COPIED flags, and writes a copy of the L1 table and a new snapshot table.
`commit` writes the header, which makes all of it real with one write. `abort` undoes what `prepare` did. Both are plain
functions, as transactions want it: the header write does not wait in a queue, and what `abort` has to do on disk is
done in the background. A crash in between leaves counts that are too high, which costs space and nothing else.

Counts and flags lie in many clusters and cannot change at once, so in between they do not agree. The image has the
dirty bit for that time (version 2 has none), and whoever opens it after a crash brings them in order; the header write
of `commit` takes the bit away.

Nobody else may use the image from `prepare` to the end: the node is drained.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import struct
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import MAX_L1_BYTES, Header, Incompatible, padded
from qmpd.block.drivers.qcow2.metadata import COMPRESSED, COPIED, OFFSET_MASK, Freed, L2Table
from qmpd.block.drivers.qcow2.overlap import Structure
from qmpd.block.drivers.qcow2.refcounts import Corruption
from qmpd.block.drivers.qcow2.store import FileStore
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver

_ENTRY = struct.Struct(">QIHHIIQII")
_EXTRA = struct.Struct(">QQQ")
MAX_EXTRA = 1024
MAX_TABLE_BYTES = 64 << 20
_NO_ICOUNT = (1 << 64) - 1
_MAX_NAME = 65535
_LONG_NUMBER = 20
_CHUNK = 1 << 16


@dataclass(slots=True)
class Snapshot:
    """One entry of the snapshot table. Sizes in bytes, `l1_size` in entries, times as in the format.

    :ivar read_size: bytes that it takes in the table that it was read from, which may be by others who say less of it.
    """

    l1_offset: int
    l1_size: int
    identifier: bytes
    name: bytes
    date_sec: int
    date_nsec: int
    vm_clock_nsec: int
    vm_state_size: int
    disk_bytes: int
    icount: int = _NO_ICOUNT
    unknown_extra: bytes = b""
    read_size: int = 0

    def encode(self) -> bytes:
        """The entry as it stands in the table."""
        extra = _EXTRA.pack(self.vm_state_size, self.disk_bytes, self.icount) + self.unknown_extra
        entry = _ENTRY.pack(
            self.l1_offset,
            self.l1_size,
            len(self.identifier),
            len(self.name),
            self.date_sec,
            self.date_nsec,
            self.vm_clock_nsec,
            min(self.vm_state_size, 0xFFFF_FFFF),
            len(extra),
        )
        data = entry + extra + self.identifier + self.name
        return data + bytes(-len(data) % 8)

    @property
    def disk_size(self) -> int:
        """Bytes that the entry takes in the table of the file."""
        return self.read_size or len(self.encode())

    @property
    def outdated(self) -> bool:
        """The entry in the file says less than one of ours."""
        return self.disk_size < len(self.encode())

    def info(self) -> dict[str, object]:
        """`SnapshotInfo`."""
        info: dict[str, object] = {
            "id": self.identifier.decode("utf-8", "replace"),
            "name": self.name.decode("utf-8", "replace"),
            "vm-state-size": self.vm_state_size,
            "date-sec": self.date_sec,
            "date-nsec": self.date_nsec,
            "vm-clock-sec": self.vm_clock_nsec // 10**9,
            "vm-clock-nsec": self.vm_clock_nsec % 10**9,
        }
        if self.icount != _NO_ICOUNT:
            info["icount"] = self.icount
        return info


class _Reader:
    """The snapshot table, read piece by piece: its length is known only at its end."""

    def __init__(self, store: FileStore, offset: int) -> None:
        self._store = store
        self._start = offset
        self._offset = offset
        self._data = b""

    async def take(self, length: int) -> bytes:
        while len(self._data) < length:
            at = self._offset + len(self._data)
            if at >= self._store.length or at - self._start > MAX_TABLE_BYTES:
                raise Corruption("The snapshot table is longer than it can be", self._start)
            self._data += bytes(await self._store.read(at, min(_CHUNK, self._store.length - at)))
        taken, self._data = self._data[:length], self._data[length:]
        self._offset += length
        return taken


async def load(store: FileStore, header: Header) -> list[Snapshot]:
    """The snapshots of an image.

    :raises Corruption: their table cannot be.
    """
    reader = _Reader(store, header.snapshots_offset)
    found = []
    for _ in range(header.snapshot_count):
        fields = _ENTRY.unpack(await reader.take(_ENTRY.size))
        l1_offset, l1_size, id_size, name_size, sec, nsec, clock, vm_state, extra_size = fields
        if extra_size > MAX_EXTRA:
            raise Corruption(f"A snapshot has {extra_size} bytes of extra data; {MAX_EXTRA} is the most")
        extra = await reader.take(extra_size)
        identifier = await reader.take(id_size)
        name = await reader.take(name_size)
        await reader.take(-(_ENTRY.size + extra_size + id_size + name_size) % 8)
        vm_large = int.from_bytes(extra[0:8], "big") if extra_size >= 8 else vm_state
        disk = int.from_bytes(extra[8:16], "big") if extra_size >= 16 else header.size
        icount = int.from_bytes(extra[16:24], "big") if extra_size >= 24 else _NO_ICOUNT
        unknown = extra[_EXTRA.size :]
        snapshot = Snapshot(l1_offset, l1_size, identifier, name, sec, nsec, clock, vm_large, disk, icount, unknown)
        snapshot.read_size = -(-(_ENTRY.size + extra_size + id_size + name_size) // 8) * 8
        found.append(snapshot)
    return found


def check_l1(snapshot: Snapshot, header: Header) -> None:
    """Pass if the L1 table of a snapshot is where it can be; nothing of it is read before it is needed.

    :raises Corruption: it is not.
    """
    if snapshot.l1_size * 8 > MAX_L1_BYTES or snapshot.l1_offset % header.cluster_size:
        name = snapshot.name.decode("utf-8", "replace")
        raise Corruption(f"The L1 table of snapshot '{name}' cannot be", snapshot.l1_offset)


def find(snapshots: Iterable[Snapshot], identifier: str | None, name: str | None) -> Snapshot | None:
    """The snapshot of that id and name, as far as they are given."""
    for snapshot in snapshots:
        if identifier is not None and snapshot.identifier.decode("utf-8", "replace") != identifier:
            continue
        if name is not None and snapshot.name.decode("utf-8", "replace") != name:
            continue
        return snapshot
    return None


def check_can_snapshot(driver: Qcow2Driver) -> None:
    """Pass if the image can have internal snapshots.

    :raises GenericError: it is read-only, or its data is elsewhere.
    """
    name = driver.node.node_name
    if driver.node.read_only:
        raise GenericError(f"Node '{name}' is read-only and takes no internal snapshot")
    if driver.header.has_data_file:
        raise GenericError(f"Node '{name}' has an external data file and takes no internal snapshot")


class SnapshotMaking:
    """One snapshot on its way: `prepare`, then `commit` or `abort`."""

    def __init__(self, driver: Qcow2Driver, name: str) -> None:
        encoded = name.encode("utf-8", "surrogateescape")
        if not name or len(encoded) > _MAX_NAME:
            raise GenericError(f"A snapshot's name has 1 to {_MAX_NAME} bytes, and this one has {len(encoded)}")
        check_can_snapshot(driver)
        if find(driver.snapshots, None, name) is not None:
            raise GenericError(f"Node '{driver.node.node_name}' has a snapshot named '{name}' already")
        if driver.snapshot_under_way:
            raise GenericError(f"Node '{driver.node.node_name}' takes one snapshot at a time")
        try:
            driver.file.driver.write_now(0, b"")
        except OSError as error:
            raise GenericError(
                f"Node '{driver.node.node_name}' takes no internal snapshot: its file has to be one of the page cache"
            ) from error
        self._driver = driver
        self._name = encoded
        self._l1_clusters = (0, 0)
        self._table_clusters = (0, 0)
        self._counted: list[int] = []
        self._snapshot: Snapshot | None = None

    async def prepare(self) -> None:
        """Everything up to the header write.

        :raises OSError: it failed; `abort` has to be called.
        """
        driver = self._driver
        meta, bits = driver.meta, driver.header.cluster_bits
        driver.snapshot_under_way = True
        await driver.flags_refreshed()
        await meta.settle()
        await driver.mark_dirty()
        l1 = array("Q", [entry & ~COPIED for entry in meta.l1])
        count = max(-(-len(l1) * 8 // driver.header.cluster_size), 1)
        first = await driver.refcounts.allocate_exactly(count)
        self._l1_clusters = (first, count)
        for entry in l1:
            if entry & OFFSET_MASK:
                await change_tree(driver, entry & OFFSET_MASK, 1, self._counted)
        await refresh_copied(driver)
        data = packing.word_bytes(l1)
        await driver.store.write(first << bits, data.ljust(count << bits, b"\0"))
        now = time.time_ns()
        self._snapshot = Snapshot(
            first << bits,
            len(l1),
            self._new_id(),
            self._name,
            now // 10**9 & 0xFFFF_FFFF,
            now % 10**9,
            0,
            0,
            driver.header.size,
        )
        self._table_clusters = await write_table(driver, [*driver.snapshots, self._snapshot])
        await meta.write_back(everything=True)
        await driver.store.sync()

    def _new_id(self) -> bytes:
        names = [one.identifier for one in self._driver.snapshots]
        # Others may name theirs as they like; QEMU counts in 64 bits, and Python refuses to read very long numbers.
        numbers = [int(name) for name in names if name.isdigit() and len(name) < _LONG_NUMBER]
        return str(max(numbers, default=0) + 1).encode()

    def commit(self) -> None:
        """The one header write that makes the snapshot real.

        :raises OSError: it failed; then there is no snapshot, and `abort` has to be called.
        """
        if self._snapshot is None:
            raise RuntimeError("the snapshot was not prepared")
        driver, header = self._driver, self._driver.header
        bits = header.cluster_bits
        before = header.snapshots_offset, header.snapshot_count, header.incompatible
        first, count = self._table_clusters
        header.snapshots_offset, header.snapshot_count = first << bits, len(driver.snapshots) + 1
        if not driver.meta.lazy:
            header.incompatible &= ~int(Incompatible.DIRTY)
        try:
            driver.file.driver.write_now(0, padded(header))
        except OSError:
            header.snapshots_offset, header.snapshot_count, header.incompatible = before
            self._put_header_back()
            raise
        meta = driver.meta
        if before[1]:
            old = sum(one.disk_size for one in driver.snapshots)
            meta.free_later(before[0] >> bits, -(-old // header.cluster_size), Freed.SNAPSHOT)
        driver.snapshots = _as_written([*driver.snapshots, self._snapshot])
        driver.snapshot_under_way = False
        driver.node.changed()
        meta.forbidden.protect(Structure.SNAPSHOT_TABLE, range(first, first + count))
        first, count = self._l1_clusters
        meta.forbidden.protect(Structure.INACTIVE_L1, range(first, first + count))
        tables = {(entry & OFFSET_MASK) >> bits for entry in meta.l1 if entry & OFFSET_MASK}
        meta.forbidden.protect(Structure.INACTIVE_L2, tables)

    def _put_header_back(self) -> None:
        """As `Qcow2Driver.put_header_back`, for who cannot wait."""
        try:
            self._driver.file.driver.write_now(0, padded(self._driver.header))
        except OSError:
            self._driver.node.read_only = True
            self._driver.node.changed()

    def abort(self) -> None:
        """Undo `prepare`, or what it came to do, as soon as can be."""
        driver = self._driver
        driver.snapshot_under_way = False
        unused, self._counted = self._counted, []
        for first, count in (self._l1_clusters, self._table_clusters):
            unused += range(first, first + count)
        driver.refresh_flags_soon(unused)


def reason(error: OSError) -> str:
    """Why a step failed, in the words of whoever raised it (counts that are too narrow have their own)."""
    return error.strerror or os_error_text(error)


async def make(driver: Qcow2Driver, name: str) -> None:
    """Make a snapshot in one go.

    :raises GenericError: it cannot be made; everything is as before.
    """
    making = SnapshotMaking(driver, name)
    try:
        await making.prepare()
        making.commit()
    except BaseException as error:
        making.abort()
        if isinstance(error, OSError):
            raise GenericError(f"Node '{driver.node.node_name}' takes no snapshot: {reason(error)}") from error
        raise


async def delete(driver: Qcow2Driver, snapshot: Snapshot) -> None:
    """Delete a snapshot: the header write first, then what nothing refers to any more is given back.

    Whoever is cancelled meanwhile learns of that when it is over: half of it would cost the other half's space.
    """
    check_can_snapshot(driver)
    check_l1(snapshot, driver.header)
    deleting = asyncio.ensure_future(_delete(driver, snapshot))
    cancelled = False
    while not deleting.done():
        try:
            await asyncio.shield(deleting)
        except asyncio.CancelledError:
            cancelled = True
        except Exception:
            break
    deleting.result()
    if cancelled:
        raise asyncio.CancelledError


async def _delete(driver: Qcow2Driver, snapshot: Snapshot) -> None:
    await driver.flags_refreshed()
    await driver.meta.settle()
    rest = [one for one in driver.snapshots if one is not snapshot]
    first, count = await write_table(driver, rest)
    try:
        await driver.meta.write_back(everything=True)
        await driver.store.sync()
        await driver.mark_dirty()
    except BaseException:
        driver.meta.free_later(first, count, Freed.OTHER)
        raise
    try:
        await switch_table(driver, rest, (first, count))
        await _give_back_tree(driver, snapshot)
        await refresh_copied(driver)
        await driver.meta.settle()
        await driver.unmark_dirty()
    except BaseException:
        # Some space leaks, but flags that contradict the counts are more than that.
        driver.refresh_flags_soon()
        raise


async def _give_back_tree(driver: Qcow2Driver, snapshot: Snapshot) -> None:
    """Lower the counts of all that a snapshot refers to."""
    size = snapshot.l1_size * 8
    for entry in packing.words(await driver.store.read(snapshot.l1_offset, size)):
        if entry & OFFSET_MASK:
            await change_tree(driver, entry & OFFSET_MASK, -1, None)
    bits = driver.header.cluster_bits
    await driver.meta.release(
        snapshot.l1_offset >> bits, max(-(-size // driver.header.cluster_size), 1), Freed.SNAPSHOT
    )


async def write_table(driver: Qcow2Driver, snapshots: list[Snapshot]) -> tuple[int, int]:
    """Write a new snapshot table; gives its clusters (first, count)."""
    data = b"".join(snapshot.encode() for snapshot in snapshots)
    if len(data) > MAX_TABLE_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if not data:
        return 0, 0
    count = -(-len(data) // driver.header.cluster_size)
    first = await driver.refcounts.allocate_exactly(count)
    try:
        await driver.store.write(first << driver.header.cluster_bits, data)
    except BaseException:
        driver.meta.free_later(first, count, Freed.OTHER)
        raise
    return first, count


async def switch_table(driver: Qcow2Driver, snapshots: list[Snapshot], place: tuple[int, int]) -> None:
    """Let the header point to a table that has been written; give the old one back."""
    header, bits = driver.header, driver.header.cluster_bits
    before = header.snapshots_offset, header.snapshot_count
    old_size = sum(one.disk_size for one in driver.snapshots)
    header.snapshots_offset, header.snapshot_count = place[0] << bits, len(snapshots)
    try:
        await driver.write_header()
        await driver.store.sync()
    except BaseException:
        header.snapshots_offset, header.snapshot_count = before
        if await driver.put_header_back():
            driver.meta.free_later(*place, Freed.OTHER)
        raise
    driver.snapshots = _as_written(snapshots)
    driver.node.changed()
    driver.meta.forbidden.protect(Structure.SNAPSHOT_TABLE, range(place[0], place[0] + place[1]))
    if before[1]:
        await driver.meta.release(before[0] >> bits, -(-old_size // header.cluster_size), Freed.SNAPSHOT)


async def rewrite(driver: Qcow2Driver) -> None:
    """Write the snapshot table anew, with entries that say all that version 3 of the format wants.

    :raises OSError: it failed; the table is as before.
    """
    place = await write_table(driver, driver.snapshots)
    try:
        await driver.meta.write_back(everything=True)
        await driver.store.sync()
    except BaseException:
        driver.meta.free_later(*place, Freed.OTHER)
        raise
    await switch_table(driver, driver.snapshots, place)
    await driver.meta.settle()


def _as_written(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Snapshots whose table is one of ours."""
    return [dataclasses.replace(one, read_size=0) for one in snapshots]


async def change_tree(driver: Qcow2Driver, table_offset: int, delta: int, done: list[int] | None) -> None:
    """Change the counts of an L2 table and of all that it refers to. The file must be up to date.

    :param done: where to note each cluster that was changed.
    """
    header, mapping = driver.header, driver.path.mapping
    if table_offset % header.cluster_size:
        raise Corruption(f"An L2 table lies at {table_offset:#x}, not at the start of a cluster", table_offset)
    words = packing.words(await driver.store.read(table_offset, header.cluster_size))
    for entry in words[::2] if header.extended_l2 else words:
        if not entry:
            continue
        first, count = mapping.host_clusters(entry)
        for cluster in range(first, first + count):
            await _change(driver, cluster, delta, done)
    await _change(driver, table_offset >> header.cluster_bits, delta, done)
    await asyncio.sleep(0)


async def _change(driver: Qcow2Driver, cluster: int, delta: int, done: list[int] | None) -> None:
    if delta < 0:
        await driver.meta.release(cluster, 1, Freed.SNAPSHOT)
    else:
        await driver.refcounts.change(cluster, 1, delta)
    if done is not None:
        done.append(cluster)


async def refresh_copied(driver: Qcow2Driver) -> None:
    """Set or clear the COPIED flags of the active tables by the reference counts."""
    meta, bits = driver.meta, driver.header.cluster_bits
    for entry in range(len(meta.l1)):
        offset = meta.l1[entry] & OFFSET_MASK
        if not offset:
            continue
        for index in meta.parts_of(entry):
            table = await meta.table(index)
            if table is not None:
                await _refresh_part(driver, table)
        wanted = offset | COPIED if await driver.refcounts.get(offset >> bits) == 1 else offset
        # A guest may have had the table copied meanwhile.
        if wanted != meta.l1[entry] and meta.l1[entry] & OFFSET_MASK == offset:
            meta.l1[entry] = wanted
            meta.dirty_l1.add(entry)
        await meta.relieve()


async def _refresh_part(driver: Qcow2Driver, table: L2Table) -> None:
    meta, refcounts, bits = driver.meta, driver.refcounts, driver.header.cluster_bits
    step, external = 2 if driver.header.extended_l2 else 1, driver.header.has_data_file
    # It must not be dropped, and come back as another object, between the look at a count and the change.
    table.writing += 1
    try:
        for at in range(0, len(table.entries), step):
            entry = table.entries[at]
            if not entry or not (entry & COMPRESSED or entry & OFFSET_MASK):
                continue
            own = not entry & COMPRESSED and (external or await refcounts.get((entry & OFFSET_MASK) >> bits) == 1)
            wanted = entry | COPIED if own else entry & ~COPIED
            # A guest may have changed the entry meanwhile.
            if wanted != entry and table.entries[at] == entry:
                table.entries[at] = wanted
                meta.touch(table, at, at + 1)
    finally:
        table.writing -= 1
