"""Settings of a daemon that outlive it, such as where its NBD server listens: a JSON object for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import Base, own
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


class Setting(Base):
    """One setting of one daemon."""

    __tablename__ = "settings"

    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


@writer
async def put(ctx: RequestContext, key: str, value: dict[str, Any]) -> None:
    """Set `key`."""
    await session(ctx).merge(Setting(service_id=own(ctx), key=key, value=value))


@writer
async def remove(ctx: RequestContext, key: str) -> None:
    """Forget `key`; it need not be there."""
    await session(ctx).execute(delete(Setting).where(Setting.service_id == own(ctx), Setting.key == key))


@writer
async def get_settled(ctx: RequestContext, key: str) -> dict[str, Any] | None:
    """The value of `key`, when whoever is about to change it has done so or given up."""
    query = select(Setting).where(Setting.service_id == own(ctx), Setting.key == key)
    row = await session(ctx).scalar(query.with_for_update())
    return None if row is None else row.value


@reader.primary
async def get(ctx: RequestContext, key: str) -> dict[str, Any] | None:
    """The value of `key`."""
    row = await session(ctx).get(Setting, (own(ctx), key))
    return None if row is None else row.value
