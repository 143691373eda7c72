"""Commands that stop guests and let them go on, and that ask for what only they can do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qmpd.block.node import BlockNode
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph

_log = logging.getLogger(__name__)


class RunStateCommands:
    """query-status, stop, cont, system_reset, system_powerdown, system_wakeup."""

    def __init__(self, graph: BlockGraph) -> None:
        self._graph = graph

    @command("query-status")
    def status(self, ctx: RequestContext, args: None) -> dict[str, Any]:
        """Whether guests run."""
        state = self._graph.run_state
        return {"status": state.status, "running": state.running, "singlestep": False}

    @command("stop")
    async def stop(self, ctx: RequestContext, args: None) -> None:
        """Stop guests, and bring to stable storage what they have written."""
        if not self._graph.run_state.stop("paused"):
            return
        async with self._graph.exclusive():
            media = [drive.node for drive in self._graph.drives if drive.medium is not None]
            async with self._graph.drained(media):
                for medium in media:
                    await _flush(medium)

    @command("cont")
    def go_on(self, ctx: RequestContext, args: None) -> None:
        """Let guests go on."""
        for drive in self._graph.drives:
            drive.io_status = "ok"
        self._graph.run_state.go_on()

    @command("system_reset")
    def reset(self, ctx: RequestContext, args: None) -> None:
        """Tell whoever runs guests to reset them."""
        self._graph.events.emit("RESET", {"guest": False, "reason": "host-qmp-system-reset"})

    @command("system_powerdown")
    def power_down(self, ctx: RequestContext, args: None) -> None:
        """Tell whoever runs guests to shut them down."""
        self._graph.events.emit("POWERDOWN")

    @command("system_wakeup")
    def wake_up(self, ctx: RequestContext, args: None) -> None:
        """Refuse.

        :raises GenericError: always.
        """
        raise GenericError("There is no guest here that sleeps")


async def _flush(medium: BlockNode) -> None:
    try:
        if not medium.read_only:
            await medium.flush()
    except OSError as error:
        # Guests are stopped all the same; their next flush will be told.
        _log.warning("node '%s' could not be flushed when guests were stopped: %s", medium.node_name, error)
