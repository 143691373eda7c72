"""length, info, map and alloc: what a disk is like, and what of it is allocated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from qmpd.block.backend import BlockBackend
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.image_text import specific_information
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.hmp.qemu_io.command import Io, IoCommand
from qmpd.hmp.qemu_io.report import human_size
from qmpd.hmp.qemu_io.transfers import told_as
from qmpd.hmp.qemu_io.words import SECTOR, Words, read_size

MOST_LINES = 1 << 16
"""What `map` tells at most."""


async def length(io: Io, words: Words) -> None:
    """Tell the length of the disk."""
    io.say(human_size(io.target.node.length))


async def info(io: Io, words: Words) -> None:
    """Tell of the image."""
    node = io.target.node
    driver = node.driver
    io.say(f"format name: {driver.format_name}")
    details = driver.image_details()
    if driver.is_protocol:
        io.say(f"format name: {driver.format_name}")  # once as a format and once as a protocol
    else:
        io.say(f"cluster size: {human_size(_number(details, 'cluster-size'))}")
        io.say(f"vm state offset: {human_size(_vm_state_offset(node))}")
    io.said.append(specific_information(details))


def _number(details: Mapping[str, object], name: str) -> int:
    value = details.get(name, 0)
    return value if isinstance(value, int) else 0


def _vm_state_offset(node: BlockNode) -> int:
    """Where the state of a machine would begin, behind the disk, in the image under all filters."""
    while node.filtered is not None:
        node = node.filtered
    return node.driver.vm_state_offset


async def alloc(io: Io, words: Words) -> None:
    """Tell how much of a range is allocated."""
    offset, *rest = (read_size(text) for text in words.operands)
    async with told_as("alloc"), io.target.user(Perm.NONE) as user:
        count = max(min(rest[0] if rest else SECTOR, user.length - offset), 0)
        allocated = 0
        async for extent in _extents(user, offset, offset + count):
            allocated += extent.length if _is_allocated(extent) else 0
    io.say(f"{allocated}/{count} bytes allocated at offset {human_size(offset)}")


async def map_(io: Io, words: Words) -> None:
    """Tell of the whole disk what is allocated."""
    async with told_as("map"), io.target.user(Perm.NONE) as user:
        lines = 0
        start, state = 0, None
        async for extent in _extents(user, 0, user.length):
            allocated = _is_allocated(extent)
            if state is not None and allocated is not state:
                io.say(_map_line(start, extent.offset - start, state))
                lines += 1
                start = extent.offset
            state = allocated
            if lines == MOST_LINES:
                io.say(f"there is more to tell; these are the first {MOST_LINES} lines")
                return
        if state is not None:
            io.say(_map_line(start, user.length - start, state))


def _map_line(offset: int, length: int, allocated: bool) -> str:
    state = "    allocated" if allocated else "not allocated"
    return f"{human_size(length)} ({length:#x}) bytes {state} at offset {human_size(offset)} ({offset:#x})"


def _is_allocated(extent: Extent) -> bool:
    """Whether the image itself says what is in the extent, and no image below it."""
    return extent.depth == 0 and extent.kind is not ExtentKind.UNALLOCATED


async def _extents(user: BlockBackend, offset: int, end: int) -> AsyncIterator[Extent]:
    while offset < end:
        for extent in await user.map(offset, end - offset):
            yield extent.part(extent.offset, min(extent.end, end))
            offset = extent.end
        await asyncio.sleep(0)  # a large map must not keep others waiting


INSPECTION = (
    IoCommand("length", "", "tells the length of the disk", length, alias="l"),
    IoCommand("info", "", "tells of the image", info, alias="i"),
    IoCommand("alloc", "off [len]", "tells how much of a range is allocated", alloc, least=1, most=2, alias="a"),
    IoCommand("map", "", "tells which ranges of the disk are allocated", map_),
)
