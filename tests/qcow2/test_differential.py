"""Damaged images, opened by us and by qemu-img: the same verdict, and the same bytes where both read.

qemu-img skips what it cannot read (`--salvage`) and leaves zeroes there, as is done here. Two differences are wanted.
What leads beyond the end of the file is an error here, at open or when it is met, and so is a header that leads to two
structures at one place; QEMU takes what is not there for zeroes. And a bitmap whose name holds a null character is
refused, which QEMU opens for reading only, while the format's flag for extra data of bitmaps is known here only.
"""

import json
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qmpd.block.drivers.qcow2.bitmaps import Flag
from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from tests.qcow2.support import lab
from tests.qcow2.test_mutated import _make_images, _mutate
from tests.soak import count

SEEDS = range(count(30, 1500))
OFFSET = 0x00FF_FFFF_FFFF_FE00
STRICTER = ("beyond the", "overlap at", "longer than it can be", "The directory entry of bitmap")
LARGE = 64 << 20
SECTOR, STEP = 512, 8192


def word(data: bytes | bytearray, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "big")


def _places(data: bytearray) -> list[tuple[int, int]]:
    """Where tables lie: (offset, bytes worth changing)."""
    size = 1 << word(data, 16) % (1 << 32)
    l1, table, snapshots = word(data, 40), word(data, 48), word(data, 64)
    found = [(l1, 32), (table, 16), (word(data, table), min(size, 256))]
    if snapshots:
        inactive = word(data, snapshots)
        found += [(snapshots, 100), (inactive, 32), (word(data, inactive) & OFFSET, size)]
    for index in range(word(data, 32) % (1 << 32)):
        entry = word(data, l1 + 8 * index) & OFFSET
        found += [(entry, size)] * (3 if entry else 0)
    extension = data[:size].find((0x23852875).to_bytes(4, "big"))
    if extension > 0:
        found.append((word(data, extension + 24), 40))
    return found


def _change_tables(chance: random.Random, data: bytearray) -> None:
    """Change 1 to 6 table entries: a bit, a flag, another cluster of the file, or anything."""
    places = _places(data)
    for _ in range(chance.randrange(1, 7)):
        start, length = chance.choice(places)
        at = start + 8 * chance.randrange(length // 8)
        old = word(data, at)
        cluster = chance.randrange(len(data) >> 9) << 9
        new = chance.choice(
            [
                old ^ 1 << chance.randrange(64),
                old ^ chance.choice([1, 1 << 63, 1 << 62, 512, 1 << 55]),
                cluster | chance.choice([0, 1 << 63]),
                1 << 62 | chance.getrandbits(62),
                chance.getrandbits(64),
            ]
        )
        data[at : at + 8] = new.to_bytes(8, "big")


def _run(*words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in words], capture_output=True, timeout=30, check=False)


def theirs(path: Path, plain: Path) -> bytes | None:
    """What qemu-img reads; None when it does not open the image."""
    done = _run("qemu-img", "info", "--output=json", "-f", "qcow2", path)
    if done.returncode:
        return None
    if json.loads(done.stdout)["virtual-size"] > LARGE:
        return b""
    plain.unlink(missing_ok=True)
    done = _run("qemu-img", "convert", "--salvage", "-f", "qcow2", "-O", "raw", path, plain)
    return None if b"ould not open" in done.stderr else plain.read_bytes()


@dataclass
class Found:
    """What we make of an image: its bytes (None if it is refused, for `reason`), and sectors that nobody has.

    :ivar extra: it has bitmaps with the flag for extra data that may be ignored.
    """

    data: bytearray | None
    reason: str = ""
    extra: bool = False
    beyond: list[int] = field(default_factory=list)

    async def read(self, node: BlockNode, offset: int, length: int) -> bool:
        """Whether a part can be read; zeroes are taken for it if not."""
        assert self.data is not None
        part = memoryview(self.data)[offset : offset + length]
        try:
            await node.preadv(offset, part)
        except OSError as error:
            part[:] = bytes(len(part))
            if length == SECTOR and "beyond the end" in str(error.__cause__):
                self.beyond.append(offset)
            return False
        return True


async def ours(path: Path) -> Found:
    """What we make of an image."""
    async with lab() as opened:
        try:
            node, driver = await opened.open_qcow2(path, read_only=True)
        except GenericError as error:
            return Found(None, str(error))
        if node.length > LARGE:
            return Found(bytearray())
        found = Found(bytearray(node.length))
        found.extra = any(entry.flags & Flag.EXTRA_COMPATIBLE for entry in driver.bitmaps.directory)
        for offset in range(0, node.length, STEP):
            if await found.read(node, offset, STEP):
                continue
            for at in range(offset, min(offset + STEP, node.length), SECTOR):
                await found.read(node, at, SECTOR)
        return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return _make_images(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("part", range(5))
async def test_same_verdict_and_bytes(part: int, images: list[Path], tmp_path: Path) -> None:
    path = images[0].parent / "image.qcow2"
    for seed in SEEDS[part::5]:
        print(f"seed {seed}")
        chance = random.Random(seed)
        data = bytearray(chance.choice(images).read_bytes())
        change = chance.choice([_mutate, _change_tables, _change_tables])
        change(chance, data)
        path.write_bytes(data)
        try:
            expected = theirs(path, tmp_path / "plain.raw")
        except subprocess.TimeoutExpired:
            # qemu-img itself never ends with some images; we do.
            await ours(path)
            continue
        found = await ours(path)
        if found.data is None and expected is not None:
            assert any(words in found.reason for words in STRICTER), found.reason
            continue
        if expected is None and found.extra:
            continue
        if found.data is not None and expected is not None:
            for at in found.beyond:
                found.data[at : at + SECTOR] = expected[at : at + SECTOR]
        assert found.data == expected
        assert path.read_bytes() == data
