"""The bits of persistent bitmaps of images that cannot store them (raw), in files that are mapped into memory.

A bit is in the page cache the moment it is set, so it survives the process; `sync` brings it to the disk. Whether the
bits still tell the truth when an image is opened again is decided like this:

* The image was closed in order: its time of change was noted then. If it is another one now, somebody has changed the
  image without us, and the bitmap is inconsistent, as qcow2 says it with its autoclear bits.
* The process died, in the boot of the host that still runs: the bits are true as they stand.
* The host died: what was in the page cache is lost, and the bitmap is inconsistent.

A successor or twin has a file of its own beside its bitmap's. After a crash all of them are merged: too much is marked
then, never too little.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qmpd.block.dirty_bitmap import Allocate, DirtyBitmap
from qmpd.errors import GenericError, os_error_text
from qmpd.state.directory import sync_file

if TYPE_CHECKING:
    from qmpd.block.iopool import IOPool
    from qmpd.block.node import BlockNode
    from qmpd.catalog.bitmaps import BitmapRecord

IN_USE = 0
"""Instead of the image's time of change: the bitmap records, or did when the daemon died."""

_NO_TIME = -1
"""A device does not tell when it was changed."""
_ROLES = ("successor", "twin")


class BitmapChanges(Protocol):
    """Is told what has become of bitmaps that are kept, to store it a little later."""

    def bitmap_taken_up(self, kept: KeptBitmap) -> None:
        """The image is open: what is on disk of the bitmap is not to be trusted alone from now on."""

    def bitmap_put_down(self, kept: KeptBitmap) -> None:
        """The image has been closed; all bits are in the file, and `kept.closed` says the rest."""

    def bitmap_failed(self, node: BlockNode, name: str, reason: str) -> None:
        """A bitmap of an image that was opened could not be brought back."""


def image_key(node: BlockNode) -> str | None:
    """A text that names what `node` shows, whatever it is called; None if its bytes are not plainly in a host file."""
    window = node.driver.host_window()
    paths = node.children["file"].node.driver.host_paths() if "file" in node.children else node.driver.host_paths()
    if window is None or len(paths) != 1:
        return None
    return f"{node.driver.format_name}:{os.path.realpath(paths[0])}@{window[1]}"


def image_mtime_ns(node: BlockNode) -> int:
    """When the image's file was changed last; `_NO_TIME` for a device, which does not tell."""
    window = node.driver.host_window()
    if window is None:
        return _NO_TIME
    status = os.fstat(window[0].fileno())
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else _NO_TIME


