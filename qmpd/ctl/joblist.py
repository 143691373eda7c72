"""What a client knows about a server's jobs, and how each of them ended.

Two sources meet here: `query-jobs`, which knows progress but forgets a dismissed job, and the events, which
tell how a job ended even when it vanishes at once. Neither alone is enough. No I/O: feed it answers and
events, ask it for jobs; the loop that does so is `qmpd.ctl.watch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

JOB_EVENTS = frozenset(
    {"JOB_STATUS_CHANGE", "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_ERROR", "BLOCK_JOB_READY"}
)
_CANCELLED_TEXT = "Operation canceled"


class Outcome(StrEnum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """It is gone and nobody saw how."""


_BYTE_COUNTERS = frozenset({"backup", "commit", "mirror", "stream"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job as far as it is known.

    `current` and `total` are the server's units of work (bytes for block jobs); `group` is the name of the
    job's group on a server that tells it; `io_status` is `ok` unless the job stands still on an I/O error.
    """

    job_id: str
    job_type: str = "?"
    status: str = "undefined"
    current: int = 0
    total: int = 0
    speed: int = 0
    io_status: str = "ok"
    group: str | None = None
    error: str | None = None
    outcome: Outcome | None = None

    @property
    def over(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.outcome is not None

    @property
    def counts_bytes(self) -> bool:
        """Its progress is in bytes; that of other jobs (making an image, say) is in units of their own."""
        return self.job_type in _BYTE_COUNTERS

    @property
    def fraction(self) -> float:
        """The part that is done, 0 to 1. All of it when the job has completed: the last question came too early."""
        if self.outcome is Outcome.COMPLETED:
            return 1.0
        return min(1.0, self.current / self.total) if self.total > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; members that say nothing are left out."""
        data: dict[str, Any] = {
            "id": self.job_id,
            "type": self.job_type,
            "status": self.status,
            "current-progress": self.current,
            "total-progress": self.total,
        }
        optional = {"group": self.group, "error": self.error, "outcome": self.outcome}
        data.update({name: value for name, value in optional.items() if value is not None})
        if self.speed:
            data["speed"] = self.speed
        if self.io_status != "ok":
            data["io-status"] = self.io_status
        return data


class JobList:
    """All jobs seen so far, those that are over included.

    :param groups: job id to group, for jobs of which the caller knows it; a server that tells groups itself
        (member `group` of a job) has the last word.
    """

    def __init__(self, groups: Mapping[str, str] | None = None) -> None:
        self._groups = dict(groups or {})
        self._jobs: dict[str, Job] = {}
        self._verdicts: dict[str, Outcome] = {}
        self._ended: dict[str, Job] = {}
        self._answered: set[str] = set()

    @property
    def jobs(self) -> list[Job]:
        """Every job in the order of its first appearance."""
        return list(self._jobs.values())

    def get(self, job_id: str) -> Job | None:
        """The job of that name, in its newest incarnation."""
        return self._jobs.get(job_id)

    def ended(self, job_id: str) -> Job | None:
        """How the first job of that name that was seen to end did end; None while none has."""
        return self._ended.get(job_id)

    def update(self, jobs: Iterable[Mapping[str, Any]], block_jobs: Iterable[Mapping[str, Any]] = ()) -> None:
        """Take in the answers of `query-jobs` and `query-block-jobs`.

        Take in the events that came before the answer first: an answer never revives a job that is over.
        """
        details = {info["device"]: info for info in block_jobs}
        answered = {info["id"]: info for info in jobs}
        for job_id, info in answered.items():
            known = self._jobs.get(job_id)
            if known is None or not known.over:
                job = _from_query(info, details.get(job_id, {}))
                verdict = self._verdicts.get(job_id, job.outcome) if job.over else None
                self._store(replace(job, outcome=verdict))
        for job in self.jobs:
            # A job that only events told of may be younger than the answer.
            if not job.over and job.job_id in self._answered - answered.keys():
                self._end(job, Outcome.UNKNOWN)
        self._answered = set(answered)

    def feed(self, event: Mapping[str, Any]) -> bool:
        """Take in one event; tells whether it was about a job."""
        data = event.get("data", {})
        match event.get("event"):
            case "JOB_STATUS_CHANGE":
                self._status_changed(data["id"], data["status"])
            case "BLOCK_JOB_COMPLETED":
                self._block_job_ended(data, Outcome.FAILED if "error" in data else Outcome.COMPLETED)
            case "BLOCK_JOB_CANCELLED":
                self._block_job_ended(data, Outcome.CANCELLED)
            case "BLOCK_JOB_ERROR" | "BLOCK_JOB_READY":
                return True
            case _:
                return False
        return True

    def _status_changed(self, job_id: str, status: str) -> None:
        known = self._jobs.get(job_id)
        over = status in ("concluded", "null")
        if known is None and over:
            return  # the last words of a job that was never seen alive: nobody knows how it ended
        if known is None or (status == "created" and known.over):
            self._verdicts.pop(job_id, None)
            self._answered.discard(job_id)
            known = Job(job_id)
        job = replace(known, status=status)
        if status == "aborting":
            self._verdicts.setdefault(job_id, Outcome.FAILED)
        if over and not job.over:
            self._end(job, self._verdicts.get(job_id, Outcome.COMPLETED))
        else:
            self._store(job)

    def _block_job_ended(self, data: Mapping[str, Any], outcome: Outcome) -> None:
        """A block job's own words on how it ended; it is over when its status says so, just after."""
        known = self._jobs.get(data["device"]) or Job(data["device"])
        if known.over:
            return
        self._verdicts[known.job_id] = outcome
        progress = replace(known, job_type=data["type"], current=data["offset"], total=data["len"])
        self._store(replace(progress, error=data.get("error")))

    def _end(self, job: Job, outcome: Outcome) -> None:
        self._store(replace(job, outcome=outcome))

    def _store(self, job: Job) -> None:
        if job.group is None and job.job_id in self._groups:
            job = replace(job, group=self._groups[job.job_id])
        self._jobs[job.job_id] = job
        if job.over:
            self._ended.setdefault(job.job_id, job)


def _from_query(info: Mapping[str, Any], details: Mapping[str, Any]) -> Job:
    """A job from its entries in `query-jobs` and, for a block job, `query-block-jobs`."""
    error = info.get("error")
    outcome = None
    if info["status"] == "concluded":
        outcome = Outcome.COMPLETED
        if error is not None:
            outcome = Outcome.CANCELLED if error == _CANCELLED_TEXT else Outcome.FAILED
    return Job(
        job_id=info["id"],
        job_type=info["type"],
        status=info["status"],
        current=info["current-progress"],
        total=info["total-progress"],
        speed=details.get("speed", 0),
        io_status=details.get("io-status", "ok"),
        group=info.get("group"),
        error=error,
        outcome=outcome,
    )
