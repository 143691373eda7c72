"""One bitmap whose bits are in files, and what names and dates its image."""

from __future__ import annotations

import dataclasses
import os
import stat
from typing import TYPE_CHECKING, Protocol

from qmpd.state.bit_files import BitFiles, ClosedBitmap

if TYPE_CHECKING:
    from qmpd.block.dirty_bitmap import DirtyBitmap
    from qmpd.block.node import BlockNode

NO_TIME = -1
"""A device does not tell when it was changed."""


class BitmapChanges(Protocol):
    """Is told what has become of bitmaps that are kept, to store it a little later."""

    def bitmap_taken_up(self, kept: KeptBitmap) -> None:
        """The image is open: what is on disk of the bitmap is not to be trusted alone from now on."""

    def bitmap_put_down(self, kept: KeptBitmap) -> None:
        """The image has been closed; all bits are in the file, and `kept.closed` says the rest."""

    def identify(self, image: str, name: str) -> str:
        """The id of the bitmap `name` that `image` stores; always the same one as long as it is there."""

    def bitmap_failed(self, kept: KeptBitmap) -> None:
        """A bitmap of an image that was opened could not be brought back, for the reason `kept.failure`."""


def image_key(node: BlockNode) -> str | None:
    """A text that names what `node` shows, whatever it is called; None if its bytes are not plainly in a host file."""
    window = node.driver.host_window()
    paths = node.children["file"].node.driver.host_paths() if "file" in node.children else node.driver.host_paths()
    if window is None or len(paths) != 1:
        return None
    return f"{node.driver.format_name}:{os.path.realpath(paths[0])}@{window[1]}"


def image_of(node: BlockNode) -> str | None:
    """What names an image that stores bitmaps: its format and the file that it lies in."""
    file = node.children.get("file")
    key = None if file is None else image_key(file.node)
    return None if key is None else f"{node.driver.format_name}:{key}"


def last_change_ns(node: BlockNode) -> int:
    """When somebody changed the files of an image last, or put others in their place; `NO_TIME` for devices.

    Unlike the time of change, nobody can set this one to an earlier one, as a copy that keeps its times does.

    :raises OSError: nobody knows.
    """
    own = [child.node for role, child in node.children.items() if role != "backing"] or [node]
    windows = [window for found in own if (window := found.driver.host_window()) is not None]
    statuses = [os.fstat(window[0].fileno()) for window in windows]
    times = [max(status.st_mtime_ns, status.st_ctime_ns) for status in statuses if stat.S_ISREG(status.st_mode)]
    return max(times, default=NO_TIME)


def was_left_alone(node: BlockNode, closed: ClosedBitmap, boot_id: str) -> bool:
    """Whether an image that was not closed in order is as the daemon has left it.

    :param boot_id: of the boot of the host that runs.
    :raises OSError: nobody knows.
    """
    return closed.boot_id == boot_id and last_change_ns(node) <= closed.in_use_until_ns


def image_mtime_ns(node: BlockNode) -> int:
    """When the image's file was changed last; `NO_TIME` for a device, which does not tell."""
    window = node.driver.host_window()
    if window is None:
        return NO_TIME
    status = os.fstat(window[0].fileno())
    return status.st_mtime_ns if stat.S_ISREG(status.st_mode) else NO_TIME


@dataclasses.dataclass(eq=False, slots=True)
class KeptBitmap:
    """A bitmap whose bits are in a file.

    :ivar in_image: its image stores it when it is closed well, and the file is there for all other cases.
    :ivar node_name: of the node that showed its image last.
    :ivar bitmap: None while its image is closed.
    :ivar closed: as it was when the image was closed last; None as long as it never was.
    :ivar failure: why it could not be brought back, when its image was opened last.
    """

    uuid: str
    image: str
    node_name: str
    name: str
    files: BitFiles
    bitmap: DirtyBitmap | None = None
    closed: ClosedBitmap | None = None
    failure: str | None = None
    in_image: bool = False

    @property
    def whole_name(self) -> str:
        """Its name behind that of its node."""
        return f"{self.node_name}/{self.name}"

    @property
    def why_closed(self) -> str:
        """Why it is not there, a sentence for people."""
        file = self.image.partition(":")[2] if self.in_image else self.image
        path = file.partition(":")[2].rpartition("@")[0]
        return self.failure or f"its image '{path}' is not open"
