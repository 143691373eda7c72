"""What is stored later: entries that cannot be refused any more because they have happened.

Entries are stored in the order in which they came, many in one database transaction. While the database fails they
wait in memory, and nobody else waits for them. What has been tried is tried again, unless it turns out that it was
stored although the answer was lost. Entries must do no harm if they are stored twice all the same: when one of a batch
is wrong the others are stored one by one, and the mark tells only of the last transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.facade import writer
from qmpd.state.mark import Mark

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog
    from qmpd.monitor.context import RequestContext

_log = logging.getLogger(__name__)

Entry = Callable[["RequestContext"], Awaitable[object]]
"""Calls functions of the catalog's bundles."""
Done = Callable[[], object]
"""Is called when the entry is stored, or given up; must neither wait nor fail."""

BATCH = 500
"""Entries stored in one transaction."""
RETRY_SECONDS = 0.5
"""Time between two tries while the database fails."""
CLOSE_SECONDS = 5.0
"""How long the end of the daemon waits for the database."""


class Journal:
    """The entries to be stored. `run` is its task.

    :ivar mark: what its transactions leave.
    :ivar failing: the database did not take the last batch.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._entries: deque[tuple[Entry, Done | None]] = deque()
        self._filled = asyncio.Event()
        self._stored = asyncio.Condition()
        self._tried = 0
        self._taken = 0
        self._put = 0
        self.mark = Mark("journal")
        self.failing = False
        self._told = False

    def put(self, entry: Entry, done: Done | None = None) -> None:
        """Store `entry`, soon. Plain, cannot fail."""
        self._entries.append((entry, done))
        self._put += 1
        self._filled.set()

    async def run(self) -> None:
        """Store what comes, until cancelled."""
        while True:
            await self._filled.wait()
            if await self._store_batch():
                if not self._entries:
                    self._filled.clear()
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self, seconds: float) -> bool:
        """Wait until all that has been put so far is stored; False if that takes longer than `seconds`."""
        wanted = self._put
        try:
            async with asyncio.timeout(seconds), self._stored:
                await self._stored.wait_for(lambda: self._taken >= wanted)
        except TimeoutError:
            return False
        return True

    async def _store_batch(self) -> bool:
        # What was tried is tried again as it was.
        size = self._tried or min(BATCH, len(self._entries))
        batch = [self._entries[at] for at in range(size)]
        try:
            await self._store([entry for entry, _ in batch])
        except CatalogUnavailable as error:
            self._tell_failing(error)
            return False
        except Exception:
            # One of them is wrong: find out which, and go on without it.
            for entry, _ in batch:
                await self._store_one(entry)
        self._tell_working()
        for _, done in batch:
            self._entries.popleft()
            if done is not None:
                done()
        self._taken += len(batch)
        async with self._stored:
            self._stored.notify_all()
        return True

    async def _store(self, batch: list[Entry]) -> None:
        """Store entries in one transaction, unless the last try has, of which nobody knows."""
        context = self._catalog.context()
        if self._tried and await self.mark.is_there(context):
            self._tried = 0
            return
        self._tried = 0
        async with writer.using(context):
            for entry in batch:
                await entry(context)
            await self.mark.leave(context)
            self._tried = len(batch)
        self._tried = 0

    async def _store_one(self, entry: Entry) -> None:
        while True:
            try:
                await self._store([entry])
            except CatalogUnavailable as error:
                self._tell_failing(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception:
                _log.exception("an entry of the catalog could not be stored")
            return

    def _tell_failing(self, error: CatalogUnavailable) -> None:
        self.failing = True
        if not self._told:
            self._told = True
            _log.warning("%s; what happens is stored when it works again", error.desc)

    def _tell_working(self) -> None:
        self.failing = False
        if self._told:
            self._told = False
            _log.warning("the catalog works again")
