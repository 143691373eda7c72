"""The state directory: one daemon at a time uses it, and it has an id that stays the same for ever.

Leans on nothing of qmpd. What lies in it: `lock` (held by the daemon that runs, with its process id), `id`, the catalog
(unless that is elsewhere), `bitmaps/`, `unsent.jsonl` and `ended.jsonl`, events and ends of backups that could not be
stored before the daemon ended, and `alive`, which tells by its time of change when a daemon was last alive.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

NEW = ".new"
"""How the name of a file ends that is about to replace another one."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StateDirectoryError(Exception):
    """The directory cannot be used; the message is for the user."""


class StateDirectory:
    """The directory `path`, locked; made if there is none.

    :raises StateDirectoryError: it cannot be made or used, or another daemon uses it.
    :ivar daemon_id: a UUID: whose entries in the catalog are this directory's.
    :ivar boot_id: of the running boot of this host.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.bitmaps.mkdir(mode=0o700, exist_ok=True)
            self._lock = self._take_lock()
            self.daemon_id = self._read_id()
        except OSError as error:
            raise StateDirectoryError(f"state directory {str(self.path)!r} cannot be used: {error.strerror}") from error
        self.boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    @property
    def bitmaps(self) -> Path:
        """Where the bits of bitmaps lie."""
        return self.path / "bitmaps"

    @property
    def catalog(self) -> Path:
        """The catalog, if it is not elsewhere."""
        return self.path / "catalog.sqlite"

    @property
    def unsent(self) -> Path:
        """Events that were not stored when the daemon ended."""
        return self.path / "unsent.jsonl"

    def beat(self) -> None:
        """Note that the daemon is alive.

        :raises OSError: that cannot be noted.
        """
        self._alive.touch(mode=0o600)

    @property
    def last_beat_ns(self) -> int:
        """When `beat` was called last, in this run or an earlier one; 0 for never."""
        try:
            return self._alive.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def _alive(self) -> Path:
        return self.path / "alive"

    @property
    def ended(self) -> Path:
        """Ends of backups that are not stored yet."""
        return self.path / "ended.jsonl"

    def close(self) -> None:
        """Let others use it."""
        os.close(self._lock)

    def _take_lock(self) -> int:
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise StateDirectoryError(
                f"state directory {str(self.path)!r} is in use by the daemon with process id {holder}"
            ) from None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _read_id(self) -> str:
        file = self.path / "id"
        if file.exists():
            try:
                return str(uuid.UUID(file.read_text().strip()))
            except ValueError:
                raise StateDirectoryError(f"{str(file)!r} holds no UUID; it says whose state this is") from None
        made = str(uuid.uuid4())
        replace_file(file, made.encode() + b"\n")
        return made


def sync_file(path: Path) -> None:
    """Bring a file, or the names in a directory, to stable storage."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file these contents, on stable storage; at any moment it has either the old ones or the new ones.

    :raises OSError: it has the old ones.
    """
    new = path.with_name(path.name + NEW)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_file(path.parent)
