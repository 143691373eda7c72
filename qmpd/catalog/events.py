"""Events (messages): what was told to clients, by sequence number, so that one who was away can ask for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import PAGE, Base, as_record, insert_missing, own
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


class Event(Base):
    """An event of a daemon."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_time_us", "service_id", "time_us"),)

    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time_us: Mapped[int]
    name: Mapped[str]
    data: Mapped[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event; `data` is empty for events without."""

    seq: int
    time_us: int
    name: str
    data: dict[str, Any]


@writer
async def append_many(ctx: RequestContext, events: Sequence[EventRecord]) -> None:
    """Store events of this daemon; those whose number is there already are left, so trying again does no harm."""
    rows = [
        {"service_id": own(ctx), "seq": e.seq, "time_us": e.time_us, "name": e.name, "data": e.data} for e in events
    ]
    await insert_missing(ctx, Event, rows)


@reader.primary
async def since(ctx: RequestContext, seq: int, limit: int = PAGE) -> list[EventRecord]:
    """Events of this daemon after number `seq`, oldest first."""
    query = select(Event).where(Event.service_id == own(ctx), Event.seq > seq).order_by(Event.seq).limit(limit)
    return [as_record(EventRecord, row) for row in await session(ctx).scalars(query)]


@reader.primary
async def first_seq(ctx: RequestContext) -> int:
    """The smallest number of an event of this daemon that is stored; 0 if there is none."""
    return await session(ctx).scalar(select(func.min(Event.seq)).where(Event.service_id == own(ctx))) or 0


@reader.primary
async def last_seq(ctx: RequestContext) -> int:
    """The largest number of an event of this daemon that is stored; 0 if there is none."""
    return await session(ctx).scalar(select(func.max(Event.seq)).where(Event.service_id == own(ctx))) or 0


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    name: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> list[EventRecord]:
    """Events of one daemon (default: this one), newest first.

    :param since_us: at this time or later; `until_us`: before.
    :param after: the number of the last one of the page before.
    """
    query = select(Event).where(Event.service_id == (service_id or own(ctx)))
    if name is not None:
        query = query.where(Event.name == name)
    if since_us is not None:
        query = query.where(Event.time_us >= since_us)
    if until_us is not None:
        query = query.where(Event.time_us < until_us)
    if after is not None:
        query = query.where(Event.seq < after)
    rows = await session(ctx).scalars(query.order_by(Event.seq.desc()).limit(limit))
    return [as_record(EventRecord, row) for row in rows]
