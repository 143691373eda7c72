"""Scratch directories and raw disks with known contents.

Contents are written straight to the files from a seeded generator, before any server opens them; what becomes
of them is judged with the tools of `iotests.harness.tools`.
"""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from iotests.harness.tools import qemu_img

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw image file; `length` in bytes."""

    path: Path
    length: int

    @property
    def name(self) -> str:
        """The name of the disk in its scratch directory, which tests use for its node too."""
        return self.path.stem

    def write(self, offset: int, data: bytes) -> None:
        """Write into the file behind everybody's back."""
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset: int, length: int) -> bytes:
        """Read the file as it is now."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def scatter(self, generator: random.Random, pieces: int, piece: int = 64 * KIB) -> None:
        """Write `pieces` runs of noise of up to `piece` bytes at places of the generator's choice."""
        with self.path.open("r+b") as file:
            for _ in range(pieces):
                length = min(generator.randint(1, piece), self.length)
                file.seek(generator.randint(0, self.length - length))
                file.write(generator.randbytes(length))

    @property
    def allocated(self) -> int:
        """Bytes that the file occupies on the host."""
        return os.stat(self.path).st_blocks * 512


class Scratch:
    """A directory for one test, and makers of what lives in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __truediv__(self, name: str) -> Path:
        return self.directory / name

    def disk(self, name: str, length: int = 4 * MIB, *, seed: int | None = None, pieces: int = 24) -> Disk:
        """A raw disk; with a seed, noise is scattered over it, otherwise it is one hole."""
        disk = Disk(self.directory / f"{name}.img", length)
        with disk.path.open("wb") as file:
            file.truncate(length)
        if seed is not None:
            disk.scatter(random.Random(seed), pieces)
        return disk

    def full_disk(self, name: str, length: int, *, seed: int) -> Disk:
        """A raw disk without a hole, all of it noise."""
        disk = Disk(self.directory / f"{name}.img", length)
        disk.path.write_bytes(random.Random(seed).randbytes(length))
        return disk

    def copy(self, disk: Disk, name: str) -> Disk:
        """A second disk with the same contents at this moment."""
        path = self.directory / f"{name}.img"
        shutil.copyfile(disk.path, path)
        return Disk(path, disk.length)

    def made_by_qemu_img(self, name: str, length: int, image_format: str = "raw", *options: str) -> Disk:
        """An empty image of any format that qemu-img makes."""
        path = self.directory / f"{name}.img"
        qemu_img("create", "-q", "-f", image_format, *options, path, str(length))
        return Disk(path, length)
