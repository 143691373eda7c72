"""The command that carries out a line of the monitor for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjHumanMonitorCommandArg
    from qmpd.block.drive import Drive
    from qmpd.block.graph import BlockGraph
    from qmpd.hmp.qemu_io.requests import Requests
    from qmpd.monitor.dispatcher import Dispatcher


class HumanCommands:
    """human-monitor-command.

    :param dispatcher: carries out the QMP commands by which most lines are carried out.
    :param drive_of: the drive of a device, by the device's id or path; None if there is no such device.
    """

    def __init__(
        self, graph: BlockGraph, dispatcher: Dispatcher, drive_of: Callable[[str], Drive | None]
    ) -> None:
        self._graph = graph
        self._drive_of = drive_of
        self._dispatcher = dispatcher
        self._requests: Requests | None = None

    @command("human-monitor-command")
    async def human_monitor_command(self, ctx: RequestContext, args: QObjHumanMonitorCommandArg) -> str:
        """Carry out a line. One that cannot be carried out is answered in the text.

        Processor 0 may be named, since every machine has one and `qmp-shell -H` always does; no line looks at it.

        :raises GenericError: another processor is named.
        """
        from qmpd.hmp.command import Human
        from qmpd.hmp.table import run

        if args.cpu_index:
            raise GenericError(f"'cpu-index' is {args.cpu_index}; there is no such processor here")

        async def execute(name: str, arguments: dict[str, Any]) -> Any:
            handler = self._dispatcher.lookup(name)
            return orjson.loads(await self._dispatcher.run_async(handler, ctx, arguments))

        human = Human(self._graph, execute, self._drive_of, self._open_requests())
        return await run(human, args.command_line)

    async def close(self) -> None:
        """End what lines have under way. For shutdown."""
        if self._requests is not None:
            await self._requests.close()

    def _open_requests(self) -> Requests:
        if self._requests is None:
            from qmpd.hmp.qemu_io.requests import Requests

            self._requests = Requests(self._is_disk)
        return self._requests

    def _is_disk(self, name: str) -> bool:
        return name in self._graph.nodes or any(drive.label == name for drive in self._graph.drives)
