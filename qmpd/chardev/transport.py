"""Asyncio transports of plain file descriptors: pipes, terminals, regular files.

The loop's own pipe transports refuse regular files, and everything else that the kernel says is always ready
(/dev/null); those are read a piece a turn here. The transports never close a descriptor: its owner does.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from typing import Any

PIECE = 64 << 10
HIGH = 64 << 10


class _Base(asyncio.Transport):
    """What does not depend on where bytes come from and go to.

    :param on_closed: called after the protocol's `connection_lost`.
    """

    def __init__(self, protocol: asyncio.Protocol, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self._protocol = protocol
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._over = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to limit."""

    def pause_reading(self) -> None:
        """Nothing to read."""

    def resume_reading(self) -> None:
        """Nothing to read."""

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._over:
            self._over = True
            self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
        self._on_closed()


class SinkTransport(_Base):
    """Gives nothing, and hands all that is written to a function."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        take: Callable[[bytes | bytearray | memoryview], None],
        on_closed: Callable[[], None],
    ) -> None:
        super().__init__(protocol, on_closed)
        self._take = take
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._take(data)


class StreamTransport(_Base):
    """Reads from one file descriptor and writes to another, both non-blocking.

    :param reader: None to read nothing.
    """

    def __init__(
        self, protocol: asyncio.Protocol, reader: int | None, writer: int, on_closed: Callable[[], None]
    ) -> None:
        super().__init__(protocol, on_closed)
        self._reader = None if reader is None else _Reader(self._loop, reader, self._received)
        self._writer = writer
        self._unsent = bytearray()
        self._high, self._low = HIGH, HIGH // 4
        self._paused = False
        protocol.connection_made(self)
        self.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self) -> None:
        if self._reader is not None:
            self._reader.stop()

    def resume_reading(self) -> None:
        if self._reader is not None and not self._closing:
            self._reader.start()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if not self._unsent:
            data = memoryview(data)[self._send(data) :]
            if not data or self._closing:
                return
            self._loop.add_writer(self._writer, self._send_rest)
        self._unsent += data
        if not self._paused and len(self._unsent) > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """End when all that was written has gone out."""
        self._closing = True
        self.pause_reading()
        if not self._unsent:
            self._end(None)

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """Write what goes now; how many bytes those are."""
        try:
            return os.write(self._writer, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(error)
            return 0

    def _send_rest(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if self._paused and len(self._unsent) <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if not self._unsent:
            self._loop.remove_writer(self._writer)
            if self._closing:
                self._end(None)

    def _received(self, data: bytes | OSError) -> None:
        if isinstance(data, OSError):
            self._end(data)
        elif data:
            self._protocol.data_received(data)
        else:
            self.pause_reading()
            self._reader = None
            if not self._protocol.eof_received():
                self.close()

    def _end(self, error: Exception | None) -> None:
        self.pause_reading()
        if self._unsent:
            self._loop.remove_writer(self._writer)
            self._unsent.clear()
        super()._end(error)


class _Reader:
    """Reads from a descriptor: when it is ready, or in every turn of the loop if it always is.

    :param received: gets data, nothing at the end, or what went wrong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, received: Callable[[bytes | OSError], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._received = received
        self._ready_always = not can_be_polled(fd)
        self._next: asyncio.Handle | None = None
        self._reading = False

    def start(self) -> None:
        """Read from now on; may be called again."""
        if self._reading:
            return
        self._reading = True
        if self._ready_always:
            self._next = self._loop.call_soon(self._read_on)
        else:
            self._loop.add_reader(self._fd, self._read)

    def stop(self) -> None:
        """Read nothing from now on; may be called again."""
        if not self._reading:
            return
        self._reading = False
        if self._next is not None:
            self._next.cancel()
            self._next = None
        else:
            self._loop.remove_reader(self._fd)

    def _read_on(self) -> None:
        self._next = self._loop.call_soon(self._read_on)
        self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._received(error)
            return
        self._received(data)


def can_be_polled(fd: int) -> bool:
    """Whether the kernel tells when `fd` is ready; it does not for what always is."""
    with select.epoll() as poll:
        try:
            poll.register(fd, 0)
        except PermissionError:
            return False
    return True
