"""How jobs end, and a file for the ends of backups that the database does not know yet, for the daemon may die first.

A bitmap gives up its bits when its backup ends, whatever the database does. Without the file nobody would know after a
crash whose backup has them, and the chain of backups would have to end there (`backups.lose_running`).

The file is written at once and not brought to the disk: when the host dies the bitmaps tell nothing any more either.
What cannot be written or read is done without.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.catalog import backups, groups, jobs, quotas
from qmpd.catalog.errors import NotFound

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


@dataclasses.dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended.

    :ivar done: how far it came, of `total`; of a backup, the bytes that were copied.
    :ivar bitmap_moved: a backup's bitmap gave up what was copied.
    :ivar group: the id of its group, if it was the last of it, and how that ended.
    :ivar put_back: the last backups of bitmaps that are again what they were before the group, by the bitmaps' ids.
    """

    outcome: str
    error: str | None
    done: int = 0
    total: int = 0
    bitmap_moved: bool = False
    group: tuple[str, str] | None = None
    put_back: dict[str, int] = dataclasses.field(default_factory=dict)

    async def store(self, context: RequestContext, row: int | None, backup_row: int | None) -> None:
        """Store it for those rows."""
        if row is not None:
            await jobs.end(context, row, self.outcome, error=self.error, offset=self.done, len=self.total)
            await quotas.set_charge(context, row, self.done)
        if backup_row is not None:
            moved = self.bitmap_moved
            await backups.end(
                context, backup_row, self.outcome, copied=self.done, error=self.error, bitmap_moved=moved
            )
        if self.group is not None:
            await groups.settle(context, *self.group)
        for identity, backup in self.put_back.items():
            await backups.resume_chain(context, identity, backup)


class EndedBackups:
    """The file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, row: int | None, backup_row: int, end: JobEnd) -> None:
        """A backup has ended. Plain, cannot fail."""
        # Not with orjson, which refuses an error that names a file whose name is no UTF-8.
        line = json.dumps([row, backup_row, dataclasses.asdict(end)]) + "\n"
        with contextlib.suppress(OSError), open(self._path, "a", encoding="ascii", opener=_open_private) as file:
            file.write(line)

    def forget(self) -> None:
        """The database knows all of them. Plain, cannot fail."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    async def recover(self, context: RequestContext) -> None:
        """Store what the last run has noted, but for what it has stored itself."""
        for row, backup_row, end in self._noted():
            if not await jobs.is_running(context, row):
                continue
            # A database that is not the one of the last run must not keep the daemon from starting.
            with contextlib.suppress(NotFound):
                await end.store(context, row, backup_row)

    def _noted(self) -> list[tuple[int, int, JobEnd]]:
        found = []
        with contextlib.suppress(OSError, ValueError):
            for line in self._path.read_bytes().splitlines():
                row, backup_row, end = json.loads(line)
                group = end.pop("group")
                found.append((row, backup_row, JobEnd(**end, group=None if group is None else (group[0], group[1]))))
        return found


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
