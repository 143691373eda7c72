"""A copy, in a file, of all that is written to a character device.

Written at once and in place, as QEMU does: it is a few bytes to the page cache, and what a crash leaves of it is the
reason to have it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, cast

from qmpd.chardev.endpoint import Endpoint
from qmpd.chardev.specs import LogSpec

log = logging.getLogger(__name__)

_MODE = 0o666


class LogFile:
    """The file.

    :raises OSError: it cannot be opened.
    """

    def __init__(self, spec: LogSpec) -> None:
        self._path = spec.path
        beginning = os.O_APPEND if spec.append else os.O_TRUNC
        self._fd = os.open(spec.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | beginning, _MODE)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write behind what is there; a full disk costs the log, not the device."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            log.warning("log file %s: %s", self._path, error)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class LoggedEndpoint(Endpoint):
    """Stands before an endpoint, and gives it a transport that writes to the log as well."""

    def __init__(self, endpoint: Endpoint, logfile: LogFile) -> None:
        self._endpoint = endpoint
        self._logfile = logfile

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._endpoint.connection_made(_LoggedTransport(self.transport, self._logfile.write))

    def data_received(self, data: bytes) -> None:
        self._endpoint.data_received(data)

    def eof_received(self) -> bool | None:
        return self._endpoint.eof_received()

    def pause_writing(self) -> None:
        self._endpoint.pause_writing()

    def resume_writing(self) -> None:
        self._endpoint.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._endpoint.connection_lost(exc)


class _LoggedTransport(asyncio.Transport):
    """A transport whose `write` tells somebody else, too."""

    def __init__(self, transport: asyncio.Transport, note: Callable[[bytes | bytearray | memoryview], None]) -> None:
        super().__init__()
        self._transport = transport
        self._note = note

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._note(data)
        self._transport.write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
