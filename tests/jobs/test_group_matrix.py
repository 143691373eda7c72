"""Every way in which one, two or three jobs of a group can end, and in every order."""

from __future__ import annotations

import asyncio
import errno
import itertools
from functools import partial

import pytest

from qmpd.errors import GenericError
from qmpd.jobs.state import TRANSITIONS, JobStatus
from tests.jobs.fakes import Work, World

ENDS = ("success", "failure", "cancel")
NAMES = ("j0", "j1", "j2")
FAILURE = "COMPLETED (Input/output error)"


def matrix() -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """How each job ends, and the order in which they do."""
    return [
        (ends, order)
        for size in (1, 2, 3)
        for ends in itertools.product(ENDS, repeat=size)
        for order in itertools.permutations(range(size))
    ]


def check_story(world: World, job: Work) -> None:
    """The job's events form a path through the life cycle and agree with each other."""
    story = world.events.of(job.job_id)
    states = [JobStatus.UNDEFINED, *(JobStatus(line) for line in story if line in set(JobStatus))]
    assert all(new in TRANSITIONS[old] for old, new in itertools.pairwise(states))
    told = [line for line in story if line.startswith(("COMPLETED", "CANCELLED"))]
    if job.started:
        assert len(told) == 1
        assert story[story.index(told[0]) + 1] == "concluded"
        assert ("aborting" in story) == (told[0] != "COMPLETED")
    else:
        assert told == []


def check_all_gone(world: World, jobs: list[Work]) -> None:
    """Nothing is left: no task, no drain, no listing; every job's hooks ran once, in a fitting order."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert world.jobs.query_jobs() == [] and not world.graph.held
    success = all("commit" in job.calls for job in jobs)
    for job in jobs:
        assert job.status is JobStatus.NULL
        assert not job.undrained, "a hook ran on a node that was not drained"
        assert job.calls.count("clean") == 1 and job.calls[-1] == "clean"
        assert job.calls.count("commit") + job.calls.count("abort") == 1
        assert ("commit" in job.calls) == success
        assert job.node is not None and job.node.drains == 0 and job.node.jobs == []
        check_story(world, job)


async def end_jobs(world: World, jobs: list[Work], ends: tuple[str, ...], order: tuple[int, ...]) -> None:
    """Let the jobs end in `order`; what comes after the group has gone down is left out."""
    for index in order:
        job = jobs[index]
        if job.over:
            return
        if ends[index] == "cancel":
            await world.jobs.cancel(job, force=True)
        else:
            job.finish(OSError(errno.EIO, "broken") if ends[index] == "failure" else None)
        await world.settle()


def outcome(world: World, job: Work) -> str:
    """The job's one event that tells how it ended."""
    return next(line for line in world.events.of(job.job_id) if line.startswith("C"))


@pytest.mark.parametrize("manual", [False, True], ids=["auto", "manual"])
@pytest.mark.parametrize(("ends", "order"), matrix())
async def test_every_order(ends: tuple[str, ...], order: tuple[int, ...], manual: bool) -> None:
    world = World()
    jobs = world.group(*NAMES[: len(ends)], auto_finalize=not manual)
    settled: list[bool] = []
    jobs[0].txn.on_settled(settled.append)
    await world.start(*jobs)
    await end_jobs(world, jobs, ends, order)
    culprit = next((index for index in order if ends[index] != "success"), None)
    if culprit is None and manual:
        assert [job.status for job in jobs] == [JobStatus.PENDING] * len(jobs)
        assert not settled
        await world.jobs.finalize(jobs[order[0]])
    await world.until(lambda: jobs[0].txn.settled)
    await world.settle()

    expected = ["COMPLETED"] * len(jobs) if culprit is None else ["CANCELLED"] * len(jobs)
    if culprit is not None and ends[culprit] == "failure":
        expected[culprit] = FAILURE
    assert [outcome(world, job) for job in jobs] == expected
    assert settled == [culprit is None]
    for job in jobs:
        assert ("prepare" in job.calls) == (culprit is None)
    check_all_gone(world, jobs)


