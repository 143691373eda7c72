"""Socket addresses, and sockets that listen at them or are connected to them.

The one place where the daemon binds and connects, for monitors and for exports. Errors are `OSError`; a name that no
system call takes (a null character in it, a label too long, a number out of range) is a `ValueError` or
`OverflowError`. Knows nothing of what is spoken over the sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qmpd.errors import GenericError

SOCKET_MODE = 0o600
MAX_PORT = 65535
_DIGITS = 10
"""Of the largest number that a descriptor can have."""


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
    :param port: a number or the name of a service.
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

    def ports(self) -> Iterator[str]:
        """The ports to try for listening, in turn."""
        yield self.port
        if self.to and self.port.isdecimal():
            yield from map(str, range(int(self.port) + 1, self.to + 1))


@dataclass(frozen=True, slots=True)
class FdAddress:
    """A socket that the daemon's parent opened: a file descriptor's number."""

    fd: int

    @classmethod
    def from_text(cls, text: str, member: str) -> FdAddress:
        """The descriptor that a client has named.

        :param member: where it stands, for messages.
        :raises GenericError: it is no number that a descriptor can have.
        """
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise GenericError(f"'{member}' must be the number of a descriptor that this process was handed")
        return cls(int(text))

    def __str__(self) -> str:
        return f"fd:{self.fd}"


Address = UnixAddress | InetAddress | FdAddress


class ListeningSockets:
    """Sockets that listen at one address, and the file in which a Unix socket shows.

    :ivar sockets: non-blocking; whoever takes them over empties the list.
    """

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self._file: tuple[Path, os.stat_result] | None = None
        self._given = -1

    @classmethod
    async def open(cls, address: Address, backlog: int) -> ListeningSockets:
        """Bind and listen.

        :raises OSError: the address cannot be used, or is in use.
        """
        listening = cls()
        try:
            if isinstance(address, UnixAddress):
                listening._bind_unix(address)
            elif isinstance(address, InetAddress):
                listening.sockets = await _bind_inet(address, backlog)
            else:
                listening._take_given(address.fd)
            for sock in listening.sockets:
                sock.listen(backlog)
        except BaseException:
            listening.close()
            raise
        return listening

    def close(self) -> None:
        """Close the sockets that nobody has taken over, and remove the file."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        if self._file is not None:
            _remove_own(*self._file)
            self._file = None
        given, self._given = self._given, -1
        if given >= 0:
            os.set_inheritable(given, True)

    def _take_given(self, fd: int) -> None:
        """Listen at a socket that was handed over, by a copy: when that is closed, it can be taken up again."""
        _check_given(fd)
        copy = os.dup(fd)
        try:
            sock = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            raise
        self.sockets.append(sock)
        sock.setblocking(False)
        os.set_inheritable(fd, False)
        self._given = fd

    def _bind_unix(self, address: UnixAddress) -> None:
        if not address.abstract:
            _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(sock)
        sock.setblocking(False)
        # The socket's own mode becomes that of the file: there is no moment in which others could connect.
        os.fchmod(sock.fileno(), SOCKET_MODE)
        sock.bind(address.name)
        if not address.abstract:
            path = Path(address.path).absolute()  # the working directory may change
            self._file = path, path.stat()


async def connect(address: Address) -> socket.socket:
    """A connected, non-blocking socket.

    :raises OSError: nobody listens there, or it cannot be reached.
    """
    if isinstance(address, FdAddress):
        return _adopt(address.fd)
    if isinstance(address, UnixAddress):
        return await _connect_one(socket.AF_UNIX, 0, address.name)
    failure = OSError(f"host {address.host!r} has no address of the wanted kind")
    for family, _, proto, _, name in await _resolve(address):
        try:
            return await _connect_one(family, proto, name)
        except OSError as error:
            failure = error
    raise failure


async def open_datagram(remote: InetAddress, local: InetAddress | None) -> socket.socket:
    """A non-blocking UDP socket between two addresses; without `local`, the kernel picks that.

    :raises OSError: an address cannot be used.
    """
    family, _, proto, _, there = (await _resolve(remote, kind=socket.SOCK_DGRAM))[0]
    sock = socket.socket(family, socket.SOCK_DGRAM, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            same = replace(local, ipv4=family == socket.AF_INET, ipv6=family == socket.AF_INET6)
            sock.bind((await _resolve(same, socket.AI_PASSIVE, socket.SOCK_DGRAM))[0][4])
        sock.connect(there)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_given(fd: int) -> None:
    """Pass if the process was handed the descriptor `fd` by whoever started it, and does not use it.

    All that the process opens itself is closed on exec, and so is what it has taken up, which is the sign. A number
    that is named later cannot lead to somebody's connection, to an image, or to a socket that is taken already.

    :raises OSError: there is no such descriptor, or it is not one of those.
    """
    if fd >= 1 << 31 or not os.get_inheritable(fd):
        raise OSError(errno.EBADF, "it was not handed to this process, or is in use")


def _adopt(fd: int) -> socket.socket:
    """A connected socket that was handed over, and belongs to the caller from now on.

    :raises OSError: as `_check_given`, or it is no socket.
    """
    _check_given(fd)
    sock = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    sock.setblocking(False)
    return sock


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


def _check_port(port: str) -> None:
    # The resolver of the C library takes any number, and cuts off what is too much.
    digits = port.strip().removeprefix("+").removeprefix("-")
    if digits.isdecimal() and not 0 <= int(port) <= MAX_PORT:
        raise OSError(f"port {port} is out of range: there are ports from 0 to {MAX_PORT}")


async def _resolve(address: InetAddress, flags: int = 0, kind: int = socket.SOCK_STREAM) -> list[Any]:
    _check_port(address.port)
    loop = asyncio.get_running_loop()
    try:
        return await loop.getaddrinfo(
            address.host or None,
            address.port,
            family=address.family,
            type=kind,
            flags=flags,
        )
    except socket.gaierror as error:  # its numbers are not errno's
        raise OSError(f"address {address} has no meaning here: {error.strerror}") from error


async def _bind_inet(address: InetAddress, backlog: int) -> list[socket.socket]:
    """A socket for each of the host's addresses, on the first port that is free on all of them."""
    failure = OSError(f"address {address} has no port to bind")
    for port in address.ports():
        infos = await _resolve(replace(address, port=port), socket.AI_PASSIVE)
        try:
            return _bind_all(infos, backlog)
        except OSError as error:
            failure = error
    raise failure


def _bind_all(infos: list[Any], backlog: int) -> list[socket.socket]:
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
            # Two servers may be bound to one port until one of them listens; that has to be found out here.
            sock.listen(backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _connect_one(family: int, proto: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock
