"""A replica: readers are served by it, and by nothing else; those that need the newest state are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from qmpd.catalog import services, settings
from qmpd.catalog.catalog import Catalog, Statement
from qmpd.catalog.errors import TransactionMisuse
from qmpd.catalog.facade import reader, writer
from tests.catalog.conftest import register
from tests.postgres import Cluster


@pytest.fixture
async def traced(cluster: Cluster, postgresql_template: str) -> AsyncIterator[tuple[Catalog, list[Statement]]]:
    """A catalog with a replica, and what goes to either."""
    name = cluster.new_database(postgresql_template)
    await asyncio.to_thread(cluster.catch_up)
    trace: list[Statement] = []
    catalog = Catalog(cluster.url(name), cluster.url(name, "replica"), service_id="one", on_statement=trace.append)
    await catalog.open()
    await register(catalog)
    await settings.put(catalog.context(), "a", {"x": 1})
    await asyncio.to_thread(cluster.catch_up)
    trace.clear()
    yield catalog, trace
    await catalog.close()


async def test_readers_on_the_replica_only(traced: tuple[Catalog, list[Statement]]) -> None:
    catalog, trace = traced
    ctx = catalog.context()
    async with reader.using(ctx) as db:
        assert len(await services.listed(ctx)) == 1
        assert await db.scalar(text("SELECT pg_is_in_recovery()"))
    assert {entry.role for entry in trace} == {"replica"}
    assert len({entry.connection for entry in trace}) == 1
    assert [entry.text for entry in trace if len(entry.text.split()) == 1] == ["BEGIN", "ROLLBACK"]


async def test_writers_and_those_that_need_the_newest_state_on_the_primary(
    traced: tuple[Catalog, list[Statement]],
) -> None:
    catalog, trace = traced
    await settings.put(catalog.context(), "a", {"x": 2})
    assert await settings.get(catalog.context(), "a") == {"x": 2}
    ctx = catalog.context()
    async with writer.using(ctx):
        await settings.put(ctx, "b", {})
        assert len(await services.listed(ctx)) == 1
    assert {entry.role for entry in trace} == {"primary"}


@pytest.mark.parametrize("access", [reader, reader.primary], ids=["replica", "primary"])
async def test_nobody_writes_in_a_reader(traced: tuple[Catalog, list[Statement]], access: type[reader]) -> None:
    catalog, _ = traced
    for _ in range(3):
        with pytest.raises(TransactionMisuse, match="tried to write"):
            async with access.using(catalog.context()) as db:
                await db.execute(text("DELETE FROM settings"))
        await settings.put(catalog.context(), "a", {})
    assert await settings.get(catalog.context(), "a") == {}
