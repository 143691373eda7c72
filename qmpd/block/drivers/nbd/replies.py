"""The client's side of NBD's transmission phase (sans-I/O): requests under way, and what becomes of them.

`ReplyDecoder` is given the bytes that a server sends, and hands the data of reads on to where it was wanted: what is
large is received straight into the reader's own buffer. Follows the NBD project's `doc/proto.md` (sections
"Transmission", "Structured replies"). Whatever a server claims is held against what it was asked; a claim that cannot
be true raises `ProtocolError`, after which the connection is of no use.
"""

from __future__ import annotations

import errno
import struct

from qmpd.block.driver import Buffer
from qmpd.block.iopool import IOFuture
from qmpd.nbd.numbers import (
    CHUNK_DONE,
    CHUNK_HEADER,
    CHUNK_IS_ERROR,
    DATA_CHUNK,
    MAX_STATUS_EXTENTS,
    MAX_STRING,
    REQUEST_HEADER,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Command,
    ProtocolError,
    host_error,
)

_MAGIC = struct.Struct(">I")
_DATA_START = struct.Struct(">Q")
_HOLE = struct.Struct(">QI")
_ERROR_START = struct.Struct(">IH")
_READ = int(Command.READ)
_BLOCK_STATUS = int(Command.BLOCK_STATUS)
_OFFSET_DATA = int(ChunkType.OFFSET_DATA)
_LONGEST_ERROR = _ERROR_START.size + MAX_STRING + 8
_LONGEST_STATUS = 4 + 8 * MAX_STATUS_EXTENTS
_NO_FLAGS_BUT_DONE = 0xFFFF & ~CHUNK_DONE


class Exchange:
    """One request and its reply.

    :param buffer: where the data of a read belongs.
    :param payload: the data of a write.
    :ivar done: done when the reply is complete, or never will be; refuses to be cancelled.
    :ivar error: an errno, 0 for none.
    :ivar extents: what a block status told: (length, flags).
    """

    __slots__ = ("buffer", "command", "done", "error", "extents", "flags", "length", "offset", "payload", "received")

    def __init__(
        self,
        command: Command,
        offset: int,
        length: int,
        *,
        flags: int = 0,
        buffer: memoryview | None = None,
        payload: Buffer | None = None,
    ) -> None:
        self.command = int(command)
        self.offset = offset
        self.length = length
        self.flags = flags
        self.buffer = buffer
        self.payload = payload
        self.done: IOFuture[None]
        self.error = 0
        self.received = 0
        self.extents: list[tuple[int, int]] = []

    def header(self, cookie: int) -> bytes:
        """The request as it is sent, but for its payload."""
        return REQUEST_HEADER.pack(REQUEST_MAGIC, self.flags, self.command, cookie, self.offset, self.length)

    def restart(self, done: IOFuture[None]) -> None:
        """Forget what has become of it: it is sent (again)."""
        self.done = done
        self.error = self.received = 0
        self.extents.clear()

    def finish(self) -> None:
        """The reply is complete."""
        if self.command == _READ and not self.error and self.received != self.length:
            self.error = errno.EIO
        if self.command == _BLOCK_STATUS and not self.error and not self.extents:
            self.error = errno.EIO
        self.done.set_result(None)


