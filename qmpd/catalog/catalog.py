"""One daemon's way to one database: the engines behind the facade, how they are set up, opened and closed.

oslo.db's factory makes two engines, and on both backends they differ in what they may do:

* **primary** writes. On SQLite its transactions begin with `BEGIN IMMEDIATE`, so that two writers cannot both read
  first and then stand in each other's way, and `writer_gate` lets the writers of this daemon through in turn,
  since SQLite's own waiting is a lottery.
* **replica** reads, and cannot write: `query_only` on SQLite, `default_transaction_read_only` on PostgreSQL. Without
  a replica it reads from the primary's database; then it serves those that need the newest state, too.

oslo.db opens a connection to SQLite for each transaction. That costs about a millisecond; but whoever closes the last
connection to a database in WAL mode carries the log over into the file, which costs ten. So one connection is kept.

Nothing here blocks the event loop: SQLite works in threads of its own. oslo.db's test of the connection at start, which
waits and tries again, is left out; `open` tries once, with a time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_db.sqlalchemy import asyncio_facade
from oslo_db.sqlalchemy import engines as oslo_engines
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.util.concurrency import greenlet_spawn, in_greenlet

from qmpd.catalog import migrations
from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.facade import Access, Mode, Transaction
from qmpd.catalog.faults import connect_fault, translated
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext

TIME_LIMIT = 10.0
"""Seconds that a transaction of a command may take."""

MIGRATION_LIMIT = 300.0
"""Seconds that a database may take to become a newer one."""

FILE_NAME = "catalog.sqlite"
"""The database in a state directory."""

POOL_SIZE = 5
POOL_OVERFLOW = 10


@dataclass(frozen=True, slots=True)
class Statement:
    """What went to the database.

    :ivar connection: which connection, numbered from 1 by the order in which they were opened.
    :ivar role: "primary" or "replica": the engine.
    :ivar text: a statement, or BEGIN, COMMIT or ROLLBACK.
    """

    connection: int
    role: str
    text: str


@dataclass(slots=True)
class Counters:
    """What was done since the catalog was opened."""

    connections: int = 0
    transactions: int = 0


def state_url(directory: Path) -> str:
    """The URL of the database in a state directory."""
    return sqlite_url(directory / FILE_NAME)


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database in `path`."""
    return URL.create("sqlite+aiosqlite", database=str(path.absolute())).render_as_string()


