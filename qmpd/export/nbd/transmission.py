"""Carries out the requests of one connection on its export and hands over the replies.

What for: the transmission phase between the decoder (bytes to requests) and the connection (the socket). Plain reads
and writes take a few calls if the block layer lets them; any other request is one coroutine that is run without a
task. Those that have to wait are counted and bounded. Leans on
`protocol` and an `ExportBackend`; must never touch the socket.
"""

from __future__ import annotations

import logging
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from qmpd.block import inline
from qmpd.block.dirty_bitmap import DirtyBitmap
from qmpd.export.backend import ExportBackend
from qmpd.export.nbd.holes import HoleFinder
from qmpd.export.nbd.negotiation import Outcome
from qmpd.export.nbd.protocol import (
    Chunk,
    Request,
    RequestChecker,
    RequestDecoder,
    RequestRefused,
    done_chunk,
    error_reply,
    hole_chunk,
    put_data_header,
    put_simple_header,
    simple_reply,
    status_chunk,
)
from qmpd.export.nbd.status import status_source
from qmpd.nbd.numbers import (
    DATA_CHUNK,
    MAX_STATUS_EXTENTS,
    SIMPLE_REPLY,
    Command,
    CommandFlag,
    NbdError,
    TransmissionFlag,
    wire_error,
)

log = logging.getLogger(__name__)

Part = bytes | memoryview

_READ = int(Command.READ)
_WRITE = int(Command.WRITE)
_DISC = int(Command.DISC)
_FUA = int(CommandFlag.FUA)
_DATA_HEAD = DATA_CHUNK.size
_SPARSE_READ = 64 << 10
"""Structured reads of at least so many bytes look for holes first; below, asking costs more than it saves."""
_CACHE_PIECE = 1 << 20
"""Bytes read at a time on behalf of a cache request."""


