"""Dirty bitmaps stored in the image: the bitmaps extension, its directory, tables and data.

While the image is open for writing, every entry of the directory carries the flag `in use`: what is stored is not
true any more, what is in memory is. On closing, all of it is written anew beside the old, the header is switched,
and the old is given back. After a crash the flags still stand, so the bitmaps appear as inconsistent. Bitmaps that
were inconsistent, or have extra data that must not be lost, keep their entry as it is until they are removed.
"""

from __future__ import annotations

import dataclasses
import struct
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from bitarray import bitarray

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.drivers.qcow2 import overlap, packing
from qmpd.block.drivers.qcow2.header import EXT_BITMAPS, Autoclear
from qmpd.block.drivers.qcow2.metadata import Freed
from qmpd.block.drivers.qcow2.overlap import Structure
from qmpd.block.drivers.qcow2.refcounts import Corruption

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver

_EXTENSION = struct.Struct(">IIQQ")
_ENTRY = struct.Struct(">QIIBBHI")
_DIRTY_TRACKING = 1
MAX_BITMAPS = 65535
MAX_DIRECTORY = 64 << 20
MAX_BYTES = 512 << 20
_MIN_GRANULARITY_BITS, _MAX_GRANULARITY_BITS = 9, 31
_MAX_NAME = 1023
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_ALL_ONES = 1
_MAX_LOOKED_AT = 1 << 20


class Flag(IntFlag):
    """What an entry of the directory says of its bitmap."""

    IN_USE = 1
    AUTO = 2
    EXTRA_COMPATIBLE = 4


# A number, not flags: the inverse of flags is only the other flags that have names.
_KNOWN_FLAGS = int(Flag.IN_USE | Flag.AUTO | Flag.EXTRA_COMPATIBLE)


