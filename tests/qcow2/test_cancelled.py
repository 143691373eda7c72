"""Requests whose waiters go away, or that fail: nothing breaks, and no cluster that they took is lost."""

import asyncio
import contextlib
import errno
import json
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.driver import Buffer, HostPiece
from qmpd.block.drivers.qcow2 import snapshots
from qmpd.block.drivers.qcow2.metadata import OFFSET_MASK
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from tests.qcow2.support import check, create, lab, read, same, tool
from tests.soak import count

SIZE = 8 << 20
FORMATS: list[dict[str, object]] = [
    {"cluster_size": 512},
    {"cluster_size": 4096, "refcount_bits": 64},
    {"cluster_size": 65536},
    {"cluster_size": 16384, "extended_l2": "on"},
]


def _requests(chance: random.Random, node: BlockNode, source: Any) -> list[Coroutine[Any, Any, None]]:
    cluster = node.driver.cluster_size or 0
    work: list[Coroutine[Any, Any, None]] = []
    for _ in range(8):
        offset, length = chance.randrange(SIZE - 9000), chance.randrange(1, 9000)
        start = chance.randrange(SIZE // cluster) * cluster
        work.append(
            chance.choice(
                [
                    lambda offset=offset, length=length: node.pwritev(offset, chance.randbytes(length)),
                    lambda offset=offset, length=length: node.pwritev(offset, chance.randbytes(length)),
                    lambda offset=offset, length=length: node.pwrite_zeroes(offset, length, may_unmap=True),
                    lambda start=start: node.pwrite_compressed(start, bytes(cluster - 9) + b"different"),
                    lambda start=start: node.pdiscard(start, cluster),
                    lambda start=start: node.copy_from_host([HostPiece(source, 0, start, cluster)]),
                ]
            )()
        )
    work.append(node.flush())
    return work


@pytest.mark.parametrize("seed", range(count(8, 100)), ids=lambda seed: f"seed-{seed}")
async def test_cancelled_requests(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path, other = tmp_path / "image.qcow2", tmp_path / "other"
    create(path, SIZE, **FORMATS[seed % len(FORMATS)])
    other.write_bytes(chance.randbytes(1 << 16))
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        with other.open("rb") as source:
            for _ in range(40):
                tasks = [asyncio.create_task(work) for work in _requests(chance, node, source)]
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                for task in tasks:
                    if chance.random() < 0.5:
                        task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert result is None or isinstance(result, asyncio.CancelledError)
        await opened.close(node)
        assert not opened.events.seen
    check(path)


@pytest.mark.parametrize("seed", range(count(8, 100)), ids=lambda seed: f"seed-{seed}")
async def test_failing_writes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some writes to the file fail, those to tables too; when they work again all is well, and nothing was lost."""
    chance = random.Random(seed)
    path, other = tmp_path / "image.qcow2", tmp_path / "other"
    create(path, SIZE, **FORMATS[seed % len(FORMATS)])
    other.write_bytes(chance.randbytes(1 << 16))
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        file = driver.file
        write, truncate = file.pwritev, file.truncate
        failing = True

        async def pwritev(offset: int, data: Buffer, fua: bool = False) -> None:
            if failing and chance.random() < 0.15:
                raise OSError(errno.ENOSPC, "a test")
            await write(offset, data, fua)

        async def grow(length: int, exact: bool = False) -> None:
            if failing and chance.random() < 0.15:
                raise OSError(errno.ENOSPC, "a test")
            await truncate(length, exact)

        monkeypatch.setattr(file, "pwritev", pwritev)
        monkeypatch.setattr(file, "truncate", grow)
        with other.open("rb") as source:
            for _ in range(30):
                tasks = [asyncio.create_task(work) for work in _requests(chance, node, source)]
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert result is None or isinstance(result, OSError)
        failing = False
        assert not node.read_only
        await node.flush()
        before = await read(node, 0, SIZE)
        await opened.close(node)
        assert not opened.events.seen
    check(path)
    plain = tmp_path / "plain"
    tool("qemu-img", "convert", "-O", "raw", path, plain)
    assert plain.read_bytes() == before


@pytest.mark.parametrize("seed", range(count(12, 200)), ids=lambda seed: f"seed-{seed}")
async def test_snapshots_while_writes_fail(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space may leak, but flags and counts agree in the end, and nothing is lost."""
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    create(path, SIZE, **FORMATS[seed % len(FORMATS)])
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        write, failing = driver.file.pwritev, 0.0

        async def pwritev(offset: int, data: Buffer, fua: bool = False) -> None:
            if offset and chance.random() < failing:
                raise OSError(errno.ENOSPC, "a test")
            await write(offset, data, fua)

        monkeypatch.setattr(driver.file, "pwritev", pwritev)
        for number in range(12):
            failing = 0.0
            await node.pwritev(chance.randrange(SIZE - 9999), chance.randbytes(9999))
            await node.flush()
            failing = chance.choice((0.0, 0.1, 0.4))
            with contextlib.suppress(GenericError, OSError):
                await snapshots.make(driver, f"s{number}")
            if driver.snapshots and chance.random() < 0.6:
                with contextlib.suppress(GenericError, OSError):
                    await snapshots.delete(driver, chance.choice(driver.snapshots))
            with contextlib.suppress(OSError):
                await driver.flags_refreshed()
        failing = 0.0
        assert not node.read_only
        before = await read(node, 0, SIZE)
        await opened.close(node)
        assert not opened.events.seen
    report = json.loads(tool("qemu-img", "check", "--output=json", path, ok=(0, 2, 3)))
    assert not report.get("corruptions"), report
    plain = tmp_path / "plain"
    tool("qemu-img", "convert", "-O", "raw", path, plain)
    assert plain.read_bytes() == before


async def test_tables_that_can_be_written_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk one table that cannot be written keeps no other from the file."""
    path, copied = tmp_path / "image.qcow2", tmp_path / "copy.qcow2"
    create(path, SIZE, cluster_size=512)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        places = [number << 20 for number in range(8)]
        for place in places:
            await node.pwritev(place, bytes([1]) * 512)
        await node.flush()
        for place in places:
            await node.pwritev(place + 512, bytes([2]) * 512)
        lost = driver.meta.l1[0] & OFFSET_MASK
        write = driver.store.write

        async def fail_for_one(offset: int, data: Buffer) -> None:
            if lost <= offset < lost + 512:
                raise OSError(errno.ENOSPC, "a test")
            await write(offset, data)

        with monkeypatch.context() as failing:
            failing.setattr(driver.store, "write", fail_for_one)
            with pytest.raises(OSError, match="a test"):
                await node.flush()
        copied.write_bytes(path.read_bytes())
        await opened.close(node)
    assert not any(read_by_qemu(copied, tmp_path)[512:1024])
    for contents, first in ((read_by_qemu(path, tmp_path), 0), (read_by_qemu(copied, tmp_path), 1)):
        assert all(contents[place + 512 : place + 1024] == bytes([2]) * 512 for place in places[first:])
    check(path)


def read_by_qemu(image: Path, scratch: Path) -> bytes:
    """The contents of an image."""
    tool("qemu-img", "convert", "-O", "raw", image, scratch / "contents")
    return (scratch / "contents").read_bytes()


async def test_a_table_move_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refcount table grows, and each write on the way fails once: what comes later does the rest."""
    path = tmp_path / "image.qcow2"
    create(path, 4 << 20, cluster_size=512, refcount_bits=64)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        table = driver.header.refcount_table_offset
        write = driver.store.write
        failed: set[int] = set()

        async def fail_once(offset: int, data: Buffer) -> None:
            if driver.refcounts._moving is not None and offset not in failed:
                failed.add(offset)
                raise OSError(errno.ENOSPC, "a test")
            await write(offset, data)

        monkeypatch.setattr(driver.store, "write", fail_once)
        monkeypatch.setattr(driver.store, "write", fail_once)
        for offset in range(0, 4 << 20, 4096):
            for _ in range(100):
                try:
                    await node.pwritev(offset, offset.to_bytes(4, "big") * 1024)
                    break
                except OSError:
                    continue
        for _ in range(100):
            try:
                await node.flush()
                break
            except OSError:
                continue
        assert failed
        assert driver.header.refcount_table_offset != table
        for offset in range(0, 4 << 20, 4096):
            assert await read(node, offset, 4) == offset.to_bytes(4, "big")
        await opened.close(node)
        assert not opened.events.seen
    check(path)


async def test_a_batch_that_needs_another_block_of_counts(tmp_path: Path) -> None:
    """What was taken for a batch of copies, and nothing else, is given back when the rest is not at hand."""
    path, other = tmp_path / "image.qcow2", tmp_path / "other"
    cluster, size = 512, 256 << 10  # a block of counts tells of half of that
    create(path, size, cluster_size=cluster)
    data = random.Random(1).randbytes(size)
    other.write_bytes(data)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        with other.open("rb") as source:
            for start in range(0, size, 24 * cluster):
                ends = range(start, min(start + 24 * cluster, size), cluster)
                await node.copy_from_host([HostPiece(source, offset, offset, cluster) for offset in ends])
        await opened.close(node)
    check(path)
    same(path, data, tmp_path)