class ReplyDecoder:
    """Cuts a byte stream into replies, and finishes the exchanges that they belong to.

    Use: receive into `buffer()` and tell the count to `received()`.

    :param structured: whether the server may send structured replies.
    :param context: the id of the metadata context that was negotiated.
    """

    CHUNK = 128 << 10
    """Bytes of the buffer that replies are received into."""
    _LARGE = 32 << 10
    _SHORT = 4 << 10

    def __init__(self, *, structured: bool, context: int | None) -> None:
        self.exchanges: dict[int, Exchange] = {}
        self._structured = structured
        self._context = context
        self._data = bytearray(self.CHUNK)
        self._view = memoryview(self._data)
        self._start = 0
        self._end = 0
        self._large = 0
        self._target: memoryview | None = None
        self._filled = 0
        self._of: tuple[int, Exchange, int, bool]
        """What is being received into `_target`: cookie, exchange, type of chunk, and whether it is the last."""

    def expect(self, cookie: int, exchange: Exchange) -> None:
        """A request is about to be sent."""
        self.exchanges[cookie] = exchange
        if exchange.command == _READ and exchange.length >= self._LARGE:
            self._large += 1

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._target is not None:
            return self._target[self._filled :]
        if self._start:
            rest = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, len(rest)
            self._view[: len(rest)] = rest
        if self._large and self._end < self._SHORT:
            # Data that is likely to follow goes to where it is wanted: take little more than its header.
            return self._view[self._end : self._SHORT]
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Account for `count` bytes put into `buffer()`.

        :raises ProtocolError: the server's words make no sense.
        """
        if self._target is None:
            self._end += count
        else:
            self._filled += count
            if self._filled < len(self._target):
                return
            target, self._target = self._target, None
            self._filled_up(target, *self._of)
        while self._target is None and self._parse():
            pass

    def _parse(self) -> bool:
        """Take in one reply or chunk; False when it has not arrived."""
        have = self._end - self._start
        if have < _MAGIC.size:
            return False
        (magic,) = _MAGIC.unpack_from(self._data, self._start)
        if magic == SIMPLE_REPLY_MAGIC:
            return have >= SIMPLE_REPLY.size and self._simple()
        if magic == STRUCTURED_REPLY_MAGIC and self._structured:
            return have >= CHUNK_HEADER.size and self._chunk(have)
        raise ProtocolError(f"a reply begins with {magic:#x}")

    def _simple(self) -> bool:
        _, error, cookie = SIMPLE_REPLY.unpack_from(self._data, self._start)
        exchange = self._exchange(cookie)
        self._start += SIMPLE_REPLY.size
        exchange.error = host_error(error) if error else 0
        if exchange.command == _BLOCK_STATUS or (exchange.command == _READ and self._structured):
            raise ProtocolError(f"command {exchange.command} is answered with a simple reply")
        if exchange.command == _READ and not error:
            assert exchange.buffer is not None
            exchange.received = exchange.length
            self._fill(exchange.buffer, cookie, exchange, _OFFSET_DATA, True)
        else:
            self._finish(cookie, exchange)
        return True

    def _chunk(self, have: int) -> bool:
        _, flags, kind, cookie, length = CHUNK_HEADER.unpack_from(self._data, self._start)
        exchange = self._exchange(cookie)
        if flags & _NO_FLAGS_BUT_DONE:
            raise ProtocolError(f"a chunk has the flags {flags:#x}")
        final = bool(flags & CHUNK_DONE)
        if kind == _OFFSET_DATA:
            return have >= DATA_CHUNK.size and self._data_chunk(cookie, exchange, length, final)
        self._check_length(kind, length)
        self._start += CHUNK_HEADER.size
        self._fill(memoryview(bytearray(length)), cookie, exchange, kind, final)
        return True

    def _data_chunk(self, cookie: int, exchange: Exchange, length: int, final: bool) -> bool:
        (offset,) = _DATA_START.unpack_from(self._data, self._start + CHUNK_HEADER.size)
        size = length - _DATA_START.size
        self._check_part(exchange, offset, size)
        assert exchange.buffer is not None
        self._start += DATA_CHUNK.size
        at = offset - exchange.offset
        self._fill(exchange.buffer[at : at + size], cookie, exchange, _OFFSET_DATA, final)
        return True

    def _exchange(self, cookie: int) -> Exchange:
        exchange = self.exchanges.get(cookie)
        if exchange is None:
            raise ProtocolError(f"a reply belongs to the unknown request {cookie:#x}")
        return exchange

    @staticmethod
    def _check_length(kind: int, length: int) -> None:
        if kind & CHUNK_IS_ERROR:
            fits = _ERROR_START.size <= length <= _LONGEST_ERROR
        elif kind == ChunkType.BLOCK_STATUS:
            fits = 12 <= length <= _LONGEST_STATUS and length % 8 == 4
        elif kind == ChunkType.OFFSET_HOLE:
            fits = length == _HOLE.size
        else:
            fits = kind == ChunkType.NONE and not length
        if not fits:
            raise ProtocolError(f"there is no chunk of type {kind:#x} with {length} bytes")

    @staticmethod
    def _check_part(exchange: Exchange, offset: int, size: int) -> None:
        """Account for a part of a read."""
        if exchange.command != _READ:
            raise ProtocolError(f"command {exchange.command} is answered with data")
        if size <= 0 or offset < exchange.offset or offset + size > exchange.offset + exchange.length:
            raise ProtocolError("the data of a chunk is not part of what was asked for")
        exchange.received += size
        if exchange.received > exchange.length:
            raise ProtocolError("there is more data than was asked for")

    def _fill(self, target: memoryview, cookie: int, exchange: Exchange, kind: int, final: bool) -> None:
        """Bring what comes next into `target`, as far as it has arrived."""
        count = min(len(target), self._end - self._start)
        target[:count] = self._view[self._start : self._start + count]
        self._start += count
        if count == len(target):
            self._filled_up(target, cookie, exchange, kind, final)
        else:
            self._target, self._filled, self._of = target, count, (cookie, exchange, kind, final)

    def _filled_up(self, target: memoryview, cookie: int, exchange: Exchange, kind: int, final: bool) -> None:
        if kind == _OFFSET_DATA:
            pass
        elif kind & CHUNK_IS_ERROR:
            exchange.error = exchange.error or self._error(kind, target)
        elif kind == ChunkType.OFFSET_HOLE:
            offset, size = _HOLE.unpack(target)
            self._check_part(exchange, offset, size)
            assert exchange.buffer is not None
            exchange.buffer[offset - exchange.offset :][:size] = bytes(size)
        elif kind == ChunkType.BLOCK_STATUS:
            self._status(exchange, target)
        elif not final:
            raise ProtocolError("an empty chunk is not the last of its reply")
        if final:
            self._finish(cookie, exchange)

    @staticmethod
    def _error(kind: int, payload: memoryview) -> int:
        error, text = _ERROR_START.unpack_from(payload)
        room = len(payload) - _ERROR_START.size
        wrong = text > room if kind not in (ChunkType.ERROR, ChunkType.ERROR_OFFSET) else text != _text(kind, room)
        if wrong:
            raise ProtocolError("the text of an error is not as long as the server says")
        return host_error(error)

    def _status(self, exchange: Exchange, payload: memoryview) -> None:
        if exchange.command != _BLOCK_STATUS or exchange.extents:
            raise ProtocolError(f"command {exchange.command} is answered with a block status that nobody asked for")
        context, *numbers = struct.unpack(f">{len(payload) // 4}I", payload)
        if context != self._context:
            raise ProtocolError("a block status is about a metadata context that was not negotiated")
        lengths = numbers[::2]
        if 0 in lengths:
            raise ProtocolError("an extent of a block status is empty")
        exchange.extents = list(zip(lengths, numbers[1::2], strict=True))

    def _finish(self, cookie: int, exchange: Exchange) -> None:
        del self.exchanges[cookie]
        if exchange.command == _READ and exchange.length >= self._LARGE:
            self._large -= 1
        exchange.finish()


def _text(kind: int, room: int) -> int:
    """How long the text of an error must be, in a payload that has so much room for it."""
    return room - 8 if kind == ChunkType.ERROR_OFFSET else room
