"""Making a new qcow2 image in a node whose contents are lost.

The empty image is laid out by hand: header, refcount table, refcount blocks, L1 table. Preallocation is done by the
driver itself, on the image once it is open.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmpd.block.drivers.qcow2 import header as headers
from qmpd.block.drivers.qcow2 import packing
from qmpd.block.drivers.qcow2.header import Autoclear, Compatible, Compression, Extension, Header, Incompatible
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.block.drivers.qcow2.driver import Qcow2Driver

DEFAULT_CLUSTER_SIZE = 65536
_ZEROES = 1 << 20


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image as asked for; sizes in bytes."""

    size: int
    version: int = 3
    cluster_size: int = DEFAULT_CLUSTER_SIZE
    refcount_bits: int = 16
    backing_file: str | None = None
    backing_format: str | None = None
    lazy_refcounts: bool = False
    compression: str = "zlib"
    extended_l2: bool = False
    preallocation: str = "off"
    data_file: str | None = None
    data_file_raw: bool = False

    def check(self) -> None:
        """Pass if such an image can be.

        :raises GenericError: the options contradict the format or each other.
        """
        if not 512 <= self.cluster_size <= 2 << 20 or self.cluster_size & (self.cluster_size - 1):
            raise GenericError(f"'cluster-size' is {self.cluster_size}; a power of two from 512 to 2097152 is needed")
        if self.refcount_bits not in (1, 2, 4, 8, 16, 32, 64):
            raise GenericError(f"'refcount-bits' is {self.refcount_bits}; it has to be a power of two up to 64")
        if self.version < 3:
            self._check_version_2()
        if self.extended_l2 and self.cluster_size < 16384:
            raise GenericError("'extended-l2' needs a 'cluster-size' of 16384 or more")
        if self.backing_format is not None and self.backing_file is None:
            raise GenericError("'backing-fmt' is given without a 'backing-file'")
        if self.backing_file is not None and self.preallocation != "off" and not self.extended_l2:
            raise GenericError("'preallocation' and 'backing-file' cannot go together")
        if self.data_file_raw and self.data_file is None:
            raise GenericError("'data-file-raw' is given without a 'data-file'")
        if self.data_file_raw and self.backing_file is not None:
            raise GenericError("'data-file-raw' and 'backing-file' cannot go together")

    def _check_version_2(self) -> None:
        wrong = {
            "refcount-bits": self.refcount_bits != 16,
            "lazy-refcounts": self.lazy_refcounts,
            "data-file": self.data_file is not None,
            "compression-type": self.compression != "zlib",
            "extended-l2": self.extended_l2,
        }
        for name, given in wrong.items():
            if given:
                raise GenericError(f"'{name}' needs an image of version 3")

    def header(self) -> Header:
        """The header, with its tables laid out behind it."""
        self.check()
        bits = self.cluster_size.bit_length() - 1
        size = -(-self.size // 512) * 512
        made = Header(self.version, bits, size, 0, 0, 0, 0, refcount_order=self.refcount_bits.bit_length() - 1)
        if self.version >= 3:
            self._set_features(made)
        if self.backing_format is not None:
            made.extensions.append(Extension(headers.EXT_BACKING_FORMAT, self.backing_format.encode()))
        if self.data_file is not None:
            name = self.data_file.encode("utf-8", "surrogateescape")
            made.extensions.append(Extension(headers.EXT_DATA_FILE, name))
        made.backing_file = self.backing_file
        if self.backing_file is not None and len(self.backing_file.encode()) > headers.MAX_BACKING_NAME:
            raise GenericError(f"'backing-file' has more than {headers.MAX_BACKING_NAME} bytes")
        names = headers.feature_name_table()
        if self.version >= 3 and len(made.encode()) + len(names) + 8 <= self.cluster_size:
            made.extensions.append(Extension(headers.EXT_FEATURE_NAMES, names))
        if made.l1_entries_for(size) * 8 > headers.MAX_L1_BYTES:
            raise GenericError(f"'size' is {self.size}, too large for clusters of {self.cluster_size}")
        return made

    def _set_features(self, made: Header) -> None:
        made.compression = Compression[self.compression.upper()]
        made.unknown_fields = bytes([made.compression]) + bytes(7)
        if made.compression is not Compression.ZLIB:
            made.incompatible |= Incompatible.COMPRESSION
        if self.extended_l2:
            made.incompatible |= Incompatible.EXTENDED_L2
        if self.lazy_refcounts:
            made.compatible |= Compatible.LAZY_REFCOUNTS
        if self.data_file is not None:
            made.incompatible |= Incompatible.DATA_FILE
            if self.data_file_raw:
                made.autoclear |= Autoclear.DATA_FILE_RAW


def lay_out(header: Header) -> list[tuple[int, bytes]]:
    """Place the tables of an empty image behind its header; gives what has to be written: (offset, bytes)."""
    bits, cluster = header.cluster_bits, header.cluster_size
    header.l1_size = header.l1_entries_for(header.size)
    l1_clusters = -(-header.l1_size * 8 // cluster)
    entries = 1 << (bits + 3 - header.refcount_order)
    table_clusters, blocks = 1, 1
    while True:
        total = 1 + table_clusters + blocks + l1_clusters
        needed_blocks = -(-total // entries)
        needed_table = -(-needed_blocks * 8 // cluster)
        if needed_blocks <= blocks and needed_table <= table_clusters:
            break
        blocks, table_clusters = max(blocks, needed_blocks), max(table_clusters, needed_table)
    first_block = 1 + table_clusters
    header.refcount_table_offset = 1 << bits
    header.refcount_table_clusters = table_clusters
    # A disk without any L1 entry has its table beyond all else, where a first one would go.
    header.l1_offset = (first_block + blocks) << bits
    counts = packing.no_counts(blocks * entries, header.refcount_order)
    for at in range(total):
        counts[at] = 1
    table = array("Q", [(first_block + number) << bits for number in range(blocks)])
    return [
        (1 << bits, packing.word_bytes(table).ljust(table_clusters << bits, b"\0")),
        (first_block << bits, packing.count_bytes(counts, header.refcount_order)),
        (header.l1_offset, bytes(max(l1_clusters, 1) << bits)),
    ]


async def create(target: BlockBackend, image: NewImage) -> None:
    """Write an empty image into `target`, which may write and resize its node.

    :raises GenericError: the options cannot be.
    :raises OSError: writing failed.
    """
    header = image.header()
    tables = lay_out(header)
    await target.truncate(0)
    end = max(offset + len(data) for offset, data in tables)
    await target.truncate(end)
    for offset, data in tables:
        await target.pwritev(offset, data)
    await target.pwritev(0, headers.padded(header))
    await target.flush()


def create_in_file(fd: int, image: NewImage) -> None:
    """Write an empty image into an empty host file, and bring it to stable storage. Blocks: to be run in a worker.

    :raises GenericError: the options cannot be.
    :raises OSError: writing failed.
    """
    header = image.header()
    tables = lay_out(header)
    os.ftruncate(fd, max(offset + len(data) for offset, data in tables))
    for offset, data in [*tables, (0, headers.padded(header))]:
        view = memoryview(data)
        while view:
            count = os.pwrite(fd, view, offset)
            offset += count
            view = view[count:]
    os.fsync(fd)


async def preallocate(driver: Qcow2Driver, mode: str, held: int) -> None:
    """Map the whole disk; with `falloc` and `full` take the space on the host as well.

    :param held: bytes at the beginning of the data file that are there already, and stay as they are.
    """
    path = driver.path
    mapping = path.mapping
    position = 0
    while position < path.length:
        stop = min(path.length, ((position >> mapping.part_shift) + 1) << mapping.part_shift)
        host, length = await path.preallocate(position, stop)
        if mode != "metadata":
            start = max(host, held)
            if start < host + length:
                await _take_space(driver, start, host + length - start, mode)
        position += length
    await driver.meta.settle()


async def _take_space(driver: Qcow2Driver, host: int, length: int, mode: str) -> None:
    node = driver.path.data.node
    if mode == "falloc":
        await node.pwrite_zeroes(host, length)
        return
    zeroes = bytes(min(_ZEROES, length))
    at = 0
    while at < length:
        step = min(len(zeroes), length - at)
        await node.pwritev(host + at, zeroes[:step])
        at += step
