"""Bitmaps stored in the image, from both sides: ours for QEMU's tools, theirs for us."""

import errno
import json
import random
from pathlib import Path

import pytest

from qmpd.block import reopen
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Buffer
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from tests.qcow2.support import Lab, check, create, lab, tool
from tests.soak import count

MIB = 1 << 20


def add(node: BlockNode, name: str, granularity: int = 65536, *, disabled: bool = False) -> DirtyBitmap:
    """A new persistent bitmap."""
    node.driver.check_can_store_bitmap(name, node.length, granularity)
    bitmap = DirtyBitmap(name, node.length, granularity, persistent=True, disabled=disabled)
    node.bitmaps.add(bitmap)
    return bitmap


async def set_read_only(opened: Lab, node: BlockNode, read_only: bool) -> None:
    """Reopen a node."""
    async with opened.graph.exclusive():
        await reopen.set_read_only(opened.graph, node, read_only)


def listed(path: Path) -> dict[str, dict[str, object]]:
    """What qemu-img info tells about the stored bitmaps."""
    info = json.loads(tool("qemu-img", "info", "--output=json", path))
    return {one["name"]: one for one in info["format-specific"]["data"].get("bitmaps", [])}


def dirty_by_qemu(path: Path, name: str, scratch: Path) -> list[tuple[int, int]]:
    """The dirty extents of a bitmap as qemu-nbd and nbdinfo see them."""
    del scratch
    text = tool(
        "nbdinfo",
        "--json",
        f"--map=qemu:dirty-bitmap:{name}",
        "--",
        *("[", "qemu-nbd", "-r", "-f", "qcow2", "-B", name, path, "]"),
    )
    merged: list[tuple[int, int]] = []
    for one in json.loads(text):
        if one["type"] == 1:
            if merged and sum(merged[-1]) == one["offset"]:
                merged[-1] = (merged[-1][0], merged[-1][1] + one["length"])
            else:
                merged.append((one["offset"], one["length"]))
    return merged


async def test_ours_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 64 * MIB)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        add(node, "one")
        add(node, "two", 4096, disabled=True)
        await node.pwritev(5 * MIB + 7, b"x" * 100000)
        await opened.close(node)
        assert not opened.events.seen
    check(path)
    bitmaps = listed(path)
    assert bitmaps["one"] == {"name": "one", "granularity": 65536, "flags": ["auto"]}
    assert bitmaps["two"] == {"name": "two", "granularity": 4096, "flags": []}
    assert dirty_by_qemu(path, "one", tmp_path) == [(5 * MIB, 2 * 65536)]
    tool("qemu-img", "bitmap", "--merge", "one", path, "two")
    assert dirty_by_qemu(path, "two", tmp_path) == [(5 * MIB, 2 * 65536)]


async def test_theirs_are_used(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 64 * MIB)
    tool("qemu-img", "bitmap", "--add", "-g", 32768, path, "theirs")
    tool("qemu-io", "-c", "write 1M 64k", path)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        bitmap = node.bitmaps.lookup("theirs")
        assert list(bitmap.dirty_extents()) == [(MIB, 65536)]
        assert listed_while_open(path)["theirs"]["flags"] == ["in-use", "auto"]
        await node.pwritev(3 * MIB, b"x")
        await opened.close(node)
    check(path)
    assert dirty_by_qemu(path, "theirs", tmp_path) == [(MIB, 65536), (3 * MIB, 32768)]


def listed_while_open(path: Path) -> dict[str, dict[str, object]]:
    """As `listed`, of an image that somebody has open."""
    info = json.loads(tool("qemu-img", "info", "-U", "--output=json", path))
    return {one["name"]: one for one in info["format-specific"]["data"].get("bitmaps", [])}


async def test_left_in_use_is_inconsistent(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "left")
    tool("qemu-img", "bitmap", "--add", path, "gone")
    before = path.read_bytes()
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        crashed = path.read_bytes()
        await opened.close(node)
    assert crashed != before
    path.write_bytes(crashed)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        assert node.bitmaps.lookup("left").inconsistent
        node.bitmaps.remove(node.bitmaps.lookup("gone"))
        await opened.close(node)
    check(path)
    assert list(listed(path)) == ["left"]
    assert listed(path)["left"]["flags"] == ["in-use", "auto"]


async def test_removed_at_once(tmp_path: Path) -> None:
    """A removed bitmap leaves the image, not only the node; a crash leaves no trace of it."""
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    for name in ("a", "b"):
        tool("qemu-img", "bitmap", "--add", path, name)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await driver.forget_bitmap("a")
        node.bitmaps.remove(node.bitmaps.lookup("a"))
        await driver.forget_bitmap("never there")
        crashed = tmp_path / "crashed.qcow2"
        crashed.write_bytes(path.read_bytes())
        assert listed(crashed) == {"b": {"name": "b", "granularity": 65536, "flags": ["in-use", "auto"]}}
        tool("qemu-img", "check", crashed, ok=(0, 3))
        await driver.forget_bitmap("b")
        node.bitmaps.remove(node.bitmaps.lookup("b"))
        await node.flush()
        assert listed_while_open(path) == {}
        await opened.close(node)
    check(path)


