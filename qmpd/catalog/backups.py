"""Backups: what was copied where, and which stands on which.

An incremental backup stands on the last completed one that used the same bitmap: its parent. A full one (and any
any other without such a parent) begins a chain; the chain's id is that of its first backup. A bitmap that gave up what
no completed backup has (it was cleared, or its backup failed with bitmap-mode=always) has no last backup any more: a
chain with a gap would look like a whole one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog import bitmaps
from qmpd.catalog.base import NEVER_AGAIN, PAGE, Base, as_record, get_metadata, now_us, own, page, put_metadata
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

COMPLETED = "completed"
RUNNING = "running"
LOST = "lost"

_STANDS_ON_A_PARENT = frozenset({"incremental", "bitmap"})


class Backup(Base):
    """One backup."""

    __tablename__ = "backups"
    __table_args__ = (Index("ix_backups_node_name", "service_id", "node_name"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    job_row: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    group_uuid: Mapped[str | None] = mapped_column(index=True)
    node_name: Mapped[str]
    sync: Mapped[str]
    bitmap_uuid: Mapped[str | None]
    bitmap_name: Mapped[str | None]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("backups.id"), index=True)
    chain_id: Mapped[int] = mapped_column(index=True)
    target_node: Mapped[str | None]
    target_filename: Mapped[str | None]
    size: Mapped[int]
    copied: Mapped[int]
    started_us: Mapped[int]
    ended_us: Mapped[int | None]
    outcome: Mapped[str]
    error: Mapped[str | None]


class BackupMetadata(Base):
    """A text under a key of a backup."""

    __tablename__ = "backup_metadata"

    backup_id: Mapped[int] = mapped_column(ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """One backup.

    :ivar job_row: the number of its job in the catalog.
    :ivar parent_id: the backup that it stands on.
    :ivar chain_id: the backup at which its chain begins; its own id for a full one.
    :ivar size: bytes of the disk.
    :ivar copied: bytes copied.
    :ivar outcome: as of a job.
    """

    id: int
    service_id: str
    job_row: int | None
    group_uuid: str | None
    node_name: str
    sync: str
    bitmap_uuid: str | None
    bitmap_name: str | None
    parent_id: int | None
    chain_id: int
    target_node: str | None
    target_filename: str | None
    size: int
    copied: int
    started_us: int
    ended_us: int | None
    outcome: str
    error: str | None


@writer
async def begin(
    ctx: RequestContext,
    node_name: str,
    sync: str,
    *,
    size: int,
    job_row: int | None = None,
    group_uuid: str | None = None,
    bitmap_uuid: str | None = None,
    bitmap_name: str | None = None,
    target_node: str | None = None,
    target_filename: str | None = None,
) -> int:
    """Store a backup that starts, in the chain of its bitmap; answers with its number.

    :param bitmap_uuid: the bitmap that tells what to copy, or for a full backup the one that notes what is written
        from then on.
    """
    parent = await _parent(ctx, sync, bitmap_uuid)
    row = Backup(
        service_id=own(ctx),
        job_row=job_row,
        group_uuid=group_uuid,
        node_name=node_name,
        sync=sync,
        bitmap_uuid=bitmap_uuid,
        bitmap_name=bitmap_name,
        parent_id=None if parent is None else parent.id,
        chain_id=0 if parent is None else parent.chain_id,
        target_node=target_node,
        target_filename=target_filename,
        size=size,
        copied=0,
        started_us=now_us(),
        outcome=RUNNING,
    )
    session(ctx).add(row)
    await session(ctx).flush()
    if parent is None:
        row.chain_id = row.id
        await session(ctx).flush()
    return row.id


@writer
async def end(
    ctx: RequestContext,
    backup_id: int,
    outcome: str,
    *,
    copied: int = 0,
    error: str | None = None,
    bitmap_moved: bool | None = None,
) -> None:
    """Note how a backup has ended; a completed one is what the next one with its bitmap stands on.

    :param bitmap_moved: the bitmap gave up what was copied (default: if it is completed). If it is not completed, the
        next one stands on none.
    :raises NotFound: there is no such backup.
    """
    row = await _needed(ctx, backup_id)
    row.outcome, row.copied, row.error, row.ended_us = outcome, copied, error, now_us()
    completed = outcome == COMPLETED
    if row.bitmap_uuid is None or not (completed if bitmap_moved is None else bitmap_moved):
        return
    bitmap = await bitmaps.find(ctx, row.bitmap_uuid)
    if bitmap is not None:
        bitmap.last_backup_id = row.id if completed else None


@writer
async def resume_chain(ctx: RequestContext, bitmap_uuid: str, backup_id: int) -> None:
    """Take `bitmaps.end_chain` back, for the bitmap is again what it was; unless the backup has been deleted since."""
    bitmap = await bitmaps.find(ctx, bitmap_uuid)
    if bitmap is not None and await session(ctx).get(Backup, backup_id) is not None:
        bitmap.last_backup_id = backup_id


@writer
async def lose_running(
    ctx: RequestContext, error: str, *, frozen: Collection[str] = (), copied: Mapping[int, int] | None = None
) -> None:
    """Note that this daemon's backups that were running are lost.

    Such a backup may have ended without anybody noting it, and its bitmap given up what was copied; so the next one
    stands on none.

    :param frozen: the bitmaps, by their ids, of which it is known that they have given up nothing.
    :param copied: bytes that are known to have been copied, by the rows of the jobs.
    """
    ours = select(Backup).where(Backup.service_id == own(ctx), Backup.outcome == RUNNING)
    for row in list(await session(ctx).scalars(ours)):
        row.outcome, row.error, row.ended_us = LOST, error, now_us()
        if copied is not None and row.job_row is not None:
            row.copied = copied.get(row.job_row, 0)
        if row.bitmap_uuid is not None and row.bitmap_uuid not in frozen:
            await bitmaps.end_chain(ctx, row.bitmap_uuid)


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    node_name: str | None = None,
    chain_id: int | None = None,
    group_uuid: str | None = None,
    bitmap_name: str | None = None,
    outcome: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> list[BackupRecord]:
    """Backups, newest first.

    :param service_id: of this daemon (default: of all daemons of the database).
    :param since_us: begun at this time or later; `until_us`: before.
    """
    wanted = {
        Backup.service_id: service_id,
        Backup.node_name: node_name,
        Backup.chain_id: chain_id,
        Backup.group_uuid: group_uuid,
        Backup.bitmap_name: bitmap_name,
        Backup.outcome: outcome,
    }
    query = select(Backup).where(*(column == value for column, value in wanted.items() if value is not None))
    if since_us is not None:
        query = query.where(Backup.started_us >= since_us)
    if until_us is not None:
        query = query.where(Backup.started_us < until_us)
    return await page(ctx, BackupRecord, query, Backup.id, after=after, limit=limit)


@reader
async def chain(ctx: RequestContext, backup_id: int) -> list[BackupRecord]:
    """What is needed to restore a backup, itself last: the first of its chain, then each one that stands on it.

    :raises NotFound: there is no such backup.
    """
    row = await session(ctx).get(Backup, backup_id)
    if row is None:
        raise NotFound(f"the catalog knows no backup with the number {backup_id}")
    needed: list[BackupRecord] = []
    in_chain = select(Backup).where(Backup.chain_id == row.chain_id)
    members = {member.id: member for member in await session(ctx).scalars(in_chain)}
    current: Backup | None = row
    while current is not None:
        needed.append(as_record(BackupRecord, current))
        current = None if current.parent_id is None else members[current.parent_id]
    return needed[::-1]


@writer
async def put_backup_metadata(ctx: RequestContext, backup_id: int, values: Mapping[str, str]) -> None:
    """Set metadata of a backup of this daemon.

    :raises NotFound: there is no such backup.
    """
    await _needed(ctx, backup_id)
    await put_metadata(ctx, BackupMetadata, BackupMetadata.backup_id, backup_id, values)


@reader
async def backup_metadata(ctx: RequestContext, backup_ids: list[int]) -> dict[int, dict[str, str]]:
    """Metadata of backups by number; those without have no entry."""
    return await get_metadata(ctx, BackupMetadata, BackupMetadata.backup_id, backup_ids)


async def _parent(ctx: RequestContext, sync: str, bitmap_uuid: str | None) -> Backup | None:
    """The backup that a new one stands on."""
    if sync not in _STANDS_ON_A_PARENT or bitmap_uuid is None:
        return None
    bitmap = await bitmaps.find(ctx, bitmap_uuid)
    if bitmap is None or bitmap.last_backup_id is None:
        return None
    return await session(ctx).get(Backup, bitmap.last_backup_id)


async def _needed(ctx: RequestContext, backup_id: int) -> Backup:
    row = await session(ctx).get(Backup, backup_id)
    if row is None or row.service_id != own(ctx):
        raise NotFound(f"the catalog knows no backup of this daemon with the number {backup_id}")
    return row
