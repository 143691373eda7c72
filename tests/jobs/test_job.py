"""One job at a time: pauses, drains, sleep, throttling, error policy, interruption, shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from qmpd.errors import GenericError
from qmpd.jobs.block_job import BlockJob, ErrorAction, IOStatus
from qmpd.jobs.job import Job, JobCancelled
from qmpd.jobs.ratelimit import RateLimit
from qmpd.jobs.state import JobStatus
from tests.jobs.fakes import Node, Work, World


class Busy(Work):
    """Works in steps that take as long as the test says, like requests to a disk."""

    def __init__(self, job_id: str, node: Node | None = None) -> None:
        super().__init__(job_id, node)
        self.request: asyncio.Future[None] | None = None
        self.steps = 0

    async def run(self) -> None:
        self.calls.append("run")
        while self.done_with is False:
            await self.pause_point()
            self.request = asyncio.get_running_loop().create_future()
            try:
                await self.request
            except asyncio.CancelledError:
                self.calls.append("cut off")
                raise
            self.request = None
            self.steps += 1

    def answer(self) -> None:
        assert self.request is not None
        self.request.set_result(None)


async def busy_job(world: World) -> Busy:
    job = Busy("j0", Node("n0"))
    job.hook_log = world.hook_log
    world.jobs.add(job)
    job.start()
    await world.until(lambda: job.request is not None)
    return job


async def test_a_pause_of_a_busy_job_shows_when_it_parks() -> None:
    world = World()
    job = await busy_job(world)
    assert job.busy and job.drained_poll()
    world.jobs.pause(job)
    await world.settle()
    assert job.status is JobStatus.RUNNING and job.paused and job.pause_requested
    job.answer()
    await world.until_status(job, JobStatus.PAUSED)
    assert not job.busy and not job.drained_poll()
    world.jobs.resume(job)
    assert job.status is JobStatus.RUNNING
    await world.until(lambda: job.request is not None)
    await end(world, job)


async def end(world: World, job: Busy) -> None:
    """Cancel a busy job and see it gone."""
    await world.jobs.cancel(job, force=True)
    if job.request is not None:
        job.answer()
    await world.until_status(job, JobStatus.NULL)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_drain_waits_for_the_request_under_way() -> None:
    world = World()
    job = await busy_job(world)
    entered = asyncio.Event()

    async def drain() -> None:
        async with world.graph.drained([job.node]):
            assert job.status is JobStatus.PAUSED
            entered.set()
            await world.settle()
            assert job.steps == 1 and job.request is None

    draining = asyncio.ensure_future(drain())
    await world.settle()
    assert not entered.is_set()
    job.answer()
    await draining
    await world.until(lambda: job.request is not None)
    await end(world, job)


async def test_a_request_is_never_cut_off_by_a_cancellation() -> None:
    world = World()
    job = await busy_job(world)
    await world.jobs.cancel(job, force=True)
    await world.settle()
    assert job.status is JobStatus.RUNNING
    job.answer()
    await world.until_status(job, JobStatus.NULL)
    assert "cut off" not in job.calls and job.steps == 1


async def test_unless_the_job_allows_it() -> None:
    world = World()
    job = await busy_job(world)
    job.can_interrupt = lambda: True  # type: ignore[method-assign]
    await world.jobs.cancel(job, force=True)
    await world.until_status(job, JobStatus.NULL)
    assert "cut off" in job.calls
    assert world.events.of("j0")[-4:] == ["aborting", "CANCELLED", "concluded", "null"]


async def test_a_cancelled_job_unwinds_only_when_it_is_not_drained() -> None:
    world = World()
    job = await busy_job(world)
    job.drained_begin()
    job.answer()
    await world.until_status(job, JobStatus.PAUSED)
    await world.jobs.cancel(job, force=True)
    await world.settle()
    assert job.status is JobStatus.PAUSED
    job.drained_end()
    await world.until_status(job, JobStatus.NULL)


async def test_a_cancelled_job_is_stopped_by_nothing() -> None:
    """Neither by an I/O error nor by a user whose pause comes too late."""
    world = World()
    job = await busy_job(world)
    await world.jobs.cancel(job, force=True)
    job.error_action("stop", EIO, is_read=False)
    world.jobs.pause(job)
    job.answer()
    await world.until_status(job, JobStatus.NULL)
    assert "paused" not in world.events.of("j0")


async def test_a_drain_does_not_count_as_the_users_pause() -> None:
    world = World()
    job = world.add("j0")
    await world.start(job)
    job.drained_begin()
    with pytest.raises(GenericError, match="'j0'"):
        world.jobs.resume(job)
    world.jobs.pause(job)
    with pytest.raises(GenericError, match="'j0'"):
        world.jobs.pause(job)
    job.drained_end()
    assert job.status is JobStatus.PAUSED
    job.drained_begin()
    world.jobs.resume(job)
    assert job.status is JobStatus.PAUSED
    job.drained_end()
    assert world.events.of("j0")[-2:] == ["paused", "running"]
    await world.jobs.shutdown()


async def test_quick_changes_between_turns_of_the_loop() -> None:
    """Pause, resume, pause again before the job's coroutine has had a chance to run."""
    world = World()
    job = world.add("j0")
    await world.start(job)
    world.events.all.clear()
    for _ in range(3):
        world.jobs.pause(job)
        assert not job.drained_poll()
        world.jobs.resume(job)
    world.jobs.pause(job)
    await world.settle()
    assert world.events.of("j0") == ["paused", "running"] * 3 + ["paused"]
    await world.jobs.shutdown()


