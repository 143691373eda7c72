"""The qcow2 header: bytes to a checked `Header` and back, without any I/O.

Leans on the published specification (docs/interop/qcow2 of QEMU), section numbers of which are not stable, so its terms
are used as names. Everything a header can lie about that shows without reading further is refused here, with a
reason; whatever is not understood but must be kept (unknown extensions, a longer header) is kept byte for byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from itertools import pairwise

from qmpd.errors import GenericError

MAGIC = 0x514649FB
_V2 = struct.Struct(">IIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
V2_LENGTH = 72
V3_LENGTH = 104
PROBE_LENGTH = 112

MIN_CLUSTER_BITS = 9
MAX_CLUSTER_BITS = 21
MAX_L1_BYTES = 32 << 20
MAX_REFCOUNT_TABLE_BYTES = 8 << 20
MAX_SNAPSHOTS = 65536
MAX_BACKING_NAME = 1023
MAX_EXTENSIONS = 4096
SECTOR = 512

EXT_END = 0
EXT_BACKING_FORMAT = 0xE2792ACA
EXT_FEATURE_NAMES = 0x6803F857
EXT_BITMAPS = 0x23852875
EXT_CRYPTO = 0x0537BE77
EXT_DATA_FILE = 0x44415441


class Incompatible(IntFlag):
    """Features that a program has to know to open the image at all."""

    DIRTY = 1
    CORRUPT = 2
    DATA_FILE = 4
    COMPRESSION = 8
    EXTENDED_L2 = 16


class Compatible(IntFlag):
    """Features that may be ignored."""

    LAZY_REFCOUNTS = 1


class Autoclear(IntFlag):
    """Features whose bit whoever writes without knowing them clears."""

    BITMAPS = 1
    DATA_FILE_RAW = 2


class Compression(IntEnum):
    """How compressed clusters are compressed."""

    ZLIB = 0
    ZSTD = 1


_KNOWN_INCOMPATIBLE = 0x1F
_KNOWN_AUTOCLEAR = 0x3

_FEATURE_NAMES = (
    (0, 0, b"dirty bit"),
    (0, 1, b"corrupt bit"),
    (0, 2, b"external data file"),
    (0, 3, b"compression type"),
    (0, 4, b"extended L2 entries"),
    (1, 0, b"lazy refcounts"),
    (2, 0, b"bitmaps"),
    (2, 1, b"raw external data"),
)


def feature_name_table() -> bytes:
    """The contents of the feature name table extension for the features known here."""
    return b"".join(struct.pack(">BB46s", kind, bit, name) for kind, bit, name in _FEATURE_NAMES)


@dataclass(slots=True)
class Extension:
    """A header extension as it stands in the file."""

    kind: int
    data: bytes


@dataclass(slots=True)
class Header:
    """All that the header says. Offsets and sizes in bytes, `l1_size` in entries.

    :ivar written: how many bytes of the first cluster may hold an earlier header.
    """

    version: int
    cluster_bits: int
    size: int
    l1_offset: int
    l1_size: int
    refcount_table_offset: int
    refcount_table_clusters: int
    snapshot_count: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    compression: int = Compression.ZLIB
    backing_file: str | None = None
    extensions: list[Extension] = field(default_factory=list)
    unknown_fields: bytes = b""
    written: int = 0

    @property
    def cluster_size(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits

    @property
    def refcount_bits(self) -> int:
        """Bits of a reference count."""
        return 1 << self.refcount_order

    @property
    def extended_l2(self) -> bool:
        """L2 entries have 128 bits, and clusters 32 subclusters."""
        return bool(self.incompatible & Incompatible.EXTENDED_L2)

    @property
    def has_data_file(self) -> bool:
        """Guest data lies in another file."""
        return bool(self.incompatible & Incompatible.DATA_FILE)

    @property
    def data_file_raw(self) -> bool:
        """The other file can be read as a raw image."""
        return self.has_data_file and bool(self.autoclear & Autoclear.DATA_FILE_RAW)

    @property
    def l2_entry_size(self) -> int:
        """Bytes in an L2 entry."""
        return 16 if self.extended_l2 else 8

    @property
    def l2_bits(self) -> int:
        """The binary logarithm of the number of entries in an L2 table."""
        return self.cluster_bits - (4 if self.extended_l2 else 3)

    def l1_entries_for(self, size: int) -> int:
        """How many L1 entries a disk of `size` bytes needs."""
        return -(-size // (1 << (self.cluster_bits + self.l2_bits)))

    def extension(self, kind: int) -> bytes | None:
        """The contents of an extension, None without it."""
        return next((one.data for one in self.extensions if one.kind == kind), None)

    def set_extension(self, kind: int, data: bytes | None) -> None:
        """Put, replace or (None) remove an extension."""
        for at, one in enumerate(self.extensions):
            if one.kind == kind:
                if data is None:
                    del self.extensions[at]
                else:
                    one.data = data
                return
        if data is not None:
            self.extensions.insert(0, Extension(kind, data))

    @property
    def backing_format(self) -> str | None:
        """The format that the image names for its backing file."""
        data = self.extension(EXT_BACKING_FORMAT)
        return None if data is None else data.split(b"\0")[0].decode("utf-8", "replace")

    @property
    def data_file_name(self) -> str | None:
        """The name of the external data file."""
        data = self.extension(EXT_DATA_FILE)
        return None if data is None else data.split(b"\0")[0].decode("utf-8", "surrogateescape")

    @property
    def unknown_autoclear(self) -> bool:
        """There are autoclear features that are not known here."""
        return bool(self.autoclear & ~_KNOWN_AUTOCLEAR)

    def clear_unknown_autoclear(self) -> None:
        """What whoever is about to write has to do."""
        self.autoclear &= _KNOWN_AUTOCLEAR

    def encode(self) -> bytes:
        """The header as it stands at the start of the file, with extensions and the backing file's name.

        It does without the names of features, which are for people, if it fits one sector then: a disk that loses power
        has written that one whole or not at all.

        :raises GenericError: it does not fit the first cluster.
        """
        data = self._encode(self.extensions)
        if len(data) > SECTOR:
            short = self._encode([one for one in self.extensions if one.kind != EXT_FEATURE_NAMES])
            data = short if len(short) <= SECTOR else data
        if len(data) > self.cluster_size:
            raise GenericError(
                f"The header takes {len(data)} bytes with all its extensions; a cluster has {self.cluster_size}"
            )
        return data

    def _encode(self, extensions: list[Extension]) -> bytes:
        length = V2_LENGTH
        fields = b""
        if self.version >= 3:
            # The compression byte and seven bytes of padding are always written, as QEMU does.
            tail = self.unknown_fields or bytes(8)
            tail = bytes([self.compression]) + tail[1:]
            length = V3_LENGTH + len(tail)
            fields = _V3.pack(self.incompatible, self.compatible, self.autoclear, self.refcount_order, length) + tail
        packed = b"".join(
            _EXTENSION.pack(one.kind, len(one.data)) + one.data + bytes(-len(one.data) % 8) for one in extensions
        ) + _EXTENSION.pack(EXT_END, 0)
        name = b"" if self.backing_file is None else self.backing_file.encode("utf-8", "surrogateescape")
        name_offset = length + len(packed) if name else 0
        main = _V2.pack(
            MAGIC,
            self.version,
            name_offset,
            len(name),
            self.cluster_bits,
            self.size,
            0,
            self.l1_size,
            self.l1_offset,
            self.refcount_table_offset,
            self.refcount_table_clusters,
            self.snapshot_count,
            self.snapshots_offset,
        )
        return main + fields + packed + name


def padded(header: Header) -> bytes:
    """The header with zeroes up to the end of its sector, or of all that an older, longer one may have taken.

    Behind one that fits its sector nothing is touched: the header before it may need that until this one is written.

    :raises GenericError: as `Header.encode`.
    """
    data = header.encode()
    if len(data) <= SECTOR:
        return data.ljust(SECTOR, b"\0")
    header.written = max(header.written, -(-len(data) // SECTOR) * SECTOR)
    return data.ljust(header.written, b"\0")


def _refuse(what: str) -> GenericError:
    return GenericError(f"The qcow2 image cannot be opened: {what}")


def header_extent(start: bytes) -> int:
    """How many bytes from the start of the file `parse` needs to see: the first cluster.

    :raises GenericError: this is no qcow2 image that can be opened.
    """
    if len(start) < V2_LENGTH or int.from_bytes(start[:4], "big") != MAGIC:
        raise _refuse("it does not begin as a qcow2 image does")
    version = int.from_bytes(start[4:8], "big")
    if version not in (2, 3):
        raise _refuse(f"its version is {version}, and only versions 2 and 3 are known")
    cluster_bits = int.from_bytes(start[20:24], "big")
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        raise _refuse(
            f"its cluster size is 2^{cluster_bits} bytes; it has to be 2^{MIN_CLUSTER_BITS} to 2^{MAX_CLUSTER_BITS}"
        )
    return 1 << cluster_bits


def parse(cluster: bytes, file_length: int) -> Header:
    """The header in the first cluster of a file of `file_length` bytes.

    :raises GenericError: it contradicts the format or itself, or needs what is not known here.
    """
    cluster_size = header_extent(cluster)
    cluster = cluster.ljust(cluster_size, b"\0")
    _, version, name_offset, name_size, bits, size, crypt, *tables = _V2.unpack_from(cluster)
    l1_size, l1_offset, *rest = tables
    header = Header(version, bits, size // SECTOR * SECTOR, l1_offset, l1_size, *rest)
    length = V2_LENGTH
    if version >= 3:
        length = _parse_v3(header, cluster)
    if name_offset > cluster_size:
        raise _refuse(f"the name of its backing file lies at {name_offset}, outside of the first cluster")
    _parse_extensions(header, cluster, length, name_offset or cluster_size)
    if crypt:
        raise _refuse("it is encrypted, which qmpd does not support; decrypt it with 'qemu-img convert' first")
    _check_features(header)
    if name_offset:
        header.backing_file = _backing_name(cluster, name_offset, name_size)
    header.written = _used_extent(cluster)
    _check_tables(header, size, file_length)
    return header


def _used_extent(cluster: bytes) -> int:
    """How many bytes of the first cluster hold anything, in whole sectors."""
    return -(-len(cluster.rstrip(b"\0")) // SECTOR) * SECTOR


def _parse_v3(header: Header, cluster: bytes) -> int:
    incompatible, compatible, autoclear, order, length = _V3.unpack_from(cluster, V2_LENGTH)
    header.incompatible, header.compatible, header.autoclear = incompatible, compatible, autoclear
    header.refcount_order = order
    if length < V3_LENGTH or length % 8 or length > len(cluster):
        raise _refuse(f"its header is said to have {length} bytes, which cannot be")
    if order > 6:
        raise _refuse(f"its reference counts are said to have 2^{order} bits; 64 is the most")
    header.unknown_fields = cluster[V3_LENGTH:length]
    if header.unknown_fields:
        header.compression = header.unknown_fields[0]
    checked: int = length
    return checked


def _parse_extensions(header: Header, cluster: bytes, offset: int, end: int) -> None:
    while offset < end:
        if offset + 8 > end:
            raise _refuse("its header extensions reach beyond the header")
        kind, length = _EXTENSION.unpack_from(cluster, offset)
        offset += 8
        if length > end - offset:
            raise _refuse(f"header extension {kind:#x} has {length} bytes and does not fit the header")
        if kind == EXT_END:
            return
        if len(header.extensions) >= MAX_EXTENSIONS:
            raise _refuse("it has more header extensions than make sense")
        header.extensions.append(Extension(kind, bytes(cluster[offset : offset + length])))
        offset += length + (-length % 8)


def _check_features(header: Header) -> None:
    unknown = header.incompatible & ~_KNOWN_INCOMPATIBLE
    if unknown:
        raise _refuse(f"it uses features that are not known here: {_describe_features(header, unknown)}")
    if header.extension(EXT_CRYPTO) is not None:
        raise _refuse("it is encrypted, which qmpd does not support; decrypt it with 'qemu-img convert' first")
    if header.compression not in tuple(Compression):
        raise _refuse(f"its compression type {header.compression} is not known")
    if bool(header.incompatible & Incompatible.COMPRESSION) != (header.compression != Compression.ZLIB):
        raise _refuse("its compression type and the feature bit for it contradict each other")
    if header.autoclear & Autoclear.DATA_FILE_RAW and not header.has_data_file:
        raise _refuse("it is said to have a raw data file, and has no data file at all")
    if header.extended_l2 and header.cluster_bits < 14:
        raise _refuse(f"extended L2 entries need clusters of 16384 bytes or more, and it has {header.cluster_size}")


def _describe_features(header: Header, unknown: int) -> str:
    names = header.extension(EXT_FEATURE_NAMES) or b""
    found: dict[int, str] = {}
    for at in range(0, len(names) - 47, 48):
        if names[at] == 0:
            found[names[at + 1]] = names[at + 2 : at + 48].rstrip(b"\0").decode("utf-8", "replace")
    bits = [bit for bit in range(64) if unknown >> bit & 1]
    return ", ".join(found.get(bit) or f"feature bit {bit}" for bit in bits)


def _backing_name(cluster: bytes, offset: int, size: int) -> str | None:
    if size > MAX_BACKING_NAME or offset + size > len(cluster):
        raise _refuse(f"the name of its backing file is said to have {size} bytes; {MAX_BACKING_NAME} is the most")
    name = cluster[offset : offset + size].split(b"\0")[0]
    return name.decode("utf-8", "surrogateescape") or None


def _check_tables(header: Header, size: int, file_length: int) -> None:
    """:param size: what the header says, which need not be whole sectors."""
    cluster_size = header.cluster_size
    needed = header.l1_entries_for(size)
    if header.size >= 1 << 63 or needed * 8 > MAX_L1_BYTES:
        raise _refuse(f"its size of {header.size} bytes is too large for its clusters of {cluster_size}")
    if header.l1_size * 8 > MAX_L1_BYTES:
        raise _refuse(f"its L1 table is said to have {header.l1_size} entries; {MAX_L1_BYTES // 8} is the most")
    if header.l1_size < needed:
        raise _refuse(f"its L1 table has {header.l1_size} entries, and its size needs {needed}")
    table_bytes = header.refcount_table_clusters << header.cluster_bits
    if not 0 < table_bytes <= MAX_REFCOUNT_TABLE_BYTES:
        raise _refuse(
            f"its refcount table is said to have {table_bytes} bytes; 1 to {MAX_REFCOUNT_TABLE_BYTES} make sense"
        )
    if header.snapshot_count > MAX_SNAPSHOTS:
        raise _refuse(f"it is said to have {header.snapshot_count} snapshots; {MAX_SNAPSHOTS} is the most")
    regions = [
        ("header", 0, cluster_size),
        ("L1 table", header.l1_offset, header.l1_size * 8),
        ("refcount table", header.refcount_table_offset, table_bytes),
        ("snapshot table", header.snapshots_offset, 1 if header.snapshot_count else 0),
    ]
    for name, offset, length in regions:
        if offset % cluster_size:
            raise _refuse(f"its {name} lies at {offset}, which is not at the start of a cluster")
        if offset + length >= 1 << 63:
            raise _refuse(f"its {name} lies at {offset}, where no file can reach")
    regions = [region for region in regions if region[2]]
    for name, offset, _ in regions[1:]:
        if offset >= file_length:
            raise _refuse(f"its {name} lies at {offset}, beyond the {file_length} bytes of the file")
    regions.sort(key=lambda region: region[1])
    for (name, offset, length), (other, start, _) in pairwise(regions):
        if offset + length > start:
            raise _refuse(f"its {name} and its {other} overlap at {start}")
