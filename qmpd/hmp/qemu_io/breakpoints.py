"""break, resume, wait_break and remove_break: requests that stand still, on disks over `blkdebug`; sleep."""

from __future__ import annotations

from qmpd.block import debugging
from qmpd.hmp.qemu_io.command import Io, IoCommand
from qmpd.hmp.qemu_io.words import BadCommand, Words, read_integer


async def break_(io: Io, words: Words) -> None:
    """Stop the next request that raises an event."""
    event, tag = words.operands
    debugging.debug_breakpoint(io.target.node, event, tag)


async def remove_break(io: Io, words: Words) -> None:
    """Forget a breakpoint."""
    debugging.debug_remove_breakpoint(io.target.node, words.operands[0])


async def resume(io: Io, words: Words) -> None:
    """Let a request go on."""
    debugging.debug_resume(io.target.node, words.operands[0])


async def wait_break(io: Io, words: Words) -> None:
    """Wait for a request to come to a breakpoint."""
    await debugging.debug_wait_suspended(io.target.node, words.operands[0])


async def sleep(io: Io, words: Words) -> None:
    """Do nothing for a while."""
    milliseconds = read_integer(words.operands[0])
    if not 0 <= milliseconds < 1 << 40:
        raise BadCommand(f"'{words.operands[0]}' is no time to wait; it has to be a number of milliseconds")
    await io.target.graph.delay(milliseconds / 1000)


BREAKPOINTS = (
    IoCommand("break", "event tag", "stops the next request that raises the event", break_, least=2, most=2),
    IoCommand("remove_break", "tag", "forgets a breakpoint; who stands there goes on", remove_break, least=1, most=1),
    IoCommand("resume", "tag", "lets a request at a breakpoint go on", resume, least=1, most=1),
    IoCommand("wait_break", "tag", "waits for a request to come to a breakpoint", wait_break, least=1, most=1),
    IoCommand("sleep", "milliseconds", "does nothing for a while", sleep, least=1, most=1),
)
