"""Stand-ins for the graph, the event bus and real jobs; used by the tests of jobs and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from qmpd.jobs.bell import Bell
from qmpd.jobs.block_job import BlockJob
from qmpd.jobs.manager import JobManager
from qmpd.jobs.state import JobStatus
from qmpd.jobs.transaction import JobTransaction


class Events:
    """An event sink that remembers, and wakes who waits for an event."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._arrived = asyncio.Event()

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        self.all.append((name, dict(data or {})))
        self._arrived.set()

    @property
    def lines(self) -> list[str]:
        """Events as `id status` or `id COMPLETED`, in order."""
        return [_line(name, data) for name, data in self.all]

    def of(self, job_id: str) -> list[str]:
        """The story of one job, without its id."""
        return [line.split(" ", 1)[1] for line in self.lines if line.split(" ", 1)[0] == job_id]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.all if event == name]

    async def until(self, line: str, times: int = 1) -> None:
        """Wait until the event `line` has come so many times."""
        while self.lines.count(line) < times:
            self._arrived.clear()
            await self._arrived.wait()


def _line(name: str, data: Mapping[str, Any]) -> str:
    if name == "JOB_STATUS_CHANGE":
        return f"{data['id']} {data['status']}"
    job = data.get("device", data.get("id"))
    word = name.removeprefix("BLOCK_JOB_")
    if word == "ERROR":
        return f"{job} ERROR {data['operation']} {data['action']}"
    return f"{job} {word}" + (f" ({data['error']})" if "error" in data else "")


@dataclass(eq=False)
class Node:
    """A node that knows which jobs use it."""

    name: str
    jobs: list[BlockJob] = field(default_factory=list)
    drains: int = 0

    def attach(self, job: BlockJob) -> None:
        self.jobs.append(job)
        for _ in range(self.drains):
            job.drained_begin()

    def detach(self, job: BlockJob) -> None:
        self.jobs.remove(job)
        for _ in range(self.drains):
            job.drained_end()

    def drained_begin(self) -> None:
        self.drains += 1
        for job in self.jobs:
            job.drained_begin()

    def drained_end(self) -> None:
        self.drains -= 1
        for job in self.jobs:
            job.drained_end()

    def drained_poll(self) -> bool:
        return any(job.drained_poll() for job in self.jobs)


class Graph:
    """Holds and drains like the real graph, as far as jobs can tell."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.held = False
        self.slow_close: asyncio.Event | None = None
        self._rest = Bell()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._lock:
            self.held = True
            try:
                yield
            finally:
                if self.slow_close is not None:
                    await self.slow_close.wait()
                self.held = False

    def request_done(self) -> None:
        self._rest.ring()

    def passing(self, nodes: Iterable[Any]) -> AbstractContextManager[None]:
        return nullcontext()

    def impatient(self, nodes: Iterable[Any]) -> AbstractContextManager[None]:
        return nullcontext()

    @asynccontextmanager
    async def drained(self, nodes: Iterable[Any]) -> AsyncIterator[None]:
        own = list(nodes)
        for node in own:
            node.drained_begin()
        try:
            while any(node.drained_poll() for node in own):
                await self._rest.wait()
            yield
        finally:
            for node in own:
                node.drained_end()


class Work(BlockJob):
    """A job that does what the test says, and notes which hooks ran.

    Each of `fail_run` and `fail_prepare` is an exception to raise there. `slow_prepare` makes `prepare` wait for
    `prepare_gate`.
    """

    job_type = "backup"

    def __init__(self, job_id: str | None, node: Node | None = None, **options: Any) -> None:
        super().__init__(job_id, **options)
        self.node = node
        self.calls: list[str] = []
        self.hook_log: list[str] = []
        self.fail_prepare: Exception | None = None
        self.slow_prepare = False
        self.prepare_gate = asyncio.Event()
        self.in_prepare = asyncio.Event()
        self.done_with: Exception | bool | None = False
        self.soft_cancel = False
        self.gets_ready = False
        self.bad_hooks = False
        self.undrained = False
        self.progress.set_total(100)
        if node is not None:
            node.attach(self)

    def finish(self, outcome: Exception | None = None) -> None:
        """Let `run` end, with `outcome` if it shall fail."""
        self.done_with = outcome
        self.kick()

    def change(self, options: Any) -> None:
        self.calls.append("change")

    async def run(self) -> None:
        self.calls.append("run")
        if self.gets_ready:
            self.transition_to_ready()
        while self.done_with is False:
            await self.sleep(3600)
        if isinstance(self.done_with, Exception):
            raise self.done_with
        self.progress.advance(100)

    async def prepare(self) -> None:
        self.calls.append("prepare")
        self.in_prepare.set()
        if self.slow_prepare:
            await self.prepare_gate.wait()
        if self.fail_prepare is not None:
            raise self.fail_prepare

    def commit(self) -> None:
        self._hook("commit")

    def abort(self) -> None:
        self._hook("abort")

    def clean(self) -> None:
        self._hook("clean")

    def nodes(self) -> tuple[Any, ...]:
        return () if self.node is None else (self.node,)

    def complete(self) -> None:
        self.finish()

    def cancel(self, force: bool) -> bool:
        if self.soft_cancel and not force and not self.over:
            self.finish()
        return force or not self.soft_cancel

    def _hook(self, name: str) -> None:
        self.calls.append(name)
        self.hook_log.append(f"{self.job_id} {name}")
        self.undrained |= self.node is not None and self.node.drains == 0
        if name == "clean" and self.node is not None:
            self.node.detach(self)
        if self.bad_hooks:
            raise ZeroDivisionError(name)


class World:
    """A manager with its surroundings."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.events = Events()
        self.jobs = JobManager(self.graph, self.events)
        self.hook_log: list[str] = []

    def add(self, name: str | None, txn: JobTransaction | None = None, **options: Any) -> Work:
        """A created job on a node of its own."""
        job = Work(name, Node(f"node-{name}"), **options)
        job.hook_log = self.hook_log
        self.jobs.add(job, txn)
        return job

    def group(self, *names: str, **options: Any) -> list[Work]:
        """Created jobs that share one fate."""
        txn = self.jobs.new_transaction()
        return [self.add(name, txn, **options) for name in names]

    async def start(self, *jobs: Work) -> None:
        """Start as the engine does: with all nodes drained. All stand in `sleep` afterwards."""
        async with self.graph.exclusive(), self.graph.drained([job.node for job in jobs if job.node]):
            for job in jobs:
                job.start()
        await self.until(lambda: all("run" in job.calls and not job.busy for job in jobs))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until `condition` holds; fails after far more turns than anything here takes."""
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("the state waited for never came")

    async def until_status(self, job: BlockJob, status: JobStatus) -> None:
        await self.until(lambda: job.status is status)

    async def settle(self) -> None:
        """Let everything run that can run without anybody's help."""
        for _ in range(50):
            await asyncio.sleep(0)
