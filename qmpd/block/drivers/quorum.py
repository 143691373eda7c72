"""Driver `quorum`: several images with the same contents, and a vote on what each read gives.

A write goes to all children and succeeds when as many as the threshold have taken it. A read asks all of them; the
contents that most agree on count, if those are as many as the threshold. With read-pattern=fifo the first child that
can be read is believed.

Children whose contents lose a vote, or who fail, are reported by QUORUM_REPORT_BAD; a request without enough of them
by QUORUM_FAILURE. What lost is written anew if `rewrite-corrupted` is set.

Requests to the same place take turns (`RangeLocks`). Otherwise two writes might reach the children in different orders
and leave them different, and a read might find a write on half of them and "repair" the others.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from qmpd.block.driver import BlockDriver, Buffer, OpenContext, not_supported
from qmpd.block.drivers.qcow2.ranges import RangeLocks
from qmpd.block.extents import Extent, ExtentKind
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError, os_error_text

SECTOR = 512
_PREFIX = "children."


class QuorumOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    children: Sequence[Any]
    vote_threshold: int
    blkverify: bool | None
    rewrite_corrupted: bool | None
    read_pattern: str | None


@dataclass(frozen=True, slots=True)
class _Vote:
    """How the children answered a read.

    :ivar winner: the contents that count, None when too few agree.
    :ivar losers: children with other contents.
    """

    winner: bytearray | None
    losers: Sequence[BlockNode]


class QuorumDriver(BlockDriver):
    """The vote, and its children `children.0`, `children.1` and so on."""

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self._given: dict[str, Any] = {}
        self._threshold = 1
        self._verify = False
        self._rewrite = False
        self._fifo = False
        self._next = 0
        self._locks = RangeLocks()

    # Opening, and children that come and go.

    async def open(self, options: QuorumOptions, context: OpenContext) -> None:
        self._take_options(options)
        for reference in options.children:
            child = await context.open_child(f"{_PREFIX}{self._next}", reference, protocol=False)
            if self._next == 0:
                self.length = child.node.length
            self._check_length(child.node)
            self._next += 1
        self._align()

    def _take_options(self, options: QuorumOptions) -> None:
        count, threshold = len(options.children), options.vote_threshold
        if not count:
            raise GenericError("'children' is empty; a quorum has one child at least")
        if not 1 <= threshold <= count:
            raise GenericError(f"'vote-threshold' is {threshold}; it has to be from 1 to {count}, so many children")
        self._threshold = threshold
        self._fifo = options.read_pattern is not None and str(options.read_pattern) == "fifo"
        self._verify, self._rewrite = bool(options.blkverify), bool(options.rewrite_corrupted)
        if not self._fifo:
            self._check_modes(count)
        self._given = {
            name: value
            for name, value in (
                ("blkverify", options.blkverify),
                ("vote-threshold", threshold),
                ("rewrite-corrupted", options.rewrite_corrupted),
                ("read-pattern", None if options.read_pattern is None else str(options.read_pattern)),
            )
            if value is not None
        }

    def _check_modes(self, count: int) -> None:
        if self._verify and (count, self._threshold) != (2, 2):
            raise GenericError("'blkverify' compares: it needs two children, and a 'vote-threshold' of 2")
        if self._verify and self._rewrite:
            raise GenericError("'rewrite-corrupted' and 'blkverify' cannot go together: of two, who is right?")

    def _check_length(self, child: BlockNode) -> None:
        if child.length != self.length:
            raise GenericError(
                f"Node '{child.node_name}' has {child.length} bytes, and the quorum {self.length}; all children have "
                "to be of the same size"
            )

    def _align(self) -> None:
        self.request_alignment = max(child.request_alignment for child in self._children())

    def _children(self) -> list[BlockNode]:
        return [child.node for name, child in self.node.children.items() if name.startswith(_PREFIX)]

    def add_child(self, child: BlockNode) -> None:
        """Let `child` take part. The node must be drained; its contents are believed as those of the others.

        :raises GenericError: it cannot; the graph is as before.
        """
        if self._verify:
            raise GenericError(f"Node '{self.node.node_name}' compares its two children and takes no other")
        self._check_length(child)
        self.node.graph.set_child(self.node, f"{_PREFIX}{self._next}", child)
        self._next += 1
        self._align()

    def remove_child(self, name: str) -> None:
        """Let the child `name` go. The node must be drained.

        :raises GenericError: too few would be left; the graph is as before.
        """
        if len(self._children()) <= self._threshold:
            raise GenericError(
                f"Node '{self.node.node_name}' needs {self._threshold} children at least, its 'vote-threshold'"
            )
        self.node.graph.set_child(self.node, name, None)
        if name == f"{_PREFIX}{self._next - 1}":
            self._next -= 1
        self._align()

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        if self._rewrite and not self.node.read_only:
            perm |= Perm.WRITE
        # Who writes to one child, or resizes it, makes it differ from the others.
        return perm, shared & (Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED)

    # Reading.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        if self._fifo:
            await self._read_first(offset, buffer)
            return
        end = offset + len(buffer)
        claim = self._locks.try_share(offset, end) or await self._locks.take(offset, end)
        try:
            vote = await self._read_and_vote(offset, len(buffer), report=True)
        finally:
            self._locks.release(claim)
        if vote.winner is None:
            self._report_failure(offset, len(buffer))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if vote.losers and self._rewrite and not self.node.read_only:
            await self._repair(offset, len(buffer))
        buffer[:] = vote.winner

    async def _read_first(self, offset: int, buffer: memoryview) -> None:
        failure = OSError(errno.EIO, os.strerror(errno.EIO))
        for child in self._children():
            try:
                await child.preadv(offset, buffer)
            except OSError as error:
                failure = error
                self._report_bad("read", child, offset, len(buffer), error)
            else:
                return
        raise failure

    async def _read_and_vote(self, offset: int, length: int, *, report: bool) -> _Vote:
        """Read from all children.

        :param report: tell of children that differ.
        :raises OSError: too few could be read.
        """
        versions: list[tuple[bytearray, list[BlockNode]]] = []
        contents: dict[BlockNode, bytearray] = {child: bytearray(length) for child in self._children()}
        good = await self._ask_all(
            "read", offset, length, lambda child: child.preadv(offset, memoryview(contents[child]))
        )
        for child in good:
            same = next((voters for data, voters in versions if data == contents[child]), None)
            if same is None:
                versions.append((contents[child], [child]))
            else:
                same.append(child)
        winner, voters = max(versions, key=lambda version: len(version[1]))
        if len(voters) < self._threshold:
            return _Vote(None, ())
        losers = [child for child in good if child not in voters]
        if report:
            for child in losers:
                self._report_bad("read", child, offset, length)
        return _Vote(winner, losers)

    async def _repair(self, offset: int, length: int) -> None:
        """Vote again while nobody else is here, and write what won over what lost."""
        claim = await self._locks.take(offset, offset + length)
        try:
            vote = await self._read_and_vote(offset, length, report=False)
            for child in vote.losers:
                try:
                    await child.pwritev(offset, vote.winner or b"")
                except OSError as error:
                    self._report_bad("write", child, offset, length, error)
        except OSError:
            return  # the first vote's result stands; whoever reads next finds out about this
        finally:
            self._locks.release(claim)

    # Writing.

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        length = len(data)
        claim = await self._locks.take(offset, offset + length)
        try:
            await self._ask_all("write", offset, length, lambda child: child.pwritev(offset, data, fua))
        finally:
            self._locks.release(claim)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        if no_fallback:
            # Some of the children might do it and others refuse.
            raise not_supported()
        claim = await self._locks.take(offset, offset + length)
        try:
            await self._ask_all(
                "write", offset, length, lambda child: child.pwrite_zeroes(offset, length, may_unmap=may_unmap)
            )
        finally:
            self._locks.release(claim)

    async def flush(self) -> None:
        await self._ask_all("flush", 0, 0, lambda child: child.flush())

    async def map(self, offset: int, length: int) -> list[Extent]:
        """Zeroes only where all children have them; nothing is said of where data lies."""
        zero, data = length, 0
        for child in self._children():
            try:
                first = (await child.map(offset, length))[0]
            except OSError:
                first = Extent(offset, length, ExtentKind.DATA)  # reading will tell
            if first.reads_zero:
                zero = min(zero, first.length)
            else:
                data = max(data, first.length)
        if data:
            return [Extent(offset, min(data, length), ExtentKind.DATA)]
        return [Extent(offset, zero, ExtentKind.ZERO, None, 0, False)]

    async def _ask_all(
        self, kind: str, offset: int, length: int, request: Callable[[BlockNode], Awaitable[None]]
    ) -> list[BlockNode]:
        """Send a request to all children at once; gives those who have done it.

        :raises OSError: these are too few; the error that most of the others had.
        """
        children = self._children()
        failures = await asyncio.gather(*(_outcome(request(child)) for child in children))
        errors = [error for error in failures if error is not None]
        for child, error in zip(children, failures, strict=True):
            if error is not None:
                self._report_bad(kind, child, offset, length, error)
        if len(children) - len(errors) < self._threshold:
            if kind != "flush":
                self._report_failure(offset, length)
            (number, _), *_ = Counter(error.errno or errno.EIO for error in errors).most_common(1)
            raise OSError(number, os.strerror(number))
        return [child for child, error in zip(children, failures, strict=True) if error is None]

    # Events.

    def _report_bad(self, kind: str, child: BlockNode, offset: int, length: int, error: OSError | None = None) -> None:
        text = {} if error is None else {"error": os_error_text(error)}
        data = {"type": kind, **text, "node-name": child.node_name, **_sectors(offset, length)}
        self.node.graph.events.emit("QUORUM_REPORT_BAD", data)

    def _report_failure(self, offset: int, length: int) -> None:
        data = {"reference": self.node.node_name, **_sectors(offset, length)}
        self.node.graph.events.emit("QUORUM_FAILURE", data)

    # What queries show.

    def can_replace(self, node: BlockNode) -> bool:
        # A child may differ from the others: that is the very reason to replace it. What is shown does not change by
        # that, but other users of the child would see it.
        return any(node is child for child in self._children()) and len(node.parents) == 1

    def filename(self) -> str:
        return self.json_name()

    def open_options(self) -> dict[str, Any]:
        children = [child.driver.open_options() for child in self._children()]
        return {"children": children, "driver": self.format_name, **self._given}

    def runtime_options(self) -> dict[str, Any]:
        return self._given

    def actual_size(self) -> int | None:
        sizes = [child.driver.actual_size() for child in self._children()]
        return sum(size for size in sizes if size is not None)


async def _outcome(request: Awaitable[None]) -> OSError | None:
    """What a request has failed with, None if it has not."""
    try:
        await request
    except OSError as error:
        return error
    return None


def _sectors(offset: int, length: int) -> dict[str, int]:
    first = offset // SECTOR
    return {"sector-num": first, "sectors-count": -(-(offset + length) // SECTOR) - first}
