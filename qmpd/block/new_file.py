"""A host file that is made on behalf of a transaction, and may have to go again.

A file that was there before is never lost. An empty one, which management tools like to make beforehand with the
right owner and label, is used as it is and emptied again. One with contents is put aside under another name in its
directory and comes back by a rename; only when the transaction has succeeded is it deleted.

All functions block; those that make and delete belong into a worker, `undo` is quick enough for an abort.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from qmpd.block.image_lock import ImageLock, locks_supported
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError, os_error_text

_log = logging.getLogger(__name__)

_NO_WAIT = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""A pipe or a terminal must not keep anybody waiting for its other end."""


class NewFile:
    """One file.

    :ivar name: its name as the client gave it.
    """

    def __init__(self, name: str) -> None:
        if "\0" in name:
            raise GenericError("A file name has a null character in it, which no file name can have")
        if not name:
            raise GenericError("A file name is empty")
        self.name = name
        self._path = Path(os.path.realpath(name))
        self._made: os.stat_result | None = None
        self._emptied = False
        self._aside: Path | None = None

    def make(self, in_use: Sequence[str]) -> int:
        """Make the file, empty; gives a descriptor of it for reading and writing, to be closed by the caller.

        :param in_use: host files that images are open on; none of them is replaced.
        :raises GenericError: it cannot be; `undo` has to be called then, too.
        """
        try:
            return self._make(in_use)
        except OSError as error:
            raise GenericError(f"File '{self.name}' cannot be made: {os_error_text(error)}") from error

    def undo(self) -> None:
        """Leave everything as it was before `make`. Plain, cannot fail: what goes wrong is logged."""
        try:
            if self._aside is not None:
                self._aside.replace(self._path)
            elif self._emptied:
                os.truncate(self._path, 0)
            elif self._made is not None and self._is_ours():
                self._path.unlink()
        except OSError as error:
            _log.warning("file '%s' is not as it was before: %s", self.name, os_error_text(error))

    def keep(self) -> None:
        """The new file stays: delete what was put aside for it, and let the directory reach the disk."""
        try:
            if self._aside is not None:
                self._aside.unlink()
        except OSError as error:
            _log.warning("file '%s' could not be deleted: %s", self._aside, os_error_text(error))

    def sync_directory(self) -> None:
        """Bring the file's name to stable storage, where the file system can."""
        with contextlib.suppress(OSError):
            fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _make(self, in_use: Sequence[str]) -> int:
        try:
            return self._create()
        except FileExistsError:
            old = os.open(self._path, os.O_RDWR | _NO_WAIT)
        try:
            status = os.fstat(old)
            self._check(old, status, in_use)
            if status.st_size == 0:
                self._emptied = True
                return os.dup(old)
            return self._put_aside(old, status)
        finally:
            os.close(old)

    def _create(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._made = os.fstat(fd)
        return fd

    def _check(self, fd: int, status: os.stat_result, in_use: Sequence[str]) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise GenericError(
                f"'{self.name}' is no regular file; make an image there with blockdev-create, and use it as it is"
            )
        if locks_supported(fd):
            # The lock goes with the descriptor; what matters is that nobody else holds one.
            ImageLock(self.name).adjust(fd, Perm.WRITE | Perm.RESIZE, Perm.ALL & ~Perm.RESIZE)
        for path in in_use:
            with contextlib.suppress(OSError):
                if os.path.samestat(Path(path).stat(), status):
                    raise GenericError(f"File '{self.name}' is in use as an image of this daemon")

    def _put_aside(self, old: int, status: os.stat_result) -> int:
        aside = self._path.with_name(f".{self._path.name[:200]}.{secrets.token_hex(6)}")
        try:
            self._path.rename(aside)
        except PermissionError as error:
            raise GenericError(
                f"File '{self.name}' has contents, and there is no permission to put it aside: remove it or empty it, "
                "or use it as it is with mode=existing"
            ) from error
        self._aside = aside
        fd = self._create()
        _copy_attributes(old, fd, status)
        return fd

    def _is_ours(self) -> bool:
        """Whether the name still leads to the file that was made."""
        assert self._made is not None
        try:
            return os.path.samestat(self._path.stat(), self._made)
        except FileNotFoundError:
            return False


def _copy_attributes(old: int, new: int, status: os.stat_result) -> None:
    """Give `new` the owner, mode and labels of `old`, as far as that is allowed."""
    with contextlib.suppress(PermissionError):
        os.fchown(new, status.st_uid, status.st_gid)
    with contextlib.suppress(PermissionError):
        os.fchmod(new, stat.S_IMODE(status.st_mode))
    try:
        for name in os.listxattr(old):
            with contextlib.suppress(PermissionError):
                os.setxattr(new, name, os.getxattr(old, name))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODATA):
            raise
