"""The mirror job: a target becomes equal to the source and stays so, until a client lets the job end.

Building the job (`MirrorJob.create`, with all nodes drained) puts a `mirror_top` filter on top of the source. `run`
copies what is to be copied at first, and then again and again what guests have written meanwhile. Once nothing is left
to copy the job is ready. From then on it can be completed (the target takes the place of the source, or of the node
named by `replaces`), ended as it is (the target keeps the contents of that moment), or cancelled.

**It always comes to an end.** Guests that write faster than the job copies would keep it busy for ever. So when it is
to end, and when it has copied the disk several times over without becoming ready, the filter lets guests' writes go to
both sides (its active mode, which copy-mode=write-blocking has from the beginning): nothing new becomes dirty then,
and what is dirty runs out. QEMU has guests stand still at the end instead, and may never get ready.

**Nothing is lost at the switch.** `run` ends in the active mode with nothing left to copy. The filter stays in that
mode while the job waits for its group or a client's word. At the very end all nodes are drained, what may be left is
copied, and the graph is changed (`prepare_drained`). If the group fails after that, `abort` changes it back, before
any request can have come between.

The commit of an active layer is the same work with the base of the chain as the target (`MirrorSettings.is_commit`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from qmpd.block import chain
from qmpd.block.block_copy import DEFAULT_CHUNK, MAX_PARALLEL, CopyError, CopyTask
from qmpd.block.blockers import BlockOp
from qmpd.block.dirty_bitmap import default_granularity
from qmpd.block.drivers.mirror_top import MirrorTopDriver
from qmpd.block.extents import ExtentKind
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError
from qmpd.jobs.block_job import BlockJob, ErrorAction
from qmpd.jobs.holdings import Holdings, between
from qmpd.jobs.state import JobStatus

if TYPE_CHECKING:
    from qmpd.api.models import JobChangeOptionsMirror
    from qmpd.block.graph import BlockGraph
    from qmpd.block.mirror_copy import MirrorCopy
    from qmpd.jobs.manager import JobManager
    from qmpd.jobs.transaction import JobTransaction

DEFAULT_BUFFER = 10 << 20
"""Bytes under way at the same time unless the client says otherwise, as in QEMU."""

RETRY_SECONDS = 0.1
"""Pause before a request is tried again that failed and was to be ignored."""

GATHER_SECONDS = 0.05
"""How long a ready job lets writes gather before it copies what they have changed."""

REMAINDER = 1 << 20
"""Bytes that may be left to copy when a job whose guests write to both sides becomes ready, or ends."""

PATIENCE = 2
"""How many times over the first work is done before guests' writes are made to wait for the target."""

LEAST_PATIENCE = 16 << 20
"""Bytes that are copied in any case before that."""


class BackingMode(StrEnum):
    """What becomes of the target's backing file at the end."""

    LEAVE = "leave"  # it is as the client has made it
    SOURCE = "source"  # it is a node of the source's chain
    OPEN = "open"  # what the target's header says is opened


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """A mirror as asked for, checked as far as the nodes do not matter.

    :ivar layers: how many of the uppermost images of the source are copied at first; None for all there is, 0 for
        nothing (sync=none).
    :ivar granularity: bytes kept track of as a whole, 0 for the default.
    :ivar buffer: bytes that may be under way at the same time, 0 for the default.
    :ivar speed: bytes per second, 0 for no limit.
    :ivar write_blocking: guests' writes go to both sides from the beginning.
    :ivar unmap: the target may give space back where the source reads zero.
    :ivar replaces: the node whose place the target takes; None for the source.
    :ivar backing: what becomes of the target's backing file.
    :ivar base: the target's backing node under `BackingMode.SOURCE`; None for none.
    :ivar is_commit: the target is the base of the source's own chain.
    """

    job_id: str
    layers: int | None = None
    granularity: int = 0
    buffer: int = 0
    speed: int = 0
    write_blocking: bool = False
    unmap: bool = True
    replaces: str | None = None
    backing: BackingMode = BackingMode.LEAVE
    base: BlockNode | None = None
    is_commit: bool = False
    on_source_error: str = "report"
    on_target_error: str = "report"
    auto_finalize: bool = True
    auto_dismiss: bool = True
    filter_node_name: str | None = None


