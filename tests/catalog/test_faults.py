"""Databases that are gone, locked, read-only, full or cut off: what is said, what is stored, what goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from qmpd.catalog import events, services, settings
from qmpd.catalog.catalog import Catalog, sqlite_url
from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.events import EventRecord
from qmpd.catalog.facade import reader, session, writer
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from tests.catalog.conftest import register
from tests.postgres import Cluster

TIMEOUT = 300


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path) -> Path:
    """An SQLite database with tables."""
    copy = tmp_path / "state" / "catalog.db"
    copy.parent.mkdir()
    shutil.copyfile(sqlite_template, copy)
    return copy


@pytest.fixture
async def on_sqlite(path: Path) -> AsyncIterator[Catalog]:
    """A catalog in it that does not wait long."""
    catalog = Catalog(sqlite_url(path), service_id="one", time_limit=1.0)
    await catalog.open()
    await register(catalog)
    yield catalog
    await catalog.close()


@pytest.fixture
async def on_postgresql(cluster: Cluster, postgresql_template: str) -> AsyncIterator[tuple[Catalog, str]]:
    """A catalog on PostgreSQL, and the name of its database."""
    name = cluster.new_database(postgresql_template)
    catalog = Catalog(cluster.url(name), service_id="one", time_limit=30.0)
    await catalog.open()
    await register(catalog)
    yield catalog, name
    await catalog.close()


async def refused(catalog: Catalog, words: str) -> None:
    """`open` fails and says why."""
    with pytest.raises(CatalogUnavailable, match=words):
        await catalog.open()
    await catalog.close()


# -- SQLite


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    await refused(Catalog(sqlite_url(tmp_path / "nowhere" / "c.db"), service_id="one"), "No such file or directory")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "c.db").write_text("this is not a database at all, but a text that is long enough to be read\n" * 20)
    await refused(Catalog(sqlite_url(tmp_path / "c.db"), service_id="one"), "not an SQLite database")


async def test_a_database_that_another_process_has_locked(on_sqlite: Catalog, path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogUnavailable, match="locked by another process"):
            await settings.put(on_sqlite.context(), "a", {})
        assert await settings.get(on_sqlite.context(), "a") is None
        await refused(Catalog(sqlite_url(path), service_id="two", time_limit=0.5), "locked by another process|in time")
        other.execute("ROLLBACK")
    await settings.put(on_sqlite.context(), "a", {})


async def test_a_lock_does_not_stop_the_event_loop(on_sqlite: Catalog, path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(settings.put(on_sqlite.context(), "a", {}))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        assert isinstance(waiting.exception(), CatalogUnavailable)


async def test_a_database_that_is_removed(on_sqlite: Catalog, path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(CatalogUnavailable, match="is not there"):
        await settings.put(on_sqlite.context(), "a", {})
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_file(path: Path) -> None:
    path.chmod(0o400)
    await refused(Catalog(sqlite_url(path), service_id="one"), "Permission denied|read-only")


async def test_a_database_that_may_not_be_written(on_sqlite: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has become read-only."""
    ctx = on_sqlite.context()
    with pytest.raises(CatalogUnavailable, match="read-only"):
        async with writer.using(ctx) as db:
            await db.execute(text("PRAGMA query_only = ON"))
            await settings.put(ctx, "a", {})
    await settings.put(on_sqlite.context(), "b", {})


async def test_a_full_disk(on_sqlite: Catalog) -> None:
    ctx = on_sqlite.context()
    with pytest.raises(CatalogUnavailable, match="the disk is full"):
        async with writer.using(ctx) as db:
            await db.execute(text("PRAGMA max_page_count = 1"))
            for number in range(100):
                await settings.put(ctx, f"k{number}", {"text": "x" * 4096})
    assert await settings.get(on_sqlite.context(), "k0") is None
    await settings.put(on_sqlite.context(), "b", {})


async def test_a_lost_table(on_sqlite: Catalog) -> None:
    async with writer.using(on_sqlite.context()) as db:
        await db.execute(text("DROP TABLE settings"))
    with pytest.raises(CatalogUnavailable, match="lost a table"):
        await settings.put(on_sqlite.context(), "a", {})


