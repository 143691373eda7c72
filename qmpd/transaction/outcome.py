"""What actions tell of themselves to whoever keeps a record: what they will use, and what has happened through them.

Plain data that refers to the parts themselves; what is stored of them is the recorder's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.dirty_bitmap import DirtyBitmap
    from qmpd.block.node import BlockNode
    from qmpd.jobs.backup import BitmapMode
    from qmpd.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Demand:
    """How much of what may be limited: jobs at a time, bytes to be backed up, bitmaps."""

    jobs: int = 0
    backup_bytes: int = 0
    bitmaps: int = 0

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            self.jobs + other.jobs, self.backup_bytes + other.backup_bytes, self.bitmaps + other.bitmaps
        )


@dataclass(frozen=True, slots=True)
class BitmapBegins:
    """From now on `bitmap` tells what has changed: it is new, or nothing is dirty in it any more."""

    bitmap: DirtyBitmap


@dataclass(frozen=True, slots=True)
class BitmapResumes:
    """`bitmap` records again, and does not know what was written while it did not."""

    bitmap: DirtyBitmap


@dataclass(frozen=True, slots=True)
class BitmapEnds:
    """`bitmap` is no more."""

    bitmap: DirtyBitmap


@dataclass(frozen=True, slots=True)
class BackupStarts:
    """A backup job.

    :ivar bitmap: tells what to copy, or notes from now on what is written.
    :ivar bitmap_mode: when the bitmap gives up what was copied.
    :ivar demand: what it will use, at most.
    """

    job: Job
    source: BlockNode
    target: BlockNode
    sync: str
    bitmap: DirtyBitmap | None
    bitmap_mode: BitmapMode | None
    demand: Demand


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A snapshot: `name` within the image of `node`, or `overlay` on top of it."""

    node: BlockNode
    name: str | None = None
    overlay: BlockNode | None = None


Fact = BitmapBegins | BitmapResumes | BitmapEnds | BackupStarts | SnapshotTaken
