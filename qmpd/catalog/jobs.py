"""Jobs: which ran, in which group, how they ended. The same id may come again; each run is a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, select, update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, PAGE, Base, as_record, now_us, own, page
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

RUNNING = "running"
LOST = "lost"


class Job(Base):
    """One run of a job."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_job_id", "service_id", "job_id"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    job_id: Mapped[str]
    type: Mapped[str]
    device: Mapped[str | None]
    group_uuid: Mapped[str | None] = mapped_column(ForeignKey("groups.uuid", ondelete="SET NULL"), index=True)
    created_us: Mapped[int]
    ended_us: Mapped[int | None]
    outcome: Mapped[str]
    error: Mapped[str | None]
    offset: Mapped[int]
    len: Mapped[int]
    speed: Mapped[int]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One run of a job.

    :ivar outcome: "running", "completed", "failed", "cancelled", or "lost" with the daemon that ran it.
    :ivar offset: how far it came, of `len`.
    """

    id: int
    service_id: str
    job_id: str
    type: str
    device: str | None
    group_uuid: str | None
    created_us: int
    ended_us: int | None
    outcome: str
    error: str | None
    offset: int
    len: int
    speed: int


@writer
async def begin(
    ctx: RequestContext,
    job_id: str,
    type: str,
    *,
    device: str | None = None,
    group_uuid: str | None = None,
    speed: int = 0,
) -> int:
    """Store a job that starts; answers with its row's number."""
    row = Job(
        service_id=own(ctx),
        job_id=job_id,
        type=type,
        device=device,
        group_uuid=group_uuid,
        created_us=now_us(),
        outcome=RUNNING,
        offset=0,
        len=0,
        speed=speed,
    )
    session(ctx).add(row)
    await session(ctx).flush()
    return row.id


@writer
async def progress(ctx: RequestContext, row_id: int, *, offset: int, len: int, speed: int) -> None:
    """Note how far a job has come, if it has not ended."""
    running = update(Job).where(Job.id == row_id, Job.service_id == own(ctx), Job.outcome == RUNNING)
    await session(ctx).execute(running.values(offset=offset, len=len, speed=speed))


@writer
async def end(
    ctx: RequestContext, row_id: int, outcome: str, *, error: str | None = None, offset: int = 0, len: int = 0
) -> None:
    """Note how a job has ended.

    :raises NotFound: there is no such job.
    """
    row = await session(ctx).get(Job, row_id)
    if row is None or row.service_id != own(ctx):
        raise NotFound(f"the catalog knows no job with the number {row_id}")
    row.outcome, row.error, row.offset, row.len, row.ended_us = outcome, error, offset, len, now_us()


@writer
async def lose_running(ctx: RequestContext, error: str) -> dict[int, int]:
    """Note that this daemon's jobs that were running are lost; answers with how far they are known to have come."""
    ours = select(Job).where(Job.service_id == own(ctx), Job.outcome == RUNNING)
    lost = list(await session(ctx).scalars(ours))
    for row in lost:
        row.outcome, row.error, row.ended_us = LOST, error, now_us()
    return {row.id: row.offset for row in lost}


@reader.primary
async def is_running(ctx: RequestContext, row_id: int) -> bool:
    """Whether it is not known that this job of this daemon has ended."""
    row = await session(ctx).get(Job, row_id)
    return row is not None and row.service_id == own(ctx) and row.outcome == RUNNING


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    job_id: str | None = None,
    type: str | None = None,
    outcome: str | None = None,
    group_uuid: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> list[JobRecord]:
    """Jobs, newest first.

    :param service_id: of this daemon (default: of all daemons of the database).
    :param since_us: begun at this time or later; `until_us`: before.
    """
    wanted = {
        Job.service_id: service_id,
        Job.job_id: job_id,
        Job.type: type,
        Job.outcome: outcome,
        Job.group_uuid: group_uuid,
    }
    query = select(Job).where(*(column == value for column, value in wanted.items() if value is not None))
    if since_us is not None:
        query = query.where(Job.created_us >= since_us)
    if until_us is not None:
        query = query.where(Job.created_us < until_us)
    return await page(ctx, JobRecord, query, Job.id, after=after, limit=limit)


@reader
async def of_groups(ctx: RequestContext, uuids: list[str]) -> dict[str, list[JobRecord]]:
    """The jobs of each group, oldest first."""
    found: dict[str, list[JobRecord]] = {uuid: [] for uuid in uuids}
    for row in await session(ctx).scalars(select(Job).where(Job.group_uuid.in_(uuids)).order_by(Job.id)):
        assert row.group_uuid is not None
        found[row.group_uuid].append(as_record(JobRecord, row))
    return found
