"""The common fate of a group of jobs: all of them count, or none.

Every job is a member of a group, if only of one of its own, so there is a single way for a job to end.

The story of a group is one coroutine, `_finish`, in a task of the manager's. It begins when the last member's
`run` has ended well, or at the first failure or cancellation (`take_down`), whichever comes first:

    prepare all -> all pending -> (a client finalizes) -> drain, commit all   nothing went wrong
    cancel the others -> wait for their `run` to end -> abort all           otherwise, from any point above

Preparing comes before pending, so that a group for which a client is asked to finalize has hardly anything left that
can fail: only what has to wait until all nodes stand still (`prepare_drained`). The hooks and callbacks run in one go
without an `await`, with the members' nodes drained and the graph held, and with the first of them the group is
*decided*. A verb comes before that, and then aborts the group, or counts as having come after the end. The last
events follow when the graph has closed what the hooks let go of, so that a client that hears of the end finds nothing
open any more. What was rejected: finishing job by job, as each ends; a drain between two commits would show one
disk's backup without the other's.

Order, as clients of QEMU know it: members tell their outcome latest first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from qmpd.jobs.bell import Bell
from qmpd.jobs.job import Job, run_hook

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode
    from qmpd.jobs.manager import JobManager

_log = logging.getLogger(__name__)


class JobTransaction:
    """A group of jobs; made by `JobManager.new_transaction`, joined through `JobManager.add`."""

    def __init__(self, manager: JobManager) -> None:
        self._manager = manager
        self._members: list[Job] = []
        self._callbacks: list[Callable[[bool], None]] = []
        self._bell = Bell()
        self._failed = False
        self._finalized = False
        self._finishing = False
        self._decided = False
        self._settled = asyncio.Event()

    @property
    def members(self) -> tuple[Job, ...]:
        """The jobs of the group, in the order in which they joined; those abandoned are not among them."""
        return tuple(self._members)

    @property
    def decided(self) -> bool:
        """Whether it is too late to change how the group ends."""
        return self._decided

    @property
    def failed(self) -> bool:
        """Whether the group will abort, or has."""
        return self._failed

    @property
    def settled(self) -> bool:
        """Whether the group is over, one way or the other."""
        return self._settled.is_set()

    def add(self, job: Job) -> None:
        """Let `job` join, for `JobManager.add`; it shares the group's fate even if that is sealed already."""
        self._members.append(job)
        job.bind(self._manager, self)
        if self._failed:
            job.request_cancel(force=True)

    def on_settled(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` once when the group is over: with `True` if it committed, `False` if it aborted.

        It runs after the members' hooks, in the same drained section, and must neither fail nor wait. After a
        failure callbacks run in reverse order, so that each finds what it left. An action of a transaction
        registers it in `commit()`: if the transaction itself fails, its `abort()` has undone everything, and
        callbacks are forgotten (`dissolve`).
        """
        self._callbacks.append(callback)

    def finalize(self) -> None:
        """A client wants the pending group to commit; a second time has no further effect."""
        self._finalized = True
        self._bell.ring()

    async def wait_settled(self) -> None:
        """Return once the group is over. Whoever waits may be cancelled without harm to the group."""
        await self._settled.wait()

    def settle_if_empty(self) -> None:
        """The engine has committed: a group without a job has nothing left to fail, and is over."""
        if not self._members and not self.settled:
            self._call_back(success=True)
            self._settled.set()

    def dissolve(self) -> None:
        """The engine has aborted: members were abandoned, callbacks have nothing left to undo."""
        self._callbacks.clear()
        if not self._members:
            self._settled.set()

    # -- called by members

    def member_ended(self, job: Job) -> None:
        """`run` of `job` is over, well or not."""
        if job.error is not None:
            self.take_down(job)
        elif all(member.over for member in self._members):
            self._begin_finish()
        self._bell.ring()

    def take_down(self, culprit: Job) -> None:
        """Nothing of this group counts any more, because of `culprit`: cancel all the others."""
        if self._failed:
            return
        self._failed = True
        for job in reversed(self._members):
            if job is not culprit:
                job.request_cancel(force=True)
        self._begin_finish()
        self._bell.ring()

    def forget(self, job: Job) -> None:
        """`job` was abandoned before it began: the others go on without it."""
        self._members.remove(job)
        self._bell.ring()
        if not self._members:
            self._settled.set()

    # -- the story

    def _begin_finish(self) -> None:
        if not self._finishing:
            self._finishing = True
            names = ", ".join(job.job_id or job.job_type for job in self._members)
            self._manager.spawn(self._finish(), f"finish {names}")

    async def _finish(self) -> None:
        await self._prepare_all(lambda job: job.prepare())
        await self._stand_pending()
        while not all(job.over or not job.started for job in self._members):
            await self._bell.wait()
        try:
            async with self._manager.graph.exclusive(), self._manager.graph.drained(self._nodes()):
                await self._prepare_all(lambda job: job.prepare_drained())
                self._decide()
        finally:
            if self._decided:
                self._conclude()

    async def _prepare_all(self, prepare: Callable[[Job], Awaitable[None]]) -> None:
        for job in self._members:
            if self._failed:
                return
            try:
                await prepare(job)
            except Exception as error:
                job.fail(error)
                self.take_down(job)

    async def _stand_pending(self) -> None:
        if self._failed:
            return
        for job in reversed(self._members):
            job.stand_pending()
        while not (self._failed or self._finalized or all(job.auto_finalize for job in self._members)):
            await self._bell.wait()

    def _nodes(self) -> list[BlockNode]:
        return list({id(node): node for job in self._members for node in job.nodes()}.values())

    def _decide(self) -> None:
        self._decided = True
        success = not self._failed
        members = list(self._members) if success else list(reversed(self._members))
        for job in members:
            run_hook(job.commit if success else job.abort, job)
        for job in members:
            run_hook(job.clean, job)
        self._call_back(success)

    def _conclude(self) -> None:
        for job in reversed(self._members):
            job.conclude(not self._failed)
        self._settled.set()

    def _call_back(self, success: bool) -> None:
        callbacks = self._callbacks if success else list(reversed(self._callbacks))
        for callback in callbacks:
            try:
                callback(success)
            except Exception:
                _log.exception("bug: a callback of a job group raised")
        self._callbacks = []
