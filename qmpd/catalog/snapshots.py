"""Snapshots of disks, inside their images or as overlays, and metadata of each. What is deleted stays as history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, PAGE, Base, get_metadata, now_us, own, page, put_metadata
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


class Snapshot(Base):
    """A snapshot."""

    __tablename__ = "snapshots"
    __table_args__ = (NEVER_AGAIN,)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), index=True)
    kind: Mapped[str]
    node_name: Mapped[str]
    name: Mapped[str | None]
    overlay: Mapped[str | None]
    created_us: Mapped[int]
    deleted_us: Mapped[int | None]


class SnapshotMetadata(Base):
    """A text under a key of a snapshot."""

    __tablename__ = "snapshot_metadata"

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """One snapshot.

    :ivar kind: "internal" or "external".
    :ivar node_name: the disk.
    :ivar name: of an internal one.
    :ivar overlay: of an external one, the node that takes the writes since.
    """

    id: int
    service_id: str
    kind: str
    node_name: str
    name: str | None
    overlay: str | None
    created_us: int
    deleted_us: int | None


@writer
async def add(
    ctx: RequestContext, kind: str, node_name: str, *, name: str | None = None, overlay: str | None = None
) -> int:
    """Store a snapshot; answers with its number."""
    row = Snapshot(
        service_id=own(ctx), kind=kind, node_name=node_name, name=name, overlay=overlay, created_us=now_us()
    )
    session(ctx).add(row)
    await session(ctx).flush()
    return row.id


@writer
async def remove(ctx: RequestContext, node_name: str, name: str) -> bool:
    """Note that an internal snapshot is no more; False if the catalog did not know it."""
    query = select(Snapshot).where(
        Snapshot.service_id == own(ctx),
        Snapshot.kind == "internal",
        Snapshot.node_name == node_name,
        Snapshot.name == name,
        Snapshot.deleted_us.is_(None),
    )
    rows = list(await session(ctx).scalars(query))
    for row in rows:
        row.deleted_us = now_us()
    return bool(rows)


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    node_name: str | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> list[SnapshotRecord]:
    """Snapshots that are there, newest first.

    :param service_id: of this daemon (default: of all daemons of the database).
    """
    query = select(Snapshot).where(Snapshot.deleted_us.is_(None))
    if service_id is not None:
        query = query.where(Snapshot.service_id == service_id)
    if node_name is not None:
        query = query.where(Snapshot.node_name == node_name)
    return await page(ctx, SnapshotRecord, query, Snapshot.id, after=after, limit=limit)


@writer
async def put_snapshot_metadata(ctx: RequestContext, snapshot_id: int, values: Mapping[str, str]) -> None:
    """Set metadata of a snapshot."""
    await put_metadata(ctx, SnapshotMetadata, SnapshotMetadata.snapshot_id, snapshot_id, values)


@reader
async def snapshot_metadata(ctx: RequestContext, snapshot_ids: list[int]) -> dict[int, dict[str, str]]:
    """Metadata of snapshots by number; those without have no entry."""
    return await get_metadata(ctx, SnapshotMetadata, SnapshotMetadata.snapshot_id, snapshot_ids)
