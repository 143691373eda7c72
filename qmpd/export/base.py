"""What every kind of block export has in common.

An export makes a node visible outside of the daemon. It holds a `BlockBackend` on the node, so the node cannot go
away under it. Leans on `qmpd.block`; must never know how one kind of export talks to its clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from qmpd.block import chain
from qmpd.block.drive import GuestBackend
from qmpd.block.graph import BlockGraph
from qmpd.block.permissions import Perm


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What all kinds of exports are told when they are made.

    :param export_id: unique among all exports.
    :param node_name: the node to export.
    :param writable: clients may write.
    :param writethrough: writes are on stable storage when they are answered.
    :param iothread: the `iothread` object that is named for it; it changes nothing but has to stay.
    """

    export_id: str
    node_name: str
    writable: bool = False
    writethrough: bool = False
    iothread: str | None = None


class ClientLog(Protocol):
    """Is told who uses exports."""

    def connected(self, export_id: str, address: str) -> Any:
        """A client has chosen an export; what `disconnected` wants."""

    def disconnected(self, token: Any) -> None:
        """That client has gone."""


class ExportBlockBackend(GuestBackend):
    """The backend of an export: error messages name it after that."""

    def __init__(self, graph: BlockGraph, export_id: str, perm: Perm, shared: Perm) -> None:
        super().__init__(graph, perm, shared)
        self._export_id = export_id

    def describe(self) -> str:
        """How error messages name this user of a node."""
        return f"export '{self._export_id}'"

    def image_depths(self) -> list[int]:
        """Of each image in the chain, from the top: how far down it is reached, filters counted as well (from 1).

        A filter shows what is directly below it as its own, so the uppermost of several counts.
        """
        depths: list[int] = []
        reached = False
        for depth, node in enumerate(chain.chain(self.node), 1):
            if not reached:
                depths.append(depth)
            reached = node.filtered is not None
        return depths


class BlockExport(ABC):
    """One export.

    :cvar kind: its type as in the schema's `BlockExportType`.
    :ivar shutting_down: it has been asked to go; it is gone when its clients are.
    :ivar definition: the `BlockExportOptions` that would make it, as JSON.
    :ivar client_log: is told who uses it, if anybody wants to know.
    """

    kind: ClassVar[str]

    def __init__(self, export_id: str, backend: ExportBlockBackend) -> None:
        self.export_id = export_id
        self.backend = backend
        self.shutting_down = False
        self.definition: Mapping[str, Any] | None = None
        self.client_log: ClientLog | None = None

    @property
    def node_name(self) -> str:
        """The name of the exported node, which is the topmost filter if there are any."""
        return self.backend.node.node_name

    @property
    @abstractmethod
    def in_use(self) -> bool:
        """Clients are connected."""

    @abstractmethod
    def withdraw(self) -> None:
        """Let no new client find it, and begin to send away those it has. First step of its end."""

    @abstractmethod
    async def wait_unused(self) -> None:
        """Wait until its clients have gone and nothing of them is in flight. Second step of its end."""

    @abstractmethod
    def release(self) -> None:
        """Give back everything; nothing is in flight. Last step of its end, within the graph's exclusive section."""
