"""Character devices as far as a monitor needs them: sockets, as server or client, and standard input and output.

A chardev is opened in two steps, because the command line is worked through in order but clients are served only
when all of it has been: `open` binds and listens (or connects), `serve` begins to hand connections to the monitor.
Errors of `open` are `OSError` and end the daemon's start.

A listening socket takes any number of clients (QEMU takes one at a time).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from qmpd.monitor.stdio import open_stdio

log = logging.getLogger(__name__)

BACKLOG = 1024
SOCKET_MODE = 0o600

MakeProtocol = Callable[[Callable[[], None] | None], asyncio.Protocol]
"""Makes the protocol object of a connection; it calls the function it is given when the connection is over."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket: in the file system, or (Linux) in the abstract namespace.

    :param tight: an abstract name has no padding behind it.
    """

    path: str
    abstract: bool = False
    tight: bool = True

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def name(self) -> str | bytes:
        """The address as the socket module takes it."""
        if not self.abstract:
            return self.path
        name = b"\0" + os.fsencode(self.path)
        return name if self.tight else name.ljust(108, b"\0")


@dataclass(frozen=True, slots=True)
class InetAddress:
    """A TCP address.

    :param host: a name or number; empty for all of this host's when listening.
    :param to: when listening, the last of the ports to try, or 0.
    :param ipv4: True or False to ask for or exclude IPv4, None where it does not matter; `ipv6` likewise.
    """

    host: str
    port: str
    to: int = 0
    ipv4: bool | None = None
    ipv6: bool | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """The one address family that is left, or AF_UNSPEC."""
        if self.ipv4 and self.ipv6:
            return socket.AF_UNSPEC
        if self.ipv4 or self.ipv6 is False:
            return socket.AF_INET
        if self.ipv6 or self.ipv4 is False:
            return socket.AF_INET6
        return socket.AF_UNSPEC


@dataclass(frozen=True, slots=True)
class FdAddress:
    """A socket that the daemon's parent opened: a file descriptor's number."""

    fd: int

    def __str__(self) -> str:
        return f"fd:{self.fd}"


Address = UnixAddress | InetAddress | FdAddress


@dataclass(frozen=True, slots=True)
class SocketChardev:
    """`--chardev socket`.

    :param server: listen; otherwise connect.
    :param wait: as server, the start of the daemon waits for the first client.
    :param reconnect: as client, seconds until a lost connection is tried again; 0 for never.
    """

    id: str
    address: Address
    server: bool = False
    wait: bool = True
    reconnect: int = 0


@dataclass(frozen=True, slots=True)
class StdioChardev:
    """`--chardev stdio`."""

    id: str


ChardevOptions = SocketChardev | StdioChardev


class Chardev(Protocol):
    """An open character device."""

    async def open(self) -> None:
        """Bind and listen, or connect. Raises `OSError`."""

    async def serve(self, make_protocol: MakeProtocol) -> None:
        """Hand connections to protocols made by `make_protocol`, from now on."""

    async def close(self) -> None:
        """Take no more connections and remove what `open` left in the file system."""


def make_chardev(options: ChardevOptions, spawn: Spawn) -> Chardev:
    """The chardev that `options` describe, not yet open.

    :param spawn: runs the reconnecting client in the background.
    """
    if isinstance(options, StdioChardev):
        return _Stdio()
    if options.server:
        return _Listener(options)
    return _Client(options, spawn)


class _Listener:
    """A listening socket."""

    def __init__(self, options: SocketChardev) -> None:
        self._options = options
        self._sockets: list[socket.socket] = []
        self._first: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._file: tuple[Path, os.stat_result] | None = None

    async def open(self) -> None:
        address = self._options.address
        if isinstance(address, UnixAddress):
            self._sockets = [self._bind_unix(address)]
        elif isinstance(address, InetAddress):
            self._sockets = await _bind_inet(address)
        else:
            self._sockets = [_inherited(address)]
        for sock in self._sockets:
            sock.listen(BACKLOG)
        if self._options.wait:
            sys.stderr.write(f"qmpd: waiting for connection on: {self._options.address}\n")
            sys.stderr.flush()
            self._first = await _accept_first(self._sockets)

    def _bind_unix(self, address: UnixAddress) -> socket.socket:
        if not address.abstract:
            _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # The socket's own mode becomes that of the file: no moment in which others could connect.
            os.fchmod(sock.fileno(), SOCKET_MODE)
            sock.bind(address.name)
            if not address.abstract:
                path = Path(address.path).absolute()  # the working directory may change
                self._file = path, path.stat()
        except BaseException:
            sock.close()
            raise
        return sock

    async def serve(self, make_protocol: MakeProtocol) -> None:
        loop = asyncio.get_running_loop()

        def factory() -> asyncio.Protocol:
            return make_protocol(None)

        first, self._first = self._first, None
        if first is not None:
            await loop.connect_accepted_socket(factory, first)
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for sock in self._sockets:
            sock.close()
        if self._first is not None:
            self._first.close()
        if self._file is not None:
            _remove_own(*self._file)
            self._file = None


class _Client:
    """A connection that the daemon makes."""

    def __init__(self, options: SocketChardev, spawn: Spawn) -> None:
        self._options = options
        self._spawn = spawn
        self._socket: socket.socket | None = None
        self._make: MakeProtocol | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        try:
            self._socket = await _connect(self._options.address)
        except OSError as error:
            if not self._options.reconnect:
                raise
            log.info("chardev %s: %s: %s", self._options.id, self._options.address, error)

    async def serve(self, make_protocol: MakeProtocol) -> None:
        self._make = make_protocol
        sock, self._socket = self._socket, None
        if sock is None:
            self._lost()
        else:
            await self._attach(sock)

    async def close(self) -> None:
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _attach(self, sock: socket.socket) -> None:
        make = self._make
        assert make is not None
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: make(self._lost), sock=sock)
        except OSError:
            sock.close()
            raise

    def _lost(self) -> None:
        """The connection is over: try again in a while, if that was asked for."""
        if self._closed or not self._options.reconnect:
            return
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(self._options.reconnect, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        try:
            sock = await _connect(self._options.address)
            if self._closed:
                sock.close()
                return
            await self._attach(sock)
        except OSError as error:
            log.debug("chardev %s: %s: %s", self._options.id, self._options.address, error)
            self._lost()


class _Stdio:
    """Standard input and output as one connection."""

    def __init__(self) -> None:
        self._close: Callable[[], None] | None = None

    async def open(self) -> None:
        """Nothing to do: they are open."""

    async def serve(self, make_protocol: MakeProtocol) -> None:
        self._close = await open_stdio(make_protocol(None))

    async def close(self) -> None:
        if self._close is not None:
            self._close()


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on.

    :raises OSError: somebody does, or the path is something else.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path!r} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass  # alive, with a full queue
        except FileNotFoundError:
            return
    raise OSError(f"another process listens on {path!r}")


def _remove_own(path: Path, created: os.stat_result) -> None:
    """Remove the socket file, unless another has taken its place."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), created):
            path.unlink()


