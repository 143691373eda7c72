"""The bits of persistent bitmaps that an image stores (qcow2), while it is open for writing.

What the image stores is true as long as nobody writes to it. Before the first write it is marked as `in use`; the
truth is in memory then, and elsewhere it is lost with the process. Here it is in files from that moment on, until the
image has stored it anew. When the image is opened next and says that a bitmap was in use, or does not know it as yet,
the files bring it back, if the process died in the boot of the host that still runs, or if the image could not be
closed well; unless somebody has changed the image since. A bitmap that the image has in good order is what the image
says.

With the process, an image loses what was written to it last and not flushed, if only memory knew where it lies. The
disk then shows again what was there before. That is dirty in the bitmap, so it does no harm; but what a bitmap has
given up, to a backup or because it was cleared, must not be lost (`BitmapKeeper.secure`): the backup would have what
the disk has not, and nobody would know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bitarray import bitarray

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.state.bit_files import IN_USE, BitFiles, ClosedBitmap
from qmpd.state.kept_bitmap import BitmapChanges, KeptBitmap, image_of, was_left_alone

if TYPE_CHECKING:
    from qmpd.block.iopool import IOPool
    from qmpd.block.node import BlockNode

_log = logging.getLogger(__name__)

_SLACK_NS = 1_000_000_000
"""What is written last to an image that is being closed may be dated after its bitmaps were noted."""


class ImageBitmaps:
    """Those of all images.

    :param kept: all bitmaps that are kept, of other images as well.
    :param path: the directory of their files.
    :param boot_id: of the running boot of this host.
    """

    def __init__(
        self, kept: dict[str, KeptBitmap], path: Path, boot_id: str, pool: IOPool, changes: BitmapChanges
    ) -> None:
        self._kept = kept
        self._path = path
        self._boot_id = boot_id
        self._pool = pool
        self._changes = changes

    async def recover(self, node: BlockNode, in_use: Collection[str]) -> None:
        """As of `BitmapKeeper`."""
        image = image_of(node)
        for kept in [kept for kept in self._of_images() if kept.image == image and kept.closed is not None]:
            found = node.bitmaps.find(kept.name)
            try:
                if (found is None or kept.name in in_use) and self._is_true(kept, node, found):
                    kept.bitmap = await self._bring_back(kept, node, found)
                    kept.node_name = node.node_name
                    continue
            except OSError as error:
                _log.warning("bitmap '%s' cannot be brought back: %s", kept.whole_name, error)
            self._forget(kept)

    async def take_up(self, node: BlockNode) -> None:
        """As of `BitmapKeeper`."""
        image = image_of(node)
        if image is None:
            return
        for bitmap in [one for one in node.bitmaps if one.persistent and not one.inconsistent and not one.busy]:
            kept = next((kept for kept in self._of_images() if kept.bitmap is bitmap), None)
            if kept is None:
                kept = self._new(node, image, bitmap)
            if kept is not None and (kept.bitmap is None or kept.closed is not None):
                await self._move_to_files(kept, bitmap)

    async def put_down(self, node: BlockNode, *, stored: bool) -> None:
        """As of `BitmapKeeper`."""
        here = set(node.bitmaps)
        for kept in [kept for kept in self._of_images() if kept.bitmap in here]:
            bitmap, kept.bitmap = kept.bitmap, None
            assert bitmap is not None
            if kept.closed is not None:
                # It was brought back and nothing was written since.
                continue
            if stored:
                self._forget(kept)
                if not bitmap.frozen and not bitmap.has_twin:
                    bitmap.move(None, None)
            else:
                lost = bitmap.inconsistent or kept.files.lost
                until = time.time_ns() + _SLACK_NS
                facts = bitmap.granularity, bitmap.length, bitmap.recording, lost
                closed = ClosedBitmap(*facts, IN_USE, until, self._boot_id)
                kept.closed = await self._pool.run(kept.files.close, closed)

    def _of_images(self) -> Iterable[KeptBitmap]:
        return (kept for kept in self._kept.values() if kept.in_image)

    def _forget(self, kept: KeptBitmap) -> None:
        del self._kept[kept.uuid]
        kept.files.remove()

    def _new(self, node: BlockNode, image: str, bitmap: DirtyBitmap) -> KeptBitmap | None:
        """An entry for a bitmap that has none; None if the same one is open elsewhere, without locks."""
        assert bitmap.name is not None
        identity = self._changes.identify(image, bitmap.name)
        if identity in self._kept:
            return None
        kept = KeptBitmap(identity, image, node.node_name, bitmap.name, BitFiles(self._path, identity), in_image=True)
        # An end in the middle of the last closing may have left some.
        kept.files.remove()
        return kept

    async def _move_to_files(self, kept: KeptBitmap, bitmap: DirtyBitmap) -> None:
        """Keep a bitmap's bits in its files; where there is no room, in memory."""
        try:
            bitmap.move(kept.files.new_memory() if kept.bitmap is None else kept.files.memory(), kept.files)
            self._kept[kept.uuid] = kept
            kept.bitmap = bitmap
            await self._pool.run(kept.files.open)
            kept.closed = None
        except OSError as error:
            _log.warning("bitmap '%s' will not survive the daemon: %s", kept.whole_name, error)
            self._kept.setdefault(kept.uuid, kept)
            self._forget(kept)
            bitmap.move(None, None)

    def _is_true(self, kept: KeptBitmap, node: BlockNode, found: DirtyBitmap | None) -> bool:
        """Whether the files tell what has been written to an image that was not closed in order.

        :param found: what the image has of the bitmap.
        :raises OSError: nobody knows.
        """
        closed = kept.closed
        if closed is None or closed.inconsistent or closed.length != node.length:
            return False
        if found is not None and found.granularity != closed.granularity:
            return False
        bits = -(-closed.length // closed.granularity)
        return kept.files.hold(bits) and was_left_alone(node, closed, self._boot_id)

    async def _bring_back(self, kept: KeptBitmap, node: BlockNode, found: DirtyBitmap | None) -> DirtyBitmap:
        """Let a bitmap be what the files say, in plain memory: what is in the files stays as it is.

        :raises OSError: they cannot be read.
        """
        closed = kept.closed
        assert closed is not None
        bits = bitarray(endian="little")
        bits.frombytes(await self._pool.run(kept.files.bits.read_bytes))
        bitmap = found or DirtyBitmap(kept.name, node.length, closed.granularity, persistent=True, disabled=True)
        bitmap.merge_bits(bits[: bitmap.size], closed.granularity)
        bitmap.inconsistent = False
        bitmap.read_only = node.read_only
        if found is None:
            node.bitmaps.add(bitmap)
        if closed.recording:
            bitmap.enable()
        return bitmap