async def test_a_created_job_can_be_paused() -> None:
    world = World()
    job = world.add("j0")
    world.jobs.pause(job)
    await world.start()
    job.start()
    await world.settle()
    assert world.events.of("j0") == ["created", "running", "paused"] and "run" not in job.calls
    world.jobs.resume(job)
    await world.until(lambda: "run" in job.calls)
    await world.jobs.shutdown()


async def test_helpers_come_to_rest_before_a_pause_shows() -> None:
    world = World()
    job = world.add("j0")
    rest, asked = asyncio.Event(), asyncio.Event()
    log: list[str] = []

    async def on_pause() -> None:
        asked.set()
        await rest.wait()

    async def on_resume() -> None:
        log.append("resumed")

    job.on_pause, job.on_resume, job.quiescent = on_pause, on_resume, rest.is_set  # type: ignore[method-assign]
    await world.start(job)
    world.jobs.pause(job)
    await asked.wait()
    assert job.status is JobStatus.RUNNING and job.drained_poll()
    rest.set()
    await world.until_status(job, JobStatus.PAUSED)
    world.jobs.resume(job)
    await world.until(lambda: log == ["resumed"])
    await world.jobs.shutdown()


class Copier(BlockJob):
    """Sends requests as fast as its limit allows."""

    job_type = "backup"

    def __init__(self, speed: int, requests: int, length: int) -> None:
        super().__init__("j0", speed=speed)
        self.requests = requests
        self.length = length
        self.progress.set_total(requests * length)

    async def run(self) -> None:
        for _ in range(self.requests):
            await self.throttle(self.length)
            await self.pause_point()
            self.progress.advance(self.length)


async def test_throttle_waits_and_a_new_speed_counts_at_once() -> None:
    world = World()
    job = Copier(speed=1, requests=10, length=1 << 20)
    job.rate_limit = RateLimit(1, clock=lambda: 1000.0)  # a clock that stands still: only a new speed helps
    world.jobs.add(job)
    job.start()
    await world.until(lambda: job.progress.current == 1 << 20 and not job.busy)
    world.jobs.set_speed(job, 2)
    await world.settle()
    assert job.progress.current == 1 << 20
    world.jobs.set_speed(job, 0)
    await world.until_status(job, JobStatus.NULL)
    assert job.progress.current == 10 << 20
    assert world.events.named("BLOCK_JOB_COMPLETED")[0]["speed"] == 0


async def test_set_speed_refuses_a_negative_one() -> None:
    world = World()
    job = world.add("j0", speed=5)
    with pytest.raises(GenericError, match="'speed'"):
        world.jobs.set_speed(job, -1)
    assert job.speed == 5
    job.abandon()


