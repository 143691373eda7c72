"""Quotas: how much of a resource one daemon, or all daemons of the database together, may use.

Reading what is in use and then taking more of it in two transactions lets two callers take the last piece. `reserve`
does both under a lock on the rows of what is in use: row locks on PostgreSQL, the write lock on SQLite. What was
reserved is used (`use`) or rolled back when it is known how much is needed; a reservation that nobody settles
expires, and is given back by whoever reserves next.

`jobs` and `bitmaps` are counted; `backup-bytes` are used up, and come back a day after the job that used them began. A
job is charged with what it has to copy at most, and when it ends with what it has copied.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, delete, func, select, tuple_, update
from sqlalchemy.orm import Mapped, mapped_column

from qmpd.catalog.base import NEVER_AGAIN, Base, insert_missing, now_us, own
from qmpd.catalog.errors import OverQuota
from qmpd.catalog.facade import reader, session, writer

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext

ALL = "*"
"""The scope of all daemons together."""

UNLIMITED = -1
DAY_US = 24 * 3600 * 1_000_000
EXPIRY_US = 15 * 60 * 1_000_000

MOST = 1 << 50
"""What is asked for beyond this (a disk may say that it has 2**60 bytes) counts no more, so that sums stay numbers."""
_LARGEST = (1 << 63) - 1
_HALF = 1 << 32
_NOBODY: Mapping[int, int] = MappingProxyType({})

Key = tuple[str, str]
"""Scope and resource."""


class Resource(StrEnum):
    """What can be limited: jobs at a time, bytes backed up within a day, bitmaps."""

    JOBS = "jobs"
    BACKUP_BYTES = "backup-bytes"
    BITMAPS = "bitmaps"


_USED_UP = frozenset({Resource.BACKUP_BYTES})


class Quota(Base):
    """A limit; without a row there is none."""

    __tablename__ = "quotas"

    scope: Mapped[str] = mapped_column(primary_key=True)
    resource: Mapped[str] = mapped_column(primary_key=True)
    hard_limit: Mapped[int]


class QuotaUsage(Base):
    """What is in use; its row is the lock."""

    __tablename__ = "quota_usages"

    scope: Mapped[str] = mapped_column(primary_key=True)
    resource: Mapped[str] = mapped_column(primary_key=True)
    in_use: Mapped[int]
    reserved: Mapped[int]


class QuotaCharge(Base):
    """A piece of what is used up and comes back after a day.

    :ivar job_row: the job that it is for; it may be gone from the catalog.
    """

    __tablename__ = "quota_charges"
    __table_args__ = (Index("ix_quota_charges_time_us", "resource", "time_us"), NEVER_AGAIN)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    resource: Mapped[str]
    amount: Mapped[int]
    time_us: Mapped[int]
    job_row: Mapped[int | None] = mapped_column(index=True)


class Reservation(Base):
    """What somebody is about to use."""

    __tablename__ = "reservations"

    uuid: Mapped[str] = mapped_column(primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    resource: Mapped[str]
    delta: Mapped[int]
    created_us: Mapped[int]
    expires_us: Mapped[int] = mapped_column(index=True)


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    """One limit and how much of it is used.

    :ivar scope: a daemon's id, or `ALL`.
    :ivar limit: `UNLIMITED` if there is none.
    """

    scope: str
    resource: Resource
    limit: int
    in_use: int
    reserved: int


@writer
async def set_limit(ctx: RequestContext, resource: Resource, limit: int, *, scope: str | None = None) -> None:
    """Set a limit; what is in use beyond it stays.

    :param limit: `UNLIMITED` for none.
    :param scope: a daemon's id or `ALL` (default: this daemon).
    """
    await session(ctx).merge(Quota(scope=scope or own(ctx), resource=resource.value, hard_limit=limit))


@writer
async def reserve(
    ctx: RequestContext, deltas: Mapping[Resource, int], *, expiry_us: int = EXPIRY_US
) -> dict[Resource, str]:
    """Take what is asked for, all or nothing; answers with a reservation for each resource.

    :param deltas: how much more of what; not negative.
    :param expiry_us: after so long the reservations count for nothing.
    :raises OverQuota: a limit stands in the way.
    """
    now = now_us()
    wanted = _bounded(deltas)
    for usage, delta in await _admit(ctx, wanted, now):
        usage.reserved += delta
    reservations = {resource: str(uuid.uuid4()) for resource in wanted}
    for resource, delta in wanted.items():
        session(ctx).add(
            Reservation(
                uuid=reservations[resource],
                service_id=own(ctx),
                resource=resource.value,
                delta=delta,
                created_us=now,
                expires_us=now + expiry_us,
            )
        )
    await session(ctx).flush()
    return reservations


@writer
async def use(
    ctx: RequestContext,
    deltas: Mapping[Resource, int],
    *,
    by_job: Mapping[int, int] = _NOBODY,
    instead_of: Iterable[str] = (),
) -> None:
    """Take and use what is asked for, all or nothing, in one step.

    :param by_job: backup-bytes that certain jobs are about to use, by their rows: see `set_charge`.
    :param instead_of: what was reserved for it before; such reservations are settled, or have expired.
    :raises OverQuota: a limit stands in the way.
    """
    now = now_us()
    shares: list[tuple[int | None, int]] = [(None, deltas.get(Resource.BACKUP_BYTES, 0)), *by_job.items()]
    wanted = _bounded({**deltas, Resource.BACKUP_BYTES: sum(amount for _, amount in shares)})
    reserved = await _take(ctx, list(instead_of))
    usages = {(usage.scope, usage.resource): usage for usage, _ in await _admit(ctx, wanted, now, reserved)}
    for resource, delta in wanted.items():
        if resource not in _USED_UP:
            _count(ctx, usages, resource, delta)
    for job_row, amount in shares:
        if amount or job_row is not None:
            _charge(ctx, job_row, min(amount, MOST), now)
    await session(ctx).flush()


@writer
async def set_charge(ctx: RequestContext, job_row: int, amount: int) -> None:
    """Say how many backup-bytes a job has really used; that counts from the time when it began."""
    query = update(QuotaCharge).where(QuotaCharge.job_row == job_row, QuotaCharge.service_id == own(ctx))
    await session(ctx).execute(query.values(amount=min(amount, MOST)))


@writer
async def rollback(ctx: RequestContext, reservations: Iterable[str]) -> None:
    """What was reserved is not needed; those that have expired do no harm."""
    rows = await _take(ctx, list(reservations))
    usages = await _lock(ctx, _keys(ctx, {Resource(row.resource) for row in rows}))
    for row in rows:
        _unreserve(usages, row)
    await session(ctx).flush()


@writer
async def release(ctx: RequestContext, resource: Resource, amount: int) -> None:
    """So much of a counted resource is not in use any more."""
    usages = await _lock(ctx, _keys(ctx, {resource}))
    _count(ctx, usages, resource, -min(amount, usages[own(ctx), resource.value].in_use))
    await session(ctx).flush()


@writer
async def set_in_use(ctx: RequestContext, resource: Resource, amount: int) -> None:
    """Correct what this daemon uses of a counted resource: after a start, when only it knows.

    Reservations of its last run are given back.
    """
    old = select(Reservation.uuid).where(Reservation.service_id == own(ctx), Reservation.resource == resource.value)
    await rollback(ctx, list(await session(ctx).scalars(old)))
    usages = await _lock(ctx, _keys(ctx, {resource}))
    _count(ctx, usages, resource, amount - usages[own(ctx), resource.value].in_use)
    await session(ctx).flush()


@reader
async def listed(ctx: RequestContext) -> list[QuotaRecord]:
    """The limits of this daemon and of all daemons together, and what is in use."""
    keys = [(scope, resource.value) for scope in (own(ctx), ALL) for resource in Resource]
    usages = {(row.scope, row.resource): row for row in await session(ctx).scalars(select(QuotaUsage))}
    limits = await _limits(ctx, keys)
    now = now_us()
    found = []
    for scope, resource in keys:
        usage = usages.get((scope, resource)) or QuotaUsage(scope=scope, resource=resource, in_use=0, reserved=0)
        in_use = await _in_use(ctx, usage, now)
        limit = limits.get((scope, resource), UNLIMITED)
        found.append(QuotaRecord(scope, Resource(resource), limit, in_use, usage.reserved))
    return found


@reader.primary
async def is_any_set(ctx: RequestContext) -> bool:
    """Whether anything is limited for this daemon; a replica may not know what has just been limited."""
    query = select(Quota.resource).where(Quota.scope.in_((own(ctx), ALL)), Quota.hard_limit != UNLIMITED)
    return await session(ctx).scalar(query.limit(1)) is not None


@writer
async def forget_charges(ctx: RequestContext) -> None:
    """Delete this daemon's charges that count no more."""
    old = delete(QuotaCharge).where(QuotaCharge.service_id == own(ctx), QuotaCharge.time_us < now_us() - DAY_US)
    await session(ctx).execute(old)


