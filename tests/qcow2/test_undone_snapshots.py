"""A snapshot that is undone leaves nothing behind, whatever is under way meanwhile, and touches nothing it may not."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from qmpd.block.driver import Buffer
from qmpd.block.drivers.qcow2.snapshots import SnapshotMaking
from tests.qcow2.story import check_sound
from tests.qcow2.support import check, create, lab, read, tool

MIB = 1 << 20
CLUSTER = 65536


async def test_who_reads_meanwhile_does_not_keep_flags_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts must not fall after the flags have been set by them."""
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x" * CLUSTER)
        await node.flush()
        making = SnapshotMaking(driver, "one")
        await making.prepare()
        host = driver.path.host_of(0, 4096)
        preadv, gate, reached = driver.file.preadv, asyncio.Event(), asyncio.Event()

        async def held_up(offset: int, buffer: memoryview) -> None:
            if offset == host:
                reached.set()
                await gate.wait()
            await preadv(offset, buffer)

        monkeypatch.setattr(driver.file, "preadv", held_up)
        reading = asyncio.create_task(read(node, 0, 4096))
        await reached.wait()
        making.abort()
        await driver.flags_refreshed()
        gate.set()
        assert await reading == b"x" * 4096
        await opened.close(node)
        assert not opened.events.seen
    check(path)


async def test_what_the_new_header_would_need_stays_when_nobody_knows_which_one_the_file_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x" * CLUSTER)
        making = SnapshotMaking(driver, "one")
        await making.prepare()
        write_now = driver.file.driver.write_now
        calls = 0

        def fail(offset: int, data: Buffer) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                write_now(offset, data)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(driver.file.driver, "write_now", fail)
        with pytest.raises(OSError, match="Input/output"):
            making.commit()
        making.abort()
        assert node.read_only
        await driver.flags_refreshed()
        left = tmp_path / "left.qcow2"
        shutil.copy(path, left)
        check_sound(str(left), flags_may_be_missing=False)
        assert "one" in tool("qemu-img", "snapshot", "-l", left)
        await opened.close(node)
