"""The bits of persistent bitmaps in files that are mapped into memory: of images that cannot store them (raw), and of
others while they do not (`image_bitmaps`).

A bit is in the page cache the moment it is set, so it survives the process; `sync` brings it to the disk. Whether the
bits still tell the truth when a raw image is opened again is decided like this:

* The image was closed in order: its time of change was noted then. If it is another one now, somebody has changed the
  image without us, and the bitmap is inconsistent, as qcow2 says it with its autoclear bits.
* The process died, in the boot of the host that still runs: the bits are true as they stand, unless the image was
  changed later than the daemon can have done that.
* The host died: what was in the page cache is lost, and the bitmap is inconsistent.
* There was no room for its bits when the image grew, or they are gone: the bitmap is inconsistent.

What was noted lies in a file beside the bits, and counts before what the catalog says, which may not have taken it.

A successor or twin has a file of its own beside its bitmap's. After a crash all of them are merged: too much is marked
then, never too little. A twin is there as long as its group of jobs has not ended, so after a crash its file also tells
that the bitmap is to record, or not, as it did before the group.

Files of bitmaps that the catalog does not know are put aside and not deleted, for it may be the wrong one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.block.dirty_bitmap import Allocate, DirtyBitmap
from qmpd.errors import GenericError, os_error_text
from qmpd.state.bit_files import IN_USE, SUFFIXES, BitFiles, ClosedBitmap
from qmpd.state.directory import NEW
from qmpd.state.image_bitmaps import ImageBitmaps
from qmpd.state.kept_bitmap import (
    NO_TIME,
    BitmapChanges,
    KeptBitmap,
    image_key,
    image_mtime_ns,
    image_of,
    was_left_alone,
)

if TYPE_CHECKING:
    from qmpd.block.iopool import IOPool
    from qmpd.block.node import BlockNode
    from qmpd.catalog.bitmaps import BitmapRecord

_log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""The directory for files of bitmaps that the catalog does not know."""
UNKNOWN_SECONDS = 7 * 24 * 3600
"""How long they stay there at least."""


