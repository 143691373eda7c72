"""A story of all that reaches the files of an image, and the files as they were at any moment of it.

The `file` driver's requests are written down, each with the ticks of a clock at which it began and ended. From that the
files are put together anew: as a killed process leaves them (`killed_at`), which loses nothing of the page cache, or as
a loss of power does (`powerless_at`), where of what was not synced any sectors may be missing. The story can also let
one request fail, with or without effect. Beside it stands what a disk may hold at a moment (`Expected`).
"""

import errno
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from bitarray import bitarray

from qmpd.block.driver import Buffer, HostPiece
from qmpd.block.drivers.file import FileDriver
from tests.qcow2.support import tool

BLOCK = 4096
SECTOR = 512
NEVER = 1 << 60
FLAG_MISSING = re.compile(r"OFLAG_COPIED .*refcount=1$")
Values = dict[int, frozenset[int]]
"""What each block of a disk may hold."""


@dataclass
class Act:
    """Something done to the file `name`: `data` at `offset`, or (None) a length of `offset`.

    :ivar hole: it does not make the file longer.
    """

    name: str
    offset: int
    data: bytes | None
    begin: int
    end: int = NEVER
    hole: bool = False


@dataclass
class Fault:
    """Which request (counted from 0) fails with which error; `done` if it has its effect all the same."""

    number: int
    error: int = errno.EIO
    done: bool = False
    times: int = 1


