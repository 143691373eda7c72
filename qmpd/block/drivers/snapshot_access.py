"""Driver `snapshot-access`: a frozen view of the disk under a `copy-before-write` node, while guests go on writing.

Reads and questions about how data is stored go to the filter's `FrozenView`; writing is not possible. Discarding gives
clusters back that have been read: they need not be saved any more, and the filter's target may forget them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable
from typing import Any, Protocol

from qmpd.block.driver import BlockDriver, Buffer, OpenContext, not_supported
from qmpd.block.drivers.copy_before_write import CopyBeforeWriteDriver
from qmpd.block.extents import Extent
from qmpd.block.frozen_view import FrozenView
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError


class SnapshotAccessOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    file: Any


def find_view(node: BlockNode) -> FrozenView | None:
    """The view of the first copy-before-write node from `node` down that keeps one; filters of jobs keep none."""
    below: BlockNode | None = node
    while below is not None:
        driver = below.driver
        if isinstance(driver, CopyBeforeWriteDriver) and driver.view is not None:
            return driver.view
        below = below.filtered
    return None


class SnapshotAccessDriver(BlockDriver):
    """The view as a node."""

    main_child = "file"

    def __init__(self, format_name: str = "snapshot-access") -> None:
        super().__init__(format_name)
        self._view: FrozenView | None = None

    async def open(self, options: SnapshotAccessOptions, context: OpenContext) -> None:
        child = await context.open_child("file", options.file, protocol=False)
        view = find_view(child.node)
        if view is None:
            raise GenericError(
                f"Node '{child.node.node_name}' keeps no snapshot; 'file' has to be a 'copy-before-write' node"
            )
        self._view = view
        self.length = view.length
        self.request_alignment = child.node.request_alignment

    def child_moved(self, name: str) -> None:
        child = self.node.children.get("file")
        self._view = None if child is None else find_view(child.node)

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        # The filter itself sees to it that nobody changes the disk behind its back.
        return Perm.NONE, Perm.ALL

    def filename(self) -> str:
        return self.node.children["file"].node.driver.filename()

    @property
    def view(self) -> FrozenView:
        """What is shown.

        :raises OSError: there is no such filter any more.
        """
        if self._view is None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return self._view

    def preadv(self, offset: int, buffer: memoryview) -> Awaitable[None]:
        return self.view.read(offset, buffer)

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        raise not_supported()

    async def pdiscard(self, offset: int, length: int) -> None:
        await self.view.discard(offset, length)

    async def map(self, offset: int, length: int) -> list[Extent]:
        return await self.view.map(offset, length)
