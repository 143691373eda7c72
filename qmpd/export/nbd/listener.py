"""Listening sockets that hand out raw accepted sockets, and can be paused.

The NBD connection works on sockets directly, so asyncio's servers, which come with transports, are of no use here.
Leans on `qmpd.sockets`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from qmpd.sockets import Address, ListeningSockets

log = logging.getLogger(__name__)

_BACKLOG = 128
_ACCEPT_AT_ONCE = 16
_RETRY_SECONDS = 1.0


class Listener:
    """Accepts clients between `resume` and `pause`, once `open`.

    :param accepted: called with each client's socket.
    """

    def __init__(self, accepted: Callable[[socket.socket], None]) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._listening = ListeningSockets()
        self._accepting = False
        self._retry: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> list[object]:
        """Where it listens, as the socket module names it."""
        return [sock.getsockname() for sock in self._listening.sockets]

    async def open(self, address: Address) -> None:
        """Bind and listen; accepts nobody before `resume`.

        :raises OSError: the address cannot be used, or is in use.
        """
        self._listening = await ListeningSockets.open(address, _BACKLOG)

    def resume(self) -> None:
        """Accept clients."""
        if self._accepting:
            return
        self._accepting = True
        for sock in self._listening.sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def pause(self) -> None:
        """Leave new clients in the queue."""
        if not self._accepting:
            return
        self._accepting = False
        for sock in self._listening.sockets:
            self._loop.remove_reader(sock.fileno())

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        self.pause()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._listening.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            if not self._accepting:
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
