"""Block copy and the copy-before-write filter against a model: the target is the source as it stood."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from bitarray.util import ones, zeros
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.block.block_copy import DEFAULT_CHUNK, FILE_CHUNKS, MAX_PARALLEL, BlockCopy, CopyError, Pace
from qmpd.block.driver import HostPiece, not_supported
from qmpd.block.drivers.copy_before_write import BREAK_GUEST_WRITE, CopyBeforeWriteDriver, cluster_bits
from qmpd.block.drivers.file import FileDriver
from qmpd.block.node import BlockNode
from tests.block.conftest import Bench, read
from tests.soak import count

CLUSTER = 65536
CLUSTERS = 24
LENGTH = CLUSTER * CLUSTERS - 1536  # the last cluster is a partial one


def make_content(seed: int) -> bytes:
    """Data and holes, also within clusters."""
    rng = random.Random(seed)
    parts = []
    while sum(map(len, parts)) < LENGTH:
        size = rng.choice([4096, 8192, 65536, 200_704])
        parts.append(rng.randbytes(size) if rng.random() < 0.6 else bytes(size))
    return b"".join(parts)[:LENGTH]


def sparse_file(path: Path, content: bytes) -> None:
    """`content` with its zero pages as holes."""
    with path.open("wb") as file:
        for at in range(0, len(content), 4096):
            page = content[at : at + 4096]
            if any(page):
                file.seek(at)
                file.write(page)
        file.truncate(len(content))


async def disks(bench: Bench, content: bytes, name: str = "") -> tuple[BlockNode, BlockNode]:
    source = await bench.disk(f"s{name}", b"", LENGTH)
    sparse_file(bench.path / f"s{name}.img", content)
    return source, await bench.disk(f"t{name}", b"", LENGTH)


async def copy_all(copy: BlockCopy, chunk: int = 4 * CLUSTER) -> None:
    while (task := await copy.claim_next(chunk)) is not None:
        await copy.perform(task)


@pytest.mark.parametrize("offload", [False, True])
async def test_copies_everything_and_keeps_holes(bench: Bench, offload: bool) -> None:
    content = make_content(1)
    source, target = await disks(bench, content)
    copy = BlockCopy(source, target, CLUSTER, ones(CLUSTERS, endian="little"))
    copy.offload = offload
    await copy_all(copy)
    assert bench.content("t") == content
    blocks = [os.stat(bench.path / f"{name}.img").st_blocks for name in "st"]
    assert blocks[1] <= blocks[0]


async def test_zeroes_overwrite_what_was_there(bench: Bench) -> None:
    content = make_content(2)
    source, target = await disks(bench, content)
    await target.pwritev(0, b"old" * (LENGTH // 3))
    await copy_all(BlockCopy(source, target, CLUSTER, ones(CLUSTERS, endian="little")))
    assert bench.content("t")[:LENGTH] == content


async def test_only_what_is_to_do(bench: Bench) -> None:
    content = make_content(3)
    source, target = await disks(bench, content)
    todo = ones(CLUSTERS, endian="little")
    todo[3:7] = 0
    todo[CLUSTERS - 1] = 0
    copy = BlockCopy(source, target, CLUSTER, todo)
    done: list[int] = []
    copy.on_copied = done.append
    await copy_all(copy)
    expected = bytearray(content)
    expected[3 * CLUSTER : 7 * CLUSTER] = bytes(4 * CLUSTER)
    expected[(CLUSTERS - 1) * CLUSTER :] = bytes(LENGTH - (CLUSTERS - 1) * CLUSTER)
    assert bench.content("t") == bytes(expected)
    assert sum(done) == (CLUSTERS - 5) * CLUSTER
    assert copy.remaining == 0


async def test_a_filter_in_between_is_not_bypassed(bench: Bench) -> None:
    """The target of one copy is the source of another: the kernel's copy must not slip past the filter."""
    content = make_content(4)
    source, middle = await disks(bench, content)
    await middle.pwritev(0, b"m" * CLUSTER)
    last = await bench.disk("last", b"", LENGTH)
    async with bench.graph.exclusive(), bench.graph.drained([middle, last]):
        driver = CopyBeforeWriteDriver.for_job(CLUSTER, None)
        cbw = bench.graph.insert_filter(driver, middle, "cbw", {"target": last})
    await copy_all(BlockCopy(source, cbw, CLUSTER, ones(CLUSTERS, endian="little")))
    assert bench.content("s") == bench.content("t")
    assert bench.content("last")[:CLUSTER] == b"m" * CLUSTER
    async with bench.graph.exclusive(), bench.graph.drained([cbw]):
        bench.graph.remove_filter(cbw)


