"""Datagrams. There is nobody here who would speak in them, so the device is only there, and leaves them unread."""

from __future__ import annotations

import socket

from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import MakeEndpoint
from qmpd.chardev.specs import UdpSpec
from qmpd.sockets import open_datagram


class UdpChardev(Chardev):
    """A UDP socket."""

    filename = "udp"
    streams = False

    def __init__(self, spec: UdpSpec) -> None:
        super().__init__(spec)
        self._remote, self._local = spec.remote, spec.local
        self._socket: socket.socket | None = None

    async def open_device(self) -> None:
        self._socket = await open_datagram(self._remote, self._local)

    async def serve_device(self, make: MakeEndpoint) -> None:
        raise ValueError("datagrams carry no stream of bytes, as a user needs it")

    def close_device(self) -> None:
        if self._socket is not None:
            self._socket.close()
