"""The blkdebug driver: rules, limits and permissions, and the events that the drivers above raise."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.enums import BlkdebugEvent, BlkdebugIOType
from qmpd.block.debugging import (
    debug_breakpoint,
    debug_is_suspended,
    debug_remove_breakpoint,
    debug_resume,
    debug_wait_suspended,
)
from qmpd.block.drivers.blkdebug import BlkdebugDriver
from qmpd.block.drivers.blkdebug_rules import InjectError, RuleSet, SetState, parse_config
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from tests.block.conftest import Bench, read
from tests.qcow2.support import create

MIB = 1 << 20
READ, WRITE = BlkdebugIOType.READ, BlkdebugIOType.WRITE


async def debug_node(bench: Bench, content: bytes = bytes(MIB), **options: Any) -> BlockNode:
    """A blkdebug node `bd` on a raw disk; option names with underscores for dashes."""
    await bench.disk("disk", content)
    members = {key.replace("_", "-"): value for key, value in options.items()}
    return await bench.add(**{"driver": "blkdebug", "node-name": "bd", "image": "disk", **members})


def always(code: int = errno.EIO, **members: Any) -> list[dict[str, Any]]:
    """A rule that lets requests fail from the start."""
    return [{"event": "none", "errno": code, **members}]


async def error_of(request: Any) -> int | None:
    """The errno that a request fails with, None when it succeeds."""
    try:
        await request
    except OSError as error:
        return error.errno
    return None


# Rules.


def test_rules_follow_states() -> None:
    rules = RuleSet(
        [
            SetState(BlkdebugEvent.WRITE_AIO, 2, state=1),
            SetState(BlkdebugEvent.WRITE_AIO, 3, state=2),
            InjectError(BlkdebugEvent.WRITE_AIO, state=3, error=errno.ENOSPC),
        ]
    )
    for state in (2, 3):
        assert rules.event("write_aio") == [] and rules.state == state
        assert rules.verdict(WRITE, 0, 512) is None
    rules.event("write_aio")
    verdict = rules.verdict(WRITE, 0, 512)
    assert verdict is not None and verdict.error == errno.ENOSPC


def test_active_rules_last_until_others_come() -> None:
    first = InjectError(BlkdebugEvent.READ_AIO, error=1)
    second = InjectError(BlkdebugEvent.WRITE_AIO, error=2, iotypes=frozenset({WRITE}))
    rules = RuleSet([first, second, SetState(BlkdebugEvent.L2_LOAD, 5)])
    assert rules.verdict(READ, 0, 1) is None
    rules.event("read_aio")
    assert rules.verdict(READ, 0, 1) is first
    rules.event("l2_load")  # has no rule that injects, so nothing changes
    assert rules.verdict(WRITE, 0, 1) is first
    rules.event("write_aio")
    assert rules.verdict(READ, 0, 1) is None and rules.verdict(WRITE, 0, 1) is second


def test_once_and_sector() -> None:
    rules = RuleSet([InjectError(BlkdebugEvent.NONE, offset=1024, once=True)])
    rules.event("none")
    assert rules.verdict(READ, 0, 1024) is None and rules.verdict(READ, 1025, 512) is None
    assert rules.verdict(BlkdebugIOType.FLUSH, 0, 0) is None
    assert rules.verdict(BlkdebugIOType.BLOCK_STATUS, 0, 4096) is None
    assert rules.verdict(READ, 512, 1024) is not None
    rules.event("none")
    assert rules.verdict(READ, 512, 1024) is None


def test_the_file_format() -> None:
    text = """
        # a comment
        [inject-error]
        event = "read_aio"
        state = "2"
        iotype = "write-zeroes"
        errno = "28"
        sector = "3"
        once = "on"
        immediately = "off"

        [set-state "named"]
        event="write_aio"
        new_state = "0x10"
    """
    error, state = parse_config(text, "rules")
    assert isinstance(error, InjectError) and isinstance(state, SetState)
    assert (error.event, error.state, error.error, error.offset) == ("read_aio", 2, 28, 1536)
    assert (error.iotypes, error.once, error.immediately) == ({BlkdebugIOType.WRITE_ZEROES}, True, False)
    assert (state.event, state.state, state.new_state) == ("write_aio", 0, 16)
    assert parse_config("", "rules") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('event = "none"', "line 1: a rule begins with"),
        ("[inject-errors]", "is no section"),
        ("[inject-error]", "has no 'event'"),
        ('[set-state]\nevent = "none"', "has no 'new_state'"),
        ('[inject-error]\nevent = "nothing"', "line 2: 'event' is \"nothing\""),
        ('[inject-error]\nevent = "none"\niotype = "all"', "'iotype' is \"all\"; there are read, write"),
        ('[inject-error]\nevent = "none"\nerrno = "EIO"', "'errno' is \"EIO\"; it has to be a number"),
        ('[inject-error]\nevent = "none"\nerrno = "-5"', "'errno' of a blkdebug rule is -5"),
        ('[inject-error]\nevent = "none"\nonce = "maybe"', '"on" or "off"'),
        ("[inject-error]\nevent = none", 'should read: key = "value"'),
        ('[set-state]\nerrno = "5"', "there is no 'errno' in this section"),
    ],
)
def test_bad_files(text: str, reason: str) -> None:
    with pytest.raises(GenericError) as refusal:
        parse_config(text, "rules")
    assert reason in str(refusal.value)


# The node.


async def test_without_rules_it_is_transparent(bench: Bench) -> None:
    node = await debug_node(bench, bytes(range(256)) * 4096)
    user = bench.backend(node)
    await user.pwritev(100, b"abc")
    await user.pwrite_zeroes(4096, 4096)
    assert await read(user, 98, 7) == b"bcabcgh"
    expected = bytearray(bytes(range(256)) * 4096)
    expected[100:103] = b"abc"
    expected[4096:8192] = bytes(4096)
    await user.truncate(2 * MIB)
    assert node.length == 2 * MIB
    assert bench.content("disk") == expected.ljust(2 * MIB, b"\0")
    assert all(extent.host is None for extent in await node.map(0, MIB))
    assert node.driver.filename() == f"blkdebug::{bench.path}/disk.img"


@pytest.mark.parametrize("iotype", [str(value) for value in BlkdebugIOType])
async def test_each_kind_of_request_fails_alone(bench: Bench, iotype: str) -> None:
    node = await debug_node(bench, discard="unmap", inject_error=always(errno.ENOSPC, iotype=iotype))
    user = bench.backend(node)
    requests = {
        "read": user.preadv(0, memoryview(bytearray(512))),
        "write": user.pwritev(0, b"x"),
        "write-zeroes": user.pwrite_zeroes(0, 512),
        "discard": user.pdiscard(0, 512),
        "flush": user.flush(),
        "block-status": user.map(0, 512),
    }
    outcome = {name: await error_of(request) for name, request in requests.items()}
    assert outcome == {name: errno.ENOSPC if name == iotype else None for name in requests}


async def test_by_default_all_but_the_status_fails(bench: Bench) -> None:
    user = bench.backend(await debug_node(bench, inject_error=always()))
    assert await error_of(user.flush()) == errno.EIO
    assert await error_of(user.pwritev(0, b"x")) == errno.EIO
    assert await error_of(user.map(0, 512)) is None
    assert await error_of(user.preadv(0, memoryview(bytearray(1)))) == errno.EIO


async def test_a_sector_fails_once(bench: Bench) -> None:
    user = bench.backend(await debug_node(bench, inject_error=always(sector=8, once=True, immediately=True)))
    assert await error_of(user.pwritev(0, bytes(4096))) is None
    assert await error_of(user.pwritev(0, bytes(4097))) == errno.EIO
    assert await error_of(user.pwritev(0, bytes(4097))) is None


async def test_rules_of_a_file_come_first(bench: Bench, tmp_path: Path) -> None:
    config = tmp_path / "rules"
    config.write_text('[inject-error]\nevent = "none"\nerrno = "28"\niotype = "read"\n')
    node = await debug_node(bench, config=str(config), inject_error=always())
    user = bench.backend(node)
    assert await error_of(user.preadv(0, memoryview(bytearray(1)))) == errno.ENOSPC
    assert await error_of(user.pwritev(0, b"x")) == errno.EIO
    assert node.driver.filename().startswith('json:{"driver": "blkdebug", "config": "')
    over = await bench.add(**{"driver": "raw", "node-name": "over", "file": "bd"})
    assert over.driver.filename().startswith('json:{"driver": "raw", "file": {"driver": "blkdebug", "config": "')


async def test_a_file_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(GenericError, match="No such file"):
        await debug_node(bench, config=str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(GenericError, match="are no text"):
        await bench.add(
            **{"driver": "blkdebug", "node-name": "bd", "image": "disk", "config": str(tmp_path / "binary")}
        )
    assert list(bench.graph.nodes)[-1] == "disk"


@pytest.mark.parametrize(
    "options",
    [
        {"align": 3},
        {"align": -512},
        {"align": 1 << 31},
        {"align": 4096, "max_transfer": 512},
        {"max_transfer": -1},
        {"opt_write_zero": 4096, "max_write_zero": 2048},
        {"align": 512, "opt_discard": 100},
        {"opt_discard": 4096, "max_discard": 6144},
    ],
    ids=str,
)
async def test_limits_that_contradict_each_other(bench: Bench, options: dict[str, int]) -> None:
    with pytest.raises(GenericError, match="has to be a"):
        await debug_node(bench, **options)


async def test_limits(bench: Bench) -> None:
    """What comes through below is aligned and small, and what does not fit is written or left alone."""
    node = await debug_node(
        bench,
        b"\x55" * (MIB + 100 * 512),
        discard="unmap",
        align=4096,
        max_transfer=65536,
        opt_write_zero=8192,
        max_write_zero=16384,
        opt_discard=8192,
        max_discard=32768,
    )
    seen: list[tuple[str, int, int]] = []
    driver = node.driver
    assert isinstance(driver, BlkdebugDriver)
    check = driver._check

    async def record(iotype: BlkdebugIOType, offset: int, length: int) -> None:
        seen.append((iotype, offset, length))
        await check(iotype, offset, length)

    driver._check = record  # type: ignore[method-assign]
    user = bench.backend(node)
    await user.pwritev(1000, b"\xaa" * 200_000)
    await user.pwrite_zeroes(300_000, 60_000)
    await user.pdiscard(500_000, 100_000)
    await user.pwritev(MIB + 99 * 512, b"\xbb" * 512)
    model = bytearray(b"\x55" * (MIB + 100 * 512))
    model[1000:201_000] = b"\xaa" * 200_000
    model[300_000:360_000] = bytes(60_000)
    model[MIB + 99 * 512 :] = b"\xbb" * 512
    discarded = slice(-(-500_000 // 8192) * 8192, 600_000 // 8192 * 8192)
    content = bytearray(await read(user, 0, node.length))
    content[discarded] = model[discarded] = b""
    assert content == model
    assert all(offset % 4096 == 0 and length % 4096 == 0 for _, offset, length in seen)
    zeroed = [length for kind, _, length in seen if kind == BlkdebugIOType.WRITE_ZEROES]
    thrown = [length for kind, _, length in seen if kind == BlkdebugIOType.DISCARD]
    assert zeroed and max(zeroed) == 16384 and all(length % 8192 == 0 for length in zeroed)
    assert thrown and max(thrown) == 32768 and sum(thrown) == discarded.stop - discarded.start
    assert max(length for kind, _, length in seen if kind in (READ, WRITE)) == 65536


async def test_permissions(bench: Bench) -> None:
    node = await debug_node(bench, take_child_perms=["write", "resize"], unshare_child_perms=["write-unchanged"])
    edge = node.children["image"]
    assert edge.perm == Perm.WRITE | Perm.RESIZE
    assert edge.shared == Perm.ALL & ~Perm.WRITE_UNCHANGED
    with pytest.raises(GenericError, match="does not share"):
        bench.backend(bench.graph.lookup("disk"), shared=Perm.CONSISTENT_READ)


# Events.


async def tell(bench: Bench, path: Path, **options: Any) -> tuple[BlockNode, list[str]]:
    """A qcow2 node on a blkdebug node, and the list of events that it raises."""
    file = {"driver": "file", "filename": str(path), "discard": "unmap"}
    below = await bench.add(**{"driver": "blkdebug", "node-name": "bd", "image": file, "discard": "unmap"})
    driver = below.driver
    assert isinstance(driver, BlkdebugDriver)
    told: list[str] = []
    raise_event = driver.event

    async def event(name: str) -> None:
        told.append(str(name))
        await raise_event(name)

    driver.event = event  # type: ignore[method-assign]
    node = await bench.add(**{"driver": "qcow2", "node-name": "top", "file": "bd", "discard": "unmap", **options})
    return node, told


async def test_events_of_qcow2(bench: Bench, tmp_path: Path) -> None:
    """Every event with a meaning in qcow2 is raised by the work that it names."""
    base = await bench.disk("base", b"\x11" * (4 * MIB))
    create(tmp_path / "top.qcow2", "64M", cluster_size=4096)
    node, told = await tell(bench, tmp_path / "top.qcow2", backing=base.node_name)

    async def during(*expected: str, absent: tuple[str, ...] = ()) -> None:
        missing = [name for name in expected if name not in told]
        assert not missing, f"{missing} not in {told}"
        assert not set(absent) & set(told), told
        told.clear()

    await during("reftable_load")
    user = bench.backend(node, shared=Perm.ALL & ~Perm.RESIZE)
    await read(user, 0, 512)
    await during("read_backing_aio", absent=("read_aio",))
    await user.pwritev(100, b"x" * 512)
    await during("cluster_alloc", "cow_read", "write_aio", "cow_write", "pwritev", "pwritev_done")
    await user.flush()
    await during("flush_to_os", "refblock_update", "l2_alloc_write", "l1_update", "flush_to_disk")
    await read(user, 100, 512)
    await during("read_aio", absent=("l2_load",))
    await user.pwritev(4096, b"y" * 4096)
    await during("cluster_alloc", "write_aio", absent=("cow_read", "cow_write"))
    await user.flush()
    await during("l2_update", "refblock_update_part", absent=("l1_update",))
    await user.pwritev(4096, b"z" * 4096)
    await during("write_aio", absent=("cluster_alloc",))
    await user.pwrite_compressed(8192, b"c" * 4096)
    await during("cluster_alloc_bytes", "write_compressed", "l2_update_compressed")
    await read(user, 8192, 4096)
    await during("read_compressed")
    await user.pdiscard(0, 8192)
    await user.flush()
    await during("cluster_free")
    for offset in range(0, 64 * MIB, 4 * MIB):
        await user.pwritev(offset, b"w" * 4 * MIB)
    await user.flush()
    await during("refblock_alloc", "refblock_alloc_write", "refblock_alloc_hookup")
    await node.truncate(80 << 30)
    await during("l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table")
    await node.truncate(MIB)
    await during("l1_shrink_free_l2_clusters", "l1_shrink_write_table", "l1_update")


async def test_events_of_a_raw_disk(bench: Bench) -> None:
    node = await debug_node(bench, align=512)
    told: list[str] = []
    driver = node.driver
    assert isinstance(driver, BlkdebugDriver)

    async def event(name: str) -> None:
        told.append(str(name))

    driver.event = event  # type: ignore[method-assign]
    top = await bench.add(**{"driver": "raw", "node-name": "top", "file": "bd"})
    user = bench.backend(top)
    await read(user, 0, 1)
    await user.pwritev(0, bytes(512))
    await user.pwrite_zeroes(0, 512)
    await user.flush()
    assert told == [
        *("read_aio", "write_aio", "pwritev", "pwritev_done", "pwritev_zero", "pwritev_done"),
        *("flush_to_os", "flush_to_disk"),
    ]
    told.clear()
    direct = bench.backend(node)
    await direct.pwritev(1, b"x")
    rmw = ["pwritev_rmw_head", "pwritev_rmw_tail", "pwritev_rmw_after_head", "pwritev_rmw_after_tail"]
    assert told == [*rmw, "pwritev", "pwritev_done"]


async def test_a_failing_table_write_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    """Each metadata write of a flush fails once; the flush after it brings everything to the image."""
    events = ("refblock_update_part", "l2_alloc_write", "l1_update", "flush_to_disk")
    for number, event in enumerate(events):
        path = tmp_path / f"{number}.qcow2"
        create(path, "4M")
        rules = [{"event": event, "once": True}]
        image = {"driver": "file", "filename": str(path)}
        file = {"driver": "blkdebug", "image": image, "inject-error": rules}
        node = await bench.add(**{"driver": "qcow2", "node-name": f"n{number}", "file": file})
        user = bench.backend(node)
        await user.pwritev(0, b"data" * 1024)
        assert await error_of(user.flush()) == errno.EIO, event
        await user.flush()
        user.detach()
        async with bench.graph.exclusive():
            await bench.graph.delete_node(node)
        again = await bench.add(
            **{"driver": "qcow2", "node-name": f"n{number}", "file": {"driver": "file", "filename": str(path)}}
        )
        assert await read(again, 0, 4096) == b"data" * 1024


# Breakpoints.


async def test_breakpoints(bench: Bench, tmp_path: Path) -> None:
    create(tmp_path / "top.qcow2", "4M")
    node, _ = await tell(bench, tmp_path / "top.qcow2")
    user = bench.backend(node)
    debug_breakpoint(node, "write_aio", "A")
    assert not debug_is_suspended(node, "A")
    writes = [asyncio.ensure_future(user.pwritev(offset, b"x" * 65536)) for offset in (0, 65536)]
    await debug_wait_suspended(node, "A")
    await writes[1]
    assert not writes[0].done()

    # A drain waits for who stands at a breakpoint.
    async def drain() -> None:
        async with bench.graph.drained([node]):
            assert writes[0].done() or user.in_flight == 0

    draining = asyncio.ensure_future(drain())
    assert debug_is_suspended(node, "A") and not debug_is_suspended(node, "B")
    with pytest.raises(GenericError, match="breakpoint 'B'"):
        debug_resume(node, "B")
    debug_resume(node, "A")
    await asyncio.gather(draining, *writes)
    await user.pwritev(0, b"y" * 65536)
    assert await read(user, 0, 4) == b"yyyy"


async def test_removing_a_breakpoint_lets_everybody_go(bench: Bench, tmp_path: Path) -> None:
    create(tmp_path / "top.qcow2", "4M")
    node, _ = await tell(bench, tmp_path / "top.qcow2")
    user = bench.backend(node)
    for _ in range(2):
        debug_breakpoint(node, "read_aio", "A")
    debug_breakpoint(node, "write_aio", "A")
    await user.pwrite_zeroes(0, 512)
    write = asyncio.ensure_future(user.pwritev(0, b"x"))
    await debug_wait_suspended(node, "A")
    debug_remove_breakpoint(node, "A")
    await write
    await read(user, 0, 1)
    with pytest.raises(GenericError, match="no breakpoint 'A'"):
        debug_remove_breakpoint(node, "A")
    with pytest.raises(GenericError, match="no event 'never'"):
        debug_breakpoint(node, "never", "A")
    with pytest.raises(GenericError, match="no blkdebug node"):
        debug_breakpoint(await bench.disk("plain", bytes(512)), "none", "A")
