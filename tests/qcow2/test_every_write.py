"""Every operation on an image is cut off at any write to its files, or has any write fail.

What a kill or a loss of power leaves (`story`) must open, have no corruption (leaks are allowed; an image with the
dirty bit may need a repair), show all data that a flush had confirmed, and either the old or the new snapshots with
what they hold. What a failed write leaves must be an image that can be used and closed, and then be as good.
"""

import asyncio
import errno
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bitarray import bitarray

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import HostPiece
from qmpd.block.drivers.qcow2 import amending, checking, snapshots
from qmpd.block.drivers.qcow2.checking import Repair
from qmpd.errors import GenericError
from tests.lab import seeds
from tests.qcow2.story import (
    BLOCK,
    NEVER,
    Change,
    Expected,
    Fault,
    Rest,
    Story,
    Taken,
    Values,
    check_sound,
    compare,
    pattern,
)
from tests.qcow2.support import Lab, create, lab, read, tool
from tests.soak import count

SIZE = 1 << 20
LARGEST = 4 << 20
STEPS = 14
KINDS = ["plain", "plain", "narrow", "wide", "lazy", "extended", "old", "data"]
Step = Callable[[], Awaitable[None]]


class Run:
    """One image and what is done to it."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        fault: Fault | None = None,
        *,
        kind: str = "",
        options: dict[str, object] | None = None,
    ) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.path = folder / "image.qcow2"
        self.kind = kind or self.chance.choice(KINDS)
        self.options = self._choose_options() if options is None else options
        self.caches = self._choose_caches()
        self.number = 0
        self.size = SIZE
        self.ended = False
        below = self._make()
        names = [path.name for path in (self.path, folder / "data.raw") if path.exists()]
        self.story = Story({name: (folder / name).read_bytes() for name in names}, fault)
        self.expected = Expected(self.story, below)
        self.expected.sizes.append((SIZE, 0, 0))
        self.log: list[str] = []

    def _choose_options(self) -> dict[str, object]:
        pick = self.chance
        options: dict[str, object] = {"cluster_size": pick.choice([512, 4096, 4096, 65536])}
        kind = self.kind
        if kind == "narrow":
            options["refcount_bits"] = pick.choice([2, 8])
        elif kind == "wide":
            options["refcount_bits"] = 64
        elif kind == "lazy":
            options["lazy_refcounts"] = "on"
        elif kind == "extended":
            options.update(cluster_size=16384, extended_l2="on")
        elif kind == "old":
            options["compat"] = "0.10"
        elif kind == "data":
            options["data_file"] = "data.raw"
            if pick.random() < 0.3:
                options["data_file_raw"] = "on"
        return options

    def _choose_caches(self) -> dict[str, object]:
        pick = self.chance
        if pick.random() < 0.5:
            return {}
        return {"l2_cache_entry_size": 512, "l2_cache_size": 512 * pick.choice([2, 4, 8]), "refcount_cache_size": 1}

    def _make(self) -> dict[int, int]:
        backing: list[object] = []
        below: dict[int, int] = {}
        if self.kind != "data" and self.chance.random() < 0.4:
            blocks = [1 << 40 | at if self.chance.random() < 0.5 else 0 for at in range(SIZE // BLOCK)]
            (self.folder / "base.raw").write_bytes(b"".join(pattern(value) for value in blocks))
            below = dict(enumerate(blocks))
            backing = ["-b", "base.raw", "-F", "raw"]
        self.backed = bool(backing)
        options = dict(self.options)
        if "data_file" in options:
            options["data_file"] = self.folder / "data.raw"
        create(self.path, SIZE, *backing, **options)
        return below

    # What is done.

    async def play(self, steps: Sequence[Step] = ()) -> None:
        """Do `steps`, or some by chance. With a fault, whatever fails has failed; all that comes after has to cope."""
        self.opened = lab_opened = Lab()
        try:
            with self.story.recording():
                await self._open()
                for number in range(len(steps) or STEPS):
                    if self.node.read_only:
                        break
                    await self._batch()
                    await self._attempt(steps[number] if steps else self.chance.choice(self._kinds()))
                await self._close()
        finally:
            await lab_opened.end()
        assert not lab_opened.events.named("BLOCK_IMAGE_CORRUPTED"), self.log
        if not self.story.failed:
            assert not lab_opened.events.seen, lab_opened.events.seen

    def _kinds(self) -> list[Step]:
        kinds = [self.flush, self.resize, self.amend, self.bitmap, self.bitmap, self.reopen, self.compressed]
        kinds += [self.rename, self.check, self.populate, self.copy]
        if self.kind != "data":
            kinds += [self.snapshot] * 3 + [self.unsnapshot] * 2 + [self.undone_snapshot]
        return kinds

    async def _attempt(self, step: Step) -> bool:
        before = self.story.failed
        self.log.append(f"{self.story.clock}: {step.__name__}")
        try:
            await step()
        except (OSError, GenericError) as error:
            self.log.append(f"{self.story.clock}: failed: {error}")
            # Counts of two bits cannot count every user.
            refused = isinstance(error, GenericError) or error.errno == errno.EINVAL
            assert self.story.failed > before or refused or self.node.read_only, self.log
            return False
        return True

    async def _change(self, blocks: list[int], value: int, work: Awaitable[None], *, keep: bool = False) -> None:
        """Have `work` give all `blocks` the value; if it fails nobody knows."""
        begin = self.story.tick()
        changes = [Change(block, value, begin, keep=keep) for block in blocks]
        self.expected.changes += changes
        try:
            await work
        except OSError:
            assert self.story.failed
            for change in changes:
                change.keep = True
        finally:
            end = self.story.tick()
            for change in changes:
                change.end = end

    async def _batch(self) -> None:
        chance = self.chance
        blocks = self.size // BLOCK
        hot = chance.randrange(1, blocks + 1) if blocks else 0
        work: list[Awaitable[object]] = []
        for block in {chance.randrange(hot) for _ in range(chance.randrange(1, 9))} if blocks else ():
            self.number += 1
            kind = chance.random()
            if kind < 0.75:
                work.append(self._change([block], self.number, self.node.pwritev(block * BLOCK, pattern(self.number))))
            elif kind < 0.9:
                unmap = chance.random() < 0.5
                zeroing = self.node.pwrite_zeroes(block * BLOCK, BLOCK, may_unmap=unmap)
                work.append(self._change([block], 0, zeroing))
            else:
                work.append(self._change([block], 0, self.node.pdiscard(block * BLOCK, BLOCK), keep=True))
        if chance.random() < 0.5:
            work.append(self._attempt(self.flush))
        if blocks:
            work += [read(self.node, chance.randrange(blocks) * BLOCK, BLOCK) for _ in range(chance.randrange(3))]
        self.log.append(f"{self.story.clock}: batch")
        await asyncio.gather(*work)

    async def flush(self) -> None:
        begin = self.story.tick()
        await self.node.flush()
        self.expected.flushes.append((begin, self.story.tick()))

    async def compressed(self) -> None:
        size = max(int(str(self.options["cluster_size"])), BLOCK)
        if self.kind == "data" or self.size < size:
            return
        for _ in range(3):
            start = self.chance.randrange(self.size // size) * size
            blocks = list(range(start // BLOCK, (start + size) // BLOCK))
            self.number += 1
            data = pattern(self.number) * len(blocks)
            await self._change(blocks, self.number, self.node.pwrite_compressed(start, data))

    async def populate(self) -> None:
        """Take over what the backing file shows, as a stream does."""
        if self.size:
            start = self.chance.randrange(self.size // BLOCK) * BLOCK
            await self.driver.populate(start, min(64 << 10, self.size - start))

    async def copy(self) -> None:
        """Have the kernel copy pieces of another file, as a backup does."""
        chance, pieces, changes = self.chance, [], []
        source = self.folder / "source.raw"
        self.number += 1
        source.write_bytes(pattern(self.number) * 16)
        for start in sorted({chance.randrange(self.size // BLOCK) for _ in range(3)}):
            if pieces and start * BLOCK < sum(pieces[-1]):
                continue
            length = min(chance.choice([1, 2, 16]), self.size // BLOCK - start)
            changes += list(range(start, start + length))
            pieces.append((start * BLOCK, length * BLOCK))
        with source.open("rb") as file:
            plan = [HostPiece(file, 0, offset, length) for offset, length in pieces]
            await self._change(changes, self.number, self.node.copy_from_host(plan))

    async def resize(self) -> None:
        if self.kind == "old" and self.driver.snapshots:
            return
        size = self.chance.choice([self.size // 2, self.size + (64 << 10), self.size * 2, self.size + (1 << 20)])
        size = max(BLOCK, min(size // BLOCK * BLOCK, LARGEST))
        begin = self.story.tick()
        blocks = range(min(size, self.size) // BLOCK, LARGEST // BLOCK)
        gone = [Change(block, 0, begin, keep=True) for block in blocks]
        gone += [Change(at, self.expected.below.get(at, 0), begin, keep=True) for at in blocks]
        self.expected.changes += gone
        self.expected.sizes.append((size, begin, NEVER))
        try:
            await self.node.truncate(size)
        except BaseException:
            if not self.node.read_only:
                self.expected.sizes[-1] = (self.size, begin, self.story.tick())
            raise
        finally:
            for change in gone:
                change.end = self.story.tick()
        self.expected.sizes[-1] = (size, begin, self.story.tick())
        self.expected.changes += [Change(block, 0, begin, self.story.tick(), stable=True) for block in blocks]
        self.size = size

    async def snapshot(self) -> None:
        if len(self.driver.snapshots) >= 2:
            await self.unsnapshot()
            return
        name = f"s{self.story.tick()}"
        values = self.expected.values_at(self.story.clock, flushed=True)
        taken = Taken(name, self.size, values, [self.story.tick(), NEVER], [NEVER, NEVER])
        self.expected.taken.append(taken)
        try:
            await snapshots.make(self.driver, name)
        except BaseException:
            assert snapshots.find(self.driver.snapshots, None, name) is None
            # Of a node that has become read-only nobody knows which header the file has.
            taken.deleted = [taken.made[0], NEVER if self.node.read_only else self.story.tick()]
            raise
        taken.made[1] = self.story.tick()

    async def undone_snapshot(self) -> None:
        making = snapshots.SnapshotMaking(self.driver, f"undone{self.story.tick()}")
        try:
            await making.prepare()
        finally:
            making.abort()
        if self.chance.random() < 0.5:
            await self._batch()

    async def unsnapshot(self) -> None:
        if not self.driver.snapshots:
            return
        snapshot = self.chance.choice(self.driver.snapshots)
        taken = next(
            one for one in self.expected.taken if one.name == snapshot.name.decode() and one.deleted[1] == NEVER
        )
        taken.deleted = [self.story.tick(), NEVER]
        try:
            await snapshots.delete(self.driver, snapshot)
        except BaseException:
            if snapshot in self.driver.snapshots and not self.node.read_only:
                taken.deleted = [NEVER, NEVER]
            elif not self.node.read_only:
                taken.deleted[1] = self.story.tick()
            raise
        taken.deleted[1] = self.story.tick()

    async def amend(self) -> None:
        chance = self.chance
        choices = [amending.Changes(refcount_bits=chance.choice([4, 16, 32]))]
        if self.kind != "data":
            choices += [amending.Changes(lazy_refcounts=chance.random() < 0.5)]
            choices += [amending.Changes(version=chance.choice([2, 3]), refcount_bits=chance.choice([16, None]))]
        await self._amend(chance.choice(choices))

    async def downgrade(self) -> None:
        """To version 2, which has no zero clusters: neither in the disk nor in its snapshots."""
        await self._amend(amending.Changes(version=2))

    async def _amend(self, changes: amending.Changes) -> None:
        async with self.opened.graph.exclusive():
            try:
                await amending.amend(self.driver, changes)
            finally:
                if self.driver.header.version < 3:
                    self.kind = "old"
                elif self.kind == "old":
                    self.kind = "plain"

    async def rename(self) -> None:
        """Another name for the same backing file, now and then a long one."""
        if self.backed:
            name = self.chance.choice(["base.raw", "./" * self.chance.randrange(1, 60) + "base.raw"])
            await self.driver.set_backing_name(name, "raw")

    async def bitmap(self) -> None:
        if self.kind == "old":
            return
        bitmaps = self.node.bitmaps
        name = self.chance.choice("abc")
        if bitmaps.find(name) is None:
            bitmaps.add(DirtyBitmap(name, self.node.length, self.chance.choice([512, 65536]), persistent=True))
        else:
            await self.driver.forget_bitmap(name)
            bitmaps.remove(bitmaps.lookup(name))

    async def reopen(self) -> None:
        await self._close()
        if self.opened.events.named("BLOCK_IO_ERROR"):
            self.expected.doubt()
        assert not self.opened.events.named("BLOCK_IMAGE_CORRUPTED"), self.log
        self.opened.events.seen.clear()
        try:
            await self._open()
        except GenericError:
            assert self.story.failed
            await self._open()
        self.expected.rests[-1].end = self.story.tick()

    async def _open(self) -> None:
        self.node, self.driver = await self.opened.open_qcow2(self.path, **self.caches)

    async def _close(self) -> None:
        bitmaps = {str(one.name): one.everything() for one in self.node.bitmaps}
        self.expected.rests.append(Rest(self.story.tick(), bitmaps))
        await self.opened.close(self.node)

    async def check(self) -> None:
        """`qmpctl check --repair` while nobody uses the image."""
        await self.driver.flags_refreshed()
        await self.driver.meta.settle()
        report = await checking.check(self.driver, Repair.LEAKS)
        assert not report.corruptions, report


# Judging.


@dataclass
class Judge:
    """Looks at what is left.

    :ivar reopened: how often it is opened and written to as well.
    """

    run: Run
    scratch: Path
    reopened: float = 0.2
    seen: set[int] = field(default_factory=set)

    async def look(self, files: dict[str, bytes], moment: int) -> None:
        """Fail if something is wrong with what is left at a moment of the story."""
        key = hash(tuple(sorted(files.items())))
        if key in self.seen:
            return
        self.seen.add(key)
        values = self.run.expected.values_at(moment)
        info = self.examine(files, moment, values)
        for one in info["format-specific"]["data"].get("bitmaps", []):
            if "in-use" not in one["flags"]:
                await self.compare_bitmap(one["name"], self.run.expected.bits_at(moment)[one["name"]])
        if self.run.chance.random() < self.reopened:
            await self.go_on(files, moment, values)

    async def go_on(self, files: dict[str, bytes], moment: int, values: Values) -> None:
        """Open what is left and write to it; that may be cut off as well."""
        chance, story = self.run.chance, Story(files)
        self.put(files)
        path, values = self.scratch / "image.qcow2", dict(values)
        more: dict[str, object] = {}
        if len(files) > 1:
            more["data_file"] = {"driver": "file", "filename": str(self.scratch / "data.raw")}
        async with lab() as opened:
            with story.recording():
                node, _ = await opened.open_qcow2(path, **more, **self.run.caches)
                for block in {chance.randrange(max(node.length // BLOCK, 1)) for _ in range(6)}:
                    before = values.get(block) or frozenset([self.run.expected.below.get(block, 0)])
                    values[block] = before | {1 << 50 | block}
                    await node.pwritev(block * BLOCK, pattern(1 << 50 | block))
                await opened.close(node)
            assert not opened.events.seen
        assert path.exists()
        end = story.clock
        for left in (story.killed_at(end, chance), story.powerless_at(chance.randrange(end + 1), chance)):
            self.examine(left, moment, values)

    def put(self, files: dict[str, bytes]) -> None:
        """Lay the files out in the scratch folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        if self.run.backed:
            shutil.copy(self.run.folder / "base.raw", self.scratch)
        for name, data in files.items():
            with (self.scratch / name).open("wb") as file:
                file.write(data.rstrip(b"\0"))
                file.truncate(len(data))

    def examine(self, files: dict[str, bytes], moment: int, values: Values) -> dict[str, Any]:
        """Hold the files against all that can be known without the driver."""
        self.put(files)
        path = self.name_of(files)
        info: dict[str, Any] = json.loads(tool("qemu-img", "info", "--output=json", path))
        specific = info["format-specific"]["data"]
        assert not specific.get("corrupt")
        if info.get("dirty-flag"):
            # Whoever opens it for writing repairs it. (`qemu-img check -r` of QEMU 7.2 loses all snapshots of an image
            # with bitmaps that are not in use.)
            tool("qemu-io", "-c", "length", path)
        check_sound(path, flags_may_be_missing=specific["compat"] == "0.10")
        expected = self.run.expected
        must, may = expected.snapshots_at(moment)
        found = {one["name"] for one in info.get("snapshots", [])}
        assert must <= found <= may, f"snapshots {found}, between {must} and {may}"
        assert info["virtual-size"] in expected.sizes_at(moment)
        self.compare(path, [], info["virtual-size"], values)
        for one in expected.taken:
            if one.name in found and one.made[0] <= moment < one.deleted[1]:
                self.compare(path, ["-l", f"snapshot.name={one.name}"], one.size, one.values)
        return info

    async def compare_bitmap(self, name: str, bits: bitarray) -> None:
        """Hold a stored bitmap that is said to be true against what was in memory."""
        async with lab() as opened:
            node, _ = await opened.open_qcow2(self.scratch / "image.qcow2", read_only=True)
            assert node.bitmaps.lookup(name).everything() == bits, f"bitmap {name}"
            await opened.close(node)

    def name_of(self, files: dict[str, bytes]) -> str:
        """What QEMU's tools are to open; an image with a data file names that of the run."""
        path = self.scratch / "image.qcow2"
        if len(files) == 1:
            return str(path)
        below = {"driver": "file", "filename": str(self.scratch / "data.raw")}
        image = {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "data-file": below}
        return "json:" + json.dumps(image)

    def compare(self, path: str, arguments: list[str], size: int, values: Values) -> None:
        """Hold what QEMU shows against the values that the blocks may have."""
        compare(path, arguments, size, values, self.run.expected.below, self.scratch)


SHORT = [
    ("plain", {}),
    ("small", {"cluster_size": 512}),
    ("extended", {"cluster_size": 16384, "extended_l2": "on"}),
    ("lazy", {"lazy_refcounts": "on"}),
    ("old", {"compat": "0.10"}),
]


@pytest.mark.parametrize(("kind", "options"), SHORT, ids=[name for name, _ in SHORT])
async def test_the_life_of_a_snapshot(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    """Undone, made and deleted, and cut off at every write that there is."""
    run = Run(0, tmp_path, kind=kind, options=options)
    await run.play([run.undone_snapshot, run.snapshot, run.unsnapshot])
    await cut_off_often(run, tmp_path)


@pytest.mark.parametrize("seed", seeds(1, 10))
async def test_snapshots_come_to_version_2(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path, kind="plain", options={})
    await run.play([run.flush, run.snapshot, run.snapshot, run.downgrade])
    await cut_off_often(run, tmp_path)


async def cut_off_often(run: Run, tmp_path: Path) -> None:
    """Look at what a kill leaves after each write of a story, or after some."""
    judge = Judge(run, tmp_path / "left", reopened=0)
    ends = sorted({act.end for act in run.story.acts})
    for moment in run.chance.sample(ends, min(count(10, 1000), len(ends))):
        await judge.look(run.story.killed_at(moment, run.chance), moment)


def kills(run: Run, wanted: int) -> list[int]:
    """Some of the moments at which a request to a file has just ended, or all of them."""
    ends = sorted({act.end for act in run.story.acts if act.end != NEVER})
    return sorted(run.chance.sample(ends, min(wanted, len(ends))))


def blackouts(run: Run, wanted: int) -> list[int]:
    """Some of the moments just before a sync is over: whatever was possible since the one before it still is."""
    ends = sorted({end - 1 for _, _, end in run.story.syncs})
    return sorted(run.chance.sample(ends, min(wanted, len(ends))))


@pytest.mark.parametrize("seed", seeds(2, 24))
async def test_cut_off_anywhere(seed: int, tmp_path: Path) -> None:
    run = Run(seed, tmp_path)
    print(f"seed {seed}: {run.options}, backed: {run.backed}, {run.caches}")
    await run.play()
    judge = Judge(run, tmp_path / "left")
    wanted = count(8, 30)
    cases = [(run.story.killed_at, moment) for moment in kills(run, wanted)]
    cases += [(run.story.powerless_at, moment) for moment in blackouts(run, wanted) for _ in range(3)]
    for how, moment in cases:
        try:
            await judge.look(how(moment, run.chance), moment)
        except AssertionError as error:
            raise AssertionError(f"{how.__name__} {moment}: {error}\n" + "\n".join(run.log)) from error


@pytest.mark.parametrize("seed", seeds(2, 24))
async def test_one_write_fails(seed: int, tmp_path: Path) -> None:
    whole = Run(seed, tmp_path)
    await whole.play()
    chance = random.Random(seed)
    print(f"seed {seed}: {whole.options}, backed: {whole.backed}, {whole.caches}")
    numbers = range(whole.story.requests)
    for number in chance.sample(numbers, min(count(4, 20), len(numbers))):
        fault = Fault(number, chance.choice([errno.EIO, errno.ENOSPC]), chance.random() < 0.3, chance.choice([1, 1, 3]))
        folder = tmp_path / f"fault{number}"
        folder.mkdir()
        run = Run(seed, folder, fault)
        what = f"{fault}"
        try:
            await run.play()
            judge = Judge(run, folder / "left")
            await judge.look({name: (folder / name).read_bytes() for name in run.story.starts}, run.story.clock)
            for moment in kills(run, count(1, 3)):
                what = f"{fault}, killed at {moment}"
                await judge.look(run.story.killed_at(moment, run.chance), moment)
            for moment in blackouts(run, count(1, 3)):
                what = f"{fault}, powerless at {moment}"
                await judge.look(run.story.powerless_at(moment, run.chance), moment)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n" + "\n".join(run.log)) from error
        shutil.rmtree(folder)
