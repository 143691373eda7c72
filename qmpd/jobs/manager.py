"""The manager knows all jobs by their id and owns the tasks in which they run and end.

Verbs of clients come in here. It leans on `job` and `transaction` for what they do and on a `GraphGuard` for
standing still while a group ends; it must never await a job's I/O on behalf of a verb that can answer at
once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from qmpd.errors import DeviceNotActive, GenericError
from qmpd.events import EventSink
from qmpd.jobs.block_job import BlockJob
from qmpd.jobs.job import Job
from qmpd.jobs.state import JobStatus, JobVerb
from qmpd.jobs.transaction import JobTransaction

if TYPE_CHECKING:
    from qmpd.api.models import JobChangeOptions
    from qmpd.block.node import BlockNode

_log = logging.getLogger(__name__)

_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*", re.ASCII)


class GraphGuard(Protocol):
    """What jobs and transactions need of the block graph: to hold it, and to keep nodes still."""

    def exclusive(self) -> AbstractAsyncContextManager[object]:
        """Admit no other structural change meanwhile."""

    def drained(self, nodes: Iterable[BlockNode]) -> AbstractAsyncContextManager[object]:
        """Let no request reach `nodes` meanwhile."""

    def passing(self, nodes: Iterable[BlockNode]) -> AbstractContextManager[object]:
        """Let no driver hold back requests that `nodes` may wait for."""

    def impatient(self, nodes: Iterable[BlockNode]) -> AbstractContextManager[object]:
        """Let requests to `nodes` fail rather than wait for long."""

    def request_done(self) -> None:
        """Whoever a drain may wait for calls this when it has come to rest."""


class JobManager:
    """All jobs of a daemon."""

    def __init__(self, graph: GraphGuard, events: EventSink) -> None:
        self.graph = graph
        self.events = events
        self._jobs: dict[str, Job] = {}
        self._internal: list[Job] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- making jobs

    def new_transaction(self) -> JobTransaction:
        """An empty group for `add`."""
        return JobTransaction(self)

    def check_id(self, job_id: str) -> None:
        """Raise `GenericError` unless a new job may be called `job_id`."""
        if not _WELL_FORMED.fullmatch(job_id):
            raise GenericError(
                f"Invalid job ID '{job_id}': it must begin with a letter "
                "and go on with letters, digits, '-', '.' or '_'"
            )
        if job_id in self._jobs:
            raise GenericError(f"Job ID '{job_id}' is in use; choose another or dismiss that job first")

    def add(self, job: Job, txn: JobTransaction | None = None) -> None:
        """Make `job` known, as a member of `txn` or of a group of its own; it stands in `created`.

        :raises GenericError: if its id is taken or not well-formed, or the daemon is shutting down.
        """
        if self._closed:
            raise GenericError("The daemon is shutting down and takes no new job")
        group = self.new_transaction() if txn is None else txn
        if group.settled:
            raise RuntimeError(f"job '{job.job_id}' comes too late: its group is over")
        if job.internal:
            self._internal.append(job)
        else:
            self.check_id(job.job_id)
            self._jobs[job.job_id] = job
        group.add(job)

    # -- finding jobs

    @property
    def jobs(self) -> list[Job]:
        """All jobs, internal ones too, newest first within each kind."""
        return [*reversed(self._jobs.values()), *reversed(self._internal)]

    def find(self, job_id: str) -> Job | None:
        """The job of that id, or `None`."""
        return self._jobs.get(job_id)

    def lookup(self, job_id: str) -> Job:
        """The job of that id; `GenericError` if there is none."""
        job = self._jobs.get(job_id)
        if job is None:
            raise GenericError(f"Job '{job_id}' not found; query-jobs lists all jobs")
        return job

    def lookup_block_job(self, device: str) -> BlockJob:
        """The block job of that id; `DeviceNotActive` if there is none."""
        job = self._jobs.get(device)
        if not isinstance(job, BlockJob):
            raise DeviceNotActive(f"Block job '{device}' not found; query-block-jobs lists all block jobs")
        return job

    def query_jobs(self) -> list[dict[str, object]]:
        """`query-jobs`: newest first."""
        return [job.info() for job in reversed(self._jobs.values())]

    def query_block_jobs(self) -> list[dict[str, object]]:
        """`query-block-jobs`: newest first."""
        return [job.block_info() for job in reversed(self._jobs.values()) if isinstance(job, BlockJob)]

    # -- verbs

    def pause(self, job: Job) -> None:
        """Pause for the user; `GenericError` if refused or paused by the user already."""
        job.pause_by_user()

    def resume(self, job: Job) -> None:
        """End the user's pause; `GenericError` if refused or not paused by the user."""
        job.resume_by_user()

    def set_speed(self, job: BlockJob, speed: int) -> None:
        """Limit to `speed` bytes per second, 0 for no limit; `GenericError` if refused."""
        job.set_speed(speed)

    async def cancel(self, job: Job, *, force: bool) -> None:
        """Ask `job` to end, and with it its group.

        A job at work ends in its own time, after the reply. One that already waits for its group, or for the
        client, has ended with its whole group when this returns.

        :raises GenericError: if the state refuses it.
        """
        job.check_verb(JobVerb.CANCEL)
        if job.txn.decided:
            await job.txn.wait_settled()
            job.check_verb(JobVerb.CANCEL)
        job.request_cancel(force=force)
        if job.cancelled and job.over:
            await job.txn.wait_settled()

    async def block_cancel(self, job: BlockJob, *, force: bool) -> None:
        """`block-job-cancel`: as `cancel`, but a job that the user has paused is left alone unless by force.

        :raises GenericError: if refused.
        """
        if job.user_paused and not force:
            raise GenericError(f"Block job '{job.device}' is paused; resume it first, or cancel it with 'force'")
        await self.cancel(job, force=force)

    def complete(self, job: Job) -> None:
        """Let a ready job come to its end; `GenericError` if it is not ready, or was told to end already."""
        job.check_verb(JobVerb.COMPLETE)
        if job.cancel_requested:
            raise GenericError(f"Job '{job.job_id}' cannot be completed because it is being cancelled")
        job.complete()

    def change(self, job: Job, options: JobChangeOptions) -> None:
        """Let a job go on in another way; `GenericError` if it cannot, or is of another type."""
        job.check_verb(JobVerb.CHANGE)
        if options.type != job.job_type:
            raise GenericError(f"Job '{job.job_id}' is of type '{job.job_type}', not '{options.type}'")
        job.change(options)

    async def finalize(self, job: Job) -> None:
        """Commit the pending group of `job`; returns when it is over. `GenericError` if not pending."""
        job.check_verb(JobVerb.FINALIZE)
        job.txn.finalize()
        await job.txn.wait_settled()

    def dismiss(self, job: Job) -> None:
        """Forget a concluded job; `GenericError` if it is not concluded."""
        job.check_verb(JobVerb.DISMISS)
        job.dismiss()

    # -- ending

    async def shutdown(self) -> None:
        """Cancel all jobs and wait for every one to be over; nothing runs and nothing is listed afterwards.

        Not to be called while the caller holds the graph. A later `add` is refused.
        """
        self._closed = True
        for job in self.jobs:
            if job.status is JobStatus.CONCLUDED:
                job.dismiss()
            elif not job.txn.settled:
                job.request_cancel(force=True)
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        for job in self.jobs:
            if job.status is JobStatus.CONCLUDED:
                job.dismiss()

    # -- called by jobs and groups

    def spawn(self, coroutine: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run `coroutine` in a task that this manager owns and `shutdown` waits for."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def forget(self, job: Job) -> None:
        """`job` was dismissed."""
        if job.internal:
            self._internal.remove(job)
        else:
            del self._jobs[job.job_id]

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("bug: task '%s' raised", task.get_name(), exc_info=error)
