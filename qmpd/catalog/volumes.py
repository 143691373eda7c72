"""Volumes: the nodes of the block graph that clients made, their definitions, and metadata of each.

What is removed stays as history, with the time of its end. A name is unique among those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy import update as sqlalchemy_update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, PAGE, Base, as_record, get_metadata, now_us, own, page, put_metadata
from qmpd.catalog.errors import NotFound
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

_THERE = text("deleted_us IS NULL")


class Volume(Base):
    """A node."""

    __tablename__ = "volumes"
    __table_args__ = (
        Index(
            "uq_volumes_there", "service_id", "node_name", unique=True, sqlite_where=_THERE, postgresql_where=_THERE
        ),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    node_name: Mapped[str]
    driver: Mapped[str]
    definition: Mapped[dict[str, Any]]
    filename: Mapped[str | None]
    size: Mapped[int | None]
    origin: Mapped[str]
    position: Mapped[int]
    created_us: Mapped[int]
    deleted_us: Mapped[int | None]


class VolumeMetadata(Base):
    """A text under a key of a volume."""

    __tablename__ = "volume_metadata"

    volume_id: Mapped[int] = mapped_column(ForeignKey("volumes.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """One node.

    :ivar definition: the `BlockdevOptions` that it was made with, as JSON.
    :ivar origin: "client" or "command-line"; only the first are restored.
    :ivar position: nodes are restored in this order.
    :ivar deleted_us: when it was removed; None if it is there.
    """

    id: int
    service_id: str
    node_name: str
    driver: str
    definition: dict[str, Any]
    filename: str | None
    size: int | None
    origin: str
    position: int
    created_us: int
    deleted_us: int | None


@writer
async def put(
    ctx: RequestContext,
    node_name: str,
    *,
    driver: str,
    definition: dict[str, Any],
    position: int,
    filename: str | None = None,
    size: int | None = None,
    origin: str = "client",
) -> int:
    """Store a node, new or with another definition than before; answers with its number."""
    row = await _there(ctx, node_name)
    if row is None:
        row = Volume(service_id=own(ctx), node_name=node_name, created_us=now_us())
        session(ctx).add(row)
    row.driver, row.definition, row.filename, row.size = driver, definition, filename, size
    row.origin, row.position = origin, position
    await session(ctx).flush()
    return row.id


@writer
async def remove(ctx: RequestContext, node_name: str) -> bool:
    """Note that a node is no more; False if the catalog did not know it."""
    row = await _there(ctx, node_name)
    if row is None:
        return False
    row.deleted_us = now_us()
    return True


@writer
async def forget_command_line(ctx: RequestContext) -> None:
    """Note that the nodes of an earlier run's command line are no more."""
    query = sqlalchemy_update(Volume).where(
        Volume.service_id == own(ctx), Volume.deleted_us.is_(None), Volume.origin != "client"
    )
    await session(ctx).execute(query.values(deleted_us=now_us()))


@reader.primary
async def restorable(ctx: RequestContext) -> list[VolumeRecord]:
    """The nodes that a client made and that are there, in the order in which to make them again."""
    query = select(Volume).where(
        Volume.service_id == own(ctx), Volume.deleted_us.is_(None), Volume.origin == "client"
    )
    rows = await session(ctx).scalars(query.order_by(Volume.position, Volume.id))
    return [as_record(VolumeRecord, row) for row in rows]


@reader
async def listed(
    ctx: RequestContext,
    *,
    service_id: str | None = None,
    node_name: str | None = None,
    deleted: bool | None = False,
    after: int | None = None,
    limit: int = PAGE,
) -> list[VolumeRecord]:
    """Nodes, newest first.

    :param service_id: of this daemon (default: of all daemons of the database).
    :param deleted: those that were removed, those that were not, or with None both.
    """
    query = select(Volume)
    if service_id is not None:
        query = query.where(Volume.service_id == service_id)
    if node_name is not None:
        query = query.where(Volume.node_name == node_name)
    if deleted is not None:
        query = query.where(Volume.deleted_us.is_not(None) if deleted else Volume.deleted_us.is_(None))
    return await page(ctx, VolumeRecord, query, Volume.id, after=after, limit=limit)


@writer
async def put_volume_metadata(ctx: RequestContext, node_name: str, values: Mapping[str, str]) -> None:
    """Set metadata of a node.

    :raises NotFound: there is no such node.
    """
    row = await _needed(ctx, node_name)
    await put_metadata(ctx, VolumeMetadata, VolumeMetadata.volume_id, row.id, values)


@reader
async def volume_metadata(ctx: RequestContext, volume_ids: list[int]) -> dict[int, dict[str, str]]:
    """Metadata of nodes by number; those without have no entry."""
    return await get_metadata(ctx, VolumeMetadata, VolumeMetadata.volume_id, volume_ids)


async def _there(ctx: RequestContext, node_name: str) -> Volume | None:
    query = select(Volume).where(
        Volume.service_id == own(ctx), Volume.node_name == node_name, Volume.deleted_us.is_(None)
    )
    return await session(ctx).scalar(query)


async def _needed(ctx: RequestContext, node_name: str) -> Volume:
    row = await _there(ctx, node_name)
    if row is None:
        raise NotFound(f"the catalog knows no node {node_name!r}")
    return row
