"""The disk that a qemu-io command is for, and how the command comes to use it.

A command takes the permission that it needs for as long as it does I/O, and leaves everything to others, as QEMU's
monitor does. Those that only look or control (breakpoints above all) do not become users of the disk: they must get
through while a request stands still and somebody waits for it. What is written to the source of a job goes through the
job's filter, as it does for everybody else.

What is done to a drive is held back by the drive's limits, and is let by the drive's device. The drive counts what is
done in the background, and nothing else (QEMU, qemu-io-cmds).
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qmpd.block.backend import BlockBackend
from qmpd.block.chain import top_of_guards
from qmpd.block.drive import Drive
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm


class Target:
    """A disk.

    :param name: of a node or drive, or of the device that the drive belongs to.
    :param drive: None for a node.
    """

    def __init__(self, graph: BlockGraph, name: str, drive: Drive | None) -> None:
        self.graph = graph
        self.name = name
        self.drive = drive

    @property
    def key(self) -> str:
        """The one name under which what is under way on the disk is kept, however it was named."""
        return self.name if self.drive is None else self.drive.label

    @property
    def node(self) -> BlockNode:
        """The node at its root.

        :raises GenericError: there is none (by now).
        """
        return self.graph.lookup_node(self.name) if self.drive is None else self.drive.node

    @asynccontextmanager
    async def user(self, perm: Perm, *, counted: bool = False) -> AsyncIterator[BlockBackend]:
        """Be a user of the disk who does what `perm` says.

        :param counted: a drive counts what the user does.
        :raises GenericError: others do not share that, or the disk is read-only.
        :raises OSError: the drive is empty.
        """
        if self.drive is not None and self.drive.medium is None:
            raise OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM))
        backend = _User(self.graph, self.drive, perm, counted)
        async with self.graph.exclusive():
            backend.attach(top_of_guards(self.node))
        try:
            yield backend
        finally:
            async with self.graph.exclusive():
                backend.detach()


class _User(BlockBackend):
    def __init__(self, graph: BlockGraph, drive: Drive | None, perm: Perm, counted: bool) -> None:
        super().__init__(graph, "", perm, Perm.ALL)
        self._drive = drive
        if drive is not None:
            self.gate = drive.gate
            if counted:
                self.stats = drive.stats

    def describe(self) -> str:
        return "the monitor"

    @property
    def side(self) -> object:
        return self if self._drive is None else self._drive
