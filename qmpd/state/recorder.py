"""Stores what commands and transactions change, as the last step of theirs that may fail.

What is to be stored is the difference between the configuration as it is and the one that was stored last, so it does
not matter which command changed what; a QMP transaction adds the jobs that it starts and the limits that it uses, all
in one database transaction. Changes that nobody can refuse any more (a job that ends changes the graph) are stored a
little later (`later`).

Nothing is asked of the database while disks stand still that was not asked before: `begin` finds out whether it
answers, and takes what is limited, so that only a database that fails in between is felt by guests, for as long as a
transaction of the catalog may take.

A connection that is lost while the database commits leaves open what is stored: the command is undone all the same, and
as soon as the database answers again it is found out, and what was stored for nothing is stored away (`_Doubt`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.unbroken import see_through
from qmpd.catalog import (
    attachments,
    backups,
    bitmaps,
    groups,
    jobs,
    objects,
    quotas,
    services,
    settings,
    snapshots,
    volumes,
)
from qmpd.catalog.errors import CatalogUnavailable
from qmpd.catalog.facade import writer
from qmpd.catalog.quotas import Resource
from qmpd.errors import GenericError
from qmpd.state.configuration import BitmapState, Configuration, whole_name
from qmpd.state.job_history import GroupRun, JobRun
from qmpd.state.kept_bitmap import image_of
from qmpd.state.mark import Mark
from qmpd.transaction.env import CompletionMode
from qmpd.transaction.outcome import (
    BackupStarts,
    BitmapBegins,
    BitmapEnds,
    BitmapResumes,
    Demand,
    Fact,
    SnapshotTaken,
)

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode
    from qmpd.catalog.bitmaps import BitmapRecord
    from qmpd.catalog.catalog import Catalog
    from qmpd.jobs.job import Job
    from qmpd.monitor.context import RequestContext
    from qmpd.state.bitmap_files import BitmapFiles
    from qmpd.state.configuration import Observer
    from qmpd.state.job_history import JobHistory
    from qmpd.state.journal import Journal
    from qmpd.state.kept_bitmap import KeptBitmap
    from qmpd.transaction.env import TransactionEnv

_log = logging.getLogger(__name__)

NAME = "name:"
"""How the keys of a volume's metadata begin under which generated names are noted."""
MADE_READ_ONLY = "made-read-only"
"""The key that tells whether a volume became read-only after it was made."""
SERVER = "nbd-server"
"""The setting that holds the arguments of nbd-server-start."""
RETRY_SECONDS = 1.0

_NOTHING = Configuration({}, {}, None, {}, {})


@dataclasses.dataclass(frozen=True, slots=True)
class _Noted:
    """What is known of entries in the database, beside the configuration."""

    in_database: frozenset[str]
    charged: frozenset[str]
    on_command_line: frozenset[str]
    positions: Mapping[str, int]
    in_images: Mapping[tuple[str, str], str]


@dataclasses.dataclass(eq=False, slots=True)
class _Storing:
    """What one database transaction stores."""

    wanted: Configuration
    runs: dict[Job, JobRun] = dataclasses.field(default_factory=dict)
    ended_chains: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class _Doubt:
    """A transaction of which nobody knows whether it was stored, and what is true if it was."""

    storing: _Storing
    noted: _Noted


