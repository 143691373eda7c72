"""The object types of `catalog.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from qmpd.api.enums import (
    ActionCompletionMode,
    CatalogOrigin,
    CatalogOutcome,
    CatalogResource,
    CatalogScope,
    JobType,
    MirrorSyncMode,
)
from qmpd.qapi.model import Int64, Array, Maybe, Model

__all__ = [
    "CatalogPage",
    "CatalogPeriod",
    "CatalogMetadata",
    "CatalogJob",
    "CatalogJobFilter",
    "CatalogGroup",
    "CatalogGroupFilter",
    "CatalogBackup",
    "CatalogBackupFilter",
    "QObjCatalogQueryBackupChainArg",
    "CatalogVolume",
    "CatalogVolumeFilter",
    "CatalogEvent",
    "CatalogEventFilter",
    "CatalogService",
    "QObjCatalogQueryServicesArg",
    "CatalogQuota",
    "QObjCatalogQueryQuotasArg",
    "QObjCatalogSetQuotaArg",
    "CatalogPruned",
    "QObjCatalogPruneArg",
]


class CatalogPage(Model):
    """Which part of a list is wanted."""

    service: Maybe[str] = None
    """only entries of this daemon, by its id; '*' for those of all daemons of the database (default: this
    daemon)
    """

    after: Maybe[Int64] = None
    """only entries that come after the one with this number, on the page before"""

    limit: Maybe[Int64] = None
    """at most so many, up to 1000 (default: 100)"""


class CatalogMetadata(Model):
    """A text that somebody has noted down for something."""

    key: str
    """its name"""

    value: str
    """the text"""


class CatalogJob(Model):
    """One run of a job. The same job id may come again."""

    id: Int64
    """its number in the catalog"""

    service: str
    """the daemon that ran it"""

    job_id: str = Field(alias="job-id")
    """the job's id"""

    type: JobType
    """what it does"""

    device: Maybe[str] = None
    """the node or device that it works on"""

    group: Maybe[str] = None
    """the group that it belongs to"""

    created: Int64
    """when it was made"""

    ended: Maybe[Int64] = None
    """when it ended"""

    outcome: CatalogOutcome
    """how it ended"""

    error: Maybe[str] = None
    """why it failed"""

    offset: Int64
    """how far it came, of `len`"""

    len: Int64
    """its length"""

    speed: Int64
    """its limit in bytes per second; 0 for none"""


class CatalogGroup(Model):
    """A transaction that started jobs."""

    id: Int64
    """its number in the catalog"""

    uuid: str
    """its name"""

    service: str
    """the daemon that ran it"""

    completion_mode: ActionCompletionMode = Field(alias="completion-mode")
    """what binds its jobs"""

    session: Int64
    """the client's session that asked for it, and"""

    request: Int64
    """the number of the command, both counted from the daemon's start"""

    created: Int64
    """when it was made"""

    settled: Maybe[Int64] = None
    """when the last of its jobs had ended"""

    outcome: CatalogOutcome
    """how it ended as a whole"""

    jobs: Array[CatalogJob]
    """its jobs, oldest first"""


class CatalogBackup(Model):
    """A backup."""

    id: Int64
    """its number in the catalog"""

    service: str
    """the daemon that made it"""

    job: Maybe[Int64] = None
    """the number of its job in the catalog"""

    group: Maybe[str] = None
    """the group that its job belongs to"""

    node_name: str = Field(alias="node-name")
    """the disk"""

    sync: MirrorSyncMode
    """what was copied: all of it, or what has changed"""

    bitmap: Maybe[str] = None
    """the bitmap that told what has changed, or that began with a full backup"""

    parent: Maybe[Int64] = None
    """the backup that it stands on; without it, it begins a chain"""

    chain: Int64
    """the backup that its chain begins with; its own number for that one"""

    target: Maybe[str] = None
    """the node that it went to"""

    filename: Maybe[str] = None
    """the file that it went to"""

    size: Int64
    """bytes of the disk"""

    copied: Int64
    """bytes that were copied"""

    started: Int64
    """when it began"""

    ended: Maybe[Int64] = None
    """when it ended"""

    outcome: CatalogOutcome
    """how it ended; only a completed one is of use"""

    error: Maybe[str] = None
    """why it failed"""

    metadata: Maybe[Array[CatalogMetadata]] = None
    """what was noted down for it"""


class QObjCatalogQueryBackupChainArg(Model):
    """The arguments of `catalog-query-backup-chain`."""

    backup: Int64
    """the number of that backup"""


class CatalogVolume(Model):
    """A node, there or removed."""

    id: Int64
    """its number in the catalog"""

    service: str
    """the daemon that had it"""

    node_name: str = Field(alias="node-name")
    """its name"""

    driver: str
    """its driver"""

    definition: Any
    """what it was made with, as 'blockdev-add' takes it"""

    filename: Maybe[str] = None
    """its image file"""

    size: Maybe[Int64] = None
    """its size in bytes"""

    origin: CatalogOrigin
    """who made it"""

    created: Int64
    """when it was made"""

    deleted: Maybe[Int64] = None
    """when it was removed"""

    metadata: Maybe[Array[CatalogMetadata]] = None
    """what was noted down for it"""


