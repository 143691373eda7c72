"""A story of all that reaches the files of an image, and the files as they were at any moment of it.

The `file` driver's requests are written down, each with the ticks of a clock at which it began and ended. From that the
files are put together anew: as a killed process leaves them (`killed_at`), which loses nothing of the page cache, or as
a loss of power does (`powerless_at`), where of what was not synced any sectors may be missing. The story can also let
one request fail, with or without effect.
"""

import errno
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from qmpd.block.driver import Buffer, HostPiece
from qmpd.block.drivers.file import FileDriver

SECTOR = 512
NEVER = 1 << 60


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
        story = self
        plain = {name: getattr(FileDriver, name) for name in _RECORDED}

        def name_of(driver: FileDriver) -> str | None:
            name = Path(driver.filename()).name
            return name if name in story.starts else None

        async def pwritev(driver: FileDriver, offset: int, data: Buffer, fua: bool) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["pwritev"](driver, offset, data, fua)
            begin = story.tick()
            await story._act(
                [Act(name, offset, bytes(data), begin)], lambda: plain["pwritev"](driver, offset, data, fua)
            )

        async def zero(driver: FileDriver, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["pwrite_zeroes"](driver, offset, length, may_unmap, no_fallback)
            act = Act(name, offset, bytes(length), story.tick())
            await story._act([act], lambda: plain["pwrite_zeroes"](driver, offset, length, may_unmap, no_fallback))

        async def discard(driver: FileDriver, offset: int, length: int) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["pdiscard"](driver, offset, length)
            act = Act(name, offset, bytes(length), story.tick(), hole=True)
            await story._act([act], lambda: plain["pdiscard"](driver, offset, length))

        async def truncate(driver: FileDriver, length: int, exact: bool) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["truncate"](driver, length, exact)
            act = Act(name, length, None, story.tick())
            await story._act([act], lambda: plain["truncate"](driver, length, exact))

        async def copy(driver: FileDriver, pieces: Sequence[HostPiece]) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["copy_from_host"](driver, pieces)
            begin = story.tick()
            acts = [
                Act(name, piece.offset, os.pread(piece.host.fileno(), piece.length, piece.host_offset), begin)
                for piece in pieces
            ]
            await story._act(acts, lambda: plain["copy_from_host"](driver, pieces))

        async def flush(driver: FileDriver) -> None:
            name = name_of(driver)
            if name is None:
                return await plain["flush"](driver)
            begin = story.tick()
            await story._act([], _nothing)
            story.syncs.append((name, begin, story.tick()))

        def write_now(driver: FileDriver, offset: int, data: Buffer) -> None:
            name = name_of(driver)
            if name is None or not len(data):
                return plain["write_now"](driver, offset, data)
            error = story._fails()
            if error is None or (story.fault and story.fault.done):
                begin = story.tick()
                plain["write_now"](driver, offset, data)
                story.acts.append(Act(name, offset, bytes(data), begin, story.tick()))
            if error is not None:
                raise error
            story.syncs.append((name, story.tick(), story.tick()))

        wrapped: dict[str, Any] = dict(zip(_RECORDED, (pwritev, zero, discard, truncate, copy, flush, write_now), strict=True))
        with mock.patch.multiple(FileDriver, **wrapped):
            yield

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


_RECORDED = ("pwritev", "pwrite_zeroes", "pdiscard", "truncate", "copy_from_host", "flush", "write_now")


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