class BitsFile:
    """One bitmap's bits in the file `path`; calling it gives (or resizes) the memory.

    :ivar lost: there was no room for more bits, so the file does not tell the truth any more.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.lost = False
        self._fresh = fresh

    def __call__(self, size: int) -> mmap.mmap | bytearray:
        """`size` bytes that are the file's.

        :raises OSError: the file cannot be made at all.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if self._fresh else 0), 0o600)
        first, self._fresh = self._fresh, False
        try:
            os.ftruncate(fd, size)
            # Space that is missing when a bit is set would end the process.
            os.posix_fallocate(fd, 0, size)
            return mmap.mmap(fd, size)
        except OSError:
            if first:
                raise
            self.lost = True
            return bytearray(size)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Delete the file; who has it mapped keeps its memory."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class HelperFiles:
    """The files of a bitmap's successor and twin (`HelperMemory`)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, role: str) -> Allocate:
        """Memory for a helper, all zero."""
        return BitsFile(self._file(role), fresh=True)

    def drop(self, role: str) -> None:
        """That helper is no more."""
        self._file(role).unlink(missing_ok=True)

    @property
    def was_frozen(self) -> bool:
        """A crash has left a successor."""
        return self._file("successor").exists()

    def left(self) -> list[Path]:
        """The files that a crash has left."""
        return [file for role in _ROLES if (file := self._file(role)).exists()]

    def _file(self, role: str) -> Path:
        return self._path.with_suffix(f".{role}")


@dataclasses.dataclass(frozen=True, slots=True)
class ClosedBitmap:
    """What there is to know of a bitmap besides its bits while its image is closed.

    :ivar image_mtime_ns: the image's time of change then, or `IN_USE`.
    """

    granularity: int
    length: int
    recording: bool
    inconsistent: bool
    image_mtime_ns: int


@dataclasses.dataclass(eq=False, slots=True)
class KeptBitmap:
    """A bitmap whose bits are in a file.

    :ivar bitmap: None while its image is closed.
    :ivar closed: as it was when the image was closed last; None as long as it never was.
    """

    uuid: str
    image: str
    name: str
    file: BitsFile
    bitmap: DirtyBitmap | None = None
    closed: ClosedBitmap | None = None


class BitmapFiles:
    """All bitmaps kept in the directory `path`; a `BitmapKeeper`."""

    def __init__(self, path: Path, pool: IOPool, changes: BitmapChanges) -> None:
        self._path = path
        self._pool = pool
        self._changes = changes
        self._kept: dict[str, KeptBitmap] = {}

    def load(self, records: Iterable[BitmapRecord]) -> None:
        """Take over what the catalog knows, before any image is opened; delete what it does not know."""
        for record in records:
            if record.storage == "state" and record.image is not None:
                file = BitsFile(self._path / f"{record.uuid}.bits")
                closed = ClosedBitmap(
                    record.granularity,
                    record.length,
                    record.recording,
                    record.inconsistent,
                    IN_USE if record.image_mtime_ns is None else record.image_mtime_ns,
                )
                self._kept[record.uuid] = KeptBitmap(record.uuid, record.image, record.name, file, None, closed)
        for path in self._path.iterdir():
            if path.stem not in self._kept:
                path.unlink()

    def find(self, bitmap: DirtyBitmap) -> KeptBitmap | None:
        """How `bitmap` is kept, None if it is not."""
        return next((kept for kept in self._kept.values() if kept.bitmap is bitmap), None)

    def of_image(self, image: str, name: str) -> KeptBitmap | None:
        """The bitmap `name` of an image."""
        return next((kept for kept in self._kept.values() if kept.image == image and kept.name == name), None)

    def closed_of(self, node: BlockNode, name: str) -> KeptBitmap | None:
        """The bitmap `name` of the image of `node` that could not be brought back."""
        image = image_key(node)
        kept = None if image is None else self.of_image(image, name)
        return kept if kept is not None and kept.bitmap is None else None

    def forget(self, kept: KeptBitmap) -> None:
        """Delete a bitmap's files."""
        del self._kept[kept.uuid]
        kept.file.remove()
        for file in HelperFiles(kept.file.path).left():
            file.unlink()

    # The keeper.

    def check(self, node: BlockNode) -> None:
        """Pass if bitmaps of `node` can be kept.

        :raises GenericError: it is not plainly in a host file.
        """
        if image_key(node) is None:
            raise GenericError(
                f"Node '{node.node_name}' cannot have persistent bitmaps: it is not a part of one file on this host"
            )

    async def make(self, node: BlockNode, name: str, granularity: int, *, disabled: bool) -> DirtyBitmap:
        """A new bitmap with its file.

        :raises GenericError: there is no room, or a bitmap of that name is kept for this image already.
        """
        image = image_key(node)
        if image is None:
            raise GenericError(f"Node '{node.node_name}' cannot have persistent bitmaps")
        if self.of_image(image, name) is not None:
            raise GenericError(
                f"A bitmap '{name}' of this image is kept that could not be brought back; see query-unrestored"
            )
        kept = KeptBitmap(str(uuid.uuid4()), image, name, BitsFile(Path()))
        kept.file = BitsFile(self._path / f"{kept.uuid}.bits", fresh=True)
        try:
            kept.bitmap = self._bitmap(kept, node.length, granularity, disabled=disabled)
        except OSError as error:
            kept.file.remove()
            raise GenericError(f"Bitmap '{name}' has no room in the state directory: {os_error_text(error)}") from error
        self._kept[kept.uuid] = kept
        return kept.bitmap

    def discard(self, bitmap: DirtyBitmap) -> None:
        """The bitmap is not kept any more."""
        kept = self.find(bitmap)
        if kept is not None:
            self.forget(kept)

    async def opened(self, node: BlockNode) -> None:
        """Bring the bitmaps of an image back."""
        if node.driver.format_name != "raw" or (image := image_key(node)) is None:
            return
        for kept in [kept for kept in self._kept.values() if kept.image == image and kept.bitmap is None]:
            try:
                await self._bring_back(node, kept)
            except (GenericError, OSError) as error:
                reason = error.desc if isinstance(error, GenericError) else os_error_text(error)
                self._changes.bitmap_failed(node, kept.name, reason)

    async def closing(self, node: BlockNode) -> None:
        """Note that the bits of an image's bitmaps are complete."""
        for kept in [kept for kept in self._kept.values() if kept.bitmap is not None]:
            bitmap = kept.bitmap
            if bitmap is None or node.bitmaps.find(kept.name) is not bitmap:
                continue
            await self._pool.run(sync_file, kept.file.path)
            kept.closed = ClosedBitmap(
                bitmap.granularity,
                bitmap.length,
                bitmap.recording,
                bitmap.inconsistent or kept.file.lost,
                image_mtime_ns(node),
            )
            kept.bitmap = None
            self._changes.bitmap_put_down(kept)

    # After a crash.

    def frozen(self) -> frozenset[str]:
        """The bitmaps that a job had frozen when the last run ended, by their ids: they have given up nothing."""
        return frozenset(uuid for uuid, kept in self._kept.items() if HelperFiles(kept.file.path).was_frozen)

    def settle(self, *, same_boot: bool) -> list[KeptBitmap]:
        """The last run did not end in order: make the files true, or say of which bitmaps they are not.

        :returns: the bitmaps that are inconsistent now.
        """
        lost = []
        for kept in self._kept.values():
            closed = kept.closed
            if closed is None or closed.image_mtime_ns != IN_USE:
                continue
            if same_boot and kept.file.path.exists():
                self._merge_helpers(kept)
                sync_file(kept.file.path)
            else:
                kept.closed = dataclasses.replace(closed, inconsistent=True)
                lost.append(kept)
        return lost

    def _merge_helpers(self, kept: KeptBitmap) -> None:
        """Add what a successor or twin has recorded."""
        helpers = HelperFiles(kept.file.path)
        for file in helpers.left():
            size = min(kept.file.path.stat().st_size, file.stat().st_size)
            with open(kept.file.path, "r+b") as bits, open(file, "rb") as more:
                merged = int.from_bytes(bits.read(size), "little") | int.from_bytes(more.read(size), "little")
                bits.seek(0)
                bits.write(merged.to_bytes(size, "little"))
            file.unlink()

    def _bitmap(self, kept: KeptBitmap, length: int, granularity: int, *, disabled: bool) -> DirtyBitmap:
        return DirtyBitmap(
            kept.name,
            length,
            granularity,
            persistent=True,
            disabled=disabled,
            allocate=kept.file,
            helpers=HelperFiles(kept.file.path),
        )

    async def _bring_back(self, node: BlockNode, kept: KeptBitmap) -> None:
        closed = kept.closed
        if closed is None or not kept.file.path.exists():
            raise GenericError("its bits are gone")
        if closed.length != node.length:
            raise GenericError(f"the image has {node.length} bytes now, and had {closed.length}")
        bitmap = self._bitmap(kept, node.length, closed.granularity, disabled=not closed.recording)
        bitmap.inconsistent = closed.inconsistent or _changed_without_us(node, closed)
        if bitmap.inconsistent:
            bitmap.disable()
        node.bitmaps.add(bitmap)
        kept.bitmap = bitmap
        self._changes.bitmap_taken_up(kept)

def _changed_without_us(node: BlockNode, closed: ClosedBitmap) -> bool:
    noted = closed.image_mtime_ns
    return noted not in (IN_USE, _NO_TIME) and noted != image_mtime_ns(node)
