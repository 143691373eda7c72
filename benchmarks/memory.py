"""Memory that is there: keeping the host of a virtual machine out of the samples.

A virtual machine's free memory may have been given back to its host, or never been asked for. Then the first write to
each page takes a hundred times as long as the second one, and a backup of a gigabyte takes 0.4 or 3 seconds, whoever
runs it, depending on whose turn it was to get the fresh pages. So a run in a virtual machine holds all but a few
gigabytes, and what is left of it is touched before each sample that needs much. Last of all a file of the size of the
copy is written and removed, since the file cache takes first what it has given back last.

Leans on nothing. Does nothing on bare metal, or where there is swap space (what is held would only go there).
"""

import contextlib
import mmap
from pathlib import Path

GIB = 1 << 30
LEFT = 10 * GIB
"""What a run leaves to the servers, the images and everything else.

Who has dirtied 15 % of that has to wait for the disk (with the usual settings of Linux), which is not what is measured:
a copy of a gigabyte has to stay well below.
"""
_MARGIN = GIB // 4
"""What is left alone when the rest is touched before a sample."""


def _meminfo(name: str) -> int:
    """One line of /proc/meminfo, in bytes; 0 when it is not there."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def is_virtual_machine() -> bool:
    """Whether the kernel says that it runs under another one."""
    with contextlib.suppress(OSError):
        return " hypervisor" in Path("/proc/cpuinfo").read_text()
    return False


def _touched(length: int, *, small_pages: bool) -> mmap.mmap:
    """Fresh memory of which every page has been written to."""
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if small_pages:
        # Files are cached in small pages: take those.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    # The servers are started from this process, and its memory is none of theirs.
    memory.madvise(mmap.MADV_DONTFORK)
    for offset in range(0, length, mmap.PAGESIZE):
        memory[offset] = 1
    return memory


class Reserve:
    """The memory that a run holds; a context manager. `active` tells whether there is any need."""

    def __init__(self, *, wanted: bool) -> None:
        self.active = wanted and is_virtual_machine() and _meminfo("SwapTotal") == 0
        self._held: mmap.mmap | None = None

    def __enter__(self) -> "Reserve":
        length = _meminfo("MemAvailable") - LEFT
        if self.active and length > 0:
            self._held = _touched(length // mmap.PAGESIZE * mmap.PAGESIZE, small_pages=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()

    def refresh(self) -> None:
        """Touch what the next sample may take, and let it go again."""
        length = min(LEFT, _meminfo("MemFree")) - _MARGIN
        if self.active and length > 0:
            _touched(length // mmap.PAGESIZE * mmap.PAGESIZE, small_pages=True).close()

    def turn_over(self, path: Path, length: int) -> None:
        """Take `length` bytes for a file's pages and give them back, so that the next file gets them."""
        if self.active:
            piece = bytes(1 << 20)
            with path.open("wb", buffering=0) as file:
                for _ in range(length // len(piece)):
                    file.write(piece)
            path.unlink()
