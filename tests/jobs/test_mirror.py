"""The mirror job on the real block graph: contents under concurrent writes, modes, ends and the switch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.backend import BlockBackend
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode
from qmpd.block.opening import open_blockdev
from qmpd.block.permissions import Perm
from qmpd.jobs.manager import JobManager
from qmpd.jobs.mirror import MirrorJob, MirrorSettings
from tests.jobs.fakes import Events

LENGTH = (2 << 20) + 512
WRITER = Perm.CONSISTENT_READ | Perm.WRITE


class Bench:
    """A graph and a job manager, with a guest that writes to the disk `a` all the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = Events()
        self.pool = IOPool()
        self.graph = BlockGraph(self.pool, self.events)
        self.jobs = JobManager(self.graph, self.events)
        self.model = bytearray()
        self._guests: list[asyncio.Task[None]] = []
        self._ending = False

    async def disk(self, name: str, content: bytes = bytes(LENGTH), driver: str = "raw", **options: Any) -> BlockNode:
        file = self.path / name
        file.write_bytes(content)
        node = {"driver": driver, "node-name": name, "file": {"driver": "file", "filename": str(file)}, **options}
        async with self.graph.exclusive():
            return await open_blockdev(self.graph, COMMANDS["blockdev-add"].validate(node))

    def backend(self, node: BlockNode) -> BlockBackend:
        backend = BlockBackend(self.graph, "", WRITER, Perm.ALL & ~Perm.RESIZE)
        backend.attach(node)
        return backend

    async def start(self, source: BlockNode, target: BlockNode, **options: Any) -> MirrorJob:
        settings = MirrorSettings("j", **options)
        async with self.graph.exclusive(), self.graph.drained([source, target]):
            job = MirrorJob.create(settings, self.jobs, self.graph, source, target)
        job.start()
        return job

    def guests(self, backend: BlockBackend, seed: int, number: int = 4) -> None:
        """Set writers to work on parts of their own, so that the outcome is known."""
        self.model = bytearray(self.content("a"))
        share = len(self.model) // number
        for guest in range(number):
            end = len(self.model) if guest == number - 1 else (guest + 1) * share
            writer = self._guest(backend, random.Random(seed + guest), guest * share, end)
            self._guests.append(asyncio.create_task(writer))

    async def _guest(self, backend: BlockBackend, generator: random.Random, start: int, end: int) -> None:
        while not self._ending:
            length = generator.choice([1, 512, 4096, 65536, 200_000])
            length = min(length, end - start)
            offset = generator.randint(start, end - length)
            if generator.random() < 0.2:
                await backend.pwrite_zeroes(offset, length, may_unmap=generator.random() < 0.5)
                self.model[offset : offset + length] = bytes(length)
            else:
                data = generator.randbytes(length)
                await backend.pwritev(offset, data)
                self.model[offset : offset + length] = data
            if generator.random() < 0.2:
                await asyncio.sleep(0)

    async def rest(self) -> None:
        """Let the guests come to an end."""
        self._ending = True
        await asyncio.gather(*self._guests)
        self._guests.clear()
        self._ending = False

    def content(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def clean(self) -> None:
        """Nothing of a job is left."""
        assert self.jobs.jobs == []
        for node in self.graph.nodes.values():
            assert node.driver.format_name != "mirror_top"
            assert len(node.blockers) == 0 and node.quiesce_count == 0
            assert not any(child.owner.describe().startswith("job") for child in node.parents)
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.jobs.shutdown()
    await bench.graph.close_all()
    await bench.pool.close()


@pytest.mark.parametrize("write_blocking", [False, True])
@pytest.mark.parametrize("seed", range(4))
async def test_completion_under_load(bench: Bench, write_blocking: bool, seed: int) -> None:
    source = await bench.disk("a", random.Random(seed).randbytes(LENGTH - 300_000) + bytes(300_000))
    target = await bench.disk("b")
    disk = bench.backend(source)
    bench.guests(disk, seed * 10)
    await bench.start(source, target, write_blocking=write_blocking, granularity=[512, 4096, 65536, 1 << 20][seed])
    await bench.events.until("j ready")
    bench.jobs.complete(bench.jobs.lookup("j"))
    await bench.events.until("j null")
    assert disk.node is target
    assert bench.events.of("j")[-5:] == ["waiting", "pending", "COMPLETED", "concluded", "null"]
    frozen = bench.content("a")
    await bench.rest()
    assert bench.content("b") == bench.model
    assert bench.content("a") == frozen, "nobody writes to the old disk any more"
    bench.clean()
    disk.detach()
