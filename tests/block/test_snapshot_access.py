"""The frozen view of a running disk: it never changes, whatever guests, readers and failures do."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.backend import BlockBackend
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.extents import ExtentKind
from qmpd.block.node import BlockNode
from qmpd.commands.block import BlockCommands
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from tests.block.conftest import Bench, read
from tests.soak import count

KIB = 1024
CLUSTER = 64 * KIB
CLUSTERS = 16
LENGTH = CLUSTER * CLUSTERS


class Fleecing:
    """A disk `disk`, the filter `cbw` on it with its target `target`, the view `view`, and users of both."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.guest: BlockBackend
        self.reader: BlockBackend
        self.original = b""

    async def open(self, original: bytes, length: int | None = None, **options: Any) -> None:
        self.original = original + bytes((length or len(original)) - len(original))
        await self.bench.disk("disk", original, length)
        await self.add_target()
        await self.add_filter(**options)

    async def add_target(self) -> BlockNode:
        file = self.bench.path / "target.img"
        file.write_bytes(b"")
        with file.open("r+b") as out:
            out.truncate(len(self.original))
        inline = {"driver": "file", "filename": str(file)}
        return await self.bench.add(**{"driver": "raw", "node-name": "target", "discard": "unmap", "file": inline})

    async def add_filter(self, **options: Any) -> None:
        options = {name.replace("_", "-"): value for name, value in options.items()}
        base = {"driver": "copy-before-write", "node-name": "cbw", "file": "disk", "target": "target"}
        self.cbw = await self.bench.add(**base, **{"discard": "unmap"}, **options)
        view = {"driver": "snapshot-access", "node-name": "view", "file": "cbw", "discard": "unmap"}
        self.view = await self.bench.add(**view)
        self.guest = self.bench.backend(self.cbw)
        self.reader = self.bench.backend(self.view)

    def close(self) -> None:
        self.guest.detach()
        self.reader.detach()

    async def shows(self, offset: int = 0, length: int | None = None) -> None:
        length = len(self.original) - offset if length is None else length
        assert await read(self.reader, offset, length) == self.original[offset : offset + length]

    async def out_of_reach(self, offset: int, length: int) -> None:
        with pytest.raises(PermissionError):
            await read(self.reader, offset, length)

    @property
    def driver(self) -> CopyBeforeWriteDriver:
        assert isinstance(self.cbw.driver, CopyBeforeWriteDriver)
        return self.cbw.driver


@pytest.fixture
def fleecing(bench: Bench) -> Fleecing:
    return Fleecing(bench)


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(LENGTH)


async def test_the_view_stays_while_the_disk_changes(fleecing: Fleecing) -> None:
    await fleecing.open(noise(1))
    await fleecing.shows()
    await fleecing.guest.pwritev(CLUSTER + 5, b"n" * 3)
    await fleecing.guest.pwrite_zeroes(3 * CLUSTER, 2 * CLUSTER)
    await fleecing.guest.pdiscard(8 * CLUSTER, CLUSTER)
    await fleecing.shows()
    await fleecing.shows(CLUSTER - 7, 5 * CLUSTER)
    assert await read(fleecing.guest, CLUSTER + 5, 3) == b"nnn"
    fleecing.close()


async def test_two_views_of_one_disk(fleecing: Fleecing) -> None:
    await fleecing.open(noise(2))
    other = await fleecing.bench.add(**{"driver": "snapshot-access", "node-name": "other", "file": "cbw"})
    second = fleecing.bench.backend(other)
    await fleecing.guest.pwritev(0, b"n" * LENGTH)
    await fleecing.shows()
    assert await read(second, 0, LENGTH) == fleecing.original
    second.detach()
    fleecing.close()


