"""Changes that become real with a write of the header: what holds after them, and after such a write has failed."""

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Buffer
from qmpd.block.drivers.qcow2 import amending, packing
from qmpd.block.drivers.qcow2.amending import Changes
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from tests.qcow2.story import Story
from tests.qcow2.support import check, create, lab, tool

SIZE = 1 << 20
CLUSTER = 65536


def fail_header_writes(driver: Qcow2Driver, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let the next writes of the header fail."""
    write = driver.store.write
    left = times

    async def failing(offset: int, data: Buffer) -> None:
        nonlocal left
        if offset == 0 and left:
            left -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        await write(offset, data)

    monkeypatch.setattr(driver.store, "write", failing)


async def test_a_disk_is_written_after_its_counts_got_another_width(tmp_path: Path) -> None:
    """The clusters of the old refcount table are free, and may be used."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x" * CLUSTER)
        async with opened.graph.exclusive():
            await amending.amend(driver, Changes(refcount_bits=32))
        for at in range(CLUSTER, SIZE, CLUSTER):
            await node.pwritev(at, b"y" * CLUSTER)
        await opened.close(node)
        assert not opened.events.seen
    check(path)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        (Changes(refcount_bits=32), {}),
        (Changes(version=3), {"compat": "0.10"}),
        (Changes(version=2), {"lazy_refcounts": "on"}),
        (Changes(lazy_refcounts=True), {}),
        (Changes(lazy_refcounts=False), {"lazy_refcounts": "on"}),
        (Changes(backing_file="base.raw", backing_format="raw"), {}),
    ],
    ids=["width", "upgrade", "downgrade", "lazy", "not lazy", "backing"],
)
async def test_a_header_that_cannot_be_written_leaves_all_as_it_was(
    changes: Changes, options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.qcow2"
    (tmp_path / "base.raw").write_bytes(bytes(SIZE))
    create(path, SIZE, **options)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, backing=None)
        await node.pwritev(0, b"x" * CLUSTER)
        await node.flush()
        await driver.meta.settle()
        before = dataclasses.replace(driver.header, extensions=list(driver.header.extensions))
        fail_header_writes(driver, monkeypatch, times=1)
        async with opened.graph.exclusive():
            with pytest.raises(OSError, match="Input/output"):
                await amending.amend(driver, changes)
        assert dataclasses.replace(driver.header, written=before.written) == before
        assert not node.read_only
        await node.pwritev(CLUSTER, b"y" * CLUSTER)
        await node.pwritev(0, b"z" * CLUSTER)
        await opened.close(node)
        assert not opened.events.seen
    check(path)


async def test_a_dirty_bit_that_could_not_be_set_is_set_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts that are written late must never meet an image that does not say so."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE, lazy_refcounts="on")
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        fail_header_writes(driver, monkeypatch, times=1)
        await node.pwritev(0, b"x" * CLUSTER)
        with pytest.raises(OSError, match="Input/output"):
            await node.flush()
        await node.flush()
        left = tmp_path / "left.qcow2"
        shutil.copy(path, left)
        assert json.loads(tool("qemu-img", "info", "--output=json", left))["dirty-flag"]
        await opened.close(node)
    check(path)


async def test_headers_are_written_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two under way at the same time the older one might be the last, and point to what is gone."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        write, gate, begun = driver.store.write, asyncio.Event(), []

        async def held_up(offset: int, data: Buffer) -> None:
            begun.append(offset)
            await gate.wait()
            await write(offset, data)

        monkeypatch.setattr(driver.store, "write", held_up)
        first, second = (asyncio.create_task(driver.write_header()) for _ in range(2))
        done, _ = await asyncio.wait([first, second], timeout=0.2)
        assert not done
        assert begun == [0]
        gate.set()
        await asyncio.gather(first, second)
        await opened.close(node)


async def test_features_that_are_not_known_are_off_before_anything_is_written(tmp_path: Path) -> None:
    """Whoever knows them must not find them said of data that was changed without them."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE)
    with path.open("r+b") as file:
        file.seek(88)
        file.write(bytes([1 << 7]))
    story = Story({path.name: path.read_bytes()})
    async with lab() as opened:
        with story.recording():
            node, _ = await opened.open_qcow2(path)
        assert [act.offset for act in story.acts] == [0]
        assert any(begin > story.acts[0].end for _, begin, _ in story.syncs)
        await opened.close(node)
    assert path.read_bytes()[88:96] == bytes(8)


async def test_a_header_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Its features' names have to stand back where they would have it take more than one sector."""
    path = tmp_path / "image.qcow2"
    (tmp_path / "base.raw").write_bytes(bytes(SIZE))
    create(path, SIZE)
    tool("qemu-img", "rebase", "-u", "-b", "base.raw", "-F", "raw", path)
    assert path.read_bytes()[512:1024].strip(b"\0"), "this QEMU writes shorter headers"
    story = Story({path.name: path.read_bytes()})
    async with lab() as opened:
        with story.recording():
            node, driver = await opened.open_qcow2(path)
            node.bitmaps.add(DirtyBitmap("b", node.length, 65536, persistent=True))
            await driver.set_backing_name("./" * 100 + "base.raw", "raw")
            await opened.close(node)
    written = [act for act in story.acts if act.offset == 0]
    assert len(written) == 2
    assert all(len(act.data or b"") == 512 for act in written)
    check(path)
    info = json.loads(tool("qemu-img", "info", "--output=json", path))
    assert info["backing-filename"] == "./" * 100 + "base.raw"
    assert [one["name"] for one in info["format-specific"]["data"]["bitmaps"]] == ["b"]


async def test_a_larger_refcount_table_that_may_be_in_use_points_to_nothing_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the header write that switches to it has failed, it is written again, with blocks made since."""
    path = tmp_path / "image.qcow2"
    create(path, 16 * SIZE, cluster_size=512, refcount_bits=64)
    story = Story({path.name: path.read_bytes()})
    async with lab() as opened:
        with story.recording():
            node, driver = await opened.open_qcow2(path)
            write_header = driver.refcounts._write_header
            failed = 0

            async def fail_at_first() -> None:
                nonlocal failed
                await write_header()
                failed += 1
                if failed == 1:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))

            monkeypatch.setattr(driver.refcounts, "_write_header", fail_at_first)
            at = 0
            while not failed:
                with contextlib.suppress(OSError):
                    await node.pwritev(at, b"x" * CLUSTER)
                at += CLUSTER
            # Not enough for a flush, enough for new blocks.
            await node.pwritev(at, b"x" * CLUSTER)
            await node.flush()
        table = driver.header.refcount_table_offset
        first, again = [act for act in story.acts if act.offset == table][:2]
        blocks = set(packing.words(again.data or b"")) - set(packing.words(first.data or b""))
        assert blocks
        synced = max(begin for _, begin, end in story.syncs if end < again.begin)
        late = {act.offset for act in story.acts if synced < act.begin < again.begin}
        assert not late & blocks
        await opened.close(node)
    check(path)
