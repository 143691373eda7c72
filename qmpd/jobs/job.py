"""One job: a coroutine with hooks, moved through its life cycle by verbs, drains and its group's fate.

The idea. `run()` does the work in a task of the manager's. It is *cooperative*: it meets pauses, drains and
cancellation only where it calls `pause_point`, `sleep` or (block jobs) `throttle`, so that no write is ever
cut in half. While it stands at such a point the job is *parked*. A pause of a parked job shows at once, in
the same call; a pause of a busy job shows when it parks. This is why a client that pauses a throttled job
sees the event before the reply, as with QEMU.

Pauses are counted. A user's pause (or a stop after an I/O error, which a user ends) is one of them and is
remembered as such; every drain is another. Cancelling takes the user's pause away but not a drain's: the
unwinding of `run` must not do I/O on a drained node either.

What happens after `run` is the group's business (`qmpd.jobs.transaction`). Leans on `state` for what is
legal; must never decide that itself, and never emits an event for an internal job.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.errors import GenericError, QMPError, os_error_text
from qmpd.jobs.bell import Bell
from qmpd.jobs.progress import Progress
from qmpd.jobs.state import JobStatus, JobVerb, check_transition, check_verb

if TYPE_CHECKING:
    from qmpd.block.node import BlockNode
    from qmpd.jobs.manager import JobManager
    from qmpd.jobs.transaction import JobTransaction

_log = logging.getLogger(__name__)

_PAUSED_FORM = {JobStatus.RUNNING: JobStatus.PAUSED, JobStatus.READY: JobStatus.STANDBY}
_RESUMED_FORM = {paused: active for active, paused in _PAUSED_FORM.items()}


class JobCancelled(Exception):
    """Raised inside `run()` to unwind it. Let it pass; clean up in `finally`."""


def canceled_text() -> str:
    """The description of a cancelled job's error, as QEMU has it."""
    return os.strerror(errno.ECANCELED)


