"""Random transactions of snapshots, each first with a failure at its end: the graph is then exactly as it was."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.backend import BlockBackend
from qmpd.block.drivers.qcow2.creating import NewImage, create_in_file
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.services import BlockServices
from qmpd.errors import GenericError
from qmpd.jobs.manager import JobManager
from qmpd.monitor.context import RequestContext
from qmpd.transaction.engine import ActionRequest, TransactionEngine
from qmpd.transaction.env import CompletionMode
from tests.block.conftest import Bench, read
from tests.soak import count

CONTEXT = RequestContext(request_id=1, session_id=1, peer=None, time=0.0)
LENGTH = 1 << 20
BLOCK = 4096

Edge = tuple[str, str, str, int, int]


def shape(graph: BlockGraph) -> tuple[set[Edge], dict[str, tuple[bool, int, int]]]:
    """All edges with their permissions, and of each node whether it is read-only, drained and watched by bitmaps."""
    edges = {
        (child.owner.describe(), child.name, node.node_name, int(child.perm), int(child.shared))
        for node in graph.nodes.values()
        for child in node.parents
    }
    for node in graph.nodes.values():
        for role, child in node.children.items():
            assert child in child.node.parents and child.owner is node and child.name == role
    nodes = {
        name: (node.read_only, node.quiesce_count, len(list(node.bitmaps))) for name, node in graph.nodes.items()
    }
    return edges, nodes


class Story:
    """Some disks with users, and transactions made up about them."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        jobs = JobManager(bench.graph, bench.events)
        services = BlockServices(bench.graph, bench.pool, bench.events)
        self.engine = TransactionEngine(bench.graph, jobs, bench.events, services)
        self.tops: dict[str, str] = {}
        self.users: dict[str, BlockBackend] = {}
        self.models: dict[str, bytearray] = {}
        self.names = 0

    async def begin(self) -> None:
        for name in ("a", "b", "c"):
            node = await self.bench.disk(name, bytes(LENGTH))
            if self.random.random() < 0.5:
                node = await self.bench.add(driver="raw", file=name, **{"node-name": f"{name}-raw"})
            self.tops[name] = node.node_name
            self.users[name] = self.bench.backend(node)
            self.models[name] = bytearray(LENGTH)

    async def overlay(self, name: str) -> BlockNode:
        """A node made for `blockdev-snapshot`."""
        path = self.bench.path / name
        file: dict[str, Any] = {"driver": "file", "filename": str(path)}
        path.write_bytes(b"")
        with path.open("r+b") as target:
            create_in_file(target.fileno(), NewImage(LENGTH))
        return await self.bench.add(driver="qcow2", file=file, backing=None, **{"node-name": name})

    async def actions(self) -> tuple[list[ActionRequest], dict[str, str]]:
        """Actions that can all be carried out, and the tops that the disks have then."""
        tops = dict(self.tops)
        made = []
        for _ in range(self.random.randint(1, 6)):
            disk = self.random.choice("abc")
            self.names += 1
            name = f"n{self.names}"
            match self.random.choice(("sync", "sync", "node", "bitmap")):
                case "sync":
                    data = {"node-name": tops[disk], "snapshot-file": str(self.bench.path / name)}
                    made.append(self.request("blockdev-snapshot-sync", {**data, "snapshot-node-name": name}))
                    tops[disk] = name
                case "node":
                    await self.overlay(name)
                    made.append(self.request("blockdev-snapshot", {"node": tops[disk], "overlay": name}))
                    tops[disk] = name
                case "bitmap":
                    made.append(self.request("block-dirty-bitmap-add", {"node": tops[disk], "name": name}))
        return made, tops

    def request(self, kind: str, arguments: dict[str, Any]) -> ActionRequest:
        return ActionRequest(kind, COMMANDS[kind].validate(arguments))

    async def run(self, actions: list[ActionRequest]) -> None:
        await self.engine.run(actions, CompletionMode.INDIVIDUAL, CONTEXT)

    async def write(self) -> None:
        for name, user in self.users.items():
            at = self.random.randrange(LENGTH // BLOCK) * BLOCK
            data = self.random.randbytes(BLOCK)
            self.models[name][at : at + BLOCK] = data
            await user.pwritev(at, data)

    async def check(self) -> None:
        for name, user in self.users.items():
            assert user.node.node_name == self.tops[name]
            assert await read(user, 0, LENGTH) == self.models[name]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()
    assert not bench.graph.nodes


@pytest.mark.parametrize("seed", range(count(5, 200)))
async def test_a_failure_leaves_nothing(bench: Bench, seed: int) -> None:
    story = Story(bench, seed)
    await story.begin()
    for _ in range(3):
        await story.write()
        actions, tops = await story.actions()
        before, files = shape(bench.graph), set(os.listdir(bench.path))
        failing = story.random.choice((ActionRequest("abort", None), actions[-1]))
        with pytest.raises(GenericError):
            # The last action a second time cannot be: its overlay is in use by then, or its name is taken.
            await story.run([*actions, failing])
        assert shape(bench.graph) == before
        assert set(os.listdir(bench.path)) == files
        await story.write()
        await story.check()
        await story.run(actions)
        story.tops = tops
        await story.check()
    for user in story.users.values():
        user.detach()
