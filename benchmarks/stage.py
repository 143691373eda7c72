"""The stage of a run: image files made once, and a fresh server for every sample.

Leans on the black-box harness for servers and QMP. The images lie in one directory and are shared by all samples;
what a sample writes to, it makes for itself.
"""

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.memory import Reserve
from iotests.harness import SERVER_KINDS, Disk, Scratch, Server

GIB = 1 << 30
MIB = 1 << 20
KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large and how long everything is; lengths in bytes, times in seconds."""

    sparse: int
    """Length of the sparse image; a quarter of it is data."""
    dense: int
    """Length of the image without holes that NBD requests run on."""
    load_time: float
    """How long a rate over QMP is measured."""
    pipelined: int
    transactions: int
    requests: int
    """4 KiB NBD requests a sample; deeper queues and larger requests derive theirs from it."""
    rounds: int


FULL = Sizes(
    sparse=4 * GIB,
    dense=GIB,
    load_time=1.0,
    pipelined=50_000,
    transactions=40,
    requests=20_000,
    rounds=5,
)
QUICK = Sizes(
    sparse=512 * MIB,
    dense=256 * MIB,
    load_time=0.3,
    pipelined=10_000,
    transactions=10,
    requests=5_000,
    rounds=3,
)


@dataclass(slots=True)
class Stage:
    """Images and sizes of a run, and the kind of server that the current sample is taken of."""

    directory: Path
    sizes: Sizes
    reserve: Reserve
    kind: str = "qmpd"
    sparse: Disk = field(init=False)
    dense: Disk = field(init=False)
    small: list[Disk] = field(init=False)

    def __post_init__(self) -> None:
        scratch = Scratch(self.directory)
        self.sparse = scratch.disk("sparse", self.sizes.sparse)
        _scatter_data(self.sparse)
        self.dense = scratch.disk("dense", self.sizes.dense)
        noise = random.Random(1).randbytes(MIB)
        with self.dense.path.open("r+b") as file:
            for _ in range(self.sizes.dense // MIB):
                file.write(noise)
        self.small = [scratch.disk(f"small{number}", MIB) for number in range(50)]

    @contextlib.contextmanager
    def server(self, *arguments: str, start: bool = True) -> Iterator[Server]:
        """A fresh server of the current kind; ended after the sample."""
        made = SERVER_KINDS[self.kind](Scratch(self.directory), name=f"bench-{self.kind}", arguments=arguments)
        try:
            if start:
                made.start()
            yield made
        finally:
            made.close()

    @contextlib.contextmanager
    def target(self) -> Iterator[Disk]:
        """An empty target of the sparse image's length, gone after the sample."""
        disk = Scratch(self.directory).disk("target", self.sizes.sparse)
        try:
            yield disk
        finally:
            disk.path.unlink()
            self.settle()

    def read(self, disks: Sequence[Disk]) -> None:
        """Read images once, so that every sample finds them in the page cache."""
        for disk in disks:
            with disk.path.open("rb", buffering=0) as file:
                while file.read(8 * MIB):
                    pass

    def settle(self, *, for_a_copy: bool = False) -> None:
        """Write back what earlier samples left dirty, so that the next one does not pay for it.

        :param for_a_copy: the sample writes much into the page cache: have the memory ready that it will take.
        """
        os.sync()
        if for_a_copy:
            self.reserve.refresh()
            self.reserve.turn_over(self.directory / "room", self.sizes.sparse // 4)


def _scatter_data(disk: Disk) -> None:
    """Fill a quarter of the disk with noise, in pieces of 64 KiB to 2 MiB with holes between them."""
    generator = random.Random(2)
    noise = generator.randbytes(2 * MIB)
    offset = 0
    with disk.path.open("r+b") as file:
        while offset < disk.length:
            piece = generator.randrange(1, 33) * 64 * KIB
            file.seek(offset)
            file.write(noise[: min(piece, disk.length - offset)])
            offset += 4 * piece
