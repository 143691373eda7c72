"""The mirror commands. What they do is loaded when the first mirror is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import DriveMirror, QObjBlockdevMirrorArg
    from qmpd.block.graph import BlockGraph
    from qmpd.commands.mirror_request import MirrorRequests
    from qmpd.jobs.manager import JobManager


class MirrorCommands:
    """blockdev-mirror and drive-mirror."""

    def __init__(self, graph: BlockGraph, jobs: JobManager) -> None:
        self._graph = graph
        self._jobs = jobs

    def _requests(self) -> MirrorRequests:
        from qmpd.commands.mirror_request import MirrorRequests

        return MirrorRequests(self._graph, self._jobs)

    @command("blockdev-mirror")
    async def blockdev_mirror(self, ctx: RequestContext, args: QObjBlockdevMirrorArg) -> None:
        """Mirror into a node.

        :raises GenericError: no such node, contradicting members, nodes in use.
        """
        requests = self._requests()
        async with self._graph.exclusive():
            await requests.into_node(args)

    @command("drive-mirror")
    async def drive_mirror(self, ctx: RequestContext, args: DriveMirror) -> None:
        """Mirror into a file.

        :raises GenericError: no such node, contradicting members, a node in use, or a file that cannot be had.
        """
        requests = self._requests()
        async with self._graph.exclusive():
            await requests.into_file(args)
