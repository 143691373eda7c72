"""What one action of a transaction promises.

Its four methods are its promise, and their kind is part of it: `prepare` may wait and may fail; `commit`,
`abort` and `clean` are plain functions, so they cannot wait for a disk, and they must not fail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.transaction.env import TransactionEnv
from qmpd.transaction.outcome import Demand, Fact

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode


class TransactionAction(ABC):
    """One action, from its request to its end.

    The engine builds it (no effect yet), calls `anticipate`, asks for `nodes`, and then calls `prepare`, `commit` or
    `abort`, and `clean`. From the first `prepare` to the last `clean` the graph is held and the nodes of all actions
    are drained. What takes its time and changes nothing about the outcome, `commit` can put off until the nodes are in
    use again (`BlockGraph.defer`).

    :param data: the action's arguments, a validated model of the schema.
    """

    kind: ClassVar[str]
    """The action's name in the schema's `TransactionActionKind`."""

    ungroupable: ClassVar[str | None] = None
    """Why actions of this kind cannot be part of a `grouped` transaction, as a clause; `None` if they can."""

    def __init__(self, data: Any, env: TransactionEnv) -> None:
        self.data = data
        self.env = env

    def nodes(self) -> Sequence[BlockNode]:
        """The nodes to be drained. What does not exist is left out: `prepare` reports it."""
        return ()

    def demand(self) -> Demand:
        """What the action will use of what may be limited, as far as that can be told before `prepare`."""
        return Demand()

    def outcome(self) -> Sequence[Fact]:
        """What has happened if the transaction commits, for the record; asked after `prepare` of all actions."""
        return ()

    async def anticipate(self) -> None:  # noqa: B027
        """Do ahead what would take `prepare` its time while disks stand still. The graph is held; it changes nothing
        that anybody could see, nobody relies on it, and it does not fail.
        """

    @abstractmethod
    async def prepare(self) -> None:
        """Do everything that can fail. Later actions of the transaction see the result, nobody else does.

        :raises QMPError: why the whole transaction cannot be.
        """

    def commit(self) -> None:  # noqa: B027
        """Make it final."""

    def abort(self) -> None:  # noqa: B027
        """Undo what `prepare` did; called even if `prepare` failed half-way, or was cancelled."""

    def clean(self) -> None:  # noqa: B027
        """Free what is left, after `commit` or `abort`."""