async def test_nothing_can_be_written(fleecing: Fleecing) -> None:
    await fleecing.open(noise(3))
    for request in (fleecing.reader.pwritev(0, b"x"), fleecing.reader.pwrite_zeroes(0, CLUSTER)):
        with pytest.raises(OSError) as caught:
            await request
        assert caught.value.errno == errno.ENOTSUP
    await fleecing.reader.flush()
    await fleecing.shows()
    fleecing.close()


async def test_what_is_given_back(fleecing: Fleecing) -> None:
    """Whole clusters only; they are not saved any more, and the target has forgotten them."""
    await fleecing.open(noise(4))
    await fleecing.guest.pwritev(2 * CLUSTER, b"n" * CLUSTER)
    target = fleecing.bench.graph.lookup("target")
    assert (await target.map(2 * CLUSTER, CLUSTER))[0].kind is ExtentKind.DATA
    await fleecing.reader.pdiscard(CLUSTER + 1, 3 * CLUSTER)
    assert (await target.map(2 * CLUSTER, CLUSTER))[0].reads_zero
    await fleecing.guest.pwritev(3 * CLUSTER, b"n" * CLUSTER)
    assert (await target.map(3 * CLUSTER, CLUSTER))[0].reads_zero
    await fleecing.out_of_reach(2 * CLUSTER, 1)
    await fleecing.out_of_reach(0, LENGTH)
    await fleecing.shows(0, 2 * CLUSTER)
    await fleecing.shows(4 * CLUSTER)
    assert (await fleecing.view.map(0, LENGTH))[-1].end == 2 * CLUSTER
    with pytest.raises(PermissionError):
        await fleecing.view.map(3 * CLUSTER, CLUSTER)
    await fleecing.reader.pdiscard(0, LENGTH)
    await fleecing.out_of_reach(LENGTH - 1, 1)
    fleecing.close()


async def test_the_last_cluster_may_be_short(fleecing: Fleecing) -> None:
    await fleecing.open(noise(5)[: LENGTH - CLUSTER + 512])
    last = LENGTH - CLUSTER
    await fleecing.guest.pwritev(last, b"n" * 512)
    await fleecing.shows()
    await fleecing.reader.pdiscard(last, 512)
    await fleecing.out_of_reach(last, 1)
    await fleecing.shows(0, last)
    fleecing.close()


async def test_only_what_a_bitmap_has(fleecing: Fleecing, bench: Bench) -> None:
    original = noise(6)
    fleecing.original = original
    disk = await bench.disk("disk", original)
    bitmap = DirtyBitmap("b", LENGTH, 4 * KIB)
    disk.bitmaps.add(bitmap)
    disk.bitmaps.mark(3 * CLUSTER + 5, 1)
    disk.bitmaps.mark(7 * CLUSTER, 2 * CLUSTER)
    await fleecing.add_target()
    await fleecing.add_filter(bitmap={"node": "disk", "name": "b"})
    await fleecing.guest.pwritev(0, b"n" * LENGTH)
    await fleecing.shows(3 * CLUSTER, CLUSTER)
    await fleecing.shows(7 * CLUSTER, 2 * CLUSTER)
    for cluster in (2, 4, 6, 9):
        await fleecing.out_of_reach(cluster * CLUSTER, 1)
    await fleecing.out_of_reach(3 * CLUSTER, CLUSTER + 1)
    saved = {e.offset // CLUSTER for e in await bench.graph.lookup("target").map(0, LENGTH) if not e.reads_zero}
    assert saved <= {3, 7, 8}
    fleecing.close()


async def test_map_tells_data_from_holes(fleecing: Fleecing) -> None:
    """Of both the disk and the target, and never where in a file the data lies."""
    await fleecing.open(b"", LENGTH)
    disk = fleecing.bench.graph.lookup("disk")
    assert disk is fleecing.cbw.filtered
    await fleecing.guest.pwritev(CLUSTER, b"n" * CLUSTER)
    extents = await fleecing.view.map(0, LENGTH)
    assert extents[0].offset == 0 and extents[-1].end == LENGTH
    assert all(extent.reads_zero for extent in extents)
    fleecing.close()
    await fleecing.bench.graph.close_all()
    await fleecing.open(noise(7))
    await fleecing.guest.pwritev(CLUSTER, b"n" * CLUSTER)
    extents = await fleecing.view.map(0, LENGTH)
    assert all(extent.kind is ExtentKind.DATA and extent.host is None for extent in extents)
    fleecing.close()


class Gate:
    """Holds back the requests of one kind to a node's driver until it is opened."""

    def __init__(self, node: BlockNode, kind: str) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()
        self._pass: Callable[..., Awaitable[None]] = getattr(node.driver, kind)
        setattr(node.driver, kind, self._hold)

    async def _hold(self, *arguments: Any) -> None:
        self.arrived.set()
        await self.opened.wait()
        await self._pass(*arguments)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0.0002)