async def _admit(
    ctx: RequestContext, wanted: Mapping[Resource, int], now: int, taken: Sequence[Reservation] = ()
) -> list[tuple[QuotaUsage, int]]:
    """The locked rows of what is wanted, with how much of each, if the limits allow it.

    :param taken: reservations that are given up for it.
    :raises OverQuota: one stands in the way.
    """
    usages = await _lock(ctx, _keys(ctx, {*wanted, *(Resource(row.resource) for row in taken)}), expired_before=now)
    for row in taken:
        _unreserve(usages, row)
    limits = await _limits(ctx, usages)
    admitted = []
    for (scope, resource), usage in usages.items():
        delta = wanted.get(Resource(resource), 0)
        limit = limits.get((scope, resource), UNLIMITED)
        if not delta or scope not in (own(ctx), ALL):
            continue
        if limit != UNLIMITED:
            used = usage.reserved + await _in_use(ctx, usage, now)
            if used + delta > limit:
                raise OverQuota(resource, limit, used, delta, "all daemons" if scope == ALL else "this daemon")
        admitted.append((usage, delta))
    return admitted


def _keys(ctx: RequestContext, resources: Iterable[Resource]) -> set[Key]:
    return {(scope, resource.value) for resource in resources for scope in (own(ctx), ALL)}


