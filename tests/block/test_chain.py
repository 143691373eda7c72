"""Chains of images: walking, freezing, replacing nodes and moving single edges, on real qcow2 images."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qmpd.block import chain
from qmpd.block.backend import BlockBackend
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from tests.block.conftest import Bench, read

LENGTH = 1 << 20


def make_image(path: Path, fill: int) -> None:
    """A qcow2 file whose cluster number `fill` is filled with `fill`."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(LENGTH)], check=True)
    write = f"write -q -P {fill} {fill * 65536} 65536"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, path], check=True, stdout=subprocess.DEVNULL)


async def image(bench: Bench, name: str, fill: int, backing: BlockNode | None = None) -> BlockNode:
    """A qcow2 node whose cluster number `fill` is filled with `fill`; all else shows through."""
    path = bench.path / f"{name}.qcow2"
    make_image(path, fill)
    file = {"driver": "file", "filename": str(path)}
    below = None if backing is None else backing.node_name
    return await bench.add(**{"driver": "qcow2", "node-name": name, "file": file, "backing": below})


async def shown(user: BlockBackend | BlockNode) -> list[int]:
    """The first byte of each of the first four clusters."""
    return [(await read(user, number * 65536, 1))[0] for number in range(4)]


async def test_walking(bench: Bench) -> None:
    base = await image(bench, "base", 1)
    middle = await image(bench, "middle", 2, base)
    target = await bench.disk("target", length=LENGTH)
    async with bench.graph.exclusive():
        driver = CopyBeforeWriteDriver.for_job(65536, None)
        filter_node = bench.graph.insert_filter(driver, base, None, {"target": target})
    assert list(chain.chain(middle)) == [middle, filter_node, base]
    assert chain.below(middle) is filter_node and chain.backing_node(middle) is base
    assert chain.skip_filters(filter_node) is base and chain.backing_node(filter_node) is None
    assert chain.overlay_of(middle, base) is middle and chain.overlay_of(middle, filter_node) is middle
    assert chain.overlay_of(base, middle) is None
    assert chain.skip_implicit_filters(filter_node) is filter_node
    filter_node.implicit = True
    assert chain.skip_implicit_filters(filter_node) is base
    async with bench.graph.exclusive():
        bench.graph.remove_filter(filter_node)


async def test_an_overlay_is_put_on_top(bench: Bench) -> None:
    """What a snapshot does: the users of a node go over to an image that stands on it."""
    base = await image(bench, "base", 1)
    top = await image(bench, "top", 2)
    user = bench.backend(base)
    async with bench.graph.exclusive(), bench.graph.drained([base, top]):
        bench.graph.set_child(top, "backing", base)
        bench.graph.replace_node(base, top)
    assert user.node is top and chain.below(top) is base
    assert await shown(user) == [0, 1, 2, 0]
    user.detach()


async def test_a_node_is_taken_out_of_the_middle_and_put_back(bench: Bench) -> None:
    base = await image(bench, "base", 1)
    middle = await image(bench, "middle", 2, base)
    top = await image(bench, "top", 3, middle)
    user = bench.backend(top)
    async with bench.graph.exclusive(), bench.graph.drained([top]):
        bench.graph.set_child(top, "backing", base)
    assert await shown(user) == [0, 1, 0, 3] and not middle.parents
    async with bench.graph.exclusive(), bench.graph.drained([top]):
        bench.graph.set_child(top, "backing", None)
    assert await shown(user) == [0, 0, 0, 3]
    async with bench.graph.exclusive(), bench.graph.drained([top]):
        bench.graph.set_child(top, "backing", middle)
    assert await shown(user) == [0, 1, 2, 3]
    user.detach()


async def test_loops_and_conflicts_leave_the_graph_as_it_was(bench: Bench) -> None:
    base = await image(bench, "base", 1)
    top = await image(bench, "top", 2, base)
    user, other = bench.backend(top), bench.backend(await bench.disk("other", length=LENGTH))
    async with bench.graph.exclusive(), bench.graph.drained([base, top, other.node]):
        with pytest.raises(GenericError, match="uses that node"):
            bench.graph.set_child(base, "backing", top)
        shared = user.shared
        user.set_permissions(user.perm, Perm.CONSISTENT_READ)
        with pytest.raises(GenericError, match="does not share"):
            bench.graph.replace_node(other.node, top)
        user.set_permissions(user.perm, shared)
    assert user.node is top and other.node.node_name == "other" and chain.below(base) is None
    assert all(node.quiesce_count == 0 for node in bench.graph.nodes.values())
    await other.pwritev(0, b"still works")
    user.detach()
    other.detach()


async def test_frozen_edges_stay(bench: Bench) -> None:
    base = await image(bench, "base", 1)
    middle = await image(bench, "middle", 2, base)
    top = await image(bench, "top", 3, middle)
    target = await bench.disk("target", length=LENGTH)
    frozen = chain.freeze(top, base)
    assert len(frozen) == 2
    with pytest.raises(GenericError, match="frozen"):
        chain.freeze(middle, None)
    async with bench.graph.exclusive(), bench.graph.drained([top]):
        with pytest.raises(GenericError, match="frozen"):
            bench.graph.set_child(top, "backing", base)
        with pytest.raises(GenericError, match="frozen"):
            bench.graph.replace_node(middle, base)
        with pytest.raises(GenericError, match="frozen"):
            bench.graph.insert_filter(CopyBeforeWriteDriver.for_job(65536, None), base, None, {"target": target})
        chain.unfreeze(frozen)
        bench.graph.set_child(top, "backing", base)
    assert not frozen and chain.below(top) is base
