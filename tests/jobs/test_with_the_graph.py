"""Jobs on the real block graph: what a client is told of backups from the first event to the last.

The fakes of the other tests drain and hold as the graph does; these tests make sure that the graph agrees.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS, EVENTS
from qmpd.block.extents import Extent
from qmpd.block.graph import BlockGraph
from qmpd.block.iopool import IOPool
from qmpd.block.services import BlockServices
from qmpd.commands.backup import BackupCommands
from qmpd.commands.block import BlockCommands
from qmpd.commands.jobs import JobCommands
from qmpd.commands.transaction import TransactionCommands
from qmpd.errors import GenericError
from qmpd.jobs.manager import JobManager
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.transaction.engine import TransactionEngine
from tests.jobs.fakes import Events

LENGTH = 4 << 20
SLOW = 65536
"""Bytes per second at which a job outlasts every test."""


class Server:
    """Graph, jobs and transactions behind a dispatcher, with disks s0, s1, s2 and targets t0, t1, t2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = Events()
        self.pool = IOPool()
        self.graph = BlockGraph(self.pool, self.events)
        self.jobs = JobManager(self.graph, self.events)
        services = BlockServices(self.graph, self.pool, self.events)
        engine = TransactionEngine(self.graph, self.jobs, self.events, services)
        self.dispatcher = Dispatcher(COMMANDS, check_replies=True)
        families = (BlockCommands(self.graph), JobCommands(self.jobs), BackupCommands(engine))
        for family in (*families, TransactionCommands(engine)):
            self.dispatcher.register(family)

    async def execute(self, name: str, **arguments: Any) -> Any:
        handler = self.dispatcher.lookup(name)
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        return await self.dispatcher.run_async(handler, RequestContext(1, 1, None, 0.0), arguments)

    async def add_disks(self) -> None:
        for number in range(3):
            for name, content in ((f"s{number}", os.urandom(LENGTH)), (f"t{number}", bytes(LENGTH))):
                (self.path / name).write_bytes(content)
                file = {"driver": "file", "filename": str(self.path / name)}
                await self.execute("blockdev-add", driver="raw", node_name=name, file=file)

    def backup(self, number: int, **options: Any) -> dict[str, Any]:
        arguments = {"job-id": f"j{number}", "device": f"s{number}", "target": f"t{number}", "sync": "full"}
        return arguments | {key.replace("_", "-"): value for key, value in options.items()}

    async def group(self, *backups: dict[str, Any], abort: bool = False) -> None:
        actions: list[dict[str, Any]] = [{"type": "blockdev-backup", "data": data} for data in backups]
        actions += [{"type": "abort", "data": {}}] * abort
        await self.execute("transaction", actions=actions, properties={"completion-mode": "grouped"})

    def break_target(self, number: int, error: int) -> None:
        """Let every write to a target fail from now on."""
        driver = self.graph.lookup(f"t{number}").driver

        async def fail(*_arguments: Any, **_options: Any) -> None:
            raise OSError(error, os.strerror(error))

        for method in ("pwritev", "pwrite_zeroes", "copy_from_host"):
            if hasattr(driver, method):
                setattr(driver, method, fail)

    def copied(self, number: int) -> bool:
        return (self.path / f"s{number}").read_bytes() == (self.path / f"t{number}").read_bytes()

    async def check_clean(self) -> None:
        """No job, no filter, no blocker, no drain, no task is left; the same backups can be run again."""
        assert self.jobs.jobs == []
        assert sorted(node for node in self.graph.nodes if not node.startswith("#")) == [
            f"{kind}{number}" for kind in "st" for number in range(3)
        ]
        assert all(node.quiesce_count == 0 for node in self.graph.nodes.values())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for kind in "st":
            for number in range(3):
                await self.execute("blockdev-del", node_name=f"{kind}{number}")
        assert not self.graph.nodes


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await server.add_disks()
    yield server
    await server.jobs.shutdown()
    await server.graph.close_all()
    await server.pool.close()
    for name, data in server.events.all:
        EVENTS[name].check(data)


BEGIN = ["created", "running", "paused", "running"]


async def test_one_backup(server: Server) -> None:
    await server.execute("blockdev-backup", **server.backup(0))
    await server.events.until("j0 null")
    assert server.events.of("j0") == [*BEGIN, "waiting", "pending", "COMPLETED", "concluded", "null"]
    assert server.events.named("BLOCK_JOB_COMPLETED") == [
        {"type": "backup", "device": "j0", "len": LENGTH, "offset": LENGTH, "speed": 0}
    ]
    assert server.copied(0)
    await server.check_clean()


async def test_a_group(server: Server) -> None:
    await server.group(*(server.backup(number) for number in range(3)))
    begin = server.events.lines[:12]
    assert ", ".join(begin) == (
        "j0 created, j1 created, j2 created, j0 running, j0 paused, j1 running, j1 paused, j2 running, j2 paused, "
        "j0 running, j1 running, j2 running"
    )
    await server.events.until("j0 null")
    assert ", ".join(server.events.lines[-12:]) == (
        "j2 pending, j1 pending, j0 pending, j2 COMPLETED, j2 concluded, j2 null, "
        "j1 COMPLETED, j1 concluded, j1 null, j0 COMPLETED, j0 concluded, j0 null"
    )
    assert all(server.copied(number) for number in range(3))
    await server.check_clean()


