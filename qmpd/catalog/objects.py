"""User objects that clients made, such as throttle groups, with what is needed to make them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, Base, as_record, now_us, own
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


class UserObject(Base):
    """An object."""

    __tablename__ = "objects"
    __table_args__ = (UniqueConstraint("service_id", "object_id"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    object_id: Mapped[str]
    qom_type: Mapped[str]
    properties: Mapped[dict[str, Any]]
    position: Mapped[int]
    created_us: Mapped[int]


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object; `position` is the order in which objects are made again."""

    object_id: str
    qom_type: str
    properties: dict[str, Any]
    position: int
    created_us: int


@writer
async def put(
    ctx: RequestContext, object_id: str, *, qom_type: str, properties: dict[str, Any], position: int
) -> None:
    """Store an object, new or changed."""
    row = await _get(ctx, object_id)
    if row is None:
        row = UserObject(service_id=own(ctx), object_id=object_id, created_us=now_us())
        session(ctx).add(row)
    row.qom_type, row.properties, row.position = qom_type, properties, position
    await session(ctx).flush()


@writer
async def remove(ctx: RequestContext, object_id: str) -> None:
    """Forget an object; it need not be there."""
    query = delete(UserObject).where(UserObject.service_id == own(ctx), UserObject.object_id == object_id)
    await session(ctx).execute(query)


@reader.primary
async def restorable(ctx: RequestContext) -> list[ObjectRecord]:
    """All objects of this daemon, in the order in which to make them again."""
    query = select(UserObject).where(UserObject.service_id == own(ctx))
    rows = await session(ctx).scalars(query.order_by(UserObject.position, UserObject.id))
    return [as_record(ObjectRecord, row) for row in rows]


async def _get(ctx: RequestContext, object_id: str) -> UserObject | None:
    query = select(UserObject).where(UserObject.service_id == own(ctx), UserObject.object_id == object_id)
    return await session(ctx).scalar(query)
