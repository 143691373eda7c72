"""All that a daemon with a state directory has more than one without: put together, begun and ended here."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from qmpd import __version__
from qmpd.catalog import (
    attachments,
    backups,
    bitmaps,
    events,
    groups,
    jobs,
    objects,
    quotas,
    services,
    settings,
    volumes,
)
from qmpd.catalog.catalog import Catalog, sqlite_url
from qmpd.catalog.errors import CatalogUnavailable, NotFound
from qmpd.catalog.facade import writer
from qmpd.catalog.quotas import Resource
from qmpd.catalog.services import ServiceRecord
from qmpd.errors import GenericError
from qmpd.state.bitmap_files import BitmapFiles
from qmpd.state.configuration import Observer
from qmpd.state.directory import StateDirectory, StateDirectoryError
from qmpd.state.ended import EndedBackups
from qmpd.state.history import History
from qmpd.state.job_history import JobHistory
from qmpd.state.journal import CLOSE_SECONDS, Journal
from qmpd.state.kept_bitmap import KeptBitmap
from qmpd.state.recorder import SERVER, StateRecorder
from qmpd.state.restore import Execute, Restorer, Unrestored

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.iopool import IOPool
    from qmpd.catalog.bitmaps import BitmapRecord
    from qmpd.export.manager import ExportManager
    from qmpd.jobs.manager import JobManager
    from qmpd.monitor.context import RequestContext
    from qmpd.monitor.events import EventBus

_log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
BEAT_HERE_SECONDS = 1.0
SURELY_DEAD_SECONDS = 5.0
"""After the last sign of life of a daemon that was killed: from then on it was certainly not it who wrote to an image.