@dataclass(frozen=True, slots=True)
class ExportAccess:
    """What the requests of a connection work on.

    :param writethrough: every write is on stable storage before it is answered.
    :param bitmaps: by the names under which clients see them.
    :param on_refused: told the command of each request that asks what the export does not do.
    """

    backend: ExportBackend
    holes: HoleFinder
    bitmaps: dict[str, DirtyBitmap]
    writethrough: bool = False
    on_refused: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may tie up.

    :param requests: requests in flight that had to wait for something.
    :param bytes: data of those requests (one request may exceed it alone).
    :param unsent: bytes of replies that the client has not taken.
    """

    requests: int = 64
    bytes: int = 64 << 20
    unsent: int = 1 << 20


class Outbox:
    """Replies on their way to the socket; a reply's parts stay together.

    Large buffers are used again: fresh memory costs page faults, and one in the processor's cache is filled faster. Of
    those that are free the largest are kept, since they serve small replies too.
    Small replies that are ready at once are written one behind the other into a slab, from which they are sent as one
    part; it is used from the start again when everything has left.
    """

    __slots__ = ("_joined", "_spare", "parts", "size", "slab", "slab_end", "slab_view")

    _LARGE = 32 << 10
    _LARGEST = 1 << 20
    _KEPT = 8
    _SLAB = 128 << 10

    def __init__(self) -> None:
        self.parts: deque[Part] = deque()
        self.size = 0
        self.slab = bytearray()
        self.slab_view = memoryview(self.slab)
        self.slab_end = 0
        self._joined = -1
        self._spare: list[bytearray] = []

    def has_room(self, size: int) -> bool:
        """Whether a reply of `size` bytes may be written into `slab` at `slab_end`, and then be `extend`ed by."""
        if self.slab_end + size <= len(self.slab):
            return True
        if self.slab:
            return False
        self.slab = bytearray(self._SLAB)
        self.slab_view = memoryview(self.slab)
        return size <= self._SLAB

    def extend(self, size: int) -> None:
        """Send the `size` bytes at `slab_end` too, after everything else."""
        end = self.slab_end + size
        if self._joined >= 0:
            self.parts[-1] = self.slab_view[self._joined : end]
        else:
            self._joined = self.slab_end
            self.parts.append(self.slab_view[self._joined : end])
        self.slab_end = end
        self.size += size

    def buffer(self, size: int) -> memoryview:
        """A buffer of `size` bytes with any contents, to be filled and then `put`."""
        spare = self._spare
        if size >= self._LARGE and spare and len(spare[-1]) >= size:
            return memoryview(spare.pop())[:size]
        return memoryview(bytearray(size))

    def _recycle(self, part: Part) -> None:
        if isinstance(part, memoryview) and part.obj is not self.slab:
            buffer = part.obj
            if isinstance(buffer, bytearray) and self._LARGE <= len(buffer) <= self._LARGEST:
                insort(self._spare, buffer, key=len)
                if len(self._spare) > self._KEPT:
                    self._spare.pop(0)

    def put(self, *parts: Part) -> None:
        """Append a whole reply."""
        self._joined = -1
        for part in parts:
            if part:
                self.parts.append(part)
                self.size += len(part)

    def clear(self) -> None:
        """Drop everything."""
        self.parts.clear()
        self.size = 0
        self._joined = -1

    def sent(self, count: int) -> None:
        """The first `count` bytes have left."""
        self.size -= count
        parts = self.parts
        # The last part may be one of those that leave, or be cut.
        self._joined = -1
        while count:
            first = parts[0]
            if count < len(first):
                parts[0] = memoryview(first)[count:]
                return
            count -= len(first)
            self._recycle(parts.popleft())
        if not parts:
            self.slab_end = 0


class Transmission:
    """The transmission phase of one connection.

    :param settled: called (not from within `run`) when a request that had to wait is over.
    """

    def __init__(
        self,
        access: ExportAccess,
        outcome: Outcome,
        outbox: Outbox,
        *,
        limits: Limits,
        settled: Callable[[], None],
    ) -> None:
        self.decoder = RequestDecoder()
        self.ended = False
        self.in_flight = 0
        self._limits = limits
        self._outbox = outbox
        self._settled = settled
        self._backend = access.backend
        self._writethrough = access.writethrough
        self._on_refused = access.on_refused
        self._structured = outcome.structured
        self._head = _DATA_HEAD if outcome.structured else SIMPLE_REPLY.size
        self._waiting: deque[Request] = deque()
        self._bytes = 0
        self._holes = access.holes
        self._statuses = [
            status_source(number, name, access.backend, access.bitmaps, access.holes.learn)
            for number, name in outcome.contexts
        ]
        self._checker = RequestChecker(
            outcome.export.length,
            read_only=bool(outcome.export.flags & TransmissionFlag.READ_ONLY),
            structured=outcome.structured,
            block_status=bool(self._statuses),
        )
        self._handlers: dict[int, Callable[[Request], Awaitable[None]]] = {
            Command.READ: self._read,
            Command.WRITE: self._write,
            Command.FLUSH: self._flush,
            Command.TRIM: self._trim,
            Command.CACHE: self._cache,
            Command.WRITE_ZEROES: self._write_zeroes,
            Command.BLOCK_STATUS: self._block_status,
        }

    def received(self, count: int) -> None:
        """Take `count` bytes that were put into `decoder.buffer()`, which needs `wants_input`.

        When they are no requests, what came before them is still carried out, and then the phase has ended.
        """
        self._waiting.extend(self.decoder.received(count))

    def preload(self, data: bytes) -> None:
        """Take bytes that arrived together with the end of the handshake."""
        # Fits: the handshake reads less at a time than the decoder does.
        self.decoder.buffer()[: len(data)] = data
        self.received(len(data))

    @property
    def wants_input(self) -> bool:
        """Everything received so far has been started, so the decoder's buffer may be filled again."""
        return not self._waiting and not self.ended

    @property
    def busy(self) -> bool:
        """Requests are waiting to be started or are under way."""
        return bool(self._waiting or self.in_flight)

    def run(self, unsent: int) -> bool:
        """Start received requests, as many as the limits admit.

        :returns: True when `unsent` bytes of replies, which have to be sent first, keep requests waiting.
        """
        waiting, outbox = self._waiting, self._outbox
        while waiting and ((not self.in_flight and outbox.size < unsent) or self._admits(waiting[0])):
            request = waiting.popleft()
            command = request.command
            if command == _DISC:
                self.end()
                break
            if not self._begin(request):
                inline.drive(self._serve(request), self._suspended, request)
            if outbox.size >= unsent:
                break
        if self.decoder.broken and not waiting:
            self.end()
        return bool(waiting) and outbox.size >= unsent

    def end(self) -> None:
        """Start nothing any more; what is under way goes on."""
        self.ended = True
        self._waiting.clear()

    def _admits(self, request: Request) -> bool:
        limits = self._limits
        if self._outbox.size >= limits.unsent:
            return False
        if not self.in_flight:
            return True
        return self.in_flight < limits.requests and self._bytes + request.length <= limits.bytes

    def _begin(self, request: Request) -> bool:
        """Answer a plain read or begin a plain write, as most are: without a coroutine, and all it would call.

        False where there is anything else to say, or to do.
        """
        flags, command, _, _, length, _ = request
        if flags or not length:
            return False
        if command == _READ:
            return length < _SPARSE_READ and self._read_now(request)
        return command == _WRITE and not self._writethrough and self._begin_write(request)

    def _begin_write(self, request: Request) -> bool:
        payload = request.payload
        if payload is None or not self._checker.passes(request):
            return False
        chunk = self.decoder.lend()
        if not self._backend.begin_write(request.offset, payload, partial(self._written, request, chunk)):
            self.decoder.give_back(chunk)
            return False
        self.in_flight += 1
        self._bytes += request.length
        return True

    def _written(self, request: Request, chunk: Chunk, error: OSError | None) -> None:
        """A write that was begun is over. One that has failed is done again, by who knows what to do about it."""
        if error is None:
            self._outbox.put(simple_reply(request.cookie))
            self._finished(request, chunk)
            return
        over = partial(self._finished, request, chunk)
        if inline.drive(self._serve(request), lambda _: over, request):
            over()

    def _read_now(self, request: Request) -> bool:
        """Answer a plain read if its data is at hand; False if it is not, or something is wrong."""
        _, _, cookie, offset, length, _ = request
        outbox = self._outbox
        head = self._head
        size = head + length
        if not self._checker.passes(request) or not outbox.has_room(size):
            return False
        start = outbox.slab_end
        if not self._backend.read_now(offset, outbox.slab_view[start + head : start + size]):
            return False
        if self._structured:
            put_data_header(outbox.slab, cookie, offset, length, final=True, place=start)
        else:
            put_simple_header(outbox.slab, cookie, place=start)
        outbox.extend(size)
        return True

    def _suspended(self, request: Request) -> Callable[[], None]:
        """`request` has to wait: count it and keep its payload; what to call when it is over."""
        self.in_flight += 1
        self._bytes += _data_size(request)
        chunk = self.decoder.lend() if request.payload is not None else None
        return partial(self._finished, request, chunk)

    def _finished(self, request: Request, chunk: Chunk | None) -> None:
        self.in_flight -= 1
        self._bytes -= _data_size(request)
        if chunk is not None and request.payload is not None:
            self.decoder.give_back(chunk)
            self.decoder.recycle(request.payload)
        self._settled()

    async def _serve(self, request: Request) -> None:
        try:
            self._checker.check(request)
            await self._handlers[request.command](request)
        except RequestRefused as refusal:
            if self._on_refused is not None:
                self._on_refused(request.command)
            self._fail(request, refusal.error, refusal.text)
            if refusal.fatal:
                self.end()
        except OSError as error:
            self._fail(request, wire_error(error.errno), error.strerror or str(error))
        except Exception:
            # A bug, but not one that this client's other requests or anybody else should feel.
            log.exception("an NBD request failed unexpectedly: command %d", request.command)
            self._fail(request, NbdError.EIO, "internal error")

    def _fail(self, request: Request, error: int, text: str) -> None:
        self._outbox.put(error_reply(request.cookie, error, text, structured=self._structured))

    async def _read(self, request: Request) -> None:
        if request.flags & _FUA:
            await self._backend.flush()
        if not self._structured:
            await self._read_simple(request)
        elif self._may_have_holes(request):
            await self._read_sparse(request)
        elif request.length:
            self._outbox.put(await self._data(request.cookie, request.offset, request.length, final=True))
        else:
            self._outbox.put(done_chunk(request.cookie))

    async def _read_simple(self, request: Request) -> None:
        head = SIMPLE_REPLY.size
        reply = self._outbox.buffer(head + request.length)
        put_simple_header(reply, request.cookie)
        await self._backend.preadv(request.offset, reply[head:])
        self._outbox.put(reply)

    async def _data(self, cookie: int, offset: int, length: int, *, final: bool) -> memoryview:
        reply = self._outbox.buffer(_DATA_HEAD + length)
        put_data_header(reply, cookie, offset, length, final=final)
        await self._backend.preadv(offset, reply[_DATA_HEAD:])
        return reply

    def _may_have_holes(self, request: Request) -> bool:
        if request.length < _SPARSE_READ or request.flags & CommandFlag.DF:
            return False
        return not self._holes.all_data(request.offset, request.length)

    async def _read_sparse(self, request: Request) -> None:
        cookie, offset = request.cookie, request.offset
        end = offset + request.length
        parts: list[Part] = []
        for length, zero in await self._holes.runs(offset, request.length):
            final = offset + length == end
            if zero:
                parts.append(hole_chunk(cookie, offset, length, final=final))
            else:
                parts.append(await self._data(cookie, offset, length, final=final))
            offset += length
        self._outbox.put(*parts)

    async def _write(self, request: Request) -> None:
        payload = request.payload
        if payload:
            fua = self._writethrough or bool(request.flags & _FUA)
            await self._backend.pwritev(request.offset, payload, fua)
        self._outbox.put(simple_reply(request.cookie))

    async def _flush(self, request: Request) -> None:
        await self._backend.flush()
        self._outbox.put(simple_reply(request.cookie))

    async def _trim(self, request: Request) -> None:
        await self._backend.pdiscard(request.offset, request.length)
        if self._writethrough or request.flags & _FUA:
            await self._backend.flush()
        self._outbox.put(simple_reply(request.cookie))

    async def _cache(self, request: Request) -> None:
        scratch = memoryview(bytearray(min(_CACHE_PIECE, request.length)))
        end = request.offset + request.length
        for offset in range(request.offset, end, _CACHE_PIECE):
            await self._backend.preadv(offset, scratch[: end - offset])
        self._outbox.put(simple_reply(request.cookie))

    async def _write_zeroes(self, request: Request) -> None:
        await self._backend.pwrite_zeroes(
            request.offset,
            request.length,
            may_unmap=not request.flags & CommandFlag.NO_HOLE,
            no_fallback=bool(request.flags & CommandFlag.FAST_ZERO),
            fua=self._writethrough or bool(request.flags & _FUA),
        )
        self._outbox.put(simple_reply(request.cookie))

    async def _block_status(self, request: Request) -> None:
        limit = 1 if request.flags & CommandFlag.REQ_ONE else MAX_STATUS_EXTENTS
        replies = []
        for source in self._statuses:
            runs = await source.runs(request.offset, request.length, limit)
            final = source is self._statuses[-1]
            replies.append(status_chunk(request.cookie, source.number, runs, final=final))
        self._outbox.put(*replies)


def _data_size(request: Request) -> int:
    return request.length if request.command in (_READ, _WRITE) else 0
