"""Image locks, byte for byte as QEMU takes them, so that qemu-img, QEMU and qmpd refuse each other's images.

For every permission that is held, a shared open-file-description lock lies on byte 100 + bit; for every permission
that is not left to others, one on byte 200 + bit. Nobody's lock ever excludes another; instead one looks whether
somebody holds the byte that contradicts. (QEMU, docs/system/qemu-block-drivers, "Disk image file locking".)
"""

from __future__ import annotations

import errno
import fcntl
import struct

from qmpd.block.permissions import PERM_NAMES, Perm
from qmpd.errors import GenericError

_HELD_BASE = 100
_UNSHARED_BASE = 200
_FLOCK = struct.Struct("hhqqi4x")


def _bytes_for(perm: Perm, unshared: Perm) -> set[int]:
    held = {_HELD_BASE + bit.bit_length() - 1 for bit in PERM_NAMES if perm & bit}
    return held | {_UNSHARED_BASE + bit.bit_length() - 1 for bit in PERM_NAMES if unshared & bit}


def _set(fd: int, kind: int, position: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, 0, position, 1, 0))


def _held_by_others(fd: int, position: int) -> bool:
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, position, 1, 0))
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK


def locks_supported(fd: int) -> bool:
    """Whether the file system knows open-file-description locks."""
    try:
        _held_by_others(fd, _HELD_BASE)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


class ImageLock:
    """The locks that one open file holds.

    :param path: for messages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: set[int] = set()

    def adjust(self, fd: int, perm: Perm, shared: Perm) -> None:
        """Hold exactly the locks for these permissions.

        :raises GenericError: another program holds what contradicts; the locks are as before then.
        """
        unshared = Perm.ALL & ~shared
        wanted = _bytes_for(perm, unshared)
        added = wanted - self._held
        try:
            for position in sorted(added):
                _set(fd, fcntl.F_RDLCK, position)
            self._check(fd, perm, unshared)
        except (OSError, GenericError) as error:
            for position in added:
                _set(fd, fcntl.F_UNLCK, position)
            if isinstance(error, OSError):
                raise GenericError(f"Image '{self._path}' could not be locked: {error.strerror}") from error
            raise
        for position in self._held - wanted:
            _set(fd, fcntl.F_UNLCK, position)
        self._held = wanted

    def carry_to(self, fd: int) -> None:
        """Take the same locks on another descriptor of the file, before the old one is closed."""
        for position in self._held:
            _set(fd, fcntl.F_RDLCK, position)

    def _check(self, fd: int, perm: Perm, unshared: Perm) -> None:
        for bit, name in PERM_NAMES.items():
            index = bit.bit_length() - 1
            if perm & bit and _held_by_others(fd, _UNSHARED_BASE + index):
                raise GenericError(
                    f"Image '{self._path}' is locked: another process does not share '{name}'; "
                    "end that use, or open the image so that both can share it"
                )
            if unshared & bit and _held_by_others(fd, _HELD_BASE + index):
                raise GenericError(
                    f"Image '{self._path}' is locked: another process holds '{name}'; "
                    "end that use, or open the image so that both can share it"
                )
