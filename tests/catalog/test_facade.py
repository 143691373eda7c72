"""Transactions: who joins whom, what is refused, what is left after a failure or a cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from qmpd.catalog import services, settings
from qmpd.catalog.catalog import Catalog, Statement
from qmpd.catalog.errors import CatalogUnavailable, NoCatalog, TransactionMisuse
from qmpd.catalog.facade import reader, session, writer
from qmpd.catalog.settings import Setting
from qmpd.monitor.context import RequestContext
from tests.catalog.conftest import OpenCatalog

TIMEOUT = 60
LONG = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000) SELECT count(*) FROM n"
"""A statement that takes a while."""


class Oops(Exception):
    """What the tests throw."""


async def stored(catalog: Catalog) -> set[str]:
    """The keys of all settings."""
    async with reader.primary.using(catalog.context()) as db:
        return set(await db.scalars(select(Setting.key)))


async def idle(catalog: Catalog) -> bool:
    """Whether no connection is in use, and a writer can have its turn."""
    await settings.put(catalog.context(), "idle", {})
    await settings.remove(catalog.context(), "idle")
    if catalog.writer_gate is not None:
        return not catalog.writer_gate.locked() and await asyncio.to_thread(_only_the_kept_one_is_open)
    engines = await catalog._start_engines()
    return [engine.pool.checkedout() for engine in engines] == [0, 0]  # type: ignore[attr-defined]


def _only_the_kept_one_is_open() -> bool:
    """Each connection to SQLite has a thread; wait for those that end."""
    open_ones = [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]
    for thread in open_ones[1:]:
        thread.join(TIMEOUT)
    return [thread.is_alive() for thread in open_ones] == [True] + [False] * (len(open_ones) - 1)


async def test_a_call_alone_is_a_transaction_of_its_own(catalog: Catalog) -> None:
    before = catalog.counters.transactions
    await settings.put(catalog.context(), "a", {"x": 1})
    assert await settings.get(catalog.context(), "a") == {"x": 1}
    assert catalog.counters.transactions == before + 2


async def test_calls_join_what_is_open(catalog: Catalog) -> None:
    ctx = catalog.context()
    before = catalog.counters.transactions
    async with writer.using(ctx) as outer:
        await settings.put(ctx, "a", {"x": 1})
        assert session(ctx) is outer
        assert await settings.get(ctx, "a") == {"x": 1}
        assert len(await services.listed(ctx)) == 1
    assert catalog.counters.transactions == before + 1


async def test_one_that_fails_undoes_all(catalog: Catalog) -> None:
    ctx = catalog.context()
    with pytest.raises(Oops):
        async with writer.using(ctx):
            await settings.put(ctx, "a", {})
            await settings.put(ctx, "b", {})
            raise Oops
    assert await stored(catalog) == set()
    assert await idle(catalog)


async def test_a_savepoint_fails_alone(catalog: Catalog) -> None:
    ctx = catalog.context()
    async with writer.using(ctx):
        await settings.put(ctx, "a", {})
        with pytest.raises(Oops):
            async with writer.savepoint.using(ctx):
                await settings.put(ctx, "b", {})
                raise Oops
        async with writer.savepoint.using(ctx):
            await settings.put(ctx, "c", {})
    assert await stored(catalog) == {"a", "c"}


async def test_a_savepoint_with_nothing_around_it_is_a_transaction(catalog: Catalog) -> None:
    ctx = catalog.context()
    async with writer.savepoint.using(ctx):
        await settings.put(ctx, "a", {})
    assert await stored(catalog) == {"a"}


async def test_an_independent_reader_sees_what_is_stored(catalog: Catalog) -> None:
    ctx = catalog.context()
    await settings.put(ctx, "a", {})
    async with writer.using(ctx) as outer:
        await settings.put(ctx, "b", {})
        async with reader.independent.using(ctx) as inner:
            assert inner is not outer
            assert set(await inner.scalars(select(Setting.key))) == {"a"}
        assert session(ctx) is outer
    assert await stored(catalog) == {"a", "b"}


async def test_an_independent_writer_is_stored_whatever_becomes_of_the_rest(catalog: Catalog) -> None:
    ctx = catalog.context()
    if catalog.is_sqlite:
        with pytest.raises(TransactionMisuse, match="one writer at a time"):
            async with writer.using(ctx), writer.independent.using(ctx):
                pass
        async with reader.using(ctx), writer.independent.using(ctx):
            await settings.put(ctx, "a", {})
    else:
        with pytest.raises(Oops):
            async with writer.using(ctx):
                async with writer.independent.using(ctx):
                    await settings.put(ctx, "a", {})
                raise Oops
    assert await stored(catalog) == {"a"}
    assert await idle(catalog)


async def test_a_writer_within_a_reader_is_refused(catalog: Catalog) -> None:
    for access in (reader, reader.primary):
        ctx = catalog.context()
        with pytest.raises(TransactionMisuse, match="writer within reader"):
            async with access.using(ctx):
                await settings.put(ctx, "a", {})
    assert await stored(catalog) == set()


async def test_the_newest_state_within_a_reader_is_refused(catalog: Catalog) -> None:
    ctx = catalog.context()
    with pytest.raises(TransactionMisuse, match=r"reader\.primary within reader"):
        async with reader.using(ctx):
            await settings.get(ctx, "a")
    async with reader.primary.using(ctx):
        assert await services.listed(ctx)


@pytest.mark.parametrize("access", [reader, reader.primary], ids=["reader", "primary"])
async def test_a_reader_cannot_write(catalog: Catalog, access: Any) -> None:
    with pytest.raises(TransactionMisuse, match="tried to write"):
        async with access.using(catalog.context()) as db:
            await db.execute(text("DELETE FROM services"))
    with pytest.raises(TransactionMisuse, match="tried to write"):
        async with access.using(catalog.context()) as db:
            db.add(Setting(service_id="one", key="a", value={}))
            await db.flush()
    assert await stored(catalog) == set()


@pytest.mark.parametrize("access", [reader, reader.primary], ids=["reader", "primary"])
async def test_what_a_reader_changes_is_not_dropped_silently(catalog: Catalog, access: Any) -> None:
    await settings.put(catalog.context(), "a", {})
    with pytest.raises(TransactionMisuse, match="has changed something"):
        async with access.using(catalog.context()) as db:
            db.add(Setting(service_id="one", key="b", value={}))
    with pytest.raises(TransactionMisuse, match="has changed something"):
        async with access.using(catalog.context()) as db:
            row = await db.get(Setting, ("one", "a"))
            row.value = {"x": 1}
    assert await settings.get(catalog.context(), "a") == {}


async def test_no_catalog_no_transaction() -> None:
    with pytest.raises(NoCatalog, match="--state-dir"):
        await settings.get(RequestContext(1, 1, None, 0.0), "a")


async def test_a_function_that_is_not_marked_has_no_session(catalog: Catalog) -> None:
    with pytest.raises(TransactionMisuse, match="mark the function"):
        session(catalog.context())


async def test_a_task_does_not_take_part_in_its_makers_transaction(catalog: Catalog) -> None:
    ctx = catalog.context()
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        await settings.put(ctx, "later", {})

    async with writer.using(ctx):
        await settings.put(ctx, "a", {})
        with pytest.raises(TransactionMisuse, match="another task"):
            await asyncio.create_task(settings.put(ctx, "b", {}))
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    await task
    assert await stored(catalog) == {"a", "later"}


async def test_a_task_that_is_made_in_a_transaction_can_have_its_own(catalog: Catalog) -> None:
    """With a context of its own it waits for its turn, also where there is one writer at a time."""
    ctx = catalog.context()
    async with writer.using(ctx):
        await settings.put(ctx, "a", {})
        task = asyncio.create_task(settings.put(catalog.context(), "b", {}))
        await asyncio.sleep(0)
        assert not task.done()
    await task
    assert await stored(catalog) == {"a", "b"}
    assert await idle(catalog)


async def test_tasks_with_one_context_have_transactions_of_their_own(catalog: Catalog) -> None:
    ctx = catalog.context()
    await asyncio.gather(*(settings.put(ctx, f"k{number}", {}) for number in range(10)))
    assert len(await stored(catalog)) == 10


async def test_a_hundred_commands_at_once_are_kept_apart(catalog: Catalog) -> None:
    async def command(number: int) -> None:
        ctx = catalog.context()
        async with writer.using(ctx) as own:
            await settings.put(ctx, f"{number}", {"n": number})
            await asyncio.sleep(0)
            assert session(ctx) is own
            assert await settings.get(ctx, f"{number}") == {"n": number}
            if number % 2:
                raise Oops

    results = await asyncio.gather(*(command(number) for number in range(100)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Oops] * 50
    assert await stored(catalog) == {str(number) for number in range(0, 100, 2)}
    assert await idle(catalog)


@pytest.mark.parametrize("mode", [reader, reader.primary, writer], ids=["reader", "primary", "writer"])
async def test_who_is_cancelled_leaves_nothing_behind(catalog: Catalog, mode: Any) -> None:
    inside = asyncio.Event()

    async def command() -> None:
        async with mode.using(catalog.context()) as db:
            if mode is writer:
                await db.execute(text("DELETE FROM services"))
            else:
                await db.execute(text("SELECT 1"))
            inside.set()
            await asyncio.Event().wait()

    for _ in range(20):
        inside.clear()
        task = asyncio.create_task(command())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await idle(catalog)
    assert len(await services.listed(catalog.context())) == 1


@pytest.mark.parametrize("mode", [reader, reader.primary, writer], ids=["reader", "primary", "writer"])
async def test_cancelled_while_the_database_works(open_catalog: OpenCatalog, mode: Any) -> None:
    """Who asked is told that it was cancelled, and nothing stays locked."""
    at_work = asyncio.Event()
    catalog = await open_catalog(on_statement=lambda entry: at_work.set() if entry.text.startswith("WITH") else None)

    async def command() -> None:
        async with mode.using(catalog.context()) as db:
            if mode is writer:
                await db.execute(text("DELETE FROM services"))
            await db.execute(text(LONG))

    for _ in range(5):
        at_work.clear()
        task = asyncio.create_task(command())
        await at_work.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await settings.put(catalog.context(), "a", {})
    assert len(await services.listed(catalog.context())) == 1
    assert await idle(catalog)


async def test_cancelled_at_any_moment(catalog: Catalog) -> None:
    """A writer is cancelled after each number of steps of the event loop: all or nothing, and nothing is left."""
    outcomes = set()
    for steps in range(60):
        await settings.remove(catalog.context(), "a")
        await settings.remove(catalog.context(), "b")

        async def command() -> None:
            ctx = catalog.context()
            async with writer.using(ctx):
                await settings.put(ctx, "a", {})
                await settings.put(ctx, "b", {})

        task = asyncio.create_task(command())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        keys = await stored(catalog)
        assert keys in (set(), {"a", "b"}), steps
        outcomes.add(len(keys))
    assert 0 in outcomes
    assert await idle(catalog)


async def test_a_transaction_has_a_time_limit(open_catalog: OpenCatalog) -> None:
    catalog = await open_catalog(time_limit=1.0)
    await idle(catalog)
    ctx = catalog.context()
    with pytest.raises(CatalogUnavailable, match="in time"):
        async with writer.using(ctx):
            await settings.put(ctx, "a", {})
            await asyncio.Event().wait()
    assert await stored(catalog) == set()
    assert await idle(catalog)


async def test_a_trace_of_what_a_command_does(open_catalog: OpenCatalog) -> None:
    """One command that calls four functions uses one connection and one transaction."""
    trace: list[Statement] = []
    catalog = await open_catalog(on_statement=trace.append)
    trace.clear()

    @writer
    async def command(ctx: RequestContext) -> None:
        await settings.put(ctx, "a", {"x": 1})
        await settings.get(ctx, "a")
        await services.heartbeat(ctx)
        await services.listed(ctx)

    await command(catalog.context())
    assert len({entry.connection for entry in trace}) == 1
    assert {entry.role for entry in trace} == {"primary"}
    turns = [entry.text for entry in trace if entry.text in ("BEGIN", "COMMIT", "ROLLBACK")]
    assert turns == ["BEGIN", "COMMIT"]
    assert {entry.text.split()[0] for entry in trace[1:-1]} == {"SELECT", "INSERT", "UPDATE"}


async def test_the_database_file_is_private(tmp_path: Path) -> None:
    from qmpd.catalog.catalog import sqlite_url

    catalog = Catalog(sqlite_url(tmp_path / "c.db"), service_id="one")
    await catalog.open()
    await catalog.close()
    assert (tmp_path / "c.db").stat().st_mode & 0o777 == 0o600
