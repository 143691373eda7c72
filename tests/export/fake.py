"""A plain file in the place of the block layer, and a table of exports in the place of the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.block.driver import Told
from qmpd.block.extents import Extent, ExtentKind
from qmpd.export.nbd.connection import ConnectionOptions, NbdConnection
from qmpd.export.nbd.holes import HoleFinder
from qmpd.export.nbd.negotiation import ExportInfo, Outcome
from qmpd.export.nbd.transmission import ExportAccess
from qmpd.nbd.numbers import TransmissionFlag as Flag

READ_ONLY = Flag.HAS_FLAGS | Flag.READ_ONLY | Flag.SEND_FLUSH | Flag.SEND_FUA | Flag.CAN_MULTI_CONN | Flag.SEND_CACHE
WRITABLE = (READ_ONLY & ~Flag.READ_ONLY) | Flag.SEND_TRIM | Flag.SEND_WRITE_ZEROES | Flag.SEND_FAST_ZERO


class FileBackend:
    """An `ExportBackend` over one file.

    :ivar gate: cleared, every request waits before it begins (as under drain).
    :ivar fail: errno to raise from every request.
    :ivar at_hand: where nothing keeps them waiting, requests that begin at multiples of 8 KiB need no coroutine.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.length = os.fstat(self.fd).st_size
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: int | None = None
        self.threaded = False
        self.at_hand = True
        self.flushes = 0
        self.log: list[tuple[str, int, int]] = []

    def close(self) -> None:
        os.close(self.fd)

    async def _begin(self, what: str, offset: int, length: int) -> None:
        self.log.append((what, offset, length))
        if not self.gate.is_set():
            await self.gate.wait()
        if self.threaded:
            await asyncio.get_running_loop().run_in_executor(None, os.getpid)
        if self.fail:
            raise OSError(self.fail, os.strerror(self.fail))

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        await self._begin("read", offset, len(buffer))
        if os.preadv(self.fd, [buffer], offset) != len(buffer):
            raise OSError(errno.EIO, "short read")

    def read_now(self, offset: int, buffer: memoryview) -> bool:
        if not self.at_hand or self.threaded or self.fail or not self.gate.is_set() or offset & 8191:
            return False
        self.log.append(("read", offset, len(buffer)))
        return os.preadv(self.fd, [buffer], offset) == len(buffer)

    def begin_write(self, offset: int, data: memoryview, done: Told) -> bool:
        if not self.at_hand or self.threaded or not self.gate.is_set() or offset & 8191:
            return False
        if self.fail:
            error = OSError(self.fail, os.strerror(self.fail))
            asyncio.get_running_loop().call_soon(done, error)
            return True
        self.log.append(("write", offset, len(data)))
        os.pwrite(self.fd, data, offset)
        asyncio.get_running_loop().call_soon(done, None)
        return True

    async def pwritev(self, offset: int, data: memoryview, fua: bool = False) -> None:
        await self._begin("write fua" if fua else "write", offset, len(data))
        os.pwrite(self.fd, data, offset)

    async def pwrite_zeroes(
        self,
        offset: int,
        length: int,
        *,
        may_unmap: bool = False,
        no_fallback: bool = False,
        fua: bool = False,
    ) -> None:
        await self._begin("zeroes", offset, length)
        if no_fallback:
            raise OSError(errno.ENOTSUP, "slow")
        os.pwrite(self.fd, bytes(length), offset)

    async def pdiscard(self, offset: int, length: int) -> None:
        await self._begin("discard", offset, length)

    async def flush(self) -> None:
        self.flushes += 1
        await self._begin("flush", 0, 0)

    def image_depths(self) -> list[int]:
        return [1]

    async def map(self, offset: int, length: int) -> Sequence[Extent]:
        extents = []
        end = offset + length
        while offset < end:
            data = _seek(self.fd, offset, os.SEEK_DATA, end)
            if data > offset:
                extents.append(Extent(offset, data - offset, ExtentKind.ZERO))
                offset = data
                continue
            hole = _seek(self.fd, offset, os.SEEK_HOLE, end)
            extents.append(Extent(offset, hole - offset, ExtentKind.DATA))
            offset = hole
        return extents


def _seek(fd: int, offset: int, whence: int, end: int) -> int:
    try:
        return min(os.lseek(fd, offset, whence), end)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return end


class OneExport:
    """What a connection sees of an export, without a server."""

    def __init__(self, info: ExportInfo, access: ExportAccess) -> None:
        self.info = info
        self.access = access
        self.clients: list[NbdConnection] = []

    def connected(self, connection: NbdConnection) -> None:
        self.clients.append(connection)

    def disconnected(self, connection: NbdConnection) -> None:
        self.clients.remove(connection)


class Table:
    """An `ExportTable` of given exports."""

    def __init__(self, *exports: OneExport) -> None:
        self.exports = {export.info.name: export for export in exports}

    def find(self, name: str) -> ExportInfo | None:
        export = self.exports.get(name)
        return export.info if export else None

    def infos(self) -> Sequence[ExportInfo]:
        return [export.info for export in self.exports.values()]

    def use(self, outcome: Outcome) -> OneExport:
        return self.exports[outcome.export.name]


def file_export(
    backend: FileBackend,
    name: str = "disk",
    *,
    writable: bool = True,
    bitmaps: dict[str, DirtyBitmap] | None = None,
    writethrough: bool = False,
) -> OneExport:
    """An export of all of `backend`."""
    chosen = bitmaps or {}
    info = ExportInfo(
        name,
        None,
        backend.length,
        WRITABLE if writable else READ_ONLY,
        allocation_depth=bool(chosen),
        bitmaps=tuple(chosen),
    )
    return OneExport(info, ExportAccess(backend, HoleFinder(backend, backend.length), chosen, writethrough))


@contextlib.asynccontextmanager
async def serve(
    path: Path, table: Table, options: ConnectionOptions | None = None
) -> AsyncIterator[list[NbdConnection]]:
    """Accept clients on the Unix socket `path`; gives the list of connections that live."""
    import socket

    loop = asyncio.get_running_loop()
    connections: list[NbdConnection] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    listener.setblocking(False)

    def accept() -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = listener.accept()
            connection = NbdConnection(sock, table, options or ConnectionOptions(), connections.remove)
            connections.append(connection)
            connection.start()

    loop.add_reader(listener.fileno(), accept)
    try:
        yield connections
    finally:
        loop.remove_reader(listener.fileno())
        listener.close()
        for connection in connections:
            connection.close()
            await connection.wait_closed()
