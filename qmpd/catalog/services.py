"""Services: the daemons that use this database, who of them is alive, and what the last run of one left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, not_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import PAGE, Base, as_record, now_us, own
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

DOWN_AFTER_US = 60_000_000
"""A daemon whose heart has not beaten for so long is taken for down."""


class Service(Base):
    """A daemon, by the id in its state directory."""

    __tablename__ = "services"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    name: Mapped[str]
    pid: Mapped[int]
    boot_id: Mapped[str]
    state_dir: Mapped[str]
    version: Mapped[str]
    started_us: Mapped[int]
    heartbeat_us: Mapped[int]
    stopped_us: Mapped[int | None]
    clean: Mapped[bool] = mapped_column(default=False)
    reserved_seq: Mapped[int] = mapped_column(default=0)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One daemon.

    :ivar boot_id: the boot of its host under which it last ran.
    :ivar heartbeat_us: when it last said that it is alive.
    :ivar stopped_us: when its last run ended, if it ended in order (`clean`).
    :ivar reserved_seq: event sequence numbers up to this one may have been given out.
    """

    id: str
    host: str
    name: str
    pid: int
    boot_id: str
    state_dir: str
    version: str
    started_us: int
    heartbeat_us: int
    stopped_us: int | None
    clean: bool
    reserved_seq: int

    def is_alive(self, at_us: int, down_after_us: int = DOWN_AFTER_US) -> bool:
        """Whether it runs, judged by its heartbeat."""
        return self.stopped_us is None and at_us - self.heartbeat_us < down_after_us


@writer
async def register(
    ctx: RequestContext, *, host: str, name: str, pid: int, boot_id: str, state_dir: str, version: str
) -> ServiceRecord | None:
    """Note that this daemon runs; answers with what its row was before, None for a new one."""
    row = await session(ctx).get(Service, own(ctx))
    before = None if row is None else as_record(ServiceRecord, row)
    if row is None:
        row = Service(id=own(ctx), reserved_seq=0)
        session(ctx).add(row)
    row.host, row.name, row.pid, row.boot_id, row.state_dir, row.version = host, name, pid, boot_id, state_dir, version
    row.started_us = row.heartbeat_us = now_us()
    row.stopped_us, row.clean = None, False
    await session(ctx).flush()
    return before


@writer
async def heartbeat(ctx: RequestContext) -> None:
    """Note that this daemon is alive."""
    await session(ctx).execute(update(Service).where(Service.id == own(ctx)).values(heartbeat_us=now_us()))


@writer
async def stopped(ctx: RequestContext) -> None:
    """Note that this daemon has ended in order."""
    now = now_us()
    values = {"heartbeat_us": now, "stopped_us": now, "clean": True}
    await session(ctx).execute(update(Service).where(Service.id == own(ctx)).values(values))


@writer
async def reserve_sequence(ctx: RequestContext, up_to: int) -> None:
    """Note that event sequence numbers up to `up_to` may be given out; never goes back."""
    own_row = (Service.id == own(ctx)) & (Service.reserved_seq < up_to)
    await session(ctx).execute(update(Service).where(own_row).values(reserved_seq=up_to))


@reader.primary
async def get(ctx: RequestContext) -> ServiceRecord:
    """This daemon's row.

    :raises NotFound: it has not been registered.
    """
    row = await session(ctx).get(Service, own(ctx))
    if row is None:
        raise NotFound(f"service {own(ctx)!r} is not registered in the catalog")
    return as_record(ServiceRecord, row)


@reader
async def listed(
    ctx: RequestContext,
    *,
    alive: bool | None = None,
    at_us: int | None = None,
    after: str | None = None,
    limit: int = PAGE,
) -> list[ServiceRecord]:
    """The daemons of the database, by id.

    :param alive: those that run, those that do not, or with None both.
    :param at_us: judged at this time (default: now).
    :param after: the id of the last one of the page before.
    """
    query = select(Service).order_by(Service.id).limit(limit)
    if after is not None:
        query = query.where(Service.id > after)
    if alive is not None:
        beats = Service.heartbeat_us > (now_us() if at_us is None else at_us) - DOWN_AFTER_US
        runs = and_(Service.stopped_us.is_(None), beats)
        query = query.where(runs if alive else not_(runs))
    return [as_record(ServiceRecord, row) for row in await session(ctx).scalars(query)]