async def test_a_failure_in_a_group(server: Server) -> None:
    server.break_target(1, errno.EIO)
    await server.group(server.backup(0), server.backup(1), server.backup(2, speed=SLOW))
    await server.events.until("j0 null")
    assert server.events.of("j1") == [
        *BEGIN,
        "ERROR write report",
        "aborting",
        "COMPLETED (Input/output error)",
        "concluded",
        "null",
    ]
    for name in ("j0", "j2"):
        assert server.events.of(name)[-4:] == ["aborting", "CANCELLED", "concluded", "null"]
    await server.check_clean()


async def test_throttled_verbs_answer_at_once(server: Server) -> None:
    await server.execute("blockdev-backup", **server.backup(0, speed=SLOW, auto_dismiss=False))
    job = server.jobs.lookup_block_job("j0")
    await server.execute("job-pause", id="j0")
    await server.events.until("j0 paused", times=2)
    await server.execute("block-job-resume", device="j0")
    # Another command drains the disk, which shows as it does with the peer.
    before = len(server.events.lines)
    async with server.graph.exclusive(), server.graph.drained([server.graph.lookup("s0")]):
        assert job.status == "paused"
    assert server.events.lines[before:] == ["j0 paused", "j0 running"]
    await server.execute("block-job-set-speed", device="j0", speed=0)
    await server.events.until("j0 concluded")
    assert server.copied(0)
    await server.execute("job-dismiss", id="j0")
    await server.check_clean()


async def test_a_backup_asks_anew_how_its_source_is_stored(server: Server) -> None:
    """While its disk stands still, images below may go; the files that were told of are closed then."""
    length = 24 << 20
    for name, content in (("large", os.urandom(length)), ("copy", b"")):
        (server.path / name).write_bytes(content)
        os.truncate(server.path / name, length)
        file = {"driver": "file", "filename": str(server.path / name)}
        await server.execute("blockdev-add", driver="raw", node_name=name, file=file)
    driver = server.graph.lookup("large").driver
    asked: list[int] = []
    begun = asyncio.Event()
    tell = driver.map

    async def told(offset: int, length: int) -> list[Extent]:
        asked.append(offset)
        begun.set()
        return await tell(offset, length)

    driver.map = told  # type: ignore[method-assign]
    await server.execute("blockdev-backup", job_id="j", device="large", target="copy", sync="full", speed=SLOW)
    await begun.wait()
    before = len(asked)
    async with server.graph.exclusive(), server.graph.drained([server.graph.lookup("large")]):
        pass
    await server.execute("block-job-set-speed", device="j", speed=0)
    await server.events.until("j null")
    assert len(asked) == before + 1
    assert (server.path / "large").read_bytes() == (server.path / "copy").read_bytes()
    for name in ("large", "copy"):
        await server.execute("blockdev-del", node_name=name)


async def test_a_full_target_stops_the_job_until_a_user_has_seen_to_it(server: Server) -> None:
    server.break_target(0, errno.ENOSPC)
    await server.execute("blockdev-backup", **server.backup(0, on_target_error="enospc"))
    await server.events.until("j0 paused", times=2)
    assert server.events.of("j0")[-2:] == ["ERROR write stop", "paused"]
    job = server.jobs.lookup_block_job("j0")
    assert job.block_info()["io-status"] == "nospace"
    with pytest.raises(GenericError, match="'j0'"):
        await server.execute("block-job-cancel", device="j0")
    await server.execute("job-cancel", id="j0")
    await server.events.until("j0 null")
    assert server.events.of("j0")[-5:] == ["running", "aborting", "CANCELLED", "concluded", "null"]
    await server.check_clean()


async def test_a_transaction_that_fails_after_its_jobs_were_made(server: Server) -> None:
    with pytest.raises(GenericError, match="abort"):
        await server.group(server.backup(0), server.backup(1), abort=True)
    assert ", ".join(server.events.lines) == (
        "j0 created, j1 created, j1 aborting, j1 concluded, j1 null, j0 aborting, j0 concluded, j0 null"
    )
    await server.check_clean()


async def test_shutdown_with_jobs_in_every_state(server: Server) -> None:
    await server.group(server.backup(0), server.backup(1, speed=SLOW))
    await server.execute("blockdev-backup", **server.backup(2, auto_finalize=False))
    await server.events.until("j2 PENDING")
    await server.events.until("j0 waiting")
    await server.jobs.shutdown()
    for number in range(3):
        assert server.events.of(f"j{number}")[-4:] == ["aborting", "CANCELLED", "concluded", "null"]
    await server.check_clean()


@pytest.mark.parametrize("victim", ["j0", "j1"])
async def test_cancel_while_one_waits(server: Server, victim: str) -> None:
    await server.group(server.backup(0), server.backup(1, speed=SLOW))
    await server.events.until("j0 waiting")
    await server.execute("job-cancel", id=victim)
    await server.events.until("j0 null")
    for name in ("j0", "j1"):
        assert server.events.of(name)[-4:] == ["aborting", "CANCELLED", "concluded", "null"]
    await server.check_clean()
