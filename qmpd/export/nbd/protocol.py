"""The server's side of the NBD protocol after the handshake (sans-I/O).

What for: a decoder that turns received bytes into `Request`s in batches without copying payload, and encoders for
replies. Follows the NBD project's `doc/proto.md` (sections "Transmission", "Structured replies"); where that leaves a
choice, QEMU 7.2's server decides. Must never touch a socket, a block node or the event loop.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from qmpd.nbd.numbers import (
    CHUNK_DONE,
    CHUNK_HEADER,
    DATA_CHUNK,
    ERROR_CHUNK,
    HOLE_CHUNK,
    MAX_PAYLOAD,
    MAX_STRING,
    REQUEST_HEADER,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STATUS_CHUNK,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Command,
    CommandFlag,
    NbdError,
)


class RequestRefused(Exception):
    """A well-framed request that breaks a rule; it is answered with `error` and `text`.

    :param fatal: the connection cannot go on, since the request's payload was not read.
    """

    def __init__(self, error: NbdError, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.error = error
        self.text = text
        self.fatal = fatal


class Request(NamedTuple):
    """One request; `payload` is a view that belongs to the decoder's buffer, None but for writes."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int
    payload: memoryview | None


_new_tuple = tuple.__new__
"""Makes a `Request` in half the time that calling it takes."""

_HEADER_SIZE = REQUEST_HEADER.size
_WRITE = int(Command.WRITE)
_NONE = int(ChunkType.NONE)
_OFFSET_DATA = int(ChunkType.OFFSET_DATA)
_OFFSET_HOLE = int(ChunkType.OFFSET_HOLE)
_BLOCK_STATUS = int(ChunkType.BLOCK_STATUS)
_ERROR = int(ChunkType.ERROR)


def simple_reply(cookie: int, error: int = 0) -> bytes:
    """A simple reply without data; `error` 0 means success."""
    return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, cookie)


def put_simple_header(buffer: bytearray | memoryview, cookie: int, *, place: int = 0) -> None:
    """Write the head of a successful simple reply (`SIMPLE_REPLY.size` bytes) into `buffer` at `place`."""
    SIMPLE_REPLY.pack_into(buffer, place, SIMPLE_REPLY_MAGIC, 0, cookie)


def error_reply(cookie: int, error: int, text: str, *, structured: bool) -> bytes:
    """A reply that refuses a request; `text` travels only in structured ones, cut to the protocol's limit."""
    if not structured:
        return simple_reply(cookie, error)
    message = text.encode()[:MAX_STRING]
    return (
        ERROR_CHUNK.pack(
            STRUCTURED_REPLY_MAGIC, CHUNK_DONE, _ERROR, cookie, 6 + len(message), error, len(message)
        )
        + message
    )


def done_chunk(cookie: int) -> bytes:
    """The empty chunk that ends a structured reply."""
    return CHUNK_HEADER.pack(STRUCTURED_REPLY_MAGIC, CHUNK_DONE, _NONE, cookie, 0)


def put_data_header(
    buffer: bytearray | memoryview, cookie: int, offset: int, length: int, *, final: bool, place: int = 0
) -> None:
    """Write the head of a data chunk (`DATA_CHUNK.size` bytes) into `buffer` at `place`."""
    DATA_CHUNK.pack_into(
        buffer, place, STRUCTURED_REPLY_MAGIC, int(final), _OFFSET_DATA, cookie, length + 8, offset
    )


def hole_chunk(cookie: int, offset: int, length: int, *, final: bool) -> bytes:
    """A chunk that says: these bytes read as zeroes."""
    return HOLE_CHUNK.pack(
        STRUCTURED_REPLY_MAGIC, int(final), _OFFSET_HOLE, cookie, 12, offset, length
    )


def status_chunk(cookie: int, context: int, extents: Sequence[tuple[int, int]], *, final: bool) -> bytes:
    """A block status chunk of one metadata context; `extents` are (length, flags)."""
    head = STATUS_CHUNK.pack(
        STRUCTURED_REPLY_MAGIC, int(final), _BLOCK_STATUS, cookie, 4 + 8 * len(extents), context
    )
    return head + struct.pack(f">{2 * len(extents)}I", *(value for extent in extents for value in extent))


