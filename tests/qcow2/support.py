"""What the qcow2 tests share: a block layer without a daemon, QEMU's tools as judges, and a model of a disk."""

import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from qmpd.block.drivers import make_driver
from qmpd.block.drivers.qcow2.driver import Qcow2Driver
from qmpd.block.filenames import validate
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.node import BlockNode
from qmpd.block.opening import node_options


class Events:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []

    def emit(self, name: str, data: Mapping[str, object]) -> None:
        self.seen.append((name, dict(data)))

    def named(self, name: str) -> list[dict[str, object]]:
        return [data for event, data in self.seen if event == name]


class Lab:
    """A block graph of its own."""

    def __init__(self) -> None:
        self.pool = IOPool(4)
        self.events = Events()
        self.graph = BlockGraph(self.pool, self.events)

    async def open(self, options: dict[str, object]) -> BlockNode:
        model = validate({"node-name": "disk", **options}, "a test")
        async with self.graph.exclusive():
            return await self.graph.open_node(
                make_driver(str(model.driver)), model, node_options(model), model.node_name, monitor_owned=True
            )

    async def open_qcow2(self, path: Path, **more: object) -> tuple[BlockNode, Qcow2Driver]:
        options = {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "discard": "unmap"}
        node = await self.open({**options, **{key.replace("_", "-"): value for key, value in more.items()}})
        assert isinstance(node.driver, Qcow2Driver)
        return node, node.driver

    async def close(self, node: BlockNode) -> None:
        async with self.graph.exclusive():
            await self.graph.delete_node(node)

    async def end(self) -> None:
        await self.graph.close_all()
        await self.pool.close()


@asynccontextmanager
async def lab() -> AsyncIterator[Lab]:
    """A lab that is cleared up."""
    made = Lab()
    try:
        yield made
    finally:
        await made.end()


def tool(*arguments: object, ok: tuple[int, ...] = (0,)) -> str:
    """Run one of QEMU's tools; fails with its words unless it ends with a status in `ok`."""
    command = [str(argument) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in ok, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def create(path: Path, size: int, *arguments: object, **options: object) -> None:
    """Have qemu-img make a qcow2 image."""
    chosen = [f"{key}={value}" for key, value in options.items()]
    given = ["-o", ",".join(chosen)] if chosen else []
    tool("qemu-img", "create", "-q", "-f", "qcow2", *given, *arguments, path, size)


def alone(path: Path) -> str:
    """A name by which QEMU's tools open an image without its backing file.

    They cannot open every name that QEMU itself gives a base: not one of several images over `blkdebug`.
    """
    file = {"driver": "file", "filename": str(path)}
    return "json:" + json.dumps({"driver": "qcow2", "backing": None, "file": file})


def check(path: Path | str) -> dict[str, object]:
    """What qemu-img check finds; fails unless that is nothing."""
    report = json.loads(tool("qemu-img", "check", "--output=json", path, ok=(0, 2, 3)))
    wrong = {key: report[key] for key in ("leaks", "corruptions", "check-errors") if report.get(key)}
    assert not wrong, f"{path}: {wrong}\n" + tool("qemu-img", "check", path, ok=(0, 2, 3))
    return report


def same(path: Path, model: bytes | bytearray, scratch: Path) -> None:
    """Fail unless the image's contents are `model`, as qemu-img sees them."""
    plain = scratch / "model.raw"
    plain.write_bytes(model)
    tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, plain)


async def read(node: BlockNode, offset: int, length: int) -> bytes:
    """Bytes of a node."""
    buffer = bytearray(length)
    await node.preadv(offset, memoryview(buffer))
    return bytes(buffer)
