"""The filter preallocate: who makes it work, when it gives back, and what it does without room."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from tests.block.conftest import Bench, read

MIB = 1 << 20
GROWER = Perm.CONSISTENT_READ | Perm.WRITE | Perm.RESIZE
ALONE = Perm.CONSISTENT_READ


async def filtered(bench: Bench, length: int = MIB, **options: Any) -> tuple[BlockNode, Path]:
    file = bench.path / "d.img"
    with file.open("wb") as out:
        out.truncate(length)
    below = {"driver": "file", "node-name": "f", "filename": str(file)}
    return await bench.add(**{"driver": "preallocate", "node-name": "p", "file": below, **options}), file


async def settled(bench: Bench, node: BlockNode) -> None:
    async with bench.graph.drained([node]):
        pass


async def test_grows_ahead_and_gives_back_with_the_permission(bench: Bench) -> None:
    node, file = await filtered(bench, **{"prealloc-size": 8 * MIB})
    user = bench.backend(node, GROWER, ALONE)
    await user.truncate(MIB + 512)
    assert (node.length, file.stat().st_size) == (MIB + 512, 10 * MIB)
    await user.pwritev(MIB, b"x" * 512)
    await user.truncate(5 * MIB)
    assert (node.length, file.stat().st_size) == (5 * MIB, 10 * MIB)
    assert await read(user, MIB, 1024) == b"x" * 512 + bytes(512)
    user.detach()
    below = bench.graph.nodes["f"]
    assert below.cumulative_perm & Perm.RESIZE, "the file may not be left to others before it is cut"
    await settled(bench, node)
    assert file.stat().st_size == node.length == below.length == 5 * MIB
    assert not below.cumulative_perm & Perm.RESIZE


async def test_permission_comes_back_before_the_cut(bench: Bench) -> None:
    node, file = await filtered(bench, **{"prealloc-size": 8 * MIB})
    user = bench.backend(node, GROWER, ALONE)
    await user.truncate(2 * MIB)
    user.detach()
    again = bench.backend(node, GROWER, ALONE)
    await again.truncate(3 * MIB)
    assert node.length == 3 * MIB and file.stat().st_size == 11 * MIB
    await again.truncate(MIB)
    assert node.length == file.stat().st_size == MIB
    again.detach()


async def test_shared_it_does_nothing_ahead(bench: Bench) -> None:
    node, file = await filtered(bench)
    user = bench.backend(node, GROWER, Perm.ALL)
    await user.truncate(2 * MIB)
    assert node.length == file.stat().st_size == 2 * MIB
    user.detach()


async def test_no_room_to_grow_ahead(bench: Bench, monkeypatch: Any) -> None:
    node, file = await filtered(bench)
    user = bench.backend(node, GROWER, ALONE)

    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bench.graph.nodes["f"], "pwrite_zeroes", full)
    await user.truncate(2 * MIB)
    assert node.length == file.stat().st_size == 2 * MIB
    user.detach()


async def test_a_shrunk_file_has_no_old_data_when_it_grows_again(bench: Bench) -> None:
    node, _ = await filtered(bench, **{"prealloc-size": MIB})
    user = bench.backend(node, GROWER, ALONE)
    await user.truncate(2 * MIB)
    await user.pwritev(MIB, b"y" * MIB)
    await user.truncate(MIB)
    await user.truncate(2 * MIB)
    assert await read(user, MIB, MIB) == bytes(MIB)
    user.detach()


async def test_becoming_read_only_cuts(bench: Bench) -> None:
    from qmpd.block.reopen import set_read_only

    node, file = await filtered(bench)
    user = bench.backend(node, GROWER, ALONE)
    await user.truncate(2 * MIB)
    user.set_permissions(Perm.CONSISTENT_READ, Perm.ALL)
    async with bench.graph.exclusive():
        await set_read_only(bench.graph, node, True)
    assert file.stat().st_size == node.length == 2 * MIB
    user.detach()


