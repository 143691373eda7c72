"""Listening sockets that hand out raw accepted sockets, and can be paused.

The NBD connection works on sockets directly, so asyncio's servers, which come with transports, are of no use here.
Leans on the address types of the monitor's chardevs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from qmpd.monitor.chardev import FdAddress, InetAddress, UnixAddress

log = logging.getLogger(__name__)

ListenAddress = UnixAddress | InetAddress | FdAddress

_BACKLOG = 128
_SOCKET_MODE = 0o600
_ACCEPT_AT_ONCE = 16
_RETRY_SECONDS = 1.0


class Listener:
    """Accepts clients between `resume` and `pause`, once `open`.

    :param accepted: called with each client's socket.
    """

    def __init__(self, accepted: Callable[[socket.socket], None]) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._file: tuple[Path, os.stat_result] | None = None
        self._listening = False
        self._retry: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> list[object]:
        """Where it listens, as the socket module names it."""
        return [sock.getsockname() for sock in self._sockets]

    async def open(self, address: ListenAddress) -> None:
        """Bind and listen; accepts nobody before `resume`.

        :raises OSError: the address cannot be used, or is in use.
        """
        try:
            if isinstance(address, UnixAddress):
                self._bind_unix(address)
            elif isinstance(address, InetAddress):
                await self._bind_inet(address)
            else:
                self._sockets.append(socket.socket(fileno=os.dup(address.fd)))
            for sock in self._sockets:
                sock.setblocking(False)
                sock.listen(_BACKLOG)
        except BaseException:
            self.close()
            raise

    def resume(self) -> None:
        """Accept clients."""
        if self._listening:
            return
        self._listening = True
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def pause(self) -> None:
        """Leave new clients in the queue."""
        if not self._listening:
            return
        self._listening = False
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        self.pause()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        if self._file is not None:
            path, created = self._file
            self._file = None
            with contextlib.suppress(FileNotFoundError):
                # Another server may have taken the place.
                if os.path.samestat(path.lstat(), created):
                    path.unlink()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            if not self._listening:
                return
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely out of descriptors: the queue stays readable, so look away for a moment.
                log.warning("the NBD server cannot accept a client: %s", error.strerror)
                self.pause()
                self._retry = self._loop.call_later(_RETRY_SECONDS, self.resume)
                return
            self._accepted(sock)

    def _bind_unix(self, address: UnixAddress) -> None:
        if not address.abstract:
            _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(sock)
        # The socket's own mode becomes that of the file: there is no moment in which others could connect.
        os.fchmod(sock.fileno(), _SOCKET_MODE)
        sock.bind(address.name)
        if not address.abstract:
            path = Path(address.path).absolute()
            self._file = path, path.stat()

    async def _bind_inet(self, address: InetAddress) -> None:
        ports = [address.port]
        if address.to and address.port.isdigit():
            ports += [str(port) for port in range(int(address.port) + 1, address.to + 1)]
        for number, port in enumerate(ports, 1):
            try:
                await self._bind_port(address, port)
                return
            except OSError:
                for sock in self._sockets:
                    sock.close()
                self._sockets.clear()
                if number == len(ports):
                    raise

    async def _bind_port(self, address: InetAddress, port: str) -> None:
        try:
            infos = await self._loop.getaddrinfo(
                address.host or None,
                port,
                family=address.family,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
        except socket.gaierror as error:
            raise OSError(None, f"the address cannot be resolved: {error.strerror}") from error
        for family, kind, proto, _, name in infos:
            sock = socket.socket(family, kind, proto)
            self._sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
            # Two servers may be bound to one port until one of them listens; find out here.
            sock.listen(_BACKLOG)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens at any more.

    :raises OSError: somebody does, or there is something else of that name.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(None, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            # Somebody listens, only the queue is full.
            pass
    raise OSError(None, "another process listens there")
