"""What `read_now` gives is what `preadv` gives; where reading takes more than a copy, it leaves it to that."""

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qmpd.block.backend import BlockBackend
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from tests.qcow2.support import Lab, create, lab, tool

LENGTH = 1 << 20


@pytest.fixture
async def opened() -> AsyncIterator[Lab]:
    async with lab() as made:
        yield made


def raw(path: Path, **more: object) -> dict[str, object]:
    return {"driver": "raw", "file": {"driver": "file", "filename": str(path)}, **more}


def qcow2(path: Path, **more: object) -> dict[str, object]:
    return {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, **more}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(random.Random(1).randbytes(LENGTH))
    return path


async def compare(node: BlockNode) -> tuple[int, int]:
    """Read all over `node` in both ways; how often there was an answer at once, and of how many."""
    generator = random.Random(2)
    at_once = 0
    for _ in range(300):
        offset = generator.randrange(node.length)
        length = min(generator.choice([1, 512, 4096, 65536]), node.length - offset)
        now, later = bytearray(length), bytearray(length)
        told = node.read_now(offset, memoryview(now))
        await node.preadv(offset, memoryview(later))
        if told:
            at_once += 1
            assert now == later, (offset, length)
    return at_once, 300


async def test_plain_file(opened: Lab, plain: Path) -> None:
    node = await opened.open(raw(plain))
    assert await compare(node) == (300, 300)
    assert not node.read_now(LENGTH - 100, memoryview(bytearray(101)))
    assert not node.read_now(-1, memoryview(bytearray(1)))


async def test_window(opened: Lab, plain: Path) -> None:
    node = await opened.open(raw(plain, offset=4096, size=65536))
    assert await compare(node) == (300, 300)
    buffer = bytearray(100)
    assert node.read_now(0, memoryview(buffer))
    assert buffer == plain.read_bytes()[4096:4196]
    assert not node.read_now(65536 - 10, memoryview(bytearray(11)))


@pytest.mark.parametrize("options", ["", "extended_l2=on", "data_file=external", "cluster_size=512"])
async def test_qcow2(opened: Lab, tmp_path: Path, options: str) -> None:
    """Stored, zero, compressed and missing clusters, and a backing file that shows."""
    base, path = tmp_path / "base", tmp_path / "image"
    base.write_bytes(random.Random(3).randbytes(LENGTH // 2))
    given = ["-o", options] if options else []
    pieces = ["write -q -P 1 64k 256k", "write -q -z 128k 64k"]
    if options.startswith("data_file"):
        create(path, LENGTH, data_file=tmp_path / "external")
    else:
        create(path, LENGTH, *given, "-b", base, "-F", "raw")
        pieces += ["write -q -c -P 2 512k 64k", "write -q -P 3 900k 60k"]
    tool("qemu-io", *(word for piece in pieces for word in ("-c", piece)), path)
    node = await opened.open(qcow2(path))
    at_once, reads = await compare(node)
    assert at_once < reads
    assert (at_once > 0) is (options in ("", "cluster_size=512"))


@pytest.mark.parametrize(("driver", "child"), [("copy-on-read", "file"), ("blkdebug", "image")])
async def test_filters_that_look_at_reads_are_asked(opened: Lab, plain: Path, driver: str, child: str) -> None:
    node = await opened.open({"driver": driver, child: raw(plain)})
    assert await compare(node) == (0, 300)


async def test_other_filters_are_passed(opened: Lab, plain: Path) -> None:
    node = await opened.open({"driver": "preallocate", "file": {"driver": "file", "filename": str(plain)}})
    assert await compare(node) == (300, 300)


async def test_not_in_the_page_cache(opened: Lab, plain: Path) -> None:
    node = await opened.open(raw(plain))
    fd = os.open(plain, os.O_RDWR)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    buffer = bytearray(4096)
    # Whether the cache has let it go is up to the kernel; what is said has to be true either way.
    if node.read_now(0, memoryview(buffer)):
        assert buffer == plain.read_bytes()[:4096]


async def test_backend(opened: Lab, plain: Path) -> None:
    """Counted like every read, and held back like every read."""
    node = await opened.open(raw(plain))
    backend = BlockBackend(opened.graph, "", Perm.CONSISTENT_READ, Perm.ALL)
    assert not backend.read_now(0, memoryview(bytearray(1)))
    backend.attach(node)
    buffer = bytearray(4096)
    assert backend.read_now(8192, memoryview(buffer))
    assert buffer == plain.read_bytes()[8192 : 8192 + 4096]
    assert (backend.stats.read.operations, backend.stats.read.bytes) == (1, 4096)
    assert not backend.read_now(LENGTH, memoryview(buffer))
    assert (backend.stats.read.operations, backend.stats.read.failed) == (1, 0)
    backend.drained_begin()
    assert not backend.read_now(0, memoryview(buffer))
    backend.drained_end()
    assert backend.read_now(0, memoryview(buffer))
    backend.detach()
