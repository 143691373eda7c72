"""Attachments: exports, and the clients that used them. What is removed stays as history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, Base, as_record, now_us, own
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

_THERE = text("deleted_us IS NULL")


class Attachment(Base):
    """An export."""

    __tablename__ = "attachments"
    __table_args__ = (
        Index(
            "uq_attachments_there", "service_id", "export_id", unique=True, sqlite_where=_THERE, postgresql_where=_THERE
        ),
        NEVER_AGAIN,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    export_id: Mapped[str]
    kind: Mapped[str]
    node_name: Mapped[str]
    settings: Mapped[dict[str, Any]]
    origin: Mapped[str]
    position: Mapped[int]
    created_us: Mapped[int]
    deleted_us: Mapped[int | None]


class AttachmentClient(Base):
    """One connection to an export."""

    __tablename__ = "attachment_clients"
    __table_args__ = (NEVER_AGAIN,)

    id: Mapped[int] = mapped_column(primary_key=True)
    attachment_id: Mapped[int] = mapped_column(ForeignKey("attachments.id", ondelete="CASCADE"), index=True)
    address: Mapped[str]
    connected_us: Mapped[int]
    disconnected_us: Mapped[int | None]


@dataclass(frozen=True, slots=True)
class AttachmentRecord:
    """One export.

    :ivar settings: the `BlockExportOptions` that it was made with, as JSON.
    :ivar origin: "client" or "command-line"; only the first are restored.
    """

    id: int
    service_id: str
    export_id: str
    kind: str
    node_name: str
    settings: dict[str, Any]
    origin: str
    position: int
    created_us: int
    deleted_us: int | None


@writer
async def put(
    ctx: RequestContext,
    export_id: str,
    *,
    kind: str,
    node_name: str,
    settings: dict[str, Any],
    position: int,
    origin: str = "client",
) -> int:
    """Store an export, new or changed; answers with its number."""
    row = await _there(ctx, export_id)
    if row is None:
        row = Attachment(service_id=own(ctx), export_id=export_id, created_us=now_us())
        session(ctx).add(row)
    row.kind, row.node_name, row.settings = kind, node_name, settings
    row.origin, row.position = origin, position
    await session(ctx).flush()
    return row.id


@writer
async def remove(ctx: RequestContext, export_id: str) -> bool:
    """Note that an export is no more; False if the catalog did not know it."""
    row = await _there(ctx, export_id)
    if row is None:
        return False
    row.deleted_us = now_us()
    return True


@writer
async def forget_command_line(ctx: RequestContext) -> None:
    """Note that the exports of an earlier run's command line are no more."""
    query = update(Attachment).where(
        Attachment.service_id == own(ctx), Attachment.deleted_us.is_(None), Attachment.origin != "client"
    )
    await session(ctx).execute(query.values(deleted_us=now_us()))


@reader.primary
async def restorable(ctx: RequestContext) -> list[AttachmentRecord]:
    """The exports that a client made and that are there, in the order in which to make them again."""
    query = select(Attachment).where(
        Attachment.service_id == own(ctx), Attachment.deleted_us.is_(None), Attachment.origin == "client"
    )
    rows = await session(ctx).scalars(query.order_by(Attachment.position, Attachment.id))
    return [as_record(AttachmentRecord, row) for row in rows]


@writer
async def connected(ctx: RequestContext, export_id: str, address: str) -> int | None:
    """Note a client of an export; answers with the connection's number.

    None if the catalog does not know the export: who is quick can connect before it is stored.
    """
    row = await _there(ctx, export_id)
    if row is None:
        return None
    client = AttachmentClient(attachment_id=row.id, address=address, connected_us=now_us())
    session(ctx).add(client)
    await session(ctx).flush()
    return client.id


@writer
async def disconnected(ctx: RequestContext, client_id: int) -> None:
    """Note that a client has gone."""
    query = update(AttachmentClient).where(AttachmentClient.id == client_id)
    await session(ctx).execute(query.values(disconnected_us=now_us()))


@writer
async def all_disconnected(ctx: RequestContext) -> None:
    """Note that no client of this daemon is connected: it has just started."""
    ours = select(Attachment.id).where(Attachment.service_id == own(ctx))
    query = update(AttachmentClient).where(
        AttachmentClient.attachment_id.in_(ours), AttachmentClient.disconnected_us.is_(None)
    )
    await session(ctx).execute(query.values(disconnected_us=now_us()))


async def _there(ctx: RequestContext, export_id: str) -> Attachment | None:
    query = select(Attachment).where(
        Attachment.service_id == own(ctx), Attachment.export_id == export_id, Attachment.deleted_us.is_(None)
    )
    return await session(ctx).scalar(query)
