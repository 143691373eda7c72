"""What an operator does with the database itself: look whether it is sound, and write all of it down.

Works whether daemons use it or not: each function reads in one transaction, so it sees one state.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import aliased

from qmpd.catalog.backups import COMPLETED, Backup
from qmpd.catalog.bitmaps import Bitmap
from qmpd.catalog.errors import WrongVersion
from qmpd.catalog.events import Event
from qmpd.catalog.facade import reader, session
from qmpd.catalog.jobs import RUNNING, Job
from qmpd.catalog.migrations import HEAD, refuse_newer
from qmpd.catalog.quotas import ALL, QuotaUsage, Reservation
from qmpd.catalog.services import Service
from qmpd.catalog.tables import METADATA

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from qmpd.monitor.context import RequestContext


def require_current(version: str | None) -> None:
    """See that a database has the version that this program works with.

    :raises WrongVersion: it has not.
    """
    refuse_newer(version)
    if version != HEAD:
        raise WrongVersion(
            f"the catalog has version {version or 'none'}, this program works with {HEAD}: run 'qmpctl catalog upgrade'"
        )


@reader.primary
async def problems(ctx: RequestContext) -> list[str]:
    """What is wrong with the database, a sentence each.

    The catalog must be of the version that this program works with.
    """
    found = await _damage(ctx)
    if found:
        return found
    connection = await session(ctx).connection()
    found = await connection.run_sync(_differences)
    if found:
        return found
    for search in (_chains, _bitmaps, _leftovers, _quotas, _sequences):
        found += [problem async for problem in search(ctx)]
    return found


async def rows(ctx: RequestContext) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """All rows of all tables, each with the name of its table; what others refer to comes first."""
    async with reader.primary.using(ctx) as db:
        for table in METADATA.sorted_tables:
            found = await db.stream(select(table).order_by(*table.primary_key))
            async for row in found.mappings():
                yield table.name, dict(row)


async def _damage(ctx: RequestContext) -> list[str]:
    """What SQLite itself finds: pages that are damaged, rows that refer to none. PostgreSQL sees to that by itself."""
    assert ctx.catalog is not None
    if not ctx.catalog.is_sqlite:
        return []
    db = session(ctx)
    found = [f"damaged: {line}" for line in await db.scalars(text("PRAGMA integrity_check")) if line != "ok"]
    if found:
        return found
    return [
        f"table {row[0]}: row {row[1]} refers to a row of {row[2]} that is not there"
        for row in await db.execute(text("PRAGMA foreign_key_check"))
    ]


def _differences(connection: Connection) -> list[str]:
    """Where the tables are not what they should be."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [f"schema: {_difference(entry)}" for entry in compare_metadata(context, METADATA)]


def _difference(entry: Any) -> str:
    """One difference as Alembic tells it, as words: what would have to be done."""
    return " ".join(_words(entry))


def _words(entry: Any) -> Iterator[str]:
    if isinstance(entry, list | tuple):
        for part in entry:
            yield from _words(part)
    elif isinstance(entry, str):
        yield entry.replace("_", " ")
    elif getattr(entry, "name", None) is not None:
        yield repr(str(entry.name))


async def _chains(ctx: RequestContext) -> AsyncIterator[str]:
    """Backups that stand on what they cannot stand on."""
    parent = aliased(Backup)
    standing = select(Backup, parent).join(parent, Backup.parent_id == parent.id).order_by(Backup.id)
    for backup, below in await session(ctx).execute(standing):
        if backup.chain_id != below.chain_id or backup.service_id != below.service_id:
            yield f"backup {backup.id} stands on backup {below.id} of another chain"
        if below.outcome != COMPLETED or below.id >= backup.id:
            yield f"backup {backup.id} stands on backup {below.id}, which is not completed or came later"
    first = select(Backup.id).where(Backup.parent_id.is_(None), Backup.chain_id != Backup.id).order_by(Backup.id)
    for number in await session(ctx).scalars(first):
        yield f"backup {number} stands on none, but is not the first of its chain"


async def _bitmaps(ctx: RequestContext) -> AsyncIterator[str]:
    """Bitmaps whose last backup is none that the next one can stand on."""
    unusable = select(Bitmap.uuid, Backup.id).join(Backup, Bitmap.last_backup_id == Backup.id)
    for uuid, number in await session(ctx).execute(unusable.where(Backup.outcome != COMPLETED)):
        yield f"bitmap {uuid} was last used by backup {number}, which is not completed"


async def _leftovers(ctx: RequestContext) -> AsyncIterator[str]:
    """What runs, in a daemon that has ended in order."""
    for table, kind in ((Job, "job"), (Backup, "backup")):
        running = select(table.id).join(Service, table.service_id == Service.id)
        running = running.where(table.outcome == RUNNING, Service.clean.is_(True)).order_by(table.id)
        for number in await session(ctx).scalars(running):
            yield f"{kind} {number} runs, but its daemon has ended"


async def _quotas(ctx: RequestContext) -> AsyncIterator[str]:
    """What is reserved is what the reservations say."""
    sums = select(Reservation.service_id, Reservation.resource, func.sum(Reservation.delta))
    held: dict[tuple[str, str], int] = {}
    for service_id, resource, delta in await session(ctx).execute(sums.group_by(*sums.selected_columns[:2])):
        for scope in (service_id, ALL):
            held[scope, resource] = held.get((scope, resource), 0) + int(delta)
    for usage in await session(ctx).scalars(select(QuotaUsage).order_by(QuotaUsage.scope, QuotaUsage.resource)):
        expected = held.get((usage.scope, usage.resource), 0)
        name = f"quota of {usage.resource} for {usage.scope}"
        if usage.reserved != expected:
            yield f"{name}: {usage.reserved} are reserved, but reservations hold {expected}"
        if usage.in_use < 0:
            yield f"{name}: {usage.in_use} are in use"


async def _sequences(ctx: RequestContext) -> AsyncIterator[str]:
    """Events with numbers that no daemon can have given out."""
    last = select(Service.id, func.max(Event.seq), Service.reserved_seq)
    last = last.join(Event, Event.service_id == Service.id).group_by(Service.id, Service.reserved_seq)
    for service_id, seq, reserved in await session(ctx).execute(last):
        if seq > reserved:
            yield f"service {service_id} has event {seq}, but had no right to numbers beyond {reserved}"
