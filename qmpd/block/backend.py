"""How anything that is not a node does I/O: an export, a job, a monitor command.

A `BlockBackend` holds one edge to the root node of a disk. It is the gate where drain stops requests: while its node
is drained, new requests wait here, before they touch the graph; those under way are counted, so that the drain knows
when they are over. Limits on a drive, and a guest that is stopped, hold requests back at the same place (`Gate`).
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from qmpd.block.accounting import BackendStats, OperationStats
from qmpd.block.child import Child
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.driver import Buffer, Told
    from qmpd.block.extents import Extent
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode


class BackendClient(Protocol):
    """Told about what happens to the disk under a backend."""

    def backend_resized(self, length: int) -> None:
        """The disk has another length now."""


class Gate(Protocol):
    """What holds requests back besides a drain. Neither method is called while the request is under way."""

    def admit(self, is_write: bool, length: int) -> Awaitable[None] | None:
        """Count a request; gives what it has to wait for, None if it may pass."""

    def hold(self, is_write: bool) -> Awaitable[None] | None:
        """What a request has to wait for before it may ask again, None if it may pass.

        :raises OSError: it will never pass.
        """


class Verdict(Enum):
    """What becomes of a request that has failed."""

    REPORT = "report"
    IGNORE = "ignore"
    RETRY = "retry"


class BlockBackend:
    """A user's handle on a disk.

    :param name: the device name, empty for an unnamed one.
    :param perm: what the user does with the root node.
    :param shared: what it lets others do with it.
    :ivar gate: None where nothing but a drain holds requests back.
    """

    def __init__(
        self,
        graph: BlockGraph,
        name: str,
        perm: Perm,
        shared: Perm,
        client: BackendClient | None = None,
    ) -> None:
        self.graph = graph
        self.name = name
        self.perm = perm
        self.shared = shared
        self.client = client
        self.stats = BackendStats()
        self.in_flight = 0
        self.root: Child | None = None
        self.gate: Gate | None = None
        self.backend_id = graph.next_id()
        self._quiesced = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def label(self) -> str:
        """Its name where all users of nodes are listed; may be empty."""
        return self.name

    def describe(self) -> str:
        """How error messages name this user of a node."""
        return f"block device '{self.name}'" if self.name else "an unnamed block device"

    @property
    def side(self) -> object:
        """Users of one side do not keep each other from anything by their permissions."""
        return self

    @property
    def node(self) -> BlockNode:
        """The root node.

        :raises GenericError: nothing is attached.
        """
        if self.root is None:
            raise GenericError(f"{self.describe()} has no medium; attach a node to it first")
        return self.root.node

    @property
    def length(self) -> int:
        """Bytes of the disk."""
        return self.node.length

    def attach(self, node: BlockNode) -> None:
        """Begin to use `node`.

        :raises GenericError: other users do not share what this one needs.
        """
        self.root = self.graph.attach(self, "root", node, self.perm, self.shared)

    def detach(self) -> None:
        """Stop using the node. Nothing may be in flight. Harmless when detached already."""
        root, self.root = self.root, None
        if root is not None:
            self.graph.detach(root)

    def set_permissions(self, perm: Perm, shared: Perm) -> None:
        """Take and share something else from now on.

        :raises GenericError: conflicts with other users; nothing has changed then.
        """
        if self.root is not None:
            self.graph.change_permissions(self.root, perm, shared)
        self.perm, self.shared = perm, shared

    # Drain.

    def drained_begin(self) -> None:
        """Hold back requests that have not begun."""
        self._quiesced += 1

    def drained_end(self) -> None:
        """Undo one `drained_begin`; the last one lets the requests go."""
        self._quiesced -= 1
        if self._quiesced == 0:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def drained_poll(self) -> bool:
        """True while requests are under way."""
        return self.in_flight > 0

    def child_resized(self, child: Child) -> None:
        """The root node has another length."""
        if self.client is not None:
            self.client.backend_resized(child.node.length)

    async def _admitted(self, is_write: bool, length: int) -> None:
        """Wait until a request may go on.

        :param length: bytes that count towards limits; 0 for a request that does not.
        """
        if length and self.gate is not None and (admission := self.gate.admit(is_write, length)) is not None:
            await admission
        while True:
            if self._quiesced:
                await self._undrained()
            elif self.gate is not None and (going_on := self.gate.hold(is_write)) is not None:
                await going_on
            else:
                return

    async def _undrained(self) -> None:
        while self._quiesced:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _leave(self) -> None:
        self.in_flight -= 1
        if self._quiesced and self.in_flight == 0:
            self.graph.request_done()

    def _failed(self, operation: OperationStats, error: OSError) -> Verdict:
        """A request has failed with `error`; says what is to become of it."""
        operation.failed += 1
        return Verdict.REPORT

    async def _settle(self, verdict: Verdict, again: Callable[[], Awaitable[None]]) -> None:
        """What a request does that has failed and need not report it: nothing, or all over again."""
        if verdict is Verdict.RETRY:
            await self.recovered()
            await again()

    async def recovered(self) -> None:
        """Wait until a request that has failed may be tried again."""

    # I/O: each request waits while the node is drained, is counted, and goes to the root node.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises OSError as the node does."""
        if self._quiesced or self.gate is not None:
            await self._admitted(False, len(buffer))
        self.in_flight += 1
        stats = self.stats.read
        began = time.monotonic_ns()
        try:
            root = self.root
            await (self.node if root is None else root.node).preadv(offset, buffer)
        except OSError as error:
            verdict = self._failed(stats, error)
            if verdict is Verdict.REPORT:
                raise
        else:
            self.stats.done(stats, len(buffer), began)
            return
        finally:
            self.in_flight -= 1
            if self._quiesced and self.in_flight == 0:
                self.graph.request_done()
        buffer[:] = bytes(len(buffer))  # nobody shall see what was in it before
        await self._settle(verdict, lambda: self.preadv(offset, buffer))

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` from `offset` if that takes no waiting; False: ask `preadv`, nothing has happened."""
        root = self.root
        if self._quiesced or self.gate is not None or root is None:
            return False
        began = time.monotonic_ns()
        if not root.node.read_now(offset, buffer):
            return False
        self.stats.done(self.stats.read, len(buffer), began)
        return True

    def begin_write(self, offset: int, data: Buffer, done: Told) -> bool:
        """Begin to write `data`; see `BlockDriver.begin_write`.

        :param done: told an error that nothing was done about: `pwritev` has to be asked then as well.
        """
        root = self.root
        if self._quiesced or self.gate is not None or root is None:
            return False
        over = partial(self._written, done, len(data), time.monotonic_ns())
        if not root.node.begin_write(offset, data, over):
            return False
        self.in_flight += 1
        return True

    def _written(self, done: Told, length: int, began: int, error: OSError | None) -> None:
        """A write that was begun is over."""
        if error is None:
            self.stats.done(self.stats.write, length, began)
        self._leave()
        done(error)

    async def pwritev(self, offset: int, data: Buffer, fua: bool = False) -> None:
        """Write `data` at `offset`. Raises OSError as the node does."""
        if self._quiesced or self.gate is not None:
            await self._admitted(True, len(data))
        self.in_flight += 1
        stats = self.stats.write
        began = time.monotonic_ns()
        try:
            await self.node.pwritev(offset, data, fua)
        except OSError as error:
            verdict = self._failed(stats, error)
            if verdict is Verdict.REPORT:
                raise
        else:
            self.stats.done(stats, len(data), began)
            return
        finally:
            self._leave()
        await self._settle(verdict, lambda: self.pwritev(offset, data, fua))

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        no_fallback: bool = False,
        fua: bool = False,
    ) -> None:
        """Make a range read as zeroes. Raises OSError as the node does."""
        if self._quiesced or self.gate is not None:
            await self._admitted(True, length)
        self.in_flight += 1
        stats = self.stats.write
        began = time.monotonic_ns()
        try:
            await self.node.pwrite_zeroes(
                offset, length, may_unmap=may_unmap, no_fallback=no_fallback, fua=fua
            )
        except OSError as error:
            if no_fallback and error.errno == errno.ENOTSUP:  # which only says that there is no fast way
                raise
            verdict = self._failed(stats, error)
            if verdict is Verdict.REPORT:
                raise
        else:
            self.stats.done(stats, length, began)
            return
        finally:
            self._leave()
        await self._settle(
            verdict,
            lambda: self.pwrite_zeroes(offset, length, may_unmap=may_unmap, no_fallback=no_fallback, fua=fua),
        )

    async def pdiscard(self, offset: int, length: int) -> None:
        """Discard a range. Raises OSError as the node does."""
        await self._counted(self.stats.unmap, length, lambda: self.node.pdiscard(offset, length))

    async def flush(self) -> None:
        """Bring completed writes to stable storage. Raises OSError as the node does."""
        await self._counted(self.stats.flush, 0, lambda: self.node.flush())

    async def map(self, offset: int, length: int) -> list[Extent]:
        """How a range is stored; see `BlockNode.map`."""
        if self._quiesced:
            await self._undrained()
        self.in_flight += 1
        try:
            return await self.node.map(offset, length)
        finally:
            self._leave()

    async def pwrite_compressed(self, offset: int, data: Buffer) -> None:
        """Write whole clusters in compressed form; see `BlockNode.pwrite_compressed`."""
        await self._counted(self.stats.write, len(data), lambda: self.node.pwrite_compressed(offset, data))

    async def truncate(self, length: int, exact: bool = False) -> None:
        """Change the length of the disk. Raises OSError as the node does."""
        if self._quiesced:
            await self._undrained()
        self.in_flight += 1
        try:
            await self.node.truncate(length, exact)
        finally:
            self._leave()

    async def _counted(self, stats: OperationStats, length: int, request: Callable[[], Awaitable[None]]) -> None:
        if self._quiesced or self.gate is not None:
            await self._admitted(stats is not self.stats.flush, length)
        self.in_flight += 1
        began = time.monotonic_ns()
        try:
            await request()
        except OSError as error:
            verdict = self._failed(stats, error)
            if verdict is Verdict.REPORT:
                raise
        else:
            self.stats.done(stats, length, began)
            return
        finally:
            self._leave()
        await self._settle(verdict, lambda: self._counted(stats, length, request))