async def _lock(
    ctx: RequestContext, keys: set[Key], *, expired_before: int | None = None
) -> dict[Key, QuotaUsage]:
    """The rows of `keys`, made if need be, and locked in an order that all callers keep to.

    :param expired_before: give back all reservations that expired before this time, and lock what that needs.
    """
    expired: Sequence[Reservation] = ()
    if expired_before is not None:
        old = select(Reservation).where(Reservation.expires_us < expired_before)
        expired = list(await session(ctx).scalars(old.with_for_update(skip_locked=True)))
        keys = keys | {(scope, row.resource) for row in expired for scope in (row.service_id, ALL)}
    ordered = sorted(keys)
    await insert_missing(
        ctx, QuotaUsage, [{"scope": s, "resource": r, "in_use": 0, "reserved": 0} for s, r in ordered]
    )
    query = select(QuotaUsage).where(tuple_(QuotaUsage.scope, QuotaUsage.resource).in_(ordered))
    query = query.order_by(QuotaUsage.scope, QuotaUsage.resource).with_for_update()
    rows = await session(ctx).scalars(query, execution_options={"populate_existing": True})
    usages = {(row.scope, row.resource): row for row in rows}
    for row in expired:
        _unreserve(usages, row)
        await session(ctx).delete(row)
    await session(ctx).flush()
    return usages


def _unreserve(usages: Mapping[Key, QuotaUsage], row: Reservation) -> None:
    for scope in (row.service_id, ALL):
        usages[scope, row.resource].reserved -= row.delta


async def _limits(ctx: RequestContext, keys: Iterable[Key]) -> dict[Key, int]:
    query = select(Quota).where(tuple_(Quota.scope, Quota.resource).in_(list(keys)))
    return {(row.scope, row.resource): row.hard_limit for row in await session(ctx).scalars(query)}


async def _in_use(ctx: RequestContext, usage: QuotaUsage, now: int) -> int:
    """What is in use, without what is reserved."""
    if usage.resource not in _USED_UP:
        return usage.in_use
    # In two parts, neither of which can go beyond what SQLite adds up.
    high, low = QuotaCharge.amount // _HALF, QuotaCharge.amount % _HALF
    query = select(func.sum(high), func.sum(low)).where(
        QuotaCharge.resource == usage.resource, QuotaCharge.time_us > now - DAY_US
    )
    if usage.scope != ALL:
        query = query.where(QuotaCharge.service_id == usage.scope)
    sums = (await session(ctx).execute(query)).one()
    return min(int(sums[0] or 0) * _HALF + int(sums[1] or 0), _LARGEST)


def _count(ctx: RequestContext, usages: Mapping[Key, QuotaUsage], resource: Resource, amount: int) -> None:
    """Add to what is in use; the rows are locked."""
    for scope in (own(ctx), ALL):
        usages[scope, resource.value].in_use += amount


def _charge(ctx: RequestContext, job_row: int | None, amount: int, now: int) -> None:
    resource = Resource.BACKUP_BYTES.value
    charge = QuotaCharge(service_id=own(ctx), resource=resource, amount=amount, time_us=now, job_row=job_row)
    session(ctx).add(charge)


def _bounded(deltas: Mapping[Resource, int]) -> dict[Resource, int]:
    """What is asked for of each resource, as far as it counts."""
    return {resource: min(delta, MOST) for resource, delta in deltas.items() if delta}


async def _take(ctx: RequestContext, reservations: Sequence[str]) -> list[Reservation]:
    """Delete reservations of this daemon; answers with those that were there."""
    query = select(Reservation).where(Reservation.uuid.in_(reservations), Reservation.service_id == own(ctx))
    rows = list(await session(ctx).scalars(query.with_for_update()))
    for row in rows:
        await session(ctx).delete(row)
    return rows
