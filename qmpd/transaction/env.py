"""What an action may use: the parts of the daemon, and the transaction that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.events import EventSink
    from qmpd.jobs.manager import JobManager
    from qmpd.jobs.transaction import JobTransaction
    from qmpd.monitor.context import RequestContext


class CompletionMode(StrEnum):
    """How the jobs of a transaction end (QEMU's `ActionCompletionMode`)."""

    INDIVIDUAL = "individual"
    GROUPED = "grouped"


@dataclass(frozen=True, slots=True)
class TransactionEnv:
    """Handed to every action.

    :ivar services: what else action kinds need to build jobs, as the daemon has put it together; the engine
        hands it on without a look.
    :ivar group: the group that all jobs of a `grouped` transaction join (`jobs.add(job, env.group)`), and
        whose end decides about what the other actions did (`group.on_settled`, from `commit()`); `None` if
        `individual`.
    """

    graph: BlockGraph
    jobs: JobManager
    events: EventSink
    services: Any
    context: RequestContext
    completion_mode: CompletionMode
    group: JobTransaction | None