class MirrorJob(BlockJob):
    """One disk's mirror. Made by `create` only."""

    job_type = "mirror"

    def __init__(self, settings: MirrorSettings, graph: BlockGraph, source: BlockNode, target: BlockNode) -> None:
        super().__init__(
            settings.job_id,
            speed=settings.speed,
            auto_finalize=settings.auto_finalize,
            auto_dismiss=settings.auto_dismiss,
        )
        self._settings = settings
        self._graph = graph
        self._source = source
        self._target = target
        self._to_replace: BlockNode | None = None
        self._filter: BlockNode | None = None
        self._driver: MirrorTopDriver
        self._holdings = Holdings(graph, self)
        self._running: set[asyncio.Task[None]] = set()
        self._undo: list[Callable[[], None]] = []
        self._fatal: OSError | None = None
        self._copied = 0
        self._rest_copied = 0
        self._patience = 0
        self._is_ready = False
        self._completing = False
        self._closing_in = False
        self._write_blocking = settings.write_blocking
        self._stopped = False
        self._ignored = False

    @classmethod
    def create(
        cls,
        settings: MirrorSettings,
        manager: JobManager,
        graph: BlockGraph,
        source: BlockNode,
        target: BlockNode,
        group: JobTransaction | None = None,
    ) -> Self:
        """Make the job, ready to start, with its filter in place. `source` and `target` must be drained.

        :param group: the transaction it joins, None for one of its own.
        :raises GenericError: it cannot be; everything is as before.
        """
        manager.check_id(settings.job_id)
        job = cls(settings, graph, source, target)
        try:
            job._take()
            manager.add(job, group)
        except BaseException:
            job._give_back()
            raise
        return job

    def _take(self) -> None:
        settings, driver = self._settings, self._make_driver()
        self._driver = driver
        self._filter = self._graph.insert_filter(
            driver, self._source, settings.filter_node_name, {"target": self._target}
        )
        self._filter.implicit = settings.filter_node_name is None
        # What the target does not store will show its backing file one day.
        driver.whole_clusters = self.copy.over_source = _lacks_backing(self._target)
        driver.on_error = self._failed
        driver.on_mirrored = self._write_mirrored
        driver.active = self._write_blocking
        self.copy.partial = settings.layers is not None
        self.copy.unmap = settings.unmap
        self.copy.on_copied = self._count
        fixed = Perm.ALL & ~Perm.RESIZE
        uses = [("main node", self._filter, fixed), ("source", self._source, fixed)]
        uses.append(("target", self._target, Perm.ALL if settings.is_commit else fixed))
        uses += [("intermediate node", node, shared) for node, shared in self._intermediate()]
        for name, node, shared in uses:
            self._holdings.use(name, node, Perm.NONE, shared)
        if settings.is_commit:
            self._holdings.freeze(self._filter, self._target)

    def _make_driver(self) -> MirrorTopDriver:
        settings, target = self._settings, self._target
        granularity = settings.granularity or default_granularity(target.driver.cluster_size)
        if _lacks_backing(target):
            granularity = max(granularity, target.driver.cluster_size or 0)
        shared = Perm.WRITE_UNCHANGED
        if settings.is_commit:
            shared = Perm.ALL
        elif chain.skip_filters(target) in chain.chain(self._source):
            shared |= Perm.CONSISTENT_READ
        driver = MirrorTopDriver(granularity, shared, is_commit=settings.is_commit)
        if settings.is_commit and self._source.length > target.length:
            driver.target_perm |= Perm.RESIZE
        return driver

    def _intermediate(self) -> list[tuple[BlockNode, Perm]]:
        """The nodes between source and target, when both are of one chain, and what is shared of them."""
        return list(between(self._source, self._target))[1:] if self._settings.is_commit else []

    @property
    def copy(self) -> MirrorCopy:
        """What does the copying, shared with the filter."""
        return self._driver.copy

    def nodes(self) -> Sequence[BlockNode]:
        nodes = (self._filter, self._source, self._target, self._to_replace)
        return [node for node in nodes if node is not None]

    def given_up(self) -> Sequence[BlockNode]:
        return [self._target]

    # The work.

    async def run(self) -> None:
        try:
            await self.fit_target()
            await self._find_work()
            self.progress.set_remaining(self.copy.remaining)
            self._patience = max(PATIENCE * self.copy.remaining, LEAST_PATIENCE)
            while not await self._at_end():
                await self._copy_some()
        finally:
            while self._running:
                await asyncio.wait(self._running)

    async def fit_target(self) -> None:
        """See to it that the target has the length of the source.

        :raises GenericError: it has not.
        """
        if self._source.length != self._target.length:
            raise GenericError(
                f"Source and target of a mirror have to be of the same size: '{self._source.node_name}' has "
                f"{self._source.length} bytes, '{self._target.node_name}' {self._target.length}"
            )

    async def _find_work(self) -> None:
        """Mark what is to be copied at first. What guests write meanwhile is marked by the filter."""
        layers = self._settings.layers
        if layers is None:
            self.copy.mark_all()
        offset = 0
        while layers and offset < self.copy.length:
            offset = await self.copy.mark_allocated(offset, layers)
            await self.pause_point()

    async def _at_end(self) -> bool:
        """Whether the work is over. Here the job waits while there is nothing to copy."""
        await self.pause_point()
        await self._heed_failures()
        if self._is_ready and (self._completing or self.cancel_requested):
            await self._close_in()
        if self.pause_requested or self._running or not self._caught_up:
            return False
        if not self._is_ready:
            await self._become_ready()
            return False
        if self._completing or self.cancel_requested:
            return await self._finish_line()
        await self._wait_for_writes()
        return False

    async def _become_ready(self) -> None:
        if not await self._flush_target() or not self._caught_up or self.pause_requested:
            return
        self.progress.set_remaining(self.copy.remaining + self.copy.under_way)
        self._is_ready = True
        self._closing_in = False
        self._choose_mode()
        self.transition_to_ready()

    @property
    def _caught_up(self) -> bool:
        """Nothing is left to copy, but for a rest that guests keep alive although their writes go to both sides.

        Such a write may leave its clusters to be copied from the source (a discard does), and many at a time may see
        to it that there is always one that waits for another.
        """
        if self.copy.clean:
            self._rest_copied = 0
            return True
        return self._driver.active and self._rest_copied > 2 * self._rest

    @property
    def _rest(self) -> int:
        return max(REMAINDER, self.copy.cluster_size)

    async def _close_in(self) -> None:
        """From here on guests write to both sides."""
        if not self._driver.active:
            self._closing_in = True
            self._choose_mode()
            await self._driver.settled()

    async def _finish_line(self) -> bool:
        """True when the rest can be left to the very end, at which guests stand still."""
        if not self._driver.active or not await self._flush_target() or not self._caught_up:
            return False
        self.progress.set_remaining(0)
        return self._driver.active

    async def _wait_for_writes(self) -> None:
        self.copy.on_dirty = self.kick
        try:
            await self.sleep(3600)
        finally:
            self.copy.on_dirty = None
        if not self.copy.clean and not (self._completing or self.cancel_requested):
            await self.sleep(GATHER_SECONDS)

    async def _copy_some(self) -> None:
        """Set one more task to work, or wait until one has ended."""
        if self.pause_requested:
            return
        await self.throttle(0)
        self.progress.set_remaining(self.copy.remaining + self.copy.under_way)
        self._lose_patience()
        task = await self.copy.claim_next(self._chunk())
        if task is not None:
            self.rate_limit.charge(_data_in(self.copy, task))
            small = self._driver.active and self.copy.remaining <= self._rest
            self._rest_copied = self._rest_copied + self.copy.bytes_of(task) if small else 0
            self._spawn(task)
            if len(self._running) >= self._parallel:
                await self._one_done()
        elif self._running:
            await self._one_done()
        elif not self.copy.clean:
            # What is left is in the hands of guests' writes.
            await self.copy.wait_for_claims()

    def _lose_patience(self) -> None:
        if not self._is_ready and not self._closing_in and self._copied > self._patience:
            self._closing_in = True
            self._choose_mode()

    @property
    def _parallel(self) -> int:
        buffer = self._settings.buffer or DEFAULT_BUFFER
        return max(1, min(MAX_PARALLEL, buffer // self._chunk()))

    def _chunk(self) -> int:
        chunk = min(DEFAULT_CHUNK, max(self._settings.buffer or DEFAULT_BUFFER, self.copy.cluster_size))
        if self.speed:
            # A slow job goes in small steps, so that it is smooth and reacts to a new speed.
            chunk = min(chunk, max(self.speed // 10, self.copy.cluster_size))
        return chunk

    def _spawn(self, task: CopyTask) -> None:
        running = asyncio.get_running_loop().create_task(self._perform(task))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _perform(self, task: CopyTask) -> None:
        try:
            await self.copy.perform(task)
        except CopyError as error:
            self._failed(error)

    async def _one_done(self) -> None:
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def _count(self, length: int) -> None:
        self._copied += length
        self.progress.advance(length)

    async def on_pause(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        self.copy.forget_map()

    def quiescent(self) -> bool:
        return not self._running

    # Modes and errors.

    def _choose_mode(self) -> None:
        """Guests' writes go to both sides if so wanted, unless the job has failed, or stands still for an error."""
        wanted = self._write_blocking or self._closing_in
        self._driver.active = wanted and self._fatal is None and not self._stopped and not self.cancelled

    def _write_mirrored(self, length: int) -> None:
        self.progress.set_total(self.progress.total + length)
        self.progress.advance(length)

    def _failed(self, failure: CopyError) -> None:
        """A request failed, the job's own or one by which a guest's write was to reach the target.

        Decided and told at once, as in QEMU; what it concerns is marked and will be tried again. Requests that were
        under way when the first one failed fail for the same reason, which is not told again.
        """
        if self._fatal is not None or self._stopped or self.cancelled:
            return
        if self.over:
            self._fail_late(failure)
            return
        policy = self._settings.on_source_error if failure.is_read else self._settings.on_target_error
        action = self.error_action(policy, failure.cause, is_read=failure.is_read)
        if action is ErrorAction.REPORT:
            self._fatal = failure.cause
        elif action is ErrorAction.STOP:
            self._stopped = True
        else:
            # What is left to do wakes the job if it sleeps; this must not cut short its pause between two attempts.
            self._ignored = True
            return
        self._choose_mode()
        self.kick()

    def _fail_late(self, failure: CopyError) -> None:
        """The job's work is over, so there is nothing left that could try again."""
        self._fatal = failure.cause
        self._choose_mode()
        if not self.txn.decided and not self.txn.failed:
            self.fail(failure.cause)
            self.txn.take_down(self)

    async def _heed_failures(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self._ignored:
            self._ignored = False
            await self.sleep(RETRY_SECONDS)

    async def _flush_target(self) -> bool:
        try:
            await self._target.flush()
        except OSError as error:
            self._failed(CopyError(False, error))
            return False
        return True

    def change(self, options: JobChangeOptionsMirror) -> None:
        blocking = str(options.copy_mode) == "write-blocking"
        if self._write_blocking and not blocking:
            raise GenericError(f"Job '{self.job_id}' is in copy-mode 'write-blocking', which it cannot leave")
        self._write_blocking = blocking
        self._choose_mode()
        self.kick()

    def user_resume(self) -> None:
        super().user_resume()
        self._stopped = False
        self._choose_mode()

    # The end.

    def complete(self) -> None:
        if self._completing:
            return
        if self._settings.replaces is not None:
            node = self._graph.find(self._settings.replaces)
            if node is None:
                raise GenericError(f"There is no node '{self._settings.replaces}' any more that could be replaced")
            if node is not self._source:
                check_replaceable(self._source, node)
                self._holdings.block(node)
            self._to_replace = node
        self._completing = True
        self.kick()

    def cancel(self, force: bool) -> bool:
        if force or self.status not in (JobStatus.READY, JobStatus.STANDBY):
            self._driver.active = False
            return True
        return False

    async def prepare_drained(self) -> None:
        # All guests' writes are over and went to both sides; but a node below may have been written to directly.
        self.copy.forget_map()
        while (task := await self.copy.claim_next(self._chunk())) is not None:
            try:
                await self.copy.perform(task)
            except CopyError as error:
                raise error.cause from error
        # What guests have flushed on the source has to be as safe on the target, which they will flush from now on.
        await self._target.flush()
        self._driver.disconnect()
        self._holdings.unfreeze()
        await self.settle_backing()
        if self._completing:
            self.switch()
            if self._source.read_only:
                await self._make_read_only()

    async def settle_backing(self) -> None:
        """Give the target its backing file. Undone by `abort`.

        :raises GenericError: it cannot be opened, or not be used so.
        """
        mode = self._settings.backing
        if mode is BackingMode.LEAVE:
            return
        image = chain.skip_filters(self._target)
        child = chain.cow_child(image)
        before = None if child is None else child.node
        base = self._settings.base if mode is BackingMode.SOURCE else before or await self._open_backing(image)
        if before is not base:
            self._graph.set_child(image, "backing", base)
            self._undo.append(lambda: self._graph.set_child(image, "backing", before))

    async def _open_backing(self, image: BlockNode) -> BlockNode | None:
        details = image.driver.image_details()
        if "backing-filename" not in details:
            return None
        from qmpd.block.opening import open_inline
        from qmpd.block.probing import backing_options

        form = details.get("backing-filename-format")
        options = await backing_options(image, str(details["backing-filename"]), None if form is None else str(form))
        above = replace(image.options, read_only=True, auto_read_only=False, detect_zeroes="off")
        node = await open_inline(self._graph, options, above, protocol=False)
        # Nobody uses it yet.
        self._graph.discard_if_unused(node)
        return node

    def switch(self) -> None:
        """Let all users of the source, or of the node to be replaced, go over to the target. Undone by `abort`."""
        old = self._to_replace or self._source
        check_replaceable(self._source, old, blocked=False)
        edges = self._graph.replace_node(old, self._target)
        self._undo.append(lambda: self._graph.take_back(edges, old))

    async def _make_read_only(self) -> None:
        """The target is what the source was; it is good enough as it is if that cannot be."""
        from qmpd.block.reopen import set_read_only

        if self._target.read_only:
            return
        with suppress(GenericError):
            await set_read_only(self._graph, self._target, True)
            self._undo.append(self._undo_read_only)

    def _undo_read_only(self) -> None:
        # It takes I/O, so it cannot be done in `abort` itself.
        self._owner.spawn(self._make_writable(), f"make '{self._target.node_name}' writable")

    async def _make_writable(self) -> None:
        from qmpd.block.reopen import set_read_only

        async with self._graph.exclusive():
            if self._graph.find(self._target.node_name) is self._target:
                await set_read_only(self._graph, self._target, False)

    def abort(self) -> None:
        while self._undo:
            self._undo.pop()()

    def clean(self) -> None:
        self._give_back()

    def _give_back(self) -> None:
        self._holdings.give_back()
        mirror_top, self._filter = self._filter, None
        if mirror_top is not None:
            self._driver.disconnect()
            self._graph.remove_filter(mirror_top)


def check_replaceable(source: BlockNode, node: BlockNode, *, blocked: bool = True) -> None:
    """Pass if a mirror of `source` may take the place of `node`, without anybody seeing other data than before.

    :param blocked: heed the operations that others forbid on `node`.
    :raises GenericError: it may not.
    """
    if blocked:
        node.blockers.check(BlockOp.REPLACE)
    if not source.can_replace(node):
        raise GenericError(
            f"Node '{node.node_name}' cannot be replaced by a mirror of '{source.node_name}': they need not have the "
            "same data"
        )
    if node.length != source.length:
        raise GenericError(
            f"Node '{node.node_name}' has {node.length} bytes and cannot be replaced by a mirror of "
            f"'{source.node_name}' with {source.length}"
        )


def _lacks_backing(target: BlockNode) -> bool:
    """Whether the target names a backing file that is not attached, and so cannot fill in its clusters from there."""
    image = chain.skip_filters(target)
    return chain.cow_child(image) is None and "backing-filename" in image.driver.image_details()


def _data_in(copy: MirrorCopy, task: CopyTask) -> int:
    if task.extents is None:
        return copy.bytes_of(task)
    return sum(extent.length for extent in task.extents if extent.kind is ExtentKind.DATA)
