"""Copy-before-write as a node of its own: what happens at its target, and what comes too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.dirty_bitmap import MAX_BITS, DirtyBitmap
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver, cluster_bits
from qmpd.commands.block import BlockCommands
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from tests.block.conftest import Bench

LENGTH = 1 << 20


async def test_a_filter_put_on_the_target_later_is_not_bypassed(bench: Bench) -> None:
    """A backup of the target sees the old contents arrive there."""
    await bench.disk("disk", b"o" * LENGTH)
    target = await bench.disk("target", b"t" * LENGTH)
    last = await bench.disk("last", bytes(LENGTH))
    top = await bench.add(**{"driver": "copy-before-write", "node-name": "top", "file": "disk", "target": "target"})
    user = bench.backend(top)
    async with bench.graph.exclusive(), bench.graph.drained([target, last]):
        driver = CopyBeforeWriteDriver.for_job(65536, None)
        inserted = bench.graph.insert_filter(driver, target, None, {"target": last})
    await user.pwritev(0, b"n" * 65536)
    assert bench.content("target")[:65536] == b"o" * 65536
    assert bench.content("last")[:65536] == b"t" * 65536
    async with bench.graph.exclusive(), bench.graph.drained([inserted]):
        bench.graph.remove_filter(inserted)
    await user.pwritev(65536, b"n" * 65536)
    assert bench.content("target")[65536:131072] == b"o" * 65536
    assert bench.content("last")[65536:131072] == bytes(65536)
    user.detach()


@pytest.mark.parametrize("end", ["drain", "close"])
async def test_nobody_overtakes_a_copy_that_is_late(bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    await bench.disk("disk", b"o" * LENGTH)
    target = await bench.disk("target", bytes(LENGTH))
    options: dict[str, Any] = {"driver": "copy-before-write", "node-name": "top", "file": "disk", "target": "target"}
    top = await bench.add(**options, **{"cbw-timeout": 1})
    assert isinstance(top.driver, CopyBeforeWriteDriver)
    top.driver.timeout = 0.0
    go_on = asyncio.Event()
    perform = top.driver.copy.perform

    async def slow(task: Any) -> None:
        await go_on.wait()
        await perform(task)

    monkeypatch.setattr(top.driver.copy, "perform", slow)
    user = bench.backend(top)
    with pytest.raises(TimeoutError):
        await user.pwritev(0, b"n" * 512)
    user.detach()

    async def drain() -> None:
        async with bench.graph.drained([target]):
            assert bench.content("target")[:65536] == b"o" * 65536

    async def close() -> None:
        async with bench.graph.exclusive():
            await bench.graph.delete_node(top)
        assert bench.content("target")[:65536] == b"o" * 65536

    ending = asyncio.create_task(drain() if end == "drain" else close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ending.done()
    go_on.set()
    await ending


def test_more_clusters_than_can_be_kept_track_of() -> None:
    for bitmap in (None, DirtyBitmap("b", 1 << 20, 65536)):
        with pytest.raises(GenericError, match="more than"):
            cluster_bits((MAX_BITS + 1) * 65536, 65536, bitmap)


async def test_zeroing_and_discarding_may_be_of_any_length(bench: Bench) -> None:
    length = 5 << 30
    await bench.disk("disk", b"x" * 512, length)
    node = await bench.add(**{"driver": "raw", "node-name": "top", "file": "disk", "discard": "unmap"})
    user = bench.backend(node)
    await user.pwrite_zeroes(0, length, may_unmap=True)
    await user.pwrite_zeroes(0, length - 512, may_unmap=True)
    await user.pdiscard(0, length)
    assert (await node.map(0, length))[0].reads_zero
    user.detach()


async def test_a_resize_asks_the_bitmaps_on_top(bench: Bench) -> None:
    node = await bench.disk("d", bytes(LENGTH))
    node.bitmaps.add(DirtyBitmap("b", LENGTH, 512))
    file = node.children["file"].node
    length = (MAX_BITS + 1) * 512
    arguments = COMMANDS["block_resize"].validate({"node-name": file.node_name, "size": length})
    commands: Any = BlockCommands(bench.graph)
    with pytest.raises(GenericError, match="granularity"):
        await commands.block_resize(RequestContext(1, 1, None, 0.0), arguments)
    assert file.length == node.length == LENGTH
