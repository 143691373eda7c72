"""Graphs that nobody in his right mind would build: cycles, towers, crowds, and images that are no images."""

from __future__ import annotations

import asyncio
import os

import pytest

from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.graph import MAX_DEPTH, MAX_LENGTH
from qmpd.block.info import graph_info, node_stats
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.wire.encoding import encode
from tests.block.conftest import Bench, read


@pytest.mark.parametrize("file", ["x", {"driver": "raw", "node-name": "y", "file": "x"}], ids=["itself", "its-child"])
async def test_no_node_is_its_own_child(bench: Bench, file: object) -> None:
    with pytest.raises(GenericError, match="no node named 'x'"):
        await bench.add(**{"driver": "raw", "node-name": "x", "file": file})
    assert not bench.graph.nodes


async def test_a_filter_does_not_close_a_circle(bench: Bench) -> None:
    upper = await bench.disk("upper", bytes(1 << 20))
    below = upper.children["file"].node
    user = bench.backend(upper)
    async with bench.graph.exclusive(), bench.graph.drained([below, upper]):
        with pytest.raises(GenericError, match="uses that node itself"):
            bench.graph.insert_filter(CopyBeforeWriteDriver.for_job(65536, None), below, None, {"target": upper})
    assert list(bench.graph.nodes.values()) == [below, upper]
    assert below.quiesce_count == upper.quiesce_count == 0
    await user.pwritev(0, b"the disk goes on")
    user.detach()


async def test_a_tower_has_a_limited_height(bench: Bench) -> None:
    top = await bench.add(**{"driver": "null-co", "node-name": "n0", "size": 1 << 20, "read-zeroes": True})
    for level in range(1, MAX_DEPTH):
        top = await bench.add(**{"driver": "raw", "node-name": f"n{level}", "file": f"n{level - 1}"})
    with pytest.raises(GenericError, match=f"there may be {MAX_DEPTH}"):
        await bench.add(**{"driver": "raw", "node-name": "one-more", "file": top.node_name})
    target = await bench.add(**{"driver": "null-co", "node-name": "target", "size": 1 << 20})
    async with bench.graph.exclusive(), bench.graph.drained([top]):
        with pytest.raises(GenericError, match=f"there may be {MAX_DEPTH}"):
            bench.graph.insert_filter(CopyBeforeWriteDriver.for_job(65536, None), top, None, {"target": target})
    user = bench.backend(top)
    async with bench.graph.exclusive(), bench.graph.drained([bench.graph.lookup("n0")]):
        assert encode(graph_info(bench.graph))
    await user.pwritev(0, b"x" * 512)
    assert await read(user, 0, 512) == bytes(512)
    assert encode(node_stats(top))
    user.detach()


async def test_a_crowd_of_users_is_checked_once_each(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked about a node's users grows with their number, not with its square."""
    node = await bench.disk("d", bytes(512))
    users = [bench.backend(node) for _ in range(200)]
    looks = 0
    real = Perm.__and__

    def counted(left: Perm, right: Perm) -> Perm:
        nonlocal looks
        looks += 1
        return real(left, right)

    monkeypatch.setattr(Perm, "__and__", counted)
    users.append(bench.backend(node))
    monkeypatch.undo()
    assert looks < 40 * len(users)
    for user in users:
        user.detach()


async def test_a_disk_may_not_be_longer_than_the_wire_can_tell(bench: Bench) -> None:
    for size in ((1 << 63) - 1, MAX_LENGTH + 1):
        with pytest.raises(GenericError, match="is the most"):
            await bench.add(**{"driver": "null-co", "node-name": "n", "size": size})
    node = await bench.add(**{"driver": "null-co", "node-name": "n", "size": MAX_LENGTH})
    assert node.length == MAX_LENGTH


async def test_a_node_is_seen_when_it_is_complete(bench: Bench) -> None:
    path = bench.path / "f"
    path.write_bytes(bytes(512))
    file = {"driver": "file", "filename": str(path)}
    adding = asyncio.create_task(bench.add(**{"driver": "raw", "node-name": "r", "file": {"node-name": "f", **file}}))
    seen: list[set[str]] = []
    while not adding.done():
        info = graph_info(bench.graph)
        numbers = {node["id"] for node in info["nodes"]}
        assert all({edge["parent"], edge["child"]} <= numbers for edge in info["edges"])
        for node in bench.graph.nodes.values():
            assert node.driver.actual_size() is not None
        seen.append(set(bench.graph.nodes))
        await asyncio.sleep(0)
    assert set() in seen and set(bench.graph.nodes) == {"r", "f"}


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_pipe_keeps_nobody_waiting(bench: Bench, read_only: bool) -> None:
    path = bench.path / "pipe"
    os.mkfifo(path)
    with pytest.raises(GenericError, match="regular file"):
        await bench.add(**{"driver": "file", "node-name": "n", "filename": str(path), "read-only": read_only})


async def test_a_name_with_a_null_character(bench: Bench) -> None:
    with pytest.raises(GenericError, match="No such file"):
        await bench.add(**{"driver": "file", "node-name": "n", "filename": "a\0b"})
