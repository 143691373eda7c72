"""The events of a job's life, in full and in order, spelled out once and held against both servers.

Every test compares the whole log, so that an event too many fails it as well as one too few. Where jobs of a group
run side by side, the moment at which each starts to wait is chance; from the first bad end or the last wait on, the
order is fixed again: the newest job first.
"""

from typing import Any

import pytest

from iotests.harness import Scratch, Server, trace_of
from iotests.harness.backups import FAR, SLOW, Volume, await_first_chunk, volume
from iotests.harness.images import MIB

LEN = 4 * MIB


def status(job: str, *statuses: str) -> list[str]:
    """Lines of a job's state changes."""
    return [f"JOB_STATUS_CHANGE id={job} status={name}" for name in statuses]


def completed(job: str, extent: str = "whole", *, speed: int = 0, error: bool = False) -> list[str]:
    """The line of BLOCK_JOB_COMPLETED."""
    words = f"device={job} {'error ' if error else ''}len={LEN} {extent} speed={speed} type=backup"
    return [f"BLOCK_JOB_COMPLETED {words}"]


def cancelled(job: str, extent: str = "part", *, speed: int = SLOW) -> list[str]:
    """The line of BLOCK_JOB_CANCELLED."""
    return [f"BLOCK_JOB_CANCELLED device={job} len={LEN} {extent} speed={speed} type=backup"]


def job_error(job: str, action: str) -> list[str]:
    """The line of BLOCK_JOB_ERROR for a failing target."""
    return [f"BLOCK_JOB_ERROR action={action} device={job} operation=write"]


def pending(job: str) -> list[str]:
    """A job that waits for the user: its state and BLOCK_JOB_PENDING."""
    return [*status(job, "pending"), f"BLOCK_JOB_PENDING id={job} type=backup"]


def started(job: str) -> list[str]:
    """A single job's start; it stands still for a moment, since its disk is drained until the command is over."""
    return status(job, "created", "running", "paused", "running")


def group_started(*jobs: str) -> list[str]:
    """The start of the jobs of one transaction: made by the preparation, started by the commit, then let go."""
    lines = [line for job in jobs for line in status(job, "created")]
    lines += [line for job in jobs for line in status(job, "running", "paused")]
    return lines + [line for job in jobs for line in status(job, "running")]


END = ("concluded", "null")