class StateRecorder:
    """Knows what is stored, and stores what differs from it; a `Recorder` of transactions.

    :ivar mark: what its transactions leave.
    :ivar limited: some quota is set, so what is limited has to be reserved before.
    """

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal,
        graph: BlockGraph,
        observer: Observer,
        files: BitmapFiles,
        history: JobHistory,
    ) -> None:
        self.catalog = catalog
        self.limited = False
        self.mark = Mark("recorder")
        self._journal = journal
        self._graph = graph
        self._observer = observer
        self._files = files
        self._history = history
        self._stored = _NOTHING
        self._doubt: _Doubt | None = None
        self._lock = asyncio.Lock()
        self._uuids: WeakKeyDictionary[DirtyBitmap, str] = WeakKeyDictionary()
        self._in_images: dict[tuple[str, str], str] = {}
        self._in_database: set[str] = set()
        self._charged: set[str] = set()
        self._on_command_line: set[str] = set()
        self._positions: dict[str, int] = {}
        self._last_position = 0
        self._later: asyncio.Task[None] | None = None
        self._is_due = False
        self._closed = False

    def load(self, known: Sequence[BitmapRecord], positions: Mapping[str, int]) -> None:
        """Take over what the catalog knows of persistent bitmaps, which count for quotas, and of the order of things.

        :param positions: by kind and name, as in "node disk". What cannot be made again keeps its position, so what can
            has to keep it, too.
        """
        self._positions = dict(positions)
        self._last_position = max(positions.values(), default=0)
        for record in known:
            self._in_database.add(record.uuid)
            self._charged.add(record.uuid)
            if record.storage == "image" and record.image is not None:
                self._in_images[record.image, record.name] = record.uuid

    # Commands.

    async def save(self, context: RequestContext) -> None:
        """Store the configuration as it is now. Call within `graph.exclusive()`: no other change is half done there.

        :raises CatalogUnavailable: it could not be stored; undo what has changed it.
        :raises GenericError: it is too late for changes; undo it, too.
        """
        self._check_open()
        await self._save(context)

    async def hold_and_save(self, context: RequestContext) -> None:
        """As `save`, outside of `graph.exclusive()`."""
        async with self._graph.exclusive():
            await self.save(context)

    def _check_open(self) -> None:
        if self._closed:
            raise GenericError("The daemon is shutting down and stores no more changes")

    async def _save(self, context: RequestContext) -> None:
        async with self._lock:
            await self._settle_doubt(context)
            wanted = self._observer.look()
            if wanted == self._stored and list(wanted.nodes) == list(self._stored.nodes):
                return
            async with self._storing(context, wanted):
                pass

    async def forget_bitmap(self, context: RequestContext, identity: str) -> None:
        """Store that a bitmap is no more whose image is not open.

        :raises CatalogUnavailable: it could not be stored.
        """
        async with self._lock:
            await self._settle_doubt(context)
            before = self._noted()
            try:
                async with writer.using(context):
                    await self._remove_bitmap(context, identity)
            except BaseException:
                self._note(before)
                raise
            self._in_images = {place: one for place, one in self._in_images.items() if one != identity}

    def later(self) -> None:
        """Store the configuration as it will be when nobody is changing the graph. Plain, cannot fail."""
        self._is_due = True
        if not self._closed and (self._later is None or self._later.done()):
            self._later = asyncio.get_running_loop().create_task(self._save_later())

    def snapshot_deleted(self, node_name: str, name: str) -> None:
        """A snapshot inside an image is no more. Plain, cannot fail."""

        async def store(context: RequestContext) -> None:
            await snapshots.remove(context, node_name, name)

        self._journal.put(store)

    async def close(self) -> None:
        """Store what `later` has put off, once more if need be; nothing is stored from now on."""
        later, self._later = self._later, None
        self._closed = True
        if later is not None:
            later.cancel()
            await asyncio.gather(later, return_exceptions=True)
        try:
            async with self._graph.exclusive():
                await self._save(self.catalog.context())
        except CatalogUnavailable as error:
            _log.warning("the last changes are not stored: %s", error.desc)

    async def _save_later(self) -> None:
        # One round trip through the loop: whoever asked may be in the middle of something.
        await asyncio.sleep(0)
        has_told = False
        while self._is_due:
            try:
                async with self._graph.exclusive():
                    # Whatever is changed from here on may come too late for this time.
                    self._is_due = False
                    await self._save(self.catalog.context())
            except CatalogUnavailable:
                self._is_due = True
                await self._until_it_answers()
            except Exception:
                self._is_due = True
                if not has_told:
                    has_told = True
                    _log.exception("bug: changes cannot be stored; it is tried again and again")
                await asyncio.sleep(RETRY_SECONDS)

    async def _until_it_answers(self) -> None:
        """Wait for the database, and keep nobody from changing the graph meanwhile."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await services.heartbeat(self.catalog.context())
                return
            except CatalogUnavailable:
                continue
            except Exception:
                # It does answer; `_save_later` tells what is wrong, if that is wrong there too.
                return

    # Transactions.

    async def begin(self, env: TransactionEnv, demand: Demand) -> TransactionRecord:
        """Find out whether the database answers, and take what is limited.

        :raises CatalogUnavailable: it does not answer.
        :raises OverQuota: a limit stands in the way.
        """
        if demand.jobs:
            await self._history.wait_for_backups()
        reservations: list[str] = []
        if self.limited:
            # A client that goes away just when they are there must not leave them behind.
            late = await see_through(self._reserve(env.context, demand, reservations))
            if late is not None:
                self.give_back(reservations)
                raise late
        elif not self.catalog.is_sqlite:
            await services.get(env.context)
        return TransactionRecord(self, env, demand, reservations)

    async def _reserve(self, context: RequestContext, demand: Demand, into: list[str]) -> None:
        into += (await quotas.reserve(context, _resources(demand))).values()

    async def store_transaction(
        self, env: TransactionEnv, facts: Sequence[Fact], demand: Demand, reservations: Sequence[str]
    ) -> None:
        """Store all that a transaction changes, in one database transaction."""
        self._check_open()
        leaving = {fact.bitmap for fact in facts if isinstance(fact, BitmapEnds)}
        begun = {fact.bitmap for fact in facts if isinstance(fact, BitmapBegins)}
        if demand.jobs:
            # One more may have ended since `begin`.
            await self._history.wait_for_backups()
        async with self._lock:
            await self._settle_doubt(env.context)
            known = set(self._in_database)
            wanted = _without(self._observer.look(), leaving)
            if not any(isinstance(fact, BackupStarts) for fact in facts):
                wanted = _certain(wanted, begun)
            async with self._storing(env.context, wanted, leaving) as storing:
                storing.ended_chains = await self._end_chains(env.context, facts)
                storing.runs = await self._store_facts(env, facts, storing.ended_chains)
                await self._use(env.context, demand, storing.runs.values(), reservations)
                if demand.bitmaps:
                    self._charged |= self._in_database - known
        self._history.began(storing.runs)

    def give_back(self, reservations: Sequence[str]) -> None:
        """A transaction has not happened: what was reserved for it is not needed."""

        async def store(context: RequestContext) -> None:
            await quotas.rollback(context, reservations)

        self._journal.put(store)

    async def _use(
        self, context: RequestContext, demand: Demand, runs: Iterable[JobRun], reservations: Sequence[str]
    ) -> None:
        """Use what is limited: of bytes not what was expected, but what is to be copied now that all is prepared."""
        by_job = {run.row: run.demand.backup_bytes for run in runs if run.row is not None and run.demand is not None}
        wanted = _resources(dataclasses.replace(demand, backup_bytes=0))
        if wanted or by_job or reservations:
            await quotas.use(context, wanted, by_job=by_job, instead_of=reservations)

    async def _end_chains(self, context: RequestContext, facts: Sequence[Fact]) -> dict[str, int]:
        """What a bitmap that was cleared knew, or one that did not record missed, is in no backup.

        :returns: the last backups by the bitmaps' ids.
        """
        ended = {}
        for fact in facts:
            identity = self._uuids.get(fact.bitmap) if isinstance(fact, BitmapBegins | BitmapResumes) else None
            last = None if identity is None else await bitmaps.end_chain(context, identity)
            if identity is not None and last is not None:
                ended[identity] = last
        return ended

    async def _store_facts(
        self, env: TransactionEnv, facts: Sequence[Fact], ended_chains: Mapping[str, int]
    ) -> dict[Job, JobRun]:
        starting = [fact for fact in facts if isinstance(fact, BackupStarts)]
        begun = {fact.bitmap for fact in facts if isinstance(fact, BitmapBegins)}
        group = None
        if starting and (len(facts) > 1 or env.completion_mode is CompletionMode.GROUPED):
            group = GroupRun(str(uuid.uuid4()), len(starting))
            if env.completion_mode is CompletionMode.GROUPED:
                group.ended_chains.update(ended_chains)
            await groups.begin(env.context, group.uuid, env.completion_mode.value)
        for fact in facts:
            if isinstance(fact, SnapshotTaken):
                await _store_snapshot(env.context, fact)
        return {fact.job: await self._store_backup(env.context, fact, group, begun) for fact in starting}

    async def _store_backup(
        self, context: RequestContext, fact: BackupStarts, group: GroupRun | None, begun: set[DirtyBitmap]
    ) -> JobRun:
        group_uuid = None if group is None else group.uuid
        job, source = fact.job, fact.source
        bitmap = fact.bitmap or next((one for one in source.bitmaps if one in begun), None)
        row = await jobs.begin(
            context, job.job_id, job.job_type, device=source.node_name, group_uuid=group_uuid
        )
        backup_row = await backups.begin(
            context,
            source.node_name,
            fact.sync,
            size=source.length,
            job_row=row,
            group_uuid=group_uuid,
            bitmap_uuid=None if bitmap is None else self._uuids.get(bitmap),
            bitmap_name=None if bitmap is None else bitmap.name,
            target_node=fact.target.node_name,
            target_filename=whole_name(fact.target),
        )
        return JobRun(row, backup_row, group, fact.bitmap_mode, fact.demand)

    # What has become of bitmaps, for `BitmapFiles`.

    def bitmap_taken_up(self, kept: KeptBitmap) -> None:
        """The image is open."""
        self._put_bitmap(kept.uuid, image_mtime_ns=0)

    def bitmap_put_down(self, kept: KeptBitmap) -> None:
        """The image has been closed."""
        closed = kept.closed
        assert closed is not None
        self._put_bitmap(
            kept.uuid,
            length=closed.length,
            recording=closed.recording,
            inconsistent=closed.inconsistent,
            image_mtime_ns=closed.image_mtime_ns,
            is_there=True,
        )

    def _put_bitmap(self, identity: str, **changes: Any) -> None:
        async def store(context: RequestContext) -> None:
            await bitmaps.update(context, identity, **changes)

        self._journal.put(store)

    # Differences.

    @asynccontextmanager
    async def _storing(
        self, context: RequestContext, wanted: Configuration, leaving: Collection[DirtyBitmap] = ()
    ) -> AsyncIterator[_Storing]:
        """Store what differs in `wanted`, and what the block stores, in one database transaction; under the lock.

        What is noted here of one that does not succeed is forgotten again.

        :param leaving: bitmaps that are about to be removed and not in `wanted`.
        """
        storing = _Storing(wanted)
        before = self._noted()
        is_whole = False
        try:
            async with writer.using(context):
                await self._store_difference(context, wanted, leaving)
                yield storing
                await self.mark.leave(context)
                is_whole = True
        except BaseException:
            if is_whole:
                self._doubt = _Doubt(storing, self._noted())
                self.later()
            self._note(before)
            raise
        self._stored = wanted

    async def _settle_doubt(self, context: RequestContext) -> None:
        """Find out whether what nobody saw the end of was stored; what it began has come to nothing."""
        if self._doubt is None:
            return
        if await self.mark.is_there(context):
            noted = self._doubt.noted
            # A bitmap that was noted to be no more still has its entry, which is wanted again, and counts again.
            self._give_back_bitmaps(-len(self._charged - noted.charged))
            in_database, charged = noted.in_database | self._in_database, noted.charged | self._charged
            self._note(dataclasses.replace(noted, in_database=in_database, charged=charged))
            self._stored = self._doubt.storing.wanted
            storing = self._doubt.storing
            self._history.came_to_nothing(storing.runs.values(), storing.ended_chains)
        self._doubt = None

    def _give_back_bitmaps(self, number: int) -> None:
        async def store(context: RequestContext) -> None:
            await quotas.release(context, Resource.BITMAPS, number)

        if number:
            self._journal.put(store)

    def _noted(self) -> _Noted:
        return _Noted(
            frozenset(self._in_database),
            frozenset(self._charged),
            frozenset(self._on_command_line),
            dict(self._positions),
            dict(self._in_images),
        )

    def _note(self, noted: _Noted) -> None:
        self._in_database = set(noted.in_database)
        self._charged = set(noted.charged)
        self._on_command_line = set(noted.on_command_line)
        self._positions = dict(noted.positions)
        self._in_images = dict(noted.in_images)

    async def _store_difference(
        self, context: RequestContext, wanted: Configuration, leaving: Collection[DirtyBitmap]
    ) -> None:
        """Store what differs from what is stored; the transaction is open."""
        from_command_line = context.session_id == 0 and context.request_id != 0
        await self._store_objects(context, wanted, from_command_line)
        await self._store_nodes(context, wanted, from_command_line)
        if wanted.server != self._stored.server:
            await self._store_server(context, wanted.server, from_command_line)
        await self._store_exports(context, wanted, from_command_line)
        await self._store_bitmaps(context, wanted, leaving)

    async def _store_objects(self, context: RequestContext, wanted: Configuration, from_command_line: bool) -> None:
        stored = self._stored.objects
        for name in stored.keys() - wanted.objects.keys():
            await objects.remove(context, name)
            self._forget(f"object {name}")
        moved = self._put_in_order("object", wanted.objects)
        for name, state in wanted.objects.items():
            if (stored.get(name) == state and name not in moved) or self._is_on_command_line(
                f"object {name}", name not in stored and from_command_line
            ):
                continue
            await objects.put(
                context,
                name,
                qom_type=state.qom_type,
                properties=dict(state.properties),
                position=self._positions[f"object {name}"],
            )

    async def _store_nodes(self, context: RequestContext, wanted: Configuration, from_command_line: bool) -> None:
        stored = self._stored.nodes
        for name in stored.keys() - wanted.nodes.keys():
            await volumes.remove(context, name)
            self._forget(f"node {name}")
        moved = self._put_in_order("node", wanted.nodes)
        for name, state in wanted.nodes.items():
            if stored.get(name) == state and name not in moved:
                continue
            given = self._is_on_command_line(f"node {name}", name not in stored and from_command_line)
            await volumes.put(
                context,
                name,
                driver=state.driver,
                definition=dict(state.definition),
                filename=state.filename,
                size=state.size,
                origin="command-line" if given else "client",
                position=self._positions[f"node {name}"],
            )
            notes = {f"{NAME}{place}": given_name for place, given_name in state.names.items()}
            await volumes.put_volume_metadata(
                context, name, {**notes, MADE_READ_ONLY: "yes" if state.made_read_only else "no"}
            )

    async def _store_server(
        self, context: RequestContext, server: Mapping[str, Any] | None, from_command_line: bool
    ) -> None:
        if server is None:
            await settings.remove(context, SERVER)
        elif not from_command_line:
            await settings.put(context, SERVER, dict(server))

    async def _store_exports(self, context: RequestContext, wanted: Configuration, from_command_line: bool) -> None:
        stored = self._stored.exports
        for name in stored.keys() - wanted.exports.keys():
            await attachments.remove(context, name)
            self._forget(f"export {name}")
        moved = self._put_in_order("export", wanted.exports)
        for name, state in wanted.exports.items():
            if stored.get(name) == state and name not in moved:
                continue
            given = self._is_on_command_line(f"export {name}", name not in stored and from_command_line)
            await attachments.put(
                context,
                name,
                kind=state.kind,
                node_name=state.node_name,
                settings=dict(state.settings),
                position=self._positions[f"export {name}"],
                origin="command-line" if given else "client",
            )

    async def _store_bitmaps(
        self, context: RequestContext, wanted: Configuration, leaving: Collection[DirtyBitmap]
    ) -> None:
        stored = self._stored.bitmaps
        # An image that was opened afresh has loaded its bitmaps again: other objects, and the same bitmaps.
        present = {self._identify(bitmap, state) for bitmap, state in wanted.bitmaps.items()}
        for bitmap, state in stored.items():
            identity = self._uuids.get(bitmap)
            if bitmap in wanted.bitmaps or identity is None or identity in present:
                continue
            if bitmap in leaving or self._is_gone(state, identity):
                await self._remove_bitmap(context, identity)
                if state.image is not None:
                    self._in_images.pop((state.image, state.name), None)
        for place in self._missing_in_images(wanted, present):
            await self._remove_bitmap(context, self._in_images.pop(place))
        for bitmap, state in wanted.bitmaps.items():
            if stored.get(bitmap) != state:
                await self._store_bitmap(context, bitmap, state)

    def _is_gone(self, state: BitmapState, identity: str) -> bool:
        """Whether a bitmap that no node has any more was removed; otherwise it waits for its image to be opened again.

        Another image may have been opened since under the name of the node.
        """
        match state.storage:
            case "state":
                return not self._files.holds(identity)
            case "image":
                open_nodes = set(self._graph.nodes.values()) - self._graph.going()
                # Without a key for its image it would be another bitmap the next time.
                return state.image is None or state.image in _open_images(open_nodes)
        return True

    def _missing_in_images(self, wanted: Configuration, present: set[str]) -> list[tuple[str, str]]:
        """Bitmaps that an image is known to store and that it did not have when it was opened just now.

        Another program may have removed them, or a transaction that failed later.
        """
        if not self._in_images:
            return []
        found = [self._graph.find(name) for name in wanted.nodes.keys() - self._stored.nodes.keys()]
        opened = _open_images(node for node in found if node is not None)
        return [place for place, identity in self._in_images.items() if place[0] in opened and identity not in present]

    async def _remove_bitmap(self, context: RequestContext, identity: str) -> None:
        await bitmaps.remove(context, identity)
        self._in_database.discard(identity)
        if identity in self._charged:
            self._charged.discard(identity)
            await quotas.release(context, Resource.BITMAPS, 1)

    async def _store_bitmap(self, context: RequestContext, bitmap: DirtyBitmap, state: BitmapState) -> None:
        identity = self._identify(bitmap, state)
        if identity not in self._in_database:
            await bitmaps.add(
                context,
                identity,
                state.node_name,
                state.name,
                granularity=state.granularity,
                length=state.length,
                image=state.image,
                recording=state.recording,
                persistent=state.persistent,
                storage=state.storage,
            )
            self._in_database.add(identity)
        await bitmaps.update(
            context,
            identity,
            node_name=state.node_name,
            length=state.length,
            recording=state.recording,
            persistent=state.persistent,
            inconsistent=state.inconsistent,
            image_mtime_ns=0,
            is_there=True,
        )

    def _identify(self, bitmap: DirtyBitmap, state: BitmapState) -> str:
        """The bitmap's id in the catalog; one that an image stores keeps it from run to run."""
        identity = self._uuids.get(bitmap)
        if identity is None:
            kept = self._files.find(bitmap)
            if kept is not None:
                identity = kept.uuid
            elif state.image is not None:
                identity = self.identify(state.image, state.name)
            else:
                identity = str(uuid.uuid4())
            if kept is not None and kept.in_image:
                self._in_images[kept.image, kept.name] = identity
            self._uuids[bitmap] = identity
        return identity

    def identify(self, image: str, name: str) -> str:
        """The id of the bitmap `name` that an image stores."""
        return self._in_images.setdefault((image, name), str(uuid.uuid4()))

    def _is_on_command_line(self, what: str, is_new: bool) -> bool:
        """Whether `what` comes from the command line, which will say it again at the next start."""
        if is_new:
            self._on_command_line.add(what)
        return what in self._on_command_line

    def _put_in_order(self, kind: str, names: Iterable[str]) -> set[str]:
        """Give positions that rise, and the last ones to those that are new; what has another one than before."""
        moved: set[str] = set()
        before = 0
        for name in names:
            position = self._positions.get(f"{kind} {name}", 0)
            if position <= before:
                self._last_position += 1
                position = self._positions[f"{kind} {name}"] = self._last_position
                moved.add(name)
            before = position
        return moved

    def _forget(self, what: str) -> None:
        self._on_command_line.discard(what)
        self._positions.pop(what, None)