async def test_sleep_really_sleeps() -> None:
    world = World()
    job = Copier(speed=0, requests=0, length=0)
    slept: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await job.sleep(0.01)
        slept.append(loop.time() - before)

    job.run = run  # type: ignore[method-assign]
    world.jobs.add(job)
    job.start()
    await world.events.until("j0 null")
    assert slept[0] >= 0.009


async def test_a_job_that_never_blocks_lets_others_run() -> None:
    world = World()
    job = Copier(speed=0, requests=1000, length=1)
    world.jobs.add(job)
    job.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert job.status is JobStatus.RUNNING
    await world.until_status(job, JobStatus.NULL)


EIO, ENOSPC = OSError(errno.EIO, "broken"), OSError(errno.ENOSPC, "full")


@pytest.mark.parametrize(
    ("policy", "error", "action", "io_status"),
    [
        ("report", EIO, "report", "ok"),
        ("report", ENOSPC, "report", "ok"),
        ("ignore", EIO, "ignore", "ok"),
        ("ignore", ENOSPC, "ignore", "ok"),
        ("enospc", EIO, "report", "ok"),
        ("enospc", ENOSPC, "stop", "nospace"),
        ("auto", EIO, "report", "ok"),
        ("auto", ENOSPC, "stop", "nospace"),
        ("stop", EIO, "stop", "failed"),
        ("stop", ENOSPC, "stop", "nospace"),
    ],
)
@pytest.mark.parametrize("is_read", [True, False])
async def test_error_policy(policy: str, error: OSError, action: str, io_status: str, is_read: bool) -> None:
    world = World()
    job = world.add("j0")
    await world.start(job)
    assert job.error_action(policy, error, is_read=is_read) is ErrorAction(action)
    assert world.events.named("BLOCK_JOB_ERROR") == [
        {"device": "j0", "operation": "read" if is_read else "write", "action": action}
    ]
    assert job.block_info()["io-status"] == io_status
    stopped = action == "stop"
    assert job.status is (JobStatus.PAUSED if stopped else JobStatus.RUNNING)
    assert job.user_paused == stopped
    if stopped:
        with pytest.raises(GenericError, match="'j0'"):
            world.jobs.pause(job)
        world.jobs.resume(job)
        assert job.status is JobStatus.RUNNING and job.io_status is IOStatus.OK
    await world.jobs.shutdown()


