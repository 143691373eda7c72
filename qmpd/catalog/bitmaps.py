"""Dirty bitmaps: what there is, where its bits are kept, and which backup used it last.

The bits themselves are never in the database. What is removed stays as history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy import update as sqlalchemy_update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, Base, as_record, now_us, own
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

_THERE = text("removed_us IS NULL")


class Bitmap(Base):
    """A bitmap."""

    __tablename__ = "bitmaps"
    __table_args__ = (
        Index("ix_bitmaps_there", "service_id", sqlite_where=_THERE, postgresql_where=_THERE),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    node_name: Mapped[str]
    image: Mapped[str | None]
    name: Mapped[str]
    granularity: Mapped[int]
    length: Mapped[int]
    recording: Mapped[bool]
    persistent: Mapped[bool]
    inconsistent: Mapped[bool]
    storage: Mapped[str]
    bits_file: Mapped[str | None]
    image_mtime_ns: Mapped[int | None]
    last_backup_id: Mapped[int | None] = mapped_column(ForeignKey("backups.id", ondelete="SET NULL"))
    created_us: Mapped[int]
    removed_us: Mapped[int | None]


@dataclass(frozen=True, slots=True)
class BitmapRecord:
    """One bitmap.

    :ivar image: a key for the image that it tracks, whatever its node is called.
    :ivar storage: "state" (a file in the state directory), "image" (qcow2 keeps it) or "memory".
    :ivar bits_file: the file in the state directory.
    :ivar image_mtime_ns: the image's time of change when its bits were last known to be true.
    :ivar last_backup_id: the last completed backup that used it: the next one's parent.
    """

    id: int
    uuid: str
    service_id: str
    node_name: str
    image: str | None
    name: str
    granularity: int
    length: int
    recording: bool
    persistent: bool
    inconsistent: bool
    storage: str
    bits_file: str | None
    image_mtime_ns: int | None
    last_backup_id: int | None
    created_us: int
    removed_us: int | None


@writer
async def add(
    ctx: RequestContext,
    uuid: str,
    node_name: str,
    name: str,
    *,
    granularity: int,
    length: int,
    image: str | None = None,
    recording: bool = True,
    persistent: bool = False,
    storage: str = "memory",
    bits_file: str | None = None,
) -> None:
    """Store a new bitmap. One that the catalog knows already, there or not, is left as it is."""
    if await find(ctx, uuid) is not None:
        return
    session(ctx).add(
        Bitmap(
            uuid=uuid,
            service_id=own(ctx),
            node_name=node_name,
            image=image,
            name=name,
            granularity=granularity,
            length=length,
            recording=recording,
            persistent=persistent,
            inconsistent=False,
            storage=storage,
            bits_file=bits_file,
            created_us=now_us(),
        )
    )
    await session(ctx).flush()


@writer
async def update(
    ctx: RequestContext,
    uuid: str,
    *,
    node_name: str | None = None,
    image: str | None = None,
    length: int | None = None,
    recording: bool | None = None,
    persistent: bool | None = None,
    inconsistent: bool | None = None,
    storage: str | None = None,
    bits_file: str | None = None,
    image_mtime_ns: int | None = None,
    is_there: bool = False,
) -> None:
    """Change of a bitmap what is given.

    :param is_there: it is there, even if it was noted that it is no more.

    :raises NotFound: there is no such bitmap.
    """
    changes = {
        "node_name": node_name,
        "image": image,
        "length": length,
        "recording": recording,
        "persistent": persistent,
        "inconsistent": inconsistent,
        "storage": storage,
        "bits_file": bits_file,
        "image_mtime_ns": image_mtime_ns,
    }
    row = await _needed(ctx, uuid)
    for name, value in changes.items():
        if value is not None:
            setattr(row, name, value)
    if is_there:
        row.removed_us = None


@writer
async def remove(ctx: RequestContext, uuid: str) -> bool:
    """Note that a bitmap is no more; False if the catalog did not know it."""
    row = await find(ctx, uuid)
    if row is None or row.removed_us is not None:
        return False
    row.removed_us = now_us()
    return True


@writer
async def forget_transient(ctx: RequestContext) -> None:
    """Note that the bitmaps of an earlier run that were in memory only are no more."""
    query = sqlalchemy_update(Bitmap).where(
        Bitmap.service_id == own(ctx), Bitmap.removed_us.is_(None), Bitmap.persistent.is_(False)
    )
    await session(ctx).execute(query.values(removed_us=now_us()))


@reader.primary
async def restorable(ctx: RequestContext) -> list[BitmapRecord]:
    """This daemon's persistent bitmaps that are there, oldest first."""
    query = select(Bitmap).where(
        Bitmap.service_id == own(ctx), Bitmap.removed_us.is_(None), Bitmap.persistent.is_(True)
    )
    return [as_record(BitmapRecord, row) for row in await session(ctx).scalars(query.order_by(Bitmap.id))]


@writer
async def end_chain(ctx: RequestContext, uuid: str) -> int | None:
    """Let the next backup with a bitmap stand on none, for it does not tell all that has changed since the last.

    :returns: the backup that it would have stood on.
    """
    row = await find(ctx, uuid)
    if row is None:
        return None
    last, row.last_backup_id = row.last_backup_id, None
    return last


async def find(ctx: RequestContext, uuid: str) -> Bitmap | None:
    """The row of a bitmap of this daemon, for the bundles within the open transaction."""
    return await session(ctx).scalar(select(Bitmap).where(Bitmap.uuid == uuid, Bitmap.service_id == own(ctx)))


async def _needed(ctx: RequestContext, uuid: str) -> Bitmap:
    row = await find(ctx, uuid)
    if row is None:
        raise NotFound(f"the catalog knows no bitmap {uuid!r}")
    return row
