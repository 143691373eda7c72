"""The files of one bitmap in the state directory, all named after its UUID.

`.bits` is mapped into memory by the bitmap, `.successor` and `.twin` (or `.idle-twin`) by those beside it. `.closed` is
there while its image is closed, and says what there is to know then. All others are in the page cache the moment they
change; this one is on the disk before it counts.
"""

from __future__ import annotations

import dataclasses
import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import orjson

from qmpd.block.dirty_bitmap import Allocate
from qmpd.state.directory import replace_file, sync_file

_log = logging.getLogger(__name__)

IN_USE = 0
"""Instead of the image's time of change: the bitmap records, or did when the daemon died."""

_TWINS = {"twin": True, "idle-twin": False}
"""The roles of twins: whether they record."""
_ROLES = ("successor", *_TWINS)
SUFFIXES = frozenset({".bits", ".closed", *(f".{role}" for role in _ROLES)})


@dataclasses.dataclass(frozen=True, slots=True)
class ClosedBitmap:
    """What there is to know of a bitmap besides its bits while its image is closed.

    :ivar image_mtime_ns: the image's time of change then, or `IN_USE`.
    :ivar in_use_until_ns: if it was not closed in order: when the daemon certainly wrote no more; 0 for unknown.
    :ivar boot_id: the boot of the host in which that was; in another one, the image may have lost what is not marked.
    """

    granularity: int
    length: int
    recording: bool
    inconsistent: bool
    image_mtime_ns: int
    in_use_until_ns: int = 0
    boot_id: str = ""


class BitFiles:
    """The files of the bitmap `uuid`; the memory of its successor and twin (`HelperMemory`).

    :ivar bits: the file of its own bits.
    :ivar lost: the bits are not in files any more, since there was no room for more of them.
    """

    def __init__(self, directory: Path, uuid: str) -> None:
        self.bits = directory / f"{uuid}.bits"
        self.lost = False

    def new_memory(self) -> Allocate:
        """Memory for the bits, all zero."""
        return MappedFile(self, self.bits, fresh=True)

    def memory(self) -> Allocate:
        """Memory for the bits, with what is in the file."""
        return MappedFile(self, self.bits, fresh=False)

    def make(self, role: str) -> Allocate:
        """Memory for a helper, all zero."""
        return MappedFile(self, self._file(role), fresh=True)

    def drop(self, role: str) -> None:
        """That helper is no more."""
        self._file(role).unlink(missing_ok=True)

    def lose(self, error: OSError) -> None:
        """Some bits are in memory only from now on: leave nothing that the next run could take for true."""
        self.lost = True
        _log.warning("'%s' has no room for its bits; the bitmap will be inconsistent: %s", self.bits, error)
        self.remove()

    def remove(self) -> None:
        """Delete all files; who has them mapped keeps the memory. Does not fail."""
        self._remove(SUFFIXES)

    def _remove(self, suffixes: Iterable[str]) -> None:
        for suffix in suffixes:
            try:
                self.bits.with_suffix(suffix).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("a file of a bitmap stays: %s", error)

    def hold(self, number: int) -> bool:
        """Whether the file has so many bits."""
        return self.bits.is_file() and self.bits.stat().st_size * 8 >= number

    def merge_helpers(self) -> None:
        """Add what a successor or twin has recorded that a crash has left; then all bits are on the disk.

        Their files stay until `drop_helpers`; to add them once more does no harm.

        :raises OSError: nobody knows which of them are.
        """
        for file in [file for role in _ROLES if (file := self._file(role)).exists()]:
            size = min(self.bits.stat().st_size, file.stat().st_size)
            with open(self.bits, "r+b") as bits, open(file, "rb") as more:
                merged = int.from_bytes(bits.read(size), "little") | int.from_bytes(more.read(size), "little")
                bits.seek(0)
                bits.write(merged.to_bytes(size, "little"))
        sync_file(self.bits)

    def drop_helpers(self) -> None:
        """Delete what a crash has left of a successor or twin. Does not fail."""
        self._remove(f".{role}" for role in _ROLES)

    @property
    def was_frozen(self) -> bool:
        """A crash has left a successor."""
        return self._file("successor").exists()

    def recorded_before(self, recording: bool) -> bool:
        """Whether the bitmap recorded before a group that a crash has ended; `recording` without such a group."""
        return next((before for role, before in _TWINS.items() if self._file(role).exists()), recording)

    def close(self, closed: ClosedBitmap) -> ClosedBitmap:
        """The image has been closed: bring the bits to the disk, and note the rest.

        :returns: what is true then; it is not consistent if its bits may not be on the disk. Does not fail.
        """
        if not closed.inconsistent:
            try:
                sync_file(self.bits)
            except OSError as error:
                _log.warning("the bits of a bitmap are lost: %s", error)
                closed = dataclasses.replace(closed, inconsistent=True)
        try:
            self.note(closed)
        except OSError as error:
            _log.warning("only the catalog will know that a bitmap was closed: %s", error)
        return closed

    def note(self, closed: ClosedBitmap) -> None:
        """Keep what there is to know while the image is closed.

        :raises OSError: it is not kept.
        """
        replace_file(self._noted, orjson.dumps(closed))

    def noted(self) -> ClosedBitmap | None:
        """What was noted when the image was closed; None if it was not, or has been opened again.

        :raises OSError: the file cannot be read.
        """
        try:
            return ClosedBitmap(**orjson.loads(self._noted.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            _log.warning("'%s' cannot be read", self._noted)
            return None

    def open(self) -> None:
        """The image is open: what was noted does not hold any more, not even if the host goes down now.

        :raises OSError: it may still be there.
        """
        self._noted.unlink(missing_ok=True)
        sync_file(self._noted.parent)

    @property
    def _noted(self) -> Path:
        return self.bits.with_suffix(".closed")

    def _file(self, role: str) -> Path:
        return self.bits.with_suffix(f".{role}")


class MappedFile:
    """One bitmap's bits in the file `path`; calling it gives (or resizes) the memory."""

    def __init__(self, files: BitFiles, path: Path, *, fresh: bool) -> None:
        self._files = files
        self._path = path
        self._fresh = fresh
        self._mapped = False

    def __call__(self, size: int) -> mmap.mmap | bytearray:
        """`size` bytes that are the file's.

        :raises OSError: there is no room. Not when it is called again because the disk has another size, which nobody
            can refuse any more: the bits are in memory only from then on.
        """
        if self._files.lost:
            return bytearray(size)
        try:
            memory = self._map(size)
        except OSError as error:
            if not self._mapped:
                raise
            self._files.lose(error)
            return bytearray(size)
        self._mapped = True
        return memory

    def _map(self, size: int) -> mmap.mmap:
        """Map the file with that size; if that fails it is as it was."""
        empty = os.O_TRUNC if self._fresh and not self._mapped else 0
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | empty, 0o600)
        try:
            before = os.fstat(fd).st_size
            try:
                # Space that is missing when a bit is set would end the process.
                os.posix_fallocate(fd, 0, size)
                memory = mmap.mmap(fd, size)
            except OSError:
                os.ftruncate(fd, before)
                raise
            os.ftruncate(fd, size)
            return memory
        finally:
            os.close(fd)
