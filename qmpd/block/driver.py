"""What a block driver is: the interface between a node and the code that knows a format or a protocol.

A driver only opens, reads, writes, zeroes, discards, flushes, maps and resizes. Bounds, permissions, drain, bitmaps
and statistics are the node's business, so a driver may assume requests inside the node's length, aligned to its
`request_alignment`, and permitted. I/O coroutines must not suspend when nothing blocks. They raise `OSError` with
the errno that describes the failure. When one has ended, by cancellation too, nothing of its request is under way
any more: whoever sent it may use its buffer, or the space it went to, for something else.
"""

from __future__ import annotations

import errno
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from qmpd.block.extents import Extent, ExtentKind, HostFile
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.child import Child
    from qmpd.block.graph import BlockGraph
    from qmpd.block.iopool import IOPool
    from qmpd.block.node import BlockNode, NodeOptions

Buffer = bytes | bytearray | memoryview
Range = tuple[int, int]
"""Offset and length in bytes."""
Told = Callable[[OSError | None], None]
"""Told by the event loop that a request is over, and what went wrong, if anything did."""


class HostPiece(NamedTuple):
    """Bytes of a host file and where in a node they shall go. Offsets and length in bytes.

    :ivar offload: let the kernel copy them (`copy_file_range`), which may share blocks between the files.
    :ivar holes: where to note, in offsets of the host file, holes that have been left out; None to copy everything.
        Only for nodes that have a `host_window`.
    """

    host: HostFile
    host_offset: int
    offset: int
    length: int
    offload: bool = False
    holes: list[Range] | None = None

    def shifted(self, delta: int) -> HostPiece:
        """The same bytes for a place `delta` further on."""
        return self._replace(offset=self.offset + delta)


def not_supported() -> OSError:
    """The error by which a driver says that it has no special way to do a thing."""
    return OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


class OpenContext(Protocol):
    """What a driver may use while it opens."""

    node: BlockNode
    pool: IOPool
    flags: NodeOptions

    async def open_child(
        self, name: str, reference: Any, *, protocol: bool, inherit: NodeOptions | None = None
    ) -> Child:
        """Attach the child `reference` (a node name or an inline definition) as `name`.

        :param protocol: the child stores bytes for a format; it inherits caching and read-only mode.
        :param inherit: what a child defined in place inherits, when not the options of this node.
        :raises GenericError: it cannot be opened or attached.
        """


class DebugEvents(Protocol):
    """Whoever wants to know what a driver is about to do (`blkdebug`)."""

    async def event(self, event: str) -> None:
        """The layer above is about to do what `event` (a `BlkdebugEvent`) says. May keep it waiting."""


