"""The object types of `job.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import JobStatus, JobType
from qmpd.qapi.model import Int64, Maybe, Model

__all__ = [
    "QObjJobStatusChangeArg",
    "QObjJobPauseArg",
    "QObjJobResumeArg",
    "QObjJobCancelArg",
    "QObjJobCompleteArg",
    "QObjJobDismissArg",
    "QObjJobFinalizeArg",
    "JobInfo",
]


class QObjJobStatusChangeArg(Model):
    """The arguments of `JOB_STATUS_CHANGE`."""

    id: str
    """the job"""

    status: JobStatus
    """its new state"""


class QObjJobPauseArg(Model):
    """The arguments of `job-pause`."""

    id: str
    """the job"""


class QObjJobResumeArg(Model):
    """The arguments of `job-resume`."""

    id: str
    """the job"""


class QObjJobCancelArg(Model):
    """The arguments of `job-cancel`."""

    id: str
    """the job"""


class QObjJobCompleteArg(Model):
    """The arguments of `job-complete`."""

    id: str
    """the job"""


class QObjJobDismissArg(Model):
    """The arguments of `job-dismiss`."""

    id: str
    """the job"""


class QObjJobFinalizeArg(Model):
    """The arguments of `job-finalize`."""

    id: str
    """the job"""


class JobInfo(Model):
    """A job."""

    id: str
    """its name"""

    type: JobType
    """what it does"""

    status: JobStatus
    """its state"""

    current_progress: Int64 = Field(alias="current-progress")
    """how much is done, in the job's own units; may exceed or fall behind what was expected"""

    total_progress: Int64 = Field(alias="total-progress")
    """what `current-progress` is expected to reach; may change while the job runs"""

    error: Maybe[str] = None
    """why it failed, for people"""
