"""The stream job: an image takes over what the images below it hold, down to a base, which then backs it directly.

A copy-on-read filter stands on the image meanwhile, so that what a guest reads need not be read again. The job asks
the image to store what shows through it, piece by piece (`populate`); a guest's write to the same clusters comes
before or after that, never between, and its data stays.

At the end the image names the base as its backing file, first in its header, then in the graph (`prepare_drained`).
Both before and after that the disk reads the same, whichever of the two a crash leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qmpd.block import chain
from qmpd.block.block_copy import CopyError
from qmpd.block.drivers.copy_on_read import CopyOnReadDriver
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.block.reopen import read_only_afterwards
from qmpd.jobs.backing_names import BackingNames
from qmpd.jobs.chain_job import PiecewiseJob
from qmpd.jobs.holdings import Holdings
from qmpd.jobs.manager import JobManager
from qmpd.jobs.survey import MIN_CLUSTER, Survey

_READ = Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """A stream as asked for, checked as far as the nodes do not matter.

    :ivar backing_file: what the image is to name as its backing file; None for the base's own name.
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
class StreamedPiece:
    """The piece of a chain that a stream makes into one image.

    :ivar image: the node at its top, which takes over the data of all.
    :ivar bottom: the lowest image whose data it takes over; the image itself when there is nothing to do.
    :ivar lowest: the lowest node that leaves the chain: `bottom`, or the last of the filters below it.
    """

    image: BlockNode
    bottom: BlockNode
    lowest: BlockNode


Piece = tuple[int, int]
"""Clusters, as first and end."""


class StreamWork:
    """What is left to store in the image, as a `PieceSource`.

    :ivar advance: told how many bytes of the disk are done with.
    """

    def __init__(self, job: StreamJob) -> None:
        self._job = job
        self._survey = Survey(job.image, max(job.image.driver.cluster_size or 0, MIN_CLUSTER))

    async def claim_next(self, chunk: int) -> Piece | None:
        """The next marked clusters."""
        todo = self._survey.todo
        while (first := todo.find(1)) < 0:
            if self._survey.complete:
                return None
            self._job.progress.advance(await self._survey.look_on(self._job.base))
        end = todo.find(0, first, min(len(todo), first + max(chunk // self._survey.cluster_size, 1)))
        end = min(len(todo), first + max(chunk // self._survey.cluster_size, 1)) if end < 0 else end
        todo[first:end] = 0
        return first, end

    async def perform(self, piece: Piece) -> None:
        """Store them. QEMU reports all failures of a stream as those of reading, so they are here."""
        first, end = piece
        try:
            await self._job.image.populate(first * self._survey.cluster_size, self.bytes_of(piece))
        except OSError as error:
            self._survey.todo[first:end] = 1
            raise CopyError(True, error) from error
        self._job.progress.advance(self.bytes_of(piece))

    def bytes_of(self, piece: Piece) -> int:
        """Bytes of the disk in a piece."""
        return self._survey.bytes_between(*piece)

    def skip(self, piece: Piece | None) -> None:
        """Leave out what cannot be done: a piece, or when it cannot be told what is to do, all that is looked at."""
        if piece is None:
            self._job.progress.advance(self._survey.skip_window())
        else:
            self._survey.todo[piece[0] : piece[1]] = 0
            self._job.progress.advance(self.bytes_of(piece))


class StreamJob(PiecewiseJob[Piece]):
    """One stream. Made by `create` only.

    :ivar image: the node that takes over the data.
    """

    job_type = "stream"

    def __init__(self, settings: StreamSettings, graph: BlockGraph, piece: StreamedPiece, was_read_only: bool) -> None:
        super().__init__(
            settings.job_id,
            speed=settings.speed,
            on_error=settings.on_error,
            auto_finalize=settings.auto_finalize,
            auto_dismiss=settings.auto_dismiss,
        )
        self._settings = settings
        self._graph = graph
        self.image = piece.image
        self._bottom = piece.bottom
        self._lowest = piece.lowest
        self._was_read_only = was_read_only
        self._holdings = Holdings(graph, self)
        self._filter: BlockNode | None = None
        self._names = BackingNames(graph)
        self._undo: list[Callable[[], None]] = []
        self._ignored: OSError | None = None

    @classmethod
    def create(
        cls,
        settings: StreamSettings,
        manager: JobManager,
        graph: BlockGraph,
        piece: StreamedPiece,
        *,
        was_read_only: bool,
    ) -> StreamJob:
        """Make the job, ready to start, with its filter in place. The image must be drained and writable.

        :param was_read_only: make the image read-only when the job is over.
        :raises GenericError: it cannot be; everything is as before.
        """
        manager.check_id(settings.job_id)
        job = cls(settings, graph, piece, was_read_only)
        try:
            job._take()
            manager.add(job)
        except BaseException:
            job._let_go()
            raise
        return job

    def _take(self) -> None:
        image, graph, held = self.image, self._graph, self._holdings
        driver = CopyOnReadDriver.for_job(self._bottom)
        self._filter = graph.insert_filter(driver, image, self._settings.filter_node_name, {})
        self._filter.implicit = self._settings.filter_node_name is None
        held.freeze(self._filter, self._lowest)
        held.use("main node", self._filter)
        held.use("active node", image, Perm.NONE, _READ | Perm.WRITE)
        node = image
        while node is not self._lowest and (below := chain.below(node)) is not None:
            held.use("intermediate node", below, Perm.NONE, _READ)
            node = below

    @property
    def base(self) -> BlockNode | None:
        """The image that backs the image when the job is over; None for none."""
        return chain.backing_node(self._bottom)

    def nodes(self) -> Sequence[BlockNode]:
        return [node for node in (self._filter, self.image, chain.below(self._lowest)) if node is not None]

    # The work.

    async def run(self) -> None:
        if self._bottom is chain.skip_filters(self.image):
            return
        self.progress.set_total(self.image.length)
        self._work = StreamWork(self)
        await self.work(self._work)
        if self._ignored is not None:
            raise self._ignored

    async def ignore(self, source: object, piece: Piece | None, error: CopyError) -> None:
        """Go on with the rest; the job fails at its end, so the chain stays as it is."""
        self._ignored = self._ignored or error.cause
        self._work.skip(piece)

    # The end.

    async def prepare_drained(self) -> None:
        image, base = chain.skip_filters(self.image), self.base
        edge = chain.cow_child(image)
        if edge is None:
            return
        given, before = self._settings.backing_file, edge.node
        name = "" if base is None else base.driver.filename() if given is None else given
        await self._names.change(image, name, "" if base is None else base.driver.format_name)
        below = chain.below(self._lowest)
        self._holdings.retire()
        self._graph.set_child(image, "backing", below)
        self._undo.append(lambda: self._graph.set_child(image, "backing", before))

    def abort(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._names.put_back()

    def clean(self) -> None:
        self._let_go()
        if self._was_read_only:
            read_only_afterwards(self._graph, self.image)

    def _let_go(self) -> None:
        self._holdings.give_back()
        cor, self._filter = self._filter, None
        if cor is not None:
            self._graph.remove_filter(cor)