class FailingTarget:
    """Makes the writes of a file driver fail when told to."""

    def __init__(self, node: BlockNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail = False
        file = node.children["file"].node.driver
        assert isinstance(file, FileDriver)
        plain = file.pwritev

        async def pwritev(offset: int, data: bytes, fua: bool) -> None:
            if self.fail:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            await plain(offset, data, fua)

        async def copy_from_host(pieces: Sequence[HostPiece]) -> None:
            raise not_supported()

        monkeypatch.setattr(file, "pwritev", pwritev)
        monkeypatch.setattr(file, "copy_from_host", copy_from_host)


async def test_a_failed_task_is_to_do_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"d" * LENGTH
    source, target = await disks(bench, content)
    failing = FailingTarget(target, monkeypatch)
    copy = BlockCopy(source, target, CLUSTER, ones(CLUSTERS, endian="little"))
    failing.fail = True
    task = await copy.claim_next(CLUSTER)
    assert task is not None
    assert copy.remaining == (CLUSTERS - 1) * CLUSTER
    with pytest.raises(CopyError) as caught:
        await copy.perform(task)
    assert not caught.value.is_read
    assert caught.value.cause.errno == errno.ENOSPC
    assert copy.remaining == CLUSTERS * CLUSTER
    assert copy.idle
    failing.fail = False
    await copy_all(copy)
    assert bench.content("t") == content


@pytest.mark.parametrize("mode", [BREAK_GUEST_WRITE, "break-snapshot"])
async def test_what_a_failing_target_breaks(bench: Bench, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    source, target = await disks(bench, b"d" * LENGTH)
    failing = FailingTarget(target, monkeypatch)
    failing.fail = True
    user = bench.backend(source)
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        driver = CopyBeforeWriteDriver.for_job(CLUSTER, None)
        driver.on_cbw_error = mode
        node = bench.graph.insert_filter(driver, source, None, {"target": target})
    told: list[bool] = []
    driver.on_broken = lambda: told.append(True)
    if mode == BREAK_GUEST_WRITE:
        with pytest.raises(OSError) as caught:
            await user.pwritev(0, b"x" * 512)
        assert caught.value.errno == errno.ENOSPC
        assert bench.content("s")[:512] == b"d" * 512
        assert driver.broken is None
    else:
        await user.pwritev(0, b"x" * 512)
        await user.pwritev(0, b"y" * 512)
        assert bench.content("s")[:512] == b"y" * 512
        assert driver.broken is not None
        assert told == [True]
    async with bench.graph.exclusive(), bench.graph.drained([node]):
        bench.graph.remove_filter(node)
    user.detach()


def test_cluster_bits_follow_the_bitmap() -> None:
    from qmpd.block.dirty_bitmap import DirtyBitmap

    bitmap = DirtyBitmap("b", LENGTH, 4096)
    bitmap.set(CLUSTER * 2 + 8192, 4096)
    bitmap.set(LENGTH - 1, 1)
    bits = cluster_bits(LENGTH, CLUSTER, bitmap)
    assert list(bits.search(1)) == [2, CLUSTERS - 1]
    assert len(bits) == CLUSTERS


@settings(
    max_examples=count(40, 2000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), parallel=st.integers(1, 8), chunk=st.sampled_from([CLUSTER, 5 * CLUSTER, 1 << 21]))
def test_writes_meanwhile_do_not_reach_the_copy(tmp_path: Path, seed: int, parallel: int, chunk: int) -> None:
    """Guests write, zero and discard at random while the background copies with several tasks."""
    asyncio.run(_race(tmp_path, seed, parallel, chunk))


async def _race(path: Path, seed: int, parallel: int, chunk: int) -> None:
    rng = random.Random(seed)
    bench = Bench(path)
    content = make_content(seed)
    source, target = await disks(bench, content)
    user = bench.backend(source)
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        driver = CopyBeforeWriteDriver.for_job(CLUSTER, None)
        node = bench.graph.insert_filter(driver, source, None, {"target": target})
    model = bytearray(content)

    async def guest() -> None:
        for _ in range(12):
            offset = rng.randrange(0, LENGTH - 512)
            length = min(rng.choice([512, 4096, 70_000]), LENGTH - offset)
            if rng.random() < 0.7:
                data = rng.randbytes(length)
                model[offset : offset + length] = data
                await user.pwritev(offset, data)
            else:
                model[offset : offset + length] = bytes(length)
                await user.pwrite_zeroes(offset, length, may_unmap=rng.random() < 0.5)

    async def background() -> None:
        while (task := await driver.copy.claim_next(chunk)) is not None:
            await driver.copy.perform(task)

    await asyncio.gather(guest(), *[background() for _ in range(parallel)])
    await driver.copy.wait_idle()
    assert driver.broken is None
    assert driver.copy.remaining == 0
    async with bench.graph.exclusive(), bench.graph.drained([node]):
        bench.graph.remove_filter(node)
    assert bench.content("t") == content
    assert await read(user, 0, LENGTH) == bytes(model)
    user.detach()
    await bench.close()


async def test_scattered_clusters_with_holes(bench: Bench) -> None:
    """The worker that copies finds the holes: they are zeroed in the target where it has data, and only there."""
    size = 65536
    content = bytearray(64 * size)
    for cluster in range(0, 64, 3):
        content[cluster * size : cluster * size + size] = bytes([cluster + 1]) * size
    source = await bench.disk("source", length=len(content))
    user = bench.backend(source)
    for cluster in range(0, 64, 3):
        await user.pwritev(cluster * size, bytes([cluster + 1]) * size)
    target = await bench.disk("target", b"\xee" * 32 * size, length=len(content))
    todo = zeros(64, endian="little")
    todo[::2] = 1
    todo[9:15] = 1
    chosen = [number for number in range(64) if todo[number]]
    copy = BlockCopy(source, target, size, todo)
    while (task := await copy.claim_next(None)) is not None:
        await copy.perform(task)
    expected = bytearray(b"\xee" * 32 * size + bytes(32 * size))
    for cluster in chosen:
        expected[cluster * size : cluster * size + size] = content[cluster * size : cluster * size + size]
    assert bench.content("target") == bytes(expected)
    assert copy.idle and copy.todo.count() == 0
    user.detach()


def test_tasks_become_as_large_as_the_storage_is_quick() -> None:
    pace = Pace()
    while pace.chunk < FILE_CHUNKS.stop:
        before = pace.chunk
        pace.note(0.001, pace.chunk, 2)
        assert pace.chunk == 2 * before and pace.is_cached
    for seconds, chunk in ((0.001, FILE_CHUNKS.stop), (0.01, FILE_CHUNKS.stop), (0.1, FILE_CHUNKS.stop // 2)):
        pace.note(seconds, pace.chunk, 2)
        assert pace.chunk == chunk
    pace.note(0.001, pace.chunk, 2, also_otherwise=True)
    assert pace.chunk == DEFAULT_CHUNK
    for _ in range(20):
        pace.note(1.0, pace.chunk, 2)
    assert pace.chunk == FILE_CHUNKS.start and not pace.is_cached


def test_one_slow_task_does_not_make_a_disk_of_the_page_cache() -> None:
    pace = Pace()
    pace.note(0.02, 4 << 20, 2)
    assert pace.is_cached
    for _ in range(3):
        pace.note(0.02, 4 << 20, 2)
    assert not pace.is_cached
    # Four on two processors are each half as fast as two, and together as fast.
    for _ in range(3):
        pace.note(0.008, 4 << 20, 4)
    assert pace.is_cached


async def test_how_many_tasks_there_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them on a disk, and where data goes through this process."""
    source, target = await disks(bench, make_content(9))
    copy = BlockCopy(source, target, CLUSTER, ones(CLUSTERS, endian="little"))
    assert copy.parallel < MAX_PARALLEL
    monkeypatch.setattr(Pace, "is_cached", False)
    assert copy.parallel == MAX_PARALLEL
    monkeypatch.undo()

    async def refuse(self: FileDriver, pieces: Sequence[HostPiece]) -> None:
        raise not_supported()

    monkeypatch.setattr(FileDriver, "copy_from_host", refuse)
    await copy_all(copy)
    assert copy.parallel == MAX_PARALLEL
