"""Character devices as far as a monitor needs them: sockets, as server or client, and standard input and output.

A chardev is opened in two steps, because the command line is worked through in order but clients are served only
when all of it has been: `open` binds and listens (or connects), `serve` begins to hand connections to the monitor.
Errors of `open` are `OSError` and end the daemon's start.

A listening socket takes any number of clients (QEMU takes one at a time).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from qmpd.monitor.stdio import open_stdio
from qmpd.sockets import Address, ListeningSockets, connect

log = logging.getLogger(__name__)

BACKLOG = 1024

MakeProtocol = Callable[[Callable[[], None] | None], asyncio.Protocol]
"""Makes the protocol object of a connection; it calls the function it is given when the connection is over."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


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
        self._listening = ListeningSockets()
        self._first: socket.socket | None = None
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        self._listening = await ListeningSockets.open(self._options.address, BACKLOG)
        if self._options.wait:
            sys.stderr.write(f"qmpd: waiting for connection on: {self._options.address}\n")
            sys.stderr.flush()
            self._first = await _accept_first(self._listening.sockets)

    async def serve(self, make_protocol: MakeProtocol) -> None:
        loop = asyncio.get_running_loop()

        def factory() -> asyncio.Protocol:
            return make_protocol(None)

        first, self._first = self._first, None
        if first is not None:
            await loop.connect_accepted_socket(factory, first)
        sockets = self._listening.sockets
        while sockets:
            sock = sockets.pop(0)
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        if self._first is not None:
            self._first.close()
        self._listening.close()


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
            self._socket = await connect(self._options.address)
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
            sock = await connect(self._options.address)
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
