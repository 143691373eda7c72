"""How jobs, groups and backups end, and what clients of exports come and go: told by events, stored a little later.

Backups that a transaction starts are in the catalog from the moment at which it is recorded; other jobs are noted when
they begin to run. Leans on the event bus for what happens, and on the journal for storing it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qmpd.catalog import attachments, jobs, quotas
from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.quotas import Resource
from qmpd.jobs.backup import BitmapMode
from qmpd.jobs.block_job import BlockJob
from qmpd.state.ended import JobEnd

if TYPE_CHECKING:
    from qmpd.jobs.job import Job
    from qmpd.jobs.manager import JobManager
    from qmpd.monitor.context import RequestContext
    from qmpd.state.ended import EndedBackups
    from qmpd.state.journal import Journal
    from qmpd.transaction.outcome import Demand

SETTLE_SECONDS = 5.0
"""How long a backup that begins waits until it is stored how others have ended."""
MAX_CLIENTS = 10_000
"""Connections that wait in memory while the database fails; those that come beyond that are not noted."""
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
_UNDONE = "the connection to the catalog was lost when the job was about to begin"


@dataclasses.dataclass(eq=False, slots=True)
class GroupRun:
    """A group that runs: which of its jobs have not ended, and the worst outcome so far.

    :ivar ended_chains: the last backups of bitmaps that become what they were if the group fails, by the bitmaps' ids.
    """

    uuid: str
    running: int
    outcome: str = COMPLETED
    ended_chains: dict[str, int] = dataclasses.field(default_factory=dict)

    def ended(self, outcome: str) -> bool:
        """One has ended; True when it was the last."""
        self.running -= 1
        if outcome == FAILED or (outcome == CANCELLED and self.outcome != FAILED):
            self.outcome = outcome
        return not self.running


@dataclasses.dataclass(eq=False, slots=True)
class JobRun:
    """A job that runs, and its rows in the catalog.

    :ivar row: None until it has been stored.
    :ivar bitmap_mode: when the backup's bitmap gives up what was copied.
    :ivar demand: what it was expected to use.
    """

    row: int | None = None
    backup_row: int | None = None
    group: GroupRun | None = None
    bitmap_mode: BitmapMode | None = None
    demand: Demand | None = None


@dataclasses.dataclass(eq=False, slots=True)
class ClientRun:
    """A client that is connected.

    :ivar row: its row in the catalog, once it is stored.
    :ivar is_noted: it is stored, or will be.
    """

    row: int | None = None
    is_noted: bool = True


class JobHistory:
    """Watches jobs and clients."""

    def __init__(self, journal: Journal, manager: JobManager, ended: EndedBackups) -> None:
        self._journal = journal
        self._manager = manager
        self._ended = ended
        self._runs: dict[Job, JobRun] = {}
        self._unstored_backups = 0
        self._unstored_clients = 0

    async def wait_for_backups(self) -> None:
        """Wait until the catalog knows of all backups that have ended, for a new one may stand on them.

        :raises CatalogUnavailable: it does not take that.
        """
        if self._unstored_backups and not await self._journal.flush(SETTLE_SECONDS):
            raise CatalogUnavailable("has not stored yet how earlier backups have ended")

    def began(self, runs: Mapping[Job, JobRun]) -> None:
        """A transaction that starts these jobs has been recorded."""
        self._runs.update(runs)

    def came_to_nothing(self, runs: Iterable[JobRun], ended_chains: Mapping[str, int]) -> None:
        """A transaction that starts these jobs has been recorded, but nobody saw it, and it was undone.

        :param ended_chains: the last backups of bitmaps that were cleared in it, by the bitmaps' ids.
        """
        for run in runs:
            self._put_end(run, JobEnd(CANCELLED, _UNDONE))
        undone = JobEnd(CANCELLED, _UNDONE, put_back=dict(ended_chains))
        self._journal.put(lambda context: undone.store(context, None, None))

    def heard(self, name: str, data: Mapping[str, object]) -> None:
        """A listener of the event bus."""
        if name != "JOB_STATUS_CHANGE":
            return
        job = self._manager.find(str(data["id"]))
        if job is None:
            return
        if data["status"] == "running" and job not in self._runs:
            self._note_start(job)
        elif data["status"] == "concluded":
            self._note_end(job)

    async def note_progress(self, context: RequestContext) -> None:
        """Store how far the jobs that run have come, for the case that the daemon dies."""
        for job, run in list(self._runs.items()):
            if run.row is not None:
                progress = job.progress
                speed = job.speed if isinstance(job, BlockJob) else 0
                await jobs.progress(context, run.row, offset=progress.current, len=progress.total, speed=speed)

    # Clients of exports.

    def connected(self, export_id: str, address: str) -> ClientRun:
        """A client has connected; what `disconnected` wants."""
        client = ClientRun()
        if self._unstored_clients >= MAX_CLIENTS:
            client.is_noted = False
            return client

        async def store(context: RequestContext) -> None:
            client.row = await attachments.connected(context, export_id, address)

        self._unstored_clients += 1
        self._journal.put(store, self._stored_client)
        return client

    def disconnected(self, client: ClientRun) -> None:
        """A client has gone."""

        async def store(context: RequestContext) -> None:
            if client.row is not None:
                await attachments.disconnected(context, client.row)

        if client.is_noted:
            self._journal.put(store)

    def _stored_client(self) -> None:
        self._unstored_clients -= 1

    # Jobs.

    def _note_start(self, job: Job) -> None:
        run = self._runs[job] = JobRun()
        device = job.device if isinstance(job, BlockJob) else None
        speed = job.speed if isinstance(job, BlockJob) else 0

        async def store(context: RequestContext) -> None:
            run.row = await jobs.begin(context, job.job_id, job.job_type, device=device, speed=speed)

        self._journal.put(store)

    def _note_end(self, job: Job) -> None:
        run = self._runs.pop(job, None)
        if run is None:
            # It ended before it ran, as a member of a group that came to nothing.
            return
        outcome = COMPLETED if job.error is None else CANCELLED if job.cancelled else FAILED
        moved = _has_moved(run.bitmap_mode, outcome, job.started)
        self._put_end(run, JobEnd(outcome, job.error, job.progress.current, job.progress.total, moved))

    def _put_end(self, run: JobRun, end: JobEnd) -> None:
        group = run.group
        if group is not None and group.ended(end.outcome):
            put_back = {} if group.outcome == COMPLETED else group.ended_chains
            end = dataclasses.replace(end, group=(group.uuid, group.outcome), put_back=put_back)

        async def store(context: RequestContext) -> None:
            await end.store(context, run.row, run.backup_row)
            if run.demand is not None:
                await quotas.release(context, Resource.JOBS, run.demand.jobs)

        if run.backup_row is None:
            self._journal.put(store)
            return
        self._unstored_backups += 1
        self._ended.note(run.row, run.backup_row, end)
        self._journal.put(store, self._stored_backup)

    def _stored_backup(self) -> None:
        self._unstored_backups -= 1
        if not self._unstored_backups:
            self._ended.forget()


def _has_moved(mode: BitmapMode | None, outcome: str, started: bool) -> bool:
    """Whether a backup's bitmap has given up what was copied."""
    if outcome == COMPLETED:
        return mode is not BitmapMode.NEVER
    return started and mode is BitmapMode.ALWAYS
