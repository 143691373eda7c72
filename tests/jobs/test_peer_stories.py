"""What qemu-storage-daemon 7.2 tells its clients, as observed, and that our jobs tell the same.

Each story was played on the real program with blockdev-backup on raw files (throttled, so that jobs can be met at
work) and blkdebug for I/O errors; the events and refusals in the tables below are what it answered. Two things
depend on its timing and are left open there: in which order the members of a group that were still at work turn
`aborting`, and whether a member's last events come before another one's `aborting`. Ours: first all turn, in the
order in which their work ends, then all tell their outcome, latest member first.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any

import pytest

from qmpd.errors import DeviceNotActive, GenericError, QMPError
from qmpd.jobs.state import JobStatus
from tests.jobs.fakes import Work, World

BEGIN = "{0} running, {0} paused"
"""A job starts inside the drained section of its command and pauses at once; the end of the section resumes it."""


@dataclass(frozen=True)
class Story:
    """Jobs, what happens to them, and the events of the peer."""

    name: str
    jobs: dict[str, dict[str, Any]]
    steps: str
    events: str
    group: bool = True
    ready: tuple[str, ...] = field(default=())


MANUAL = {"auto_finalize": False}
STAY = {"auto_dismiss": False}

STORIES = [
    Story(
        "one job, all automatic",
        {"j0": {}},
        "finish j0",
        "j0 waiting, j0 pending, j0 COMPLETED, j0 concluded, j0 null",
    ),
    Story(
        "one job, finalized and dismissed by hand",
        {"j0": MANUAL | STAY},
        "finish j0, finalize j0, dismiss j0",
        "j0 waiting, j0 pending, j0 PENDING, j0 COMPLETED, j0 concluded, j0 null",
    ),
    Story("cancel at work", {"j0": {}}, "cancel j0", "j0 aborting, j0 CANCELLED, j0 concluded, j0 null"),
    Story(
        "block-job-cancel at work",
        {"j0": {}},
        "soft-cancel j0",
        "j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
    ),
    Story(
        "cancel while paused by the user",
        {"j0": {}},
        "pause j0, cancel j0",
        "j0 paused, j0 running, j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
    ),
    Story(
        "cancel while pending",
        {"j0": MANUAL | STAY},
        "finish j0, cancel j0",
        "j0 waiting, j0 pending, j0 PENDING, j0 aborting, j0 CANCELLED, j0 concluded",
    ),
    Story(
        "block-job-cancel while pending",
        {"j0": MANUAL | STAY},
        "finish j0, soft-cancel j0",
        "j0 waiting, j0 pending, j0 PENDING, j0 aborting, j0 CANCELLED, j0 concluded",
    ),
    Story(
        "failure",
        {"j0": STAY},
        "fail j0",
        "j0 aborting, j0 COMPLETED (Input/output error), j0 concluded",
    ),
    Story("pause and resume", {"j0": {}}, "pause j0, resume j0", "j0 paused, j0 running"),
    Story("drained by another command", {"j0": {}}, "drain j0", "j0 paused, j0 running"),
    Story("drained while paused by the user", {"j0": {}}, "pause j0, drain j0", "j0 paused"),
    Story(
        "two of their own end for themselves",
        {"j0": {}, "j1": {}},
        "finish j0, finish j1",
        "j0 waiting, j0 pending, j0 COMPLETED, j0 concluded, j0 null, "
        "j1 waiting, j1 pending, j1 COMPLETED, j1 concluded, j1 null",
        group=False,
    ),
    Story(
        "two in a group, first done first",
        {"j0": {}, "j1": {}},
        "finish j0, finish j1",
        "j0 waiting, j1 waiting, j1 pending, j0 pending, "
        "j1 COMPLETED, j1 concluded, j1 null, j0 COMPLETED, j0 concluded, j0 null",
    ),
    Story(
        "two in a group, second done first",
        {"j0": {}, "j1": {}},
        "finish j1, finish j0",
        "j1 waiting, j0 waiting, j1 pending, j0 pending, "
        "j1 COMPLETED, j1 concluded, j1 null, j0 COMPLETED, j0 concluded, j0 null",
    ),
    Story(
        "one manual among automatic ones; any member finalizes for all",
        {"j0": {}, "j1": MANUAL, "j2": {}},
        "finish j0, finish j1, finish j2, finalize j0",
        "j0 waiting, j1 waiting, j2 waiting, j2 pending, j1 pending, j1 PENDING, j0 pending, "
        "j2 COMPLETED, j2 concluded, j2 null, j1 COMPLETED, j1 concluded, j1 null, "
        "j0 COMPLETED, j0 concluded, j0 null",
    ),
    Story(
        "cancel one of three that are pending",
        {"j0": MANUAL | STAY, "j1": MANUAL | STAY, "j2": STAY},
        "finish j0, finish j1, finish j2, cancel j1",
        "j0 waiting, j1 waiting, j2 waiting, j2 pending, j1 pending, j1 PENDING, j0 pending, j0 PENDING, "
        "j2 aborting, j2 CANCELLED, j2 concluded, j1 aborting, j1 CANCELLED, j1 concluded, "
        "j0 aborting, j0 CANCELLED, j0 concluded",
    ),
    Story(
        "cancel the one that waits",
        {"j0": {}, "j1": {}},
        "finish j0, cancel j0",
        "j0 waiting, j1 aborting, j1 CANCELLED, j1 concluded, j1 null, "
        "j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
    ),
    Story(
        "block-job-cancel the one that waits",
        {"j0": {}, "j1": {}},
        "finish j0, soft-cancel j0",
        "j0 waiting, j1 aborting, j1 CANCELLED, j1 concluded, j1 null, "
        "j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
    ),
    Story(
        "cancel one at work while another waits",
        {"j0": STAY, "j1": STAY, "j2": STAY},
        "finish j0, cancel j1",
        "j0 waiting, j1 aborting, j2 aborting, j2 CANCELLED, j2 concluded, j1 CANCELLED, j1 concluded, "
        "j0 aborting, j0 CANCELLED, j0 concluded",
    ),
    Story(
        "a failure while another waits",
        {"j0": STAY, "j1": STAY},
        "finish j0, fail j1",
        "j0 waiting, j1 aborting, j1 COMPLETED (Input/output error), j1 concluded, "
        "j0 aborting, j0 CANCELLED, j0 concluded",
    ),
    Story(
        "a failure while the other is at work",
        {"j0": STAY, "j1": STAY},
        "fail j0",
        "j0 aborting, j1 aborting, j1 CANCELLED, j1 concluded, "
        "j0 COMPLETED (Input/output error), j0 concluded",
    ),
    Story(
        "a failure while another is paused by the user",
        {"j0": {}, "j1": {}},
        "pause j1, fail j0",
        "j1 paused, j0 aborting, j1 running, j1 aborting, j1 CANCELLED, j1 concluded, j1 null, "
        "j0 COMPLETED (Input/output error), j0 concluded, j0 null",
    ),
    Story(
        "a mirror gets ready and is completed",
        {"j0": {}},
        "complete j0",
        "j0 waiting, j0 pending, j0 COMPLETED, j0 concluded, j0 null",
        ready=("j0",),
    ),
    Story(
        "block-job-cancel of a ready mirror keeps what it has done",
        {"j0": {}},
        "soft-cancel j0",
        "j0 waiting, j0 pending, j0 COMPLETED, j0 concluded, j0 null",
        ready=("j0",),
    ),
    Story(
        "block-job-cancel of a ready mirror by force does not",
        {"j0": {}},
        "cancel j0",
        "j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
        ready=("j0",),
    ),
    Story(
        "a ready mirror is paused and resumed",
        {"j0": {}},
        "pause j0, resume j0, pause j0, cancel j0",
        "j0 standby, j0 ready, j0 standby, j0 ready, j0 aborting, j0 CANCELLED, j0 concluded, j0 null",
        ready=("j0",),
    ),
]


async def begin(world: World, story: Story) -> dict[str, Work]:
    """Create and start the jobs as one command does; leaves `world.events` empty."""
    txn = world.jobs.new_transaction() if story.group else None
    jobs = {name: world.add(name, txn, **options) for name, options in story.jobs.items()}
    for name in story.ready:
        jobs[name].gets_ready = jobs[name].soft_cancel = True
    await world.start(*jobs.values())
    expected = [f"{name} created" for name in jobs]
    expected += [line for name in jobs for line in BEGIN.format(name).split(", ")]
    expected += [f"{name} running" for name in jobs]
    expected += [f"{name} {what}" for name in story.ready for what in ("ready", "READY")]
    assert world.events.lines == expected
    world.events.all.clear()
    return jobs


async def play(world: World, step: str, job: Work) -> None:
    """One step of a story."""
    match step:
        case "finish":
            job.finish()
        case "fail":
            job.finish(OSError(errno.EIO, "broken"))
        case "cancel":
            await world.jobs.cancel(job, force=True)
        case "soft-cancel":
            await world.jobs.cancel(job, force=False)
        case "finalize":
            await world.jobs.finalize(job)
        case "drain":
            async with world.graph.drained([job.node]):
                pass
        case _:
            getattr(world.jobs, step)(job)
    await world.settle()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_story(story: Story) -> None:
    world = World()
    jobs = await begin(world, story)
    for step in story.steps.split(", "):
        verb, name = step.split()
        await play(world, verb, jobs[name])
    assert world.events.lines == story.events.split(", ")
    await world.jobs.shutdown()


async def test_a_job_made_by_a_transaction_that_fails() -> None:
    """Never started, so no BLOCK_JOB event, and no dismissal by hand; latest first, since actions abort so."""
    world = World()
    jobs = world.group("j0", "j1", auto_finalize=False, auto_dismiss=False)
    async with world.graph.exclusive(), world.graph.drained([job.node for job in jobs]):
        for job in reversed(jobs):
            job.abandon()
    assert ", ".join(world.events.lines) == (
        "j0 created, j1 created, j1 aborting, j1 concluded, j1 null, j0 aborting, j0 concluded, j0 null"
    )
    assert world.jobs.query_jobs() == []
    assert [job.calls for job in jobs] == [["abort", "clean"], ["abort", "clean"]]


async def test_members_of_events() -> None:
    world = World()
    job = world.add("j0", speed=4096, auto_finalize=False, auto_dismiss=False)
    await world.start(job)
    job.progress.set_total(400)
    job.finish()
    await world.until_status(job, JobStatus.PENDING)
    assert world.events.named("BLOCK_JOB_PENDING") == [{"type": "backup", "id": "j0"}]
    await world.jobs.finalize(job)
    assert world.events.named("BLOCK_JOB_COMPLETED") == [
        {"type": "backup", "device": "j0", "len": 400, "offset": 100, "speed": 4096}
    ]
    assert world.events.named("JOB_STATUS_CHANGE")[-1] == {"status": "concluded", "id": "j0"}


INFO = {
    "created": ({"busy": False, "paused": False}, {}),
    "running": ({"busy": False, "paused": False}, {}),
    "paused": ({"busy": False, "paused": True}, {}),
    "waiting": ({"busy": False, "paused": False}, {"current-progress": 100}),
    "pending": ({"busy": False, "paused": False}, {"current-progress": 100}),
    "concluded": ({"busy": False, "paused": False}, {"current-progress": 100}),
}


async def to_status(world: World, status: str) -> Work:
    """A job `j0` in that state; `waiting` with a sibling that works."""
    job, *rest = world.group("j0", *(["j1"] if status == "waiting" else []), **MANUAL, **STAY)
    if status == "created":
        return job
    await world.start(job, *rest)
    if status == "paused":
        world.jobs.pause(job)
    if status in ("waiting", "pending", "concluded"):
        job.finish()
        await world.settle()
    if status == "concluded":
        await world.jobs.finalize(job)
    assert job.status == status
    return job


@pytest.mark.parametrize("status", INFO)
async def test_query(status: str) -> None:
    world = World()
    job = await to_status(world, status)
    block_info, info = INFO[status]
    assert world.jobs.query_jobs()[-1] == {
        "id": "j0",
        "type": "backup",
        "status": status,
        "current-progress": 0,
        "total-progress": 100,
    } | info
    assert world.jobs.query_block_jobs()[-1] == {
        "type": "backup",
        "device": "j0",
        "len": 100,
        "offset": job.progress.current,
        "speed": 0,
        "io-status": "ok",
        "ready": False,
        "status": status,
        "auto-finalize": False,
        "auto-dismiss": False,
    } | block_info
    if status == "created":
        job.abandon()
    await world.jobs.shutdown()


async def test_query_after_failure_and_cancellation() -> None:
    world = World()
    a, b = world.group("j0", "j1", **STAY)
    await world.start(a, b)
    a.finish(OSError(errno.ENOSPC, "no room"))
    await world.settle()
    errors = {info["id"]: info["error"] for info in world.jobs.query_jobs()}
    assert errors == {"j0": "No space left on device", "j1": "Operation canceled"}
    assert {info["device"]: info["error"] for info in world.jobs.query_block_jobs()} == errors
    assert [info["id"] for info in world.jobs.query_jobs()] == ["j1", "j0"], "newest first"


REFUSED = [
    # verb, state, class of the error
    *[("pause", status, GenericError) for status in ("paused", "waiting", "pending", "concluded")],
    *[("resume", status, GenericError) for status in ("running", "waiting", "pending", "concluded")],
    *[("complete", status, GenericError) for status in ("running", "paused", "waiting", "pending", "concluded")],
    *[("set-speed", status, GenericError) for status in ("waiting", "pending", "concluded")],
    *[("finalize", status, GenericError) for status in ("created", "running", "paused", "waiting", "concluded")],
    *[("dismiss", status, GenericError) for status in ("created", "running", "paused", "waiting", "pending")],
    ("cancel", "concluded", GenericError),
]


@pytest.mark.parametrize(("verb", "status", "error"), REFUSED)
async def test_refused(verb: str, status: str, error: type[QMPError]) -> None:
    world = World()
    job = await to_status(world, status)
    before = list(world.events.lines)
    with pytest.raises(error, match="'j0'"):
        match verb:
            case "cancel":
                await world.jobs.cancel(job, force=True)
            case "finalize":
                await world.jobs.finalize(job)
            case "set-speed":
                world.jobs.set_speed(job, 1)
            case _:
                getattr(world.jobs, verb)(job)
    assert world.events.lines == before
    if status == "created":
        job.abandon()
    await world.jobs.shutdown()


async def test_block_job_cancel_of_a_paused_job_needs_force() -> None:
    world = World()
    job = await to_status(world, "paused")
    with pytest.raises(GenericError, match=r"'j0'.*paused"):
        await world.jobs.block_cancel(job, force=False)
    await world.jobs.block_cancel(job, force=True)
    await world.until_status(job, JobStatus.CONCLUDED)


def test_unknown_jobs() -> None:
    world = World()
    with pytest.raises(GenericError, match="'nope'") as caught:
        world.jobs.lookup("nope")
    assert caught.type is GenericError
    with pytest.raises(DeviceNotActive, match="'nope'"):
        world.jobs.lookup_block_job("nope")


@pytest.mark.parametrize("job_id", ["", "a b", "#x", "a#b", "é", "-a", ".a", "_a", "1a", "a\n"])
async def test_ill_formed_ids(job_id: str) -> None:
    world = World()
    with pytest.raises(GenericError):
        world.add(job_id)
    assert world.events.lines == []


@pytest.mark.parametrize("job_id", ["a.b-c_d", "A9", "x" * 300])
async def test_well_formed_ids(job_id: str) -> None:
    world = World()
    world.add(job_id).abandon()
    assert world.events.of(job_id) == ["created", "aborting", "concluded", "null"]


async def test_an_id_is_free_again_after_dismissal() -> None:
    world = World()
    job = await to_status(world, "concluded")
    with pytest.raises(GenericError, match="'j0'"):
        world.add("j0")
    world.jobs.dismiss(job)
    with pytest.raises(GenericError, match="'null'"):
        world.jobs.dismiss(job)
    world.add("j0").abandon()


def test_negative_speed() -> None:
    with pytest.raises(GenericError, match="'speed'"):
        Work("j0", speed=-1)
