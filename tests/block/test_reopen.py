"""Nodes that become writable and read-only again while their users stay."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.block.reopen import Reopening, reopen, set_read_only, with_children
from qmpd.errors import GenericError
from tests.block.conftest import NO_RESIZE, WRITER, Bench, read
from tests.block.test_chain import LENGTH, make_image

READER = Perm.CONSISTENT_READ


async def open_image(bench: Bench, name: str, **options: Any) -> BlockNode:
    """A qcow2 node with its file defined in place, read-only unless told otherwise."""
    path = bench.path / f"{name}.qcow2"
    if not path.exists():
        make_image(path, 1)
    file = {"driver": "file", "filename": str(path)}
    return await bench.add(
        **{"driver": "qcow2", "node-name": name, "file": file, "backing": None, "read-only": True, **options}
    )


async def switch(bench: Bench, node: BlockNode, read_only: bool) -> None:
    async with bench.graph.exclusive():
        await set_read_only(bench.graph, node, read_only)


def file_of(node: BlockNode) -> BlockNode:
    return node.children["file"].node


def can_write(node: BlockNode) -> bool:
    """Whether the descriptor under `node` can write."""
    driver: Any = file_of(node).driver
    flags = Path(f"/proc/self/fdinfo/{driver.fileno()}").read_text().split("flags:")[1].split()[0]
    return int(flags, 8) & os.O_ACCMODE == os.O_RDWR


def locked_by_us(node: BlockNode) -> bool:
    """Whether another program is refused to write to the image."""
    command = ["qemu-io", "-f", "qcow2", "-c", "write 0 512", file_of(node).driver.filename()]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0 or "lock" in run.stderr, run.stderr
    return run.returncode != 0


def tool(*command: str | Path) -> None:
    """Run a program that has to succeed."""
    subprocess.run(command, check=True, capture_output=True)


def reading_program(path: Path) -> subprocess.Popen[bytes]:
    """Another program that has an image open for reading, until it is told to quit."""
    reader = subprocess.Popen(
        ["qemu-io", "-r", "-f", "qcow2", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert reader.stdin is not None and reader.stdout is not None
    reader.stdin.write(b"length\n")
    reader.stdin.flush()
    reader.stdout.readline()
    return reader


def stored_bitmaps(path: Path) -> list[dict[str, Any]]:
    """What qemu-img says of the bitmaps in an image."""
    out = subprocess.run(["qemu-img", "info", "-U", "--output=json", path], capture_output=True, check=True).stdout
    bitmaps: list[dict[str, Any]] = json.loads(out)["format-specific"]["data"].get("bitmaps", [])
    return bitmaps


async def test_to_and_fro_with_a_reader(bench: Bench) -> None:
    node = await open_image(bench, "disk")
    reader = bench.backend(node, READER, Perm.ALL)
    with pytest.raises(GenericError, match="read-only"):
        bench.backend(node)
    assert not can_write(node)
    number = file_of(node).driver.fileno()  # type: ignore[attr-defined]
    await switch(bench, node, read_only=False)
    assert not node.read_only and not file_of(node).read_only and can_write(node) and locked_by_us(node)
    writer = bench.backend(node)
    await writer.pwritev(70000, b"new")
    with pytest.raises(GenericError, match="writes to it"):
        await switch(bench, node, read_only=True)
    assert not node.read_only
    await writer.pwritev(0, b"still")
    writer.detach()
    await switch(bench, node, read_only=True)
    assert node.read_only and file_of(node).read_only and not can_write(node)
    assert file_of(node).driver.fileno() == number  # type: ignore[attr-defined]
    assert await read(reader, 70000, 3) == b"new" and await read(reader, 0, 5) == b"still"
    # All of it is in the file, although the node is still open.
    tool("qemu-img", "check", "-q", bench.path / "disk.qcow2")
    tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0 5 4096", bench.path / "disk.qcow2")
    reader.detach()


async def test_stored_bitmaps_follow(bench: Bench) -> None:
    node = await open_image(bench, "disk", **{"read-only": False})
    node.bitmaps.add(DirtyBitmap("kept", LENGTH, 65536, persistent=True))
    writer = bench.backend(node)
    await writer.pwritev(65536, b"one")
    writer.detach()
    path = bench.path / "disk.qcow2"
    await switch(bench, node, read_only=True)
    bitmap = node.bitmaps.lookup("kept")
    assert bitmap.read_only and stored_bitmaps(path)[0]["flags"] == ["auto"]
    await switch(bench, node, read_only=False)
    assert not bitmap.read_only and "in-use" in stored_bitmaps(path)[0]["flags"]
    writer = bench.backend(node)
    await writer.pwritev(3 * 65536, b"two")
    writer.detach()
    await switch(bench, node, read_only=True)
    assert list(bitmap.dirty_extents()) == [(65536, 65536), (3 * 65536, 65536)]
    await bench.close()
    later = Bench(bench.path)
    again = await open_image(later, "disk")
    assert list(again.bitmaps.lookup("kept").dirty_extents()) == [(65536, 65536), (3 * 65536, 65536)]
    await later.close()


async def test_a_file_of_its_own_is_not_touched(bench: Bench) -> None:
    make_image(bench.path / "disk.qcow2", 1)
    path = str(bench.path / "disk.qcow2")
    await bench.add(**{"driver": "file", "node-name": "store", "filename": path, "read-only": True})
    await bench.add(**{"driver": "file", "node-name": "auto", "filename": path, "auto-read-only": True})
    fixed = await open_image(bench, "fixed", file="store")
    with pytest.raises(GenericError, match="read-only"):
        await switch(bench, fixed, read_only=False)
    assert fixed.read_only and fixed.node_name == "fixed"
    async with bench.graph.exclusive():
        await bench.graph.delete_node(fixed)
    free = await open_image(bench, "free", file="auto")
    await switch(bench, free, read_only=False)
    assert can_write(free) and not free.read_only


async def test_refused_by_another_program(bench: Bench) -> None:
    node = await open_image(bench, "disk")
    reader = reading_program(bench.path / "disk.qcow2")
    with pytest.raises(GenericError, match="locked"):
        await switch(bench, node, read_only=False)
    assert node.read_only and not locked_out(node)
    reader.communicate(b"quit\n")
    await switch(bench, node, read_only=False)
    assert not node.read_only


def locked_out(node: BlockNode) -> bool:
    """Whether another program is refused to read the image."""
    command = ["qemu-io", "-r", "-f", "qcow2", "-c", "read 0 512", file_of(node).driver.filename()]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


async def test_a_failure_leaves_it_read_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await open_image(bench, "disk")

    async def broken() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(node.driver, "_get_ready_to_write", broken)
        with pytest.raises(GenericError, match="could not get ready"):
            await switch(bench, node, read_only=False)
    assert node.read_only
    with pytest.raises(GenericError, match="read-only"):
        bench.backend(node)
    await switch(bench, node, read_only=False)
    assert not node.read_only


async def test_a_corrupt_image_stays_read_only(bench: Bench) -> None:
    make_image(bench.path / "disk.qcow2", 1)
    with (bench.path / "disk.qcow2").open("r+b") as file:
        file.seek(79)
        file.write(b"\x02")
    node = await open_image(bench, "disk")
    with pytest.raises(GenericError, match="corrupt"):
        await switch(bench, node, read_only=False)
    assert node.read_only and not can_write(node)


async def test_raw_and_descriptors_of_readers(bench: Bench) -> None:
    node = await bench.disk("plain", b"x" * 4096)
    backend = bench.backend(node, WRITER, NO_RESIZE)
    backend.detach()
    await switch(bench, node, read_only=True)
    assert not can_write(node)
    await switch(bench, node, read_only=True)
    await switch(bench, node, read_only=False)
    backend = bench.backend(node)
    await backend.pwritev(0, b"y")
    backend.detach()
    assert bench.content("plain")[:2] == b"yx"


async def test_all_or_none(bench: Bench) -> None:
    """One that cannot be reopened takes the others back, with all that they have said in their files."""
    good = await open_image(bench, "good", **{"read-only": False})
    good.bitmaps.add(DirtyBitmap("kept", LENGTH, 65536, persistent=True))
    await switch(bench, good, read_only=True)
    await switch(bench, good, read_only=False)
    make_image(bench.path / "bad.qcow2", 1)
    with (bench.path / "bad.qcow2").open("r+b") as file:
        file.seek(79)
        file.write(b"\x02")
    bad = await open_image(bench, "bad")
    entries: list[Reopening] = []
    for node, read_only in ((good, True), (bad, False)):
        entries += with_children(node, dataclasses.replace(node.options, read_only=read_only))
    async with bench.graph.exclusive():
        with pytest.raises(GenericError, match="corrupt"):
            await reopen(bench.graph, entries)
    assert not good.read_only and can_write(good) and bad.read_only
    assert "in-use" in stored_bitmaps(bench.path / "good.qcow2")[0]["flags"]
    assert not good.bitmaps.lookup("kept").read_only and good.quiesce_count == 0
    writer = bench.backend(good)
    await writer.pwritev(0, b"still")
    writer.detach()
