"""A small NBD client: enough to read and write a disk that a server exports.

Fixed newstyle negotiation with NBD_OPT_GO, simple replies, one request at a time (NBD protocol document,
"Newstyle negotiation" and "Transmission"). It is here so that the demo needs no QEMU. Blocking sockets, and the
protocol's numbers from `qmpd.nbd`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from types import TracebackType
from typing import Self

from qmpd.nbd.numbers import (
    GREETING_MAGIC,
    MAX_PAYLOAD,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY_HEADER,
    OPTION_REPLY_MAGIC,
    REPLY_IS_ERROR,
    REQUEST_HEADER,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    Command,
    CommandFlag,
    HandshakeFlag,
    Info,
    Option,
    Reply,
)

MAX_REQUEST = MAX_PAYLOAD
"""Bytes in one request; longer reads and writes are cut into pieces of this length."""


class NbdError(OSError):
    """The server refused, or does not speak NBD."""


class NbdClient:
    """An open export.

    :ivar size: of the export in bytes.
    :ivar flags: transmission flags of the export, as the protocol numbers them.
    """

    def __init__(self, connection: socket.socket, export: str) -> None:
        self._socket = connection
        self._cookie = 0
        self.size = 0
        self.flags = 0
        self._negotiate(export)

    @classmethod
    def connect_unix(cls, path: str | os.PathLike[str], export: str) -> Self:
        """Open `export` of the server that listens at a Unix socket.

        :raise NbdError: the server has no such export, or does not speak NBD.
        :raise OSError: there is no connection.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(os.fspath(path))
            return cls(connection, export)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at `offset`.

        :raise NbdError: the server reports an error.
        """
        pieces = []
        for start in range(offset, offset + length, MAX_REQUEST):
            size = min(MAX_REQUEST, offset + length - start)
            self._request(Command.READ, start, size)
            pieces.append(self._receive(size))
        return b"".join(pieces)

    def write(self, offset: int, data: bytes, *, fua: bool = False) -> None:
        """Write `data` at `offset`; with `fua`, it is on stable storage on return.

        :raise NbdError: the server reports an error.
        """
        flags = CommandFlag.FUA if fua else 0
        for start in range(0, len(data), MAX_REQUEST):
            piece = data[start : start + MAX_REQUEST]
            self._request(Command.WRITE, offset + start, len(piece), piece, flags)

    def flush(self) -> None:
        """Put everything written so far on stable storage.

        :raise NbdError: the server reports an error.
        """
        self._request(Command.FLUSH, 0, 0)

    def close(self) -> None:
        """Say goodbye and close the connection."""
        try:
            self._send_request(Command.DISC, 0, 0, b"", 0)
        except OSError:
            pass  # the server left first
        finally:
            self._socket.close()

    def _negotiate(self, export: str) -> None:
        magic, option_magic, server_flags = struct.unpack(">8s8sH", self._receive(18))
        if (magic, option_magic) != (GREETING_MAGIC, OPTION_MAGIC) or not server_flags & HandshakeFlag.FIXED_NEWSTYLE:
            raise NbdError(errno.EPROTO, "the server does not speak fixed newstyle NBD")
        self._socket.sendall(struct.pack(">I", server_flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)))
        name = export.encode()
        payload = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self._socket.sendall(OPTION_HEADER.pack(OPTION_MAGIC, Option.GO, len(payload)) + payload)
        while self._option_reply(export) != Reply.ACK:
            pass

    def _option_reply(self, export: str) -> int:
        """Take in one reply to NBD_OPT_GO and return its type."""
        magic, option, kind, length = OPTION_REPLY_HEADER.unpack(self._receive(OPTION_REPLY_HEADER.size))
        if magic != OPTION_REPLY_MAGIC or option != Option.GO:
            raise NbdError(errno.EPROTO, "the server answered with something that is no option reply")
        payload = self._receive(length)
        if kind & REPLY_IS_ERROR:
            raise NbdError(errno.ENOENT, payload.decode(errors="replace") or f"no export '{export}'")
        if kind == Reply.INFO and struct.unpack(">H", payload[:2])[0] == Info.EXPORT:
            self.size, self.flags = struct.unpack(">QH", payload[2:12])
        return int(kind)

    def _request(self, command: int, offset: int, length: int, data: bytes = b"", flags: int = 0) -> None:
        self._send_request(command, offset, length, data, flags)
        magic, code, cookie = SIMPLE_REPLY.unpack(self._receive(SIMPLE_REPLY.size))
        if magic != SIMPLE_REPLY_MAGIC or cookie != self._cookie:
            raise NbdError(errno.EPROTO, "the server's reply does not belong to the request")
        if code:
            raise NbdError(code, os.strerror(code))

    def _send_request(self, command: int, offset: int, length: int, data: bytes, flags: int) -> None:
        self._cookie += 1
        header = REQUEST_HEADER.pack(REQUEST_MAGIC, flags, command, self._cookie, offset, length)
        self._socket.sendall(header + data)

    def _receive(self, length: int) -> bytes:
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            count = self._socket.recv_into(view)
            if count == 0:
                raise NbdError(errno.ECONNRESET, "the server closed the connection")
            view = view[count:]
        return bytes(buffer)
