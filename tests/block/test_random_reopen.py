"""Random reopenings of random graphs, each first with a failure at its end: all is then exactly as it was."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.graph import BlockGraph
from qmpd.block.node import NodeOptions
from qmpd.block.reopen import reopen
from qmpd.block.reopen_plan import plan
from qmpd.errors import GenericError
from tests.block.conftest import Bench, read
from tests.block.test_chain import make_image
from tests.soak import count

LENGTH = 1 << 20
BLOCK = 4096
Definition = dict[str, Any]


def state(graph: BlockGraph) -> dict[str, tuple[NodeOptions, bool, int, dict[str, str], Any]]:
    """Of each node its options, length, children and definition.

    An image that gets ready to be read-only cuts its file, so the length of files does not count.
    """
    for node in graph.nodes.values():
        assert node.quiesce_count == 0
        for role, child in node.children.items():
            assert child in child.node.parents and child.owner is node and child.name == role
    return {
        name: (
            node.options,
            node.read_only,
            0 if node.driver.is_protocol else node.length,
            {role: child.node.node_name for role, child in node.children.items()},
            node.definition,
        )
        for name, node in graph.nodes.items()
    }


class Story:
    """Two raw nodes and three images, that stand on each other now in one way, now in another."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.images = ("q0", "q1", "q2")

    async def begin(self) -> None:
        for name in ("f0", "f1"):
            (self.bench.path / name).write_bytes(bytes(LENGTH))
            await self.bench.add(**self.file(name), **{"node-name": name})
        for number in (0, 1):
            await self.bench.add(driver="raw", file=f"f{number}", **{"node-name": f"r{number}"})
        for name in self.images:
            make_image(self.bench.path / name, 1)
            await self.bench.add(**self.image(name, None))

    def file(self, name: str) -> Definition:
        return {"driver": "file", "filename": str(self.bench.path / name)}

    def image(self, name: str, backing: str | None, **options: Any) -> Definition:
        return {"driver": "qcow2", "node-name": name, "file": self.file(name), "backing": backing, **options}

    def common(self) -> Definition:
        unmap = self.random.choice((True, False))
        return {
            "read-only": self.random.random() < 0.3,
            "discard": "unmap" if unmap else "ignore",
            "detect-zeroes": self.random.choice(("off", "on", "unmap") if unmap else ("off", "on")),
            "cache": {"no-flush": self.random.choice((True, False))},
        }

    def definitions(self) -> list[Definition]:
        """Options of some nodes; together they may be impossible."""
        found = []
        for name in self.random.sample((*self.images, "r0", "r1"), self.random.randint(1, 4)):
            if name in self.images:
                backing = self.random.choice((None, *self.images, "r0"))
                lazy = {"lazy-refcounts": self.random.choice((True, False))}
                found.append(self.image(name, backing, **self.common(), **lazy))
            else:
                below = self.random.choice(("f0", "f1"))
                found.append({"driver": "raw", "node-name": name, "file": below, **self.common()})
                if self.random.random() < 0.3:
                    found[-1]["size"] = LENGTH // 2
        return found

    async def reopen(self, definitions: list[Definition]) -> None:
        arguments = COMMANDS["blockdev-reopen"].validate({"options": definitions})
        async with self.bench.graph.exclusive():
            await reopen(self.bench.graph, plan(self.bench.graph, arguments.options))

    async def write_somewhere(self) -> None:
        """Whoever can be written takes a write."""
        for name in self.random.sample((*self.images, "r0", "r1"), 5):
            node = self.bench.graph.nodes[name]
            if node.read_only:
                continue
            try:
                user = self.bench.backend(node)
            except GenericError:
                continue  # what it stands on is read-only, or somebody else writes there
            at = self.random.randrange(node.length // BLOCK) * BLOCK
            data = self.random.randbytes(BLOCK)
            await user.pwritev(at, data)
            assert await read(user, at, BLOCK) == data
            user.detach()


@pytest.mark.parametrize("seed", range(count(4, 200)))
async def test_a_failure_leaves_nothing(bench: Bench, seed: int) -> None:
    story = Story(bench, seed)
    await story.begin()
    for _ in range(12):
        definitions = story.definitions()
        before = state(bench.graph)
        with pytest.raises(GenericError):
            await story.reopen([*definitions, {"driver": "raw", "node-name": "r0", "file": "f0", "offset": 2 * LENGTH}])
        assert state(bench.graph) == before
        try:
            await story.reopen(definitions)
        except GenericError:
            assert state(bench.graph) == before
        await story.write_somewhere()
    await bench.graph.close_all()
    for name in story.images:
        qemu_img_check(bench.path / name)


def qemu_img_check(path: Path) -> None:
    done = subprocess.run(["qemu-img", "check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