def _inherited(address: FdAddress) -> socket.socket:
    """The socket that has the number `address.fd`."""
    sock = socket.socket(fileno=address.fd)
    sock.setblocking(False)
    return sock


async def _resolve(address: InetAddress, flags: int = 0) -> list[Any]:
    loop = asyncio.get_running_loop()
    try:
        return await loop.getaddrinfo(
            address.host or None,
            address.port,
            family=address.family,
            type=socket.SOCK_STREAM,
            flags=flags,
        )
    except socket.gaierror as error:  # its numbers are not errno's
        raise OSError(f"address {address} has no meaning here: {error.strerror}") from error


async def _bind_inet(address: InetAddress) -> list[socket.socket]:
    """A bound socket for each of the host's addresses; the ports up to `address.to` are tried in turn."""
    ports = [address.port]
    if address.to:
        ports += map(str, range(int(address.port) + 1, address.to + 1))
    failure = OSError(f"address {address} has no port to bind")
    for port in ports:
        infos = await _resolve(replace(address, port=port), socket.AI_PASSIVE)
        try:
            return _bind_all(infos)
        except OSError as error:
            failure = error
    raise failure


def _bind_all(infos: list[Any]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, name in infos:
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _accept_first(sockets: list[socket.socket]) -> socket.socket:
    """The first client on any of `sockets`."""
    loop = asyncio.get_running_loop()
    tasks = [asyncio.ensure_future(loop.sock_accept(sock)) for sock in sockets]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        client, _ = done.pop().result()
        client.setblocking(False)
        return client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connect(address: Address) -> socket.socket:
    """A connected socket; raises `OSError`."""
    if isinstance(address, FdAddress):
        return _inherited(address)
    if isinstance(address, UnixAddress):
        return await _connect_one(socket.AF_UNIX, 0, address.name)
    failure = OSError(f"host {address.host!r} has no address of the wanted kind")
    for family, _, proto, _, name in await _resolve(address):
        try:
            return await _connect_one(family, proto, name)
        except OSError as error:
            failure = error
    raise failure


async def _connect_one(family: int, proto: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock
