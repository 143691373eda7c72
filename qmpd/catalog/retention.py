"""Retention: deletes what is old, and never what something else stands on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute

from qmpd.catalog.attachments import Attachment, AttachmentClient
from qmpd.catalog.backups import RUNNING, Backup
from qmpd.catalog.base import Base, own
from qmpd.catalog.bitmaps import Bitmap
from qmpd.catalog.events import Event
from qmpd.catalog.facade import session, writer
from qmpd.catalog.groups import Group
from qmpd.catalog.jobs import Job
from qmpd.catalog.quotas import forget_charges
from qmpd.catalog.snapshots import Snapshot
from qmpd.catalog.volumes import Volume
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

Conditions = tuple[ColumnElement[bool], ...]

_BACKUPS = 500
_PIECE = 20_000
"""How many are deleted at a time."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many of each kind were deleted; what was no more anyway (nodes, bitmaps) is not counted."""

    events: int
    jobs: int
    groups: int
    backups: int


async def prune(ctx: RequestContext, *, older_than_us: int | None = None, keep: int | None = None) -> Pruned:
    """Delete this daemon's events, its jobs, groups and backups that have ended, and what it had and is no more.

    A backup stays as long as one that stays stands on it, or the next one of a bitmap will; so do the node and the
    bitmap of a backup that stays. Events and connections, of which there may be millions, are deleted in several
    transactions.

    :param older_than_us: only what ended before this time.
    :param keep: the newest so many of each kind stay, however old they are.
    :raises GenericError: neither is given.
    """
    if older_than_us is None and keep is None:
        raise GenericError("what is to be deleted? Give 'older-than', 'keep' or both")
    backups, jobs, groups = await _prune_history(ctx, older_than_us, keep)
    events = 0
    while deleted := await _prune_some_events(ctx, older_than_us, keep):
        events += deleted
    while await _prune_some_clients(ctx, older_than_us, keep):
        pass
    await _prune_things(ctx, older_than_us, keep)
    return Pruned(events, jobs, groups, backups)


@writer
async def _prune_history(ctx: RequestContext, older_than_us: int | None, keep: int | None) -> tuple[int, int, int]:
    """Delete backups, jobs and groups; how many of each."""
    await forget_charges(ctx)
    backups = await _prune_backups(ctx, older_than_us, keep)
    ended_jobs = (Job.service_id == own(ctx), Job.ended_us.is_not(None))
    old = await _old(ctx, Job.id, Job.ended_us, ended_jobs, older_than_us, keep)
    jobs = await _delete(ctx, Job, old)
    used = select(Job.group_uuid).where(Job.group_uuid.is_not(None))
    settled = (Group.service_id == own(ctx), Group.settled_us.is_not(None), Group.uuid.not_in(used))
    old = await _old(ctx, Group.id, Group.settled_us, settled, older_than_us, keep)
    return backups, jobs, await _delete(ctx, Group, old)


@writer
async def _prune_some_events(ctx: RequestContext, older_than_us: int | None, keep: int | None) -> int:
    """Delete the oldest of the events that are to go; how many."""
    old = await _old(ctx, Event.seq, Event.time_us, (Event.service_id == own(ctx),), older_than_us, keep)
    return await _delete_some(ctx, Event, Event.seq, old)


@writer
async def _prune_some_clients(ctx: RequestContext, older_than_us: int | None, keep: int | None) -> int:
    """Delete the oldest of the connections to exports that are to go; how many."""
    client = AttachmentClient
    ours = select(Attachment.id).where(Attachment.service_id == own(ctx))
    gone = (client.attachment_id.in_(ours), client.disconnected_us.is_not(None))
    old = await _old(ctx, client.id, client.disconnected_us, gone, older_than_us, keep)
    return await _delete_some(ctx, client, client.id, old)


@writer
async def _prune_things(ctx: RequestContext, older_than_us: int | None, keep: int | None) -> None:
    """Delete nodes, bitmaps, exports and snapshots that are no more, unless a backup is of them."""
    backed_up = exists().where(
        Backup.service_id == Volume.service_id,
        Backup.node_name == Volume.node_name,
        Backup.started_us.between(Volume.created_us, Volume.deleted_us),
    )
    used = select(Backup.bitmap_uuid).where(Backup.bitmap_uuid.is_not(None))
    things: list[tuple[type[Base], InstrumentedAttribute[int], InstrumentedAttribute[Any], Conditions]] = [
        (Volume, Volume.id, Volume.deleted_us, (Volume.service_id == own(ctx), ~backed_up)),
        (Bitmap, Bitmap.id, Bitmap.removed_us, (Bitmap.service_id == own(ctx), Bitmap.uuid.not_in(used))),
        (Attachment, Attachment.id, Attachment.deleted_us, (Attachment.service_id == own(ctx),)),
        (Snapshot, Snapshot.id, Snapshot.deleted_us, (Snapshot.service_id == own(ctx),)),
    ]
    for table, key, end, ours in things:
        await _delete(ctx, table, await _old(ctx, key, end, (*ours, end.is_not(None)), older_than_us, keep))


async def _old(
    ctx: RequestContext,
    key: InstrumentedAttribute[int],
    time: InstrumentedAttribute[Any],
    candidates: Conditions,
    older_than_us: int | None,
    keep: int | None,
) -> Conditions:
    """Those of the candidates that are old enough and not among the newest."""
    found = candidates
    if keep is not None:
        newest_to_go = select(key).where(*candidates).order_by(key.desc()).offset(keep).limit(1)
        found = (*found, key <= newest_to_go.scalar_subquery())
    if older_than_us is not None:
        found = (*found, time < older_than_us)
    return found


async def _delete(ctx: RequestContext, table: type[Base], where: Conditions) -> int:
    options = {"synchronize_session": False}
    result = await session(ctx).execute(delete(table).where(*where), execution_options=options)
    return cast("CursorResult[Any]", result).rowcount


async def _delete_some(
    ctx: RequestContext, table: type[Base], key: InstrumentedAttribute[int], where: Conditions
) -> int:
    """Delete the oldest of those rows; how many."""
    first = await session(ctx).scalar(select(func.min(key)).where(*where))
    return 0 if first is None else await _delete(ctx, table, (*where, key < first + _PIECE))


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
    gone = [row.id for row in rows if row.id not in needed]
    for start in range(0, len(gone), _BACKUPS):
        await _delete(ctx, Backup, (Backup.id.in_(gone[start : start + _BACKUPS]),))
    return len(gone)


def _with_ancestors(ids: Iterable[int], parents: dict[int, int | None]) -> set[int]:
    found: set[int] = set()
    for start in ids:
        current: int | None = start
        while current is not None and current not in found:
            found.add(current)
            current = parents.get(current)
    return found