@dataclass
class Story:
    """What was done to some files, and when.

    :ivar starts: the files (by name) and what they held in the beginning.
    """

    starts: dict[str, bytes]
    fault: Fault | None = None
    clock: int = 0
    acts: list[Act] = field(default_factory=list)
    syncs: list[tuple[str, int, int]] = field(default_factory=list)
    requests: int = 0
    failed: int = 0

    def tick(self) -> int:
        """The next moment."""
        self.clock += 1
        return self.clock

    def _fails(self) -> OSError | None:
        number, self.requests = self.requests, self.requests + 1
        fault = self.fault
        if fault is None or not fault.number <= number < fault.number + fault.times:
            return None
        self.failed += 1
        return OSError(fault.error, os.strerror(fault.error))

    async def _act(self, acts: list[Act], perform: Callable[[], Awaitable[None]]) -> None:
        error = self._fails()
        if error is not None and not (self.fault and self.fault.done):
            raise error
        self.acts += acts
        await perform()
        end = self.tick()
        for act in acts:
            act.end = end
        if error is not None:
            raise error

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Write down what is done to the files meanwhile."""
        wrapped: dict[str, Any] = {name: self._wrapped(name, acts_of) for name, acts_of in _ACTS.items()}
        wrapped["flush"] = self._wrapped_flush()
        wrapped["write_now"] = self._wrapped_write_now()
        with mock.patch.multiple(FileDriver, **wrapped):
            yield

    def _wrapped(self, method: str, acts_of: Callable[..., list[Act]]) -> Callable[..., Awaitable[None]]:
        plain = getattr(FileDriver, method)

        async def wrapped(driver: FileDriver, *arguments: Any) -> None:
            name = Path(driver.filename()).name
            if name in self.starts:
                acts = acts_of(name, self.tick(), *arguments)
                await self._act(acts, lambda: plain(driver, *arguments))
            else:
                await plain(driver, *arguments)

        return wrapped

    def _wrapped_flush(self) -> Callable[..., Awaitable[None]]:
        async def flush(driver: FileDriver) -> None:
            begin = self.tick()
            await self._act([], _nothing)
            self.syncs.append((Path(driver.filename()).name, begin, self.tick()))

        return flush

    def _wrapped_write_now(self) -> Callable[..., None]:
        plain = FileDriver.write_now

        def write_now(driver: FileDriver, offset: int, data: Buffer) -> None:
            name = Path(driver.filename()).name
            if not len(data):
                plain(driver, offset, data)
                return
            error = self._fails()
            if error is None or (self.fault and self.fault.done):
                begin = self.tick()
                plain(driver, offset, data)
                self.acts.append(Act(name, offset, bytes(data), begin, self.tick()))
            if error is not None:
                raise error
            self.syncs.append((name, self.tick(), self.tick()))

        return write_now

    # What is left of it.

    def killed_at(self, moment: int, chance: random.Random) -> dict[str, bytes]:
        """The files as a process that is killed at `moment` leaves them; what was under way is done, or not."""
        files = {name: bytearray(data) for name, data in self.starts.items()}
        for act in self.acts:
            if act.end <= moment or (act.begin <= moment and chance.random() < 0.5):
                _apply(files[act.name], act)
        return {name: bytes(data) for name, data in files.items()}

    def powerless_at(self, moment: int, chance: random.Random) -> dict[str, bytes]:
        """The files as a loss of power at `moment` may leave them."""
        files = {name: bytearray(data) for name, data in self.starts.items()}
        likely = chance.choice([0.1, 0.5, 0.9])
        stable = {
            name: max((begin for one, begin, end in self.syncs if one == name and end <= moment), default=0)
            for name in files
        }
        for act in self.acts:
            if act.end < stable[act.name]:
                _apply(files[act.name], act)
            elif act.begin <= moment and chance.random() < likely:
                _apply(files[act.name], act, chance if chance.random() < 0.3 else None)
        return {name: bytes(data) for name, data in files.items()}


def _written(name: str, begin: int, offset: int, data: Buffer, fua: bool) -> list[Act]:
    return [Act(name, offset, bytes(data), begin)]


def _zeroed(name: str, begin: int, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> list[Act]:
    return [Act(name, offset, bytes(length), begin)]


def _discarded(name: str, begin: int, offset: int, length: int) -> list[Act]:
    return [Act(name, offset, bytes(length), begin, hole=True)]


def _resized(name: str, begin: int, length: int, exact: bool) -> list[Act]:
    return [Act(name, length, None, begin)]


def _copied(name: str, begin: int, pieces: Sequence[HostPiece]) -> list[Act]:
    return [Act(name, one.offset, os.pread(one.host.fileno(), one.length, one.host_offset), begin) for one in pieces]


_ACTS: dict[str, Callable[..., list[Act]]] = {
    "pwritev": _written,
    "pwrite_zeroes": _zeroed,
    "pdiscard": _discarded,
    "truncate": _resized,
    "copy_from_host": _copied,
}


async def _nothing() -> None:
    """A sync costs time here and changes nothing."""


def _apply(data: bytearray, act: Act, torn: random.Random | None = None) -> None:
    """Do it to `data`; with `torn`, only to some sectors."""
    if act.data is None:
        del data[act.offset :]
        data.extend(bytes(act.offset - len(data)))
        return
    end = act.offset + len(act.data)
    if act.hole:
        end = min(end, len(data))
    if end > len(data):
        data.extend(bytes(end - len(data)))
    if torn is None:
        data[act.offset : end] = act.data[: end - act.offset]
        return
    at = act.offset
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        if torn.random() < 0.5:
            data[at:stop] = act.data[at - act.offset : stop - act.offset]
        at = stop


# What may be left of it.


@dataclass
class Change:
    """What a block may hold after a request. `keep`: or what it held before."""

    block: int
    value: int
    begin: int
    end: int = NEVER
    keep: bool = False
    stable: bool = False


@dataclass
class Taken:
    """A snapshot: what it holds, and when it was made and deleted (begin, end)."""

    name: str
    size: int
    values: Values
    made: list[int]
    deleted: list[int]


@dataclass
class Rest:
    """A time in which the image was being closed, was closed, or being opened, and what its bitmaps held then."""

    begin: int
    bitmaps: dict[str, bitarray]
    end: int = NEVER


@dataclass
class Expected:
    """What the files may show, at any moment of a story."""

    story: Story
    below: dict[int, int]
    changes: list[Change] = field(default_factory=list)
    flushes: list[tuple[int, int]] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)

    def bits_at(self, moment: int) -> dict[str, bitarray]:
        """The stored bitmaps that may be true, not in use, and what they hold."""
        return next((rest.bitmaps for rest in self.rests if rest.begin <= moment <= rest.end), {})

    def doubt(self) -> None:
        """The image could not be closed properly: what no flush has confirmed may be lost."""
        confirmed = max((begin for begin, _ in self.flushes), default=0)
        for change in self.changes:
            change.keep |= change.end > confirmed and not change.stable

    def values_at(self, moment: int, *, flushed: bool = False) -> Values:
        """What each block may hold; `flushed` if all that has ended is known to be there."""
        confirmed = moment if flushed else max((begin for begin, end in self.flushes if end <= moment), default=0)
        values: dict[int, set[int]] = {}
        for change in sorted(self.changes, key=lambda change: change.end):
            if change.begin > moment:
                continue
            sure = change.end <= moment and (change.stable or change.end <= confirmed) and not change.keep
            if sure:
                values[change.block] = {change.value}
            else:
                values.setdefault(change.block, {self.below.get(change.block, 0)}).add(change.value)
        return {block: frozenset(found) for block, found in values.items()}

    def sizes_at(self, moment: int) -> set[int]:
        """What the disk's length may be."""
        known: set[int] = set()
        for size, begin, end in self.sizes:
            if end <= moment:
                known = {size}
            elif begin <= moment:
                known.add(size)
        return known

    def snapshots_at(self, moment: int) -> tuple[set[str], set[str]]:
        """Those that must be there, and those that may."""
        must, may = set(), set()
        for one in self.taken:
            if one.made[0] <= moment and moment < one.deleted[1]:
                may.add(one.name)
                if one.made[1] <= moment < one.deleted[0]:
                    must.add(one.name)
        return must, may


