"""Groups: transactions that started jobs, and how they ended as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, PAGE, Base, as_record, now_us, own, page
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

_OPEN = text("settled_us IS NULL")


class Group(Base):
    """A group of jobs."""

    __tablename__ = "groups"
    __table_args__ = (Index("ix_groups_open", "service_id", sqlite_where=_OPEN, postgresql_where=_OPEN), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    mode: Mapped[str]
    request_id: Mapped[int]
    session_id: Mapped[int]
    created_us: Mapped[int]
    settled_us: Mapped[int | None]
    outcome: Mapped[str]


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group.

    :ivar mode: "individual" or "grouped".
    :ivar request_id: the command that made it, with `session_id` the client's session.
    :ivar outcome: "running", "completed", "failed", "cancelled" or "lost".
    """

    id: int
    uuid: str
    service_id: str
    mode: str
    request_id: int
    session_id: int
    created_us: int
    settled_us: int | None
    outcome: str


@writer
async def begin(ctx: RequestContext, uuid: str, mode: str) -> None:
    """Store a new group, made by the command of `ctx`."""
    session(ctx).add(
        Group(
            uuid=uuid,
            service_id=own(ctx),
            mode=mode,
            request_id=ctx.request_id,
            session_id=ctx.session_id,
            created_us=now_us(),
            outcome="running",
        )
    )
    await session(ctx).flush()


@writer
async def settle(ctx: RequestContext, uuid: str, outcome: str) -> None:
    """Note how a group has ended.

    :raises NotFound: there is no such group.
    """
    row = await session(ctx).scalar(select(Group).where(Group.uuid == uuid, Group.service_id == own(ctx)))
    if row is None:
        raise NotFound(f"the catalog knows no group {uuid!r}")
    row.outcome, row.settled_us = outcome, now_us()


@reader.primary
async def unsettled(ctx: RequestContext) -> list[GroupRecord]:
    """This daemon's groups that have not ended, oldest first."""
    query = select(Group).where(Group.service_id == own(ctx), Group.settled_us.is_(None)).order_by(Group.id)
    return [as_record(GroupRecord, row) for row in await session(ctx).scalars(query)]


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    uuid: str | None = None,
    outcome: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> list[GroupRecord]:
    """Groups, newest first.

    :param service_id: of this daemon (default: of all daemons of the database).
    :param since_us: made at this time or later; `until_us`: before.
    """
    query = select(Group)
    if service_id is not None:
        query = query.where(Group.service_id == service_id)
    if uuid is not None:
        query = query.where(Group.uuid == uuid)
    if outcome is not None:
        query = query.where(Group.outcome == outcome)
    if since_us is not None:
        query = query.where(Group.created_us >= since_us)
    if until_us is not None:
        query = query.where(Group.created_us < until_us)
    return await page(ctx, GroupRecord, query, Group.id, after=after, limit=limit)