async def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    """It is kept byte for byte, and removed by the name that is shown for it."""
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    for name in ("first", "b-name", "last"):
        tool("qemu-img", "bitmap", "--add", path, name)
    path.write_bytes(path.read_bytes().replace(b"b-name", b"b\xffname"))
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        await node.pwritev(0, bytes(512))
    assert "b\ufffdname".encode() not in path.read_bytes()
    assert list(listed(path)) == ["first", "b\ufffdname", "last"]
    check(path)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        bitmap = node.bitmaps.lookup("b\ufffdname")
        assert bitmap.count > 0
        await driver.forget_bitmap("b\ufffdname")
        node.bitmaps.remove(bitmap)
    assert list(listed(path)) == ["first", "last"]
    check(path)


async def test_to_read_only_and_back(tmp_path: Path) -> None:
    """What reopening does: bitmaps are stored and true while the node is read-only, and in use when it is not."""
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB, lazy_refcounts="on")
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path)
        bitmap = add(node, "b")
        for step in range(3):
            await node.pwritev(step * MIB, b"x")
            await set_read_only(opened, node, True)
            copy = tmp_path / "copy.qcow2"
            copy.write_bytes(path.read_bytes())
            check(copy)
            assert listed(copy)["b"]["flags"] == ["auto"]
            assert dirty_by_qemu(copy, "b", tmp_path) == [(at * MIB, 65536) for at in range(step + 1)]
            assert bitmap.read_only
            await set_read_only(opened, node, False)
            assert not bitmap.read_only
            assert listed_while_open(path)["b"]["flags"] == ["in-use", "auto"]
        await opened.close(node)
    check(path)


async def test_opened_read_only_then_writable(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path, read_only=True)
        await set_read_only(opened, node, False)
        await node.pwritev(MIB, b"x")
        await opened.close(node)
    check(path)
    assert dirty_by_qemu(path, "b", tmp_path) == [(MIB, 65536)]


async def test_marking_as_in_use_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose bitmaps could not be marked stays read-only, and the next one who writes to it marks them."""
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, read_only=True)

        async def fail(offset: int, data: Buffer) -> None:
            raise OSError(errno.EIO, "a test")

        with monkeypatch.context() as patch:
            patch.setattr(driver.store, "write", fail)
            with pytest.raises((OSError, GenericError)):
                await set_read_only(opened, node, False)
        assert node.read_only
        await set_read_only(opened, node, False)
        assert listed_while_open(path)["b"]["flags"] == ["in-use", "auto"]
        await opened.close(node)
    check(path)


@pytest.mark.parametrize("failing", range(8))
async def test_storing_fails(failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever write fails, the image can go on being used, and what it says of its bitmaps is true."""
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x")
        await node.flush()
        write = driver.store.write
        seen = 0

        async def write_or_fail(offset: int, data: Buffer) -> None:
            nonlocal seen
            seen += 1
            if seen == failing + 1:
                raise OSError(errno.EIO, "a test")
            await write(offset, data)

        monkeypatch.setattr(driver.store, "write", write_or_fail)
        try:
            await set_read_only(opened, node, True)
        except GenericError:
            assert listed_while_open(path)["b"]["flags"] == ["in-use", "auto"]
            assert not node.read_only
            await node.pwritev(MIB, b"x")
        else:
            assert seen <= failing
            monkeypatch.undo()
            await set_read_only(opened, node, False)
        await opened.close(node)
    check(path)
    expected = [(0, 65536)] if seen <= failing else [(0, 65536), (MIB, 65536)]
    assert dirty_by_qemu(path, "b", tmp_path) == expected


async def test_no_room_in_the_header(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, MIB, "-u", "-b", "/" + "x" * 355, "-F", "raw", cluster_size=512)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path, backing=None)
        with pytest.raises(GenericError, match="no room"):
            add(node, "b")
        await opened.close(node)


async def test_read_only(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    before = path.read_bytes()
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path, read_only=True)
        assert node.bitmaps.lookup("b").read_only
        await opened.close(node)
    assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(count(8, 100)), ids=lambda seed: f"seed-{seed}")
async def test_many_restarts(seed: int, tmp_path: Path) -> None:
    """Bitmaps come, record and go over clean restarts, some by qemu-img; a model says what they have to hold."""
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    size = chance.randrange(1, 2000) * 512
    create(path, size, cluster_size=chance.choice([512, 4096, 65536]), refcount_bits=chance.choice([1, 16, 64]))
    model: dict[str, tuple[int, set[int]]] = {}
    for number in range(6):
        async with lab() as opened:
            node, _ = await opened.open_qcow2(path)
            assert {one.name for one in node.bitmaps} == set(model)
            for name, (granularity, pieces) in model.items():
                bitmap = node.bitmaps.lookup(name)
                found = {at for at in range(0, size, granularity) if bitmap.get(at)}
                assert found == pieces
            if model and chance.random() < 0.4:
                name = chance.choice(list(model))
                node.bitmaps.remove(node.bitmaps.lookup(name))
                del model[name]
            name, granularity = f"bitmap-{number}", 1 << chance.randrange(9, 17)
            add(node, name, granularity)
            model[name] = granularity, set()
            for _ in range(5):
                offset = chance.randrange(size)
                length = chance.randrange(1, min(size - offset, 50000) + 1)
                await node.pwritev(offset, chance.randbytes(length))
                for granularity, pieces in model.values():
                    pieces.update(range(offset // granularity * granularity, offset + length, granularity))
            await opened.close(node)
            assert not opened.events.seen
        check(path)
        if chance.random() < 0.5:
            tool("qemu-img", "bitmap", "--add", "-g", 65536, path, f"img-{number}")
            model[f"img-{number}"] = 65536, set()