# -- PostgreSQL


def cut_off(cluster: Cluster, database: str) -> None:
    """End all connections to a database."""
    cluster.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


async def test_a_connection_that_is_cut_in_the_middle(on_postgresql: tuple[Catalog, str], cluster: Cluster) -> None:
    catalog, name = on_postgresql
    ctx = catalog.context()
    with pytest.raises(CatalogUnavailable, match="lost its connection"):
        async with writer.using(ctx):
            await settings.put(ctx, "a", {})
            await asyncio.to_thread(cut_off, cluster, name)
            await settings.put(ctx, "b", {})
    assert await settings.get(catalog.context(), "a") is None


async def test_a_connection_that_is_cut_before_the_commit(
    on_postgresql: tuple[Catalog, str], cluster: Cluster
) -> None:
    catalog, name = on_postgresql
    ctx = catalog.context()
    with pytest.raises(CatalogUnavailable, match="lost its connection"):
        async with writer.using(ctx):
            await settings.put(ctx, "a", {})
            await asyncio.to_thread(cut_off, cluster, name)
    assert await settings.get(catalog.context(), "a") is None


async def test_idle_connections_that_are_cut_do_no_harm(on_postgresql: tuple[Catalog, str], cluster: Cluster) -> None:
    catalog, name = on_postgresql
    for _ in range(3):
        await asyncio.gather(*(settings.get(catalog.context(), "a") for _ in range(4)))
        await asyncio.to_thread(cut_off, cluster, name)
    await settings.put(catalog.context(), "a", {"x": 1})


async def test_a_lock_that_is_held_too_long(cluster: Cluster, postgresql_template: str) -> None:
    name = cluster.new_database(postgresql_template)
    catalog = Catalog(cluster.url(name), service_id="one", time_limit=1.5)
    await catalog.open()
    await register(catalog)
    other = Catalog(cluster.url(name), service_id="one", time_limit=30.0)
    await other.open()
    async with writer.using(other.context()) as db:
        await db.execute(text("LOCK TABLE settings"))
        with pytest.raises(CatalogUnavailable, match=r"locked by another process|in time"):
            await settings.put(catalog.context(), "a", {})
    await settings.put(catalog.context(), "a", {})
    await other.close()
    await catalog.close()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"postgresql://u@/db?host={tmp_path}"
    await refused(Catalog(url, service_id="one"), "cannot be reached: No such file or directory")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://u@127.0.0.1:{unused.getsockname()[1]}/db"
        await refused(Catalog(url, service_id="one"), "cannot be reached: Connection refused")


async def test_a_host_that_nobody_knows() -> None:
    await refused(Catalog("postgresql://u@nowhere.invalid/db", service_id="one"), "cannot be reached: .*[Nn]ame")


async def test_a_server_that_does_not_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db"
        await refused(Catalog(url, service_id="one", time_limit=0.5), "does not answer in time")


async def test_a_database_that_the_server_does_not_have(cluster: Cluster) -> None:
    await refused(Catalog(cluster.url("nonesuch"), service_id="one"), "the database does not exist on the server")


async def test_a_standby_cannot_be_the_primary(cluster: Cluster, postgresql_template: str) -> None:
    await asyncio.to_thread(cluster.catch_up)
    standby = Catalog(cluster.url(postgresql_template, "replica"), service_id="one")
    await standby.open()
    with pytest.raises(CatalogUnavailable, match="read-only"):
        await register(standby)
    await standby.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/x", "PostgreSQL or in an SQLite file"),
        ("sqlite://", "PostgreSQL or in an SQLite file"),
        ("not a url", "no URL of a database"),
    ],
)
def test_a_url_of_something_else(url: str, words: str) -> None:
    with pytest.raises(GenericError, match=words):
        Catalog(url, service_id="one")


def test_a_replica_needs_postgresql(tmp_path: Path) -> None:
    with pytest.raises(GenericError, match="replica"):
        Catalog(sqlite_url(tmp_path / "c.db"), "postgresql://u@h/db", service_id="one")