async def test_a_second_error_does_not_stop_twice() -> None:
    world = World()
    job = world.add("j0")
    await world.start(job)
    job.error_action("stop", EIO, is_read=True)
    job.error_action("stop", ENOSPC, is_read=False)
    assert job.io_status is IOStatus.FAILED, "the first one is what stopped it"
    world.jobs.resume(job)
    assert job.status is JobStatus.RUNNING
    await world.jobs.shutdown()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GenericError("The target is gone"), "The target is gone"),
        (OSError(errno.EROFS, "no"), "Read-only file system"),
        (KeyError("oops"), "Internal error: KeyError: 'oops'"),
        (ExceptionGroup("g", [JobCancelled(), EIO]), "Input/output error"),
        (ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x"), GenericError("No")])]), "No"),
        (ExceptionGroup("g", [JobCancelled(), ValueError("x")]), "Internal error: ValueError: x"),
    ],
)
async def test_why_a_job_failed(error: Exception, text: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    job = world.add("j0", auto_dismiss=False)
    await world.start(job)
    job.finish(error)
    await world.until_status(job, JobStatus.CONCLUDED)
    assert job.error == text
    assert world.events.named("BLOCK_JOB_COMPLETED")[0]["error"] == text
    assert bool(caplog.records) == text.startswith("Internal")


async def test_run_may_unwind_with_a_group_of_cancellations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    world = World()
    job = world.add("j0")
    await world.start(job)
    job.finish(ExceptionGroup("g", [JobCancelled(), JobCancelled()]))
    await world.until_status(job, JobStatus.NULL)
    assert "CANCELLED" in world.events.of("j0") and not caplog.records


async def test_a_failure_while_being_cancelled_is_still_a_cancellation() -> None:
    """As QEMU tells it: the event says cancelled, the queries say why it ended."""
    world = World()
    job = await busy_job(world)
    job.auto_dismiss = False
    await world.jobs.cancel(job, force=True)
    assert job.request is not None
    job.request.set_exception(OSError(errno.EIO, "broken"))
    await world.until_status(job, JobStatus.CONCLUDED)
    assert job.error == "Input/output error" and "CANCELLED" in world.events.of("j0")


async def test_complete_is_refused_where_it_has_no_meaning() -> None:
    world = World()
    job = world.add("j0")
    job.gets_ready = True
    await world.start(job)
    with pytest.raises(GenericError, match="'j0'"):
        Job.complete(job)
    job.cancel_requested = True
    with pytest.raises(GenericError, match=r"'j0'.*cancelled"):
        world.jobs.complete(job)
    await world.jobs.shutdown()


async def test_a_soft_cancel_that_comes_too_late_has_no_effect() -> None:
    world = World()
    job = world.add("j0", auto_finalize=False)
    job.soft_cancel = True
    await world.start(job)
    job.finish()
    await world.until_status(job, JobStatus.PENDING)
    await world.jobs.cancel(job, force=False)
    assert job.status is JobStatus.PENDING and not job.cancel_requested
    await world.jobs.finalize(job)
    assert "COMPLETED" in world.events.of("j0")


async def test_an_internal_job_is_seen_by_nobody() -> None:
    world = World()
    job = world.add(None)
    await world.start(job)
    assert world.jobs.query_jobs() == world.jobs.query_block_jobs() == []
    assert world.jobs.find("") is None
    job.error_action("stop", EIO, is_read=True)
    await world.jobs.cancel(job, force=True)
    await world.until_status(job, JobStatus.NULL)
    assert world.events.all == [] and world.jobs.jobs == []


async def test_shutdown_ends_jobs_in_every_state() -> None:
    world = World()
    working, waiting = world.group("working", "waiting")
    paused, drained, pending, concluded, hidden = (
        world.add(name, auto_finalize=name != "pending", auto_dismiss=name != "concluded")
        for name in ("paused", "drained", "pending", "concluded", None)
    )
    jobs = [working, waiting, paused, drained, pending, concluded, hidden]
    await world.start(*jobs)
    for job in (waiting, pending, concluded):
        job.finish()
    world.jobs.pause(paused)
    created = world.add("created")
    await world.settle()
    assert [job.status.value for job in [*jobs, created]] == (
        ["running", "waiting", "paused", "running", "pending", "concluded", "running", "created"]
    )
    async with world.graph.drained([drained.node]):
        ending = asyncio.ensure_future(world.jobs.shutdown())
        await world.settle()
        assert not ending.done()
    await ending
    assert [job.status for job in [*jobs, created]] == [JobStatus.NULL] * 8
    assert world.jobs.jobs == [] and asyncio.all_tasks() == {asyncio.current_task()}
    for job in [*jobs, created]:
        assert job.calls[-1] == "clean"
    with pytest.raises(GenericError):
        world.add("late")


async def test_a_job_that_was_never_added_cannot_be_used() -> None:
    job = Work("j0")
    with pytest.raises(RuntimeError, match="'j0'"):
        _ = job.txn
    with pytest.raises(RuntimeError, match="'j0'"):
        job.dismiss()


async def test_a_settled_group_takes_nobody() -> None:
    world = World()
    job = world.add("j0")
    txn = job.txn
    job.abandon()
    with pytest.raises(RuntimeError, match="'j1'"):
        world.add("j1", txn)
    assert world.jobs.jobs == []


async def test_an_empty_group_settles_when_the_engine_commits() -> None:
    world = World()
    settled: list[bool] = []
    txn = world.jobs.new_transaction()
    txn.on_settled(settled.append)
    txn.settle_if_empty()
    txn.settle_if_empty()
    assert settled == [True] and txn.settled and txn.members == ()
    dissolved = world.jobs.new_transaction()
    dissolved.on_settled(settled.append)
    dissolved.dissolve()
    assert settled == [True] and dissolved.settled
