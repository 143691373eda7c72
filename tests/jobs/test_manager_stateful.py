"""Jobs, groups, verbs, drains and failures in any order that hypothesis thinks of."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qmpd.errors import GenericError
from qmpd.jobs.state import TRANSITIONS, VERBS, JobStatus, JobVerb
from tests.jobs.fakes import Work, World
from tests.soak import count

PICK = st.integers(0, 1 << 16)


class Jobs(RuleBasedStateMachine):
    """Drives a manager in a loop of its own; each rule lets everything run that can run."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.all: list[Work] = []
        self.outcomes: dict[int, list[bool]] = {}
        self.drains: list[tuple[AsyncExitStack, Work]] = []
        self.clients: list[asyncio.Task[None]] = []
        self.names = itertools.count()

    def do(self, coroutine: Coroutine[Any, Any, Any] | None = None) -> Any:
        async def turn() -> Any:
            result = await coroutine if coroutine is not None else None
            await self.world.settle()
            return result

        return self.loop.run_until_complete(turn())

    def pick(self, number: int) -> Work:
        return self.all[number % len(self.all)]

    def members(self, job: Work) -> list[Work]:
        return [other for other in job.txn.members if isinstance(other, Work)]

    @rule(
        size=st.integers(1, 3),
        manual=st.integers(0, 7),
        dismiss=st.booleans(),
        fails=st.sampled_from([None, None, None, 0, 1, 2]),
        soft=st.booleans(),
        committed=st.sampled_from([True, True, True, False]),
    )
    def transaction(
        self, size: int, manual: int, dismiss: bool, fails: int | None, soft: bool, committed: bool
    ) -> None:
        """A grouped transaction that makes jobs, and commits or aborts."""
        self.do(self._transaction(size, manual, dismiss, fails, soft, committed))

    async def _transaction(
        self, size: int, manual: int, dismiss: bool, fails: int | None, soft: bool, committed: bool
    ) -> None:
        world = self.world
        txn = world.jobs.new_transaction()
        outcomes = self.outcomes[id(txn)] = []
        async with world.graph.exclusive():
            jobs = []
            for index in range(size):
                job = world.add(
                    f"j{next(self.names)}", txn, auto_finalize=not manual >> index & 1, auto_dismiss=dismiss
                )
                job.gets_ready = job.soft_cancel = soft and index == 0
                if fails == index:
                    job.fail_prepare = OSError(errno.EIO, "broken")
                jobs.append(job)
            self.all += jobs
            async with world.graph.drained([job.node for job in jobs]):
                if committed:
                    txn.on_settled(outcomes.append)
                    for job in jobs:
                        job.start()
                else:
                    for job in reversed(jobs):
                        job.abandon()
                    txn.dissolve()

    @precondition(lambda self: self.all)
    @rule(number=PICK, end=st.sampled_from(["well", "well", "error", "bug"]))
    def work_ends(self, number: int, end: str) -> None:
        error = {"error": OSError(errno.EIO, "broken"), "bug": KeyError("bug")}.get(end)
        self.pick(number).finish(error)
        self.do()

    @precondition(lambda self: self.all)
    @rule(number=PICK, verb=st.sampled_from(JobVerb), force=st.booleans())
    def verb(self, number: int, verb: JobVerb, force: bool) -> None:
        """A verb is refused if and only if the table says so (a pause must also be one, and fit)."""
        job = self.pick(number)
        legal = job.status in VERBS[verb]
        if verb is JobVerb.PAUSE:
            legal = legal and not job.user_paused
        elif verb is JobVerb.RESUME:
            legal = legal and job.user_paused
        elif verb is JobVerb.COMPLETE:
            legal = legal and not job.cancel_requested
        client = self.loop.create_task(self._ask(job, verb, force))
        self.do()
        if client.done():
            assert (client.exception() is None) == legal, (verb, job.status)
        else:
            assert legal and verb in (JobVerb.CANCEL, JobVerb.FINALIZE)
            self.clients.append(client)

    async def _ask(self, job: Work, verb: JobVerb, force: bool) -> None:
        manager = self.world.jobs
        match verb:
            case JobVerb.CANCEL:
                await manager.cancel(job, force=force)
            case JobVerb.FINALIZE:
                await manager.finalize(job)
            case JobVerb.SET_SPEED:
                manager.set_speed(job, 1000)
            case JobVerb.CHANGE:
                manager.change(job, SimpleNamespace(type=job.job_type))  # type: ignore[arg-type]
            case _:
                getattr(manager, verb.value)(job)

    @precondition(lambda self: self.all)
    @rule(number=PICK)
    def drain(self, number: int) -> None:
        job = self.pick(number)
        stack = AsyncExitStack()
        self.do(stack.enter_async_context(self.world.graph.drained([job.node])))
        self.drains.append((stack, job))
        assert not job.drained_poll()
        assert job.over or job.status not in (JobStatus.RUNNING, JobStatus.READY)

    @precondition(lambda self: self.drains)
    @rule(number=PICK)
    def undrain(self, number: int) -> None:
        stack, _job = self.drains.pop(number % len(self.drains))
        self.do(stack.aclose())

    @precondition(lambda self: self.all)
    @rule(number=PICK, policy=st.sampled_from(["report", "ignore", "stop", "enospc"]))
    def io_error(self, number: int, policy: str) -> None:
        job = self.pick(number)
        if job.status in (JobStatus.RUNNING, JobStatus.READY) and not job.over:
            job.error_action(policy, OSError(errno.ENOSPC, "full"), is_read=False)
            self.do()
            assert job.user_paused == (policy in ("stop", "enospc"))

    @invariant()
    def stories_are_true(self) -> None:
        for job in self.all:
            story = self.world.events.of(job.job_id)
            states = [JobStatus.UNDEFINED, *(JobStatus(line) for line in story if line in set(JobStatus))]
            assert all(new in TRANSITIONS[old] for old, new in itertools.pairwise(states))
            assert states[-1] is job.status
            ends = [line for line in story if line.startswith(("COMPLETED", "CANCELLED"))]
            gone = job.status in (JobStatus.CONCLUDED, JobStatus.NULL)
            assert len(ends) == int(gone and job.started)
            if ends:
                assert (ends[0] == "COMPLETED") == ("commit" in job.calls)

    @invariant()
    def groups_share_one_fate(self) -> None:
        for job in self.all:
            hooks = [call for call in job.calls if call in ("commit", "abort", "clean")]
            assert hooks in ([], ["commit", "clean"], ["abort", "clean"])
            assert all(other.calls[-1:] == job.calls[-1:] for other in self.members(job) if hooks)
            assert bool(hooks) == (job.status in (JobStatus.CONCLUDED, JobStatus.NULL))
            if job.started and hooks:
                assert self.outcomes[id(job.txn)] == [hooks[0] == "commit"]
            assert not job.undrained

    @invariant()
    def what_is_cancelled_ends(self) -> None:
        for job in self.all:
            if job.cancelled and job.started and not job.over:
                assert any(drained is job for _stack, drained in self.drains)

    @invariant()
    def queries_list_what_is_there(self) -> None:
        there = [job.job_id for job in reversed(self.all) if job.status is not JobStatus.NULL]
        assert [info["id"] for info in self.world.jobs.query_jobs()] == there
        for info in self.world.jobs.query_block_jobs():
            assert not (info["busy"] and info["paused"])

    def teardown(self) -> None:
        while self.drains:
            self.do(self.drains.pop()[0].aclose())
        self.do(self.world.jobs.shutdown())
        assert all(job.status is JobStatus.NULL for job in self.all)
        assert not asyncio.all_tasks(self.loop), "a task is left"
        for client in self.clients:
            assert client.exception() is None or isinstance(client.exception(), GenericError)
        self.loop.close()


Jobs.TestCase.settings = settings(
    max_examples=count(60, 1500),
    stateful_step_count=count(30, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestJobs = Jobs.TestCase
