"""The mirror job on the real block graph: contents under concurrent writes, modes, ends and the switch."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.backend import BlockBackend
from qmpd.block.drivers.mirror_top import MirrorTopDriver
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode
from qmpd.block.opening import open_blockdev
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.jobs.block_job import BlockJob
from qmpd.jobs.manager import JobManager
from qmpd.jobs.mirror import BackingMode, MirrorJob, MirrorSettings
from tests.block.conftest import read
from tests.jobs.fakes import Events
from tests.soak import count

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

    async def disk(self, name: str, content: bytes = bytes(LENGTH), **options: Any) -> BlockNode:
        (self.path / name).write_bytes(content)
        return await self.open_disk(name, **options)

    async def open_disk(self, name: str, **options: Any) -> BlockNode:
        file = {"driver": "file", "filename": str(self.path / name)}
        node = {"driver": "raw", "node-name": name, "file": file} | options
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


@pytest.mark.parametrize("seed", range(count(12, 400)))
async def test_a_life_under_load(bench: Bench, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Pauses, speeds, failing targets, drains and mode changes at random moments, and any end."""
    monkeypatch.setattr("qmpd.jobs.mirror.LEAST_PATIENCE", 1 << 20)
    generator = random.Random(seed)
    source = await bench.disk("a", generator.randbytes(LENGTH // 2) + bytes(LENGTH - LENGTH // 2), discard="unmap")
    target = await bench.disk("b", generator.choice([bytes(LENGTH), generator.randbytes(LENGTH)]))
    disk = bench.backend(source)
    bench.guests(disk, seed)
    job = await bench.start(
        source,
        target,
        write_blocking=generator.random() < 0.5,
        granularity=generator.choice([512, 4096, 65536]),
        buffer=generator.choice([0, 65536, 1 << 20]),
        speed=generator.choice([0, 1 << 20]),
        on_target_error=generator.choice(["stop", "ignore"]),
    )
    faulty = Faulty(target)
    for _ in range(generator.randint(1, 12)):
        await live(bench, job, faulty, generator)
    faulty.fails = False
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        pass  # requests that were to fail have done so
    if job.user_paused:
        bench.jobs.resume(job)
    job.set_speed(0)
    await bench.events.until("j ready")
    end = generator.choice(["complete", "cancel", "force"])
    if end == "complete":
        bench.jobs.complete(job)
    else:
        await bench.jobs.cancel(job, force=end == "force")
    await bench.events.until("j null")
    assert bench.events.of("j")[-3] == ("CANCELLED" if end == "force" else "COMPLETED")
    assert disk.node is (target if end == "complete" else source)
    await bench.rest()
    assert bench.content("b" if end == "complete" else "a") == bench.model
    bench.clean()
    disk.detach()


class Faulty:
    """Lets all writes to a disk fail for a while."""

    def __init__(self, node: BlockNode) -> None:
        self.fails = False
        for name in ("pwritev", "pwrite_zeroes", "copy_from_host"):
            setattr(node.driver, name, self._wrap(getattr(node.driver, name)))

    def _wrap(self, method: Any) -> Any:
        async def request(*arguments: Any) -> None:
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            await method(*arguments)

        return request


async def live(bench: Bench, job: MirrorJob, faulty: Faulty, generator: random.Random) -> None:
    """One thing that happens to a job."""
    what = generator.choice(["pause", "resume", "speed", "fail", "drain", "wait"])
    if what == "pause" and not job.user_paused:
        bench.jobs.pause(job)
    elif what == "resume" and job.user_paused:
        bench.jobs.resume(job)
    elif what == "speed":
        job.set_speed(generator.choice([0, 1 << 16, 1 << 24]))
    elif what == "fail":
        faulty.fails = not faulty.fails
    elif what == "drain":
        async with bench.graph.exclusive(), bench.graph.drained([generator.choice(list(bench.graph.nodes.values()))]):
            await asyncio.sleep(0)
    for _ in range(generator.randint(1, 30)):
        await asyncio.sleep(0)


async def test_a_guest_faster_than_the_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that could go on for ever makes the guest's writes wait for the target, and gets ready."""
    monkeypatch.setattr("qmpd.jobs.mirror.LEAST_PATIENCE", 0)
    source, target = await bench.disk("a", os.urandom(LENGTH)), await bench.disk("b")
    disk = bench.backend(source)
    job = await bench.start(source, target, granularity=65536, buffer=65536)
    top = disk.node.driver
    assert isinstance(top, MirrorTopDriver)
    copied: list[int] = []

    def dirty_again(length: int) -> None:
        """As if each cluster was overwritten while it was copied, as long as nobody minds."""
        copied.append(length)
        if not top.active:
            job.copy.mark(0, job.copy.length)

    job.copy.on_copied, count_copied = dirty_again, job.copy.on_copied
    assert count_copied is not None

    def both(length: int) -> None:
        count_copied(length)
        dirty_again(length)

    job.copy.on_copied = both
    await bench.events.until("j ready")
    assert 2 * LENGTH < sum(copied) < 5 * LENGTH
    assert not top.active, "once it is ready guests need not wait any more"
    await bench.jobs.cancel(job, force=True)
    await bench.events.until("j null")
    disk.detach()


async def test_writes_while_the_group_waits(bench: Bench) -> None:
    """What guests write to a job that is pending is in the target when it commits."""
    source, target = await bench.disk("a", os.urandom(LENGTH)), await bench.disk("b")
    disk = bench.backend(source)
    job = await bench.start(source, target, auto_finalize=False)
    await bench.events.until("j ready")
    bench.jobs.complete(job)
    await bench.events.until("j PENDING")
    bench.guests(disk, 5)
    for _ in range(100):
        await asyncio.sleep(0)
    assert disk.node is not target
    await bench.jobs.finalize(job)
    assert disk.node is target
    await bench.rest()
    assert bench.content("b") == bench.model
    bench.clean()
    disk.detach()


class Spoilsport(BlockJob):
    """A member of a group that fails in the very last moment."""

    job_type = "backup"

    async def run(self) -> None:
        return

    async def prepare_drained(self) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_switch_is_taken_back(bench: Bench, read_only: bool) -> None:
    """Another member fails after the graph was changed: no user is left on the target."""
    content = os.urandom(LENGTH)
    source = await bench.disk("a", content, **{"read-only": read_only})
    target = await bench.disk("b")
    disk = BlockBackend(bench.graph, "", Perm.CONSISTENT_READ if read_only else WRITER, Perm.ALL & ~Perm.RESIZE)
    disk.attach(source)
    group = bench.jobs.new_transaction()
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        job = MirrorJob.create(MirrorSettings("j"), bench.jobs, bench.graph, source, target, group)
        spoilsport = Spoilsport("k")
        bench.jobs.add(spoilsport, group)
    job.start()
    spoilsport.start()
    await bench.events.until("j ready")
    bench.jobs.complete(job)
    await group.wait_settled()
    assert bench.events.of("j")[-4:] == ["aborting", "CANCELLED", "concluded", "null"]
    assert bench.events.of("k")[-3].startswith("COMPLETED (")
    assert disk.node is source
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    assert not target.read_only
    bench.clean()
    disk.detach()


async def test_a_switch_that_cannot_be(bench: Bench) -> None:
    """Somebody on the target does not share what the guests need; the job fails, and the guests stay."""
    source, target = await bench.disk("a", os.urandom(LENGTH)), await bench.disk("b")
    disk = bench.backend(source)
    job = await bench.start(source, target)
    await bench.events.until("j ready")
    rival = BlockBackend(bench.graph, "", Perm.NONE, Perm.ALL & ~Perm.CONSISTENT_READ)
    rival.attach(target)
    bench.jobs.complete(job)
    await bench.events.until("j null")
    assert bench.events.of("j")[-3].startswith("COMPLETED (")
    assert disk.node is source
    rival.detach()
    bench.clean()
    disk.detach()


async def test_a_target_that_cannot_be_flushed(bench: Bench) -> None:
    """Without stable storage nobody goes over to it."""
    source, target = await bench.disk("a", os.urandom(LENGTH)), await bench.disk("b")
    disk = bench.backend(source)
    job = await bench.start(source, target)
    await bench.events.until("j ready")

    async def flush() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.driver.flush = flush  # type: ignore[method-assign]
    bench.jobs.complete(job)
    await bench.events.until("j null")
    assert bench.events.of("j")[-3] == "COMPLETED (Input/output error)"
    assert disk.node is source
    del target.driver.flush
    bench.clean()
    disk.detach()


@pytest.mark.parametrize("write_blocking", [False, True])
async def test_what_is_discarded_reads_the_same(bench: Bench, write_blocking: bool) -> None:
    content = os.urandom(LENGTH)
    source = await bench.disk("a", content, discard="unmap")
    target = await bench.disk("b", os.urandom(LENGTH))
    disk = bench.backend(source)
    job = await bench.start(source, target, write_blocking=write_blocking, granularity=4096)
    await bench.events.until("j ready")
    await disk.pdiscard(100_000, 500_000)
    await disk.pdiscard(LENGTH - 5000, 5000)
    bench.jobs.complete(job)
    await bench.events.until("j null")
    assert bench.content("b") == bench.content("a") != content
    disk.detach()


async def test_a_large_hole_is_one_step(bench: Bench) -> None:
    """And what is written into it while it is looked at arrives."""
    length = 8 << 30
    for name in ("a", "b"):
        with (bench.path / name).open("wb") as file:
            file.truncate(length)
    source, target = await bench.open_disk("a"), await bench.open_disk("b")
    disk = bench.backend(source)
    job = await bench.start(source, target)
    places = [random.Random(1).randrange(length - 4096) for _ in range(40)]
    for place in places:
        await disk.pwritev(place, b"x" * 4096)
        await asyncio.sleep(0)
    await bench.events.until("j ready")
    await disk.pwritev(length - 10, b"y" * 10)
    bench.jobs.complete(job)
    await bench.events.until("j null")
    with (bench.path / "b").open("rb") as file:
        for place in places:
            file.seek(place)
            assert file.read(4096).strip(b"x") == b""
        file.seek(length - 10)
        assert file.read() == b"y" * 10
    assert (bench.path / "b").stat().st_blocks * 512 < 8 << 20
    disk.detach()


async def test_refused(bench: Bench) -> None:
    """A job that cannot be made leaves nothing behind."""
    source, target = await bench.disk("a"), await bench.disk("b")
    reader = BlockBackend(bench.graph, "", Perm.CONSISTENT_READ, Perm.ALL)
    reader.attach(target)
    with pytest.raises(GenericError, match="consistent-read"):
        await bench.start(source, target)
    reader.detach()
    with pytest.raises(GenericError, match="taken"):
        await bench.start(source, target, filter_node_name="b")
    bench.clean()
    assert set(bench.graph.nodes) >= {"a", "b"} and len(bench.graph.nodes) == 4


class Overlays:
    """A disk over a base and a target for it, both qcow2, with guests that write, zero and discard all the time."""

    def __init__(self, bench: Bench, generator: random.Random) -> None:
        self.bench, self.generator = bench, generator
        self.model = bytearray(generator.randbytes(LENGTH))
        (bench.path / "base").write_bytes(self.model)
        self.ending = False

    async def image(self, name: str, *, backed: bool, **options: Any) -> BlockNode:
        path, size = str(self.bench.path / name), self.generator.choice(["512", "4k", "64k"])
        chain = ["-b", str(self.bench.path / "base"), "-F", "raw", path] if backed else [path, str(LENGTH)]
        run_qemu_img("create", "-q", "-f", "qcow2", "-o", f"cluster_size={size}", *chain)
        return await self.bench.open_disk(name, driver="qcow2", discard="unmap", **options)

    async def guest(self, disk: BlockBackend, start: int, end: int, choose: random.Random) -> None:
        while not self.ending:
            length = min(choose.choice([1, 512, 4096, 65536, 150_000]), end - start)
            offset, kind = choose.randint(start, end - length), choose.random()
            data = choose.randbytes(length)
            if kind < 0.2:
                data = bytes(length)
                await disk.pwrite_zeroes(offset, length, may_unmap=choose.random() < 0.5)
            elif kind < 0.3:
                await disk.pdiscard(offset, length)
                data = await read(disk, offset, length)
            else:
                await disk.pwritev(offset, data)
            self.model[offset : offset + length] = data
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(count(6, 200)))
async def test_images_under_load(bench: Bench, seed: int) -> None:
    """With a backing file that both have, that is attached to the target in the end, or that only the source has."""
    generator = random.Random(seed)
    overlays = Overlays(bench, generator)
    top = generator.random() < 0.6
    late = top and generator.random() < 0.5
    source = await overlays.image("a", backed=True)
    target = await overlays.image("b", backed=top, **({"backing": None} if late else {}))
    disk = bench.backend(source)
    parts = [(part * LENGTH // 3, (part + 1) * LENGTH // 3) for part in range(3)]
    guests = [
        asyncio.create_task(overlays.guest(disk, *part, random.Random(f"{seed} {part}"))) for part in parts
    ]
    job = await bench.start(
        source,
        target,
        layers=1 if top else None,
        write_blocking=generator.random() < 0.5,
        granularity=generator.choice([512, 4096, 65536]),
        backing=BackingMode.OPEN if late else BackingMode.LEAVE,
    )
    await bench.events.until("j ready")
    for _ in range(generator.randint(0, 60)):
        await asyncio.sleep(0)
    bench.jobs.complete(job)
    await bench.events.until("j null")
    assert bench.events.of("j")[-3] == "COMPLETED" and disk.node is target
    overlays.ending = True
    await asyncio.gather(*guests)
    assert await read(disk, 0, LENGTH) == overlays.model
    bench.clean()
    disk.detach()


def run_qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True)
