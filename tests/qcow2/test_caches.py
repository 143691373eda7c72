"""Caches: bounded, cleaned, and refused when their options make no sense. What is freed reaches the host as asked."""

import random
from pathlib import Path

import pytest

from qmpd.block.drivers.qcow2 import snapshots
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.errors import GenericError
from tests.qcow2.support import Lab, check, create, lab, read, tool

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def cached(driver: Qcow2Driver) -> tuple[int, int]:
    """Bytes of L2 tables and of blocks of counts in memory."""
    tables = sum(len(table.entries) * 8 for table in driver.meta.tables.values())
    return tables, sum(len(block.counts) * block.counts.itemsize for block in driver.refcounts.blocks.values())


@pytest.mark.parametrize(
    ("cluster_size", "part"), [(512, 512), (4096, 4096), (4096, 512), (65536, None), (65536, 1024), (1 << 21, None)]
)
async def test_bounded(cluster_size: int, part: int | None, tmp_path: Path) -> None:
    """Reads and writes all over a disk that needs many times the tables that there is room for."""
    path = tmp_path / "image.qcow2"
    size = 400 * (part or min(cluster_size, 65536)) * cluster_size // 8
    create(path, size, cluster_size=cluster_size)
    limit = 8 * (part or min(cluster_size, 65536))
    more = {} if part is None else {"l2_cache_entry_size": part}
    chance = random.Random(1)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, l2_cache_size=limit, refcount_cache_size=8 * cluster_size, **more)
        written = {}
        for number in range(600):
            offset = chance.randrange(size // 512) * 512
            written[offset] = bytes([number % 255 + 1]) * 512
            await node.pwritev(offset, written[offset])
            tables, counts = cached(driver)
            assert tables <= 2 * limit
            assert counts <= 4 * 8 * cluster_size
        await node.flush()
        for offset, data in written.items():
            assert await read(node, offset, 512) == data
            tables, counts = cached(driver)
            assert tables <= limit
            assert counts <= 4 * 8 * cluster_size
        await opened.close(node)
    check(path)


async def test_parts_of_tables(tmp_path: Path) -> None:
    """A look at one address reads one part of its table, and a snapshot's table is copied as a whole."""
    path = tmp_path / "image.qcow2"
    create(path, 2 * GIB)
    places = [number * 40 * MIB for number in range(50)]
    tool("qemu-io", *(word for place in places for word in ("-c", f"write -P 7 {place} 4k")), path)
    tool("qemu-img", "snapshot", "-c", "s", path)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, l2_cache_entry_size=4096, l2_cache_size=8192)
        for place in places:
            assert await read(node, place, 4096) == b"\7" * 4096
            tables, _ = cached(driver)
            assert tables <= 8192
        await node.pwritev(places[3], b"new")
        await node.flush()
        for place in places:
            expected = b"new" if place == places[3] else b"\7\7\7"
            assert await read(node, place, 3) == expected
        await opened.close(node)
    check(path)
    tool("qemu-io", *(word for place in places for word in ("-c", f"read -P 7 {place + 3} 4093")), path)


async def test_unused_entries_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, GIB)
    tool("qemu-io", "-c", "write 0 64k", "-c", "write 600M 64k", path)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, cache_clean_interval=1000)
        for offset in (0, 600 * MIB):
            await read(node, offset, 512)
        assert set(driver.meta.tables) == {0, 1}
        driver._clean_caches()
        await read(node, 0, 512)
        driver._clean_caches()
        assert set(driver.meta.tables) == {0}
        await node.pwritev(600 * MIB, b"x")
        await node.pwritev(GIB - 1, b"x")
        for _ in range(3):
            driver._clean_caches()
        assert set(driver.meta.tables) == {1}, "what is not written yet stays"
        await node.flush()
        driver._clean_caches()
        driver._clean_caches()
        assert cached(driver) == (0, 0)
        assert await read(node, GIB - 1, 1) == b"x"
        await opened.close(node)
    check(path)


async def test_the_clock_cleans(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, GIB)
    async with lab() as opened:
        for interval, runs in ((0, False), (7, True), (None, True)):
            more = {} if interval is None else {"cache_clean_interval": interval}
            node, driver = await opened.open_qcow2(path, **more)
            assert (driver._cleaning is not None) is runs
            await opened.close(node)
            assert driver._cleaning is None or driver._cleaning.cancelled()


@pytest.mark.parametrize(
    "options",
    [
        {"cache_clean_interval": -1},
        {"cache_clean_interval": 1 << 32},
        {"l2_cache_size": -1},
        {"l2_cache_entry_size": 256},
        {"l2_cache_entry_size": 1536},
        {"l2_cache_entry_size": 131072},
        {"cache_size": 1 << 20, "l2_cache_size": 2 << 20},
        {"cache_size": 1 << 20, "refcount_cache_size": 2 << 20},
        {"cache_size": 1 << 20, "l2_cache_size": 1 << 19, "refcount_cache_size": 1 << 19},
    ],
)
async def test_refused(options: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    create(path, MIB)
    tool("qemu-img", "bitmap", "--add", path, "b")
    before = path.read_bytes()
    async with lab() as opened:
        with pytest.raises(GenericError):
            await opened.open_qcow2(path, **options)
    assert path.read_bytes() == before


def discarded(driver: Qcow2Driver) -> int:
    stats = driver.file.driver.driver_stats()
    assert stats is not None
    return int(str(stats["discard-bytes-ok"]))


async def _discard(opened: Lab, driver: Qcow2Driver) -> None:
    await driver.node.pdiscard(0, 128 * KIB)


async def _delete_snapshot(opened: Lab, driver: Qcow2Driver) -> None:
    await snapshots.delete(driver, driver.snapshots[0])


async def _remove_bitmap(opened: Lab, driver: Qcow2Driver) -> None:
    await driver.forget_bitmap("b")


async def _shrink(opened: Lab, driver: Qcow2Driver) -> None:
    await driver.node.truncate(MIB)


async def _rewrite(opened: Lab, driver: Qcow2Driver) -> None:
    await driver.node.pwritev(2 * MIB, b"x")


CASES = [
    (_discard, "pass_discard_request", True),
    (_delete_snapshot, "pass_discard_snapshot", True),
    (_remove_bitmap, "pass_discard_other", False),
    (_shrink, None, True),
    (_rewrite, None, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
@pytest.mark.parametrize("choice", [None, True, False])
async def test_passing_discards(case: object, choice: bool | None, tmp_path: Path) -> None:
    action, option, default = case  # type: ignore[misc]
    path = tmp_path / "image.qcow2"
    create(path, 4 * MIB)
    tool("qemu-io", "-c", "write 0 128k", "-c", "write -c 2M 64k", path)
    if action is _delete_snapshot:
        tool("qemu-img", "snapshot", "-c", "s", path)
        tool("qemu-io", "-c", "write 0 128k", path)
    if action is _shrink:
        tool("qemu-io", "-c", "write 3M 128k", path)
    tool("qemu-img", "bitmap", "--add", path, "b")
    expected = default if option is None or choice is None else choice
    more = {} if option is None or choice is None else {option: choice}
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path, **more)
        before = discarded(driver)
        await action(opened, driver)
        await node.flush()
        assert (discarded(driver) > before) is expected
        await opened.close(node)
        assert not opened.events.seen
    check(path)
