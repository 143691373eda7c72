"""Character devices that are open files: standard input and output, files, named pipes, serial lines."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import termios
import tty

from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import MakeEndpoint
from qmpd.chardev.specs import FileSpec, PipeSpec, SerialSpec, StdioSpec
from qmpd.chardev.transport import StreamTransport

BREAK_SECONDS = 0.25
_MODE = 0o666
_START_BREAK, _END_BREAK = 0x5427, 0x5428
"""TIOCSBRK and TIOCCBRK of Linux, which the termios module leaves out."""


class _Stream(Chardev):
    """A device that is read from one file and written to another; `open_device` fills in which."""

    _reader: int | None = None
    _writer: int | None = None
    _transport: StreamTransport | None = None

    async def serve_device(self, make: MakeEndpoint) -> None:
        assert self._writer is not None
        self._transport = StreamTransport(make(None), self._reader, self._writer, self._over)

    def close_device(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        for fd in {self._reader, self._writer}:
            if fd is not None:
                os.close(fd)
        self._reader = self._writer = None

    def _over(self) -> None:
        self._transport = None


class StdioChardev(_Stream):
    """Standard input and output; they are found non-blocking while they are in use, and given back as they were."""

    filename = "stdio"

    def __init__(self, spec: StdioSpec) -> None:
        super().__init__(spec)
        self._blocking: list[int] = []

    async def open_device(self) -> None:
        for fd in (0, 1):
            if os.get_blocking(fd):
                os.set_blocking(fd, False)
                self._blocking.append(fd)
        self._reader, self._writer = 0, 1

    def close_device(self) -> None:
        self._reader = self._writer = None
        if self._transport is not None:
            self._transport.abort()
        blocking, self._blocking = self._blocking, []
        for fd in blocking:
            with contextlib.suppress(OSError):  # somebody else has closed it
                os.set_blocking(fd, True)


class FileChardev(_Stream):
    """A file that is written to, and maybe another that is read from."""

    filename = "file"

    def __init__(self, spec: FileSpec) -> None:
        super().__init__(spec)
        self._file = spec

    async def open_device(self) -> None:
        spec = self._file
        if spec.input is not None:
            self._reader = _open(spec.input, os.O_RDONLY)
        self._writer = _open(spec.output, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if spec.append else os.O_TRUNC))


class PipeChardev(_Stream):
    """Named pipes, opened for both directions so that they never end."""

    filename = "pipe"

    def __init__(self, spec: PipeSpec) -> None:
        super().__init__(spec)
        self._path = spec.path

    async def open_device(self) -> None:
        try:
            self._reader = _open(f"{self._path}.in", os.O_RDWR)
            self._writer = _open(f"{self._path}.out", os.O_RDWR)
        except OSError:
            if self._reader is not None:
                os.close(self._reader)
                self._reader = None
            self._reader = self._writer = _open(self._path, os.O_RDWR)


class SerialChardev(_Stream):
    """A terminal: 115200 bits a second, eight bits, no parity, one stop bit."""

    filename = "serial"

    def __init__(self, spec: SerialSpec) -> None:
        super().__init__(spec)
        self._path = spec.path
        self._breaking: asyncio.TimerHandle | None = None

    async def open_device(self) -> None:
        self._reader = self._writer = fd = _open(self._path, os.O_RDWR | os.O_NOCTTY)
        if os.isatty(fd):
            tty.setraw(fd, termios.TCSANOW)
            settings = termios.tcgetattr(fd)
            settings[2] |= termios.CLOCAL
            settings[4] = settings[5] = termios.B115200
            termios.tcsetattr(fd, termios.TCSANOW, settings)

    def send_break(self) -> None:
        if self._writer is None or self._breaking is not None or not os.isatty(self._writer):
            return
        fcntl.ioctl(self._writer, _START_BREAK)
        self._breaking = asyncio.get_running_loop().call_later(BREAK_SECONDS, self._end_break)

    def close_device(self) -> None:
        if self._breaking is not None:
            self._breaking.cancel()
            self._end_break()
        super().close_device()

    def _end_break(self) -> None:
        self._breaking = None
        assert self._writer is not None
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._writer, _END_BREAK)


def _open(path: str, flags: int) -> int:
    """The file, non-blocking; `OSError` names it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
