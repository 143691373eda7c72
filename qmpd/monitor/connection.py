"""One client: its bytes, the order of its commands, and what happens when it does not read.

All requests found in one read are parsed together, answered together and written with one call. A command
whose handler is a plain function costs no task. The rules:

* Commands run one at a time, in order. While an asynchronous one runs, the others wait; `exec-oob` requests,
  once the capability is negotiated, do not.
* Work for one client is done in slices (`SLICE_BYTES` of input, `SLICE_SECONDS` of work), so that a client that
  sends without end, or garbage, leaves the others their turn.
* A client that does not read its replies is not answered further and not read from. What it has not sent us
  stays with it. Only events still come: when `EVENT_BACKLOG` bytes of them wait for it, it is disconnected.
* Input is read ahead up to `READ_AHEAD` bytes, requests are parsed ahead up to `QUEUE_LENGTH`.
* The command that runs when its client vanishes runs to its end; those that wait are dropped. After a
  half-close (the client shuts down its sending side) everything that was sent is still answered, then the
  connection closes.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from qmpd.chardev.endpoint import Endpoint
from qmpd.errors import GenericError
from qmpd.monitor.context import PeerCredentials, RequestContext
from qmpd.monitor.dispatcher import Dispatcher, Handler, failure
from qmpd.monitor.events import EventBus
from qmpd.wire.session import Incoming, Mode, Refused, Request, Session

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog

log = logging.getLogger(__name__)

SLICE_BYTES = 32 << 10
SLICE_SECONDS = 0.005
FLUSH_BYTES = 256 << 10
READ_AHEAD = 256 << 10
QUEUE_LENGTH = 64
EVENT_BACKLOG = 8 << 20
WRITE_HIGH = 512 << 10
WRITE_LOW = 64 << 10

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Hub(Protocol):
    """What a connection wants of the monitor that it belongs to."""

    @property
    def dispatcher(self) -> Dispatcher: ...

    @property
    def events(self) -> EventBus: ...

    @property
    def spawn(self) -> Spawn: ...

    @property
    def version(self) -> object: ...

    @property
    def request_ids(self) -> Iterator[int]: ...

    @property
    def catalog(self) -> Catalog | None: ...

    @property
    def capabilities(self) -> Sequence[str]: ...

    @property
    def negotiation_handlers(self) -> Mapping[str, Handler]: ...

    @property
    def command_handlers(self) -> Mapping[str, Handler]: ...

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...


class Connection(Endpoint):
    """The server's end of one QMP session.

    :param hub: the monitor.
    :param session_id: its number.
    :param pretty: replies and events over several lines.
    """

    def __init__(self, hub: Hub, session_id: int, *, pretty: bool = False) -> None:
        self.session_id = session_id
        self.pretty = pretty
        self.peer: PeerCredentials | None = None
        self._hub = hub
        self._session = Session(pretty=pretty, offered=hub.capabilities)
        self._handlers = hub.negotiation_handlers
        self._negotiating = True
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._stopped = False
        self._input: deque[bytes] = deque()
        self._input_bytes = 0
        self._queue: deque[Incoming] = deque()
        self._next_async: tuple[Handler, Request] | None = None
        self._running = False
        self._pumping = False
        self._scheduled = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._writable = True
        self._reading = True
        self._ended = False
        self._event_bytes = 0

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport = transport
        self._open = True
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self.peer = peer_credentials(transport.get_extra_info("socket"))
        self._hub.opened(self)
        transport.write(self._session.greeting(self._hub.version))

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        self._input.append(data)
        self._input_bytes += len(data)
        self._pump()

    def eof_received(self) -> bool:
        if self._is_gone():
            self.abort()
            return False
        self._ended = True
        self._pump()
        return True  # `_pump` closes, once everything is answered

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._event_bytes = 0
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self.transport = None
        self._forget()
        self._hub.closed(self)

    def _is_gone(self) -> bool:
        """After the end of input: whether the client has closed altogether, as far as the kernel can tell."""
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if sock is None:
            return False
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    # -- the monitor's side

    @property
    def numbered(self) -> bool:
        """The client wants events with their sequence numbers."""
        return self._session.numbered

    def send_event(self, line: bytes) -> None:
        """Queue an event behind the replies that came before it."""
        if not self._open:
            return
        self._out.append(line)
        self._out_bytes += len(line)
        if not self._writable:
            self._event_bytes += len(line)
            if self._event_bytes > EVENT_BACKLOG:
                self._drop()
                return
        self._schedule()

    def stop(self) -> None:
        """Take no more requests; the one that runs is still answered, and events still go out."""
        self._stopped = True
        self._forget_requests()

    def close(self) -> None:
        """Send what is ready, answer nothing more, close when the client has read it."""
        self._flush()
        self._open = False
        self._forget()
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once, whatever the client has not read."""
        self._open = False
        self._forget()
        if self.transport is not None:
            self.transport.abort()

    def _forget_requests(self) -> None:
        self._input.clear()
        self._input_bytes = 0
        self._queue.clear()

    def _forget(self) -> None:
        self._forget_requests()
        self._out.clear()
        self._hub.events.remove(self)

    def _drop(self) -> None:
        log.warning(
            "monitor session %d does not read: disconnected with %d bytes of events waiting",
            self.session_id,
            self._event_bytes,
        )
        self.abort()

    # -- requests in, replies out

    def _schedule(self) -> None:
        """Pump soon, if nobody is at it."""
        if not self._pumping and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_pump)

    def _scheduled_pump(self) -> None:
        self._scheduled = False
        self._pump()

    def _pump(self) -> None:
        """Answer what can be answered now, and write it."""
        if not self._open or self._pumping:
            return
        self._pumping = True
        try:
            self._answer_ready()
        finally:
            self._pumping = False
        self._flush()
        if self._next_async is not None and not self._running:
            self._running = True
            self._hub.spawn(self._run_asynchronous())
        self._settle()

    def _answer_ready(self) -> None:
        if self._running:
            self._overtake()
            return
        deadline = 0.0
        while self._writable and self._next_async is None:
            if self._queue:
                if not self._answer_queue():
                    break
            elif self._input:
                now = self._loop.time()
                if deadline and now > deadline:
                    self._later()
                    break
                deadline = deadline or now + SLICE_SECONDS
                self._queue.extend(self._receive_slice())
            else:
                break

    def _later(self) -> None:
        """Go on at the loop's next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_pump)

    def _receive_slice(self) -> list[Incoming]:
        """The requests in the next slice of the input: whole lines if possible, else not more than is quick."""
        data = self._input.popleft()
        cut = len(data)
        if cut > SLICE_BYTES:
            cut = data.rfind(b"\n", 0, SLICE_BYTES) + 1
            if not cut:
                # A long line costs little if it is strict JSON, and may take long if it is anything else.
                cut = data.find(b"\n", SLICE_BYTES) + 1 or len(data)
                items = self._session.receive_strict(data[:cut])
                if items is not None:
                    self._put_back(data, cut)
                    return items
                cut = SLICE_BYTES
        self._put_back(data, cut)
        return self._session.receive(data[:cut])

    def _put_back(self, data: bytes, taken: int) -> None:
        self._input_bytes -= taken
        if taken < len(data):
            self._input.appendleft(data[taken:])

    def _answer_queue(self) -> bool:
        """Answer requests that were parsed; False when something stands in the way of the next."""
        queue, out, answer, clock = self._queue, self._out, self._answer, self._loop.time
        deadline = clock() + SLICE_SECONDS
        countdown = 32
        while queue:
            reply = answer(queue.popleft())
            if reply is None:
                self._overtake()
                return False
            out.append(reply)
            self._out_bytes += len(reply)
            if self._out_bytes > FLUSH_BYTES:
                self._flush()
                if not self._writable:
                    return False
            countdown -= 1
            if not countdown:
                countdown = 32
                if clock() > deadline:
                    self._later()
                    return False
        return True

    def _answer(self, item: Incoming) -> bytes | None:
        """The reply to `item`; None when that will take a while (`_next_async` then says what is to run)."""
        session = self._session
        if type(item) is not Request:
            assert isinstance(item, Refused)
            return session.error(item.id_text, item.error.error_class, item.error.desc)
        handler = self._handlers.get(item.name)
        try:
            if handler is None or item.oob:
                handler = self._admit(item)
            if handler.is_async:
                self._next_async = handler, item
                return None
            result = self._hub.dispatcher.run(handler, self._context(), item.arguments)
        except Exception as error:
            return session.error(item.id_text, *failure(item.name, error))
        if self._negotiating:
            self._follow_negotiation()
        return session.reply(item.id_text, result)

    def _admit(self, request: Request) -> Handler:
        """The handler of a request that is not of the common kind; raises `QMPError`."""
        self._session.admit(request)
        handler = self._hub.dispatcher.lookup(request.name)
        if request.oob and not handler.allow_oob:
            raise GenericError(f"Command {request.name!r} cannot run out of band; use 'execute'")
        return handler

    def _follow_negotiation(self) -> None:
        """After `qmp_capabilities`: every other command, and events."""
        if self._session.mode is Mode.COMMAND:
            self._negotiating = False
            self._handlers = self._hub.command_handlers
            self._hub.events.add(self)

    def _context(self) -> RequestContext:
        hub = self._hub
        return RequestContext(
            next(hub.request_ids), self.session_id, self.peer, time.time(), self._session, hub.catalog
        )

    def _overtake(self) -> None:
        """While an asynchronous command runs: answer out-of-band requests, keep the others in order."""
        if not self._session.oob:
            return
        waiting = list(self._queue)
        self._queue.clear()
        self._sort_out(waiting)
        while self._input and len(self._queue) < QUEUE_LENGTH and self._writable:
            self._sort_out(self._receive_slice())

    def _sort_out(self, items: list[Incoming]) -> None:
        for item in items:
            if type(item) is not Request or not item.oob:
                self._queue.append(item)
                continue
            reply = self._answer(item)
            assert reply is not None  # out-of-band handlers are plain functions
            self._out.append(reply)
            self._out_bytes += len(reply)

    async def _run_asynchronous(self) -> None:
        """Run the asynchronous command that is next, and those that follow it, in this one task."""
        while self._next_async is not None:
            handler, request = self._next_async
            reply = await self._answer_asynchronous(handler, request)
            if self._open:
                self._out.append(reply)
                self._out_bytes += len(reply)
            self._next_async = None
            self._running = False
            self._pump_within_task()

    def _pump_within_task(self) -> None:
        """Like `_pump`, but the next asynchronous command is left to the caller's task."""
        if not self._open:
            return
        self._pumping = True
        try:
            self._answer_ready()
        finally:
            self._pumping = False
        self._running = self._next_async is not None
        self._flush()
        self._settle()

    async def _answer_asynchronous(self, handler: Handler, request: Request) -> bytes:
        try:
            result = await self._hub.dispatcher.run_async(handler, self._context(), request.arguments)
        except Exception as error:
            return self._session.error(request.id_text, *failure(request.name, error))
        return self._session.reply(request.id_text, result)

    def _flush(self) -> None:
        out, transport = self._out, self.transport
        if not out or not self._open or transport is None:
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._out_bytes = 0

    def _settle(self) -> None:
        """Read or do not read, and close after a half-close, by what is left to do."""
        transport = self.transport
        if not self._open or transport is None:
            return
        idle = not (self._input or self._queue or self._running or self._out)
        if self._ended:
            if idle and not self._scheduled:
                self.close()
            return
        wanted = self._input_bytes < READ_AHEAD and self._writable
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()


def peer_credentials(sock: socket.socket | None) -> PeerCredentials | None:
    """Who is at the other end of a Unix socket; None for other sockets."""
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    size = struct.calcsize("3i")
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return PeerCredentials(pid, uid, gid)
