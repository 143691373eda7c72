"""What the bundles' tables and functions have in common: types, naming, paging, time.

Times are microseconds since the epoch (`*_us`), sizes bytes. Rows never leave an open transaction; functions return the
bundles' records, which `as_record` makes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    TypeDecorator,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from qmpd.catalog.facade import session

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

Record = TypeVar("Record")
Row = TypeVar("Row", bound="Base")

PAGE = 100
"""How many entries a list has when nobody says how many."""

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class ClientText(TypeDecorator[str]):
    """Text that may come from clients or file names.

    What databases do not take is stored as an escape: NUL, and the halves of surrogate pairs that stand for bytes which
    are no UTF-8. (JSON needs none of it: there they are escapes anyway.)
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text to store for `value`."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Base(DeclarativeBase):
    """All tables of the catalog."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        # SQLite numbers rows only if the column's type is INTEGER.
        int: BigInteger().with_variant(Integer(), "sqlite"),
        str: ClientText(),
        # Not JSONB, which takes less than QMP does, and gives back something else.
        dict[str, Any]: JSON(),
    }


NEVER_AGAIN = {"sqlite_autoincrement": True}
"""Table options: the number of a row that was deleted is not used again, so that pages stay what they are."""


def now_us() -> int:
    """The time, in microseconds since the epoch."""
    return time.time_ns() // 1000


def as_record(record: type[Record], row: Base) -> Record:
    """The `record` (a dataclass) with the values of the row's attributes of the same names."""
    return record(**{field.name: getattr(row, field.name) for field in dataclasses.fields(record)})  # type: ignore[arg-type]


def own(ctx: RequestContext) -> str:
    """The service whose entries are meant."""
    assert ctx.catalog is not None
    return ctx.catalog.service_id


async def page(
    ctx: RequestContext,
    record: type[Record],
    query: Select[Row],
    key: InstrumentedAttribute[int],
    *,
    after: int | None,
    limit: int,
) -> list[Record]:
    """One page of what `query` finds, newest first.

    :param key: the rows' number.
    :param after: the number of the last row of the page before.
    """
    if after is not None:
        query = query.where(key < after)
    rows = await session(ctx).scalars(query.order_by(key.desc()).limit(limit))
    return [as_record(record, row) for row in rows]


async def insert_missing(ctx: RequestContext, table: type[Base], rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows; those whose key is there already are left as they are."""
    if not rows:
        return
    assert ctx.catalog is not None
    insert = sqlite.insert if ctx.catalog.is_sqlite else postgresql.insert
    # Into the table, not the class: rows that become no objects cost the event loop a third.
    target = cast(Table, table.__table__)
    await session(ctx).execute(insert(target).on_conflict_do_nothing(), list(rows))


async def put_metadata(
    ctx: RequestContext, table: type[Any], owner: InstrumentedAttribute[int], owner_id: int, values: Mapping[str, str]
) -> None:
    """Set values by key, and leave other keys as they are."""
    for key, value in values.items():
        await session(ctx).merge(table(**{owner.key: owner_id, "key": key, "value": value}))


async def get_metadata(
    ctx: RequestContext, table: type[Any], owner: InstrumentedAttribute[int], owner_ids: Iterable[int]
) -> dict[int, dict[str, str]]:
    """The values by key of each owner that has any."""
    found: dict[int, dict[str, str]] = {}
    for row in await session(ctx).scalars(select(table).where(owner.in_(list(owner_ids)))):
        found.setdefault(getattr(row, owner.key), {})[row.key] = row.value
    return found
