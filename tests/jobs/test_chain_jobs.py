"""Streams and commits on chains of images of all shapes: sizes, cluster sizes, versions and formats made up at random.

While the job works, a guest writes to the top. At the end the disk shows what the model says, before and after it is
closed, and qemu-img has nothing to say against its images.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from qmpd.block.backend import BlockBackend
from qmpd.jobs.state import JobStatus
from tests import invariants
from tests.lab import Lab, seeds
from tests.qcow2.support import alone, check, create

SHAPES = (
    "cluster_size=2k",
    "cluster_size=4k",
    "cluster_size=64k",
    "cluster_size=256k",
    "compat=0.10",
    "extended_l2=on",
)
MOST = 1 << 20


class Disk:
    """A chain of images, its guest, and what that has to read."""

    def __init__(self, lab: Lab, rng: random.Random) -> None:
        self.lab = lab
        self.rng = rng
        self.model = bytearray()
        self.names: list[str] = []
        self.guest: BlockBackend

    async def grow(self) -> None:
        """Put one more image on the chain, of any length, and write to it."""
        rng, below = self.rng, self.names[-1] if self.names else None
        name = f"i{len(self.names)}"
        length = rng.choice([MOST, rng.randrange(MOST // 1024, MOST // 512) * 512])
        if below is None and rng.random() < 0.3:
            self.lab.file(name).write_bytes(bytes(length))
            await self.lab.add(name)
        else:
            backing = () if below is None else ("-b", self.lab.file(below), "-F", self.format_of(below))
            create(self.lab.file(name), length, *backing, "-o", rng.choice(SHAPES))
            await self.lab.add(name, "qcow2", backing=below)
        self.names.append(name)
        self.model = (self.model + bytes(length))[:length]
        self.guest = self.lab.guest(name)
        for _ in range(rng.randrange(12)):
            await self.write()

    def format_of(self, name: str) -> str:
        """The format of an image, by name."""
        return self.lab.graph.lookup(name).driver.format_name

    async def write(self) -> None:
        """The guest writes somewhere."""
        rng = self.rng
        length = min(rng.choice([512, 4096, 10_000, 65536, 200_000]), len(self.model))
        offset = rng.randrange(len(self.model) - length + 1)
        data = bytes(length) if rng.random() < 0.25 else rng.randbytes(length)
        self.model[offset : offset + length] = data
        if not any(data):
            await self.guest.pwrite_zeroes(offset, length, may_unmap=rng.random() < 0.5)
        else:
            await self.guest.pwritev(offset, data)

    async def shorten(self) -> str:
        """Run a job on some part of the chain, with writes meanwhile; gives its kind."""
        rng, names = self.rng, self.names
        upper = rng.randrange(1, len(names))
        lower = rng.randrange(upper)
        kind = rng.choice(["stream", "commit"])
        if kind == "stream":
            base = {} if rng.random() < 0.2 else {"base_node": names[lower]}
            await self.lab.execute("block-stream", job_id="j", device=names[upper], **base)
        else:
            await self.lab.execute(
                "block-commit", job_id="j", device=names[-1], top_node=names[upper], base_node=names[lower]
            )
        active = kind == "commit" and upper == len(names) - 1
        while (job := self.lab.jobs.find("j")) is not None:
            await self.write()
            if active and job.status is JobStatus.READY:
                await self.lab.execute("job-complete", id="j")
                active = False
            await asyncio.sleep(0)
        assert any(line == "COMPLETED" for line in self.lab.events.of("j")), self.lab.events.of("j")
        return kind


@pytest.mark.parametrize("seed", seeds(12, 400))
async def test_any_chain(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    lab = Lab(tmp_path)
    try:
        disk = Disk(lab, rng)
        for number in range(rng.randint(2, 5)):
            if number:
                disk.guest.detach()
            await disk.grow()
        kind = await disk.shorten()
        content = await lab.content(disk.guest)
        assert content[: len(disk.model)] == disk.model, kind
        invariants.check_at_rest(lab.graph, lab.jobs)
        top = disk.guest.node.node_name
        disk.guest.detach()
    finally:
        await lab.close()
    if lab.file(top).read_bytes()[:4] == b"QFI\xfb":
        check(alone(lab.file(top)))