class TestSingle:
    """One job around which there is no group to be seen."""

    @pytest.fixture
    def copy(self, server: Server, scratch: Scratch) -> Volume:
        return volume(server, scratch, "disk", LEN, far=True)

    def test_good(self, server: Server, copy: Volume) -> None:
        copy.run()
        j = copy.job
        assert server.trace().text() == [
            *started(j),
            *status(j, "waiting", "pending"),
            *completed(j),
            *status(j, *END),
        ]

    def test_by_transaction(self, server: Server, copy: Volume) -> None:
        """The command is a transaction of one action; spelled as one it looks the same."""
        server.transaction(("blockdev-backup", copy.backup()))
        server.qmp.wait_job(copy.job, "null")
        j = copy.job
        assert server.trace().text() == [
            *started(j),
            *status(j, "waiting", "pending"),
            *completed(j),
            *status(j, *END),
        ]

    def test_the_start_is_told_before_the_reply(self, server: Server, copy: Volume) -> None:
        copy.start(speed=SLOW)
        replied_at = next(
            number
            for number, line in enumerate(server.qmp.transcript)
            if line.startswith("< ") and '"return": {}' in line and number > len(server.qmp.transcript) - 2
        )
        before = [line for line in server.qmp.transcript[:replied_at] if '"JOB_STATUS_CHANGE"' in line]
        assert [event.data["status"] for event in server.qmp.events[: len(before)]] == [
            "created",
            "running",
            "paused",
            "running",
        ]

    @pytest.mark.parametrize("verb", ["job-cancel", "block-job-cancel"])
    def test_cancelled(self, server: Server, copy: Volume, verb: str) -> None:
        j = copy.start(speed=SLOW)
        server.qmp.command(verb, {"id" if verb == "job-cancel" else "device": j})
        server.qmp.wait_job(j, "null")
        assert server.trace().text() == [*started(j), *status(j, "aborting"), *cancelled(j), *status(j, *END)]

    def test_cancelled_while_paused(self, server: Server, copy: Volume) -> None:
        j = copy.start(speed=SLOW)
        server.qmp.command("job-pause", id=j)
        server.qmp.wait_job(j, "paused")
        server.qmp.command("job-cancel", id=j)
        server.qmp.wait_job(j, "null")
        assert server.trace().text() == [
            *started(j),
            *status(j, "paused", "running", "aborting"),
            *cancelled(j),
            *status(j, *END),
        ]

    def test_failed(self, server: Server, copy: Volume) -> None:
        with server.file_size_limit(FAR + MIB):
            j = copy.start()
            server.qmp.wait_job(j, "null")
        assert server.trace().text() == [
            *started(j),
            *job_error(j, "report"),
            *status(j, "aborting"),
            *completed(j, "part", error=True),
            *status(j, *END),
        ]

    def test_stopped_by_an_error(self, server: Server, copy: Volume) -> None:
        with server.file_size_limit(FAR + MIB):
            j = copy.start(on_target_error="stop")
            server.qmp.wait_event("BLOCK_JOB_ERROR")
            server.qmp.wait_job(j, "paused")
        server.qmp.command("job-resume", id=j)
        server.qmp.wait_job(j, "null")
        assert server.trace().text() == [
            *started(j),
            *job_error(j, "stop"),
            *status(j, "paused", "running", "waiting", "pending"),
            *completed(j),
            *status(j, *END),
        ]

    def test_by_hand(self, server: Server, copy: Volume) -> None:
        """auto-finalize and auto-dismiss off: two stops on the way."""
        j = copy.start(auto_finalize=False, auto_dismiss=False)
        server.qmp.wait_event("BLOCK_JOB_PENDING")
        so_far = [*started(j), *status(j, "waiting"), *pending(j)]
        assert server.trace().text() == so_far
        server.qmp.command("job-finalize", id=j)
        server.qmp.wait_job(j, "concluded")
        so_far += [*completed(j), *status(j, "concluded")]
        assert server.trace().text() == so_far
        server.qmp.command("job-dismiss", id=j)
        assert server.trace().text() == [*so_far, *status(j, "null")]

    def test_cancelled_while_pending(self, server: Server, copy: Volume) -> None:
        j = copy.start(auto_finalize=False)
        server.qmp.wait_event("BLOCK_JOB_PENDING")
        server.qmp.command("job-cancel", id=j)
        server.qmp.wait_job(j, "null")
        assert server.trace().text() == [
            *started(j),
            *status(j, "waiting"),
            *pending(j),
            *status(j, "aborting"),
            *cancelled(j, "whole", speed=0),
            *status(j, *END),
        ]

    def test_refused(self, server: Server, copy: Volume) -> None:
        """A refusal that comes before the job is made leaves no event."""
        server.qmp.refused("blockdev-backup", copy.backup("incremental"))
        assert server.trace().text() == []

    def test_quit(self, server: Server, copy: Volume) -> None:
        """quit cancels what runs, tells so, answers, and hangs up."""
        j = copy.start(speed=SLOW)
        server.qmp.command("quit")
        assert server.qmp.at_end()
        assert server.wait_exit() == 0
        own = [line for line in trace_without_drain(server, j) if line not in status(j, "created", "running")]
        assert own == [*status(j, "aborting"), *cancelled(j), *status(j, *END)]


def trace_without_drain(server: Server, job: str) -> list[str]:
    """A job's story without the moments in which a drain made it stand still."""

    lines: list[str] = []
    for line in trace_of(server.qmp.events).of(job).text():
        if line == status(job, "running")[0] and lines and lines[-1] == status(job, "paused")[0]:
            lines.pop()
        else:
            lines.append(line)
    return lines