async def test_a_guest_waits_for_a_reader_of_the_disk(fleecing: Fleecing) -> None:
    await fleecing.open(noise(8))
    gate = Gate(fleecing.bench.graph.lookup("disk"), "preadv")
    reading = asyncio.create_task(read(fleecing.reader, 0, CLUSTER))
    await gate.arrived.wait()
    # The old contents are copied from file to file, past the gate; the write waits all the same.
    writing = asyncio.create_task(fleecing.guest.pwritev(10, b"n"))
    await settle()
    assert not writing.done()
    elsewhere = asyncio.create_task(fleecing.guest.pwritev(5 * CLUSTER, b"n"))
    await asyncio.wait_for(elsewhere, 10)
    gate.opened.set()
    assert await reading == fleecing.original[:CLUSTER]
    await writing
    await fleecing.shows()
    fleecing.close()


async def test_a_reader_of_the_target_holds_up_nobody(fleecing: Fleecing) -> None:
    await fleecing.open(noise(9))
    await fleecing.guest.pwritev(10, b"n")
    gate = Gate(fleecing.bench.graph.lookup("target"), "preadv")
    reading = asyncio.create_task(read(fleecing.reader, 0, CLUSTER))
    await gate.arrived.wait()
    await asyncio.wait_for(fleecing.guest.pwritev(20, b"n"), 10)
    gate.opened.set()
    assert await reading == fleecing.original[:CLUSTER]
    fleecing.close()


async def fail(*arguments: Any) -> None:
    raise OSError(errno.EIO, "broken by the test")


def break_target(fleecing: Fleecing) -> None:
    """Nothing can be written to the target any more."""
    driver: Any = fleecing.bench.graph.lookup("target").driver
    driver.pwritev = driver.copy_from_host = driver.pwrite_zeroes = fail


async def test_a_guest_pays_for_what_cannot_be_saved(fleecing: Fleecing) -> None:
    await fleecing.open(noise(10))
    await fleecing.guest.pwritev(0, b"n")
    break_target(fleecing)
    with pytest.raises(OSError):
        await fleecing.guest.pwritev(CLUSTER, b"n")
    await fleecing.guest.pwritev(1, b"n")
    await fleecing.shows()
    fleecing.close()


async def test_the_view_pays_for_what_cannot_be_saved(fleecing: Fleecing) -> None:
    await fleecing.open(noise(11), on_cbw_error="break-snapshot")
    await fleecing.guest.pwritev(0, b"n")
    gate = Gate(fleecing.bench.graph.lookup("disk"), "preadv")
    reading = asyncio.create_task(read(fleecing.reader, 2 * CLUSTER, CLUSTER))
    await gate.arrived.wait()
    break_target(fleecing)
    # A reader that was first gets what it came for, before the write.
    writing = asyncio.create_task(fleecing.guest.pwritev(2 * CLUSTER, b"n"))
    await settle()
    assert not writing.done()
    gate.opened.set()
    assert await reading == fleecing.original[2 * CLUSTER : 3 * CLUSTER]
    await writing
    for offset in (0, 2 * CLUSTER, 5 * CLUSTER):
        await fleecing.out_of_reach(offset, 1)
    with pytest.raises(PermissionError):
        await fleecing.view.map(0, LENGTH)
    fleecing.close()


