"""Snapshots of disks, inside their images or as overlays. What is deleted stays as history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, Base, now_us, own
from qmpd.catalog.facade import session, writer

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
    """A text under a key of a snapshot; none is written as yet."""

    __tablename__ = "snapshot_metadata"

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


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