class TestGroup:
    """Two jobs `a` and `b` that share one fate; `b` is the newer."""

    @pytest.fixture
    def pair(self, server: Server, scratch: Scratch) -> tuple[Volume, Volume]:
        a = volume(server, scratch, "a", LEN, seed=1, far=True)
        b = volume(server, scratch, "b", LEN, seed=2, far=True)
        return a, b

    def start(self, server: Server, a: Volume, b: Volume, **options: Any) -> list[str]:
        """Start both in one group, slowly; gives the events that tell it."""
        options.setdefault("speed", SLOW)
        actions = [("blockdev-backup", each.backup(**options)) for each in (a, b)]
        server.transaction(*actions, grouped=True)
        await_first_chunk(server, a.job, b.job)
        return group_started(a.job, b.job)

    def go(self, server: Server, member: Volume, *statuses: str) -> None:
        server.qmp.command("block-job-set-speed", device=member.job, speed=0)
        server.qmp.wait_job(member.job, *statuses)

    def wait(self, server: Server, a: Volume, b: Volume) -> None:
        server.qmp.wait_job(a.job, "null")
        server.qmp.wait_job(b.job, "null")

    @pytest.mark.parametrize("first", [0, 1])
    def test_good(self, server: Server, pair: tuple[Volume, Volume], first: int) -> None:
        a, b = pair
        start = self.start(server, a, b)
        self.go(server, pair[first], "waiting")
        self.go(server, pair[1 - first], "null")
        self.wait(server, a, b)
        assert server.trace().text() == [
            *start,
            *status(pair[first].job, "waiting"),
            *status(pair[1 - first].job, "waiting"),
            *status(b.job, "pending"),
            *status(a.job, "pending"),
            *completed(b.job),
            *status(b.job, *END),
            *completed(a.job),
            *status(a.job, *END),
        ]

    @pytest.mark.parametrize("failing", [0, 1])
    @pytest.mark.parametrize("sibling_waits", [False, True])
    def test_failed(self, server: Server, pair: tuple[Volume, Volume], failing: int, sibling_waits: bool) -> None:
        """The job that failed begins to abort; then all of them end, the newest first."""
        a, b = pair
        bad, good = pair[failing], pair[1 - failing]
        told = self.start(server, a, b)
        if sibling_waits:
            self.go(server, good, "waiting")
            told += status(good.job, "waiting")
        with server.file_size_limit(FAR):
            self.go(server, bad, "null")
            self.wait(server, a, b)
        extent, speed = ("whole", 0) if sibling_waits else ("part", SLOW)
        ends = {
            bad.job: [*completed(bad.job, "part", error=True), *status(bad.job, *END)],
            good.job: [
                *status(good.job, "aborting"),
                *cancelled(good.job, extent, speed=speed),
                *status(good.job, *END),
            ],
        }
        assert server.trace().text() == [
            *told,
            *job_error(bad.job, "report"),
            *status(bad.job, "aborting"),
            *ends[b.job],
            *ends[a.job],
        ]

    @pytest.mark.parametrize("which", [0, 1])
    @pytest.mark.parametrize("waiting", [None, 0, 1])
    def test_cancelled(self, server: Server, pair: tuple[Volume, Volume], which: int, waiting: int | None) -> None:
        """Whichever was cancelled, both end, the newest first; one that was running has begun to abort before."""
        a, b = pair
        told = self.start(server, a, b)
        if waiting is not None:
            self.go(server, pair[waiting], "waiting")
            told += status(pair[waiting].job, "waiting")
        server.qmp.command("job-cancel", id=pair[which].job)
        self.wait(server, a, b)
        if which != waiting:
            told += status(pair[which].job, "aborting")
        for number in (1, 0):
            job = pair[number].job
            extent, speed = ("whole", 0) if waiting == number else ("part", SLOW)
            if number != which or which == waiting:
                told += status(job, "aborting")
            told += [*cancelled(job, extent, speed=speed), *status(job, *END)]
        assert server.trace().text() == told

    @pytest.mark.parametrize("by", [0, 1])
    def test_finalized_by_hand(self, server: Server, pair: tuple[Volume, Volume], by: int) -> None:
        a, b = pair
        told = self.start(server, a, b, auto_finalize=False, auto_dismiss=False)
        self.go(server, a, "waiting")
        self.go(server, b, "pending")
        server.qmp.wait_event("BLOCK_JOB_PENDING", id=a.job)
        server.qmp.command("job-finalize", id=pair[by].job)
        server.qmp.wait_job(a.job, "concluded")
        server.qmp.command("job-dismiss", id=a.job)
        server.qmp.command("job-dismiss", id=b.job)
        assert server.trace().text() == [
            *told,
            *status(a.job, "waiting"),
            *status(b.job, "waiting"),
            *pending(b.job),
            *pending(a.job),
            *completed(b.job),
            *status(b.job, "concluded"),
            *completed(a.job),
            *status(a.job, "concluded"),
            *status(a.job, "null"),
            *status(b.job, "null"),
        ]

    def test_cancelled_while_pending(self, server: Server, pair: tuple[Volume, Volume]) -> None:
        a, b = pair
        told = self.start(server, a, b, auto_finalize=False)
        self.go(server, a, "waiting")
        self.go(server, b, "pending")
        server.qmp.wait_event("BLOCK_JOB_PENDING", id=a.job)
        server.qmp.command("job-cancel", id=a.job)
        self.wait(server, a, b)
        told += [*status(a.job, "waiting"), *status(b.job, "waiting"), *pending(b.job), *pending(a.job)]
        for member in (b, a):
            told += [
                *status(member.job, "aborting"),
                *cancelled(member.job, "whole", speed=0),
                *status(member.job, *END),
            ]
        assert server.trace().text() == told

    @pytest.mark.parametrize("grouped", [False, True])
    def test_second_action_refused(self, server: Server, pair: tuple[Volume, Volume], grouped: bool) -> None:
        """The first job was made and never started: it says so by its states and by nothing else."""
        a, b = pair
        actions = [
            {"type": "blockdev-backup", "data": a.backup()},
            {"type": "blockdev-backup", "data": b.backup() | {"target": "nobody"}},
        ]
        mode = "grouped" if grouped else "individual"
        server.qmp.refused("transaction", {"actions": actions, "properties": {"completion-mode": mode}})
        assert server.trace().text() == status(a.job, "created", "aborting", *END)
