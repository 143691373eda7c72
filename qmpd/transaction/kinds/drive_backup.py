"""The action `drive-backup`: a backup into a file, which the action opens and, if asked to, creates.

A file that the action has created is removed again if the transaction aborts. A file that was there is never cut:
what a backup does not overwrite is somebody's data.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.block.drivers import make_driver
from qmpd.block.image_lock import ImageLock, locks_supported
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError, os_error_text
from qmpd.transaction.kinds.backup_action import BackupAction

if TYPE_CHECKING:
    from qmpd.api.models import DriveBackup

_NO_WAIT = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""A pipe or a terminal must not keep anybody waiting for its other end."""

_FOREIGN_MAGIC = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"<<< ": "vdi", b"vhdx": "vhdx", b"cone": "vpc"}


class DriveBackupAction(BackupAction):
    """Starts a backup job whose target is a file."""

    kind = "drive-backup"
    data: DriveBackup
    _created: Path | None = None
    _target: BlockNode | None = None

    async def target_node(self, source: BlockNode) -> BlockNode:
        if "\0" in self.data.target:
            raise GenericError("'target' has a null character in it, which no file name can have")
        path = Path(self.data.target)
        mode = str(self.data.mode or "absolute-paths")
        if self.data.format not in (None, "raw"):
            raise GenericError(f"'format' is '{self.data.format}'; qmpd writes backups as 'raw'")
        if mode != "existing":
            await self.env.services.pool.run(self._create, path, source.length)
        elif self.data.format is None:
            await self.env.services.pool.run(_refuse_foreign_format, path)
        self._target = await self._open(path, source)
        return self._target

    def _create(self, path: Path, length: int) -> None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            self._created = path
        except FileExistsError:
            fd = self._open_existing(path)
        except OSError as error:
            raise GenericError(f"Target '{path}' cannot be created: {os_error_text(error)}") from error
        try:
            _lengthen(fd, path, length)
        except OSError as error:
            raise GenericError(f"Target '{path}' cannot be made {length} bytes: {os_error_text(error)}") from error
        finally:
            os.close(fd)

    def _open_existing(self, path: Path) -> int:
        try:
            return os.open(path, os.O_RDWR | _NO_WAIT)
        except OSError as error:
            raise GenericError(f"Target '{path}' cannot be opened: {os_error_text(error)}") from error

    async def _open(self, path: Path, source: BlockNode) -> BlockNode:
        from qmpd.api.models import BlockdevDriver, BlockdevOptionsFileBranch, BlockdevOptionsRawBranch

        below = source.options
        options = NodeOptions(
            cache_direct=below.cache_direct, cache_no_flush=below.cache_no_flush, discard_unmap=True
        )
        file = BlockdevOptionsFileBranch(driver=BlockdevDriver.FILE, filename=str(path))
        raw = BlockdevOptionsRawBranch(driver=BlockdevDriver.RAW, file=file)
        return await self.env.graph.open_node(make_driver("raw"), raw, options, None)

    def abort(self) -> None:
        super().abort()
        if self._target is not None:
            self.env.graph.discard_if_unused(self._target)
        if self._created is not None:
            self._created.unlink(missing_ok=True)


def _lengthen(fd: int, path: Path, length: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise GenericError(f"Target '{path}' is no regular file; open what it is with blockdev-add and back up there")
    if status.st_size > length:
        raise GenericError(f"Target '{path}' exists and is larger than the source; remove it, or use mode=existing")
    if status.st_size == length:
        return
    if locks_supported(fd):
        # Whoever has the image open would see it grow. The lock goes with the descriptor.
        ImageLock(str(path)).adjust(fd, Perm.WRITE | Perm.RESIZE, Perm.ALL & ~Perm.RESIZE)
    os.ftruncate(fd, length)


def _refuse_foreign_format(path: Path) -> None:
    try:
        with open(os.open(path, os.O_RDONLY | _NO_WAIT), "rb") as file:
            magic = file.read(4) or b""
    except OSError as error:
        raise GenericError(f"Target '{path}' cannot be opened: {os_error_text(error)}") from error
    if magic in _FOREIGN_MAGIC:
        raise GenericError(
            f"Target '{path}' is an image of format '{_FOREIGN_MAGIC[magic]}'; if its contents are to be "
            "overwritten as raw bytes, say format=raw"
        )
