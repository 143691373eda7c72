"""Requests for mirrors: checking what was asked for, and building the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.blockers import BlockOp
from qmpd.block.chain import backing_node, skip_filters, skip_implicit_filters
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.target_file import TargetFile
from qmpd.errors import GenericError
from qmpd.jobs.mirror import BackingMode, MirrorJob, MirrorSettings, check_replaceable

if TYPE_CHECKING:
    from qmpd.api.models import DriveMirror, QObjBlockdevMirrorArg
    from qmpd.block.graph import BlockGraph
    from qmpd.jobs.manager import JobManager

MIN_GRANULARITY = 512
MAX_GRANULARITY = 64 << 20


class MirrorRequests:
    """Starts mirrors. Every method is to be called within `graph.exclusive()`."""

    def __init__(self, graph: BlockGraph, jobs: JobManager) -> None:
        self._graph = graph
        self._jobs = jobs

    async def into_node(self, args: QObjBlockdevMirrorArg) -> None:
        """Start a mirror into a node that is there.

        :raises GenericError: no such node, contradicting members, nodes in use.
        """
        source = self._source(args.device)
        target = self._graph.lookup(args.target)
        settings = self._settings(args, source, filter_node_name=args.filter_node_name)
        await self._begin(settings, source, target)

    async def into_file(self, args: DriveMirror) -> None:
        """Start a mirror into a file, which is made if need be.

        :raises GenericError: as `into_node`, or the file cannot be made or opened; it is as it was before then.
        """
        source = self._source(args.device)
        source.blockers.check(BlockOp.MIRROR_SOURCE)
        if args.replaces is not None and args.node_name is None:
            raise GenericError("'node-name' is missing: with 'replaces' the target needs a name of its own")
        if args.node_name is not None:
            self._graph.check_new_name(args.node_name)
        existing = args.mode is not None and str(args.mode) == "existing"
        base = _base(str(args.sync), source)
        settings = self._settings(
            args,
            source,
            unmap=args.unmap is not False,
            backing=BackingMode.OPEN if existing else BackingMode.SOURCE,
            base=base,
        )
        file = TargetFile(self._graph, args.target, args.format)
        try:
            if not existing:
                await file.make(source, base)
            flags = NodeOptions(
                cache_direct=source.options.cache_direct,
                cache_no_flush=source.options.cache_no_flush,
                discard_unmap=source.options.discard_unmap,
            )
            target = await file.open(source, node_name=args.node_name, flags=flags, alone=True)
            await self._begin(settings, source, target)
        except BaseException:
            file.undo()
            raise
        await file.keep()

    def _source(self, device: str) -> BlockNode:
        source = self._graph.lookup(device)
        parent = next((child.owner for child in source.parents if isinstance(child.owner, BlockNode)), None)
        if parent is not None:
            raise GenericError(
                f"Node '{source.node_name}' is used by {parent.describe()}; a mirror needs the top of a disk"
            )
        return source

    def _settings(self, args: Any, source: BlockNode, **further: Any) -> MirrorSettings:
        """The checked settings of a mirror.

        :raises GenericError: members contradict each other, or are out of range.
        """
        _check_numbers(args.granularity or 0, args.buf_size or 0)
        return MirrorSettings(
            job_id=self._job_id(args),
            layers=_layers(str(args.sync), source),
            granularity=args.granularity or 0,
            buffer=args.buf_size or 0,
            speed=args.speed or 0,
            write_blocking=args.copy_mode is not None and str(args.copy_mode) == "write-blocking",
            replaces=self._replaces(args, source),
            on_source_error=str(args.on_source_error or "report"),
            on_target_error=str(args.on_target_error or "report"),
            auto_finalize=args.auto_finalize is not False,
            auto_dismiss=args.auto_dismiss is not False,
            **further,
        )

    def _job_id(self, args: Any) -> str:
        if args.job_id is not None:
            return str(args.job_id)
        if args.device in self._graph.backends:
            return str(args.device)
        raise GenericError("'job-id' is missing: a node without a device gives a job no name")

    def _replaces(self, args: Any, source: BlockNode) -> str | None:
        if args.replaces is None:
            # Filters of other jobs stay where they are: they know their own end.
            unfiltered = skip_implicit_filters(source)
            return None if unfiltered is source else unfiltered.node_name
        check_replaceable(source, self._graph.lookup_node(args.replaces))
        return str(args.replaces)

    async def _begin(self, settings: MirrorSettings, source: BlockNode, target: BlockNode) -> None:
        if skip_filters(source) is skip_filters(target):
            raise GenericError("'device' and 'target' are the same node, or filters of one; a mirror needs two")
        source.blockers.check(BlockOp.MIRROR_SOURCE)
        target.blockers.check(BlockOp.MIRROR_TARGET)
        async with self._graph.drained([source, target]):
            job = MirrorJob.create(settings, self._jobs, self._graph, source, target)
        job.start()


def _check_numbers(granularity: int, buffer: int) -> None:
    if granularity and not MIN_GRANULARITY <= granularity <= MAX_GRANULARITY:
        raise GenericError(f"'granularity' is {granularity}; it has to be from {MIN_GRANULARITY} to {MAX_GRANULARITY}")
    if granularity & (granularity - 1):
        raise GenericError(f"'granularity' is {granularity}; it has to be a power of two")
    if buffer < 0:
        raise GenericError(f"'buf-size' is {buffer}; it must not be negative")


def _base(sync: str, source: BlockNode) -> BlockNode | None:
    """The image that shows through a new target where nothing was copied."""
    if sync == "none":
        return source
    return backing_node(source) if sync == "top" else None


def _layers(sync: str, source: BlockNode) -> int | None:
    """How many images of the source's chain are copied at first; None for all.

    :raises GenericError: a mirror cannot do that.
    """
    if sync == "none":
        return 0
    if sync == "top":
        return 1 if backing_node(source) is not None else None
    if sync == "full":
        return None
    raise GenericError(f"'sync' is '{sync}'; a mirror knows no bitmaps, only 'full', 'top' and 'none'")
