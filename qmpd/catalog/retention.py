"""Retention: deletes what is old, and never what something else stands on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from qmpd.catalog.backups import RUNNING, Backup
from qmpd.catalog.base import Base, own
from qmpd.catalog.bitmaps import Bitmap
from qmpd.catalog.events import Event
from qmpd.catalog.facade import session, writer
from qmpd.catalog.groups import Group
from qmpd.catalog.jobs import Job
from qmpd.catalog.quotas import forget_charges
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many of each kind were deleted."""

    events: int
    jobs: int
    groups: int
    backups: int


@writer
async def prune(ctx: RequestContext, *, older_than_us: int | None = None, keep: int | None = None) -> Pruned:
    """Delete this daemon's events, and its jobs, groups and backups that have ended.

    A backup stays as long as one that stays stands on it, or the next one of a bitmap will.

    :param older_than_us: only what ended before this time.
    :param keep: the newest so many of each kind stay, however old they are.
    :raises GenericError: neither is given.
    """
    if older_than_us is None and keep is None:
        raise GenericError("what is to be deleted? Give 'older-than', 'keep' or both")
    await forget_charges(ctx)
    backups = await _prune_backups(ctx, older_than_us, keep)
    old_jobs = select(Job.id).where(Job.service_id == own(ctx), Job.ended_us.is_not(None))
    jobs = await _prune(ctx, Job, Job.id, old_jobs, Job.ended_us, older_than_us, keep)
    used = select(Job.group_uuid).where(Job.group_uuid.is_not(None))
    old_groups = select(Group.id).where(
        Group.service_id == own(ctx), Group.settled_us.is_not(None), Group.uuid.not_in(used)
    )
    groups = await _prune(ctx, Group, Group.id, old_groups, Group.settled_us, older_than_us, keep)
    old_events = select(Event.seq).where(Event.service_id == own(ctx))
    events = await _prune(ctx, Event, Event.seq, old_events, Event.time_us, older_than_us, keep, ours=True)
    return Pruned(events, jobs, groups, backups)


async def _prune(
    ctx: RequestContext,
    table: type[Base],
    key: InstrumentedAttribute[int],
    candidates: Select[int],
    time: InstrumentedAttribute[Any],
    older_than_us: int | None,
    keep: int | None,
    *,
    ours: bool = False,
) -> int:
    """Delete those of the candidates that are old enough and not among the newest."""
    if keep is not None:
        newest = candidates.order_by(key.desc()).offset(keep).limit(1)
        last_to_go = await session(ctx).scalar(newest)
        if last_to_go is None:
            return 0
        candidates = candidates.where(key <= last_to_go)
    if older_than_us is not None:
        candidates = candidates.where(time < older_than_us)
    where: list[ColumnElement[bool]] = [Event.service_id == own(ctx)] if ours else []
    return await _delete(ctx, table, key, list(await session(ctx).scalars(candidates)), where)


async def _prune_backups(ctx: RequestContext, older_than_us: int | None, keep: int | None) -> int:
    """Delete old backups, each after those that stand on it."""
    query = select(Backup.id, Backup.parent_id, Backup.ended_us, Backup.outcome).where(Backup.service_id == own(ctx))
    rows = (await session(ctx).execute(query.order_by(Backup.id.desc()))).all()
    parents = {row.id: row.parent_id for row in rows}
    ended = [row for row in rows if row.outcome != RUNNING]
    stays = {row.id for row in rows} - {row.id for row in ended} | {row.id for row in ended[: keep or 0]}
    if older_than_us is not None:
        stays |= {row.id for row in ended if row.ended_us >= older_than_us}
    used = select(Bitmap.last_backup_id).where(
        Bitmap.service_id == own(ctx), Bitmap.removed_us.is_(None), Bitmap.last_backup_id.is_not(None)
    )
    stays |= set(await session(ctx).scalars(used))
    needed = _with_ancestors(stays, parents)
    return await _delete(ctx, Backup, Backup.id, [row.id for row in rows if row.id not in needed])


def _with_ancestors(ids: Iterable[int], parents: dict[int, int | None]) -> set[int]:
    found: set[int] = set()
    for start in ids:
        current: int | None = start
        while current is not None and current not in found:
            found.add(current)
            current = parents.get(current)
    return found


async def _delete(
    ctx: RequestContext,
    table: type[Base],
    key: InstrumentedAttribute[int],
    ids: Sequence[int],
    where: Sequence[ColumnElement[bool]] = (),
) -> int:
    for start in range(0, len(ids), _BATCH):
        await session(ctx).execute(delete(table).where(key.in_(ids[start : start + _BATCH]), *where))
    return len(ids)
