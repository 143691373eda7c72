"""Amending images that others have made, and changes of the header that cannot be made."""

import errno
import json
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.drivers.qcow2 import amending, header, snapshots
from qmpd.block.drivers.qcow2.amending import Changes
from qmpd.errors import GenericError
from tests.qcow2.support import alone, check, create, lab, same, tool

MIB = 1 << 20
CLUSTER = 512


def shorten_extra(path: Path, extra: int) -> None:
    """Make the snapshot table of an image what older programs write: with less extra data."""
    data = bytearray(path.read_bytes())
    count, at = struct.unpack_from(">IQ", data, 60)
    start, table = at, b""
    for _ in range(count):
        id_size, name_size = struct.unpack_from(">HH", data, at + 12)
        (present,) = struct.unpack_from(">I", data, at + 36)
        end = at + 40 + present + id_size + name_size
        entry = data[at : at + 36] + extra.to_bytes(4, "big") + data[at + 40 : at + 40 + extra]
        entry += data[at + 40 + present : end]
        table += bytes(entry) + bytes(-len(entry) % 8)
        at = end + -(end - at) % 8
    data[start:at] = table.ljust(at - start, b"\0")
    path.write_bytes(data)


async def test_a_snapshot_table_that_is_shorter_than_ours(tmp_path: Path) -> None:
    """Only what it takes is given back with it."""
    path = tmp_path / "image.qcow2"
    create(path, MIB, cluster_size=CLUSTER)
    # Two entries that fill a cluster with 16 bytes of extra data each, and do not fit it with 24.
    for name in ("a" * 199, "b" * 199):
        tool("qemu-img", "snapshot", "-c", name, path)
    shorten_extra(path, 16)
    tool("qemu-img", "check", "-q", "-r", "leaks", path)
    check(path)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"2" * MIB)
        await snapshots.make(driver, "another")
        await snapshots.delete(driver, driver.snapshots[0])
    check(path)
    same(path, b"2" * MIB, tmp_path)


async def test_to_version_3_with_snapshots_that_say_too_little(tmp_path: Path) -> None:
    """That version wants each snapshot to say how large its disk is."""
    path = tmp_path / "image.qcow2"
    create(path, MIB, compat="0.10")
    tool("qemu-img", "snapshot", "-c", "old", path)
    shorten_extra(path, 0)
    async with lab() as opened:
        _, driver = await opened.open_qcow2(path)
        await amending.amend(driver, Changes(version=3))
    assert b"old" in path.read_bytes()
    check(path)
    info = json.loads(tool("qemu-img", "info", "--output=json", path))
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert [one["name"] for one in info["snapshots"]] == ["old"]


async def test_no_room_for_version_3(tmp_path: Path) -> None:
    """The image stays one of version 2, which knows no zero clusters."""
    path = tmp_path / "image.qcow2"
    create(path, MIB, "-u", "-b", "b" * 400, "-F", "raw", compat="0.10", cluster_size=CLUSTER)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, backing=None)
        with pytest.raises(GenericError, match="The header takes"):
            await amending.amend(driver, Changes(version=3))
        assert driver.header.version == 2
        await node.pwrite_zeroes(0, 64 << 10)
    check(alone(path))


@pytest.mark.parametrize("changes", [Changes(version=3), Changes(version=2), Changes(lazy_refcounts=True)], ids=str)
async def test_a_header_that_cannot_be_written(
    changes: Changes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as before, in memory as well."""
    path = tmp_path / "image.qcow2"
    create(path, MIB, compat="0.10" if changes.version == 3 else "1.1")
    before = path.read_bytes()[:CLUSTER]
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        meant, write = header.parse(before, MIB), driver.write_header
        monkeypatch.setattr(driver, "write_header", _fail_once(write))
        with pytest.raises(OSError, match="No space"):
            await amending.amend(driver, changes)
        assert (driver.header.version, driver.header.compatible) == (meant.version, meant.compatible)
        assert not node.read_only
        await node.pwritev(0, b"1" * MIB)
        await node.pwrite_zeroes(0, 64 << 10)
    assert path.read_bytes()[: len(before)] == before
    check(path)
    same(path, bytes(64 << 10) + b"1" * (MIB - (64 << 10)), tmp_path)


def _fail_once(write: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    failed = False

    async def failing() -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await write()

    return failing


async def test_bitmaps_that_are_to_be_stored_keep_an_image_from_version_2(tmp_path: Path) -> None:
    """They reach the image when it is closed, and must not find it of a version that has no place for them."""
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        node.bitmaps.add(DirtyBitmap("b", MIB, 65536, persistent=True))
        async with opened.graph.exclusive():
            with pytest.raises(GenericError, match="bitmaps to store"):
                await amending.amend(driver, Changes(version=2))
        node.bitmaps.remove(node.bitmaps.lookup("b"))
        async with opened.graph.exclusive():
            await amending.amend(driver, Changes(version=2))
        await opened.close(node)
    check(path)