async def test_a_backup_of_the_view(fleecing: Fleecing) -> None:
    """A filter on the view, like a backup's, saves nothing, since nobody writes there; its copy is the frozen disk."""
    from qmpd.block.block_copy import BlockCopy

    await fleecing.open(noise(12))
    last = await fleecing.bench.disk("last", bytes(LENGTH))
    from bitarray.util import ones

    copy = BlockCopy(fleecing.view, last, CLUSTER, ones(CLUSTERS, endian="little"))
    await fleecing.guest.pwritev(CLUSTER, b"n" * 3 * CLUSTER)
    while (task := await copy.claim_next(CLUSTER)) is not None:
        await copy.perform(task)
        await fleecing.guest.pwritev(random.randrange(LENGTH - 10), b"m" * 10)
    assert fleecing.bench.content("last") == fleecing.original
    fleecing.close()


async def test_a_backup_of_the_filter_does_not_take_the_view_away(fleecing: Fleecing) -> None:
    """A job's filter comes between the view and its filter, and goes again."""
    await fleecing.open(noise(13))
    last = await fleecing.bench.disk("last", bytes(LENGTH))
    graph = fleecing.bench.graph
    async with graph.exclusive(), graph.drained([fleecing.cbw, last]):
        job = graph.insert_filter(CopyBeforeWriteDriver.for_job(CLUSTER, None), fleecing.cbw, None, {"target": last})
    await fleecing.guest.pwritev(0, b"n" * CLUSTER)
    await fleecing.shows()
    async with graph.exclusive(), graph.drained([job]):
        graph.remove_filter(job)
    await fleecing.guest.pwritev(CLUSTER, b"n" * CLUSTER)
    await fleecing.shows()
    fleecing.close()


async def test_the_filter_may_be_made_while_the_disk_is_in_use(fleecing: Fleecing, bench: Bench) -> None:
    fleecing.original = noise(14)
    disk = await bench.disk("disk", fleecing.original)
    user = bench.backend(disk)
    await fleecing.add_target()
    options = {"driver": "copy-before-write", "node-name": "cbw", "file": "disk", "target": "target"}
    cbw = await bench.add(**options)
    await user.pwritev(0, b"n")
    with pytest.raises(GenericError, match="write"):
        await bench.add(**{"driver": "snapshot-access", "node-name": "view", "file": "cbw"})
    graph = bench.graph
    async with graph.exclusive(), graph.drained([disk, cbw]):
        graph.replace_node(disk, cbw)
    view = await bench.add(**{"driver": "snapshot-access", "node-name": "view", "file": "cbw"})
    before = await read(user, 0, LENGTH)
    await user.pwritev(0, b"m" * LENGTH)
    reader = bench.backend(view)
    assert await read(reader, 0, LENGTH) == before
    reader.detach()
    user.detach()


async def test_a_view_needs_a_filter(bench: Bench) -> None:
    await bench.disk("disk", bytes(LENGTH))
    with pytest.raises(GenericError, match="copy-before-write"):
        await bench.add(**{"driver": "snapshot-access", "node-name": "view", "file": "disk"})


async def resize(bench: Bench, node: str, size: int) -> None:
    commands: Any = BlockCommands(bench.graph)
    arguments = COMMANDS["block_resize"].validate({"node-name": node, "size": size})
    await commands.block_resize(RequestContext(1, 1, None, 0.0), arguments)


