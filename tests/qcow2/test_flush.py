"""A flush returns only when all that it has to cover is stable. (`test_every_write` cuts off the power.)"""

import asyncio
from pathlib import Path

import pytest

from qmpd.block.driver import Buffer
from tests.qcow2.support import create, lab, tool

SIZE = 4 << 20


async def test_a_flush_waits_for_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that somebody else is writing back are not stable yet, although nothing is left to be taken along."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x")
        write, gate, reached = driver.store.write, asyncio.Event(), asyncio.Event()

        async def held_up(offset: int, data: Buffer) -> None:
            reached.set()
            await gate.wait()
            await write(offset, data)

        monkeypatch.setattr(driver.store, "write", held_up)
        writing = asyncio.create_task(driver.meta.write_back())
        await reached.wait()
        flushing = asyncio.create_task(node.flush())
        done, _ = await asyncio.wait([flushing], timeout=0.2)
        assert not done
        gate.set()
        await asyncio.gather(writing, flushing)
        left = tmp_path / "left.qcow2"
        left.write_bytes(path.read_bytes())
        tool("qemu-io", "-r", "-c", "read -P 120 0 1", left)
        await opened.close(node)
