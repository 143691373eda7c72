"""Breakpoints in a disk's requests, as qemu-io's `break`, `resume` and `wait_break` set them.

They work where a `blkdebug` node stands on the way from a node down to its bytes; the first one is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.node import BlockNode
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.drivers.blkdebug import BlkdebugDriver


def debug_breakpoint(node: BlockNode, event: str, tag: str) -> None:
    """Stop the next request to the disk `node` that raises `event`; who stands there is called by `tag`.

    :raises GenericError: there is no such event, or no blkdebug node.
    """
    from qmpd.api.enums import BlkdebugEvent

    if event not in list(BlkdebugEvent):
        raise GenericError(f"There is no event '{event}' to stop at; there are {', '.join(BlkdebugEvent)}")
    _blkdebug(node).add_breakpoint(BlkdebugEvent(event), tag)


def debug_remove_breakpoint(node: BlockNode, tag: str) -> None:
    """Forget the breakpoints `tag` and let go all requests that stand there.

    :raises GenericError: there are none, or there is no blkdebug node.
    """
    if not _blkdebug(node).remove_breakpoint(tag):
        raise GenericError(f"There is no breakpoint '{tag}' on node '{node.node_name}'")


def debug_resume(node: BlockNode, tag: str) -> None:
    """Let one request that stands at breakpoint `tag` go on.

    :raises GenericError: none does, or there is no blkdebug node.
    """
    if not _blkdebug(node).resume(tag):
        raise GenericError(f"No request to node '{node.node_name}' stands at a breakpoint '{tag}'")


def debug_is_suspended(node: BlockNode, tag: str) -> bool:
    """Whether a request stands at breakpoint `tag`.

    :raises GenericError: there is no blkdebug node.
    """
    return _blkdebug(node).is_suspended(tag)


async def debug_wait_suspended(node: BlockNode, tag: str) -> None:
    """Return when a request stands at breakpoint `tag`.

    :raises GenericError: there is no blkdebug node.
    """
    await _blkdebug(node).wait_suspended(tag)


def _blkdebug(node: BlockNode) -> BlkdebugDriver:
    from qmpd.block.drivers.blkdebug import BlkdebugDriver

    below: BlockNode | None = node
    while below is not None:
        driver = below.driver
        if isinstance(driver, BlkdebugDriver):
            return driver
        child = None if driver.main_child is None else below.children.get(driver.main_child)
        below = None if child is None else child.node
    raise GenericError(f"Node '{node.node_name}' has no blkdebug node below it, so nothing can be stopped there")