class BlockDriver(ABC):
    """One instance for each node.

    :cvar is_filter: the node shows exactly the data of its main child.
    :cvar is_protocol: the node stores its bytes outside the graph.
    :cvar main_child: the name of the child that a filter filters, or that a format stores its data in.
    :cvar mutable_options: the options of the driver's own that `blockdev-reopen` can change, by their names in the
        schema; None when the node cannot be reopened at all.
    :cvar supports_internal_snapshots: the image can have snapshots inside.
    :cvar supports_backing: the format shows a backing image where it stores nothing, as the child `backing`.
    :ivar supports_persistent_bitmaps: the image can store dirty bitmaps.
    :ivar supports_compression: the image can be written in compressed form.
    :ivar debug: to be told what the layer above does; None for almost everybody.
    """

    is_filter: ClassVar[bool] = False
    is_protocol: ClassVar[bool] = False
    main_child: ClassVar[str | None] = None
    supports_backing: ClassVar[bool] = False
    mutable_options: ClassVar[frozenset[str] | None] = None
    supports_persistent_bitmaps: bool = False
    supports_compression: bool = False
    supports_internal_snapshots: ClassVar[bool] = False
    debug: DebugEvents | None = None

    format_name: str
    length: int = 0
    request_alignment: int = 1
    cluster_size: int | None = None

    def __init__(self, format_name: str) -> None:
        self.format_name = format_name
        self.node: BlockNode = None  # type: ignore[assignment]  # set by the node that takes the driver

    async def reach(self, options: Any, graph: BlockGraph) -> None:
        """Get ahead of time what may take long and does not touch the graph; `open` uses it. Nobody need call this.

        :raises GenericError: it cannot be had.
        """
        return

    async def let_go(self) -> None:
        """Give back what `reach` has got, if `open` has not made it its own."""
        return

    @abstractmethod
    async def open(self, options: Any, context: OpenContext) -> None:
        """Open the image described by `options` (the driver's branch of `BlockdevOptions`).

        :raises GenericError: it cannot be opened; everything taken so far has been given back.
        """

    async def close(self) -> None:
        """Give back what the driver holds. The children are detached by the graph."""
        return

    # Going on with other options (`qmpd.block.reopen` tells the order of steps). The node is drained.

    async def prepare_reopen(self, options: Any | None, flags: NodeOptions) -> Any:
        """Get ready to go on with other options; those in force stay in force. Gives the state for what follows.

        :param options: the driver's branch of `BlockdevOptions`, in which nothing but children and `mutable_options`
            has changed; None when only `flags` change.
        :param flags: what the node's options will be. When it becomes read-only, this is the last chance to write.
        :raises GenericError: it cannot be; everything taken so far has been given back.
        :raises OSError: as the driver met it; likewise.
        """
        return None

    def check_reopen(self, state: Any) -> None:  # noqa: B027
        """The children are those of the new options now: the last chance to refuse. Plain.

        :raises GenericError: the options do not fit them.
        """

    def commit_reopen(self, state: Any) -> None:  # noqa: B027
        """Let what was prepared hold from now on. Plain, cannot fail; the node's flags are the new ones."""

    async def abort_reopen(self, state: Any) -> None:  # noqa: B027
        """Give back what was prepared; all goes on as before. Must not raise."""

    async def reopened(self) -> None:  # noqa: B027
        """The new options hold, the children have theirs: do the I/O that comes before all other.

        :raises OSError, GenericError: it failed; the node is read-only then.
        """

    @property
    def busy(self) -> bool:
        """Requests of the driver's own are under way, which nobody above waits for.

        A drain waits for them; the driver calls `graph.request_done` when the last one is over.
        """
        return False

    def pass_begin(self) -> None:  # noqa: B027
        """Let requests pass that wait for a reason of the driver's own, until `pass_end`; counted.

        Only drivers in `graph.slow_drivers` are told.
        """

    def pass_end(self) -> None:  # noqa: B027
        """Undo one `pass_begin`."""

    def impatience_begin(self) -> None:  # noqa: B027
        """Let requests fail that wait for somebody else for long, until `impatience_end`; counted."""

    def impatience_end(self) -> None:  # noqa: B027
        """Undo one `impatience_begin`."""

    def child_moved(self, name: str) -> None:  # noqa: B027
        """The child `name` is another node now, has come or has gone.

        A filter was put on top of it or taken away, or the chain of images was changed.
        """

    # The two requests that there are most of may also be plain functions that hand on somebody else's awaitable:
    # each coroutine on the way costs.

    @abstractmethod
    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        """Fill `buffer` with the bytes from `offset`."""

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` if that takes no waiting at all, as for data in the page cache.

        :returns: False if it does, or if something is wrong: ask `preadv`, which may say more. The contents of
            `buffer` are undefined then, and nothing else has happened.
        """
        return False

    @abstractmethod
    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        """Write `data` at `offset`; with `fua`, return only when it is on stable storage."""

    def begin_write(self, offset: int, data: Buffer, done: Told) -> bool:
        """Begin to write `data`, which must not change meanwhile, if that takes no more than to hand it to somebody.

        :param done: told that a write which was begun is over, never from within this call.
        :returns: False if it takes more, or if something is wrong: ask `pwritev`, which may say more. Nothing has
            been written then, and nothing will be told.
        """
        return False

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        """Make a range read as zeroes in a cheap way.

        :param may_unmap: the space may be given back to the host.
        :param no_fallback: fail rather than do what is as slow as writing zeroes.
        :raises OSError: ENOTSUP when there is no cheap way; the node then writes zeroes itself.
        """
        raise not_supported()

    async def pdiscard(self, offset: int, length: int) -> None:
        """Tell the storage that the contents of a range are no longer needed. May do nothing."""
        return

    async def write_back(self) -> None:
        """Let nothing of completed writes be in memory only, so that they outlive the process (not the host)."""
        return

    async def flush(self) -> None:
        """Bring all completed writes to stable storage."""
        return

    async def map(self, offset: int, length: int) -> list[Extent]:
        """How the range is stored, in order and without gaps.

        May end early (it covers at least the first byte). The default knows nothing: one data extent.
        """
        return [Extent(offset, length, ExtentKind.DATA)]

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        """How several ranges are stored: the extents of each, one after the other, complete.

        Overridden where asking for many costs no more than asking for one.
        """
        return [extent for offset, length in ranges for extent in await self._map_whole(offset, length)]

    async def _map_whole(self, offset: int, length: int) -> list[Extent]:
        extents: list[Extent] = []
        end = offset + length
        while offset < end:
            extents += await self.map(offset, end - offset)
            offset = extents[-1].end
        return extents

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        """Copy pieces of host files into this node, without their bytes passing through Python.

        :raises OSError: ENOTSUP when this driver cannot; nothing has been written then.
        """
        raise not_supported()

    async def populate(self, offset: int, length: int) -> None:
        """Store in this image what shows through it in a range; what is stored here already stays.

        What is read does not change. Whole clusters are filled. Nothing to do where nothing can show through.
        """
        return

    async def empty(self) -> None:
        """Give back the space of what the image stores, which is the same as what is below: that shows afterwards.

        Does nothing where a driver has no way to.
        """
        return

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        """Write whole clusters in compressed form (the last one of the disk may be short).

        :raises OSError: ENOTSUP when the format has no such form, EINVAL when a cluster is covered in part.
        """
        raise not_supported()

    async def set_backing_name(self, name: str, backing_format: str | None) -> None:
        """Let the image itself name another backing file; an empty name is none. The node is drained.

        :param backing_format: None to leave it as it is.
        :raises GenericError: it cannot be, or the format has no such thing.
        """
        raise GenericError(f"Node '{self.node.node_name}' has no backing file name to change")

    def recorded_backing(self) -> tuple[str, str]:
        """The name and format of its backing file that the image itself names; empty where it names none."""
        return "", ""

    def write_now(self, offset: int, data: Buffer) -> None:
        """Write a few bytes and bring them to stable storage before returning; the caller cannot wait.

        For the one write that makes a transaction's outcome real. Writing nothing tells whether it can be done.

        :raises OSError: ENOTSUP when this driver cannot.
        """
        raise not_supported()

    def host_window(self) -> tuple[HostFile, int] | None:
        """The host file in which all bytes of this node lie as they are, and where in it they begin."""
        return None

    async def truncate(self, length: int, exact: bool) -> None:
        """Change the length.

        :param exact: the result must be `length` and not more.
        :raises OSError: ENOTSUP when the driver cannot resize.
        """
        raise not_supported()

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        """What this node takes of and leaves to others on its child `name`.

        :param perm: everything that this node's own parents take.
        :param shared: everything that all of them leave to others.
        """
        return perm, shared

    def check_permissions(self, perm: Perm, shared: Perm) -> None:
        """Get ready for the parents to hold these permissions; may fail, and is undone by another call.

        :raises GenericError: the image cannot be used so (it is locked by another program, it is read-only).
        """
        return

    def child_resized(self, name: str) -> bool:
        """The child `name` has another length now. True when this node's length has changed with it."""
        return False

    def host_paths(self) -> list[str]:
        """The host files this node itself keeps open, for confinement checks and messages."""
        return []

    def can_replace(self, node: BlockNode) -> bool:
        """Whether a copy of what this driver's node shows may take the place of `node`, which is below it.

        Nobody may see other data by that. So a filter says what the node below it says, and a format no.
        """
        return False

    def filename(self) -> str:
        """The name under which query commands show the node; `parse_filename` understands it."""
        child = self._main_edge()
        if child is None:
            return f"{self.format_name}://"
        below = child.node.driver
        name = below.filename()
        lent = self.is_filter or (below.lends_name and not name.startswith("json:"))
        return name if lent else self.json_name()

    @property
    def lends_name(self) -> bool:
        """Whether a format on this node is shown under the node's name, which says nothing of formats."""
        return self.is_protocol

    def json_name(self) -> str:
        """The name that holds all options."""
        return "json:" + json.dumps(self.open_options())

    def open_options(self) -> dict[str, Any]:
        """The options that open the same image again."""
        child = self._main_edge()
        below = {} if child is None else {child.name: child.node.driver.open_options()}
        return {"driver": self.format_name, **self.runtime_options(), **below}

    def _main_edge(self) -> Child | None:
        return self.node.children.get(self.main_child) if self.main_child else None

    def actual_size(self) -> int | None:
        """Bytes taken on the host, None when unknown."""
        child = self._main_edge()
        return child.node.driver.actual_size() if child is not None else None

    def runtime_options(self) -> dict[str, Any]:
        """The driver's own options that matter for what is shown, without children."""
        return {}

    def image_details(self) -> Mapping[str, object]:
        """Further members of `ImageInfo` for this driver."""
        return {}

    @property
    def vm_state_offset(self) -> int:
        """Where in an image that can hold it the state of a machine begins, behind the disk; 0 for others."""
        return 0

    def backing_name(self) -> str | None:
        """The `backing_file` member of `BlockDeviceInfo`."""
        return None

    def check_can_store_bitmap(self, name: str, length: int, granularity: int) -> None:
        """Pass if a new bitmap over `length` bytes can be stored with the image.

        :raises GenericError: it cannot.
        """
        if self.supports_persistent_bitmaps:
            return
        raise GenericError(
            f"Node '{self.node.node_name}' cannot store bitmaps (driver '{self.format_name}'); "
            "'persistent' has to be false"
        )

    async def forget_bitmap(self, name: str) -> None:
        """Take the bitmap `name` out of the image at once, if it is stored there. The node is drained.

        :raises OSError: it could not be; then it is still there.
        """
        return

    def driver_stats(self) -> Mapping[str, object] | None:
        """The `driver-specific` member of query-blockstats."""
        return None


def details_shown_through(below: BlockDriver) -> Mapping[str, object]:
    """The members of `ImageInfo` that a filter, or a raw image, has from the node below it."""
    details = below.image_details()
    return {name: details[name] for name in ("cluster-size", "dirty-flag") if name in details}


class FilterDriver(BlockDriver):
    """A driver that shows exactly the data of its main child and passes all requests on.

    :ivar named_by_itself: queries tell a name with the filter's options in it, not that of the node below.
    :ivar guards_source: it has to see all requests, so who comes to use the filtered node is led to the filter.
    """

    is_filter = True
    guards_source: bool = False
    named_by_itself: bool = False
    main_child = "file"

    @property
    def below(self) -> BlockNode:
        """The node that is filtered."""
        return self.node.children[self.main_child or "file"].node

    def can_replace(self, node: BlockNode) -> bool:
        return self.below.can_replace(node)

    def filename(self) -> str:
        return self.json_name() if self.named_by_itself else super().filename()

    def open_options(self) -> dict[str, Any]:
        return super().open_options() if self.named_by_itself else self.below.driver.open_options()

    def image_details(self) -> Mapping[str, object]:
        return details_shown_through(self.below.driver)

    def adopt_geometry(self) -> None:
        """Take over length and alignment of the filtered node."""
        self.length = self.below.length
        self.request_alignment = self.below.request_alignment
        self.cluster_size = self.below.driver.cluster_size

    def child_resized(self, name: str) -> bool:
        if name != self.main_child:
            return False
        self.length = self.below.length
        return True

    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        return self.below.preadv(offset, buffer)

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        # Filters that have something to do with what is read have a `preadv` of their own.
        return type(self).preadv is FilterDriver.preadv and self.below.read_now(offset, buffer)

    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        return self.below.pwritev(offset, data, fua)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self.below.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback)

    async def pdiscard(self, offset: int, length: int) -> None:
        await self.below.pdiscard(offset, length)

    async def flush(self) -> None:
        below = self.below
        if below.driver.debug is not None:
            await below.driver.debug.event("flush_to_os")
            await below.driver.debug.event("flush_to_disk")
        await below.flush()

    async def map(self, offset: int, length: int) -> list[Extent]:
        return await self.below.map(offset, length)

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        return await self.below.map_ranges(ranges)

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        await self.below.copy_from_host(pieces)

    async def populate(self, offset: int, length: int) -> None:
        await self.below.populate(offset, length)

    async def truncate(self, length: int, exact: bool) -> None:
        await self.below.truncate(length, exact)
        self.length = self.below.length
