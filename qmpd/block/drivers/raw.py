"""Driver `raw`: the bytes of its child as they are, or a window of them (offset, size).

Of an image that was only guessed to be raw (`guards_start`), the first sector can be given no contents that would make
somebody take the image for one of another format: such writes fail with EPERM.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.block.driver import (
    BlockDriver,
    Buffer,
    DebugEvents,
    HostPiece,
    OpenContext,
    Range,
    Told,
    details_shown_through,
    not_supported,
)
from qmpd.block.extents import Extent, HostFile
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.node import NodeOptions

SECTOR = 512


class RawOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    offset: int | None
    size: int | None


class RawDriver(BlockDriver):
    """A window on the child `file`; all of it unless told otherwise.

    :ivar guards_start: nobody has said that the image is raw.
    """

    main_child = "file"
    mutable_options = frozenset({"offset", "size"})

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self._offset = 0
        self._size: int | None = None
        self._given: dict[str, int] = {}
        self._told: DebugEvents | None = None
        self.guards_start = False

    @property
    def below(self) -> BlockNode:
        """The node that holds the bytes."""
        return self.node.children["file"].node

    async def open(self, options: RawOptions, context: OpenContext) -> None:
        given = _window(options)
        await context.open_child("file", options.file, protocol=True)
        self._told = self.below.driver.debug
        self._check_window(given)
        self.request_alignment = self.below.request_alignment
        self._take_window(given)

    def _take_window(self, given: dict[str, int]) -> None:
        self._given = given
        self._offset, self._size = given.get("offset", 0), given.get("size")
        self._take_length()

    def _check_window(self, given: dict[str, int]) -> None:
        """Pass if the child has such a part.

        :raises GenericError: it has not.
        """
        offset, size, whole = given.get("offset", 0), given.get("size"), self.below.length
        if offset > whole:
            raise GenericError(f"'offset' is {offset}, beyond the {whole} bytes of '{self.below.node_name}'")
        if size is not None and offset + size > whole:
            raise GenericError(
                f"'offset' and 'size' end at {offset + size}, beyond the {whole} bytes of '{self.below.node_name}'"
            )
        align = self.below.request_alignment
        if offset % align:
            raise GenericError(f"'offset' is {offset}; on this file it has to be a multiple of {align}")

    async def prepare_reopen(self, options: RawOptions | None, flags: NodeOptions) -> dict[str, int] | None:
        return None if options is None else _window(options)

    def check_reopen(self, state: dict[str, int] | None) -> None:
        if state is None:
            return
        self._check_window(state)
        length = state["size"] if "size" in state else self.below.length - state.get("offset", 0)
        if length != self.length:
            self.node.bitmaps.check_resize(length)

    def commit_reopen(self, state: dict[str, int] | None) -> None:
        if state is None:
            return
        before = self.length
        self._take_window(state)
        if self.length != before:
            self.node.refresh_length()

    def check_can_store_bitmap(self, name: str, length: int, granularity: int) -> None:
        keeper = self.node.graph.bitmap_keeper
        if keeper is None:
            super().check_can_store_bitmap(name, length, granularity)
        else:
            keeper.check(self.node)

    def _take_length(self) -> None:
        rest = max(self.below.length - self._offset, 0)
        self.length = self._size if self._size is not None else rest // SECTOR * SECTOR

    def child_moved(self, name: str) -> None:
        self._told = self.below.driver.debug

    def child_resized(self, name: str) -> bool:
        before = self.length
        self._take_length()
        return self.length != before

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        # A window would not follow if somebody else moved the end of the file.
        return perm, shared & ~Perm.RESIZE if self._given else shared

    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        if self._told is not None:
            return self._preadv_told(self._told, offset, buffer)
        return self.below.preadv(offset + self._offset, buffer)

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        return self._told is None and self.below.read_now(offset + self._offset, buffer)

    def begin_write(self, offset: int, data: Buffer, done: Told) -> bool:
        if self._told is not None or (self.guards_start and offset < SECTOR):
            return False
        return self.below.begin_write(offset + self._offset, data, done)

    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        if self.guards_start and offset < SECTOR:
            return self._pwritev_guarded(offset, data, fua)
        if self._told is not None:
            return self._pwritev_told(self._told, offset, data, fua)
        return self.below.pwritev(offset + self._offset, data, fua)

    async def _pwritev_guarded(self, offset: int, data: Buffer, fua: bool) -> None:
        from qmpd.block.probing import format_of

        start = bytearray(min(SECTOR, self.length))
        await self.below.preadv(0, memoryview(start))
        start[offset : offset + len(data)] = bytes(memoryview(data)[: SECTOR - offset])
        if format_of(start) != "raw":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        await self.below.pwritev(offset, data, fua)

    async def _preadv_told(self, told: DebugEvents, offset: int, buffer: memoryview) -> None:
        await told.event("read_aio")
        await self.below.preadv(offset + self._offset, buffer)

    async def _pwritev_told(self, told: DebugEvents, offset: int, data: Buffer, fua: bool) -> None:
        await told.event("write_aio")
        await self.below.pwritev(offset + self._offset, data, fua)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self.below.pwrite_zeroes(
            offset + self._offset, length, may_unmap=may_unmap, no_fallback=no_fallback
        )

    async def pdiscard(self, offset: int, length: int) -> None:
        await self.below.pdiscard(offset + self._offset, length)

    async def flush(self) -> None:
        if self._told is not None:
            await self._told.event("flush_to_os")
            await self._told.event("flush_to_disk")
        await self.below.flush()

    async def map(self, offset: int, length: int) -> list[Extent]:
        extents = await self.below.map(offset + self._offset, length)
        return [extent.shifted(-self._offset) for extent in extents] if self._offset else extents

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        delta = self._offset
        if not delta:
            return await self.below.map_ranges(ranges)
        extents = await self.below.map_ranges([(offset + delta, length) for offset, length in ranges])
        return [extent.shifted(-delta) for extent in extents]

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        delta = self._offset
        if self.guards_start and any(piece.offset < SECTOR for piece in pieces):
            raise not_supported()
        await self.below.copy_from_host([piece.shifted(delta) for piece in pieces] if delta else pieces)

    def write_now(self, offset: int, data: Buffer) -> None:
        self.below.driver.write_now(offset + self._offset, data)

    def host_window(self) -> tuple[HostFile, int] | None:
        window = self.below.driver.host_window()
        return None if window is None else (window[0], window[1] + self._offset)

    async def truncate(self, length: int, exact: bool) -> None:
        if self._size is not None or self._offset:
            raise not_supported()
        await self.below.truncate(length, exact)
        self._take_length()

    def filename(self) -> str:
        return self.json_name() if self._given else super().filename()

    def runtime_options(self) -> dict[str, Any]:
        return self._given

    def image_details(self) -> Mapping[str, object]:
        return details_shown_through(self.node.children["file"].node.driver)


def _window(options: RawOptions) -> dict[str, int]:
    """Those of `offset` and `size` that are given.

    :raises GenericError: they make no sense.
    """
    given = {name: value for name, value in (("offset", options.offset), ("size", options.size)) if value is not None}
    for name, value in given.items():
        if value < 0:
            raise GenericError(f"'{name}' is {value}; it must not be negative")
    if given.get("size", 0) % SECTOR:
        raise GenericError(f"'size' is {given['size']}; it has to be a multiple of {SECTOR}")
    return given