class RequestChecker:
    """The rules of one negotiated export that a request can be held against without doing it.

    The errors are those of proto.md ("Error values"): ENOSPC for writes beyond the end, EPERM for writes to a
    read-only export. QEMU means the same and then says EINVAL to everything.

    :param length: the export's length in bytes.
    """

    __slots__ = ("_length", "_passed", "_read_only", "_structured")

    def __init__(self, length: int, *, read_only: bool, structured: bool, block_status: bool) -> None:
        self._length = length
        self._read_only = read_only
        self._structured = structured
        # What passes at a glance: for each command the shortest and longest request and the flags it may not have.
        self._passed = {int(command): self._limits(command) for command in Command}
        if not block_status:
            del self._passed[Command.BLOCK_STATUS]
        if read_only:
            for command in _MODIFYING:
                del self._passed[command]

    def passes(self, request: Request) -> bool:
        """Whether the request breaks no rule."""
        flags, command, _, offset, length, _ = request
        limits = self._passed.get(command)
        return (
            limits is not None
            and limits[0] <= length <= limits[1]
            and not flags & limits[2]
            and offset + length <= self._length
        )

    def check(self, request: Request) -> None:
        """Raise `RequestRefused` if the request breaks a rule; the first one in the order in which QEMU looks."""
        if not self.passes(request):
            self._refuse(request)

    def _limits(self, command: Command) -> tuple[int, int, int]:
        shortest = 1 if command is Command.BLOCK_STATUS else 0
        longest = MAX_PAYLOAD if command in _SIZED else 0xFFFFFFFF
        return shortest, longest, 0xFFFF & ~self._valid_flags(command)

    def _valid_flags(self, command: int) -> int:
        flags = int(CommandFlag.FUA)
        if command == Command.READ and self._structured:
            flags |= CommandFlag.DF
        elif command == Command.WRITE_ZEROES:
            flags |= CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO
        elif command == Command.BLOCK_STATUS:
            flags |= CommandFlag.REQ_ONE
        return int(flags)

    def _refuse(self, request: Request) -> NoReturn:
        command, length = request.command, request.length
        if length > MAX_PAYLOAD and command in _SIZED:
            raise RequestRefused(
                NbdError.EINVAL,
                f"length {length} exceeds the maximum of {MAX_PAYLOAD} bytes",
                fatal=command == Command.WRITE,
            )
        if self._read_only and command in _MODIFYING:
            raise RequestRefused(NbdError.EPERM, "the export is read-only")
        if request.offset + length > self._length:
            raise RequestRefused(
                NbdError.ENOSPC if command in _ALLOCATING else NbdError.EINVAL,
                f"{length} bytes at {request.offset} pass the end of the export ({self._length} bytes)",
            )
        if request.flags & 0xFFFF & ~self._valid_flags(command):
            raise RequestRefused(
                NbdError.EINVAL, f"flags {request.flags:#x} are not valid for command {command}"
            )
        if command not in _KNOWN:
            raise RequestRefused(NbdError.EINVAL, f"command {command} is not known")
        if not length:
            raise RequestRefused(NbdError.EINVAL, "block status needs a length above zero")
        raise RequestRefused(NbdError.EINVAL, "no metadata context was negotiated for block status")


_KNOWN = frozenset(Command)
_SIZED = frozenset({Command.READ, Command.WRITE, Command.CACHE})
_MODIFYING = frozenset({Command.WRITE, Command.WRITE_ZEROES, Command.TRIM})
_ALLOCATING = frozenset({Command.WRITE, Command.WRITE_ZEROES})


class Chunk:
    """A receive buffer; `users` counts the writes that still read from it."""

    __slots__ = ("data", "users", "view")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.users = 0


class RequestDecoder:
    """Cuts a byte stream into requests; a payload is handed out as a view of the buffer it was received into.

    Use: receive into `buffer()`, tell the count to `received()`, work on its requests, and only then ask for
    `buffer()` again. A payload that somebody still needs by then is kept alive with `lend()` and freed with
    `give_back()`. A payload too large for the shared buffer is received straight into one of its own. Either
    way a request is not seen before its payload is complete. What is no request sets `broken`: nothing after
    it can be understood any more.
    """

    CHUNK = 128 << 10
    """Bytes of a shared receive buffer."""
    _LARGE = 48 << 10
    _SHORT = 4 << 10
    _SPARE = 8
    _LARGEST_SPARE = 512 << 10
    _ANNOUNCED = 1 << 20

    def __init__(self) -> None:
        self._chunk = Chunk(self.CHUNK)
        self._spare: list[Chunk] = []
        self._spare_payloads: list[bytearray] = []
        self._start = 0
        self._end = 0
        self._large: Request | None = None
        self._filled = 0
        self._expect_large = False
        self.broken: str | None = None

    @property
    def idle(self) -> bool:
        """Nothing of an unfinished request has been received."""
        return self._large is None and self._start == self._end

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty. Invalidates the payloads of the last batch not lent."""
        large = self._large
        if large is not None and large.payload is not None:
            return large.payload[self._filled :]
        if self._chunk.users:
            self._change_chunk()
        elif self._start:
            self._chunk.view[: self._end - self._start] = bytes(self._chunk.view[self._start : self._end])
            self._end -= self._start
            self._start = 0
        if self._expect_large:
            # The payload that is likely to follow goes into its own buffer: take little more than its header.
            return self._chunk.view[self._end : self._end + self._SHORT]
        return self._chunk.view[self._end :]

    def received(self, count: int) -> list[Request]:
        """Account for `count` bytes put into `buffer()`; give the requests they complete."""
        requests: list[Request] = []
        if self._large is not None:
            self._filled += count
            if self._filled < self._large.length:
                self._make_room(self._large)
                return requests
            requests.append(self._large)
            self._large = None
            return requests
        self._end += count
        self._parse(requests)
        return requests

    def _parse(self, requests: list[Request]) -> None:
        chunk, position, end = self._chunk, self._start, self._end
        self._expect_large = False
        while end - position >= _HEADER_SIZE:
            magic, flags, command, cookie, offset, length = REQUEST_HEADER.unpack_from(chunk.data, position)
            if magic != REQUEST_MAGIC:
                self.broken = f"a request starts with {magic:#x} in place of {REQUEST_MAGIC:#x}"
                break
            body = position + _HEADER_SIZE
            if command != _WRITE or length > MAX_PAYLOAD:
                # An oversized write is fatal and its payload not even looked at: framing no longer matters.
                requests.append(_new_tuple(Request, (flags, command, cookie, offset, length, None)))
                position = body
            elif length <= end - body:
                payload = chunk.view[body : body + length]
                requests.append(_new_tuple(Request, (flags, command, cookie, offset, length, payload)))
                position = body + length
            elif length > self._LARGE:
                self._begin_large(Request(flags, command, cookie, offset, length, None), body)
                return
            else:
                break
        if position == end:
            position = end = 0
        self._start, self._end = position, end

    def _begin_large(self, request: Request, body: int) -> None:
        payload = self._large_buffer(request.length)
        self._filled = self._end - body
        payload[: self._filled] = self._chunk.view[body : self._end]
        self._large = request._replace(payload=payload)
        self._start = self._end = 0
        self._expect_large = True

    def _make_room(self, large: Request) -> None:
        """Let the buffer of an unfinished payload grow if it is full."""
        payload = large.payload
        if payload is not None and self._filled == len(payload):
            grown = memoryview(bytearray(min(large.length, 2 * len(payload))))
            grown[: self._filled] = payload
            self._large = large._replace(payload=grown)

    def _large_buffer(self, length: int) -> memoryview:
        spare = self._spare_payloads
        if spare and len(spare[-1]) >= length:
            return memoryview(spare.pop())[:length]
        # A client may announce much and send little: the rest of the memory is taken when this is full.
        return memoryview(bytearray(min(length, self._ANNOUNCED)))

    def forget(self) -> None:
        """Let go of what was received and of all spare memory; nothing more will be received."""
        self._large = None
        self._spare.clear()
        self._spare_payloads.clear()

    def recycle(self, payload: memoryview) -> None:
        """Use the memory of a large payload again, now that its request is over. Harmless for a small one."""
        buffer = payload.obj
        if (
            isinstance(buffer, bytearray)
            and len(buffer) != self.CHUNK
            and len(buffer) <= self._LARGEST_SPARE
            and len(self._spare_payloads) < self._SPARE
        ):
            self._spare_payloads.append(buffer)

    def lend(self) -> Chunk:
        """Keep the payloads of the last batch intact until `give_back()`; call while working on the batch."""
        self._chunk.users += 1
        return self._chunk

    def give_back(self, chunk: Chunk) -> None:
        """Undo one `lend()`."""
        chunk.users -= 1
        if not chunk.users and chunk is not self._chunk and len(self._spare) < self._SPARE:
            self._spare.append(chunk)

    def _change_chunk(self) -> None:
        fresh = self._spare.pop() if self._spare else Chunk(self.CHUNK)
        rest = self._end - self._start
        fresh.view[:rest] = self._chunk.view[self._start : self._end]
        self._chunk = fresh
        self._start, self._end = 0, rest
