"""What `begin_write` has begun is written as `pwritev` writes it; where that takes more, it leaves it alone."""

import asyncio
import errno
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qmpd.block import write_queue
from qmpd.block.backend import BlockBackend
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Buffer
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from tests.qcow2.support import Lab, create, lab

LENGTH = 1 << 20


@pytest.fixture
async def opened() -> AsyncIterator[Lab]:
    async with lab() as made:
        yield made


def raw(path: Path, **more: object) -> dict[str, object]:
    return {"driver": "raw", "file": {"driver": "file", "filename": str(path)}, **more}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(bytes(LENGTH))
    return path


def writing(lab: Lab, node: BlockNode) -> BlockBackend:
    backend = BlockBackend(lab.graph, "", Perm.CONSISTENT_READ | Perm.WRITE, Perm.ALL)
    backend.attach(node)
    return backend


class Ends:
    """Counts writes that are over, and keeps the errors."""

    def __init__(self) -> None:
        self.errors: list[OSError] = []
        self.over = 0

    def __call__(self, error: OSError | None) -> None:
        self.over += 1
        if error is not None:
            self.errors.append(error)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.over < count:  # noqa: ASYNC110  # only turns of the loop can bring it about
                await asyncio.sleep(0)


def never(error: OSError | None) -> None:
    raise AssertionError("a write was told that was not begun")


async def test_what_is_begun_is_marked_at_once_and_written_soon(opened: Lab, plain: Path) -> None:
    node = await opened.open(raw(plain, offset=4096))
    bitmap = DirtyBitmap("b", node.length, 512)
    node.bitmaps.add(bitmap)
    backend = writing(opened, node)
    generator = random.Random(1)
    expected, ends = bytearray(LENGTH), Ends()
    for number in range(100):
        offset, data = number * 8192, generator.randbytes(generator.choice([1, 512, 5000]))
        expected[4096 + offset : 4096 + offset + len(data)] = data
        assert backend.begin_write(offset, data, ends)
        assert list(bitmap.dirty_extents(offset, len(data)))
    await ends.wait(100)
    assert plain.read_bytes() == expected
    assert not ends.errors
    assert backend.stats.write.operations == 100
    assert node.wr_highest_offset == 99 * 8192 + len(data)


async def test_what_takes_more_is_refused(opened: Lab, plain: Path, tmp_path: Path) -> None:
    node = await opened.open(raw(plain))
    for offset, data in ((0, b""), (-1, b"x"), (LENGTH - 1, b"xx")):
        assert not node.begin_write(offset, data, never)
    node.become_read_only()
    assert not node.begin_write(0, b"x", never)
    zeroes = await opened.open({"node-name": "zeroes", **raw(plain), "detect-zeroes": "on"})
    assert not zeroes.begin_write(0, b"x", never)
    image = tmp_path / "image"
    create(image, LENGTH)
    formatted = await opened.open(
        {"node-name": "formatted", "driver": "qcow2", "file": {"driver": "file", "filename": str(image)}}
    )
    assert not formatted.begin_write(0, b"x", never)
    assert plain.read_bytes() == bytes(LENGTH)


async def test_a_drain_waits_for_it_and_keeps_the_next_one_out(opened: Lab, plain: Path) -> None:
    node = await opened.open(raw(plain))
    backend = writing(opened, node)
    ends = Ends()
    assert backend.begin_write(0, b"x" * 4096, ends)
    async with opened.graph.drained([node]):
        assert ends.over == 1
        assert plain.read_bytes()[:4096] == b"x" * 4096
        assert not backend.begin_write(0, b"y", never)
    assert backend.in_flight == 0


async def test_a_failure_is_left_to_pwritev(opened: Lab, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and counted nowhere: that is up to the request that is made of it."""
    node = await opened.open(raw(plain))
    backend = writing(opened, node)
    ends = Ends()

    def full(fd: int, offset: int, data: Buffer) -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write_queue, "write_fully", full)
    assert backend.begin_write(0, b"x", ends)
    await ends.wait(1)
    assert [error.errno for error in ends.errors] == [errno.ENOSPC]
    assert (backend.stats.write.operations, backend.stats.write.failed, backend.in_flight) == (0, 0, 0)