@pytest.mark.parametrize(("size", "index"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
async def test_cancel_a_pending_job(size: int, index: int) -> None:
    world = World()
    jobs = world.group(*NAMES[:size], auto_finalize=False)
    await world.start(*jobs)
    for job in jobs:
        job.finish()
    await world.until_status(jobs[0], JobStatus.PENDING)
    await world.jobs.cancel(jobs[index], force=True)
    assert [outcome(world, job) for job in jobs] == ["CANCELLED"] * size
    check_all_gone(world, jobs)


@pytest.mark.parametrize("waiting", [0, 1, 2])
async def test_cancel_a_waiting_job(waiting: int) -> None:
    """The reply comes when the whole group is over."""
    world = World()
    jobs = world.group(*NAMES)
    await world.start(*jobs)
    jobs[waiting].finish()
    await world.until_status(jobs[waiting], JobStatus.WAITING)
    await world.jobs.cancel(jobs[waiting], force=True)
    assert [outcome(world, job) for job in jobs] == ["CANCELLED"] * 3
    check_all_gone(world, jobs)


@pytest.mark.parametrize("manual", [False, True], ids=["auto", "manual"])
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyError("a bug")], ids=["error", "bug"])
async def test_prepare_fails(error: Exception, index: int, manual: bool) -> None:
    """A job that cannot prepare failed, although its work was done; nobody is ever pending."""
    world = World()
    jobs = world.group(*NAMES, auto_finalize=not manual)
    jobs[index].fail_prepare = error
    await world.start(*jobs)
    for job in jobs:
        job.finish()
    await world.until(lambda: jobs[0].txn.settled)
    await world.settle()
    for number, job in enumerate(jobs):
        assert "pending" not in world.events.of(job.job_id)
        assert ("prepare" in job.calls) == (number <= index)
        assert outcome(world, job).startswith("COMPLETED (" if number == index else "CANCELLED")
    check_all_gone(world, jobs)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("preparing", [0, 1, 2])
async def test_cancel_during_prepare(preparing: int, index: int) -> None:
    """The prepare under way is seen through, the others are left out, and all abort."""
    world = World()
    jobs = world.group(*NAMES)
    jobs[preparing].slow_prepare = True
    await world.start(*jobs)
    for job in jobs:
        job.finish()
    await jobs[preparing].in_prepare.wait()
    cancelling = asyncio.ensure_future(world.jobs.cancel(jobs[index], force=True))
    await world.settle()
    assert not cancelling.done() and not jobs[0].txn.settled
    jobs[preparing].prepare_gate.set()
    await cancelling
    for number, job in enumerate(jobs):
        assert ("prepare" in job.calls) == (number <= preparing)
        assert outcome(world, job) == "CANCELLED"
    check_all_gone(world, jobs)


async def test_failure_before_siblings_have_started() -> None:
    """They abort unseen, and starting them afterwards has no effect."""
    world = World()
    jobs = world.group(*NAMES)
    settled: list[bool] = []
    jobs[0].txn.on_settled(settled.append)
    await world.start(jobs[0])
    jobs[0].finish(OSError(errno.EIO, "broken"))
    await world.settle()
    for job in jobs[1:]:
        assert world.events.of(job.job_id) == ["created", "aborting", "concluded", "null"]
        job.start()
        assert job.calls == ["abort", "clean"]
    assert outcome(world, jobs[0]) == FAILURE
    assert settled == [False]
    check_all_gone(world, jobs)


async def test_failure_while_the_engine_still_starts_siblings() -> None:
    """Who holds the graph (the engine) keeps the group from ending under its hands."""
    world = World()
    jobs = world.group(*NAMES)
    async with world.graph.exclusive():
        jobs[0].start()
        jobs[0].finish(OSError(errno.EIO, "broken"))
        await world.until_status(jobs[0], JobStatus.ABORTING)
        await world.settle()
        assert "abort" not in jobs[0].calls
        jobs[1].start()
        late = world.add("late", jobs[0].txn)
        assert jobs[1].calls == [] and late.cancelled
    await world.settle()
    check_all_gone(world, [*jobs, late])


@pytest.mark.parametrize("abandoned", [(0,), (1,), (0, 1), (1, 0)])
async def test_cancel_a_created_job(abandoned: tuple[int, ...]) -> None:
    """Another client cancels a job between the prepare and the end of the transaction that makes it."""
    world = World()
    jobs = world.group("j0", "j1")
    async with world.graph.exclusive(), world.graph.drained([job.node for job in jobs]):
        await world.jobs.cancel(jobs[0], force=True)
        for index in abandoned:
            jobs[index].abandon()
        for job in jobs:
            job.start()
    await world.settle()
    for job in jobs:
        assert world.events.of(job.job_id) == ["created", "aborting", "concluded", "null"]
    check_all_gone(world, jobs)


