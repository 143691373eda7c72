"""A block graph to test with: a pool, a list of events, and nodes on scratch files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.backend import BlockBackend
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode
from qmpd.block.opening import open_blockdev
from qmpd.block.permissions import Perm

WRITER = Perm.CONSISTENT_READ | Perm.WRITE
NO_RESIZE = Perm.ALL & ~Perm.RESIZE


class Events:
    """An event sink that keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Mapping[str, object]]] = []

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        self.seen.append((name, data or {}))


class Bench:
    """A graph and short ways to fill it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = Events()
        self.pool = IOPool()
        self.graph = BlockGraph(self.pool, self.events)

    async def add(self, **options: Any) -> BlockNode:
        """blockdev-add with schema names (underscores for dashes in node_name and friends are not translated)."""
        model = COMMANDS["blockdev-add"].validate(options)
        async with self.graph.exclusive():
            return await open_blockdev(self.graph, model)

    async def disk(self, name: str, content: bytes = b"", length: int | None = None) -> BlockNode:
        """A raw disk on a file `name`.img."""
        file = self.path / f"{name}.img"
        with file.open("wb") as out:
            out.write(content)
            out.truncate(length if length is not None else len(content))
        return await self.add(**{"driver": "raw", "node-name": name, "file": {"driver": "file", "filename": str(file)}})

    def backend(self, node: BlockNode, perm: Perm = WRITER, shared: Perm = NO_RESIZE) -> BlockBackend:
        """A user of `node`."""
        backend = BlockBackend(self.graph, "", perm, shared)
        backend.attach(node)
        return backend

    def content(self, name: str) -> bytes:
        """The bytes in a disk's file."""
        return (self.path / f"{name}.img").read_bytes()

    async def close(self) -> None:
        await self.graph.close_all()
        await self.pool.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()
    assert not bench.graph.nodes


async def read(user: BlockBackend | BlockNode, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`."""
    buffer = bytearray(length)
    await user.preadv(offset, memoryview(buffer))
    return bytes(buffer)
