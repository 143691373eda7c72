"""A whole daemon without sockets: commands go straight to its dispatcher, and every event is kept.

For tests that drive many parts at once. Disks that a test makes here stand on a `blkdebug` node, so that any of their
requests can be made to fail while the test runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from qmpd.api.enums import BlkdebugEvent, BlkdebugIOType
from qmpd.block.backend import BlockBackend
from qmpd.block.drivers.blkdebug import BlkdebugDriver
from qmpd.block.drivers.blkdebug_rules import InjectError, RuleSet, SetState
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.daemon import Daemon
from qmpd.jobs.job import Job
from qmpd.jobs.manager import JobManager
from qmpd.jobs.transaction import JobTransaction
from qmpd.monitor.context import RequestContext
from qmpd.options import Options
from tests.jobs.fakes import Events

WRITER = Perm.CONSISTENT_READ | Perm.WRITE


def seeds(sample: int, full: int) -> list[int]:
    """What to feed generators with: `QMPD_SEEDS=7,12` replays these, a soak runs `full` of them, otherwise a sample."""
    given = os.environ.get("QMPD_SEEDS")
    if given:
        return [int(seed) for seed in given.split(",")]
    return list(range(full if os.environ.get("QMPD_SOAK") else sample))


class GroupingManager(JobManager):
    """Makes every new job a member of `shared`, if there is such a group, however the job is made.

    Clients can group only backups; the group itself does not care, and this is how tests hold it to that.
    """

    shared: JobTransaction | None = None

    def add(self, job: Job, txn: JobTransaction | None = None) -> None:
        super().add(job, self.shared or txn)


class Fault:
    """Lets one request of a blkdebug node fail."""

    def __init__(self, driver: BlkdebugDriver) -> None:
        self.driver = driver

    def at_sector(self, iotype: str, offset: int, error: int, *, once: bool = False) -> None:
        """The next request of that kind that covers the byte at `offset` fails."""
        rule = InjectError(
            BlkdebugEvent.NONE, iotypes=frozenset({BlkdebugIOType(iotype)}), error=error, offset=offset, once=once
        )
        self.driver.rules = RuleSet([rule])
        self.driver.rules.event(BlkdebugEvent.NONE)

    def at_event(self, event: str, number: int, error: int, *, once: bool = True) -> None:
        """Requests fail from the `number`th time on (counted from 1) that `event` comes."""
        name = BlkdebugEvent(event)
        rules = [SetState(name, state + 1, state=state) for state in range(1, number)]
        self.driver.rules = RuleSet([*rules, InjectError(name, state=number, error=error, once=once)])

    def repair(self) -> None:
        """Nothing fails any more."""
        self.driver.rules = RuleSet()


class Lab:
    """The daemon, and short ways to use it.

    :param path: where its disks lie.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with mock.patch("qmpd.daemon.JobManager", GroupingManager):
            self.daemon = Daemon(Options(), {"QMPD_CHECK_REPLIES": "1"})
        self.graph = self.daemon.graph
        assert isinstance(self.daemon.jobs, GroupingManager)
        self.jobs = self.daemon.jobs
        self.events = Events()
        self._changed = asyncio.Event()
        self.daemon.events.listen(self._listen)

    def _listen(self, name: str, data: Any) -> None:
        self.events.emit(name, data)
        self._changed.set()

    async def execute(self, name: str, /, **arguments: Any) -> Any:
        """Run a command; members with underscores for dashes."""
        handler = self.daemon.dispatcher.lookup(name)
        members = {key.replace("_", "-"): value for key, value in arguments.items()}
        return await self.daemon.dispatcher.run_async(handler, RequestContext(1, 1, None, 0.0), members)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, which changes only when an event comes."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def add(self, name: str, driver: str = "raw", **options: Any) -> Fault:
        """A node over blkdebug over the file `name`.img. Gives what lets its requests fail."""
        file = {"driver": "file", "filename": str(self.file(name))}
        await self.execute(
            "blockdev-add",
            driver=driver,
            node_name=name,
            discard="unmap",
            file={"driver": "blkdebug", "node-name": f"{name}-debug", "image": file, "discard": "unmap"},
            **options,
        )
        driver_below = self.graph.lookup(f"{name}-debug").driver
        assert isinstance(driver_below, BlkdebugDriver)
        return Fault(driver_below)

    async def disk(self, name: str, content: bytes) -> Fault:
        """A raw disk with that content."""
        self.file(name).write_bytes(content)
        return await self.add(name)

    def file(self, name: str) -> Path:
        """Where the image of a node lies."""
        return self.path / f"{name}.img"

    def guest(self, name: str) -> BlockBackend:
        """A user who writes to a disk all the time, as an export is one."""
        backend = BlockBackend(self.graph, "", WRITER, Perm.ALL & ~Perm.RESIZE)
        backend.attach(self.graph.lookup(name))
        return backend

    async def content(self, user: BlockBackend | BlockNode) -> bytes:
        """All bytes of a disk."""
        buffer = bytearray(user.length)
        await user.preadv(0, memoryview(buffer))
        return bytes(buffer)

    async def close(self) -> None:
        """Take everything down, as at the end of the daemon."""
        await self.daemon.exports.close()
        await self.jobs.shutdown()
        await self.graph.close_all()
        await self.daemon.pool.close()
        self.daemon.events.close()
