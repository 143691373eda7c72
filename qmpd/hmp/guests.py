"""Guests, as far as they are the daemon's business: stopping them, and letting them go on."""

from __future__ import annotations

from qmpd.hmp.command import Human, HumanCommand, Run
from qmpd.hmp.line import Arguments


def _as_in_qmp(command: str) -> Run:
    """What a QMP command without arguments does."""

    async def carry_out(human: Human, arguments: Arguments) -> None:
        await human.execute(command, {})

    return carry_out


GUESTS = (
    HumanCommand(("stop", "s"), "", "stops guests", _as_in_qmp("stop")),
    HumanCommand(("cont", "c"), "", "lets guests go on", _as_in_qmp("cont")),
    HumanCommand(("system_reset",), "", "is accepted: there is no machine", _as_in_qmp("system_reset")),
    HumanCommand(("system_powerdown",), "", "is accepted: there is no machine", _as_in_qmp("system_powerdown")),
    HumanCommand(("system_wakeup",), "", "wakes nobody: there is no machine", _as_in_qmp("system_wakeup")),
    HumanCommand(("quit", "q"), "", "ends the daemon", _as_in_qmp("quit")),
)
