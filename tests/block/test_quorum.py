"""The driver quorum: votes under damage and failures, and children that stay the same under concurrent requests."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from typing import Any

import pytest

from qmpd.block.backend import BlockBackend
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from tests.block.conftest import Bench, read
from tests.soak import count

LENGTH = 256 << 10
SECTOR = 512


async def quorum(bench: Bench, children: int = 3, threshold: int = 2, **options: Any) -> BlockNode:
    names = [f"c{number}" for number in range(children)]
    for name in names:
        await bench.disk(name, length=LENGTH)
    return await bench.add(
        **{"driver": "quorum", "node-name": "q", "children": names, "vote-threshold": threshold, **options}
    )


def events(bench: Bench, name: str) -> list[Any]:
    return [data for seen, data in bench.events.seen if seen == name]


def fail(bench: Bench, monkeypatch: Any, child: str, operation: str, number: int = errno.EIO) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(bench.graph.nodes[child], operation, failing)


async def test_a_read_without_one_child(bench: Bench, monkeypatch: Any) -> None:
    user = bench.backend(await quorum(bench))
    await user.pwritev(1000, b"x" * 100)
    fail(bench, monkeypatch, "c1", "preadv", errno.ENXIO)
    assert await read(user, 1000, 100) == b"x" * 100
    (bad,) = events(bench, "QUORUM_REPORT_BAD")
    error = os.strerror(errno.ENXIO)
    assert bad == {"type": "read", "error": error, "node-name": "c1", "sector-num": 1, "sectors-count": 2}
    assert not events(bench, "QUORUM_FAILURE")
    user.detach()


async def test_a_read_without_two_children(bench: Bench, monkeypatch: Any) -> None:
    user = bench.backend(await quorum(bench))
    for child in ("c0", "c2"):
        fail(bench, monkeypatch, child, "preadv", errno.ENXIO)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        await read(user, 0, 512)
    assert len(events(bench, "QUORUM_REPORT_BAD")) == 2
    assert events(bench, "QUORUM_FAILURE") == [{"reference": "q", "sector-num": 0, "sectors-count": 1}]
    user.detach()


async def test_writes_need_the_threshold(bench: Bench, monkeypatch: Any) -> None:
    user = bench.backend(await quorum(bench))
    fail(bench, monkeypatch, "c0", "pwritev", errno.ENOSPC)
    fail(bench, monkeypatch, "c0", "pwrite_zeroes", errno.ENOSPC)
    fail(bench, monkeypatch, "c0", "flush")
    await user.pwritev(0, b"y" * 512)
    await user.pwrite_zeroes(0, 512)
    await user.flush()
    assert [bad["type"] for bad in events(bench, "QUORUM_REPORT_BAD")] == ["write", "write", "flush"]
    fail(bench, monkeypatch, "c1", "pwritev", errno.ENOSPC)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        await user.pwritev(0, b"z" * 512)
    assert len(events(bench, "QUORUM_FAILURE")) == 1
    fail(bench, monkeypatch, "c1", "flush")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await user.flush()
    assert len(events(bench, "QUORUM_FAILURE")) == 1, "a flush is nowhere in particular"
    monkeypatch.undo()
    user.detach()


async def test_fifo_goes_on_to_the_next(bench: Bench, monkeypatch: Any) -> None:
    user = bench.backend(await quorum(bench, **{"read-pattern": "fifo"}))
    await user.pwritev(0, b"x" * 512)
    for child in ("c0", "c1"):
        fail(bench, monkeypatch, child, "preadv")
    assert await read(user, 0, 512) == b"x" * 512
    assert [bad["node-name"] for bad in events(bench, "QUORUM_REPORT_BAD")] == ["c0", "c1"]
    fail(bench, monkeypatch, "c2", "preadv", errno.ENXIO)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        await read(user, 0, 512)
    user.detach()


async def test_two_that_have_to_agree(bench: Bench) -> None:
    node = await quorum(bench, 2, 2, blkverify=True)
    user = bench.backend(node)
    await user.pwritev(0, b"x" * 1024)
    spoil(bench, "c1", 0, b"y" * 512)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await read(user, 0, 512)
    assert await read(user, 512, 512) == b"x" * 512
    assert len(events(bench, "QUORUM_FAILURE")) == 1
    user.detach()


def spoil(bench: Bench, child: str, offset: int, data: bytes) -> None:
    with (bench.path / f"{child}.img").open("r+b") as file:
        file.seek(offset)
        file.write(data)


async def sectors(user: BlockBackend, first: int, last: int) -> bytes:
    """Sectors, each with a vote of its own: those of one request stand or fall together."""
    return b"".join([await read(user, sector * SECTOR, SECTOR) for sector in range(first, last)])


@pytest.mark.parametrize("seed", range(count(4, 200)))
@pytest.mark.parametrize("rewrite", [False, True])
async def test_a_minority_never_wins(bench: Bench, seed: int, rewrite: bool) -> None:
    """Random writes and reads; between them up to two of five children are spoilt in every sector."""
    generator = random.Random(seed)
    user = bench.backend(await quorum(bench, 5, 3, **{"rewrite-corrupted": rewrite}))
    model = bytearray(LENGTH)
    spoilt: dict[int, set[int]] = {}
    for _ in range(60):
        offset = generator.randrange(0, LENGTH - 8 * SECTOR)
        length = generator.randint(1, 8 * SECTOR)
        first, last = -(-offset // SECTOR), (offset + length) // SECTOR
        what = generator.choice(("write", "zeroes", "read", "read", "spoil"))
        if what == "read":
            assert await sectors(user, first, last) == model[first * SECTOR : max(first, last) * SECTOR]
        elif what == "spoil":
            sector = generator.randrange(LENGTH // SECTOR)
            children = spoilt.setdefault(sector, set())
            children.add(generator.choice(sorted(children) if len(children) == 2 else range(5)))
            for child in children:
                spoil(bench, f"c{child}", sector * SECTOR, generator.randbytes(SECTOR))
        else:
            data = generator.randbytes(length) if what == "write" else bytes(length)
            await (user.pwritev(offset, data) if what == "write" else user.pwrite_zeroes(offset, length))
            model[offset : offset + length] = data
            for sector in range(first, last):
                spoilt.pop(sector, None)
    assert await sectors(user, 0, LENGTH // SECTOR) == model
    assert not events(bench, "QUORUM_FAILURE")
    user.detach()
    if rewrite:
        assert all(bench.content(f"c{number}") == model for number in range(5))


@pytest.mark.parametrize("seed", range(count(3, 100)))
async def test_concurrent_requests_leave_the_children_alike(bench: Bench, seed: int, monkeypatch: Any) -> None:
    """Children take different times; without turns they would see overlapping writes in different orders."""
    generator = random.Random(seed)
    user = bench.backend(await quorum(bench, **{"rewrite-corrupted": True}))
    for name in ("c0", "c1", "c2"):
        hesitate(bench.graph.nodes[name], generator, monkeypatch)

    async def request() -> None:
        offset = generator.randrange(0, 16 * SECTOR)
        length = generator.randint(1, 4 * SECTOR)
        what = generator.choice(("write", "write", "read", "zeroes"))
        if what == "write":
            await user.pwritev(offset, generator.randbytes(length))
        elif what == "zeroes":
            await user.pwrite_zeroes(offset, length)
        else:
            await read(user, offset, length)

    for _ in range(6):
        await asyncio.gather(*(request() for _ in range(12)))
    assert not events(bench, "QUORUM_REPORT_BAD") and not events(bench, "QUORUM_FAILURE")
    user.detach()
    assert bench.content("c0") == bench.content("c1") == bench.content("c2")


def hesitate(node: BlockNode, generator: random.Random, monkeypatch: Any) -> None:
    def slowed(plain: Any) -> Any:
        async def slow(*arguments: Any, **options: Any) -> None:
            for _ in range(generator.randrange(6)):
                await asyncio.sleep(0)
            await plain(*arguments, **options)

        return slow

    for name in ("preadv", "pwritev", "pwrite_zeroes"):
        monkeypatch.setattr(node, name, slowed(getattr(node, name)))


async def test_a_child_s_own_user_may_not_write(bench: Bench) -> None:
    user = bench.backend(await quorum(bench))
    other = BlockBackend(bench.graph, "", Perm.WRITE, Perm.ALL)
    with pytest.raises(Exception, match="does not share"):
        other.attach(bench.graph.nodes["c1"])
    user.detach()
