"""A pseudo terminal: somebody else opens its other side, goes, and comes again.

The kernel tells when the other side is closed, but not when it is opened; so a device that nobody is at looks for it
a few times a second, as QEMU does once a second.
"""

from __future__ import annotations

import asyncio
import os
import select
import tty

from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import MakeEndpoint
from qmpd.chardev.specs import PtySpec
from qmpd.chardev.transport import StreamTransport

POLL_SECONDS = 0.2


class PtyChardev(Chardev):
    """A new pseudo terminal.

    :ivar path: its other side.
    """

    def __init__(self, spec: PtySpec) -> None:
        super().__init__(spec)
        self.path = ""
        self._fd: int | None = None
        self._make: MakeEndpoint | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._transport: StreamTransport | None = None

    @property
    def filename(self) -> str:
        return f"pty:{self.path}"

    async def open_device(self) -> None:
        self._fd, other = os.openpty()
        try:
            self.path = os.ttyname(other)
            tty.setraw(other)
            os.set_blocking(self._fd, False)
        finally:
            os.close(other)

    async def serve_device(self, make: MakeEndpoint) -> None:
        self._make = make
        self._look()

    def stop(self) -> None:
        self._make = None
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def close_device(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _look(self) -> None:
        """Serve whoever is at the other side by now."""
        self._next_look = None
        if self._make is None or self._fd is None:
            return
        if is_hung_up(self._fd):
            self._next_look = asyncio.get_running_loop().call_later(POLL_SECONDS, self._look)
        else:
            self._transport = StreamTransport(self._make(None), self._fd, self._fd, self._over)

    def _over(self) -> None:
        self._transport = None
        self._look()


def is_hung_up(fd: int) -> bool:
    """Whether nobody is at the other side of a terminal."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
