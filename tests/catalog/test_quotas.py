"""Quotas: what may be taken, when it comes back, and that nobody takes the last piece twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from qmpd.catalog import jobs, quotas, retention
from qmpd.catalog.base import now_us
from qmpd.catalog.catalog import Catalog
from qmpd.catalog.errors import OverQuota
from qmpd.catalog.facade import reader, writer
from qmpd.catalog.quotas import ALL, DAY_US, UNLIMITED, QuotaCharge, QuotaRecord, Resource
from qmpd.state.journal import Journal
from qmpd.state.recorder import StateRecorder
from qmpd.transaction.outcome import Demand
from tests.catalog.conftest import OpenCatalog

JOBS, BYTES, BITMAPS = Resource.JOBS, Resource.BACKUP_BYTES, Resource.BITMAPS
CLIENTS = 50


async def usage(catalog: Catalog, resource: Resource, scope: str = "one") -> QuotaRecord:
    """The limit of a resource, and what is in use."""
    return {(r.scope, r.resource): r for r in await quotas.listed(catalog.context())}[scope, resource]


async def take(catalog: Catalog, **deltas: int) -> None:
    """Reserve and use."""
    wanted = {Resource(name.replace("_", "-")): delta for name, delta in deltas.items()}
    held = await quotas.reserve(catalog.context(), wanted)
    await quotas.use(catalog.context(), wanted, instead_of=held.values())


async def test_there_is_no_limit_unless_one_is_set(catalog: Catalog) -> None:
    assert {r.limit for r in await quotas.listed(catalog.context())} == {UNLIMITED}
    await take(catalog, jobs=1000, bitmaps=1000, backup_bytes=1 << 50)
    for scope in ("one", ALL):
        assert (await usage(catalog, BYTES, scope)).in_use == 1 << 50
        assert (await usage(catalog, JOBS, scope)).in_use == 1000


async def test_reserve_use_release(catalog: Catalog) -> None:
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
    await quotas.use(ctx, {JOBS: 2}, instead_of=held.values())
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
    held = (await quotas.reserve(ctx, {JOBS: 3})).values()
    await quotas.use(ctx, {JOBS: 1}, instead_of=held)
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, UNLIMITED, 1, 0)
    await quotas.rollback(ctx, held)
    await quotas.use(ctx, {}, instead_of=held)
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, UNLIMITED, 1, 0)


async def test_more_than_was_reserved(catalog: Catalog) -> None:
    """It is refused if the limit does not allow it, and what was reserved is still there."""
    ctx = catalog.context()
    await quotas.set_limit(ctx, BYTES, 100)
    held = (await quotas.reserve(ctx, {JOBS: 1, BYTES: 10})).values()
    with pytest.raises(OverQuota):
        await quotas.use(ctx, {JOBS: 1}, by_job={1: 60, 2: 41}, instead_of=held)
    assert await usage(catalog, BYTES) == QuotaRecord("one", BYTES, 100, 0, 10)
    await quotas.use(ctx, {JOBS: 1}, by_job={1: 60, 2: 40}, instead_of=held)
    assert await usage(catalog, BYTES) == QuotaRecord("one", BYTES, 100, 100, 0)
    assert await usage(catalog, JOBS) == QuotaRecord("one", JOBS, UNLIMITED, 1, 0)


async def test_a_job_is_charged_with_what_it_copied(catalog: Catalog) -> None:
    """At the time when it began, so that nothing is given back that does not count any more."""
    ctx = catalog.context()
    await quotas.use(ctx, {}, by_job={1: 100, 2: 100})
    await quotas.set_charge(ctx, 1, 30)
    assert (await usage(catalog, BYTES)).in_use == 130
    async with writer.using(ctx) as db:
        await db.execute(update(QuotaCharge).values(time_us=QuotaCharge.time_us - DAY_US))
    await quotas.set_charge(ctx, 2, 0)
    assert (await usage(catalog, BYTES)).in_use == 0


async def test_sums_stay_numbers(catalog: Catalog) -> None:
    """Disks may claim sizes whose sum no database adds up; also what an older version has stored counts."""
    ctx = catalog.context()
    await quotas.use(ctx, {}, by_job=dict.fromkeys(range(9), 1 << 60))
    assert (await usage(catalog, BYTES)).in_use == 9 * quotas.MOST
    for _ in range(3):
        await quotas.reserve(ctx, {BYTES: (1 << 63) - 1})
    async with writer.using(ctx) as db:
        await db.execute(update(QuotaCharge).values(amount=(1 << 60) + 1))
        db.add(QuotaCharge(service_id="one", resource=BYTES.value, amount=-(1 << 62) - 3, time_us=now_us()))
    assert (await usage(catalog, BYTES)).in_use == 5 * (1 << 60) + 6
    async with writer.using(ctx) as db:
        await db.execute(update(QuotaCharge).values(amount=(1 << 63) - 1))
    assert (await usage(catalog, BYTES)).in_use == (1 << 63) - 1


async def test_whether_anything_is_limited(open_catalog: OpenCatalog) -> None:
    one, two = await open_catalog("one"), await open_catalog("two")
    await quotas.set_limit(one.context(), JOBS, 2)
    assert await quotas.is_any_set(one.context()) and not await quotas.is_any_set(two.context())
    await quotas.set_limit(one.context(), JOBS, UNLIMITED)
    assert not await quotas.is_any_set(one.context())
    await quotas.set_limit(one.context(), JOBS, 2, scope=ALL)
    assert await quotas.is_any_set(two.context())


async def test_what_nobody_settles_comes_back(open_catalog: OpenCatalog) -> None:
    """Also what a daemon that is gone had reserved."""
    one, two = await open_catalog("one"), await open_catalog("two")
    await quotas.set_limit(one.context(), JOBS, 2, scope=ALL)
    await quotas.reserve(two.context(), {JOBS: 1, BITMAPS: 1}, expiry_us=-1)
    expired = await quotas.reserve(one.context(), {JOBS: 1}, expiry_us=-1)
    await quotas.reserve(one.context(), {JOBS: 2})
    assert await usage(one, JOBS, ALL) == QuotaRecord(ALL, JOBS, 2, 0, 2)
    assert (await usage(two, BITMAPS, "two")).reserved == 0
    with pytest.raises(OverQuota):
        await quotas.use(one.context(), {JOBS: 1}, instead_of=expired.values())


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
    await take(catalog, backup_bytes=30)
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


async def test_who_goes_away_leaves_no_reservation(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is there before its taker knows."""
    journal = Journal(catalog)
    parts: Any = SimpleNamespace()
    recorder = StateRecorder(catalog, journal, parts, parts, parts, parts)
    recorder.limited = True
    env: Any = SimpleNamespace(context=catalog.context())
    reserve = quotas.reserve

    async def cut_off(*args: Any) -> dict[Resource, str]:
        held = await reserve(*args)
        client.cancel()
        return held

    monkeypatch.setattr(quotas, "reserve", cut_off)
    client = asyncio.ensure_future(recorder.begin(env, Demand(bitmaps=1)))
    with pytest.raises(asyncio.CancelledError):
        await client
    assert (await usage(catalog, BITMAPS)).reserved == 1
    storing = asyncio.ensure_future(journal.run())
    assert await journal.flush(60)
    storing.cancel()
    assert (await usage(catalog, BITMAPS)).reserved == 0


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
        await quotas.use(ctx, {JOBS: 1}, instead_of=held.values())