Much more than the time between two signs, for the daemon may have waited for a processor or a disk before it died. What
others change sooner goes unnoticed.
"""
TIME_LIMIT = 5.0
"""Seconds that a transaction of the catalog may take: guests can be kept waiting by one that records."""
START_TIME_LIMIT = 30.0
"""The same until everything is there again: nobody waits for it, and giving up costs all."""
_EVENTS = "events"
"""The setting that holds the number of the last event, when the daemon has ended in order."""
_DIED = "the daemon ended while it ran"


class State:
    """The state of one daemon.

    :param url: of the catalog; None for one in the directory.
    :param replica_url: a standby of it, for queries.
    :raises StateDirectoryError: the directory cannot be used.
    :raises GenericError: a URL is wrong.
    """

    def __init__(
        self,
        directory: str,
        url: str | None,
        replica_url: str | None,
        *,
        graph: BlockGraph,
        pool: IOPool,
        job_manager: JobManager,
        exports: ExportManager,
        bus: EventBus,
        execute: Execute,
    ) -> None:
        self.directory = StateDirectory(directory)
        try:
            self.catalog = Catalog(
                url or sqlite_url(self.directory.catalog),
                replica_url,
                service_id=self.directory.daemon_id,
                time_limit=TIME_LIMIT,
            )
        except BaseException:
            self.directory.close()
            raise
        self._graph = graph
        self._pool = pool
        self._exports = exports
        self._bus = bus
        self._journal = Journal(self.catalog)
        self._ended = EndedBackups(self.directory.ended)
        self._job_history = JobHistory(self._journal, job_manager, self._ended)
        self._files = BitmapFiles(self.directory.bitmaps, self.directory.boot_id, pool, self)
        observer = Observer(graph, exports, self._files)
        self.recorder = StateRecorder(
            self.catalog, self._journal, graph, observer, self._files, self._job_history
        )
        self.restorer = Restorer(graph, exports, bus, execute)
        self.history: History | None = None
        self._opened = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reach the catalog, find out how the last run ended, and begin to record. No node is open as yet.

        :raises GenericError: the catalog cannot be used.
        :raises StateDirectoryError: the directory cannot be used.
        """
        self.catalog.time_limit = START_TIME_LIMIT
        await self.catalog.open()
        context = self.catalog.context()
        before = await self._last_run(context)
        known = await bitmaps.restorable(context)
        self.recorder.load(known, await _positions(context))
        lost = self._load_files(known, before)
        async with writer.using(context):
            # That this run has begun is not to be known without how the last one ended: a start that fails here
            # leaves the next one to find out the same.
            await self._register(context)
            await self._settle_last_run(context, lost, len(known))
        self._files.drop_helpers()
        self._ended.forget()
        self.history = await self._open_history(context, before)
        self._bus.history = self.history
        self._bus.listen(self._heard)
        self._graph.bitmap_keeper = self._files
        self._exports.client_log = self._job_history
        await self.refresh_limits(context)
        self._spawn(self._journal.run())
        self._spawn(self._beat())
        self._spawn(self._beat_here())
        self._opened = True

    async def restore(self) -> None:
        """Make again what the last run had.

        :raises CatalogUnavailable: nobody knows what that is.
        """
        await self.restorer.restore(self.catalog.context())
        await self.recorder.hold_and_save(self.catalog.context())
        self.catalog.time_limit = TIME_LIMIT

    async def freeze(self) -> None:
        """Record no more changes of the configuration: it is about to be taken down."""
        if self._opened:
            await self.recorder.close()

    async def close(self) -> None:
        """Store what is left, and note that the daemon has ended in order."""
        stored = await self._journal.flush(CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            try:
                if self._opened and self.history is not None:
                    self.history.leave(self.directory.unsent)
                    if stored:
                        await self._note_end(self.history.last)
            finally:
                await self.catalog.close()
        except CatalogUnavailable as error:
            _log.warning("the end of the daemon is not recorded: %s", error.desc)
        finally:
            self.directory.close()

    async def refresh_limits(self, context: RequestContext) -> None:
        """Find out whether anything is limited."""
        self.recorder.limited = await quotas.is_any_set(context)

    def unrestored(self) -> list[Unrestored]:
        """What could not be made again and is not there by other means, and bitmaps that wait for their image."""
        waiting = [Unrestored("bitmap", kept.whole_name, kept.why_closed) for kept in self._files.closed()]
        return [*self.restorer.left(), *waiting]

    async def forget(self, context: RequestContext, kind: str, name: str) -> None:
        """Give up something that `unrestored` tells of.

        :raises GenericError: there is no such thing.
        """
        # Nobody may make it, or open its image, before it is forgotten.
        async with self._graph.exclusive():
            if all((one.kind, one.name) != (kind, name) for one in self.unrestored()):
                raise GenericError(f"There is no {kind} '{name}' that could not be made again; see query-unrestored")
            if kind == "bitmap":
                await self._forget_bitmap(context, name)
            else:
                await _forget(context, kind, name)
                self.restorer.forget(kind, name)

    async def _forget_bitmap(self, context: RequestContext, name: str) -> None:
        kept = next(kept for kept in self._files.closed() if kept.whole_name == name)
        await self.recorder.forget_bitmap(context, kept.uuid)
        self._files.forget(kept)

    # For `BitmapFiles`.

    def bitmap_taken_up(self, kept: KeptBitmap) -> None:
        """The image is open."""
        self.recorder.bitmap_taken_up(kept)

    def bitmap_put_down(self, kept: KeptBitmap) -> None:
        """The image has been closed."""
        self.recorder.bitmap_put_down(kept)

    def identify(self, image: str, name: str) -> str:
        """The id of a bitmap that an image stores."""
        return self.recorder.identify(image, name)

    def bitmap_failed(self, kept: KeptBitmap) -> None:
        """A bitmap could not be brought back."""
        self.restorer.tell(Unrestored("bitmap", kept.whole_name, kept.why_closed))

    # Beginning.

    @staticmethod
    async def _last_run(context: RequestContext) -> ServiceRecord | None:
        """What the catalog knows of the last run; None if there was none."""
        try:
            return await services.get(context)
        except NotFound:
            return None

    async def _register(self, context: RequestContext) -> None:
        await services.register(
            context,
            host=socket.gethostname(),
            name=self.directory.path.name,
            pid=os.getpid(),
            boot_id=self.directory.boot_id,
            state_dir=str(self.directory.path),
            version=__version__,
        )

    def _load_files(self, known: list[BitmapRecord], before: ServiceRecord | None) -> list[KeptBitmap]:
        """Take over the files of bitmaps; which of them do not tell the truth any more.

        :raises StateDirectoryError: they cannot be used.
        """
        try:
            self._files.load(known)
            if before is None or before.clean:
                return []
            last_beat_ns = max(self.directory.last_beat_ns, before.heartbeat_us * 1000)
            return self._files.settle(
                same_boot=before.boot_id == self.directory.boot_id,
                died_before_ns=last_beat_ns + int(SURELY_DEAD_SECONDS * 1e9),
            )
        except OSError as error:
            raise StateDirectoryError(f"the bitmaps in {str(self.directory.path)!r} cannot be used: {error}") from error

    async def _settle_last_run(self, context: RequestContext, lost: list[KeptBitmap], persistent: int) -> None:
        """What was under way when the last run ended is not any more; so many bitmaps are there.

        :param lost: bitmaps that do not tell the truth any more.
        """
        async with writer.using(context):
            for kept in lost:
                await bitmaps.update(context, kept.uuid, inconsistent=True)
            for mark in (self._journal.mark, self.recorder.mark):
                await mark.leave(context)
            await self._ended.recover(context)
            copied = await jobs.lose_running(context, _DIED)
            await backups.lose_running(context, _DIED, frozen=self._files.frozen(), copied=copied)
            for job_row, amount in copied.items():
                await quotas.set_charge(context, job_row, amount)
            for group in await groups.unsettled(context):
                await groups.settle(context, group.uuid, "lost")
            await attachments.all_disconnected(context)
            await volumes.forget_command_line(context)
            await attachments.forget_command_line(context)
            await bitmaps.forget_transient(context)
            await quotas.set_in_use(context, Resource.JOBS, 0)
            await quotas.set_in_use(context, Resource.BITMAPS, persistent)

    async def _open_history(self, context: RequestContext, before: ServiceRecord | None) -> History:
        noted = await settings.get(context, _EVENTS)
        if before is not None and before.clean and noted is not None:
            last = int(noted["last"])
        else:
            last = max(0 if before is None else before.reserved_seq, await events.last_seq(context))
        history = History(self._journal, last)
        await history.recover(context, self.directory.unsent)
        return history

    async def _note_end(self, last: int) -> None:
        context = self.catalog.context()
        async with writer.using(context):
            await settings.put(context, _EVENTS, {"last": last})
            await services.stopped(context)

    # While it runs.

    def _spawn(self, coro: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coro)
        task.add_done_callback(_tell_if_failed)
        self._tasks.append(task)

    def _heard(self, name: str, data: Any) -> None:
        self._job_history.heard(name, data)
        if name == "JOB_STATUS_CHANGE" and data["status"] in ("concluded", "null"):
            # Its end may have changed the graph, and what its transaction did to bitmaps.
            self.recorder.later()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                context = self.catalog.context()
                async with writer.using(context):
                    await services.heartbeat(context)
                    await self._job_history.note_progress(context)
                    await quotas.forget_charges(context)
                await self.refresh_limits(context)
            except CatalogUnavailable as error:
                _log.debug("no heartbeat: %s", error.desc)

    async def _beat_here(self) -> None:
        """Note in the directory that the daemon is alive: there the database cannot keep it waiting."""
        while True:
            try:
                await self._pool.run(self.directory.beat)
            except RuntimeError:
                # The threads have ended, and images were closed before.
                return
            except OSError as error:
                _log.debug("no heartbeat: %s", error)
            await asyncio.sleep(BEAT_HERE_SECONDS)


@writer
async def _forget(context: RequestContext, kind: str, name: str) -> None:
    """Let the next start not try to make something again."""
    match kind:
        case "object":
            await objects.remove(context, name)
        case "node":
            await volumes.remove(context, name)
        case "nbd-server":
            await settings.remove(context, SERVER)
        case "export":
            await attachments.remove(context, name)


async def _positions(context: RequestContext) -> dict[str, int]:
    """The positions of all that the last run has left, as `StateRecorder.load` wants them."""
    return {
        **{f"object {found.object_id}": found.position for found in await objects.restorable(context)},
        **{f"node {found.node_name}": found.position for found in await volumes.restorable(context)},
        **{f"export {found.export_id}": found.position for found in await attachments.restorable(context)},
    }


def _tell_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("bug: a task of the state ended", exc_info=error)
