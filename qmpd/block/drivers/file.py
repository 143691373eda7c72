"""Drivers `file` and `host_device`: the bytes of a host file.

Reads are tried from the page cache first, without a thread (`preadv2` with RWF_NOWAIT). Everything that may wait for
a disk goes to the I/O pool. Buffered writes are usually just a copy into the page cache, but nothing promises that,
so they go to the pool too, through a `WriteQueue`.

The open file behind the descriptor may be replaced (auto-read-only, reopening), its number stays: workers are given
the number with each call and never see this object's state.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import threading
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qmpd.block.driver import BlockDriver, Buffer, HostPiece, OpenContext, Range, Told, not_supported
from qmpd.block.extents import Extent, ExtentKind, HostFile
from qmpd.block.image_lock import ImageLock, locks_supported
from qmpd.block.iopool import IOPool
from qmpd.block.permissions import Perm
from qmpd.block.write_queue import WriteQueue
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.node import NodeOptions

SECTOR = 512
_MAX_MAP_EXTENTS = 4096
_COPY_STEP = 8 << 20
_BOUNCE = 256 << 10
_ALLOCATION_MIN = 64 << 10
_ONE_CALL_MAX = 128 << 10
_SEARCH_MIN = 128 << 10
_EXT4_MAGIC = 0xEF53

_FALLOC_KEEP_SIZE = 0x01
_FALLOC_PUNCH_HOLE = 0x02
_FALLOC_ZERO_RANGE = 0x10

_LONGEST_FILE = (1 << 63) - 1
_GOOD_EXTENT = 1 << 20

# From linux/fs.h.
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_NOCOW_FL = 0x00800000
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_FS_XFLAG_EXTSIZE = 0x00000800

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

_of_thread = threading.local()
"""What a worker keeps for itself: its buffer."""

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EINVAL, errno.ENODEV})
_NO_COPY_RANGE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.ETXTBSY})


class FileOptions(Protocol):
    """What the drivers read of their branch of `BlockdevOptions`."""

    filename: str
    locking: str | None
    aio: str | None
    pr_manager: str | None


_Run = tuple[int, int, bool]
"""Start, end, and whether there is data."""


class _Reopened(NamedTuple):
    """A second descriptor of the same file, and what is different about it."""

    fd: int
    writable: bool
    direct: bool
    align: int


class FileDriver(BlockDriver):
    """A regular file (`file`) or a device (`host_device`)."""

    is_protocol = True
    mutable_options = frozenset({"drop-cache", "x-check-cache-dropped"})

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self._fd = -1
        self._path = ""
        self._pool: IOPool
        self._lock: ImageLock | None = None
        self._writable = False
        self._direct = False
        self._nowait = True
        self._is_device = False
        self._no_zero_range = False
        self._writes: WriteQueue
        self._discards = [0, 0, 0]

    def fileno(self) -> int:
        """The descriptor, for code that copies between host files (`HostFile`)."""
        return self._fd

    # Opening and closing.

    async def open(self, options: FileOptions, context: OpenContext) -> None:
        flags = context.flags
        _check_interface(options, flags)
        self._pool = context.pool
        self._writes = WriteQueue(context.pool)
        self._path = options.filename
        self._direct = flags.cache_direct
        self._nowait = not flags.cache_direct
        want_write = not flags.read_only and not flags.auto_read_only
        try:
            self._fd = await self._pool.run(_open, self._path, want_write, self._direct)
        except OSError as error:
            raise GenericError(f"Image '{self._path}' cannot be opened: {os_error_text(error)}") from error
        self._writable = want_write
        try:
            await self._examine(options)
        except BaseException:
            await self.close()
            raise

    async def _examine(self, options: FileOptions) -> None:
        mode = os.fstat(self._fd).st_mode
        self._is_device = stat.S_ISBLK(mode) or stat.S_ISCHR(mode)
        if self.format_name == "host_device" and not self._is_device:
            raise GenericError(f"Driver 'host_device' takes a device, and '{self._path}' is none; use driver 'file'")
        if self.format_name == "file" and not stat.S_ISREG(mode):
            raise GenericError(f"Driver 'file' takes a regular file, and '{self._path}' is none")
        locking = options.locking or "auto"
        if locking != "off" and not self.node.options.force_share:
            if locks_supported(self._fd):
                self._lock = ImageLock(self._path)
            elif locking == "on":
                raise GenericError(
                    f"locking=on needs a file system with open-file-description locks, which '{self._path}' is not on"
                )
        try:
            self.length = await self._pool.run(_length, self._fd)
            if self._direct:
                self.request_alignment = await self._pool.run(_probe_alignment, self._fd)
        except OSError as error:
            raise GenericError(f"Image '{self._path}' cannot be read: {os_error_text(error)}") from error

    async def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            await self._pool.run(os.close, fd)

    def check_permissions(self, perm: Perm, shared: Perm) -> None:
        if self._fd < 0:
            return
        if perm & (Perm.WRITE | Perm.WRITE_UNCHANGED | Perm.RESIZE) and not self._writable:
            try:
                fd = self._open_again(writable=True)
            except OSError as error:
                reason = os_error_text(error)
                raise GenericError(f"Image '{self._path}' cannot be opened for writing: {reason}") from error
            self._exchange(fd, writable=True)
        if self._lock is not None:
            self._lock.adjust(self._fd, perm, shared)

    def _open_again(self, *, writable: bool) -> int:
        return _open(self._own_name(), writable, self._direct)

    def _own_name(self) -> str:
        """A name that leads to the open file even where its path does not any more."""
        return f"/proc/self/fd/{self._fd}"

    def _exchange(self, fd: int, *, writable: bool) -> None:
        """Go on with another descriptor of the same file.

        It takes the number of the old one, so that workers that have been given that number read the same file.
        """
        if self._lock is not None:
            self._lock.carry_to(fd)
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._writable = writable

    async def prepare_reopen(self, options: FileOptions | None, flags: NodeOptions) -> _Reopened | None:
        """The state is another descriptor, if the file has to be open in another way; else None."""
        if options is not None:
            _check_interface(options, flags)
        writable = not flags.read_only and (self._writable or not flags.auto_read_only)
        direct = flags.cache_direct
        if (writable, direct) == (self._writable, self._direct):
            return None
        try:
            fd = await self._pool.run(_open, self._own_name(), writable, direct)
        except OSError as error:
            raise GenericError(f"Image '{self._path}' cannot be opened so: {os_error_text(error)}") from error
        try:
            align = await self._pool.run(_probe_alignment, fd) if direct else 1
        except BaseException:
            os.close(fd)
            raise
        return _Reopened(fd, writable, direct, align)

    def commit_reopen(self, state: _Reopened | None) -> None:
        if state is None:
            return
        # Whoever got the right to write at the same time may have had a descriptor made for it.
        self._exchange(state.fd, writable=state.writable)
        self._direct = state.direct
        self._nowait = not state.direct
        self.request_alignment = state.align

    async def abort_reopen(self, state: _Reopened | None) -> None:
        if state is not None:
            os.close(state.fd)

    # Reading.

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        done = 0
        if self._nowait:
            try:
                done = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                done = 0
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._nowait = False
            if done == len(buffer):
                return
        read = _read_direct if self._direct else _read
        await self._pool.run(read, self._fd, offset + done, buffer[done:])

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        if not self._nowait:
            return False
        try:
            return os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT) == len(buffer)
        except OSError:
            return False

    # Writing.

    def begin_write(self, offset: int, data: Buffer, done: Told) -> bool:
        if self._direct:
            return False
        self._writes.begin(self._fd, offset, data, done)
        return True

    def pwritev(self, offset: int, data: Buffer, fua: bool) -> Awaitable[None]:
        if not (self._direct or fua):
            return self._writes.write(self._fd, offset, data)
        dsync = fua and not self.node.options.cache_no_flush
        write = _write_direct if self._direct else _write
        return self._pool.submit(write, self._fd, offset, data, dsync)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        if may_unmap:
            try:
                await self._pool.run(_fallocate, self._fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, offset, length)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
            else:
                await self._extend_to(offset + length)
                return
        if self._no_zero_range:
            raise not_supported()
        try:
            await self._pool.run(_zero_range, self._fd, offset, length)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._no_zero_range = True
            raise not_supported() from error

    async def _extend_to(self, end: int) -> None:
        # A hole at the end of the file does not lengthen it; a node's length may be rounded up beyond its file's.
        if not self._is_device and end > os.fstat(self._fd).st_size:
            await self._pool.run(os.ftruncate, self._fd, end)

    async def pdiscard(self, offset: int, length: int) -> None:
        ok, failed, count = 0, 1, 2
        try:
            await self._pool.run(_fallocate, self._fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, offset, length)
        except OSError as error:
            self._discards[failed] += 1
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            self._discards[ok] += 1
            self._discards[count] += length

    async def flush(self) -> None:
        if self._writable:
            await self._pool.run(os.fdatasync, self._fd)

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        if self._direct or not pieces:
            raise not_supported()
        plan = [(piece.host.fileno(), piece) for piece in pieces]
        await self._pool.run(_copy_all, self._fd, plan, not self._is_device)

    def write_now(self, offset: int, data: Buffer) -> None:
        if self._direct:
            raise not_supported()
        if len(data):
            _write(self._fd, offset, data, False)
            if not self.node.options.cache_no_flush:
                os.fdatasync(self._fd)

    def host_window(self) -> tuple[HostFile, int] | None:
        return None if self._direct or self._is_device else (self, 0)

    async def truncate(self, length: int, exact: bool) -> None:
        if not self._is_device:
            await self._pool.run(os.ftruncate, self._fd, length)
            self.length = -(-length // SECTOR) * SECTOR
            return
        size = await self._pool.run(_length, self._fd)
        if length > size or (exact and length != size):
            raise not_supported()

    async def map(self, offset: int, length: int) -> list[Extent]:
        if self._is_device:
            return [Extent(offset, length, ExtentKind.DATA, self, offset)]
        return self._extents(await self._pool.run(_data_runs, self._fd, offset, length))

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        if self._is_device:
            return [Extent(offset, length, ExtentKind.DATA, self, offset) for offset, length in ranges]
        return self._extents(await self._pool.run(_all_data_runs, self._fd, ranges))

    def _extents(self, runs: list[_Run]) -> list[Extent]:
        data, zero = ExtentKind.DATA, ExtentKind.ZERO
        return [
            Extent(start, end - start, data, self, start)
            if is_data
            else Extent(start, end - start, zero, None, 0, False)
            for start, end, is_data in runs
        ]

    # What queries show.

    def filename(self) -> str:
        return self._path

    def open_options(self) -> dict[str, Any]:
        return {"driver": self.format_name, "filename": self._path}

    def host_paths(self) -> list[str]:
        return [self._path]

    def actual_size(self) -> int | None:
        return os.fstat(self._fd).st_blocks * 512

    def image_details(self) -> Mapping[str, object]:
        return {"dirty-flag": False}

    def driver_stats(self) -> Mapping[str, object] | None:
        ok, failed, count = self._discards
        return {
            "driver": self.format_name,
            "discard-nb-ok": ok,
            "discard-nb-failed": failed,
            "discard-bytes-ok": count,
        }


def _check_interface(options: FileOptions, flags: NodeOptions) -> None:
    """Pass if the file can be read and written in the way that was asked for.

    :raises GenericError: it cannot. (All ways but that one do the same here: workers and the page cache.)
    """
    if options.aio == "native" and not flags.cache_direct:
        raise GenericError("aio=native needs cache.direct=on: the kernel's interface works without the page cache only")
    if options.pr_manager is not None:
        raise GenericError(f"There is no helper for persistent reservations '{options.pr_manager}'; leave it out")


# Below: functions that run in workers. They see descriptors and buffers only.


def _open(path: str, writable: bool, direct: bool) -> int:
    if "\0" in path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # no file can have such a name
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | (os.O_DIRECT if direct else 0)
    # A pipe or a terminal would keep the caller waiting for somebody at its other end.
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(fd, True)
    return fd


def _length(fd: int) -> int:
    status = os.fstat(fd)
    size = status.st_size if stat.S_ISREG(status.st_mode) else os.lseek(fd, 0, os.SEEK_END)
    return -(-size // SECTOR) * SECTOR


def _probe_alignment(fd: int) -> int:
    buffer = mmap.mmap(-1, 65536)
    for align in (512, 1024, 2048, 4096):
        try:
            os.preadv(fd, [memoryview(buffer)[:align]], 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return align
    return 4096


def _read(fd: int, offset: int, buffer: memoryview) -> None:
    while buffer:
        count = os.preadv(fd, [buffer], offset)
        if count == 0:
            # The node's length is rounded up to a sector: what the file does not have reads as zeroes.
            buffer[:] = bytes(len(buffer))
            return
        offset += count
        buffer = buffer[count:]


def _read_direct(fd: int, offset: int, buffer: memoryview) -> None:
    bounce = memoryview(mmap.mmap(-1, len(buffer)))
    _read(fd, offset, bounce)
    buffer[:] = bounce


def _write(fd: int, offset: int, data: Buffer, dsync: bool) -> None:
    view = memoryview(data)
    flags = os.RWF_DSYNC if dsync else 0
    while view:
        count = os.pwritev(fd, [view], offset, flags) if flags else os.pwrite(fd, view, offset)
        offset += count
        view = view[count:]


def _write_direct(fd: int, offset: int, data: Buffer, dsync: bool) -> None:
    bounce = memoryview(mmap.mmap(-1, len(data)))
    bounce[:] = data
    _write(fd, offset, bounce, dsync)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    while _libc.fallocate(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def _zero_range(fd: int, offset: int, length: int) -> None:
    try:
        _fallocate(fd, _FALLOC_ZERO_RANGE, offset, length)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # No such call here (tmpfs, for one): give the space back and take it again.
        _fallocate(fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, offset, length)
        _fallocate(fd, 0, offset, length)


def _all_data_runs(fd: int, ranges: Sequence[Range]) -> list[_Run]:
    runs: list[_Run] = []
    for offset, length in ranges:
        end = offset + length
        while offset < end:
            runs += _data_runs(fd, offset, end - offset)
            offset = runs[-1][1]
    return runs


def _data_runs(fd: int, offset: int, length: int) -> list[_Run]:
    end = offset + length
    runs: list[_Run] = []
    while offset < end and len(runs) < _MAX_MAP_EXTENTS:
        try:
            data = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = end
        if data > offset:
            hole_end = min(data, end)
            runs.append((offset, hole_end, False))
            offset = hole_end
            continue
        try:
            hole = os.lseek(fd, offset, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            hole = end
        hole = min(hole, end) if hole > offset else end
        runs.append((offset, hole, True))
        offset = hole
    return runs


def _copy_all(target: int, plan: Sequence[tuple[int, HostPiece]], regular: bool) -> None:
    # Reading and writing in pieces that stay in the processor's cache is faster than copy_file_range where that
    # cannot share blocks (measured on ext4: by a third to a half), hence only for those who ask for it.
    allocate = regular and _is_ext4(target)
    buffer = _bounce_buffer()
    first = 0
    while first < len(plan):
        end = _adjacent(plan, first)
        if end > first + 1:
            _copy_adjacent(target, plan[first:end], buffer, allocate)
        else:
            _copy_one(target, *plan[first], buffer, allocate)
        first = end


def _adjacent(plan: Sequence[tuple[int, HostPiece]], first: int) -> int:
    """Up to where in `plan`, from `first` on, small pieces go to places one behind the other."""
    at = first
    expected = plan[first][1].offset
    for at in range(first, len(plan)):
        piece = plan[at][1]
        if piece.offset != expected or piece.length > _BOUNCE // 2 or piece.offload or piece.holes is not None:
            return max(at, first + 1)
        expected += piece.length
    return at + 1


def _copy_adjacent(
    target: int, pieces: Sequence[tuple[int, HostPiece]], buffer: memoryview, allocate: bool
) -> None:
    """Gather what comes from all over the source, so that the target is written in few and large requests."""
    offset = pieces[0][1].offset
    last = pieces[-1][1]
    if allocate:
        _take_space(target, offset, last.offset + last.length - offset)
    filled = 0
    for source, piece in pieces:
        if filled + piece.length > _BOUNCE:
            _write(target, offset, buffer[:filled], False)
            offset, filled = offset + filled, 0
        _read(source, piece.host_offset, buffer[filled : filled + piece.length])
        filled += piece.length
    _write(target, offset, buffer[:filled], False)


def _copy_one(target: int, source: int, piece: HostPiece, buffer: memoryview, allocate: bool) -> None:
    _, host_offset, offset, length, offload, holes = piece
    delta = offset - host_offset
    for start, count in ((host_offset, length),) if holes is None else _data_of(source, host_offset, length, holes):
        # One call instead of three, which the file system cannot answer by sharing blocks.
        if offload or (allocate and count <= _ONE_CALL_MAX):
            _copy(source, start, target, start + delta, count)
            continue
        if allocate:
            _take_space(target, start + delta, count)
        _copy_through_memory(source, start, target, start + delta, count, buffer)


def _take_space(target: int, offset: int, length: int) -> None:
    """On ext4 this halves the cost of writing, which need not reserve each block by itself then.

    Nothing depends on it: if there is no space, the write says so.
    """
    if length >= _ALLOCATION_MIN:
        _libc.fallocate(target, _FALLOC_KEEP_SIZE, offset, length)


def _data_of(source: int, start: int, length: int, holes: list[Range]) -> Sequence[Range]:
    """The data in a range of a host file; what is no data is noted in `holes`.

    Short ranges are not searched for holes behind their first data: they are copied quicker than that.
    """
    if length > _SEARCH_MIN:
        runs = _all_data_runs(source, [(start, length)])
        holes += [(at, end - at) for at, end, is_data in runs if not is_data]
        return [(at, end - at) for at, end, is_data in runs if is_data]
    try:
        data = os.lseek(source, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        data = start + length
    if data == start:
        return ((start, length),)
    data = min(data, start + length)
    holes.append((start, data - start))
    return ((data, start + length - data),) if data < start + length else ()


def _bounce_buffer() -> memoryview:
    buffer = getattr(_of_thread, "buffer", None)
    if buffer is None:
        buffer = _of_thread.buffer = memoryview(bytearray(_BOUNCE))
    return buffer


def _is_ext4(fd: int) -> bool:
    # The first member of struct statfs, a machine word, is the kind of file system.
    status = (ctypes.c_long * 32)()
    return _libc.fstatfs(fd, status) == 0 and status[0] == _EXT4_MAGIC


def _copy(source: int, source_offset: int, target: int, offset: int, length: int) -> None:
    while length:
        step = min(length, _COPY_STEP)
        try:
            count = os.copy_file_range(source, target, step, source_offset, offset)
        except OSError as error:
            if error.errno not in _NO_COPY_RANGE:
                raise
            _copy_through_memory(source, source_offset, target, offset, length, memoryview(bytearray(_BOUNCE)))
            return
        if count == 0:
            # The source file ends inside its last sector.
            _write(target, offset, bytes(min(length, SECTOR)), False)
            count = min(length, SECTOR)
        source_offset += count
        offset += count
        length -= count


def _copy_through_memory(
    source: int, source_offset: int, target: int, offset: int, length: int, buffer: memoryview
) -> None:
    while length:
        part = buffer if length >= _BOUNCE else buffer[:length]
        count = len(part)
        done = os.preadv(source, [part], source_offset)
        if done < count:
            _read(source, source_offset + done, part[done:])
        done = os.pwrite(target, part, offset)
        if done < count:
            _write(target, offset + done, part[done:], False)
        source_offset += count
        offset += count
        length -= count


def create_file(
    path: str, size: int, preallocation: str, *, nocow: bool = False, extent_hint: int | None = None
) -> None:
    """Make a file of `size` bytes, or make an existing one so. Blocks: to be run in a worker.

    :param preallocation: `off`, `falloc` or `full`.
    :param nocow: ask the file system not to copy on write.
    :param extent_hint: ask it to allocate in units of so many bytes, 0 for its own choice; None for a good one.
    :raises GenericError: it cannot be made, or another program uses it.
    """
    if preallocation not in ("off", "falloc", "full"):
        raise GenericError(f"'preallocation' is '{preallocation}'; a file takes 'off', 'falloc' and 'full'")
    if "\0" in path:
        raise GenericError("'filename' holds a null character, which no path can")
    if size > _LONGEST_FILE:
        raise GenericError(f"'size' is {size}; no file can have more than {_LONGEST_FILE} bytes")
    if extent_hint is not None and extent_hint > 0xFFFFFFFF:
        raise GenericError(f"'extent-size-hint' is {extent_hint}; file systems take {0xFFFFFFFF} at most")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if locks_supported(fd):
                ImageLock(path).adjust(fd, Perm.WRITE | Perm.RESIZE, Perm.ALL & ~Perm.RESIZE)
            os.ftruncate(fd, 0)
            _give_hints(fd, nocow, _GOOD_EXTENT if extent_hint is None else extent_hint)
            os.ftruncate(fd, size)
            if preallocation == "falloc" and size:
                _fallocate(fd, 0, 0, size)
            elif preallocation == "full":
                _write_zeroes(fd, size)
        finally:
            os.close(fd)
    except OSError as error:
        raise GenericError(f"File '{path}' cannot be made: {os_error_text(error)}") from error


def _give_hints(fd: int, nocow: bool, extent: int) -> None:
    """Hints on how to allocate, which only some file systems take, and only while the file is empty."""
    if nocow:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("l", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l"))))
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_NOCOW_FL))
    if extent:
        with contextlib.suppress(OSError):
            flags, _, *rest = struct.unpack("IIIII8s", fcntl.ioctl(fd, _FS_IOC_FSGETXATTR, bytes(28)))
            fcntl.ioctl(fd, _FS_IOC_FSSETXATTR, struct.pack("IIIII8s", flags | _FS_XFLAG_EXTSIZE, extent, *rest))


def _write_zeroes(fd: int, size: int) -> None:
    zeroes = bytes(1 << 20)
    for offset in range(0, size, len(zeroes)):
        _write(fd, offset, zeroes[: size - offset], False)