def pattern(value: int) -> bytes:
    return value.to_bytes(8, "little") * (BLOCK // 8)


def check_sound(path: str, *, flags_may_be_missing: bool) -> None:
    """Fail if anything is wrong but leaks.

    Version 2 has no dirty bit, so counts and COPIED flags may not agree after a crash within a change of the snapshots.
    What matters is that no flag is set where there are two users: then a write would reach both.
    """
    if flags_may_be_missing:
        tool("qemu-img", "check", "-q", "-r", "leaks", path, ok=(0, 2, 3))
    words = tool("qemu-img", "check", path, ok=(0, 2, 3))
    wrong = [line for line in words.splitlines() if line.startswith("ERROR")]
    if flags_may_be_missing:
        wrong = [line for line in wrong if not FLAG_MISSING.search(line)]
    assert not wrong, words


def compare(path: str, arguments: list[str], size: int, values: Values, below: dict[int, int], scratch: Path) -> None:
    """Fail unless each sector of an image, as `qemu-img convert` shows it, has a value that it may have.

    :param size: as many bytes are looked at; of a snapshot QEMU shows as much as the disk has now.
    :param below: the value of a block that `values` does not tell of, if that is not 0.
    """
    plain = scratch / "plain.raw"
    tool("qemu-img", "convert", "-O", "raw", *arguments, path, plain)
    data = plain.read_bytes()
    for block in range(min(size, len(data)) // BLOCK):
        allowed = values.get(block) or frozenset([below.get(block, 0)])
        held = data[block * BLOCK : (block + 1) * BLOCK]
        if any(held == pattern(value) for value in allowed):
            continue
        for at in range(0, BLOCK, SECTOR):
            sector = held[at : at + SECTOR]
            value = int.from_bytes(sector[:8], "little")
            where = f"sector {at // SECTOR} of block {block} {arguments}"
            assert sector[:8] * (SECTOR // 8) == sector, f"{where} is torn"
            assert value in allowed, f"{where} holds {value}, not one of {sorted(allowed)}"
