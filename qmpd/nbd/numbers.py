"""The numbers of the NBD protocol and the shapes of its headers (NBD project, `doc/proto.md`).

Leans on nothing but `struct`; must never touch a socket, a block node or the event loop.
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum, IntFlag

DEFAULT_PORT = 10809
MAX_STRING = 4096
"""Longest export name, description and metadata context name (bytes of UTF-8)."""
MAX_PAYLOAD = 32 << 20
"""Largest read, write or cache request (bytes)."""
MAX_STATUS_EXTENTS = (1 << 20) // 8
"""Most extents in one block status chunk."""
PREFERRED_BLOCK = 4096
"""The preferred block size told to clients (bytes)."""


class TransmissionFlag(IntFlag):
    """What an export can do, told at the end of the handshake."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    ROTATIONAL = 1 << 4
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_RESIZE = 1 << 9
    SEND_CACHE = 1 << 10
    SEND_FAST_ZERO = 1 << 11


class Command(IntEnum):
    """Request types of the transmission phase."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of a request."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4


class StatusFlag(IntFlag):
    """Flags of an extent in the contexts `base:allocation` and `qemu:dirty-bitmap:*`."""

    HOLE = 1 << 0
    ZERO = 1 << 1
    DIRTY = 1 << 0


class NbdError(IntEnum):
    """Error numbers as they stand on the wire (Linux values, whatever the host's are)."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


_WIRE_ERRORS = {
    errno.EPERM: NbdError.EPERM,
    errno.EROFS: NbdError.EPERM,
    errno.EACCES: NbdError.EPERM,
    errno.EIO: NbdError.EIO,
    errno.ENOMEM: NbdError.ENOMEM,
    errno.ENOSPC: NbdError.ENOSPC,
    errno.EDQUOT: NbdError.ENOSPC,
    errno.EFBIG: NbdError.ENOSPC,
    errno.EOVERFLOW: NbdError.EOVERFLOW,
    errno.ENOTSUP: NbdError.ENOTSUP,
    errno.EOPNOTSUPP: NbdError.ENOTSUP,
    errno.ESHUTDOWN: NbdError.ESHUTDOWN,
}


_HOST_ERRORS: dict[int, int] = {
    NbdError.EPERM: errno.EPERM,
    NbdError.EIO: errno.EIO,
    NbdError.ENOMEM: errno.ENOMEM,
    NbdError.EINVAL: errno.EINVAL,
    NbdError.ENOSPC: errno.ENOSPC,
    NbdError.EOVERFLOW: errno.EOVERFLOW,
    NbdError.ENOTSUP: errno.ENOTSUP,
    NbdError.ESHUTDOWN: errno.ESHUTDOWN,
}


def host_error(number: int) -> int:
    """The host's errno for an error on the wire; for one that the protocol does not know EINVAL, as in QEMU."""
    return _HOST_ERRORS.get(number, errno.EINVAL)


def wire_error(number: int | None) -> NbdError:
    """The protocol's error for a host errno; what it has no word for is EINVAL, as in QEMU."""
    return _WIRE_ERRORS.get(number or 0, NbdError.EINVAL)


class ProtocolError(Exception):
    """The peer's bytes cannot be made sense of; the connection can only be closed."""


# The handshake.

GREETING_MAGIC = b"NBDMAGIC"
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY_MAGIC = 0x3E889045565A9

OPTION_HEADER = struct.Struct(">8sII")
"""magic, option, length"""
OPTION_REPLY_HEADER = struct.Struct(">QIII")
"""magic, option, type of reply, length"""

BASE_ALLOCATION = "base:allocation"
ALLOCATION_DEPTH = "qemu:allocation-depth"
DIRTY_BITMAP = "qemu:dirty-bitmap:"


class HandshakeFlag(IntFlag):
    """What server and client tell each other at first."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class Option(IntEnum):
    """Options a client may send."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


REPLY_IS_ERROR = 1 << 31
"""What types of replies to options have in common that refuse."""


class Reply(IntEnum):
    """Types of replies to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) | 1
    ERR_POLICY = (1 << 31) | 2
    ERR_INVALID = (1 << 31) | 3
    ERR_TLS_REQD = (1 << 31) | 5
    ERR_UNKNOWN = (1 << 31) | 6
    ERR_BLOCK_SIZE_REQD = (1 << 31) | 8
    ERR_TOO_BIG = (1 << 31) | 9


class Info(IntEnum):
    """Pieces of information about an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


# Transmission.

REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

REQUEST_HEADER = struct.Struct(">IHHQQI")
"""magic, flags, command, cookie, offset, length"""
SIMPLE_REPLY = struct.Struct(">IIQ")
"""magic, error, cookie"""
CHUNK_HEADER = struct.Struct(">IHHQI")
"""magic, flags, type, cookie, payload length"""
DATA_CHUNK = struct.Struct(">IHHQIQ")
"""a chunk header followed by the data's offset"""
HOLE_CHUNK = struct.Struct(">IHHQIQI")
ERROR_CHUNK = struct.Struct(">IHHQIIH")
STATUS_CHUNK = struct.Struct(">IHHQII")

CHUNK_DONE = 1
"""The flag of a chunk that ends its reply."""
CHUNK_IS_ERROR = 1 << 15
"""What types of chunks have in common that tell of an error."""


class ChunkType(IntEnum):
    """Types of chunks of a structured reply."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = CHUNK_IS_ERROR | 1
    ERROR_OFFSET = CHUNK_IS_ERROR | 2
