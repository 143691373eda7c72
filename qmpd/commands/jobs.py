"""The commands on jobs.

`job-*` and `block-job-*` are two generations of the same verbs: the older ones know block jobs only, and have an
error class of their own for a job that does not exist. Must never decide what is legal; the state tables do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api import models
    from qmpd.jobs.manager import JobManager


class JobCommands:
    """query-jobs and the job-* verbs, query-block-jobs and the block-job-* verbs."""

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs

    @command("query-jobs")
    def query_jobs(self, ctx: RequestContext, args: None) -> list[dict[str, object]]:
        """All jobs, newest first."""
        return self._jobs.query_jobs()

    @command("query-block-jobs")
    def query_block_jobs(self, ctx: RequestContext, args: None) -> list[dict[str, object]]:
        """All block jobs, newest first."""
        return self._jobs.query_block_jobs()

    @command("job-pause")
    def pause(self, ctx: RequestContext, args: models.QObjJobPauseArg) -> None:
        """Pause a job."""
        self._jobs.pause(self._jobs.lookup(args.id))

    @command("job-resume")
    def resume(self, ctx: RequestContext, args: models.QObjJobResumeArg) -> None:
        """Resume a job that a user has paused, or an I/O error stopped."""
        self._jobs.resume(self._jobs.lookup(args.id))

    @command("job-cancel")
    async def cancel(self, ctx: RequestContext, args: models.QObjJobCancelArg) -> None:
        """Cancel a job, and its group."""
        await self._jobs.cancel(self._jobs.lookup(args.id), force=True)

    @command("job-complete")
    def complete(self, ctx: RequestContext, args: models.QObjJobCompleteArg) -> None:
        """Let a ready job come to its end."""
        self._jobs.complete(self._jobs.lookup(args.id))

    @command("job-finalize")
    async def finalize(self, ctx: RequestContext, args: models.QObjJobFinalizeArg) -> None:
        """Commit a pending job, and its group."""
        await self._jobs.finalize(self._jobs.lookup(args.id))

    @command("job-dismiss")
    def dismiss(self, ctx: RequestContext, args: models.QObjJobDismissArg) -> None:
        """Forget a concluded job."""
        self._jobs.dismiss(self._jobs.lookup(args.id))

    @command("job-change")
    def change(self, ctx: RequestContext, args: models.JobChangeOptions) -> None:
        """Let a job go on in another way."""
        self._jobs.change(self._jobs.lookup(args.id), args)

    @command("block-job-change")
    def block_change(self, ctx: RequestContext, args: models.JobChangeOptions) -> None:
        """Let a block job go on in another way."""
        self._jobs.change(self._jobs.lookup_block_job(args.id), args)

    @command("block-job-set-speed")
    def block_set_speed(self, ctx: RequestContext, args: models.QObjBlockJobSetSpeedArg) -> None:
        """Limit the speed of a block job."""
        self._jobs.set_speed(self._jobs.lookup_block_job(args.device), args.speed)

    @command("block-job-pause")
    def block_pause(self, ctx: RequestContext, args: models.QObjBlockJobPauseArg) -> None:
        """Pause a block job."""
        self._jobs.pause(self._jobs.lookup_block_job(args.device))

    @command("block-job-resume")
    def block_resume(self, ctx: RequestContext, args: models.QObjBlockJobResumeArg) -> None:
        """Resume a block job that a user has paused, or an I/O error stopped."""
        self._jobs.resume(self._jobs.lookup_block_job(args.device))

    @command("block-job-cancel")
    async def block_cancel(self, ctx: RequestContext, args: models.QObjBlockJobCancelArg) -> None:
        """End a block job: a ready mirror keeps what it has done unless by force, all else is cancelled."""
        await self._jobs.block_cancel(self._jobs.lookup_block_job(args.device), force=bool(args.force))

    @command("block-job-complete")
    def block_complete(self, ctx: RequestContext, args: models.QObjBlockJobCompleteArg) -> None:
        """Let a ready block job come to its end."""
        self._jobs.complete(self._jobs.lookup_block_job(args.device))

    @command("block-job-finalize")
    async def block_finalize(self, ctx: RequestContext, args: models.QObjBlockJobFinalizeArg) -> None:
        """Commit a pending block job, and its group."""
        await self._jobs.finalize(self._jobs.lookup_block_job(args.id))

    @command("block-job-dismiss")
    def block_dismiss(self, ctx: RequestContext, args: models.QObjBlockJobDismissArg) -> None:
        """Forget a concluded block job."""
        self._jobs.dismiss(self._jobs.lookup_block_job(args.id))
