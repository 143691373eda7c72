"""What all block jobs share: a speed limit, an error policy, an I/O status, and the BLOCK_JOB_* events.

Leans on `job` for the life cycle. It decides what to do about an I/O error but never does I/O itself.
"""

from __future__ import annotations

import errno
from enum import StrEnum

from qmpd.errors import GenericError
from qmpd.jobs.job import Job
from qmpd.jobs.ratelimit import RateLimit
from qmpd.jobs.state import JobStatus, JobVerb


class OnError(StrEnum):
    """What to do about an I/O error (QEMU's `BlockdevOnError`)."""

    REPORT = "report"
    IGNORE = "ignore"
    ENOSPC = "enospc"
    STOP = "stop"
    AUTO = "auto"


class ErrorAction(StrEnum):
    """What was decided about one I/O error (QEMU's `BlockErrorAction`)."""

    IGNORE = "ignore"
    REPORT = "report"
    STOP = "stop"


class IOStatus(StrEnum):
    """Whether the job is stopped by an I/O error (QEMU's `BlockDeviceIoStatus`)."""

    OK = "ok"
    FAILED = "failed"
    NOSPACE = "nospace"


class BlockJob(Job):
    """A job that moves data between nodes.

    :param speed: bytes per second, 0 for no limit.
    :raises GenericError: if `speed` is negative.
    """

    def __init__(
        self, job_id: str | None, *, speed: int = 0, auto_finalize: bool = True, auto_dismiss: bool = True
    ) -> None:
        check_speed(speed)
        super().__init__(job_id, auto_finalize=auto_finalize, auto_dismiss=auto_dismiss)
        self.io_status = IOStatus.OK
        self.rate_limit = RateLimit(speed)

    @property
    def device(self) -> str:
        """The name under which block-job commands and events know the job."""
        return self.job_id

    @property
    def speed(self) -> int:
        """The speed limit in bytes per second, 0 for none."""
        return self.rate_limit.speed

    async def throttle(self, length: int) -> None:
        """Wait until the speed limit lets the next request go, then charge its `length` bytes.

        A pause point while it waits; a new speed counts at once.

        :raises JobCancelled: if the job is to end.
        """
        while (delay := self.rate_limit.delay()) > 0:
            await self.sleep(delay)
        self.rate_limit.charge(length)

    def set_speed(self, speed: int) -> None:
        """Change the speed limit, effective at once.

        :raises GenericError: if the job's state does not allow it, or `speed` is negative.
        """
        self.check_verb(JobVerb.SET_SPEED)
        check_speed(speed)
        self.rate_limit.set_speed(speed)
        self.kick()

    def error_action(self, policy: str, error: OSError, *, is_read: bool) -> ErrorAction:
        """Decide about an I/O error by the client's `policy` (an `OnError`), tell the client, and stop if
        need be.

        After `STOP` the job holds at its next pause point until a user resumes it; then the request is to be
        tried again. After `REPORT` the job is to fail with `error`; after `IGNORE` it goes on.
        """
        action = _decide(OnError(policy), error)
        self.emit(
            "BLOCK_JOB_ERROR",
            {"device": self.device, "operation": "read" if is_read else "write", "action": action.value},
        )
        if action is ErrorAction.STOP:
            if self.io_status is IOStatus.OK:
                self.io_status = IOStatus.NOSPACE if error.errno == errno.ENOSPC else IOStatus.FAILED
            self.stop_for_user()
        return action

    def user_resume(self) -> None:
        """The client has seen to the cause of the error, or so it says."""
        self.io_status = IOStatus.OK

    def transition_to_ready(self) -> None:
        """Become ready, and tell."""
        super().transition_to_ready()
        self.emit("BLOCK_JOB_READY", self._event_data())

    def stand_pending(self) -> None:
        """Become pending, and ask for the client's word if it is needed."""
        super().stand_pending()
        if not self.auto_finalize:
            self.emit("BLOCK_JOB_PENDING", {"type": self.job_type, "id": self.job_id})

    def announce_outcome(self, success: bool) -> None:
        """Emit BLOCK_JOB_CANCELLED for a job that was told to end, else BLOCK_JOB_COMPLETED."""
        data = self._event_data()
        if not success and self.cancelled:
            self.emit("BLOCK_JOB_CANCELLED", data)
            return
        if self.error is not None:
            data["error"] = self.error
        self.emit("BLOCK_JOB_COMPLETED", data)

    def block_info(self) -> dict[str, object]:
        """The job as `BlockJobInfo`."""
        info: dict[str, object] = {
            "type": self.job_type,
            "device": self.device,
            "len": self.progress.total,
            "offset": self.progress.current,
            "busy": self.busy,
            "paused": self.paused,
            "speed": self.speed,
            "io-status": self.io_status.value,
            "ready": self.status in (JobStatus.READY, JobStatus.STANDBY),
            "status": self.status.value,
            "auto-finalize": self.auto_finalize,
            "auto-dismiss": self.auto_dismiss,
        }
        if self.error is not None:
            info["error"] = self.error
        return info

    def _event_data(self) -> dict[str, object]:
        return {
            "type": self.job_type,
            "device": self.device,
            "len": self.progress.total,
            "offset": self.progress.current,
            "speed": self.speed,
        }


def check_speed(speed: int) -> None:
    """Raise `GenericError` unless `speed` is one: 0 or more."""
    if speed < 0:
        raise GenericError(f"Parameter 'speed' is {speed} but must not be negative (0 means no limit)")


def _decide(policy: OnError, error: OSError) -> ErrorAction:
    if policy in (OnError.ENOSPC, OnError.AUTO):
        return ErrorAction.STOP if error.errno == errno.ENOSPC else ErrorAction.REPORT
    return ErrorAction(policy.value)
