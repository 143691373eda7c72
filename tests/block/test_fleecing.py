"""A copy-before-write filter whose target is an overlay of the filtered node, and a reader of that overlay."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from tests.block.conftest import Bench, read

MIB = 1 << 20
CLUSTER = 65536


async def fleece(bench: Bench) -> tuple[BlockNode, BlockNode, BlockNode]:
    """The disk, the overlay, and the filter."""
    disk = await bench.disk("d", b"o" * MIB)
    path = bench.path / "o.qcow2"
    await asyncio.to_thread(subprocess.run, ["qemu-img", "create", "-q", "-f", "qcow2", path, str(MIB)], check=True)
    file = {"driver": "file", "filename": str(path)}
    overlay = await bench.add(**{"driver": "qcow2", "node-name": "o", "file": file, "backing": "d"})
    driver = CopyBeforeWriteDriver.for_job(CLUSTER, None)
    async with bench.graph.exclusive(), bench.graph.drained([disk, overlay]):
        cbw = bench.graph.insert_filter(driver, disk, None, {"target": overlay}, overlays=True)
    return disk, overlay, cbw


async def turns(number: int = 50) -> None:
    for _ in range(number):
        await asyncio.sleep(0.001)


async def test_a_write_waits_for_a_reader_that_looked_before_the_copy(bench: Bench, monkeypatch: Any) -> None:
    disk, overlay, cbw = await fleece(bench)
    reader, guest = bench.backend(overlay, Perm.CONSISTENT_READ, Perm.ALL), bench.backend(cbw)
    stuck, release = asyncio.Event(), asyncio.Event()
    plain = disk.preadv

    async def slow(offset: int, buffer: memoryview) -> None:
        if not stuck.is_set():
            stuck.set()
            await release.wait()
        await plain(offset, buffer)

    monkeypatch.setattr(disk, "preadv", slow)
    reading = asyncio.ensure_future(read(reader, 0, 512))
    await stuck.wait()
    first = asyncio.ensure_future(guest.pwritev(0, b"n" * 512))
    await turns()
    second = asyncio.ensure_future(guest.pwritev(0, b"m" * 512))
    await turns()
    late = asyncio.ensure_future(read(reader, 512, 512))
    await turns()
    assert not (first.done() or second.done() or late.done())
    release.set()
    async with asyncio.timeout(30):
        assert await reading == b"o" * 512
        await asyncio.gather(first, second)
        assert await late == b"o" * 512
    assert await read(reader, 0, 512) == b"o" * 512
    assert await read(guest, 0, 512) in (b"n" * 512, b"m" * 512)
    reader.detach()
    guest.detach()
    async with bench.graph.exclusive(), bench.graph.drained([cbw]):
        bench.graph.remove_filter(cbw)


async def test_without_readers_nobody_waits(bench: Bench) -> None:
    _, overlay, cbw = await fleece(bench)
    guest = bench.backend(cbw)
    await guest.pwritev(CLUSTER, b"n" * CLUSTER)
    await guest.pwrite_zeroes(0, 512)
    assert await read(overlay, 0, 2 * CLUSTER) == b"o" * 2 * CLUSTER
    guest.detach()
    async with bench.graph.exclusive(), bench.graph.drained([cbw]):
        bench.graph.remove_filter(cbw)


async def test_the_overlay_keeps_its_way_to_the_disk(bench: Bench) -> None:
    disk, overlay, cbw = await fleece(bench)
    assert overlay.children["backing"].node is disk
    assert cbw.filtered is disk
    async with bench.graph.exclusive(), bench.graph.drained([cbw]):
        bench.graph.remove_filter(cbw)
    assert [child.owner for child in disk.parents] == [overlay]
