"""Driver `nbd`: requests to an NBD server for what the block layer wants of a disk.

A request larger than the server takes is cut into pieces, all under way at the same time. What the server can do is
known from its flags; what it cannot is done in another way, or reported as not supported, as in QEMU.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.block.driver import BlockDriver, Buffer, OpenContext, Range, not_supported
from qmpd.block.drivers.nbd.connection import ConnectionLost
from qmpd.block.drivers.nbd.handshake import ServerExport
from qmpd.block.drivers.nbd.link import Goal, Link
from qmpd.block.drivers.nbd.replies import Exchange
from qmpd.block.extents import Extent, ExtentKind
from qmpd.errors import GenericError
from qmpd.nbd.numbers import MAX_PAYLOAD, MAX_STRING, Command, CommandFlag, StatusFlag, TransmissionFlag
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress

if TYPE_CHECKING:
    from qmpd.api.models import SocketAddress
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import NodeOptions

SECTOR = 512
_LONGEST_STATUS = 1 << 31
"""Bytes that one block status asks about at most: what it tells has to fit 32 bits."""


class NbdOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    server: SocketAddress
    export: str | None
    tls_creds: str | None
    tls_hostname: str | None
    x_dirty_bitmap: str | None
    reconnect_delay: int | None
    open_timeout: int | None


class NbdDriver(BlockDriver):
    """An export of an NBD server."""

    is_protocol = True
    mutable_options = frozenset()

    def __init__(self, format_name: str = "nbd") -> None:
        super().__init__(format_name)
        self._link: Link
        self._reached: tuple[Link, ServerExport] | None = None
        self._export: ServerExport
        self._name = ""
        self._server: dict[str, Any] = {}
        self._given: dict[str, Any] = {}

    # Opening and closing.

    async def reach(self, options: NbdOptions, graph: BlockGraph) -> None:
        _check_options(options)
        goal = Goal(
            address=_address(options.server),
            export=options.export or "",
            context=options.x_dirty_bitmap,
            open_timeout=options.open_timeout or 0,
            reconnect_delay=options.reconnect_delay or 0,
            keep_alive=bool(getattr(options.server, "keep_alive", False)),
        )
        link = Link(goal, graph.delay)
        self._reached = link, await link.open()

    async def let_go(self) -> None:
        reached, self._reached = self._reached, None
        if reached is not None:
            await reached[0].close()

    async def open(self, options: NbdOptions, context: OpenContext) -> None:
        if self._reached is None:
            await self.reach(options, self.node.graph)
        assert self._reached is not None
        (self._link, self._export), self._reached = self._reached, None
        self._name_after(options)
        try:
            self._check_read_only(context.flags)
        except BaseException:
            await self._link.close()
            raise
        # Disks have whole sectors; the last one may reach beyond the export.
        self.length = -(-self._export.length // SECTOR) * SECTOR
        self.request_alignment = self._export.smallest

    def _check_read_only(self, flags: NodeOptions) -> None:
        """Become read-only if the export is, and that is allowed."""
        if flags.read_only or not self._export.has(TransmissionFlag.READ_ONLY):
            return
        if not flags.auto_read_only:
            raise GenericError(f"The NBD export '{self._name}' is read-only; open it with read-only=on")
        self.node.read_only = True

    async def close(self) -> None:
        await self._link.close()

    def impatience_begin(self) -> None:
        self._link.impatience_begin()

    def impatience_end(self) -> None:
        self._link.impatience_end()

    async def prepare_reopen(self, options: Any | None, flags: NodeOptions) -> None:
        if self._export.has(TransmissionFlag.READ_ONLY) and not (flags.read_only or flags.auto_read_only):
            raise GenericError(f"The NBD export '{self._name}' is read-only and cannot be opened for writing")

    # Requests.

    async def _perform(self, exchange: Exchange) -> None:
        """Do one request; once more for each connection that is lost over it, as long as there is another in time.

        :raises OSError: the server's error, or EIO if there is no connection.
        """
        while True:
            connection = self._link.connection or await self._link.wait()
            try:
                await connection.begin(exchange)
            except ConnectionLost:
                continue
            if exchange.error:
                raise OSError(exchange.error, os.strerror(exchange.error))
            return

    async def _perform_all(self, exchanges: list[Exchange]) -> None:
        """Do several requests at the same time; all have ended when this returns.

        :raises OSError: the first error.
        """
        waiting = exchanges
        late: asyncio.CancelledError | None = None
        while waiting:
            connection = self._link.connection or await self._link.wait()
            begun = [(connection.begin(exchange), exchange) for exchange in waiting]
            waiting = []
            for done, exchange in begun:
                try:
                    await done
                except ConnectionLost:
                    waiting.append(exchange)
                except asyncio.CancelledError as error:
                    late = error
            if late is not None:
                raise late
        for exchange in exchanges:
            if exchange.error:
                raise OSError(exchange.error, os.strerror(exchange.error))

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        inside = min(len(buffer), max(self._export.length - offset, 0))
        if inside < len(buffer):
            buffer[inside:] = bytes(len(buffer) - inside)
        if inside <= self._export.largest:
            if inside:
                await self._perform(Exchange(Command.READ, offset, inside, buffer=buffer[:inside]))
            return
        await self._perform_all(
            [
                Exchange(Command.READ, offset + at, size, buffer=buffer[at : at + size])
                for at, size in _pieces(0, inside, self._export.largest)
            ]
        )

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        view = memoryview(data).cast("B")
        inside = min(len(view), max(self._export.length - offset, 0))
        if any(view[inside:]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flags = CommandFlag.FUA if fua and self._export.has(TransmissionFlag.SEND_FUA) else 0
        if inside <= self._export.largest:
            if inside:
                await self._perform(Exchange(Command.WRITE, offset, inside, flags=flags, payload=view[:inside]))
        else:
            await self._perform_all(
                [
                    Exchange(Command.WRITE, offset + at, size, flags=flags, payload=view[at : at + size])
                    for at, size in _pieces(0, inside, self._export.largest)
                ]
            )
        if fua and not flags:
            await self.flush()

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        if not self._export.has(TransmissionFlag.SEND_WRITE_ZEROES):
            raise not_supported()
        flags = 0 if may_unmap else int(CommandFlag.NO_HOLE)
        if no_fallback:
            if not self._export.has(TransmissionFlag.SEND_FAST_ZERO):
                raise not_supported()
            flags |= CommandFlag.FAST_ZERO
        await self._without_payload(Command.WRITE_ZEROES, offset, length, flags)

    async def pdiscard(self, offset: int, length: int) -> None:
        if self._export.has(TransmissionFlag.SEND_TRIM):
            await self._without_payload(Command.TRIM, offset, length, 0)

    async def _without_payload(self, command: Command, offset: int, length: int, flags: int) -> None:
        length = min(length, max(self._export.length - offset, 0))
        most = MAX_PAYLOAD // self._export.smallest * self._export.smallest
        for at, size in _pieces(offset, length, most):
            await self._perform(Exchange(command, at, size, flags=flags))

    async def flush(self) -> None:
        if self._export.has(TransmissionFlag.SEND_FLUSH) and not self.node.options.cache_no_flush:
            await self._perform(Exchange(Command.FLUSH, 0, 0))

    async def truncate(self, length: int, exact: bool) -> None:
        if length > self.length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if exact and length != self.length:
            raise not_supported()

    async def map(self, offset: int, length: int) -> list[Extent]:
        inside = min(length, max(self._export.length - offset, 0), _LONGEST_STATUS)
        if not inside:
            return [Extent(offset, length, ExtentKind.ZERO, allocated=False)]
        if self._export.context is None:
            return [Extent(offset, inside, ExtentKind.DATA)]
        exchange = Exchange(Command.BLOCK_STATUS, offset, inside)
        await self._perform(exchange)
        extents: list[Extent] = []
        end = offset + inside
        for size, flags in exchange.extents:
            size = min(size, end - offset)
            if not size:
                break
            kind = ExtentKind.ZERO if flags & StatusFlag.ZERO else ExtentKind.DATA
            extents.append(Extent(offset, size, kind, allocated=not flags & StatusFlag.HOLE))
            offset += size
        return extents

    # What queries show.

    def _name_after(self, options: NbdOptions) -> None:
        self._server = options.server.model_dump(by_alias=True, exclude_none=True)
        self._server["type"] = str(self._server["type"])
        given = {"export": options.export, "x-dirty-bitmap": options.x_dirty_bitmap}
        self._given = {name: value for name, value in given.items() if value is not None}
        self._name = self.filename()

    def filename(self) -> str:
        server, export = self._server, self._given.get("export")
        keys = set(server)
        if keys == {"type", "path"}:
            slash = "" if export is None else f"/{export}"
            return f"nbd+unix://{slash}?socket={server['path']}"
        if server["type"] == "inet" and not keys & {"ipv4", "ipv6", "to"}:
            slash = "" if export is None else f"/{export}"
            return f"nbd://{server['host']}:{server['port']}{slash}"
        return self.json_name()

    def open_options(self) -> dict[str, Any]:
        return {"driver": self.format_name, "server": self._server, **self._given}

    def image_details(self) -> Mapping[str, object]:
        return {}


def _check_options(options: NbdOptions) -> None:
    """Pass if these options are possible.

    :raises GenericError: one of them is not.
    """
    for name, value in (("tls-creds", options.tls_creds), ("tls-hostname", options.tls_hostname)):
        if value is not None:
            raise GenericError(f"'{name}' is '{value}'; NBD connections are without TLS here, so leave it out")
    for name, value in (("export", options.export), ("x-dirty-bitmap", options.x_dirty_bitmap)):
        if len((value or "").encode(errors="surrogateescape")) > MAX_STRING:
            raise GenericError(f"'{name}' is longer than {MAX_STRING} bytes, the most that NBD allows")


def _address(server: SocketAddress) -> Address:
    """Where the server listens.

    :raises GenericError: an address that cannot be connected to.
    """
    from qmpd.api.models import SocketAddressFd, SocketAddressInet, SocketAddressUnix

    if isinstance(server, SocketAddressUnix):
        return UnixAddress(server.path, bool(server.abstract), server.tight is not False)
    if isinstance(server, SocketAddressInet):
        if server.mptcp:
            raise GenericError("'server.mptcp' is not available here; leave it out")
        return InetAddress(server.host, server.port, 0, server.ipv4, server.ipv6)
    if isinstance(server, SocketAddressFd):
        return FdAddress.from_text(server.str, "server.str")
    raise GenericError("'server.type' is 'vsock', which is not possible here; use 'unix', 'inet' or 'fd'")


def _pieces(offset: int, length: int, most: int) -> Iterator[Range]:
    """A range in pieces of at most `most` bytes."""
    end = offset + length
    for at in range(offset, end, most):
        yield at, min(most, end - at)