@dataclass(slots=True)
class Entry:
    """One entry of the directory. `table_size` in table entries."""

    table_offset: int
    table_size: int
    flags: int
    kind: int
    granularity_bits: int
    name: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The entry as it stands in the directory."""
        head = _ENTRY.pack(
            self.table_offset,
            self.table_size,
            self.flags,
            self.kind,
            self.granularity_bits,
            len(self.name),
            len(self.extra),
        )
        data = head + self.extra + self.name
        return data + bytes(-len(data) % 8)

    @property
    def known(self) -> bool:
        """It says nothing that the format does not know."""
        return self.kind == _DIRTY_TRACKING and not self.flags & ~_KNOWN_FLAGS

    @property
    def usable(self) -> bool:
        """It can be loaded, and changed."""
        return self._understood and not self.flags & Flag.IN_USE

    @property
    def was_in_use(self) -> bool:
        """It could be loaded, had the image been closed well."""
        return self._understood and bool(self.flags & Flag.IN_USE)

    @property
    def _understood(self) -> bool:
        return self.known and (not self.extra or bool(self.flags & Flag.EXTRA_COMPATIBLE))

    @property
    def text(self) -> str:
        """The name as clients see it. In the image it may be no UTF-8, and stays as it is."""
        return self.name.decode("utf-8", "replace")

    def info(self) -> dict[str, object]:
        """`Qcow2BitmapInfo`."""
        names = {Flag.IN_USE: "in-use", Flag.AUTO: "auto"}
        return {
            "name": self.text,
            "granularity": 1 << self.granularity_bits,
            "flags": [name for flag, name in names.items() if self.flags & flag],
        }


class StoredBitmaps:
    """The bitmaps of one image, as far as they are stored in it."""

    def __init__(self, driver: Qcow2Driver) -> None:
        self._driver = driver
        self.directory: list[Entry] = []
        self._offset = 0
        self._size = 0
        self._old = (0, 0)
        self._torn = False
        self._taken: list[tuple[int, int]] = []

    # Loading.

    async def load(self) -> None:
        """Read all bitmaps of the directory into the node.

        :raises Corruption: they cannot be.
        """
        for entry in self.directory:
            await self._load_one(entry)
        node = self._driver.node
        if node.graph.bitmap_keeper is not None:
            in_use = {entry.text for entry in self.directory if entry.was_in_use}
            await node.graph.bitmap_keeper.recover(node, in_use)

    async def read_directory(self) -> None:
        """Read the directory.

        :raises Corruption: they cannot be.
        """
        driver = self._driver
        data = driver.header.extension(EXT_BITMAPS)
        if data is None:
            return
        if not driver.header.autoclear & Autoclear.BITMAPS:
            # Somebody who does not know bitmaps has changed the image: they say nothing any more.
            driver.header.set_extension(EXT_BITMAPS, None)
            return
        if len(data) != _EXTENSION.size:
            raise Corruption(f"The bitmaps extension has {len(data)} bytes; it has to have {_EXTENSION.size}")
        count, reserved, size, offset = _EXTENSION.unpack(data)
        if reserved:
            raise Corruption("The bitmaps extension uses a field that has to be zero")
        if offset % driver.header.cluster_size or not offset or offset + size > driver.store.length:
            raise Corruption("The bitmap directory lies where it cannot be", offset)
        if not 0 < count <= MAX_BITMAPS or not 0 < size <= MAX_DIRECTORY:
            raise Corruption(f"The bitmap directory is said to have {count} entries in {size} bytes", offset)
        self._offset, self._size = offset, size
        where = overlap.clusters(driver.header, offset, size)
        self._torn = driver.meta.forbidden.meets(where.start, where.stop)
        self.directory = _parse(bytes(await driver.store.read(offset, size)), count)

    def _protect(self, offset: int, size: int) -> None:
        """Let nobody write over a part of what is stored."""
        self._driver.meta.forbidden.protect(
            Structure.BITMAP_DIRECTORY, overlap.clusters(self._driver.header, offset, size)
        )

    async def protect(self) -> None:
        """Let nobody write over tables and bits of what is stored now.

        :raises OSError: they cannot be read.
        """
        self._protect(self._offset, self._size)
        bits = self._driver.header.cluster_bits
        looked_at = 0
        for entry in self.directory:
            looked_at += entry.table_size
            if looked_at > _MAX_LOOKED_AT:
                return
            self._protect(entry.table_offset, entry.table_size * 8)
            try:
                table = await self._table(entry)
            except Corruption:
                # Nobody has looked at it so far: the bitmap is inconsistent.
                continue
            data = {(value & _OFFSET) >> bits for value in table if value & _OFFSET}
            self._driver.meta.forbidden.protect(Structure.BITMAP_DIRECTORY, data)

    async def _load_one(self, entry: Entry) -> None:
        node, header = self._driver.node, self._driver.header
        name = entry.text
        if not _MIN_GRANULARITY_BITS <= entry.granularity_bits <= _MAX_GRANULARITY_BITS:
            raise Corruption(f"Bitmap '{name}' has a granularity of 2^{entry.granularity_bits}")
        misplaced = not entry.table_size or not entry.table_offset or entry.table_offset % header.cluster_size
        if misplaced or not 0 < len(entry.name) <= _MAX_NAME or b"\0" in entry.name or not entry.known:
            raise Corruption(f"The directory entry of bitmap '{name}' cannot be")
        if node.bitmaps.find(name) is not None:
            raise Corruption(f"There are two bitmaps named '{name}'")
        granularity = 1 << entry.granularity_bits
        usable = entry.usable
        bitmap = DirtyBitmap(name, header.size, granularity, persistent=True, disabled=True)
        if usable:
            bitmap.merge_bits(await self._bits(entry, name), granularity)
            if entry.flags & Flag.AUTO:
                bitmap.enable()
        else:
            bitmap.inconsistent = True
        bitmap.read_only = node.read_only
        node.bitmaps.add(bitmap)

    async def _bits(self, entry: Entry, name: str) -> bitarray:
        header, store = self._driver.header, self._driver.store
        size = -(-header.size // (1 << entry.granularity_bits))
        length = -(-size // 8)
        if length > MAX_BYTES or entry.table_size != -(-length // header.cluster_size):
            raise Corruption(f"Bitmap '{name}' does not have the size that its granularity asks for")
        table = await self._table(entry)
        data = bytearray()
        for value in table:
            offset = value & _OFFSET
            if offset % header.cluster_size or offset >= max(store.length, 1):
                raise Corruption(f"A part of bitmap '{name}' lies at {offset:#x}, where it cannot be", offset)
            if offset:
                data += await store.read(offset, header.cluster_size)
            else:
                data += (b"\xff" if value & _ALL_ONES else b"\0") * header.cluster_size
        bits = bitarray(endian="little")
        bits.frombytes(bytes(data[:length]))
        return bits[:size]

    async def _table(self, entry: Entry) -> array[int]:
        store = self._driver.store
        if entry.table_size * 8 > MAX_BYTES or entry.table_offset >= store.length + 1:
            raise Corruption("A bitmap table lies beyond the end of the file", entry.table_offset)
        return packing.words(await store.read(entry.table_offset, entry.table_size * 8))

    async def mark_in_use(self) -> None:
        """Say in the image that what is stored is not true any more; before the first write to it."""
        if all(entry.flags & Flag.IN_USE for entry in self.directory):
            return
        if self._torn:
            raise Corruption("The bitmap directory overlaps another structure of the image", self._offset)
        marked = [
            dataclasses.replace(entry, flags=entry.flags | Flag.IN_USE) if entry.usable else entry
            for entry in self.directory
        ]
        await self._driver.store.write(self._offset, b"".join(entry.encode() for entry in marked))
        await self._driver.store.sync()
        # Not before: who fails here has to do it the next time.
        self.directory = marked

    # Storing.

    async def store(self) -> None:
        """Write all persistent bitmaps of the node, and drop those that are not there any more.

        :raises OSError: it failed, and what is stored is as before.
        """
        driver = self._driver
        wanted = [one for one in driver.node.bitmaps if one.persistent and one.name is not None and not one.hidden]
        if not driver.header.size:
            # A disk without bytes has nothing to remember, and QEMU does not open an image with a table of no entries.
            wanted = [one for one in wanted if one.inconsistent]
        if not wanted and not self.directory:
            return
        old = {entry.text: entry for entry in self.directory}
        # As QEMU does: those that are there keep their places, new ones follow, the newest first.
        places = {entry.text: place for place, entry in enumerate(self.directory)}
        wanted.sort(key=lambda bitmap: places.get(bitmap.name or "", len(places)))
        fresh: list[Entry] = []
        dropped = dict(old)
        async with self._taking():
            for bitmap in wanted:
                name = bitmap.name or ""
                if bitmap.inconsistent:
                    if name in old:
                        fresh.append(old[name])
                        del dropped[name]
                    continue
                fresh.append(await self._store_one(bitmap, name, old.get(name)))
            await self._replace_directory(fresh, list(dropped.values()))

    async def remove(self, name: str) -> None:
        """Take one bitmap out of the directory; nothing if it is not there.

        :raises OSError: it failed, and what is stored is as before.
        """
        gone = [entry for entry in self.directory if entry.text == name]
        if gone:
            async with self._taking():
                await self._replace_directory([entry for entry in self.directory if entry.text != name], gone)

    def set_read_only(self, read_only: bool) -> None:
        """Whether the node's persistent bitmaps can be changed."""
        for bitmap in self._driver.node.bitmaps:
            if bitmap.persistent:
                bitmap.read_only = read_only

    @asynccontextmanager
    async def _taking(self) -> AsyncIterator[None]:
        """Give back the clusters taken in the block unless it ends well."""
        try:
            yield
        except BaseException:
            for first, count in self._taken:
                self._driver.meta.free_later(first, count, Freed.OTHER)
            raise
        finally:
            self._taken.clear()

    async def _take(self, count: int) -> int:
        """The file offset of `count` new clusters in a row."""
        driver = self._driver
        first = await driver.refcounts.allocate_exactly(count)
        self._taken.append((first, count))
        driver.meta.forbidden.protect(Structure.BITMAP_DIRECTORY, range(first, first + count))
        return first << driver.header.cluster_bits

    async def _store_one(self, bitmap: DirtyBitmap, name: str, before: Entry | None) -> Entry:
        driver = self._driver
        cluster = driver.header.cluster_size
        length = -(-bitmap.size // 8)
        data = bitmap.everything().tobytes()[:length]
        chunks = [data[at : at + cluster] for at in range(0, length, cluster)]
        table = array("Q")
        for chunk in chunks:
            place = await self._take(1) if any(chunk) else 0
            if place:
                await driver.store.write(place, chunk.ljust(cluster, b"\0"))
            table.append(place)
        offset = 0
        if chunks:
            count = -(-len(table) * 8 // cluster)
            offset = await self._take(count)
            await driver.store.write(offset, packing.word_bytes(table).ljust(count * cluster, b"\0"))
        flags = Flag.AUTO if bitmap.recording else Flag(0)
        extra = b"" if before is None else before.extra
        if extra:
            flags |= Flag.EXTRA_COMPATIBLE
        bits = bitmap.granularity.bit_length() - 1
        encoded = name.encode() if before is None else before.name
        return Entry(offset, len(table), int(flags), _DIRTY_TRACKING, bits, encoded, extra)

    async def _replace_directory(self, entries: list[Entry], dropped: list[Entry]) -> None:
        offset, size = await self._store_directory(entries)
        await self._driver.meta.write_back(everything=True)
        await self._driver.store.sync()
        await self._switch(entries, offset, size)
        await self._release_old(dropped)

    async def _store_directory(self, entries: list[Entry]) -> tuple[int, int]:
        data = b"".join(entry.encode() for entry in entries)
        if not data:
            return 0, 0
        driver = self._driver
        count = -(-len(data) // driver.header.cluster_size)
        offset = await self._take(count)
        await driver.store.write(offset, data.ljust(count * driver.header.cluster_size, b"\0"))
        return offset, len(data)

    async def _switch(self, entries: list[Entry], offset: int, size: int) -> None:
        """Let the header point to a new directory: from here on it counts."""
        driver = self._driver
        header = driver.header
        before = header.extension(EXT_BITMAPS), header.autoclear
        if entries:
            header.set_extension(EXT_BITMAPS, _EXTENSION.pack(len(entries), 0, size, offset))
            header.autoclear |= Autoclear.BITMAPS
        else:
            header.set_extension(EXT_BITMAPS, None)
            header.autoclear &= ~int(Autoclear.BITMAPS)
        try:
            await driver.write_header()
            await driver.store.sync()
        except BaseException:
            header.set_extension(EXT_BITMAPS, before[0])
            header.autoclear = before[1]
            if not await driver.put_header_back():
                self._taken.clear()
            raise
        self._taken.clear()
        self._old = self._offset, self._size
        self.directory = [dataclasses.replace(entry) for entry in entries]
        self._offset, self._size = offset, size
        self._torn = False

    async def _release_old(self, dropped: list[Entry]) -> None:
        """Give back what the directory does not speak of any more."""
        bits = self._driver.header.cluster_bits
        offset, size = self._old
        try:
            for entry in dropped:
                await self._release(entry)
            if size:
                await self._driver.meta.release(
                    offset >> bits, -(-size // self._driver.header.cluster_size), Freed.OTHER
                )
        except OSError:
            # The directory is switched, which is what was asked for; some space leaks.
            return

    async def _release(self, entry: Entry) -> None:
        header, meta = self._driver.header, self._driver.meta
        if not entry.table_size:
            return
        for value in await self._table(entry):
            if value & _OFFSET:
                await meta.release((value & _OFFSET) >> header.cluster_bits, 1, Freed.ALWAYS)
        await meta.release(
            entry.table_offset >> header.cluster_bits, -(-entry.table_size * 8 // header.cluster_size), Freed.OTHER
        )

    # What others need to know.

    def fit_the_header(self) -> bool:
        """Whether the header has room for the extension that tells of bitmaps."""
        header = self._driver.header
        extra = 0 if header.extension(EXT_BITMAPS) is not None else 8 + _EXTENSION.size
        return len(header.encode()) + extra <= header.cluster_size

    def info(self) -> list[dict[str, object]]:
        """The stored bitmaps that have not been removed since."""
        names = {bitmap.name for bitmap in self._driver.node.bitmaps if not bitmap.hidden}
        return [entry.info() for entry in self.directory if entry.text in names]

    async def places(self) -> list[tuple[int, int]]:
        """All that the bitmaps take in the file: (offset, bytes)."""
        header = self._driver.header
        found = [(self._offset, self._size)] if self._size else []
        for entry in self.directory:
            if entry.table_size:
                found.append((entry.table_offset, entry.table_size * 8))
                found += [(one & _OFFSET, header.cluster_size) for one in await self._table(entry) if one & _OFFSET]
        return found


def _parse(data: bytes, count: int) -> list[Entry]:
    entries = []
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(data):
            raise Corruption("The bitmap directory ends within an entry")
        offset, size, flags, kind, bits, name_size, extra_size = _ENTRY.unpack_from(data, at)
        end = at + _ENTRY.size + extra_size + name_size
        if end > len(data):
            raise Corruption("The bitmap directory ends within an entry")
        extra = data[at + _ENTRY.size : at + _ENTRY.size + extra_size]
        entries.append(Entry(offset, size, flags, kind, bits, data[end - name_size : end], extra))
        at = end + (-(end - at) % 8)
    if at != len(data):
        raise Corruption("The bitmap directory is longer than its entries")
    return entries
