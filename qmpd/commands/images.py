"""Commands that make images and change what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.blockers import BlockOp
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api import models
    from qmpd.block.graph import BlockGraph
    from qmpd.jobs.job import Job
    from qmpd.jobs.manager import JobManager


class ImageCommands:
    """blockdev-create, x-blockdev-amend and change-backing-file."""

    def __init__(self, graph: BlockGraph, jobs: JobManager) -> None:
        self._graph = graph
        self._jobs = jobs

    @command("blockdev-create")
    def create(self, ctx: RequestContext, args: models.QObjBlockdevCreateArg) -> None:
        """Begin to make an image.

        :raises GenericError: the format cannot be made, or the options or the job's name cannot be.
        """
        from qmpd.jobs.image_jobs import CreateFileJob, CreateQcow2Job

        options = args.options
        job: Job
        if options.driver == "file":
            job = CreateFileJob(args.job_id, self._graph, options)  # type: ignore[arg-type]
        elif options.driver == "qcow2":
            job = CreateQcow2Job(args.job_id, self._graph, options)  # type: ignore[arg-type]
        else:
            raise GenericError(f"Driver '{options.driver}' cannot make images; 'file' and 'qcow2' can")
        self._jobs.add(job)
        job.start()

    @command("x-blockdev-amend")
    def amend(self, ctx: RequestContext, args: models.QObjXBlockdevAmendArg) -> None:
        """Begin to change the options of an image.

        :raises GenericError: no such node, another format, or a format whose options cannot be changed.
        """
        node = self._graph.lookup_node(args.node_name)
        if node.driver.format_name != str(args.options.driver):
            raise GenericError(
                f"Node '{args.node_name}' has the driver '{node.driver.format_name}', which cannot be changed to "
                f"'{args.options.driver}'"
            )
        if args.options.driver != "qcow2":
            raise GenericError(f"Driver '{args.options.driver}' has no options that can be changed")
        from qmpd.jobs.image_jobs import AmendJob

        job = AmendJob(args.job_id, self._graph, node, args.options)  # type: ignore[arg-type]
        self._jobs.add(job)
        job.start()

    @command("change-backing-file")
    async def change_backing_file(self, ctx: RequestContext, args: models.QObjChangeBackingFileArg) -> None:
        """Write another backing file name into an image.

        :raises GenericError: no such node, not the top of a disk, not in its chain, in use by a job, or an image
            without a backing file.
        """
        from qmpd.block import chain
        from qmpd.jobs.backing_names import write_backing_name

        async with self._graph.exclusive():
            top = self._graph.lookup(args.device)
            chain.check_is_root(top)
            node = self._graph.lookup_node(args.image_node_name)
            top.blockers.check(BlockOp.CHANGE)
            node.blockers.check(BlockOp.CHANGE)
            if node not in chain.chain(top):
                raise GenericError(f"Node '{args.image_node_name}' is not in the chain of '{args.device}'")
            if chain.cow_child(node) is None:
                raise GenericError(f"Node '{args.image_node_name}' has no backing file")
            await write_backing_name(self._graph, node, args.backing_file, None)