async def test_a_disk_under_a_filter_without_users_may_grow(fleecing: Fleecing, bench: Bench) -> None:
    """The filter begins anew; with users nobody may resize."""
    fleecing.original = noise(15)
    await bench.disk("disk", fleecing.original[: LENGTH // 2])
    await fleecing.add_target()
    cbw = await bench.add(**{"driver": "copy-before-write", "node-name": "cbw", "file": "disk", "target": "target"})
    await resize(bench, "disk", LENGTH)
    assert cbw.length == LENGTH
    view = await bench.add(**{"driver": "snapshot-access", "node-name": "view", "file": "cbw"})
    with pytest.raises(GenericError, match="resize"):
        await resize(bench, "disk", 2 * LENGTH)
    guest, reader = bench.backend(cbw), bench.backend(view)
    before = await read(guest, 0, LENGTH)
    await guest.pwritev(0, b"n" * LENGTH)
    assert await read(reader, 0, LENGTH) == before
    guest.detach()
    reader.detach()


async def test_a_disk_that_has_another_length_is_no_longer_that_of_the_view(fleecing: Fleecing) -> None:
    await fleecing.open(noise(16)[: LENGTH // 2])
    await fleecing.guest.pwritev(0, b"n")
    fleecing.close()
    async with fleecing.bench.graph.exclusive():
        await fleecing.bench.graph.delete_node(fleecing.view)
    await resize(fleecing.bench, "disk", LENGTH)
    view = await fleecing.bench.add(**{"driver": "snapshot-access", "node-name": "view", "file": "cbw"})
    fleecing.reader = fleecing.bench.backend(view)
    fleecing.guest = fleecing.bench.backend(fleecing.cbw)
    await fleecing.out_of_reach(0, 1)
    fleecing.close()


class Jitter:
    """Lets requests to a node take a random number of turns, before and after they are done."""

    def __init__(self, node: BlockNode, generator: random.Random) -> None:
        self._generator = generator
        for kind in ("preadv", "pwritev", "pwrite_zeroes", "copy_from_host"):
            setattr(node.driver, kind, self._slowed(getattr(node.driver, kind)))

    def _slowed(self, request: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def slow(*arguments: Any) -> None:
            for _ in range(self._generator.choice((0, 0, 1, 3, 10, 100))):
                await asyncio.sleep(0.0001 if self._generator.random() < 0.1 else 0)
            await request(*arguments)
            for _ in range(self._generator.choice((0, 1, 5))):
                await asyncio.sleep(0)

        return slow


@pytest.mark.parametrize("seed", range(count(8, 400)))
async def test_readers_and_guests_at_once(fleecing: Fleecing, seed: int) -> None:
    """Guests write everywhere in their own stripes; whatever is read of the view is the original."""
    generator = random.Random(seed)
    original = bytearray(noise(seed + 1000))
    for cluster in generator.sample(range(CLUSTERS), 4):
        original[cluster * CLUSTER : (cluster + 1) * CLUSTER] = bytes(CLUSTER)
    await fleecing.open(bytes(original))
    for name in ("disk", "target"):
        Jitter(fleecing.bench.graph.lookup(name), generator)
    model = bytearray(original)
    guests, stripe = 4, 512

    async def guest(number: int) -> None:
        for _ in range(40):
            place = generator.randrange(LENGTH // stripe // guests) * guests + number
            offset, value = place * stripe, generator.randrange(1, 256)
            model[offset : offset + stripe] = bytes([value]) * stripe
            await fleecing.guest.pwritev(offset, bytes([value]) * stripe)

    async def reader() -> None:
        for _ in range(25):
            offset = generator.randrange(LENGTH - 1)
            length = min(generator.choice((1, 512, 3000, CLUSTER, 5 * CLUSTER)), LENGTH - offset)
            await fleecing.shows(offset, length)
            extents = await fleecing.view.map(offset, length)
            for extent in extents:
                if extent.reads_zero:
                    assert not any(original[extent.offset : extent.end])

    await asyncio.gather(*(guest(number) for number in range(guests)), *(reader() for _ in range(3)))
    await fleecing.shows()
    assert fleecing.bench.content("disk") == bytes(model)
    assert not fleecing.driver.view or not fleecing.driver.view.being_read
    fleecing.close()