class Job(ABC):
    """A unit of long-running work.

    Building one has no effect; `JobManager.add` makes it known, `start()` sets it going. A job that was added
    is either started or abandoned.

    :param job_id: unique and well-formed, or `None` for an internal job, which no client sees.
    :param auto_finalize: whether the group may finish without a client's `job-finalize`.
    :param auto_dismiss: whether the job disappears by itself once it is concluded.
    """

    job_type: ClassVar[str]
    """The kind of job, by its name in the schema's `JobType`."""

    def __init__(
        self, job_id: str | None, *, auto_finalize: bool = True, auto_dismiss: bool = True
    ) -> None:
        self.job_id = job_id or ""
        self.internal = job_id is None
        self.auto_finalize = auto_finalize
        self.auto_dismiss = auto_dismiss
        self.status = JobStatus.UNDEFINED
        self.error: str | None = None
        self.progress = Progress()
        self.user_paused = False
        self.cancel_requested = False
        """A client asked to end the job, perhaps softly (a mirror that then completes)."""
        self.cancelled = False
        """The job is to end without effect; whatever `run` returns, it aborts."""
        self._manager: JobManager | None = None
        self._txn: JobTransaction | None = None
        self._task: asyncio.Task[None] | None = None
        self._bell = Bell()
        self._holds = 0
        self._parked = 0
        self._over = False
        self._letting_pass = ExitStack()
        self._interrupted = False

    # -- what a kind of job fills in

    @abstractmethod
    async def run(self) -> None:
        """Do the work; raise `QMPError` or `OSError` to fail. Anything else is a bug, and a failure too."""

    async def prepare(self) -> None:  # noqa: B027
        """The last step that may fail, once all jobs of the group have run; raise as `run` does."""

    async def prepare_drained(self) -> None:  # noqa: B027
        """The very last step that may fail: the job's nodes are drained, and `commit` or `abort` follows at once.

        For what has to happen between the last request and the first one after the job, such as a switch to another
        image. `abort` undoes it.
        """

    def commit(self) -> None:  # noqa: B027
        """Make the work count. The job's nodes are drained."""

    def abort(self) -> None:  # noqa: B027
        """Undo what `run`, `prepare` or building the job did. The job's nodes are drained."""

    def clean(self) -> None:  # noqa: B027
        """Give back filters, blockers and backends, after `commit` or `abort`."""

    def nodes(self) -> Sequence[BlockNode]:
        """The nodes that must be drained while `commit`, `abort` and `clean` run."""
        return ()

    def given_up(self) -> Sequence[BlockNode]:
        """The nodes whose contents nobody needs when the job is cancelled."""
        return ()

    def complete(self) -> None:
        """Let a ready job come to its end; raise `GenericError` if this kind has no such thing."""
        raise GenericError(f"Job '{self.job_id}' of type '{self.job_type}' cannot be completed by hand")

    def change(self, options: Any) -> None:
        """Go on in another way (a branch of the schema's `JobChangeOptions`); raise `GenericError` if it cannot."""
        raise GenericError(f"Nothing can be changed about job '{self.job_id}' of type '{self.job_type}'")

    def user_resume(self) -> None:  # noqa: B027
        """Called when a user's pause ends, before the job goes on."""

    def cancel(self, force: bool) -> bool:
        """Called when the job is asked to end.

        :return: whether it shall end without effect. `False` means that it will end by itself and keep what
            it has done, and is heeded only if `force` is not set.
        """
        return True

    def can_interrupt(self) -> bool:
        """Whether a cancellation may cut `run` off at any `await`, because it writes nothing."""
        return False

    def quiescent(self) -> bool:
        """Whether nothing of the job is under way apart from `run`'s own coroutine; for jobs with helpers."""
        return True

    async def on_pause(self) -> None:  # noqa: B027
        """Bring helpers to rest before the job shows as paused."""

    async def on_resume(self) -> None:  # noqa: B027
        """Set helpers going again after a pause."""

    # -- what run() calls

    async def pause_point(self) -> None:
        """Let others run; stay here while the job is paused or drained.

        To be called by `run`'s own coroutine, often enough that a pause is not kept waiting. Helpers that it
        has set to work are brought to rest by `on_pause`.

        :raises JobCancelled: if the job is to end.
        """
        if self._holds:
            await self._wait_released()
        elif not self.cancelled:
            await asyncio.sleep(0)
            if self._holds:
                await self._wait_released()
        if self.cancelled:
            raise JobCancelled

    async def sleep(self, seconds: float) -> None:
        """Do nothing for `seconds`, or until the job is paused, resumed, cancelled or given another speed.

        :raises JobCancelled: if the job is to end.
        """
        if not self._holds and not self.cancelled:
            with self._park():
                await self._bell.wait_at_most(seconds)
        await self.pause_point()

    def kick(self) -> None:
        """End a `sleep` early."""
        self._bell.ring()

    @property
    def pause_requested(self) -> bool:
        """Whether the next `pause_point` will hold the job."""
        return self._holds > 0

    def transition_to_ready(self) -> None:
        """Called by `run` once the job could be completed at any time."""
        self._set_status(JobStatus.READY)

    # -- the job as the owner of edges to the nodes that it uses. Its requests go straight to the nodes and
    # are    not held back one by one: it is the job as a whole that comes to rest, between two of them.

    def describe(self) -> str:
        """How error messages name this job as a user of a node."""
        return f"job '{self.job_id}'" if not self.internal else f"an internal {self.job_type} job"

    def drained_begin(self) -> None:
        """Hold the job at its next pause point."""
        self._hold()

    def drained_end(self) -> None:
        """Let go what `drained_begin` held."""
        self._release()

    def drained_poll(self) -> bool:
        """Whether the job may still send requests: it runs, and has not come to a pause point."""
        if self._task is None or self._over:
            return False
        return not (self._parked and self.quiescent())

    # -- life

    @property
    def txn(self) -> JobTransaction:
        """The group whose fate the job shares; known once the job was added."""
        if self._txn is None:
            raise RuntimeError(f"job '{self.job_id}' was never added to the manager")
        return self._txn

    @property
    def started(self) -> bool:
        """Whether `start` has set the job going."""
        return self._task is not None

    @property
    def over(self) -> bool:
        """Whether `run` has ended, well or not."""
        return self._over

    @property
    def paused(self) -> bool:
        """Whether a user, an I/O error or a drain holds the job back from its work."""
        return self._holds > 0 and not self._over

    @property
    def busy(self) -> bool:
        """Whether the job is at work, rather than parked, not begun or over."""
        return self._task is not None and not self._over and not self._parked

    def start(self) -> None:
        """Set the job going. A job that its group has taken down meanwhile stays down."""
        if self.status is not JobStatus.CREATED or self.cancelled:
            return
        self._set_status(JobStatus.RUNNING)
        self._parked = 1
        if self._holds:
            self._show_paused()
        self._task = self._owner.spawn(self._main(), f"job {self.job_id or self.job_type}")

    def abandon(self) -> None:
        """End a job that was never started: abort and clean at once, in the caller's drained section."""
        if self.status is not JobStatus.CREATED:
            return
        self.txn.forget(self)
        run_hook(self.abort, self)
        run_hook(self.clean, self)
        self.conclude(success=False)

    def info(self) -> dict[str, object]:
        """The job as `JobInfo`."""
        info: dict[str, object] = {
            "id": self.job_id,
            "type": self.job_type,
            "status": self.status.value,
            "current-progress": self.progress.current,
            "total-progress": self.progress.total,
        }
        if self.error is not None:
            info["error"] = self.error
        return info

    # -- verbs, called by the manager

    def pause_by_user(self) -> None:
        """Hold the job until `resume_by_user`; `GenericError` if the user has paused it already."""
        self.check_verb(JobVerb.PAUSE)
        if self.user_paused:
            raise GenericError(f"Job '{self.job_id}' is paused already; resume it first")
        self.stop_for_user()

    def stop_for_user(self) -> None:
        """Hold the job as if the user had paused it (again). One that is cancelled just goes on to its end."""
        if not self.user_paused and not self.cancelled:
            self.user_paused = True
            self._hold()

    def resume_by_user(self) -> None:
        """End the user's pause; `GenericError` if there is none."""
        if not self.user_paused:
            raise GenericError(f"Job '{self.job_id}' cannot be resumed because nobody has paused it")
        self.check_verb(JobVerb.RESUME)
        self._drop_user_pause()

    def request_cancel(self, *, force: bool) -> None:
        """Ask the job to end, and its group with it. A soft request that comes too late has no effect."""
        if self.txn.decided:
            return
        hard = self.cancel(force) or force
        if self._over and not hard:
            return
        self.cancel_requested = True
        self.cancelled = self.cancelled or hard
        if self.user_paused:
            self._drop_user_pause()
        self.kick()
        if self.cancelled and self.started and not self._over:
            # What it has under way has to end first, and must not wait for hours in a throttled node, or for a server.
            self._letting_pass.enter_context(self._owner.graph.passing(self.nodes()))
            self._letting_pass.enter_context(self._owner.graph.impatient(self.given_up()))
        if hard and self.busy and self._task is not None and self.can_interrupt():
            self._interrupted = True
            self._task.cancel()
        if self.cancelled and (self._over or not self.started):
            self.txn.take_down(self)

    def check_verb(self, verb: JobVerb) -> None:
        """Raise `GenericError` unless the job's state accepts `verb`."""
        check_verb(self.job_id, self.status, verb)

    # -- steps, called by the manager and by the group

    def bind(self, manager: JobManager, txn: JobTransaction) -> None:
        """Become known to `manager` as a member of `txn`."""
        self._manager = manager
        self._txn = txn
        self._set_status(JobStatus.CREATED)

    def stand_pending(self) -> None:
        """The whole group has run and prepared: wait for the client, or for the commit to follow."""
        self._set_status(JobStatus.PENDING)

    def fail(self, failure: BaseException) -> None:
        """Note why the job fails, and show it."""
        self.error = self._describe(failure)
        self._set_status(JobStatus.ABORTING)

    def conclude(self, success: bool) -> None:
        """The group's hooks have run: tell the outcome, and go if nobody has to dismiss the job."""
        if not success:
            if self.error is None:
                self.error = canceled_text()
            if self.status is not JobStatus.ABORTING:
                self._set_status(JobStatus.ABORTING)
        if self.started:
            self.announce_outcome(success)
        self._set_status(JobStatus.CONCLUDED)
        if self.auto_dismiss or not self.started:
            self.dismiss()

    def announce_outcome(self, success: bool) -> None:  # noqa: B027
        """Emit what this kind of job emits when it is over."""

    def dismiss(self) -> None:
        """Let the manager forget the job; its last event."""
        self._set_status(JobStatus.NULL)
        self._owner.forget(self)

    def emit(self, name: str, data: Mapping[str, object]) -> None:
        """Emit an event of this job's, unless the job is internal."""
        if not self.internal:
            self._owner.events.emit(name, data)

    # -- inside

    @property
    def _owner(self) -> JobManager:
        if self._manager is None:
            raise RuntimeError(f"job '{self.job_id}' was never added to the manager")
        return self._manager

    def _set_status(self, status: JobStatus) -> None:
        check_transition(self.job_id, self.status, status)
        changed = status is not self.status
        self.status = status
        if changed:
            self.emit("JOB_STATUS_CHANGE", {"status": status.value, "id": self.job_id})

    async def _main(self) -> None:
        failure: BaseException | None = None
        self._parked = 0
        try:
            await self.pause_point()
            await self.run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._interrupted or task is None:
                raise
            task.uncancel()
        except Exception as error:
            failure = _essence(error)
            if isinstance(failure, JobCancelled):
                self.cancelled = True
                failure = None
        self._run_ended(failure)

    def _run_ended(self, failure: BaseException | None) -> None:
        self._over = True
        self._letting_pass.close()
        self._owner.graph.request_done()
        self._show_resumed()
        if failure is not None:
            self.fail(failure)
        elif self.cancelled:
            self.error = canceled_text()
            if not self.txn.failed:
                # The one that brings its group down shows it at once, the others when their turn to end comes.
                self._set_status(JobStatus.ABORTING)
        else:
            self._set_status(JobStatus.WAITING)
        self.txn.member_ended(self)

    def _describe(self, failure: BaseException) -> str:
        if isinstance(failure, QMPError):
            return failure.desc
        if isinstance(failure, OSError):
            return os_error_text(failure)
        _log.error("bug: job '%s' (%s) raised", self.job_id, self.job_type, exc_info=failure)
        return f"Internal error: {type(failure).__name__}: {failure}"

    def _hold(self) -> None:
        self._holds += 1
        if self._parked and self.quiescent():
            self._show_paused()
        self._bell.ring()

    def _release(self) -> None:
        self._holds -= 1
        if not self._holds:
            self._show_resumed()
            self._bell.ring()

    def _drop_user_pause(self) -> None:
        self.user_resume()
        self.user_paused = False
        self._release()

    def _show_paused(self) -> None:
        if self.status in _PAUSED_FORM:
            self._set_status(_PAUSED_FORM[self.status])

    def _show_resumed(self) -> None:
        if self.status in _RESUMED_FORM:
            self._set_status(_RESUMED_FORM[self.status])

    async def _wait_released(self) -> None:
        while self._holds:
            await self.on_pause()
            with self._park():
                while self._holds:
                    self._show_paused()
                    await self._bell.wait()
            await self.on_resume()

    @contextmanager
    def _park(self) -> Iterator[None]:
        self._parked += 1
        if self._holds:
            self._owner.graph.request_done()
        try:
            yield
        finally:
            self._parked -= 1


def run_hook(hook: Callable[[], None], job: Job) -> None:
    """Call one of the hooks that cannot fail; if it does all the same, log it as the bug it is and go on."""
    try:
        hook()
    except Exception:
        name = getattr(hook, "__name__", repr(hook))
        _log.exception("bug: hook '%s' of job '%s' (%s) raised", name, job.job_id, job.job_type)


def _essence(error: BaseException) -> BaseException:
    """The one error that stands for a group of them: the first that is neither a cancellation nor a bug."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_essence(inner) for inner in error.exceptions]
    for leaf in leaves:
        if isinstance(leaf, QMPError | OSError):
            return leaf
    return next((leaf for leaf in leaves if not isinstance(leaf, JobCancelled)), leaves[0])