class Catalog:
    """The way to the database at `url`.

    :param url: `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://...` (a plain `postgresql://` will do).
    :param replica_url: a PostgreSQL standby of the same database, for readers.
    :param service_id: whose entries the functions read and write: the daemon's row in `services`.
    :param time_limit: seconds that one transaction may take. (What others have locked, and servers that do not answer,
        are not waited for that long if it is more than `TIME_LIMIT`.)
    :param on_statement: is told of all that goes to the database.
    :raises GenericError: a URL that is none, or of another database.
    """

    def __init__(
        self,
        url: str,
        replica_url: str | None = None,
        *,
        service_id: str,
        time_limit: float = TIME_LIMIT,
        on_statement: Callable[[Statement], None] | None = None,
    ) -> None:
        self.url = _vetted(url)
        self.service_id = service_id
        self.time_limit = time_limit
        self.answer_limit = min(time_limit, TIME_LIMIT)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.counters = Counters()
        self.writer_gate = asyncio.Lock() if self.is_sqlite else None
        self.opened: ContextVar[Transaction | None] = ContextVar("opened", default=None)
        self._file = Path(self.url.database or "")
        self._replica_url = None if replica_url is None else _vetted(replica_url)
        if self._replica_url is not None and (self.is_sqlite or self._replica_url.get_backend_name() == "sqlite"):
            raise GenericError("a replica of the catalog needs PostgreSQL, for both URLs")
        self._on_statement = on_statement
        self._managers: dict[Access, Any] = {}
        self._roles = iter(("primary", "replica"))
        self._must_exist = False
        self._keeper: AsyncConnection | None = None
        self._root = asyncio_facade.transaction_context()
        self._root.configure(
            connection=self.url,
            slave_connection=self._replica_url or self.url,
            synchronous_reader=self._replica_url is not None,
            on_engine_create=[self._set_up],
            max_retries=0,
            thread_checkin=False,
            **self._engine_options(),
        )

    def _engine_options(self) -> dict[str, object]:
        if self.is_sqlite:
            return {"sqlite_fk": True}
        return {"max_pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW, "pool_timeout": self.time_limit}

    def context(self) -> RequestContext:
        """A context for the daemon's own work; for each piece of work its own."""
        return RequestContext(0, 0, None, time.time(), None, self)

    def manager(self, access: Access) -> Any:
        """oslo.db's manager for a kind of access."""
        manager = self._managers.get(access)
        if manager is None:
            manager = self._managers[access] = self._make_manager(access)
        return manager

    async def make_read_only(self, session: AsyncSession) -> None:
        """Let a reader of the newest state change nothing, where it shares the writers' engine."""
        if self._replica_url is not None:
            await session.connection(execution_options={"postgresql_readonly": True})

    async def open(self) -> None:
        """Reach the database, made if there is none, and make its schema what this version needs.

        :raises CatalogUnavailable: it cannot be reached or used.
        :raises WrongVersion: a newer version of the program has made it.
        """
        if self.is_sqlite:
            _create_private(self._file)
        async with _in_our_words():
            async with asyncio.timeout(self.answer_limit):
                primary, replica = await self._start_engines()
                async with replica.connect() as connection:
                    await connection.execute(text("SELECT 1"))
            async with asyncio.timeout(MIGRATION_LIMIT), primary.begin() as connection:
                await connection.run_sync(migrations.upgrade)
            await self._stay(replica)

    async def open_as_it_is(self) -> str | None:
        """Reach the database and leave it alone; answers with its version, None for an empty one.

        :raises CatalogUnavailable: it cannot be reached, or is not there.
        """
        self._must_exist = True
        async with _in_our_words(), asyncio.timeout(self.answer_limit):
            _, replica = await self._start_engines()
            async with replica.connect() as connection:
                version = await connection.run_sync(migrations.read_version)
            await self._stay(replica)
            return version

    async def _stay(self, replica: AsyncEngine) -> None:
        """Keep a connection to SQLite, and from now on make no new database."""
        self._must_exist = True
        if self.is_sqlite:
            self._keeper = await replica.connect()
            await self._keeper.run_sync(migrations.read_version)
            await self._keeper.rollback()

    async def close(self) -> None:
        """Close all connections; those to a server that does not answer are left to the operating system."""
        keeper, self._keeper = self._keeper, None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.answer_limit):
                if keeper is not None:
                    await keeper.close()
                for engine in await self._start_engines():
                    await engine.dispose()

    async def _start_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        primary: AsyncEngine = await greenlet_spawn(self._root.writer.get_engine)
        replica: AsyncEngine = self._root.reader.get_engine()
        return primary, replica

    def _make_manager(self, access: Access) -> Any:
        match access.mode:
            case Mode.READER:
                manager = self._root.reader.async_
            case Mode.PRIMARY:
                manager = self._root.reader
            case Mode.WRITER:
                manager = self._root.writer
        if access.is_independent:
            return manager.independent
        return manager.savepoint if access.has_savepoint else manager

    # -- what an engine is taught

    def _set_up(self, engine: AsyncEngine) -> None:
        """Called by oslo.db for each engine it makes: the primary, then the replica."""
        role = next(self._roles)
        target = engine.sync_engine
        event.listen(target, "do_connect", self._connect_sqlite if self.is_sqlite else _PostgresConnect(role, self))
        event.listen(target, "connect", self._number)
        if self.is_sqlite:
            event.listen(target, "connect", _set_up_sqlite_writer if role == "primary" else _set_up_sqlite_reader)
            event.listen(target, "invalidate", _roll_back_given_up)
            _leave_given_up_alone(target)
            if role == "primary":
                event.listen(target, "before_cursor_execute", _begin_immediate, retval=True)
        if self._on_statement is not None:
            _Tracer(role, self._on_statement).listen(target)

    def _number(self, dbapi_connection: Any, record: Any) -> None:
        self.counters.connections += 1
        record.info["number"] = self.counters.connections

    def _connect_sqlite(self, dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        if self._must_exist and not self._file.exists():
            raise CatalogUnavailable(f"is not there: there is no file {str(self._file)!r}")
        parameters["timeout"] = self.answer_limit / 2
        try:
            return dialect.connect(*arguments, **parameters)
        except Exception as error:
            raise connect_fault(error, str(self._file)) from error


@contextlib.asynccontextmanager
async def _in_our_words() -> AsyncIterator[None]:
    """What the database does wrong within the block, in our words."""
    try:
        yield
    except TimeoutError as error:
        raise CatalogUnavailable("does not answer in time") from error
    except Exception as error:
        found = translated(error, reading=False)
        if found is None:
            raise
        raise found from error


class _PostgresConnect:
    """Opens connections to PostgreSQL: with limits, and for the replica without the right to write."""

    def __init__(self, role: str, catalog: Catalog) -> None:
        self._timeout = catalog.answer_limit
        self._settings = {
            "application_name": f"qmpd {catalog.service_id}",
            "jit": "off",
            "lock_timeout": str(int(catalog.answer_limit * 800)),
            "idle_in_transaction_session_timeout": str(int(catalog.time_limit * 4000)),
            "default_transaction_read_only": "off" if role == "primary" else "on",
        }

    def __call__(self, dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        parameters.pop("client_encoding", None)
        parameters["timeout"] = self._timeout
        parameters["server_settings"] = self._settings
        try:
            return dialect.connect(*arguments, **parameters)
        except Exception as error:
            place = f"{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"
            raise connect_fault(error, place) from error


class _Tracer:
    """Tells somebody of all that goes through an engine."""

    def __init__(self, role: str, tell: Callable[[Statement], None]) -> None:
        self._role = role
        self._tell = tell

    def listen(self, target: Any) -> None:
        """Begin to tell."""
        event.listen(target, "before_cursor_execute", self._statement)
        for name, word in (("begin", "BEGIN"), ("commit", "COMMIT"), ("rollback", "ROLLBACK")):
            event.listen(target, name, self._turn(word))

    def _turn(self, word: str) -> Callable[[Any], None]:
        def turn(connection: Any) -> None:
            if not connection.invalidated:
                self._tell(Statement(connection.info["number"], self._role, word))

        return turn

    def _statement(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if not statement.startswith("BEGIN"):
            self._tell(Statement(connection.info["number"], self._role, statement))


def _begin_immediate(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    """Turns the plain BEGIN that oslo.db sends into one that takes the write lock."""
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters


def _roll_back_given_up(dbapi_connection: Any, record: Any, error: BaseException | None) -> None:
    """Let go of what a connection has locked whose statement was cancelled.

    The statement runs on in its thread. Closing alone does not end it, nor its transaction, while somebody still holds
    its cursor, and a traceback may.
    """
    if in_greenlet():
        # Whatever is wrong with it, it is closed next.
        with contextlib.suppress(Exception):
            dbapi_connection.rollback()


def _leave_given_up_alone(target: Any) -> None:
    """Keep oslo.db from taking notes on a connection that was given up.

    When a transaction is rolled back it notes so in the connection, and fails if there is none any more. Then neither
    the rollback nor whatever caused it (a cancellation, say) comes to its end.
    """
    for listener in list(target.dispatch.rollback):
        if listener.__module__ == oslo_engines.__name__:
            event.remove(target, "rollback", listener)
            event.listen(target, "rollback", _IfConnected(listener))


class _IfConnected:
    """Calls a listener for connections that are still there."""

    def __init__(self, listener: Callable[[Any], None]) -> None:
        self._listener = listener

    def __call__(self, connection: Any) -> None:
        if not connection.invalidated:
            self._listener(connection)


def _set_up_sqlite_writer(dbapi_connection: Any, record: Any) -> None:
    _pragmas(dbapi_connection, "journal_mode = WAL", "synchronous = FULL")


def _set_up_sqlite_reader(dbapi_connection: Any, record: Any) -> None:
    _pragmas(dbapi_connection, "query_only = ON")


def _pragmas(dbapi_connection: Any, *settings: str) -> None:
    cursor = dbapi_connection.cursor()
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _vetted(url: str) -> URL:
    """`url`, with the driver that is used for its database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise GenericError(f"{url!r} is no URL of a database; as postgresql://USER@HOST/DATABASE") from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    name = drivers.get(parsed.get_backend_name())
    if name is None or (name == "sqlite+aiosqlite" and parsed.database in (None, "", ":memory:")):
        raise GenericError(f"the catalog can be in PostgreSQL or in an SQLite file, not in {url!r}")
    if name == "sqlite+aiosqlite":
        return parsed.set(drivername=name)
    # Or else oslo.db gives SQLAlchemy an encoding, which this driver does not know: it is always UTF-8.
    return parsed.set(drivername=name).update_query_dict({"client_encoding": "utf8"})


def _create_private(path: Path) -> None:
    """Make the file `path` if there is none, so that nobody but its owner may read it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise connect_fault(error, str(path)) from error
