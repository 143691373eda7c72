"""What is remembered of where the data is spares questions, and never hides data."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qmpd.block.extents import Extent
from qmpd.export.nbd.holes import HoleFinder
from qmpd.export.nbd.status import status_source
from qmpd.nbd.numbers import BASE_ALLOCATION
from tests.export.fake import FileBackend
from tests.soak import count

KIB = 1 << 10
UNIT = HoleFinder.UNIT
WINDOW = HoleFinder.WINDOW


class Asked(FileBackend):
    """Counts how often it is asked how it is stored."""

    asked = 0

    async def map(self, offset: int, length: int) -> list[Extent]:
        self.asked += 1
        return list(await super().map(offset, length))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Asked]]:
    made = []

    def make(length: int) -> Asked:
        path = tmp_path / "disk"
        path.touch()
        os.truncate(path, length)
        made.append(Asked(path))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


async def test_block_status_tells_where_the_data_is(disk: Callable[[int], Asked]) -> None:
    """Who has asked for it and then reads data is not kept waiting by the same question."""
    backend = disk(4 * WINDOW)
    os.pwrite(backend.fd, b"x" * 5 * UNIT, UNIT)
    os.pwrite(backend.fd, b"y" * 2 * WINDOW, 3 * WINDOW // 2)
    holes = HoleFinder(backend, backend.length)
    status = status_source(0, BASE_ALLOCATION, backend, {}, holes.learn)
    assert len(await status.runs(0, backend.length, 100)) == 5
    assert backend.asked == 1
    assert holes.all_data(UNIT, 5 * UNIT)
    assert holes.all_data(3 * WINDOW // 2, 2 * WINDOW)
    assert not holes.all_data(0, 2 * UNIT)
    assert not holes.all_data(5 * UNIT, 2 * UNIT)
    assert await holes.runs(4 * UNIT, 4 * UNIT) == [(2 * UNIT, 0), (2 * UNIT, 1)]
    assert backend.asked == 2


async def test_one_look_at_a_window_is_enough(disk: Callable[[int], Asked]) -> None:
    """A read of a window of which nothing is known finds out about all of it."""
    backend = disk(2 * WINDOW)
    os.pwrite(backend.fd, b"x" * 9 * UNIT, 0)
    holes = HoleFinder(backend, backend.length)
    for _ in range(3):
        assert await holes.runs(0, 4 * UNIT) == [(4 * UNIT, 0)]
    assert holes.all_data(4 * UNIT, 5 * UNIT)
    assert backend.asked == 1


async def test_what_has_some_data_counts_as_data(disk: Callable[[int], Asked]) -> None:
    """So data that begins or ends between two units costs no question."""
    backend = disk(WINDOW)
    os.pwrite(backend.fd, b"x" * 2 * UNIT, UNIT + 12 * KIB)
    holes = HoleFinder(backend, backend.length)
    assert await holes.runs(UNIT, 3 * UNIT) == [(3 * UNIT, 0)]
    assert not holes.all_data(UNIT - 1, UNIT)


async def test_data_is_never_taken_for_a_hole(disk: Callable[[int], Asked]) -> None:
    """Whatever has been asked before, and whatever has been written and punched since."""
    length = 3 * WINDOW - 20 * KIB
    backend = disk(length)
    holes = HoleFinder(backend, length)
    status = status_source(0, BASE_ALLOCATION, backend, {}, holes.learn)
    generator = random.Random(1)
    for _ in range(count(300, 20_000)):
        offset = generator.randrange(length)
        size = min(generator.choice([4 * KIB, UNIT, WINDOW]), length - offset)
        match generator.randrange(4):
            case 0:
                os.pwrite(backend.fd, b"x" * size, offset)
            case 1:
                await status.runs(offset, size, generator.choice([1, 100]))
            case 2:
                os.ftruncate(backend.fd, offset)
                os.ftruncate(backend.fd, length)
            case _:
                runs = await holes.runs(offset, size)
                assert sum(part for part, _ in runs) == size
                for part, zero in runs:
                    assert not zero or os.pread(backend.fd, part, offset) == bytes(part)
                    offset += part