class CatalogEvent(Model):
    """An event that was sent."""

    seq: Int64
    """its number; those of one daemon count up"""

    time: Int64
    """when it happened"""

    event: str
    """its name"""

    data: Any = None
    """what it said"""


class CatalogService(Model):
    """A daemon that uses the database."""

    id: str
    """its id, which stays the same when it is started again"""

    self: bool
    """it is the one that answers"""

    host: str
    """where it runs"""

    name: str
    """its name"""

    pid: Int64
    """its process there"""

    boot_id: str = Field(alias="boot-id")
    """the boot of the host under which it was started"""

    state_dir: str = Field(alias="state-dir")
    """its state directory"""

    version: str
    """its version"""

    started: Int64
    """when it was started"""

    heartbeat: Int64
    """when it last said that it is alive"""

    stopped: Maybe[Int64] = None
    """when it ended in order; not there while it runs or after a crash"""

    alive: bool
    """it runs: it has not ended, and its last heartbeat is not long ago"""


class QObjCatalogQueryServicesArg(Model):
    """The arguments of `catalog-query-services`."""

    alive: Maybe[bool] = None
    """only those that run, or with false only those that do not"""

    after: Maybe[str] = None
    """only those after the one with this id, on the page before"""

    limit: Maybe[Int64] = None
    """at most so many, up to 1000 (default: 100)"""


class CatalogQuota(Model):
    """A limit, and how much of it is used."""

    resource: CatalogResource
    """what is limited"""

    scope: CatalogScope
    """for whom"""

    limit: Int64
    """how much there may be; -1 for any amount"""

    in_use: Int64 = Field(alias="in-use")
    """how much there is"""

    reserved: Int64
    """how much is taken by commands that are being carried out"""


class QObjCatalogQueryQuotasArg(Model):
    """The arguments of `catalog-query-quotas`."""

    resource: Maybe[CatalogResource] = None
    """only of this"""

    scope: Maybe[CatalogScope] = None
    """only those for whom"""


class QObjCatalogSetQuotaArg(Model):
    """The arguments of `catalog-set-quota`."""

    resource: CatalogResource
    """what is limited"""

    limit: Int64
    """how much there may be; -1 for any amount"""

    scope: Maybe[CatalogScope] = None
    """for whom (default: 'daemon')"""


class CatalogPruned(Model):
    """How many entries were deleted."""

    events: Int64
    """events"""

    jobs: Int64
    """jobs"""

    groups: Int64
    """groups"""

    backups: Int64
    """backups"""


class QObjCatalogPruneArg(Model):
    """The arguments of `catalog-prune`."""

    older_than: Maybe[Int64] = Field(default=None, alias="older-than")
    """only what ended more than so many seconds ago"""

    keep: Maybe[Int64] = None
    """the newest so many of each kind stay, however old they are"""


class CatalogPeriod(CatalogPage):
    """Which part of a list is wanted, by time."""

    since: Maybe[Int64] = None
    """only what began, or happened, at this time or later"""

    until: Maybe[Int64] = None
    """only what began, or happened, before this time"""


class CatalogVolumeFilter(CatalogPage):
    """Which nodes are wanted."""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """only of this name"""

    deleted: Maybe[bool] = None
    """those that were removed, instead of those that are there (default: false)"""


class CatalogJobFilter(CatalogPeriod):
    """Which jobs are wanted."""

    job_id: Maybe[str] = Field(default=None, alias="job-id")
    """only runs of this job"""

    type: Maybe[JobType] = None
    """only jobs of this kind"""

    outcome: Maybe[CatalogOutcome] = None
    """only those that ended so"""

    group: Maybe[str] = None
    """only those of this group"""


class CatalogGroupFilter(CatalogPeriod):
    """Which groups are wanted."""

    uuid: Maybe[str] = None
    """only this one"""

    outcome: Maybe[CatalogOutcome] = None
    """only those that ended so"""


class CatalogBackupFilter(CatalogPeriod):
    """Which backups are wanted."""

    node_name: Maybe[str] = Field(default=None, alias="node-name")
    """only of this disk"""

    bitmap: Maybe[str] = None
    """only those that used a bitmap of this name"""

    chain: Maybe[Int64] = None
    """only those of this chain"""

    group: Maybe[str] = None
    """only those of this group"""

    outcome: Maybe[CatalogOutcome] = None
    """only those that ended so"""


class CatalogEventFilter(CatalogPeriod):
    """Which events are wanted. Those of one daemon can be listed at a time."""

    event: Maybe[str] = None
    """only those of this name"""
