"""Compressed clusters. The functions run in workers: bytes in, bytes out.

zlib streams are raw, with a window of 4 KiB, as the format prescribes. zstd comes from the package `zstandard`,
loaded when an image needs it.
"""

from __future__ import annotations

import errno
import os
import zlib

from qmpd.block.drivers.qcow2.header import Compression

_ZLIB_WINDOW = -12
_ZLIB_MEMORY = 9
_ZSTD_MAX_WINDOW = 8 << 20


def _damaged(cause: Exception | None = None) -> OSError:
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    error.__cause__ = cause
    return error


def decompress(kind: int, data: bytes, size: int) -> bytes:
    """The `size` bytes of a cluster. What follows the compressed stream in `data` is ignored.

    :raises OSError: EIO when the data is damaged or gives fewer bytes.
    """
    if kind == Compression.ZSTD:
        return _decompress_zstd(data, size)
    try:
        plain = zlib.decompressobj(_ZLIB_WINDOW).decompress(data, size)
    except zlib.error as error:
        raise _damaged(error) from error
    if len(plain) != size:
        raise _damaged()
    return plain


def _decompress_zstd(data: bytes, size: int) -> bytes:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).stream_reader(data)
    parts: list[bytes] = []
    missing = size
    try:
        while missing and (part := reader.read(missing)):
            parts.append(part)
            missing -= len(part)
    except zstandard.ZstdError as error:
        raise _damaged(error) from error
    if missing:
        raise _damaged()
    return b"".join(parts)


def compress(kind: int, data: bytes) -> bytes:
    """The compressed form of a cluster; it may be longer than the cluster."""
    if kind == Compression.ZSTD:
        import zstandard

        return zstandard.ZstdCompressor(write_content_size=False).compress(data)
    worker = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _ZLIB_WINDOW, _ZLIB_MEMORY)
    return worker.compress(data) + worker.flush()
