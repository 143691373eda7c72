"""Standard input and output as one asyncio transport, so that a monitor can live on a terminal or two pipes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any


class _Transport(asyncio.Transport):
    """Reads from one pipe transport, writes to another."""

    def __init__(self, reader: asyncio.ReadTransport, writer: asyncio.WriteTransport) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._writer.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._writer.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        self._reader.pause_reading()

    def resume_reading(self) -> None:
        self._reader.resume_reading()

    def is_closing(self) -> bool:
        return self._writer.is_closing()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def abort(self) -> None:
        self._reader.close()
        self._writer.abort()


class _Input(asyncio.Protocol):
    """Standard input's events, for the one protocol."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.eof_received()


class _Output(asyncio.BaseProtocol):
    """Standard output's events, for the one protocol."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


async def open_stdio(protocol: asyncio.Protocol) -> Callable[[], None]:
    """Connect `protocol` to standard input and output; the result closes both.

    :raises ValueError: one of them is a regular file.
    """
    loop = asyncio.get_running_loop()
    writer, _ = await loop.connect_write_pipe(lambda: _Output(protocol), sys.stdout)
    reader, _ = await loop.connect_read_pipe(lambda: _Input(protocol), sys.stdin)
    reader.pause_reading()
    transport = _Transport(reader, writer)
    protocol.connection_made(transport)
    reader.resume_reading()
    return transport.close
