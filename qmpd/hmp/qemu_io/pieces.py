"""Transfers of any length in pieces: none takes more memory than a piece, and others get on between two of them."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from qmpd.block.backend import BlockBackend
from qmpd.errors import os_error_text
from qmpd.hmp.qemu_io.words import BadCommand

PIECE = 1 << 24
"""Bytes; a shorter request is one request to the disk, too."""

MOST_DUMPED = 1 << 20
"""Bytes that one command shows."""

LONGEST_PATTERN = 1 << 26
"""Bytes of the longest pattern file."""


class Check(NamedTuple):
    """Bytes that have to have one value.

    :ivar offset: from the start of what is read.
    """

    value: int
    offset: int
    length: int


def pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """A range in pieces; an empty range is one empty piece, so that the request is made all the same."""
    for at in range(0, length or 1, PIECE):
        yield offset + at, min(PIECE, length - at)


async def _in_turns(offset: int, length: int) -> AsyncIterator[tuple[int, int]]:
    """The pieces of a range; what is in memory is read without suspending, so others are let in here."""
    for at, size in pieces(offset, length):
        if at != offset:
            await asyncio.sleep(0)
        yield at, size


async def fetch(user: BlockBackend, offset: int, length: int, check: Check | None) -> tuple[bool, bytearray]:
    """Read a range; tells whether the bytes to be checked were right, and gives the first bytes, to be shown.

    :raises OSError: as the disk does.
    """
    right = True
    shown = bytearray()
    async for at, size in _in_turns(offset, length):
        data = bytearray(size)
        await user.preadv(at, memoryview(data))
        if check is not None:
            start = max(offset + check.offset - at, 0)
            end = min(offset + check.offset + check.length - at, size)
            right = right and (start >= end or data[start:end].count(check.value) == end - start)
        if len(shown) < MOST_DUMPED:
            shown += data[: MOST_DUMPED - len(shown)]
    return right, shown


class Filling:
    """Bytes to be written: a pattern again and again.

    :param pattern: not empty.
    """

    def __init__(self, pattern: bytes, length: int) -> None:
        self._period = len(pattern)
        size = min(length, PIECE) + self._period
        self._data = memoryview(pattern * -(-size // self._period))

    def at(self, position: int, length: int) -> memoryview:
        """The bytes of a piece, `position` bytes from where the pattern began."""
        phase = position % self._period
        return self._data[phase : phase + length]


async def store(user: BlockBackend, offset: int, length: int, filling: Filling, *, fua: bool) -> None:
    """Write a range.

    :raises OSError: as the disk does.
    """
    async for at, size in _in_turns(offset, length):
        await user.pwritev(at, filling.at(at - offset, size), fua)


async def store_compressed(user: BlockBackend, offset: int, length: int, filling: Filling) -> None:
    """Write a range in compressed form.

    :raises OSError: as the disk does.
    """
    async for at, size in _in_turns(offset, length):
        await user.pwrite_compressed(at, filling.at(at - offset, size))


def read_pattern_file(path: str, most: int) -> bytes:
    """The first `most` bytes of a file of the host. May wait for a disk.

    :raises BadCommand: it cannot be read, is empty, or too long.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadCommand(f"{path}: it is no regular file")
            pattern = file.read(min(most, LONGEST_PATTERN + 1))
    except OSError as error:
        raise BadCommand(f"{path}: {os_error_text(error)}") from error
    except ValueError as error:  # a name that no file can have
        raise BadCommand(f"{path!r}: {error}") from error
    if not pattern:
        raise BadCommand(f"{path}: the file is empty, so it is no pattern")
    if len(pattern) > LONGEST_PATTERN:
        raise BadCommand(f"{path}: a pattern has at most {LONGEST_PATTERN} bytes")
    return pattern
