"""Damaged images: opened, mapped, read and written; nothing but clean errors may come of it.

Each run changes a few bytes of a good image, mostly where its structures are.
"""

import asyncio
import random
import resource
import shutil
from pathlib import Path

import pytest

from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from tests.qcow2.support import create, lab, read, tool
from tests.soak import count

SEEDS = count(100, 2000)
SIZE = 2 << 20
SECONDS = 20
MEMORY_KIB = 600 << 10


def _make_images(folder: Path) -> list[Path]:
    base = folder / "base.raw"
    base.write_bytes(random.Random(1).randbytes(SIZE))
    kinds: list[tuple[list[object], dict[str, object]]] = [
        ([], {"cluster_size": 512}),
        ([], {"cluster_size": 65536, "lazy_refcounts": "on"}),
        (["-b", "base.raw", "-F", "raw"], {"cluster_size": 4096, "refcount_bits": 1}),
        ([], {"cluster_size": 16384, "extended_l2": "on", "compression_type": "zstd"}),
        ([], {"compat": "0.10"}),
        ([], {"data_file": folder / "data.raw"}),
    ]
    made = []
    for number, (arguments, options) in enumerate(kinds):
        path = folder / f"good{number}.qcow2"
        create(path, SIZE, *arguments, **options)
        tool("qemu-io", "-c", "write -P 1 0 300k", "-c", "write -P 2 1M 70k", "-c", "write -z 600k 64k", path)
        if "data_file" not in options:
            tool("qemu-io", "-c", "write -c -P 3 1536k 64k", path)
            if options.get("refcount_bits") != 1:
                tool("qemu-img", "snapshot", "-c", "snap", path)
                tool("qemu-io", "-c", "write -P 4 0 100k", path)
        if options.get("compat") != "0.10":
            tool("qemu-img", "bitmap", "--add", path, "b0")
        made.append(path)
    return made


def _mutate(chance: random.Random, data: bytearray) -> None:
    """Change 1 to 8 places."""
    interesting = [int.from_bytes(data[at : at + 8], "big") & ~0x1FF & (1 << 56) - 1 for at in (40, 48, 64)]
    for _ in range(chance.randrange(1, 9)):
        kind = chance.random()
        if kind < 0.35:
            place = chance.randrange(120)
        elif kind < 0.8:
            start = chance.choice(interesting)
            place = start + chance.randrange(256)
            if chance.random() < 0.5 and start + 8 <= len(data):
                # Where the table's first entry points to: an L2 table, a refcount block.
                place = (int.from_bytes(data[start : start + 8], "big") & 0xFFFFFFFFFFFE00) + chance.randrange(512)
        else:
            place = chance.randrange(len(data))
        if place >= len(data):
            continue
        how = chance.random()
        if how < 0.4:
            data[place] = chance.randrange(256)
        elif how < 0.7:
            data[place] ^= 1 << chance.randrange(8)
        else:
            start = place & ~7
            near, far = chance.randrange(64) << 9 | 1 << 63, chance.randrange(1 << 40)
            value = chance.choice([0, (1 << 64) - 1, 1 << 63, far, near])
            data[start : start + 8] = value.to_bytes(8, "big")
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]


async def _use(node: BlockNode, chance: random.Random, writable: bool) -> None:
    """Read all of it (of a disk that claims to be larger than that, a part), and write here and there."""
    step = 256 << 10
    places = list(range(0, min(node.length, 2 * SIZE), step))
    places += [chance.randrange(node.length) for _ in range(8) if node.length]
    for offset in places:
        length = min(step, node.length - offset)
        try:
            await node.map(offset, length)
            await read(node, offset, length)
            if writable:
                await node.pwritev(offset, chance.randbytes(min(length, 5000)))
                await node.pwrite_zeroes(offset, length // 2)
                await node.pdiscard(offset, length // 3)
                await node.flush()
        except OSError:
            continue


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return _make_images(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("part", range(10))
async def test_damaged_images(part: int, images: list[Path], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(part * SEEDS // 10, (part + 1) * SEEDS // 10):
        print(f"seed {seed}")
        chance = random.Random(seed)
        path = tmp_path / "image.qcow2"
        good = chance.choice(images)
        data = bytearray(good.read_bytes())
        _mutate(chance, data)
        path.write_bytes(data)
        shutil.copyfile(images[0].parent / "base.raw", tmp_path / "base.raw")
        writable = chance.random() < 0.5
        async with lab() as opened, asyncio.timeout(SECONDS):
            try:
                node, _ = await opened.open_qcow2(path, read_only=not writable)
            except GenericError as error:
                assert str(error)
                assert path.read_bytes() == data or writable
                continue
            await _use(node, chance, writable)
            await opened.close(node)
        if not writable:
            assert path.read_bytes() == data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB
