"""A raw NBD client that sends what it is told, right or wrong, and shows what comes back.

For tests of the protocol itself; everything else uses qemu-io, nbdcopy and their like. Leans on the standard
library. Numbers are those of the NBD project's `doc/proto.md`.
"""

import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

GREETING = b"NBDMAGICIHAVEOPT"
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_MAGIC = 0x67446698
STRUCTURED_MAGIC = 0x668E33EF

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META, OPT_SET_META = 8, 9, 10

REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN = 0x80000001, 0x80000002, 0x80000003, 0x80000006

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16

EPERM, EIO, EINVAL, ENOSPC, ENOTSUP = 1, 5, 22, 28, 95

CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 0, 1, 2, 5, 0x8001

TIMEOUT = 30.0


class Closed(Exception):
    """The server hung up."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request.

    `error` is 0 for success; `data` what a read gave (holes filled in); `status` the extents of each metadata
    context by its id, as (length, flags).
    """

    error: int
    data: bytes = b""
    message: str = ""
    status: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()
    holes: int = 0


class RawNbd:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(TIMEOUT)
        self._cookie = 0

    @classmethod
    def connect(cls, path: Path | str) -> Self:
        """Connect to a Unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        return cls(sock)

    @classmethod
    def attached(cls, path: Path | str, export: str, *, structured: bool = False, meta: tuple[str, ...] = ()) -> Self:
        """Connect and go through the handshake to an export."""
        client = cls.connect(path)
        client.handshake()
        if structured:
            assert client.option(OPT_STRUCTURED_REPLY) == [(REP_ACK, b"")]
        if meta:
            client.option(OPT_SET_META, meta_query(export, *meta))
        replies = client.option(OPT_GO, info_query(export))
        assert replies[-1][0] == REP_ACK, replies
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that has hung up is noticed when reading."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def receive(self, length: int) -> bytes:
        """Exactly so many bytes. Raises `Closed`."""
        data = b""
        while len(data) < length:
            try:
                part = self.sock.recv(length - len(data))
            except ConnectionError as error:
                raise Closed from error
            if not part:
                raise Closed
            data += part
        return data

    def hung_up(self) -> bool:
        """Wait until the server hangs up or says something; True in the first case."""
        try:
            return not self.sock.recv(1)
        except ConnectionError:
            return True

    def handshake(self, flags: int = 3) -> int:
        """Take the greeting, send client flags; the server's flags."""
        data = self.receive(18)
        assert data[:16] == GREETING, data
        self.send(struct.pack(">I", flags))
        (server_flags,) = struct.unpack(">H", data[16:])
        return int(server_flags)

    def send_option(self, option: int, data: bytes = b"", *, length: int | None = None) -> None:
        """Send an option; `length` to lie about its length."""
        self.send(option_bytes(option, data, length=length))

    def option(self, option: int, data: bytes = b"", *, length: int | None = None) -> list[tuple[int, bytes]]:
        """Send an option and take its replies up to the last: (type, data)."""
        self.send_option(option, data, length=length)
        return self.option_replies(option)

    def option_replies(self, option: int) -> list[tuple[int, bytes]]:
        """Replies to an option, up to the last."""
        replies = []
        while True:
            magic, answered, kind, size = struct.unpack(">QIII", self.receive(20))
            assert magic == OPTION_REPLY_MAGIC and answered == option, (magic, answered)
            replies.append((kind, self.receive(size)))
            if kind == REP_ACK or kind & 0x80000000:
                return replies

    def send_request(self, command: int, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b"") -> int:
        """Send a request; its cookie."""
        self._cookie += 1
        self.send(request_bytes(command, offset, length, flags, data, cookie=self._cookie))
        return self._cookie

    def request(self, command: int, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b"") -> Reply:
        """Send a request and take its reply, which must be the next thing that comes."""
        cookie = self.send_request(command, offset, length, flags, data)
        answered, reply = self.reply(length if command == READ else 0, offset)
        assert answered == cookie
        return reply

    def read(self, offset: int, length: int) -> bytes:
        """Data; an error fails the test."""
        reply = self.request(READ, offset, length)
        assert reply.error == 0, reply
        return reply.data

    def reply(self, read_length: int = 0, offset: int = 0) -> tuple[int, Reply]:
        """The next reply: (cookie, reply). `read_length` and `offset` are those of the read it answers, if so."""
        (magic,) = struct.unpack(">I", self.receive(4))
        if magic == SIMPLE_MAGIC:
            error, cookie = struct.unpack(">IQ", self.receive(12))
            return cookie, Reply(error, self.receive(read_length) if not error else b"")
        assert magic == STRUCTURED_MAGIC, hex(magic)
        return self._structured(read_length, offset)

    def _structured(self, read_length: int, start: int) -> tuple[int, Reply]:
        data = bytearray(read_length)
        status: list[tuple[int, tuple[tuple[int, int], ...]]] = []
        error, message, holes, covered = 0, "", 0, 0
        while True:
            flags, kind, cookie, size = struct.unpack(">HHQI", self.receive(16))
            body = self.receive(size)
            if kind == CHUNK_DATA:
                (offset,) = struct.unpack(">Q", body[:8])
                data[offset - start : offset - start + size - 8] = body[8:]
                covered += size - 8
            elif kind == CHUNK_HOLE:
                offset, length = struct.unpack(">QI", body)
                holes += length
                covered += length
            elif kind == CHUNK_STATUS:
                values = struct.unpack(f">{(size - 4) // 4}I", body[4:])
                status.append((int.from_bytes(body[:4]), tuple(zip(values[::2], values[1::2], strict=True))))
            elif kind & 0x8000:
                error, length = struct.unpack(">IH", body[:6])
                message = body[6 : 6 + length].decode()
            if flags & 1:
                break
            assert struct.unpack(">I", self.receive(4)) == (STRUCTURED_MAGIC,)
        if not error and read_length:
            assert covered == read_length, (covered, read_length)
        return cookie, Reply(error, bytes(data) if not error else b"", message, tuple(status), holes)


def request_bytes(
    command: int, offset: int, length: int, flags: int = 0, data: bytes = b"", *, cookie: int = 1
) -> bytes:
    """A request on the wire."""
    return struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command, cookie, offset, length) + data


def option_bytes(option: int, data: bytes = b"", *, length: int | None = None) -> bytes:
    """An option on the wire; `length` to lie about its length."""
    return b"IHAVEOPT" + struct.pack(">II", option, len(data) if length is None else length) + data


def info_query(export: str, *wanted: int) -> bytes:
    """Data of OPT_INFO and OPT_GO."""
    name = export.encode()
    return struct.pack(f">I{len(name)}sH{len(wanted)}H", len(name), name, len(wanted), *wanted)


def meta_query(export: str, *queries: str) -> bytes:
    """Data of OPT_LIST_META and OPT_SET_META."""
    name = export.encode()
    data = struct.pack(f">I{len(name)}sI", len(name), name, len(queries))
    for query in queries:
        text = query.encode()
        data += struct.pack(f">I{len(text)}s", len(text), text)
    return data
