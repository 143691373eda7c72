"""Driver `throttle`: a filter that slows requests down to the limits of a `throttle-group` object.

Writes, zeroing and discards count as writes; flushes and questions about how data is stored do not count. Nodes of the
same group share its limits (`qmpd.objects.throttling`).

A request that waits here is under way for everybody above. So while a drained section waits for it, it is let through,
and counted all the same. `map` never says where in a host file the data lies: it has to be read through the filter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext, Range
from qmpd.block.extents import Extent
from qmpd.block.graph import BlockGraph
from qmpd.errors import GenericError
from qmpd.objects.throttle_group import ThrottleGroupObject
from qmpd.objects.throttling import ThrottleMember


class ThrottleOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any
    throttle_group: str


def find_group(graph: BlockGraph, object_id: str) -> ThrottleGroupObject:
    """The group of that id.

    :raises GenericError: there is none.
    """
    found = graph.objects.find(object_id)
    if not isinstance(found, ThrottleGroupObject):
        raise GenericError(f"There is no 'throttle-group' object with the id '{object_id}'")
    return found


class ThrottleDriver(FilterDriver):
    """The filter.

    :ivar member: its place in the group.
    """

    named_by_itself = True
    mutable_options = frozenset({"throttle-group"})

    def __init__(self, format_name: str = "throttle") -> None:
        super().__init__(format_name)
        self._group: ThrottleGroupObject | None = None
        self.member: ThrottleMember

    async def open(self, options: ThrottleOptions, context: OpenContext) -> None:
        group = find_group(context.node.graph, options.throttle_group)
        await context.open_child("file", options.file, protocol=False)
        self.adopt_geometry()
        self.supports_compression = self.below.driver.supports_compression
        # Somebody may have deleted the group meanwhile.
        if context.node.graph.objects.find(options.throttle_group) is not group:
            raise GenericError(f"The 'throttle-group' object '{options.throttle_group}' has been deleted")
        self._join(group)
        context.node.graph.slow_drivers.add(self)

    async def close(self) -> None:
        self.node.graph.slow_drivers.discard(self)
        self._leave()

    def _join(self, group: ThrottleGroupObject) -> None:
        group.use(self.node.describe())
        self._group = group
        self.member = group.group.join()

    def _leave(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            self.member.leave()
            group.release(self.node.describe())

    async def prepare_reopen(self, options: ThrottleOptions | None, flags: object) -> ThrottleGroupObject | None:
        """Get ready to be a member of another group."""
        if options is None:
            return None
        group = find_group(self.node.graph, options.throttle_group)
        group.use("a node that is being reopened")
        return group

    def commit_reopen(self, state: ThrottleGroupObject | None) -> None:
        if state is None:
            return
        passes = self.member.passes
        self._leave()
        self._join(state)
        self.member.passes = passes
        state.release("a node that is being reopened")

    async def abort_reopen(self, state: ThrottleGroupObject | None) -> None:
        if state is not None:
            state.release("a node that is being reopened")

    def pass_begin(self) -> None:
        self.member.pass_begin()

    def pass_end(self) -> None:
        self.member.pass_end()

    async def _admitted(self, length: int) -> None:
        waiting = self.member.admit(True, length)
        if waiting is not None:
            await waiting

    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        waiting = self.member.admit(False, len(buffer))
        if waiting is None:
            return self.below.preadv(offset, buffer)
        return self._preadv_later(waiting, offset, buffer)

    async def _preadv_later(self, waiting: asyncio.Future[None], offset: int, buffer: memoryview) -> None:
        await waiting
        await self.below.preadv(offset, buffer)

    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        waiting = self.member.admit(True, len(data))
        if waiting is None:
            return self.below.pwritev(offset, data, fua)
        return self._pwritev_later(waiting, offset, data, fua)

    async def _pwritev_later(self, waiting: asyncio.Future[None], offset: int, data: Buffer, fua: bool) -> None:
        await waiting
        await self.below.pwritev(offset, data, fua)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self._admitted(length)
        await self.below.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback)

    async def pdiscard(self, offset: int, length: int) -> None:
        await self._admitted(length)
        await self.below.pdiscard(offset, length)

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        await self._admitted(len(data))
        await self.below.pwrite_compressed(offset, data)

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        for piece in pieces:
            await self._admitted(piece.length)
        await self.below.copy_from_host(pieces)

    async def map(self, offset: int, length: int) -> list[Extent]:
        return [_anywhere(extent) for extent in await self.below.map(offset, length)]

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        return [_anywhere(extent) for extent in await self.below.map_ranges(ranges)]

    def write_now(self, offset: int, data: Buffer) -> None:
        self.below.driver.write_now(offset, data)

    @property
    def _group_id(self) -> str:
        return self._group.object_id if self._group is not None else ""

    def runtime_options(self) -> dict[str, Any]:
        return {"throttle-group": self._group_id}


def _anywhere(extent: Extent) -> Extent:
    return extent if extent.host is None else extent._replace(host=None, host_offset=0)