class Link:
    """A way to a server's socket that can be made to swallow everything."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self.passes = asyncio.Event()
        self.passes.set()

    async def open(self, path: Path) -> None:
        """Listen at `path`."""
        self._listener = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        """Cut all connections."""
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._server)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.passes.wait()
                sink.write(data)
        finally:
            sink.close()


async def test_a_server_that_falls_silent(cluster: Cluster, postgresql_template: str, tmp_path: Path) -> None:
    """As when its host vanishes from the network: nothing waits for ever, and all is well when it is back."""
    name = cluster.new_database(postgresql_template)
    link = Link(cluster.directory / ".s.PGSQL.5432")
    await link.open(tmp_path / ".s.PGSQL.5432")
    catalog = Catalog(f"postgresql://postgres@/{name}?host={tmp_path}", service_id="one", time_limit=0.5)
    await catalog.open()
    await register(catalog)
    link.passes.clear()
    with pytest.raises(CatalogUnavailable, match="in time"):
        await settings.put(catalog.context(), "a", {})
    ctx = catalog.context()
    link.passes.set()
    with pytest.raises(CatalogUnavailable, match="in time"):
        async with writer.using(ctx):
            await settings.put(ctx, "b", {})
            link.passes.clear()
    link.passes.set()
    await settings.put(catalog.context(), "c", {"x": 1})
    assert await settings.get(catalog.context(), "c") == {"x": 1}
    link.passes.clear()
    await catalog.close()
    await link.close()


async def test_a_server_that_is_stopped_and_comes_back(own_cluster: Cluster) -> None:
    catalog = Catalog(own_cluster.url(own_cluster.new_database()), service_id="one")
    await catalog.open()
    await register(catalog)
    ctx = catalog.context()
    with pytest.raises(CatalogUnavailable):
        async with writer.using(ctx):
            await settings.put(ctx, "a", {})
            await asyncio.to_thread(own_cluster.stop, "primary", "immediate")
    with pytest.raises(CatalogUnavailable, match=r"cannot be reached|lost its connection"):
        await settings.get(catalog.context(), "a")
    await asyncio.to_thread(own_cluster.start, "primary")
    assert await settings.get(catalog.context(), "a") is None
    await settings.put(catalog.context(), "a", {})
    await restarted_under_load(own_cluster, catalog)
    await catalog.close()


async def restarted_under_load(cluster: Cluster, catalog: Catalog) -> None:
    """What was said to be stored is stored, what was refused and tried again is stored once."""
    done: list[int] = []
    progress = asyncio.Condition()
    stop = asyncio.Event()
    numbers = itertools.count(1)

    async def client() -> None:
        while not stop.is_set():
            number = next(numbers)
            while True:
                try:
                    await events.append_many(catalog.context(), [EventRecord(number, number, "STOP", {})])
                    break
                except CatalogUnavailable:
                    await asyncio.sleep(0.05)
            async with progress:
                done.append(number)
                progress.notify_all()

    async def more() -> None:
        async with progress:
            wanted = len(done) + 50
            await progress.wait_for(lambda: len(done) >= wanted)

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())
        for mode in ("fast", "immediate"):
            await more()
            await asyncio.to_thread(cluster.stop, "primary", mode)
            await asyncio.to_thread(cluster.start, "primary")
        await more()
        stop.set()
    stored = await events.since(catalog.context(), 0, limit=len(done) + 100)
    assert [event.seq for event in stored] == sorted(done)


# -- both


async def test_an_error_of_the_caller_stays_what_it_is(catalog: Catalog) -> None:
    @writer
    async def command(ctx: RequestContext) -> None:
        await session(ctx).execute(text("SELECT 1"))
        raise ConnectionResetError("of somebody else")

    with pytest.raises(ConnectionResetError, match="of somebody else"):
        await command(catalog.context())
    async with reader.using(catalog.context()):
        assert len(await services.listed(catalog.context())) == 1


def test_nothing_of_a_database_error_is_a_surprise() -> None:
    """What faults say is a sentence with the catalog as its subject."""
    from qmpd.catalog import faults

    reasons: list[Any] = [*faults._POSTGRESQL.values(), *(reason for _, reason in faults._SQLITE)]
    assert all(reason.split()[0] in ("is", "has", "was", "cannot") for reason in reasons)
