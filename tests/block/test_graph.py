"""Nodes, permissions, blockers and drain, on real files."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess

import pytest

from qmpd.block.blockers import BlockOp
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from tests.block.conftest import NO_RESIZE, WRITER, Bench, read


async def test_write_read_flush(bench: Bench) -> None:
    node = await bench.disk("d", bytes(1 << 20))
    user = bench.backend(node)
    await user.pwritev(4096, b"a" * 100)
    await user.flush()
    assert await read(user, 4090, 110) == bytes(6) + b"a" * 100 + bytes(4)
    assert bench.content("d")[4096:4196] == b"a" * 100
    user.detach()


async def test_requests_beyond_the_end(bench: Bench) -> None:
    node = await bench.disk("d", bytes(1 << 20))
    user = bench.backend(node)
    for request in (
        lambda: read(user, (1 << 20) - 1, 2),
        lambda: user.pwritev(1 << 20, b"x"),
        lambda: user.pwrite_zeroes((1 << 20) - 512, 1024),
        lambda: user.pdiscard(1 << 20, 1),
    ):
        with pytest.raises(OSError) as caught:
            await request()
        assert caught.value.errno == errno.EIO
    assert user.stats.read.failed == 1
    user.detach()


async def test_length_is_rounded_up_to_a_sector(bench: Bench) -> None:
    node = await bench.add(**{"driver": "file", "node-name": "f", "filename": str(_file(bench, "odd", b"z" * 1000))})
    assert node.length == 1024
    assert await read(node, 990, 34) == b"z" * 10 + bytes(24)


def _file(bench: Bench, name: str, content: bytes) -> object:
    path = bench.path / name
    path.write_bytes(content)
    return path


async def test_raw_window(bench: Bench) -> None:
    path = _file(bench, "w", bytes(1024) + b"b" * 1024 + bytes(1024))
    file = {"driver": "file", "filename": str(path)}
    node = await bench.add(**{"driver": "raw", "node-name": "w", "offset": 1024, "size": 1024, "file": file})
    assert node.length == 1024
    assert await read(node, 0, 1024) == b"b" * 1024
    assert [(e.offset, e.length, e.host_offset) for e in await node.map(0, 1024)] == [(0, 1024, 1024)]
    assert node.driver.filename().startswith("json:")
    for bad, member in ((4096, "offset"), (-1, "offset")):
        with pytest.raises(GenericError, match=member):
            await bench.add(**{"driver": "raw", "node-name": "x", "offset": bad, "file": file})
    for size in (100, 4096, -512):
        with pytest.raises(GenericError, match="size"):
            await bench.add(**{"driver": "raw", "node-name": "x", "size": size, "file": file})
    assert set(bench.graph.nodes) == {"w", "#block001"}


async def test_names(bench: Bench) -> None:
    await bench.add(**{"driver": "null-co", "node-name": "n"})
    for name in ("", "0n", "n n", "#n", "n" * 32, "n"):
        with pytest.raises(GenericError, match="node-name"):
            await bench.add(**{"driver": "null-co", "node-name": name})
    with pytest.raises(GenericError, match="node-name"):
        await bench.add(driver="null-co")
    await bench.add(**{"driver": "null-co", "node-name": "n" * 31})


async def test_one_name_twice_in_one_definition(bench: Bench) -> None:
    with pytest.raises(GenericError, match="taken"):
        await bench.add(**{"driver": "raw", "node-name": "a", "file": {"driver": "null-co", "node-name": "a"}})
    assert not bench.graph.nodes


async def test_delete_takes_inline_children_along_and_no_others(bench: Bench) -> None:
    node = await bench.disk("d", bytes(512))
    await bench.add(**{"driver": "null-co", "node-name": "n"})
    upper = await bench.add(**{"driver": "raw", "node-name": "r", "file": "n"})
    async with bench.graph.exclusive():
        with pytest.raises(GenericError, match="in use"):
            await bench.graph.delete_node(bench.graph.lookup("n"))
        await bench.graph.delete_node(node)
        await bench.graph.delete_node(upper)
    assert set(bench.graph.nodes) == {"n"}


async def test_a_node_in_use_stays(bench: Bench) -> None:
    node = await bench.disk("d", bytes(512))
    user = bench.backend(node)
    with pytest.raises(GenericError, match="in use"):
        async with bench.graph.exclusive():
            await bench.graph.delete_node(node)
    user.detach()
    async with bench.graph.exclusive():
        await bench.graph.delete_node(node)
    assert not bench.graph.nodes


async def test_permissions_conflict_both_ways(bench: Bench) -> None:
    node = await bench.disk("d", bytes(512))
    reader = bench.backend(node, Perm.CONSISTENT_READ, NO_RESIZE)
    with pytest.raises(GenericError, match="resize"):
        bench.backend(node, Perm.RESIZE, Perm.ALL)
    selfish = Perm.CONSISTENT_READ
    with pytest.raises(GenericError, match="consistent-read"):
        bench.backend(node, Perm.NONE, Perm.ALL & ~selfish)
    reader.detach()
    only = bench.backend(node, WRITER, selfish)
    with pytest.raises(GenericError, match="write"):
        bench.backend(node, WRITER, NO_RESIZE)
    with pytest.raises(GenericError, match="write"):
        reader.perm = WRITER
        reader.attach(node)
    assert len(node.parents) == 1
    only.detach()
    # A conflict at the child is a conflict for the parent.
    file = bench.graph.lookup("#block001")
    holder = bench.backend(file, WRITER, Perm.CONSISTENT_READ)
    with pytest.raises(GenericError, match="write"):
        bench.backend(node)
    assert node.cumulative_perm == Perm.NONE
    holder.detach()


async def test_read_only(bench: Bench) -> None:
    path = _file(bench, "ro", bytes(512))
    os.chmod(path, 0o400)
    file = {"driver": "file", "filename": str(path)}
    node = await bench.add(**{"driver": "raw", "node-name": "d", "read-only": True, "file": file})
    with pytest.raises(GenericError, match="read-only"):
        bench.backend(node)
    with pytest.raises(OSError) as caught:
        await node.pwritev(0, b"x")
    assert caught.value.errno == errno.EPERM
    assert await read(node, 0, 512) == bytes(512)


async def test_auto_read_only_opens_for_writing_when_needed(bench: Bench) -> None:
    path = _file(bench, "f", bytes(4096))
    node = await bench.add(
        **{"driver": "file", "node-name": "f", "filename": str(path), "auto-read-only": True}
    )
    before = node.driver.fileno()  # type: ignore[attr-defined]
    assert os.readlink(f"/proc/self/fd/{before}") == str(path)
    user = bench.backend(node)
    await user.pwritev(0, b"x" * 512)
    assert path.read_bytes()[:512] == b"x" * 512  # type: ignore[attr-defined]
    user.detach()


async def test_locks_speak_with_qemu_img(bench: Bench) -> None:
    node = await bench.disk("d", bytes(1 << 20))
    path = str(bench.path / "d.img")

    def qemu_io() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["qemu-io", "-f", "raw", "-c", "write 0 512", path], capture_output=True, text=True, check=False
        )

    assert qemu_io().returncode == 0
    user = bench.backend(node, WRITER, Perm.CONSISTENT_READ)
    refused = qemu_io()
    assert refused.returncode != 0
    assert "lock" in refused.stderr
    # The other way round, within this process too: another open file description is another user.
    other = await bench.add(**{"driver": "file", "node-name": "again", "filename": path})
    with pytest.raises(GenericError, match="is locked"):
        bench.backend(other)
    user.detach()
    second = bench.backend(other)
    second.detach()
    assert qemu_io().returncode == 0


async def test_force_share_takes_no_locks(bench: Bench) -> None:
    node = await bench.disk("d", bytes(512))
    user = bench.backend(node, WRITER, Perm.NONE)
    path = str(bench.path / "d.img")
    shared = await bench.add(
        **{"driver": "file", "node-name": "s", "filename": path, "read-only": True, "force-share": True}
    )
    reader = bench.backend(shared, Perm.CONSISTENT_READ, NO_RESIZE)
    reader.detach()
    user.detach()


async def test_option_contradictions(bench: Bench) -> None:
    with pytest.raises(GenericError, match="read-only"):
        await bench.add(**{"driver": "null-co", "node-name": "n", "force-share": True})
    with pytest.raises(GenericError, match="discard"):
        await bench.add(**{"driver": "null-co", "node-name": "n", "detect-zeroes": "unmap"})
    with pytest.raises(GenericError, match="regular file"):
        await bench.add(**{"driver": "file", "node-name": "n", "filename": "/dev/null"})
    with pytest.raises(GenericError, match="device"):
        path = str(_file(bench, "plain", b""))
        await bench.add(**{"driver": "host_device", "node-name": "n", "filename": path})
    with pytest.raises(GenericError, match="cannot be opened"):
        await bench.add(**{"driver": "file", "node-name": "n", "filename": "/nowhere/at/all"})
    assert not bench.graph.nodes


async def test_drain_holds_new_requests_and_waits_for_old_ones(bench: Bench) -> None:
    node = await bench.add(**{"driver": "null-co", "node-name": "n", "latency-ns": 20_000_000})
    upper = await bench.add(**{"driver": "raw", "node-name": "r", "file": "n"})
    user = bench.backend(upper)
    first = asyncio.create_task(read(user, 0, 512))
    await asyncio.sleep(0)
    assert user.in_flight == 1
    async with bench.graph.drained([node]):
        assert user.in_flight == 0
        assert first.done()
        second = asyncio.create_task(read(user, 0, 512))
        await asyncio.sleep(0)
        assert user.in_flight == 0
        async with bench.graph.drained([upper, node]):
            assert not second.done()
        assert upper.quiesce_count == 1
    await second
    assert upper.quiesce_count == node.quiesce_count == 0
    user.detach()


async def test_filter_goes_in_and_out_under_drain(bench: Bench) -> None:
    source = await bench.disk("s", b"s" * (1 << 20))
    target = await bench.disk("t", bytes(1 << 20))
    user = bench.backend(source)
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        driver = CopyBeforeWriteDriver.for_job(65536, None)
        node = bench.graph.insert_filter(driver, source, "cbw", {"target": target})
        late = asyncio.create_task(user.pwritev(65536, b"x" * 10))
        await asyncio.sleep(0)
        assert user.in_flight == 0
    await late
    assert driver.broken is None
    assert user.node is node
    assert node.length == source.length
    assert bench.content("t")[65536:131072] == b"s" * 65536
    assert bench.content("s")[65536:65546] == b"x" * 10
    with pytest.raises(GenericError, match="write"):
        bench.backend(source)
    async with bench.graph.exclusive(), bench.graph.drained([node]):
        bench.graph.remove_filter(node)
    assert user.node is source
    assert {n.quiesce_count for n in bench.graph.nodes.values()} == {0}
    assert "cbw" not in bench.graph.nodes
    await user.pwritev(0, b"y")
    user.detach()


async def test_filter_that_cannot_go_in_leaves_no_trace(bench: Bench) -> None:
    source = await bench.disk("s", bytes(1 << 20))
    target = await bench.disk("t", bytes(1 << 20))
    users = [bench.backend(source), bench.backend(target, Perm.CONSISTENT_READ, Perm.CONSISTENT_READ)]
    async with bench.graph.exclusive(), bench.graph.drained([source, target]):
        with pytest.raises(GenericError, match="write"):
            bench.graph.insert_filter(CopyBeforeWriteDriver.for_job(65536, None), source, None, {"target": target})
        with pytest.raises(GenericError, match="taken"):
            bench.graph.insert_filter(CopyBeforeWriteDriver.for_job(65536, None), source, "t", {"target": target})
    assert [user.node for user in users] == [source, target]
    assert len(bench.graph.nodes) == 4
    assert {node.quiesce_count for node in bench.graph.nodes.values()} == {0}
    for user in users:
        user.detach()


async def test_blockers_tell_their_reason(bench: Bench) -> None:
    node = await bench.add(**{"driver": "null-co", "node-name": "n"})
    blocker = node.blockers.block("a test wants it", frozenset({BlockOp.RESIZE}))
    node.blockers.check(BlockOp.DELETE)
    with pytest.raises(GenericError, match="a test wants it"):
        node.blockers.check(BlockOp.RESIZE)
    node.blockers.unblock(blocker)
    node.blockers.check(BlockOp.RESIZE)


async def test_resize_reaches_the_node_above_and_its_bitmaps(bench: Bench) -> None:
    from qmpd.block.dirty_bitmap import DirtyBitmap

    node = await bench.disk("d", bytes(1 << 20))
    node.bitmaps.add(DirtyBitmap("b", node.length, 65536))
    user = bench.backend(node, WRITER | Perm.RESIZE, Perm.ALL)
    await user.truncate(2 << 20)
    assert node.length == 2 << 20
    await user.pwritev((2 << 20) - 512, b"x" * 512)
    assert node.bitmaps.lookup("b").count == 65536
    below = bench.graph.lookup("#block001")
    await below.truncate(1 << 20)
    assert node.length == 1 << 20
    user.detach()


async def test_write_threshold(bench: Bench) -> None:
    node = await bench.disk("d", bytes(1 << 20))
    node.write_threshold = 65536
    await node.pwritev(0, b"x" * 65536)
    assert not bench.events.seen
    await node.pwritev(65536, b"x" * 512)
    assert bench.events.seen == [
        ("BLOCK_WRITE_THRESHOLD", {"node-name": "d", "amount-exceeded": 512, "write-threshold": 65536})
    ]
    assert node.write_threshold == 0


async def test_detect_zeroes_makes_holes(bench: Bench) -> None:
    path = _file(bench, "z", b"x" * (1 << 20))
    file = {"driver": "file", "filename": str(path)}
    node = await bench.add(
        **{"driver": "raw", "node-name": "z", "discard": "unmap", "detect-zeroes": "unmap", "file": file}
    )
    await node.pwritev(65536, bytes(65536))
    await node.pwritev(0, bytes(4095) + b"y")
    kinds = [(e.offset, e.kind.value) for e in await node.map(0, 1 << 20)]
    assert kinds == [(0, "data"), (65536, "zero"), (131072, "data")]
    assert path.read_bytes()[:4096] == bytes(4095) + b"y"  # type: ignore[attr-defined]


async def test_zero_and_discard(bench: Bench) -> None:
    path = _file(bench, "z", b"x" * (1 << 20))
    node = await bench.add(**{"driver": "file", "node-name": "z", "filename": str(path)})
    await node.pwrite_zeroes(100, 70000)
    await node.pdiscard(500000, 100000)  # discard=ignore: nothing happens
    content = path.read_bytes()  # type: ignore[attr-defined]
    assert content == b"x" * 100 + bytes(70000) + b"x" * ((1 << 20) - 70100)
    for user in node.parents:
        raise AssertionError(user)
    unmap = await bench.add(**{"driver": "file", "node-name": "u", "filename": str(path), "discard": "unmap"})
    await unmap.pdiscard(524288, 65536)
    assert path.read_bytes()[524288 : 524288 + 65536] == bytes(65536)  # type: ignore[attr-defined]
    assert unmap.driver.driver_stats() == {
        "driver": "file", "discard-nb-ok": 1, "discard-nb-failed": 0, "discard-bytes-ok": 65536,
    }


async def test_the_end_of_a_section_is_seen_through(bench: Bench) -> None:
    """What was put off, and closing what nobody uses, do not depend on the task that began it."""
    node = await bench.disk("d", bytes(512))
    gate = asyncio.Event()
    done: list[str] = []

    async def put_off() -> None:
        await gate.wait()
        done.append("put off")

    async def change() -> None:
        async with bench.graph.exclusive():
            bench.graph.defer(put_off)
            await bench.graph.delete_node(node)

    task = asyncio.ensure_future(change())
    await asyncio.sleep(0)
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["put off"]
    assert not bench.graph.nodes
