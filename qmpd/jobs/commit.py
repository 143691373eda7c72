"""The commit job for an intermediate image: what the images of a chain hold above a base goes into the base.

The active layer of a disk, which a guest writes to, is committed by a mirror into the base.

While the job works, a `commit_top` filter stands on the topmost image to be committed, so that nothing above relies
on what the base holds by itself: each cluster written to it is hidden by the images between until they go. At the end
the images on top name the base as their backing file, first in their headers, then in the graph (`prepare_drained`).
Both before and after that every disk reads the same, whichever of the two a crash leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qmpd.block import chain
from qmpd.block.block_copy import BlockCopy, CopyTask
from qmpd.block.drivers.commit_top import CommitTopDriver
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.block.reopen import read_only_afterwards
from qmpd.jobs.backing_names import BackingNames
from qmpd.jobs.block_job import ErrorAction
from qmpd.jobs.chain_job import RETRY_SECONDS, PiecewiseJob
from qmpd.jobs.holdings import Holdings, between
from qmpd.jobs.manager import JobManager
from qmpd.jobs.survey import MIN_CLUSTER, Survey

_ZERO_STEP = 64 << 20


@dataclass(frozen=True, slots=True)
class CommitSettings:
    """A commit as asked for, checked as far as the nodes do not matter.

    :ivar backing_file: what the images on top are to name as their backing file; None for the base's own name.
    :ivar speed: bytes per second, 0 for no limit.
    """

    job_id: str
    backing_file: str | None = None
    speed: int = 0
    on_error: str = "report"
    filter_node_name: str | None = None
    auto_finalize: bool = True
    auto_dismiss: bool = True


@dataclass(frozen=True, slots=True)
class CommittedPiece:
    """The piece of a chain that a commit makes into one image.

    :ivar device: the node at the top of the whole disk.
    :ivar top: the topmost node to be committed, which leaves the chain.
    :ivar base: the node that takes over the data.
    """

    device: BlockNode
    top: BlockNode
    base: BlockNode


class CommitWork:
    """What is left to copy to the base, as a `PieceSource`."""

    def __init__(self, job: CommitJob) -> None:
        self._job = job
        self._survey = Survey(job.top, max(job.base.driver.cluster_size or 0, MIN_CLUSTER))
        self._copy = BlockCopy(job.top, job.base, self._survey.cluster_size, self._survey.todo)
        self._copy.on_copied = job.progress.advance

    async def claim_next(self, chunk: int) -> CopyTask | None:
        """The next clusters that images above the base store."""
        while (task := await self._copy.claim_next(chunk)) is None:
            if self._survey.complete:
                return None
            self._job.progress.advance(await self._survey.look_on(self._job.base))
        return task

    async def perform(self, piece: CopyTask) -> None:
        """Copy them."""
        await self._copy.perform(piece)

    def bytes_of(self, piece: CopyTask) -> int:
        """Bytes of the disk in a piece."""
        return self._copy.bytes_of(piece)


class CommitJob(PiecewiseJob[CopyTask]):
    """One commit. Made by `create` only.

    :ivar top: the topmost node to be committed.
    :ivar base: the node that takes over the data.
    """

    job_type = "commit"

    def __init__(
        self, settings: CommitSettings, graph: BlockGraph, piece: CommittedPiece, base_was_read_only: bool
    ) -> None:
        super().__init__(
            settings.job_id,
            speed=settings.speed,
            on_error=settings.on_error,
            auto_finalize=settings.auto_finalize,
            auto_dismiss=settings.auto_dismiss,
        )
        self._settings = settings
        self._graph = graph
        self._device = piece.device
        self.top = piece.top
        self.base = piece.base
        self._base_was_read_only = base_was_read_only
        self._holdings = Holdings(graph, self)
        self._filter: BlockNode | None = None
        self._names = BackingNames(graph)
        self._undo: list[Callable[[], None]] = []

    @classmethod
    def create(
        cls,
        settings: CommitSettings,
        manager: JobManager,
        graph: BlockGraph,
        piece: CommittedPiece,
        *,
        base_was_read_only: bool,
    ) -> CommitJob:
        """Make the job, ready to start, with its filter in place. The base must be drained and writable.

        :param base_was_read_only: make the base read-only when the job is over.
        :raises GenericError: it cannot be; everything is as before.
        """
        manager.check_id(settings.job_id)
        job = cls(settings, graph, piece, base_was_read_only)
        try:
            job._take()
            manager.add(job)
        except BaseException:
            job._holdings.give_back()
            job._remove_filter()
            raise
        return job

    def _take(self) -> None:
        graph, held, top, base = self._graph, self._holdings, self.top, self.base
        self._filter = graph.insert_filter(CommitTopDriver(), top, self._settings.filter_node_name, {})
        self._filter.implicit = self._settings.filter_node_name is None
        held.use("main node", self._device)
        for node, shared in between(top, base):
            held.use("intermediate node", node, Perm.NONE, shared)
        held.freeze(self._filter, base)
        perm = Perm.CONSISTENT_READ | Perm.WRITE
        if base.length < top.length:
            perm |= Perm.RESIZE
            base.bitmaps.check_resize(top.length)
        held.use("base", base, perm, Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED)

    def nodes(self) -> Sequence[BlockNode]:
        return [node for node in (self._filter, self.top, self.base) if node is not None]

    # The work.

    async def run(self) -> None:
        top, base = self.top, self.base
        self.progress.set_total(top.length)
        if base.length < top.length:
            await base.truncate(top.length)
        await self.work(CommitWork(self))
        await self._blank_tail()

    async def _blank_tail(self) -> None:
        """What an image on top shows beyond the end of a shorter top is zero, and not what the base holds there."""
        longest = max((image.length for image in self._overlays()), default=0)
        offset, end = self.top.length, min(longest, self.base.length)
        while offset < end:
            await self.pause_point()
            step = min(end - offset, _ZERO_STEP)
            try:
                await self.base.pwrite_zeroes(offset, step)
            except OSError as error:
                action = self.error_action(self._on_error, error, is_read=False)
                if action is ErrorAction.REPORT:
                    raise
                if action is ErrorAction.IGNORE:
                    await self.sleep(RETRY_SECONDS)
            else:
                offset += step

    def _overlays(self) -> list[BlockNode]:
        """The images whose backing file is what is committed."""
        return [] if self._filter is None else chain.overlays(self._filter)

    # The end.

    async def prepare_drained(self) -> None:
        commit_top, base = self._filter, self.base
        if commit_top is None:
            return
        await base.flush()
        image, given = chain.skip_filters(base), self._settings.backing_file
        name = image.driver.filename() if given is None else given
        for overlay in self._overlays():
            await self._names.change(overlay, name, image.driver.format_name)
        self._holdings.retire()
        edges = self._graph.replace_node(commit_top, base)
        self._undo.append(lambda: self._graph.take_back(edges, commit_top))

    def commit(self) -> None:
        self._filter = None  # nobody uses it any more

    def abort(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._names.put_back()

    def clean(self) -> None:
        self._holdings.give_back()
        self._remove_filter()
        if self._base_was_read_only:
            read_only_afterwards(self._graph, self.base)

    def _remove_filter(self) -> None:
        commit_top, self._filter = self._filter, None
        if commit_top is not None:
            self._graph.remove_filter(commit_top)

