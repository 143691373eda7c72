"""The commands that shorten chains of images: block-stream and block-commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block import chain
from qmpd.block.blockers import BlockOp
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from qmpd.api.models import QObjBlockCommitArg, QObjBlockStreamArg
    from qmpd.block.graph import BlockGraph
    from qmpd.jobs.commit import CommittedPiece
    from qmpd.jobs.job import Job
    from qmpd.jobs.manager import JobManager
    from qmpd.jobs.stream import StreamedPiece


class ChainCommands:
    """block-stream and block-commit."""

    def __init__(self, graph: BlockGraph, jobs: JobManager) -> None:
        self._graph = graph
        self._jobs = jobs

    @command("block-stream")
    async def stream(self, ctx: RequestContext, args: QObjBlockStreamArg) -> None:
        """Let an image take over the data of those below it.

        :raises GenericError: contradicting arguments, nodes that are not there, not in the chain, or in use.
        """
        async with self._graph.exclusive():
            (await self._make_stream(args)).start()

    async def _make_stream(self, args: QObjBlockStreamArg) -> Job:
        from qmpd.jobs.stream import StreamJob, StreamSettings

        _exclude("base", args.base, "base-node", args.base_node)
        _exclude("base", args.base, "bottom", args.bottom)
        _exclude("base-node", args.base_node, "bottom", args.bottom)
        image = self._graph.lookup(args.device)
        piece = self._streamed_piece(args, image)
        settings = StreamSettings(
            job_id=self._job_id(args.job_id, args.device),
            backing_file=args.backing_file,
            speed=args.speed or 0,
            on_error=str(args.on_error or "report"),
            filter_node_name=args.filter_node_name,
            auto_finalize=args.auto_finalize is not False,
            auto_dismiss=args.auto_dismiss is not False,
        )
        async with self._writable(image) as was_read_only, self._graph.drained([image]):
            return StreamJob.create(settings, self._jobs, self._graph, piece, was_read_only=was_read_only)

    def _streamed_piece(self, args: QObjBlockStreamArg, image: BlockNode) -> StreamedPiece:
        from qmpd.jobs.stream import StreamedPiece

        if args.bottom is not None:
            bottom = lowest = self._graph.lookup_node(args.bottom)
            if bottom.driver.is_filter:
                raise GenericError(f"'bottom' is the filter '{args.bottom}'; it has to be an image")
            _check_in_chain(image, bottom)
        else:
            base = self._base_of_stream(args, image)
            nodes = list(chain.chain(image))
            lowest = nodes[-1] if base is None else nodes[nodes.index(base) - 1]
            bottom = _lowest_image(image, base)
        if args.backing_file is not None and args.base is None and args.base_node is None:
            raise GenericError("'backing-file' is given without a 'base'; the image will have no backing file to name")
        for node in chain.chain(image):
            node.blockers.check(BlockOp.STREAM)
            if node is lowest:
                break
        return StreamedPiece(image, bottom, lowest)

    def _base_of_stream(self, args: QObjBlockStreamArg, image: BlockNode) -> BlockNode | None:
        if args.base is not None:
            return _by_file(image, args.base)
        if args.base_node is None:
            return None
        base = self._graph.lookup_node(args.base_node)
        if base is image or base not in chain.chain(image):
            raise GenericError(f"Node '{args.base_node}' is not below '{image.node_name}' in its chain")
        return base

    @command("block-commit")
    async def commit(self, ctx: RequestContext, args: QObjBlockCommitArg) -> None:
        """Move the data of images into one below them.

        :raises DeviceNotFound: no such device.
        :raises GenericError: contradicting arguments, nodes that are not there, not in the chain, or in use.
        """
        async with self._graph.exclusive():
            (await self._make_commit(args)).start()

    async def _make_commit(self, args: QObjBlockCommitArg) -> Job:
        _exclude("base", args.base, "base-node", args.base_node)
        _exclude("top", args.top, "top-node", args.top_node)
        piece = self._committed_piece(args)
        self._check_blockers(piece)
        if piece.top.cumulative_perm & Perm.WRITE or chain.skip_filters(piece.top) is chain.skip_filters(piece.device):
            return await self._make_active_commit(args, piece)
        return await self._make_intermediate_commit(args, piece)

    def _committed_piece(self, args: QObjBlockCommitArg) -> CommittedPiece:
        from qmpd.jobs.commit import CommittedPiece

        device = self._graph.find(args.device)
        if device is None:
            raise DeviceNotFound(f"There is no device and no node named '{args.device}'")
        chain.check_is_root(device)
        device.blockers.check(BlockOp.COMMIT_SOURCE)
        top = base = device
        if args.top_node is not None:
            top = self._graph.lookup_node(args.top_node)
        elif args.top is not None and args.top != device.driver.filename():
            top = _by_file(device, args.top)
        _check_in_chain(device, top)
        if args.base_node is not None:
            base = self._graph.lookup_node(args.base_node)
        elif args.base is not None:
            base = _by_file(top, args.base)
        else:
            base = list(chain.chain(top))[-1]
        _check_in_chain(top, base)
        if chain.skip_filters(top) is chain.skip_filters(base):
            raise GenericError(f"Node '{top.node_name}' cannot be committed into itself")
        return CommittedPiece(device, top, base)

    def _check_blockers(self, piece: CommittedPiece) -> None:
        for node in chain.chain(piece.top):
            node.blockers.check(BlockOp.COMMIT_TARGET)
            if node is piece.base:
                return

    async def _make_intermediate_commit(self, args: QObjBlockCommitArg, piece: CommittedPiece) -> Job:
        from qmpd.jobs.commit import CommitJob, CommitSettings

        overlay = chain.overlay_of(piece.device, piece.top)
        if overlay is not None:
            overlay.blockers.check(BlockOp.COMMIT_TARGET)
        settings = CommitSettings(
            job_id=self._job_id(args.job_id, args.device),
            backing_file=args.backing_file,
            speed=args.speed or 0,
            on_error=str(args.on_error or "report"),
            filter_node_name=args.filter_node_name,
            auto_finalize=args.auto_finalize is not False,
            auto_dismiss=args.auto_dismiss is not False,
        )
        async with self._writable(piece.base) as was_read_only, self._graph.drained([piece.base]):
            return CommitJob.create(settings, self._jobs, self._graph, piece, base_was_read_only=was_read_only)

    async def _make_active_commit(self, args: QObjBlockCommitArg, piece: CommittedPiece) -> Job:
        from qmpd.jobs.active_commit import ActiveCommitJob
        from qmpd.jobs.mirror import MirrorSettings

        if args.backing_file is not None:
            raise GenericError(
                f"'backing-file' is given, and '{piece.top.node_name}' is written to; it will not be anybody's backing "
                "file"
            )
        on_error = str(args.on_error or "report")
        settings = MirrorSettings(
            job_id=self._job_id(args.job_id, args.device),
            speed=args.speed or 0,
            is_commit=True,
            on_source_error=on_error,
            on_target_error=on_error,
            auto_finalize=args.auto_finalize is not False,
            auto_dismiss=args.auto_dismiss is not False,
            filter_node_name=args.filter_node_name,
        )
        async with self._writable(piece.base) as was_read_only, self._graph.drained([piece.top, piece.base]):
            job = ActiveCommitJob.create(settings, self._jobs, self._graph, piece.top, piece.base)
            job.base_was_read_only = was_read_only
            return job

    def _writable(self, node: BlockNode) -> AbstractAsyncContextManager[bool]:
        from qmpd.block.reopen import writable_for_job

        return writable_for_job(self._graph, node)

    def _job_id(self, job_id: str | None, device: str) -> str:
        if job_id is not None:
            return job_id
        if device in self._graph.backends:
            return device
        raise GenericError("'job-id' is missing: a node without a device gives a job no name")


def _exclude(first: str, one: object, second: str, other: object) -> None:
    if one is not None and other is not None:
        raise GenericError(f"'{first}' and '{second}' say the same in two ways; give one of them")


def _check_in_chain(top: BlockNode, node: BlockNode) -> None:
    if node not in chain.chain(top):
        raise GenericError(f"Node '{node.node_name}' is not in the chain of '{top.node_name}'")


def _lowest_image(image: BlockNode, base: BlockNode | None) -> BlockNode:
    """The image of the chain that stands on `base`, or at its end."""
    if base is not None:
        overlay = chain.overlay_of(image, base)
        if overlay is None:
            raise GenericError(f"Node '{base.node_name}' is no backing file in the chain of '{image.node_name}'")
        return overlay
    lowest = chain.skip_filters(image)
    while (below := chain.backing_node(lowest)) is not None:
        lowest = below
    return lowest


def _by_file(top: BlockNode, name: str) -> BlockNode:
    """The image below `top` in its chain that has this file name.

    :raises GenericError: there is none.
    """
    found = chain.image_by_file(top, name)
    if found is None:
        raise GenericError(f"No image in the chain of '{top.node_name}' has the file name '{name}'")
    return found
