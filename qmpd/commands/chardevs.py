"""Commands on character devices: the schema's models in, specs of devices out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qmpd.chardev.specs import (
    AVAILABLE,
    REFUSED,
    RINGBUF_SIZE,
    ChardevSpec,
    FileSpec,
    LogSpec,
    NullSpec,
    PipeSpec,
    PtySpec,
    RingbufSpec,
    SerialSpec,
    SocketSpec,
    StdioSpec,
    UdpSpec,
)
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command
from qmpd.sockets import FdAddress, InetAddress

if TYPE_CHECKING:
    from qmpd.api.models import (
        ChardevBackend,
        ChardevSocket,
        QObjChardevAddArg,
        QObjChardevChangeArg,
        QObjChardevRemoveArg,
        QObjChardevSendBreakArg,
        QObjRingbufReadArg,
        QObjRingbufWriteArg,
        SocketAddressLegacy,
    )
    from qmpd.chardev.base import Chardev
    from qmpd.chardev.manager import Chardevs
    from qmpd.chardev.memory import RingbufChardev


class ChardevCommands:
    """query-chardev, query-chardev-backends, chardev-add, -change, -remove, -send-break, ringbuf-read, -write."""

    def __init__(self, chardevs: Chardevs) -> None:
        self._chardevs = chardevs

    @command("query-chardev")
    def query_chardev(self, ctx: RequestContext, args: None) -> list[dict[str, Any]]:
        """All devices."""
        return [
            {"frontend-open": device.in_use, "filename": device.filename, "label": device.label}
            for device in self._chardevs.describe()
        ]

    @command("query-chardev-backends")
    def query_backends(self, ctx: RequestContext, args: None) -> list[dict[str, str]]:
        """The kinds that there are."""
        return [{"name": name} for name in AVAILABLE]

    @command("chardev-add")
    async def add(self, ctx: RequestContext, args: QObjChardevAddArg) -> dict[str, str]:
        """Make a device.

        :raises GenericError: the id is taken, there is no such kind, or it cannot be opened.
        """
        return _told(await self._chardevs.add(chardev_spec(args.id, args.backend)))

    @command("chardev-change")
    async def change(self, ctx: RequestContext, args: QObjChardevChangeArg) -> dict[str, str]:
        """Put another device in the place of one.

        :raises GenericError: as for chardev-add; there is none, or it is in use.
        """
        return _told(await self._chardevs.change(chardev_spec(args.id, args.backend)))

    @command("chardev-remove")
    async def remove(self, ctx: RequestContext, args: QObjChardevRemoveArg) -> None:
        """Remove a device, also one that is not open yet.

        :raises GenericError: there is none, or it is in use.
        """
        if not await self._chardevs.give_up(args.id) or self._chardevs.has(args.id):
            self._chardevs.remove(args.id)

    @command("chardev-send-break")
    def send_break(self, ctx: RequestContext, args: QObjChardevSendBreakArg) -> None:
        """Send the break signal.

        :raises GenericError: there is no such device.
        """
        self._chardevs.find(args.id).send_break()

    @command("ringbuf-write")
    def ringbuf_write(self, ctx: RequestContext, args: QObjRingbufWriteArg) -> None:
        """Write to a ring buffer.

        :raises GenericError: there is none of that id, or `data` is not what `format` says.
        """
        ringbuf = self._find_ringbuf(args.device)
        data = args.data.encode(errors="surrogatepass")
        if args.format == "base64":
            from qmpd.objects.secret import decode_base64

            data = decode_base64(data, "'data'")
        ringbuf.write(data)

    @command("ringbuf-read")
    def ringbuf_read(self, ctx: RequestContext, args: QObjRingbufReadArg) -> str:
        """Take bytes out of a ring buffer.

        :raises GenericError: there is none of that id, or `size` is too small.
        """
        ringbuf = self._find_ringbuf(args.device)
        if args.size < 1:
            raise GenericError(f"'size' is {args.size}; it has to be at least 1")
        data = ringbuf.read(args.size)
        if args.format == "base64":
            from base64 import b64encode

            return b64encode(data).decode()
        return data.partition(b"\0")[0].decode(errors="replace")

    def _find_ringbuf(self, label: str) -> RingbufChardev:
        from qmpd.chardev.memory import RingbufChardev

        device = self._chardevs.find(label)
        if not isinstance(device, RingbufChardev):
            raise GenericError(f"Chardev {label!r} is no ring buffer")
        return device


def _told(device: Chardev) -> dict[str, str]:
    from qmpd.chardev.pty import PtyChardev

    return {"pty": device.path} if isinstance(device, PtyChardev) else {}


def chardev_spec(label: str, backend: ChardevBackend) -> ChardevSpec:
    """What `backend` describes.

    :raises GenericError: there is no such kind, or a setting asks for what there is not.
    """
    kind = str(backend.type)
    if kind in REFUSED:
        raise GenericError(f"Chardev {label!r} cannot be of type {kind!r}: {REFUSED[kind]}")
    data = backend.data
    log = None if data.logfile is None else LogSpec(data.logfile, bool(data.logappend))
    return _MAKERS[kind](label, data, log)


def _ringbuf(kind: str) -> Callable[[str, Any, LogSpec | None], RingbufSpec]:
    def make(label: str, data: Any, log: LogSpec | None) -> RingbufSpec:
        return RingbufSpec(label, RINGBUF_SIZE if data.size is None else data.size, kind, log=log)

    return make


def _socket(label: str, data: ChardevSocket, log: LogSpec | None) -> SocketSpec:
    from qmpd.commands.addresses import socket_address

    for member, value in (("telnet", data.telnet), ("tn3270", data.tn3270), ("websocket", data.websocket)):
        if value:
            raise GenericError(f"'backend.data.{member}' is not available; there are only plain sockets")
    if data.tls_creds is not None or data.tls_authz is not None:
        raise GenericError("'backend.data.tls-creds' is not available; chardevs do not speak TLS")
    server = data.server is not False
    if server and data.reconnect:
        raise GenericError("'backend.data.reconnect' is for clients; it needs 'server' to be false")
    if not server and data.wait is not None:
        raise GenericError("'backend.data.wait' is for servers; it needs 'server' to be true")
    if (data.reconnect or 0) < 0:
        raise GenericError(f"'backend.data.reconnect' is {data.reconnect}; it must not be negative")
    address = socket_address(data.addr, "backend.data.addr")
    if data.reconnect and isinstance(address, FdAddress):
        raise GenericError("'backend.data.reconnect' needs an address to connect to again, which a descriptor is not")
    return SocketSpec(label, address, server, bool(data.wait), data.reconnect or 0, log=log)


def _inet(address: SocketAddressLegacy, member: str) -> InetAddress:
    from qmpd.commands.addresses import socket_address

    found = socket_address(address, f"backend.data.{member}")
    if not isinstance(found, InetAddress):
        raise GenericError(f"'backend.data.{member}.type' has to be 'inet': datagrams go from port to port")
    return found


def _udp(label: str, data: Any, log: LogSpec | None) -> UdpSpec:
    local = None if data.local is None else _inet(data.local, "local")
    return UdpSpec(label, _inet(data.remote, "remote"), local, log=log)


def _file(label: str, data: Any, log: LogSpec | None) -> FileSpec:
    return FileSpec(label, data.out, data.in_, bool(data.append), log=log)


_MAKERS: dict[str, Callable[[str, Any, LogSpec | None], ChardevSpec]] = {
    "file": _file,
    "memory": _ringbuf("memory"),
    "null": lambda label, data, log: NullSpec(label, log=log),
    "pipe": lambda label, data, log: PipeSpec(label, data.device, log=log),
    "pty": lambda label, data, log: PtySpec(label, log=log),
    "ringbuf": _ringbuf("ringbuf"),
    "serial": lambda label, data, log: SerialSpec(label, data.device, log=log),
    "socket": _socket,
    "stdio": lambda label, data, log: StdioSpec(label, log=log),
    "udp": _udp,
}