async def outcomes(clients: list[Any]) -> list[type[Any]]:
    results = await asyncio.gather(*clients, return_exceptions=True)
    return sorted((type(result) for result in results), key=lambda kind: kind.__name__)


async def test_the_race_is_there_in_two_transactions_and_gone_in_one(open_catalog: OpenCatalog) -> None:
    """50 clients of two daemons ask for the last piece."""
    one, two = await open_catalog("one", time_limit=60.0), await open_catalog("two", time_limit=60.0)
    start = asyncio.Barrier(CLIENTS)
    await outcomes([careless(daemon, start) for daemon in (one, two) for _ in range(CLIENTS // 2)])
    running = await jobs.listed(one.context(), service_id="one", outcome="running")
    assert len(running) > 1, "the race that reserve avoids was not there"

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
                await quotas.use(catalog.context(), {BITMAPS: 1, JOBS: 1}, instead_of=held)
                kept += 1
        return kept

    kept = sum(await asyncio.gather(*(client(number) for number in range(20))))
    total = await usage(catalogs[0], BITMAPS, ALL)
    assert (total.in_use, total.reserved) == (kept, 0)
    assert 0 < kept <= 10
    shares = [(await usage(catalog, BITMAPS, catalog.service_id)).in_use for catalog in catalogs]
    assert sum(shares) == kept
