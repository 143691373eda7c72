"""The disk that a qemu-io command is for, and how the command comes to use it.

A command takes the permission that it needs for as long as it does I/O, and leaves everything to others, as QEMU's
monitor does. Those that only look or control (breakpoints above all) do not become users of the disk: they must get
through while a request stands still and somebody waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qmpd.block.backend import BlockBackend
from qmpd.block.graph import BlockGraph
from qmpd.block.node import BlockNode
from qmpd.block.permissions import Perm


class Target:
    """A disk.

    :param name: of a node or drive.
    """

    def __init__(self, graph: BlockGraph, name: str) -> None:
        self.graph = graph
        self.name = name

    @property
    def node(self) -> BlockNode:
        """The node at its root.

        :raises GenericError: there is none by now.
        """
        return self.graph.lookup(self.name)

    @asynccontextmanager
    async def user(self, perm: Perm) -> AsyncIterator[BlockBackend]:
        """Be a user of the disk who does what `perm` says.

        :raises GenericError: others do not share that, or the disk is read-only.
        """
        backend = BlockBackend(self.graph, "", perm, Perm.ALL)
        async with self.graph.exclusive():
            backend.attach(self.node)
        try:
            yield backend
        finally:
            async with self.graph.exclusive():
                backend.detach()