class BitmapFiles:
    """All bitmaps kept in the directory `path`; a `BitmapKeeper`.

    :param boot_id: of the running boot of this host.
    """

    def __init__(self, path: Path, boot_id: str, pool: IOPool, changes: BitmapChanges) -> None:
        self._path = path
        self._boot_id = boot_id
        self._pool = pool
        self._changes = changes
        self._kept: dict[str, KeptBitmap] = {}
        self._images = ImageBitmaps(self._kept, path, boot_id, pool, changes)

    def load(self, records: Iterable[BitmapRecord]) -> None:
        """Take over what the catalog knows, before any image is opened; put aside what it does not know.

        :raises OSError: the directory cannot be used.
        """
        known = [record for record in records if record.storage != "memory" and record.image is not None]
        self._put_aside({record.uuid for record in known})
        for record in known:
            assert record.image is not None
            files = BitFiles(self._path, record.uuid)
            in_image = record.storage == "image"
            if in_image and not files.bits.exists():
                # It was closed well, or that was all but done.
                files.remove()
                continue
            closed = files.noted() or ClosedBitmap(
                record.granularity,
                record.length,
                record.recording,
                record.inconsistent,
                IN_USE if record.image_mtime_ns is None else record.image_mtime_ns,
            )
            names = record.uuid, record.image, record.node_name, record.name
            self._kept[record.uuid] = KeptBitmap(*names, files, None, closed, in_image=in_image)

    def _put_aside(self, known: set[str]) -> None:
        """Take back what was put aside of these bitmaps, and put aside what there is of others."""
        unknown = self._path / UNKNOWN
        for path in unknown.iterdir() if unknown.is_dir() else ():
            if path.stem in known:
                path.replace(self._path / path.name)
            elif path.stat().st_mtime < time.time() - UNKNOWN_SECONDS:
                path.unlink()
        for path in self._path.iterdir():
            if path.suffix == NEW:
                path.unlink()
            elif path.suffix in SUFFIXES and path.stem not in known:
                _log.warning("the catalog does not know the bitmap of '%s', which is put aside", path.name)
                unknown.mkdir(mode=0o700, exist_ok=True)
                os.utime(path)
                path.replace(unknown / path.name)

    def find(self, bitmap: DirtyBitmap) -> KeptBitmap | None:
        """How `bitmap` is kept, None if it is not."""
        return next((kept for kept in self._kept.values() if kept.bitmap is bitmap), None)

    def holds(self, identity: str) -> bool:
        """Whether the bitmap of that uuid is kept, its image open or not."""
        return identity in self._kept

    def of_image(self, image: str, name: str) -> KeptBitmap | None:
        """The bitmap `name` of an image."""
        return next((kept for kept in self._kept.values() if kept.image == image and kept.name == name), None)

    def closed(self) -> list[KeptBitmap]:
        """Those that wait for their image, oldest first."""
        return [kept for kept in self._kept.values() if kept.bitmap is None]

    def forget(self, kept: KeptBitmap) -> None:
        """Delete a bitmap's files."""
        del self._kept[kept.uuid]
        kept.files.remove()

    # The keeper.

    def admit(self, node: BlockNode) -> None:
        """Pass if nothing that is written to `node` escapes a bitmap of another node.

        :raises GenericError: something would.
        """
        if node.read_only:
            return
        image = image_key(node)
        for kept in self._kept.values():
            bitmap = kept.bitmap
            if kept.image != image or bitmap is None or bitmap.inconsistent:
                continue
            if node.bitmaps.find(kept.name) is not bitmap:
                raise GenericError(
                    f"Node '{kept.node_name}' has the same image and the persistent bitmap '{kept.name}', which would "
                    "not know what is written here; open it with read-only=true, or use that node"
                )

    def check(self, node: BlockNode) -> None:
        """Pass if bitmaps of `node` can be kept.

        :raises GenericError: it is not plainly in a host file, or another node writes to its image as well.
        """
        image = image_key(node)
        if image is None:
            raise GenericError(
                f"Node '{node.node_name}' cannot have persistent bitmaps: it is not a part of one file on this host"
            )
        if (other := _other_writable(node, image)) is not None:
            raise GenericError(
                f"Node '{node.node_name}' cannot have persistent bitmaps: they would not know what is written to "
                f"node '{other.node_name}', which has the same image"
            )

    async def make(self, node: BlockNode, name: str, granularity: int, *, disabled: bool) -> DirtyBitmap:
        """A new bitmap with its file.

        :raises GenericError: there is no room, or a bitmap of that name is kept for this image already.
        """
        in_image = node.driver.supports_persistent_bitmaps
        image = image_of(node) if in_image else image_key(node)
        if image is None and in_image:
            return DirtyBitmap(name, node.length, granularity, persistent=True, disabled=disabled)
        if image is None:
            raise GenericError(f"Node '{node.node_name}' cannot have persistent bitmaps")
        if self.of_image(image, name) is not None:
            raise GenericError(
                f"A bitmap '{name}' of this image is kept that could not be brought back; see query-unrestored"
            )
        identity = str(uuid.uuid4())
        files = BitFiles(self._path, identity)
        kept = KeptBitmap(identity, image, node.node_name, name, files, in_image=in_image)
        try:
            kept.bitmap = _in_files(kept, kept.files.new_memory(), node.length, granularity, disabled=disabled)
        except OSError as error:
            kept.files.remove()
            raise GenericError(f"Bitmap '{name}' has no room in the state directory: {os_error_text(error)}") from error
        self._kept[kept.uuid] = kept
        return kept.bitmap

    def discard(self, bitmap: DirtyBitmap) -> None:
        """The bitmap is not kept any more."""
        kept = self.find(bitmap)
        if kept is not None:
            self.forget(kept)

    async def secure(self, node: BlockNode) -> None:
        """What only memory knows of an image reaches its file, unless its bitmaps do not survive the process anyhow."""
        if node.driver.supports_persistent_bitmaps and image_of(node) is not None:
            await node.driver.write_back()

    async def recover(self, node: BlockNode, in_use: Collection[str]) -> None:
        """Bring back what a crash has left untrue in an image."""
        await self._images.recover(node, in_use)

    async def take_up(self, node: BlockNode) -> None:
        """Keep what an image does not from now on."""
        await self._images.take_up(node)

    async def put_down(self, node: BlockNode, *, stored: bool) -> None:
        """Keep what an image stores no longer."""
        await self._images.put_down(node, stored=stored)

    async def opened(self, node: BlockNode) -> None:
        """Bring the bitmaps of an image back."""
        if node.driver.format_name != "raw" or (image := image_key(node)) is None:
            return
        for kept in [kept for kept in self.closed() if kept.image == image]:
            kept.node_name = node.node_name
            try:
                await self._bring_back(node, kept)
            except (GenericError, OSError) as error:
                kept.failure = error.desc if isinstance(error, GenericError) else os_error_text(error)
                self._changes.bitmap_failed(kept)

    async def closing(self, node: BlockNode) -> None:
        """Note that the bits of an image's bitmaps are complete; those of which that is not sure are inconsistent."""
        for kept in list(self._kept.values()):
            bitmap = kept.bitmap
            if bitmap is None or kept.in_image or node.bitmaps.find(kept.name) is not bitmap:
                continue
            kept.closed = _closed_now(node, bitmap, kept.files)
            try:
                kept.closed = await self._pool.run(kept.files.close, kept.closed)
            finally:
                kept.bitmap = None
                self._changes.bitmap_put_down(kept)

    # After a crash.

    def frozen(self) -> frozenset[str]:
        """The bitmaps that a job had frozen when the last run ended, by their ids: they have given up nothing."""
        return frozenset(uuid for uuid, kept in self._kept.items() if kept.files.was_frozen)

    def settle(self, *, same_boot: bool, died_before_ns: int) -> list[KeptBitmap]:
        """The last run did not end in order: make the files true, or say of which bitmaps they are not.

        :param died_before_ns: a time when that run did certainly not write to images any more.
        :returns: the bitmaps that are inconsistent now.
        """
        lost = []
        for kept in self._kept.values():
            closed = kept.closed
            if closed is None or closed.image_mtime_ns != IN_USE or closed.in_use_until_ns or closed.inconsistent:
                continue
            settled = dataclasses.replace(
                closed,
                in_use_until_ns=died_before_ns,
                boot_id=self._boot_id,
                recording=kept.files.recorded_before(closed.recording),
            )
            if same_boot and _settle(kept.files, settled):
                kept.closed = settled
            else:
                kept.closed = dataclasses.replace(closed, inconsistent=True)
                lost.append(kept)
        return lost

    def drop_helpers(self) -> None:
        """How the last run ended is known for good: give up what tells that bitmaps were `frozen`."""
        for kept in self._kept.values():
            kept.files.drop_helpers()

    async def _bring_back(self, node: BlockNode, kept: KeptBitmap) -> None:
        closed = kept.closed
        if closed is None:
            raise GenericError("its bits are gone")
        if closed.length != node.length:
            raise GenericError(f"the image has {node.length} bytes now, and had {closed.length}")
        if (other := _other_writable(node, kept.image)) is not None:
            raise GenericError(f"node '{other.node_name}' has the same image, and is writable")
        if closed.inconsistent or not _are_whole(kept.files, closed) or self._changed_without_us(node, closed):
            bitmap = DirtyBitmap(kept.name, node.length, closed.granularity, persistent=True, disabled=True)
            bitmap.inconsistent = True
        else:
            memory = kept.files.memory()
            bitmap = _in_files(kept, memory, node.length, closed.granularity, disabled=not closed.recording)
        await self._pool.run(kept.files.open)
        node.bitmaps.add(bitmap)
        kept.bitmap = bitmap
        kept.failure = None
        self._changes.bitmap_taken_up(kept)

    def _changed_without_us(self, node: BlockNode, closed: ClosedBitmap) -> bool:
        if closed.image_mtime_ns == IN_USE:
            return not was_left_alone(node, closed, self._boot_id)
        return closed.image_mtime_ns not in (NO_TIME, image_mtime_ns(node))