async def test_a_hook_that_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    jobs = world.group(*NAMES)
    settled: list[bool] = []

    def bad(_success: bool) -> None:
        raise ZeroDivisionError("callback")

    jobs[0].txn.on_settled(bad)
    jobs[0].txn.on_settled(settled.append)
    jobs[1].bad_hooks = True
    await world.start(*jobs)
    for job in jobs:
        job.finish()
    await world.settle()
    assert [outcome(world, job) for job in jobs] == ["COMPLETED"] * 3
    assert settled == [True]
    assert len([record for record in caplog.records if record.getMessage().startswith("bug:")]) == 3
    check_all_gone(world, jobs)


def _note(order: list[int], number: int, _success: bool) -> None:
    order.append(number)


async def test_callbacks_run_backwards_after_a_failure() -> None:
    for fails in (False, True):
        world = World()
        (job,) = world.group("j0")
        order: list[int] = []
        for number in range(3):
            job.txn.on_settled(partial(_note, order, number))
        await world.start(job)
        job.finish(OSError(errno.EIO, "broken") if fails else None)
        await world.settle()
        assert order == ([2, 1, 0] if fails else [0, 1, 2])


async def test_hooks_of_all_come_before_anybody_hears() -> None:
    """No client sees one disk's job concluded while another's is still to be committed."""
    world = World()
    jobs = world.group(*NAMES)
    await world.start(*jobs)
    for job in jobs:
        job.finish()
    await world.settle()
    first = next(n for n, line in enumerate(world.events.lines) if "COMPLETED" in line)
    assert all("COMPLETED" not in line for line in world.events.lines[:first])
    assert world.hook_log == [f"{name} {hook}" for hook in ("commit", "clean") for name in NAMES]


async def test_finalize_twice_and_cancel_too_late() -> None:
    """While the group is being finished, a second finalize joins in, and a cancel counts as after the end."""
    world = World()
    (job,) = world.group("j0", auto_finalize=False)
    await world.start(job)
    job.finish()
    await world.until_status(job, JobStatus.PENDING)
    async with world.graph.exclusive():
        clients = [asyncio.ensure_future(world.jobs.finalize(job)) for _ in range(2)]
        await world.settle()
        assert not any(client.done() for client in clients)
    await asyncio.gather(*clients)
    assert world.events.of("j0").count("COMPLETED") == 1
    check_all_gone(world, [job])


async def test_cancel_between_finalize_and_commit_aborts() -> None:
    world = World()
    (job,) = world.group("j0", auto_finalize=False)
    await world.start(job)
    job.finish()
    await world.until_status(job, JobStatus.PENDING)
    async with world.graph.exclusive():
        finalizing = asyncio.ensure_future(world.jobs.finalize(job))
        await world.settle()
        cancelling = asyncio.ensure_future(world.jobs.cancel(job, force=True))
        await world.settle()
    await asyncio.gather(finalizing, cancelling)
    assert outcome(world, job) == "CANCELLED"
    check_all_gone(world, [job])


async def test_cancel_while_the_graph_closes_what_the_hooks_let_go() -> None:
    """Once decided the group cannot be turned round; the refusal names the state that it ended in."""
    world = World()
    (job,) = world.group("j0", auto_finalize=False, auto_dismiss=False)
    await world.start(job)
    job.finish()
    await world.until_status(job, JobStatus.PENDING)
    closing = world.graph.slow_close = asyncio.Event()
    finalizing = asyncio.ensure_future(world.jobs.finalize(job))
    await world.until(lambda: "clean" in job.calls)
    cancelling = asyncio.ensure_future(world.jobs.cancel(job, force=True))
    await world.settle()
    assert "COMPLETED" not in world.events.of("j0"), "nobody hears of the end before everything is closed"
    closing.set()
    await finalizing
    with pytest.raises(GenericError, match="concluded"):
        await cancelling
    assert outcome(world, job) == "COMPLETED"


async def test_a_client_that_leaves_while_it_waits_changes_nothing() -> None:
    world = World()
    jobs = world.group("j0", "j1", auto_finalize=False)
    await world.start(*jobs)
    jobs[0].finish()
    jobs[1].finish()
    await world.until_status(jobs[0], JobStatus.PENDING)
    async with world.graph.exclusive():
        client = asyncio.ensure_future(world.jobs.finalize(jobs[0]))
        await world.settle()
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
    await world.settle()
    assert [outcome(world, job) for job in jobs] == ["COMPLETED"] * 2
    check_all_gone(world, jobs)