class TransactionRecord:
    """The record of one transaction."""

    def __init__(
        self, recorder: StateRecorder, env: TransactionEnv, demand: Demand, reservations: Sequence[str]
    ) -> None:
        self._recorder = recorder
        self._env = env
        self._demand = demand
        self._reservations = reservations
        self._stored = False

    async def store(self, facts: Sequence[Fact]) -> None:
        """Store the outcome.

        :raises CatalogUnavailable: it cannot be stored.
        """
        await self._recorder.store_transaction(self._env, facts, self._demand, self._reservations)
        self._stored = True

    def abandon(self) -> None:
        """The transaction has not happened."""
        self._recorder.later()
        if self._reservations and not self._stored:
            self._recorder.give_back(self._reservations)


def _resources(demand: Demand) -> dict[Resource, int]:
    wanted = {
        Resource.JOBS: demand.jobs,
        Resource.BACKUP_BYTES: demand.backup_bytes,
        Resource.BITMAPS: demand.bitmaps,
    }
    return {resource: amount for resource, amount in wanted.items() if amount}


def _open_images(nodes: Iterable[BlockNode]) -> set[str | None]:
    """The images that are open in `nodes` with all the bitmaps that they store."""
    return {image_of(node) for node in nodes if node.options.active}


def _without(configuration: Configuration, leaving: set[DirtyBitmap]) -> Configuration:
    if not leaving:
        return configuration
    left = {bitmap: state for bitmap, state in configuration.bitmaps.items() if bitmap not in leaving}
    return dataclasses.replace(configuration, bitmaps=left)


def _certain(configuration: Configuration, begun: set[DirtyBitmap]) -> Configuration:
    """With no job that could fail, bitmaps that a group adds are there for good."""
    found = {
        bitmap: dataclasses.replace(state, persistent=bitmap.persistent) if bitmap in begun else state
        for bitmap, state in configuration.bitmaps.items()
    }
    return dataclasses.replace(configuration, bitmaps=found)


async def _store_snapshot(context: RequestContext, fact: SnapshotTaken) -> None:
    kind = "internal" if fact.overlay is None else "external"
    overlay = None if fact.overlay is None else fact.overlay.node_name
    await snapshots.add(context, kind, fact.node.node_name, name=fact.name, overlay=overlay)
