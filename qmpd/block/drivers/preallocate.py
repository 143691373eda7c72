"""Driver `preallocate`: a filter below a growing image, which lets its file grow in large steps.

Each growth takes space on the host for what will come next as well, so that many small ones cost one. The filter
shows the length that its users have asked for; the file is longer. It is cut back when the image is closed, and when
nobody may make it grow any more.

This works only for one user who alone may write and resize. As long as there is none, the filter passes on everything.
What lies between the shown end and the file's end always reads as zeroes: nobody can write there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext
from qmpd.block.extents import HostFile
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

log = logging.getLogger(__name__)

DEFAULT_ALIGN = 1 << 20
DEFAULT_SIZE = 128 << 20
_SECTOR = 512
_GROWING = Perm.WRITE | Perm.RESIZE


class PreallocateOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    prealloc_align: int | None
    prealloc_size: int | None


class PreallocateDriver(FilterDriver):
    """The filter."""

    named_by_itself = True
    mutable_options = frozenset({"prealloc-align", "prealloc-size"})

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self._align = DEFAULT_ALIGN
        self._size = DEFAULT_SIZE
        self._file_end: int | None = None
        """How long the file is, when that is the filter's doing."""
        self._cutting: asyncio.Task[None] | None = None

    async def open(self, options: PreallocateOptions, context: OpenContext) -> None:
        self._align, self._size = _steps(options)
        await context.open_child("file", options.file, protocol=True)
        self.adopt_geometry()

    async def close(self) -> None:
        if self._cutting is not None:
            await asyncio.wait([self._cutting])
        await self._cut()

    @property
    def busy(self) -> bool:
        return self._cutting is not None

    # Who may make the file grow.

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        if _may_grow(perm, shared) or self._file_end is not None:
            return perm | _GROWING, shared & ~_GROWING
        return perm, shared

    def check_permissions(self, perm: Perm, shared: Perm) -> None:
        if self._file_end is None or self._cutting is not None or _may_grow(perm, shared):
            return
        # Nobody can wait here. Until the file is cut, the filter keeps its permissions on it.
        self._cutting = asyncio.get_running_loop().create_task(self._cut_in_background())

    async def _cut_in_background(self) -> None:
        try:
            await self._cut()
        finally:
            self._cutting = None
            graph = self.node.graph
            if graph.nodes.get(self.node.node_name) is self.node:
                graph.refresh_permissions([self.node])
            graph.request_done()

    async def _cut(self) -> None:
        """Give back what was taken in advance."""
        if self._file_end is None:
            return
        try:
            await self.below.truncate(self.length)
        except OSError as error:
            # The file keeps a tail of zeroes, which formats pass over.
            log.warning("node %s: its file could not be cut back: %s", self.node.node_name, error)
        self._file_end = None

    # Growing and shrinking.

    def child_resized(self, name: str) -> bool:
        return super().child_resized(name) if self._file_end is None else False

    async def truncate(self, length: int, exact: bool) -> None:
        if self._cutting is not None:
            await asyncio.wait([self._cutting])
        if not _may_grow(self.node.cumulative_perm, self.node.cumulative_shared) or length < self.length:
            await self._truncate_exactly(length, exact)
        elif length > (self._file_end or self.length):
            await self._grow(length, exact)
        self.length = length

    async def _truncate_exactly(self, length: int, exact: bool) -> None:
        self._file_end = None
        await self.below.truncate(length, exact)

    async def _grow(self, length: int, exact: bool) -> None:
        start = self._file_end or self.length
        end = -(-(length + self._size) // self._align) * self._align
        self._file_end = end  # before the file changes: its new length is not this node's
        try:
            await self.below.truncate(end)
            await self.below.pwrite_zeroes(start, end - start, no_fallback=True)
        except OSError:
            # There is no room for so much, or no way to take room: grow by what is needed.
            await self._truncate_exactly(length, exact)

    # All else goes to the file as it is.

    def write_now(self, offset: int, data: Buffer) -> None:
        self.below.driver.write_now(offset, data)

    def host_window(self) -> tuple[HostFile, int] | None:
        return self.below.driver.host_window()

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        await self.below.copy_from_host(pieces)

    # Going on with other options.

    async def prepare_reopen(self, options: PreallocateOptions | None, flags: Any) -> tuple[int, int] | None:
        steps = None if options is None else _steps(options)
        if flags.read_only or options is not None:
            # Other options may come with another file.
            await self._cut()
        return steps

    def commit_reopen(self, state: tuple[int, int] | None) -> None:
        if state is not None:
            self._align, self._size = state


def _may_grow(perm: Perm, shared: Perm) -> bool:
    """Somebody writes and resizes, and nobody else can."""
    return perm & _GROWING == _GROWING and not shared & _GROWING


def _steps(options: PreallocateOptions) -> tuple[int, int]:
    """Alignment and size of what is taken in advance, in bytes.

    :raises GenericError: they make no sense.
    """
    align = DEFAULT_ALIGN if options.prealloc_align is None else options.prealloc_align
    size = DEFAULT_SIZE if options.prealloc_size is None else options.prealloc_size
    if align <= 0 or align % _SECTOR:
        raise GenericError(f"'prealloc-align' is {align}; it has to be a multiple of {_SECTOR}, and above 0")
    if size < 0:
        raise GenericError(f"'prealloc-size' is {size}; it must not be negative")
    return align, size
