"""The demo's disks: raw files, what was written to them, and how to compare them without qmpd's help."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qmpd.ctl.nbdclient import NbdClient

MIB = 1 << 20
GRANULARITY = 64 << 10
"""Bytes that one bit of a dirty bitmap stands for."""
_CHUNK = 4 * MIB


@dataclass(slots=True)
class Disk:
    """A raw disk and the demo's own account of what changed on it.

    :param size: in bytes, a multiple of `GRANULARITY`.
    :param dirty: the granules (by number) written since the last backup, as a dirty bitmap should know them.
    """

    name: str
    path: Path
    size: int
    random: random.Random
    dirty: set[int] = field(default_factory=set)

    @property
    def dirty_bytes(self) -> int:
        """What a dirty bitmap that misses nothing and invents nothing should count."""
        return len(self.dirty) * GRANULARITY

    def fill(self, regions: list[tuple[int, int]]) -> None:
        """Create the file: holes, and random contents in the given (offset, length) regions."""
        with open(self.path, "xb") as file:
            file.truncate(self.size)
            for offset, length in regions:
                file.seek(offset)
                file.write(self.random.randbytes(length))

    def write(self, client: NbdClient, offset: int, length: int) -> bytes:
        """Write fresh random contents through NBD, as a virtual machine would, note where, and return them."""
        data = self.random.randbytes(length)
        client.write(offset, data)
        self.dirty.update(range(offset // GRANULARITY, (offset + length - 1) // GRANULARITY + 1))
        return data

    def freeze(self, path: Path) -> Path:
        """Copy the disk as it stands, to know later what a backup made now should hold."""
        return sparse_copy(self.path, path)


def sparse_copy(source: Path, target: Path) -> Path:
    """Copy a file, holes as holes; returns the target."""
    with open(source, "rb") as reader, open(target, "xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for offset, length in data_regions(reader.fileno(), size):
            reader.seek(offset)
            writer.seek(offset)
            for start in range(0, length, _CHUNK):
                writer.write(reader.read(min(_CHUNK, length - start)))
    return target


def empty_file(path: Path, size: int) -> Path:
    """Create a file of `size` bytes that is one hole."""
    with open(path, "xb") as file:
        file.truncate(size)
    return path


def data_regions(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) regions of a file that are no holes, as the file system tells it."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, offset - start


def first_difference(left: Path, right: Path) -> int | None:
    """The offset of a byte in which two files differ, None when they are equal.

    What is data in either file is read and compared; what is a hole in both is zero in both.
    """
    with open(left, "rb") as one, open(right, "rb") as other:
        size = os.fstat(one.fileno()).st_size
        if size != os.fstat(other.fileno()).st_size:
            return min(size, os.fstat(other.fileno()).st_size)
        for file in (one, other):
            for offset, length in data_regions(file.fileno(), size):
                different = _compare(one.fileno(), other.fileno(), offset, length)
                if different is not None:
                    return different
    return None


def _compare(one: int, other: int, offset: int, length: int) -> int | None:
    for start in range(offset, offset + length, _CHUNK):
        count = min(_CHUNK, offset + length - start)
        left, right = os.pread(one, count, start), os.pread(other, count, start)
        if left != right:
            return start + next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    return None
