"""Digest, count and listing of our bitmaps against those of qemu-storage-daemon for the same writes."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from qmpd.block.dirty_bitmap import BitmapStore, DirtyBitmap
from tests.soak import count

pytestmark = pytest.mark.skipif(
    not (shutil.which("qemu-storage-daemon") and shutil.which("qemu-io")),
    reason="needs qemu-storage-daemon and qemu-io",
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GRANULARITIES = [512, 1024, 4096, 32 * KIB, 64 * KIB, MIB, GIB, 2 * GIB]
LENGTHS = [512, 77 * 512, 64 * 64 * KIB, 64 * 64 * KIB + 512, 3 * MIB - 512, 5 * GIB + 13 * 512]
Write = tuple[int, int]


@asynccontextmanager
async def peer(directory: Path) -> AsyncIterator[QMPClient]:
    """A qemu-storage-daemon and a client that talks to it."""
    client = QMPClient("peer")
    socket = str(directory / "qmp")
    await client.start_server(socket)
    process = await asyncio.create_subprocess_exec(
        "qemu-storage-daemon", "--chardev", f"socket,id=c,path={socket}", "--monitor", "chardev=c"
    )
    try:
        await client.accept()
        yield client
    finally:
        await client.disconnect()
        process.terminate()
        await process.wait()


async def export(qmp: QMPClient, directory: Path, length: int) -> str:
    """Make node `n` of `length` bytes and return the URI of its NBD export."""
    address = {"type": "unix", "data": {"path": str(directory / "nbd")}}
    await qmp.execute("blockdev-add", {"driver": "null-co", "node-name": "n", "size": length})
    await qmp.execute("nbd-server-start", {"addr": address})
    await qmp.execute(
        "block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "name": "n", "writable": True}
    )
    return f"nbd+unix:///n?socket={directory / 'nbd'}"


async def perform(uri: str, writes: Sequence[Write]) -> None:
    """Let qemu-io do `writes`."""
    commands = [part for offset, length in writes for part in ("-c", f"write {offset} {length}")]
    process = await asyncio.create_subprocess_exec(
        "qemu-io", "-f", "raw", *commands, uri, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


def random_writes(source: random.Random, length: int, number: int) -> list[Write]:
    """Sector-aligned writes of many sizes all over the disk, the first and last sector among them."""
    sectors = length // 512
    writes = [(0, 512), (length - 512, 512)]
    for _ in range(number):
        start = source.randrange(sectors)
        size = min(source.choice([1, 2, 7, 128, 129, 4096]), sectors - start)
        writes.append((start * 512, size * 512))
    return writes


async def agree(qmp: QMPClient, store: BitmapStore) -> None:
    """Digests, counts and the whole listing are those of the peer."""
    for bitmap in store:
        answer = await qmp.execute("x-debug-block-dirty-bitmap-sha256", {"node": "n", "name": bitmap.name})
        assert answer == {"sha256": bitmap.sha256()}, bitmap
    nodes = await qmp.execute("query-named-block-nodes")
    (listing,) = (node["dirty-bitmaps"] for node in nodes if node["node-name"] == "n")
    assert listing == store.info()


async def add(qmp: QMPClient, store: BitmapStore, name: str, length: int, granularity: int) -> DirtyBitmap:
    await qmp.execute("block-dirty-bitmap-add", {"node": "n", "name": name, "granularity": granularity})
    bitmap = DirtyBitmap(name, length, granularity)
    store.add(bitmap)
    return bitmap


@pytest.mark.parametrize("length", LENGTHS)
async def test_same_digest_and_count(length: int) -> None:
    source = random.Random(length)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with peer(directory) as qmp:
            uri = await export(qmp, directory, length)
            store = BitmapStore("n")
            for granularity in GRANULARITIES:
                await add(qmp, store, f"g{granularity}", length, granularity)
            await agree(qmp, store)
            for number in [0, 3, *[30] * count(1, 20)]:
                writes = random_writes(source, length, number)
                await perform(uri, writes)
                for offset, size in writes:
                    store.mark(offset, size)
                await agree(qmp, store)


@pytest.mark.parametrize("length", [77 * 512, 64 * 64 * KIB + 512, 1 * GIB + 13 * 512])
async def test_same_merge_across_granularities(length: int) -> None:
    source = random.Random(length)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with peer(directory) as qmp:
            uri = await export(qmp, directory, length)
            store = BitmapStore("n")
            sizes = (512, 4096, 64 * KIB, MIB)
            sources = [await add(qmp, store, f"from{size}", length, size) for size in sizes]
            writes = random_writes(source, length, 5)
            await perform(uri, writes)
            for offset, size in writes:
                store.mark(offset, size)
            for bitmap in sources:
                for granularity in (512, 2048, 64 * KIB, 2 * GIB):
                    target = await add(qmp, store, f"{bitmap.name}to{granularity}", length, granularity)
                    merge = {"node": "n", "target": target.name, "bitmaps": [bitmap.name]}
                    await qmp.execute("block-dirty-bitmap-merge", merge)
                    target.merge_from(bitmap)
            await agree(qmp, store)