def _other_writable(node: BlockNode, image: str) -> BlockNode | None:
    """A node beside `node` that can write to the same image; None if there is none."""
    others = (other for other in node.graph.nodes.values() if other is not node and not other.read_only)
    return next((other for other in others if image_key(other) == image), None)


def _in_files(
    kept: KeptBitmap, memory: Allocate, length: int, granularity: int, *, disabled: bool
) -> DirtyBitmap:
    """A bitmap with its bits in the files of `kept`.

    :raises OSError: they cannot be mapped.
    """
    return DirtyBitmap(
        kept.name,
        length,
        granularity,
        persistent=True,
        disabled=disabled,
        allocate=memory,
        helpers=kept.files,
    )


def _closed_now(node: BlockNode, bitmap: DirtyBitmap, files: BitFiles) -> ClosedBitmap:
    """What there is to know of a bitmap whose image is being closed."""
    is_lost = bitmap.inconsistent or files.lost
    try:
        mtime_ns = image_mtime_ns(node)
    except OSError as error:
        _log.warning("nobody will know whether the image of '%s' is changed: %s", node.node_name, error)
        mtime_ns, is_lost = NO_TIME, True
    return ClosedBitmap(bitmap.granularity, bitmap.length, bitmap.recording, is_lost, mtime_ns)


def _are_whole(files: BitFiles, closed: ClosedBitmap) -> bool:
    return files.hold(-(-closed.length // closed.granularity))


def _settle(files: BitFiles, closed: ClosedBitmap) -> bool:
    """Make the files of a bitmap true after the daemon has died; False if they are not."""
    try:
        if not _are_whole(files, closed):
            return False
        files.merge_helpers()
        files.note(closed)
    except OSError as error:
        _log.warning("the bits of a bitmap are lost: %s", error)
        return False
    return True
