"""What happens when an image turns out to be corrupt while it is in use."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from qmpd.block.drivers.qcow2 import amending, snapshots
from qmpd.block.drivers.qcow2 import header as headers
from qmpd.block.drivers.qcow2.header import Incompatible
from qmpd.errors import GenericError
from tests.qcow2.support import check, create, lab, read, tool

MIB = 1 << 20
CLUSTER = 65536


def word(data: bytearray, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "big")


def put(data: bytearray, offset: int, value: int) -> None:
    data[offset : offset + 8] = value.to_bytes(8, "big")


def l2_of(data: bytearray) -> int:
    """Where the first L2 table lies."""
    return word(data, word(data, 40)) & 0xFFFFFFFFFFFE00


def data_over_l1(data: bytearray) -> None:
    put(data, l2_of(data), word(data, 40) | 1 << 63)


def data_over_header(data: bytearray) -> None:
    put(data, l2_of(data), 1 << 63 | CLUSTER)


def data_over_its_l2_table(data: bytearray) -> None:
    put(data, l2_of(data), l2_of(data) | 1 << 63)


def data_not_aligned(data: bytearray) -> None:
    put(data, l2_of(data), 512 | 1 << 63)


def l2_table_is_the_l1(data: bytearray) -> None:
    put(data, word(data, 40), word(data, 40) | 1 << 63)


def l2_table_beyond_the_end(data: bytearray) -> None:
    put(data, word(data, 40), 1 << 40 | 1 << 63)


def refcount_block_beyond_the_end(data: bytearray) -> None:
    put(data, word(data, 48), 1 << 40)
    put(data, l2_of(data), 0)


def metadata_looks_free(data: bytearray) -> None:
    block = word(data, word(data, 48))
    data[block : block + 40] = bytes(40)
    put(data, l2_of(data), 0)


@pytest.mark.parametrize(
    "damage",
    [
        data_over_l1,
        data_over_header,
        data_over_its_l2_table,
        data_not_aligned,
        l2_table_is_the_l1,
        l2_table_beyond_the_end,
        refcount_block_beyond_the_end,
        metadata_looks_free,
    ],
)
async def test_a_write_finds_it(damage: Callable[[bytearray], None], tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 8 * MIB)
    tool("qemu-io", "-c", "write -P 1 0 128k", path)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        with pytest.raises(OSError):
            await node.pwritev(100, b"x" * 5000)
        (event,) = opened.events.named("BLOCK_IMAGE_CORRUPTED")
        assert event["node-name"] == "disk"
        assert event["fatal"] is True
        assert node.read_only
        with pytest.raises(OSError):
            await node.pwritev(0, b"x")
        assert driver.header.incompatible & Incompatible.CORRUPT
        await opened.close(node)
    after = bytearray(path.read_bytes())
    after[headers.V2_LENGTH : headers.V2_LENGTH + 8] = data[headers.V2_LENGTH : headers.V2_LENGTH + 8]
    assert after.rstrip(b"\0") == data.rstrip(b"\0"), "nothing but the mark may have changed"
    async with lab() as opened:
        with pytest.raises(GenericError):
            await opened.open_qcow2(path)


async def test_a_read_finds_it(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, 8 * MIB)
    tool("qemu-io", "-c", "write -P 1 0 128k", path)
    data = bytearray(path.read_bytes())
    data_not_aligned(data)
    path.write_bytes(data)
    async with lab() as opened:
        node, _ = await opened.open_qcow2(path, read_only=True)
        for _ in range(2):
            with pytest.raises(OSError):
                await read(node, 0, 4096)
        (event,) = opened.events.named("BLOCK_IMAGE_CORRUPTED")
        assert event["fatal"] is False
        assert await read(node, CLUSTER, 10) == b"\1" * 10
        await opened.close(node)
    assert path.read_bytes() == data


async def test_unknown_extensions_and_features_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    data = bytearray(path.read_bytes())
    header = headers.parse(bytes(data[:CLUSTER]), len(data))
    header.extensions.append(headers.Extension(0x12345678, b"some odd bytes"))
    header.compatible |= 1 << 40
    header.autoclear |= 1 << 40
    encoded = headers.padded(header)
    data[: len(encoded)] = encoded
    path.write_bytes(data)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.truncate(2 * MIB)
        await amending._set_lazy(driver, True)
        await amending._set_lazy(driver, False)
        await opened.close(node)
    again = headers.parse(path.read_bytes()[:CLUSTER], path.stat().st_size)
    assert again.extension(0x12345678) == b"some odd bytes"
    assert again.compatible == 1 << 40
    assert again.autoclear == 0
    assert again.size == 2 * MIB
    check(path)


async def test_long_chain(tmp_path: Path) -> None:
    """A hundred overlays, each with one block of its own."""
    depth = 100
    create(tmp_path / "0.qcow2", MIB)
    for number in range(1, depth):
        backing = ["-b", f"{number - 1}.qcow2", "-F", "qcow2", "-u"]
        create(tmp_path / f"{number}.qcow2", MIB, *backing)
    async with lab() as opened:
        for place, number in enumerate((0, 1, depth // 2)):
            node, _ = await opened.open_qcow2(tmp_path / f"{number}.qcow2", backing=None)
            await node.pwritev(place * CLUSTER, b"%4d" % number)
            await opened.close(node)
        node, _ = await opened.open_qcow2(tmp_path / f"{depth - 1}.qcow2")
        for place, number in enumerate((0, 1, depth // 2)):
            assert await read(node, place * CLUSTER, 4) == b"%4d" % number
        assert await asyncio.wait_for(node.map(0, MIB), 10)
        await opened.close(node)


async def test_a_very_long_number_for_a_snapshot(tmp_path: Path) -> None:
    """An id of thousands of digits is one that nobody counts on from."""
    path = tmp_path / "image.qcow2"
    create(path, 1 << 20)
    tool("qemu-img", "snapshot", "-c", "first", path)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        driver.snapshots[0].identifier = b"9" * 5000
        await snapshots.make(driver, "second")
        await opened.close(node)
        node, driver = await opened.open_qcow2(path)
        assert [one.identifier for one in driver.snapshots] == [b"9" * 5000, b"1"]
        await opened.close(node)
    check(path)
