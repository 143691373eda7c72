"""Transactions that callers need not know of: `@reader` and `@writer`.

A function of the catalog is marked with one of them and takes a `RequestContext` first. Called where the context has
a transaction open it joins it; otherwise it opens one and ends it. A caller makes several calls one transaction
by opening one around them: `async with writer.using(ctx):`. Modifiers:

* `reader` may be served by a replica, `reader.primary` must see the newest state, `writer` changes something;
* `.independent` opens another transaction whatever is open, `.savepoint` can fail without the rest failing.

oslo.db's engine facade does the work, and refuses what cannot be: a writer within a reader, the newest state
within a transaction that reads from a replica. The `Catalog` of the context has the engines, so nothing here has a
state. Three things are added to what oslo.db does:

* **A transaction belongs to the task that opened it.** oslo.db hangs it on the context with a `ContextVar`, which
  tasks inherit when they are made: two tasks would share one session, and a context variable for each context would
  stay in a task that lives long. Here the context is handed a plain holder for each transaction, and what was
  opened is found along `Catalog.opened`. A task that comes with the transaction of the one that made it is refused;
  once that is over, it opens its own.
* **The end of a transaction is not interrupted.** It runs in a task of its own, since a cancelled `COMMIT` would
  leave nobody knowing what was stored, and a cancelled `ROLLBACK` a connection that nobody gives back.
* **All of it has a time limit**, and faults come in our words.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from enum import Enum
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from qmpd.catalog.errors import CatalogUnavailable, NoCatalog, TransactionMisuse
from qmpd.catalog.faults import translated

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog
    from qmpd.monitor.context import RequestContext

P = ParamSpec("P")
R = TypeVar("R")


class Mode(Enum):
    """What a transaction is for."""

    READER = "reader"
    PRIMARY = "reader.primary"
    WRITER = "writer"


@dataclass(eq=False, slots=True)
class Transaction:
    """A transaction that somebody opened.

    :ivar holder: what oslo.db hangs the transaction on, its `current`.
    :ivar outer: the one within which it was opened, on any context.
    """

    ctx: RequestContext
    task: asyncio.Task[Any] | None
    mode: Mode
    outer: Transaction | None
    holder: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(current=None))
    session: AsyncSession | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """A kind of access to the catalog: a decorator, and a block with `using`."""

    mode: Mode
    is_independent: bool = False
    has_savepoint: bool = False

    @property
    def independent(self) -> Access:
        """Open another transaction, whatever is open. (SQLite has one writer at a time: no writer within a writer.)"""
        return replace(self, is_independent=True, has_savepoint=False)

    @property
    def savepoint(self) -> Access:
        """What fails within is undone, without the transaction that is open around it."""
        return replace(self, has_savepoint=True, is_independent=False)

    @property
    def primary(self) -> Access:
        """Read the newest state, never a replica."""
        if self.mode is Mode.WRITER:
            raise TransactionMisuse("a writer works on the primary anyway")
        return replace(self, mode=Mode.PRIMARY)

    def using(self, ctx: RequestContext) -> Scope:
        """A block with this access: `async with writer.using(ctx) as session:`."""
        return Scope(self, ctx)

    def __call__(
        self, function: Callable[Concatenate[RequestContext, P], Coroutine[Any, Any, R]]
    ) -> Callable[Concatenate[RequestContext, P], Coroutine[Any, Any, R]]:
        """Mark a function `(ctx, ...)`.

        :raises NoCatalog: when called with a context of a daemon without one.
        :raises CatalogUnavailable: when called and the database fails.
        :raises TransactionMisuse: when called within a transaction that does not go together with it.
        """

        @functools.wraps(function)
        async def within(ctx: RequestContext, /, *args: P.args, **kwargs: P.kwargs) -> R:
            async with Scope(self, ctx):
                return await function(ctx, *args, **kwargs)

        return within


reader = Access(Mode.READER)
writer = Access(Mode.WRITER)


def session(ctx: RequestContext) -> AsyncSession:
    """The session of the transaction that `ctx` has open in this task, for the functions marked above."""
    catalog = ctx.catalog
    found = None if catalog is None else _find(catalog, ctx)
    if found is None or found.session is None:
        raise TransactionMisuse("no transaction is open: mark the function @reader or @writer")
    return found.session


class Scope:
    """One block in a transaction, its own or one that it joins. Made by `Access.using`; used once."""

    __slots__ = ("_access", "_catalog", "_ctx", "_gate", "_inner", "_owned", "_timeout", "_transaction")

    def __init__(self, access: Access, ctx: RequestContext) -> None:
        if ctx.catalog is None:
            raise NoCatalog
        self._access = access
        self._ctx = ctx
        self._catalog = ctx.catalog
        self._gate: asyncio.Lock | None = None
        self._owned = False

    async def __aenter__(self) -> AsyncSession:
        joined = None if self._access.is_independent else _find(self._catalog, self._ctx)
        if joined is None:
            return await self._open()
        try:
            return await self._enter(joined)
        except TypeError as error:
            raise TransactionMisuse(f"{self._access.mode.value} within {joined.mode.value}: {error}") from error
        except Exception as error:
            self._tell_fault(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._owned:
                await self._end(error)
            else:
                await self._inner.__aexit__(kind, error, trace)
        except Exception as failure:
            self._tell_fault(failure)
            raise
        if error is not None:
            self._tell_fault(error)

    async def _enter(self, transaction: Transaction) -> AsyncSession:
        """Enter oslo.db's block; it finds the transaction in the holder, or makes one there."""
        self._transaction = transaction
        self._ctx._asyncio_facade_context = transaction.holder
        self._inner = self._catalog.manager(self._access).using(self._ctx)
        entered: AsyncSession = await self._inner.__aenter__()
        return entered

    async def _open(self) -> AsyncSession:
        """Open a transaction of our own."""
        catalog = self._catalog
        transaction = Transaction(self._ctx, asyncio.current_task(), self._access.mode, _innermost(catalog))
        self._timeout = asyncio.timeout(catalog.time_limit)
        await self._timeout.__aenter__()
        try:
            await self._pass_gate(transaction)
            transaction.session = await self._enter(transaction)
        except BaseException as error:
            self._release()
            await self._stop_timer(error)
            raise
        self._owned = True
        catalog.opened.set(transaction)
        catalog.counters.transactions += 1
        if transaction.mode is Mode.PRIMARY:
            try:
                await catalog.make_read_only(transaction.session)
            except BaseException as error:
                await self.__aexit__(type(error), error, error.__traceback__)
                raise
        return transaction.session

    async def _pass_gate(self, transaction: Transaction) -> None:
        """Wait for our turn where the database takes one writer at a time."""
        gate = self._catalog.writer_gate
        if gate is None or transaction.mode is not Mode.WRITER:
            return
        outer = transaction.outer
        while outer is not None:
            if outer.mode is Mode.WRITER and outer.task is transaction.task:
                raise TransactionMisuse("SQLite takes one writer at a time: no writer can be opened within another")
            outer = outer.outer
        await gate.acquire()
        self._gate = gate

    def _release(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release()

    async def _end(self, error: BaseException | None) -> None:
        """Commit or roll back, give everything back, then tell of what went wrong."""
        transaction = self._transaction
        if not self._timeout.expired():
            self._timeout.reschedule(None)
        changes = _changes_of(transaction) if error is None and transaction.mode is not Mode.WRITER else None
        cause = error or changes
        leave = self._inner.__aexit__(None if cause is None else type(cause), cause, None)
        try:
            await _uninterrupted(leave, self._catalog.time_limit)
        finally:
            transaction.ended = True
            transaction.session = None
            self._catalog.opened.set(transaction.outer)
            self._release()
            await self._stop_timer(error)
        if changes is not None:
            raise changes

    async def _stop_timer(self, error: BaseException | None) -> None:
        """Stop the time limit.

        :raises CatalogUnavailable: it is what `error` comes from.
        """
        try:
            await self._timeout.__aexit__(None if error is None else type(error), error, None)
        except TimeoutError as timeout:
            raise CatalogUnavailable("does not answer in time; what was under way has been undone") from timeout

    def _tell_fault(self, error: BaseException) -> None:
        """Raise `error` in our words, if it is a fault of the database."""
        found = translated(error, reading=self._transaction.mode is not Mode.WRITER)
        if found is not None:
            raise found from error


def _innermost(catalog: Catalog) -> Transaction | None:
    """The transaction within which we are; what has ended since a task was made within it does not count."""
    found = catalog.opened.get()
    while found is not None and found.ended:
        found = found.outer
    return found


def _find(catalog: Catalog, ctx: RequestContext) -> Transaction | None:
    """The transaction that `ctx` has open.

    :raises TransactionMisuse: another task opened it, and made this one.
    """
    found = catalog.opened.get()
    while found is not None:
        if found.ctx is ctx and not found.ended:
            if found.task is not asyncio.current_task():
                raise TransactionMisuse("the transaction belongs to another task; give this one a context of its own")
            return found
        found = found.outer
    return None


def _changes_of(transaction: Transaction) -> TransactionMisuse | None:
    """The error that a reader's session has changes; they would be lost without a word."""
    entered = transaction.session
    assert entered is not None
    if entered.new or entered.dirty or entered.deleted:
        return TransactionMisuse("a reader of the catalog has changed something; mark the function @writer")
    return None


async def _uninterrupted(end: Awaitable[bool | None], limit: float) -> None:
    """See `end` through, even if this task is cancelled; then the cancellation goes on.

    :raises CatalogUnavailable: it took longer than `limit` seconds and was given up.
    """
    task: asyncio.Future[bool | None] = asyncio.ensure_future(end)
    deadline = asyncio.get_running_loop().time() + limit
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            task.add_done_callback(_forget)
            task.cancel()
            raise CatalogUnavailable("does not answer in time; nobody knows whether the changes were stored")
        try:
            await asyncio.wait((task,), timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    failure = None if task.cancelled() else task.exception()
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure


def _forget(task: asyncio.Future[Any]) -> None:
    """Look at how `task` ended, so that nobody complains that nobody did."""
    if not task.cancelled():
        task.exception()
