"""The machine loses power at a random moment: what was not synced may be there, in part, or not at all.

All that the driver does to the image file is written down. For a moment of the story an image is put together of what
was stable then, and of any sectors of what was not, in any order. It must have no corruption (leaks are allowed), and
all data that a flush had confirmed. `test_crash` kills a process, which loses nothing of the page cache.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Buffer
from qmpd.block.drivers.qcow2 import snapshots
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.node import BlockNode
from tests.qcow2.support import create, lab, tool
from tests.soak import count

SIZE = 4 << 20
BLOCK = 4096
SECTOR = 512
CRASHES = 8
FLAG_MISSING = re.compile(r"OFLAG_COPIED .*refcount=1$")


@dataclass
class Act:
    """Something done to the file: `data` at `offset`, or (None) a length of `offset`. Times are ticks of a clock."""

    offset: int
    data: bytes | None
    begin: int
    end: int = 1 << 60


class Story:
    """What was done to an image file and to the disk, and when."""

    def __init__(self, driver: Qcow2Driver, start: bytes) -> None:
        self.clock = 0
        self.start = start
        self.acts: list[Act] = []
        self.syncs: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int, int, int]] = []
        self.flushes: list[tuple[int, int]] = []
        file = driver.file
        self._write, self._truncate, self._flush = file.pwritev, file.truncate, file.flush
        self._write_now = file.driver.write_now
        file.pwritev = self.write
        file.truncate = self.truncate
        file.flush = self.flush
        file.driver.write_now = self.write_now

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    async def write(self, offset: int, data: Buffer, fua: bool = False) -> None:
        act = Act(offset, bytes(data), self.tick())
        self.acts.append(act)
        await self._write(offset, data, fua)
        act.end = self.tick()

    async def truncate(self, length: int, exact: bool = False) -> None:
        act = Act(length, None, self.tick())
        self.acts.append(act)
        await self._truncate(length, exact)
        act.end = self.tick()

    async def flush(self) -> None:
        begin = self.tick()
        await self._flush()
        self.syncs.append((begin, self.tick()))

    def write_now(self, offset: int, data: Buffer) -> None:
        self._write_now(offset, data)
        if len(data):
            begin = self.tick()
            self.acts.append(Act(offset, bytes(data), begin, self.tick()))
            self.syncs.append((self.tick(), self.tick()))

    # What the guest does.

    async def guest_write(self, node: BlockNode, block: int, value: int) -> None:
        begin = self.tick()
        self.writes.append((block, value, begin, 1 << 60))
        place = len(self.writes) - 1
        if value:
            await node.pwritev(block * BLOCK, pattern(value))
        else:
            await node.pwrite_zeroes(block * BLOCK, BLOCK, may_unmap=bool(begin % 2))
        self.writes[place] = (block, value, begin, self.tick())

    async def guest_flush(self, node: BlockNode) -> None:
        begin = self.tick()
        await node.flush()
        self.flushes.append((begin, self.tick()))

    # What is left of it.

    def stable_before(self, moment: int) -> int:
        """What ended before this is on stable storage at `moment`."""
        return max((begin for begin, end in self.syncs if end <= moment), default=0)

    def image_at(self, moment: int, chance: random.Random) -> bytes:
        """One of the images that a loss of power at `moment` may leave."""
        stable = self.stable_before(moment)
        begun = [act for act in self.acts if act.begin <= moment]
        data = bytearray(self.start)
        for act in begun:
            if act.end < stable:
                _apply(data, act, None, chance)
        rest = [act for act in begun if act.end >= stable]
        chance.shuffle(rest)
        likely = chance.choice([0.1, 0.5, 0.9])
        for act in rest:
            if chance.random() < likely:
                _apply(data, act, chance.choice([None, 0.5]), chance)
        return bytes(data)

    def values_at(self, moment: int) -> dict[int, set[int]]:
        """What each block may hold."""
        confirmed = max((begin for begin, end in self.flushes if end <= moment), default=0)
        values: dict[int, set[int]] = {}
        for block, value, begin, end in sorted(self.writes, key=lambda write: write[3]):
            if begin > moment:
                continue
            if end < confirmed:
                values[block] = {value}
            else:
                values.setdefault(block, {0}).add(value)
        return values


def _apply(data: bytearray, act: Act, part: float | None, chance: random.Random) -> None:
    """Do it to `data`; with `part`, each sector of a write only with that likelihood."""
    if act.data is None:
        if act.offset > len(data):
            data.extend(bytes(act.offset - len(data)))
        return
    end = act.offset + len(act.data)
    if end > len(data):
        data.extend(bytes(end - len(data)))
    if part is None:
        data[act.offset : end] = act.data
        return
    at = act.offset
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        if chance.random() < part:
            data[at:stop] = act.data[at - act.offset : stop - act.offset]
        at = stop


def pattern(value: int) -> bytes:
    return value.to_bytes(8, "little") * (BLOCK // 8)


def check_sound(path: Path) -> None:
    """Fail if anything is wrong but leaks, and COPIED flags that are missing.

    Counts and flags of all clusters cannot change at once when a snapshot is made or deleted, so qemu-img finds flags
    that do not fit. What matters is that none is set where there are two users: then a write would reach both.
    """
    tool("qemu-img", "check", "-q", "-r", "leaks", path, ok=(0, 2, 3))
    words = tool("qemu-img", "check", path, ok=(0, 2, 3))
    wrong = [line for line in words.splitlines() if line.startswith("ERROR") and not FLAG_MISSING.search(line)]
    assert not wrong, words


def judge(image: bytes, values: dict[int, set[int]], scratch: Path) -> None:
    path, plain = scratch / "left.qcow2", scratch / "left.raw"
    path.write_bytes(image)
    check_sound(path)
    tool("qemu-img", "convert", "-O", "raw", path, plain)
    data = plain.read_bytes()
    for block in range(min(SIZE, len(data)) // BLOCK):
        allowed = values.get(block, {0})
        for start in range(block * BLOCK, (block + 1) * BLOCK, SECTOR):
            found = data[start : start + SECTOR]
            assert found[:8] * (SECTOR // 8) == found, f"the sector at {start} is torn"
            assert int.from_bytes(found[:8], "little") in allowed, f"the sector at {start} holds the wrong data"


Step = Callable[[], Awaitable[None]]


def _steps(chance: random.Random, story: Story, node: BlockNode, driver: Qcow2Driver) -> Iterable[Step]:
    """What else may happen between two batches of writes."""

    async def snapshot() -> None:
        await story.guest_flush(node)
        if len(driver.snapshots) < 2:
            await snapshots.make(driver, f"s{story.clock}")

    async def unsnapshot() -> None:
        if driver.snapshots:
            await snapshots.delete(driver, chance.choice(driver.snapshots))

    async def grow() -> None:
        await node.truncate(node.length + (64 << 20))

    async def bitmap() -> None:
        name = "b"
        if node.bitmaps.find(name) is None:
            node.bitmaps.add(DirtyBitmap(name, node.length, 65536, persistent=True))
            await driver.bitmaps.store()
            await driver.bitmaps.mark_in_use()
        else:
            await driver.forget_bitmap(name)
            node.bitmaps.remove(node.bitmaps.lookup(name))

    async def nothing() -> None:
        return

    return [snapshot, unsnapshot, grow, bitmap, nothing, nothing, nothing, nothing]


async def work(path: Path, chance: random.Random, more: dict[str, object]) -> Story:
    """Use an image for a while."""
    async with lab() as opened:
        start = path.read_bytes()
        node, driver = await opened.open_qcow2(path, **more)
        # What opening wrote is synced.
        story = Story(driver, path.read_bytes() if path.read_bytes() != start else start)
        number = 0
        for _ in range(25):
            batch = {chance.randrange(SIZE // BLOCK): 0 for _ in range(chance.randrange(1, 16))}
            for block in batch:
                number += 1
                batch[block] = number if chance.random() < 0.8 else 0
            requests = [story.guest_write(node, block, value) for block, value in batch.items()]
            if chance.random() < 0.5:
                requests.append(story.guest_flush(node))
            await asyncio.gather(*requests)
            await chance.choice(list(_steps(chance, story, node, driver)))()
        await opened.close(node)
        assert not opened.events.seen
    return story


@pytest.mark.parametrize("seed", range(count(3, 150)), ids=lambda seed: f"seed-{seed}")
async def test_power_is_lost(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    path = tmp_path / "image.qcow2"
    options: dict[str, object] = {"cluster_size": chance.choice([512, 4096, 65536])}
    options["refcount_bits"] = chance.choice([16, 64])
    if chance.random() < 0.2:
        options.update(cluster_size=16384, extended_l2="on")
    more = {"l2_cache_entry_size": 512, "l2_cache_size": 2048} if chance.random() < 0.5 else {}
    create(path, SIZE, **options)
    story = await work(path, chance, more)
    for _ in range(CRASHES):
        moment = chance.randrange(story.clock + 1)
        judge(story.image_at(moment, chance), story.values_at(moment), tmp_path)


async def test_a_flush_waits_for_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that somebody else is writing back are not stable yet, although nothing is left to be taken along."""
    path = tmp_path / "image.qcow2"
    create(path, SIZE)
    async with lab() as opened:
        node, driver = await opened.open_qcow2(path)
        await node.pwritev(0, b"x")
        write, gate, reached = driver.store.write, asyncio.Event(), asyncio.Event()

        async def held_up(offset: int, data: Buffer) -> None:
            reached.set()
            await gate.wait()
            await write(offset, data)

        monkeypatch.setattr(driver.store, "write", held_up)
        writing = asyncio.create_task(driver.meta.write_back())
        await reached.wait()
        flushing = asyncio.create_task(node.flush())
        done, _ = await asyncio.wait([flushing], timeout=0.2)
        assert not done
        gate.set()
        await asyncio.gather(writing, flushing)
        left = tmp_path / "left.qcow2"
        left.write_bytes(path.read_bytes())
        tool("qemu-io", "-r", "-c", "read -P 120 0 1", left)
        await opened.close(node)
