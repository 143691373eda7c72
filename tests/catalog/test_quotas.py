"""Quotas: what may be taken, when it comes back, and that nobody takes the last piece twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from qmpd.catalog import jobs, quotas, retention
from qmpd.catalog.catalog import Catalog
from qmpd.catalog.errors import NotFound, OverQuota
from qmpd.catalog.facade import reader, writer
from qmpd.catalog.quotas import ALL, DAY_US, UNLIMITED, QuotaCharge, QuotaRecord, Resource
from tests.catalog.conftest import OpenCatalog

JOBS, BYTES, BITMAPS = Resource.JOBS, Resource.BACKUP_BYTES, Resource.BITMAPS
CLIENTS = 50


async def usage(catalog: Catalog, resource: Resource, scope: str = "one") -> QuotaRecord:
    """The limit of a resource, and what is in use."""
    return {(r.scope, r.resource): r for r in await quotas.listed(catalog.context())}[scope, resource]


async def take(catalog: Catalog, **deltas: int) -> None:
    """Reserve and commit."""
    wanted = {Resource(name.replace("_", "-")): delta for name, delta in deltas.items()}
    await quotas.commit(catalog.context(), (await quotas.reserve(catalog.context(), wanted)).values())


async def test_there_is_no_limit_unless_one_is_set(catalog: Catalog) -> None:
    assert {r.limit for r in await quotas.listed(catalog.context())} == {UNLIMITED}
    await take(catalog, jobs=1000, bitmaps=1000, backup_bytes=1 << 50)
    for scope in ("one", ALL):
        assert (await usage(catalog, BYTES, scope)).in_use == 1 << 50
        assert (await usage(catalog, JOBS, scope)).in_use == 1000


async def test_reserve_commit_release(catalog: Catalog) -> None:
    ctx = catalog.context()
    await quotas.set_limit(ctx, JOBS, 3)
    held = await quotas.reserve(ctx, {JOBS: 2, BITMAPS: 0})
    assert set(held) == {JOBS}
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, 3, 0, 2)
    with pytest.raises(OverQuota) as refusal:
        await quotas.reserve(ctx, {JOBS: 2})
    error = refusal.value
    assert (error.resource, error.limit, error.in_use, error.asked) == ("jobs", 3, 2, 2)
    assert "'jobs'" in error.desc and "limit is 3" in error.desc
    await quotas.commit(ctx, held.values())
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, 3, 2, 0)
    await quotas.rollback(ctx, (await quotas.reserve(ctx, {JOBS: 1})).values())
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, 3, 2, 0)
    await quotas.release(ctx, JOBS, 1)
    await quotas.release(ctx, JOBS, 5)
    assert await usage(catalog, JOBS, ALL) == QuotaRecord(ALL, JOBS, UNLIMITED, 0, 0)


async def test_use_in_one_step(catalog: Catalog) -> None:
    ctx = catalog.context()
    await quotas.set_limit(ctx, JOBS, 3)
    held = await quotas.reserve(ctx, {JOBS: 1})
    await quotas.use(ctx, {JOBS: 2, BITMAPS: 1})
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, 3, 2, 1)
    with pytest.raises(OverQuota):
        await quotas.use(ctx, {JOBS: 1, BITMAPS: 1})
    assert (await usage(catalog, BITMAPS)).in_use == 1
    await quotas.rollback(ctx, held.values())
    await quotas.use(ctx, {JOBS: 1})
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, 3, 3, 0)


async def test_all_or_nothing(catalog: Catalog) -> None:
    ctx = catalog.context()
    await quotas.set_limit(ctx, BITMAPS, 1)
    with pytest.raises(OverQuota, match="'bitmaps'"):
        await quotas.reserve(ctx, {JOBS: 1, BITMAPS: 2})
    assert (await usage(catalog, JOBS)).reserved == 0


async def test_a_reservation_is_settled_once(catalog: Catalog) -> None:
    ctx = catalog.context()
    held = (await quotas.reserve(ctx, {JOBS: 1})).values()
    await quotas.commit(ctx, held)
    with pytest.raises(NotFound, match="expired"):
        await quotas.commit(ctx, held)
    await quotas.rollback(ctx, held)
    assert (await usage(catalog, JOBS)).in_use == 1


async def test_what_nobody_settles_comes_back(open_catalog: OpenCatalog) -> None:
    """Also what a daemon that is gone had reserved."""
    one, two = await open_catalog("one"), await open_catalog("two")
    await quotas.set_limit(one.context(), JOBS, 2, scope=ALL)
    await quotas.reserve(two.context(), {JOBS: 1, BITMAPS: 1}, expiry_us=-1)
    expired = await quotas.reserve(one.context(), {JOBS: 1}, expiry_us=-1)
    await quotas.reserve(one.context(), {JOBS: 2})
    assert await usage(one, JOBS, ALL) == QuotaRecord(ALL, JOBS, 2, 0, 2)
    assert (await usage(two, BITMAPS, "two")).reserved == 0
    with pytest.raises(NotFound):
        await quotas.commit(one.context(), expired.values())


async def test_a_limit_for_all_daemons_together(open_catalog: OpenCatalog) -> None:
    one, two = await open_catalog("one"), await open_catalog("two")
    await quotas.set_limit(one.context(), BYTES, 100, scope=ALL)
    await take(one, backup_bytes=60)
    with pytest.raises(OverQuota, match="all daemons"):
        await quotas.reserve(two.context(), {BYTES: 50})
    await take(two, backup_bytes=40)
    assert (await usage(one, BYTES)).in_use == 60
    assert (await usage(two, BYTES, ALL)).in_use == 100


async def test_bytes_come_back_after_a_day(catalog: Catalog) -> None:
    ctx = catalog.context()
    await quotas.set_limit(ctx, BYTES, 100)
    await take(catalog, backup_bytes=70)
    with pytest.raises(OverQuota):
        await quotas.reserve(ctx, {BYTES: 31})
    await quotas.release(ctx, BYTES, 20)
    await take(catalog, backup_bytes=31)
    async with writer.using(ctx) as db:
        await db.execute(update(QuotaCharge).values(time_us=QuotaCharge.time_us - DAY_US))
    assert (await usage(catalog, BYTES)).in_use == 0
    await take(catalog, backup_bytes=100)
    await retention.prune(ctx, keep=10)
    assert (await usage(catalog, BYTES)).in_use == 100


async def test_after_a_start_the_daemon_says_what_it_uses(open_catalog: OpenCatalog) -> None:
    one, two = await open_catalog("one"), await open_catalog("two")
    await take(one, jobs=5)
    await take(two, jobs=2)
    await quotas.reserve(one.context(), {JOBS: 4})
    await quotas.set_in_use(one.context(), JOBS, 1)
    assert await usage(one, JOBS) == QuotaRecord("one", JOBS, UNLIMITED, 1, 0)
    assert await usage(one, JOBS, ALL) == QuotaRecord(ALL, JOBS, UNLIMITED, 3, 0)


async def careless(catalog: Catalog, start: asyncio.Barrier) -> None:
    """What `reserve` is not: look in one transaction, take in the next."""
    ctx = catalog.context()
    async with reader.primary.using(ctx):
        taken = sum(1 for job in await jobs.listed(ctx) if job.outcome == "running")
    await start.wait()
    if taken >= 1:
        raise OverQuota("jobs", 1, taken, 1, "this daemon")
    await jobs.begin(ctx, "j", "backup")


async def careful(catalog: Catalog, start: asyncio.Barrier) -> None:
    """A client that reserves, then takes or gives back."""
    ctx = catalog.context()
    await start.wait()
    async with writer.using(ctx):
        held = await quotas.reserve(ctx, {JOBS: 1})
        await jobs.begin(ctx, "j", "backup")
        await quotas.commit(ctx, held.values())


async def outcomes(clients: list[Any]) -> list[type[Any]]:
    results = await asyncio.gather(*clients, return_exceptions=True)
    return sorted((type(result) for result in results), key=lambda kind: kind.__name__)


async def test_the_race_is_there_in_two_transactions_and_gone_in_one(open_catalog: OpenCatalog) -> None:
    """50 clients of two daemons ask for the last piece."""
    one, two = await open_catalog("one", time_limit=60.0), await open_catalog("two", time_limit=60.0)
    start = asyncio.Barrier(CLIENTS)
    await outcomes([careless(daemon, start) for daemon in (one, two) for _ in range(CLIENTS // 2)])
    assert len(await jobs.running(one.context())) > 1, "the race that reserve avoids was not there"

    await quotas.set_limit(one.context(), JOBS, 7, scope=ALL)
    got = await outcomes([careful(daemon, start) for daemon in (one, two) for _ in range(CLIENTS // 2)])
    assert got == [type(None)] * 7 + [OverQuota] * (CLIENTS - 7)
    assert await usage(one, JOBS, ALL) == QuotaRecord(ALL, JOBS, 7, 7, 0)


async def test_reservations_of_clients_at_once_add_up(open_catalog: OpenCatalog) -> None:
    """Each client reserves, then commits or rolls back in another transaction, several times."""
    catalogs = [await open_catalog(name, time_limit=60.0) for name in ("one", "two")]
    await quotas.set_limit(catalogs[0].context(), BITMAPS, 10, scope=ALL)

    async def client(number: int) -> int:
        catalog, kept = catalogs[number % 2], 0
        for turn in range(3):
            try:
                held = (await quotas.reserve(catalog.context(), {BITMAPS: 1, JOBS: 1})).values()
            except OverQuota:
                continue
            if (number + turn) % 2:
                await quotas.rollback(catalog.context(), held)
            else:
                await quotas.commit(catalog.context(), held)
                kept += 1
        return kept

    kept = sum(await asyncio.gather(*(client(number) for number in range(20))))
    total = await usage(catalogs[0], BITMAPS, ALL)
    assert (total.in_use, total.reserved) == (kept, 0)
    assert 0 < kept <= 10
    shares = [(await usage(catalog, BITMAPS, catalog.service_id)).in_use for catalog in catalogs]
    assert sum(shares) == kept
