"""The driver `throttle`: what waits, what is let through, and what is seen of it. No test measures time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.block_copy import BlockCopy
from qmpd.block.drivers.throttle import ThrottleDriver
from qmpd.block.extents import ExtentKind
from qmpd.block.node import BlockNode
from qmpd.block.reopen import Reopening, reopen
from qmpd.errors import GenericError
from tests.block.conftest import Bench, read
from tests.objects.test_throttling import ManualClock

LENGTH = 1 << 20
CLUSTER = 65536


async def group(bench: Bench, name: str = "g", **limits: int) -> ManualClock:
    """A group whose time passes when the test says so."""
    given = {key.replace("_", "-"): value for key, value in limits.items()}
    made: Any = await bench.graph.objects.add("throttle-group", name, {"limits": given})
    clock = ManualClock()
    made.group._given_clock = clock
    return clock


async def throttled(bench: Bench, name: str = "top", disk: str = "disk", group_name: str = "g") -> BlockNode:
    """A disk full of `o` and a filter on it."""
    await bench.disk(disk, b"o" * LENGTH)
    return await bench.add(**{"driver": "throttle", "node-name": name, "throttle-group": group_name, "file": disk})


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_wait_and_go_on(bench: Bench) -> None:
    clock = await group(bench, iops_total=10)
    user = bench.backend(await throttled(bench))
    requests = [
        user.pwritev(0, b"n" * 512),
        read_some(user),
        user.pwrite_zeroes(4096, 512),
        user.pdiscard(8192, 512),
        user.pwritev(12288, b"n" * 512),
    ]
    tasks = [asyncio.create_task(request) for request in requests]
    await settle()
    done = sum(task.done() for task in tasks)
    assert done < 5
    for _ in range(5):
        clock.advance(0.1)
        await settle()
    await asyncio.gather(*tasks)
    assert bench.content("disk")[:512] == b"n" * 512
    assert bench.content("disk")[4096:4608] == bytes(512)
    assert bench.content("disk")[12288:12800] == b"n" * 512
    user.detach()


async def read_some(user: Any) -> None:
    assert await read(user, LENGTH - 512, 512) == b"o" * 512


async def test_flushing_and_mapping_are_free(bench: Bench) -> None:
    clock = await group(bench, iops_total=1)
    node = await throttled(bench)
    user = bench.backend(node)
    await user.pwritev(0, b"n")
    waiting = asyncio.create_task(user.pwritev(1, b"n"))
    await settle()
    for _ in range(20):
        await user.flush()
        (extent,) = await user.map(0, LENGTH)
        assert extent.kind is ExtentKind.DATA
        assert extent.host is None, "a copy from file to file would pass the filter by"
    assert not waiting.done()
    clock.advance(2)
    await waiting
    user.detach()


@pytest.mark.parametrize("which", ["filter", "disk", "above", "neighbour"])
async def test_a_drained_section_does_not_wait_for_time(bench: Bench, which: str) -> None:
    """Whatever is drained: a request that waits in the filter is let through, and later ones stay outside."""
    clock = await group(bench, iops_total=1)
    top = await throttled(bench)
    above = await bench.add(**{"driver": "raw", "node-name": "above", "file": "top"})
    neighbour = await bench.disk("neighbour", bytes(LENGTH))
    user = bench.backend(above)
    owner = BothOwner(top, neighbour)
    children = [bench.graph.attach(owner, name, node, 0, 15) for name, node in (("a", top), ("b", neighbour))]  # type: ignore[arg-type]
    tasks = [asyncio.create_task(user.pwritev(512 * number, b"n" * 512)) for number in range(5)]
    await settle()
    assert not all(task.done() for task in tasks)
    owner.tasks = tasks
    drained = {"filter": top, "disk": top.children["file"].node, "above": above, "neighbour": neighbour}[which]
    for task in tasks:
        task.add_done_callback(lambda _: bench.graph.request_done())
    async with bench.graph.drained([drained]):
        assert all(task.done() for task in tasks)
        assert bench.content("disk")[:2560] == b"n" * 2560
        late = asyncio.create_task(user.pwritev(4096, b"l"))
        if which == "neighbour":
            await late
        await settle()
        assert late.done() == (which == "neighbour")
    next_one = asyncio.create_task(user.pwritev(4096, b"l"))
    await settle()
    # What was let through counts: this one has to wait for it.
    assert not next_one.done()
    clock.advance(10)
    await asyncio.gather(late, next_one)
    for child in children:
        bench.graph.detach(child)
    user.detach()


class BothOwner:
    """A user of two nodes, like a job: while one of them is drained, it waits for its requests to the other."""

    def __init__(self, *nodes: BlockNode) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    def describe(self) -> str:
        return "a test"

    def drained_begin(self) -> None: ...

    def drained_end(self) -> None: ...

    def drained_poll(self) -> bool:
        return not all(task.done() for task in self.tasks)


async def test_copies_from_and_to_it_are_slowed_down(bench: Bench) -> None:
    clock = await group(bench, bps_read=4 * CLUSTER)
    await group(bench, "w", bps_write=4 * CLUSTER)
    top = await throttled(bench)
    await bench.disk("target", bytes(LENGTH))
    from bitarray.util import ones

    copy = BlockCopy(top, bench.graph.lookup("target"), CLUSTER, ones(LENGTH // CLUSTER, endian="little"))

    async def run() -> None:
        while (task := await copy.claim_next(CLUSTER)) is not None:
            await copy.perform(task)

    running = asyncio.create_task(run())
    for _ in range(300):
        await asyncio.sleep(0.001)
        if clock.armed:
            break
    assert not running.done()
    assert clock.armed
    while not running.done():
        clock.advance(0.25)
        await asyncio.sleep(0.001)
    await running
    assert bench.content("target") == b"o" * LENGTH


async def test_a_group_is_kept_by_its_nodes(bench: Bench) -> None:
    await group(bench, iops_total=1)
    node = await throttled(bench)
    with pytest.raises(GenericError, match="top"):
        bench.graph.objects.remove("g")
    assert isinstance(node.driver, ThrottleDriver)
    async with bench.graph.exclusive():
        await bench.graph.delete_node(node)
    bench.graph.objects.remove("g")
    assert not bench.graph.slow_drivers
    with pytest.raises(GenericError, match="no 'throttle-group'"):
        await bench.add(**{"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": "disk"})
    await bench.graph.objects.add("iothread", "g", {})
    with pytest.raises(GenericError, match="no 'throttle-group'"):
        await bench.add(**{"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": "disk"})


async def test_a_node_that_cannot_be_opened_leaves_the_group_alone(bench: Bench) -> None:
    await group(bench)
    with pytest.raises(GenericError):
        await bench.add(**{"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": "nope"})
    bench.graph.objects.remove("g")


async def test_another_group(bench: Bench) -> None:
    slow = await group(bench, iops_total=1)
    await group(bench, "fast")
    node = await throttled(bench)
    user = bench.backend(node)
    tasks = [asyncio.create_task(user.pwritev(512 * number, b"n" * 512)) for number in range(5)]
    await settle()
    for options in ("nope", "fast"):
        model = COMMANDS["blockdev-add"].validate(
            {"driver": "throttle", "node-name": "top", "throttle-group": options, "file": "disk"}
        )
        entries = [Reopening(node, node.options, model)]
        if options == "nope":
            with pytest.raises(GenericError, match="no 'throttle-group'"):
                await reopen(bench.graph, entries)
        else:
            await reopen(bench.graph, entries)
    await asyncio.gather(*tasks)
    for number in range(50):
        await user.pwritev(512 * number, b"m" * 512)
    bench.graph.objects.remove("g")
    with pytest.raises(GenericError, match="in use"):
        bench.graph.objects.remove("fast")
    assert not slow.armed
    user.detach()


async def test_what_queries_show(bench: Bench) -> None:
    await group(bench)
    node = await throttled(bench)
    assert node.length == LENGTH
    assert '"throttle-group": "g"' in node.driver.filename()
    assert node.filtered is bench.graph.lookup("disk")
