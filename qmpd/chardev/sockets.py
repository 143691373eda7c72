"""Sockets as character devices, as server or client.

A listening socket takes any number of clients for its user (QEMU takes one at a time). Without a user it takes one at
a time, too, and leaves what that one sends unread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import sys
from collections.abc import Callable

from qmpd.chardev.base import Chardev, Spawn
from qmpd.chardev.endpoint import Endpoint, MakeEndpoint
from qmpd.chardev.names import connection_name, listening_name, remote_name
from qmpd.chardev.specs import SocketSpec
from qmpd.sockets import ListeningSockets, connect

log = logging.getLogger(__name__)

BACKLOG = 1024
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 1.0
"""Seconds after which somebody is let in who could not be for want of descriptors or memory."""


class ListeningChardev(Chardev):
    """A listening socket."""

    def __init__(self, spec: SocketSpec) -> None:
        super().__init__(spec)
        self._address, self._wait = spec.address, spec.wait
        self._listening = ListeningSockets()
        self._name = ""
        self._first: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._endpoints: dict[Endpoint, None] = {}
        self._watched: list[socket.socket] = []
        self._held: _Held | None = None
        self._resume: asyncio.TimerHandle | None = None

    @property
    def filename(self) -> str:
        if self._held is not None:
            return connection_name(self._held.socket, server=True)
        for endpoint in reversed(self._endpoints):
            if endpoint.transport is not None:
                return connection_name(endpoint.transport.get_extra_info("socket"), server=True)
        return f"disconnected:{self._name}"

    async def open_device(self) -> None:
        self._listening = await ListeningSockets.open(self._address, BACKLOG)
        self._name = listening_name(self._listening.sockets[0])
        if self._wait:
            sys.stderr.write(f"qmpd: waiting for connection on: {self.filename}\n")
            sys.stderr.flush()
            self._first = await _accept_first(self._listening.sockets)

    async def serve_device(self, make: MakeEndpoint) -> None:
        loop = asyncio.get_running_loop()

        def factory() -> Endpoint:
            endpoint = make(lambda: self._endpoints.pop(endpoint, None))
            self._endpoints[endpoint] = None
            return endpoint

        first, self._first = self._first, None
        if first is not None:
            await loop.connect_accepted_socket(factory, first)
        sockets = self._listening.sockets
        while sockets:
            sock = sockets.pop(0)
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    async def hold(self) -> None:
        first, self._first = self._first, None
        if first is None:
            self._watch()
        else:
            self._held = _Held(first, self._lost)

    def stop(self) -> None:
        self._unwatch()
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._listening.close()

    def close_device(self) -> None:
        for sock in (self._first, self._held):
            if sock is not None:
                sock.close()
        self._first = self._held = None

    def _watch(self) -> None:
        """Accept the next client when there is one."""
        loop = asyncio.get_running_loop()
        self._watched = list(self._listening.sockets)
        for sock in self._watched:
            loop.add_reader(sock, self._accept, sock)

    def _unwatch(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        for sock in self._watched:
            asyncio.get_running_loop().remove_reader(sock)
        self._watched.clear()

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if error.errno in _SHORTAGES:
                self._pause()
            return  # otherwise it has gone away again
        self._unwatch()
        try:
            self._held = _Held(sock, self._lost)
        except OSError:
            sock.close()
            self._pause()

    def _pause(self) -> None:
        """There is not enough to accept anybody: look again later, instead of all the time."""
        self._unwatch()
        self._resume = asyncio.get_running_loop().call_later(_PAUSE, self._watch)

    def _lost(self) -> None:
        self._held = None
        self._watch()


class ConnectingChardev(Chardev):
    """A connection that the daemon makes."""

    def __init__(self, spec: SocketSpec, spawn: Spawn) -> None:
        super().__init__(spec)
        self._id, self._address, self._pause = spec.id, spec.address, spec.reconnect
        self._spawn = spawn
        self._socket: socket.socket | None = None
        self._make: MakeEndpoint | None = None
        self._endpoint: Endpoint | None = None
        self._held: _Held | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def filename(self) -> str:
        transport = None if self._endpoint is None else self._endpoint.transport
        if transport is not None:
            return connection_name(transport.get_extra_info("socket"), server=False)
        if self._held is not None:
            return connection_name(self._held.socket, server=False)
        return f"disconnected:{remote_name(self._address)}"

    async def open_device(self) -> None:
        try:
            self._socket = await connect(self._address)
        except OSError as error:
            if not self._pause:
                raise
            log.info("chardev %s: %s: %s", self._id, self._address, error)

    async def serve_device(self, make: MakeEndpoint) -> None:
        self._make = make
        await self.hold()

    async def hold(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            self._lost()
        else:
            await self._attach(sock)

    def stop(self) -> None:
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()

    def close_device(self) -> None:
        for sock in (self._socket, self._held):
            if sock is not None:
                sock.close()
        self._socket = self._held = None

    async def _attach(self, sock: socket.socket) -> None:
        make = self._make
        if make is None:
            self._held = _Held(sock, self._lost)
            return
        try:
            _, self._endpoint = await asyncio.get_running_loop().create_connection(lambda: make(self._lost), sock=sock)
        except OSError:
            sock.close()
            raise

    def _lost(self) -> None:
        """The connection is over: try again in a while, if that was asked for."""
        self._held = self._endpoint = None
        if self._stopped or not self._pause:
            return
        self._retry = asyncio.get_running_loop().call_later(self._pause, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        try:
            sock = await connect(self._address)
            if self._stopped:
                sock.close()
                return
            await self._attach(sock)
        except OSError as error:
            log.debug("chardev %s: %s: %s", self._id, self._address, error)
            self._lost()


class _Held:
    """A connection that nobody reads from.

    :param on_hangup: called when the other side has hung up; the socket is closed by then.
    """

    def __init__(self, sock: socket.socket, on_hangup: Callable[[], None]) -> None:
        self.socket = sock
        self._on_hangup = on_hangup
        self._poll = select.epoll()
        try:
            self._poll.register(sock, select.EPOLLRDHUP)
        except OSError:
            self._poll.close()
            raise
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._hung_up)

    def close(self) -> None:
        """Hang up."""
        asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()
        self.socket.close()

    def _hung_up(self) -> None:
        self.close()
        self._on_hangup()


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
