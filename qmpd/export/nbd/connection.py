"""One NBD client's socket: reads from it, drives handshake and transmission, writes the replies.

The socket is used directly, without a transport: each readable event is one `recv` into the decoder's buffer, all
requests found there are started together, and their replies leave in one `sendmsg`. A client that does not take its
replies, or has too much in flight, is simply not read from until that has changed. Leans on `Negotiation` and
`Transmission`; must never know how a request is carried out.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Protocol

from qmpd.export.nbd.negotiation import ExportDirectory, Negotiation, Outcome
from qmpd.export.nbd.transmission import ExportAccess, Limits, Outbox, Transmission
from qmpd.nbd.numbers import ProtocolError

_HANDSHAKE_READ = 64 << 10
_MAX_PARTS = 256
_SEND_BUFFER = 1 << 20
"""Bytes of replies that the kernel is asked to hold for a client on this host."""
_EARLY_FLUSH = 48 << 10
"""With so many bytes of replies waiting, they are sent before the next request is started."""


class ExportUse(Protocol):
    """An export as the connection that uses it sees it."""

    access: ExportAccess

    def connected(self, connection: NbdConnection) -> None:
        """A client has chosen this export."""

    def disconnected(self, connection: NbdConnection) -> None:
        """It has gone, and so has everything it had in flight."""


class ExportTable(ExportDirectory, Protocol):
    """The exports of a server."""

    def use(self, outcome: Outcome) -> ExportUse:
        """The export that a handshake led to."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How clients are treated.

    :param handshake_seconds: time a client has from connecting to choosing an export.
    """

    limits: Limits = field(default_factory=Limits)
    handshake_seconds: float = 60.0


class _Reading(Enum):
    OFF = 0
    ON = 1
    ENDED = 2


class NbdConnection:
    """Serves one client until it leaves, breaks the protocol, or `close` is called.

    :param sock: a connected stream socket; owned by the connection from here on.
    :param gone: called once, when the socket is closed and nothing of the client is in flight any more.
    """

    def __init__(
        self,
        sock: socket.socket,
        exports: ExportTable,
        options: ConnectionOptions,
        gone: Callable[[NbdConnection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._fd = sock.fileno()
        self._exports = exports
        self._options = options
        self._gone = gone
        self._outbox = Outbox()
        self._negotiation: Negotiation | None = Negotiation(exports)
        self._transmission: Transmission | None = None
        self._export: ExportUse | None = None
        self._reading = _Reading.OFF
        self._writing = False
        self._lost = False
        self._closing = False
        self._flush_due = False
        self._closed = self._loop.create_future()
        self._timer = self._loop.call_later(options.handshake_seconds, self._handshake_timeout)
        self.reason: str | None = None
        _prepare_socket(sock)

    def start(self) -> None:
        """Greet the client and begin to listen to it."""
        self._outbox.put(Negotiation.greeting)
        self._go_on()

    @property
    def peer(self) -> str:
        """Who is at the other end: a host and port, or a process of this host."""
        try:
            if self._socket.family == socket.AF_UNIX:
                size = struct.calcsize("3i")
                pid, uid, _ = struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
                return f"unix:pid={pid},uid={uid}"
            host, port, *_ = self._socket.getpeername()
        except OSError:
            return ""
        return f"{host}:{port}"

    @property
    def finished(self) -> bool:
        """The socket is closed and nothing is in flight."""
        return self._closed.done()

    async def wait_closed(self) -> None:
        """Wait until the client has gone and nothing of it is in flight."""
        await asyncio.shield(self._closed)

    def close(self) -> None:
        """Take no more requests, let those in flight end and answer them, then hang up.

        Does not wait for the client: replies that it does not take at once are dropped.
        """
        if self._transmission is not None:
            self._transmission.end()
        self._negotiation = None
        self._closing = True
        self._stop_reading()
        self._go_on()

    # The socket.

    def _start_reading(self) -> None:
        if self._reading is _Reading.OFF:
            self._reading = _Reading.ON
            self._loop.add_reader(self._fd, self._readable)

    def _stop_reading(self) -> None:
        if self._reading is _Reading.ON:
            self._loop.remove_reader(self._fd)
        self._reading = _Reading.ENDED

    def _pause_reading(self) -> None:
        if self._reading is _Reading.ON:
            self._loop.remove_reader(self._fd)
            self._reading = _Reading.OFF

    def _readable(self) -> None:
        try:
            if self._transmission is not None:
                count = self._socket.recv_into(self._transmission.decoder.buffer())
            else:
                count = self._receive_handshake()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(f"receiving failed: {error.strerror}")
            return
        if not count:
            # What was received whole is still carried out and answered: it may only be half closed.
            self._stop_reading()
        elif self._transmission is not None:
            self._transmission.received(count)
        self._go_on()

    def _receive_handshake(self) -> int:
        data = self._socket.recv(_HANDSHAKE_READ)
        if self._negotiation is not None:
            self._negotiation.feed(data)
        return len(data)

    def _send(self) -> bool:
        """Send what the client takes; False when that is not all."""
        parts = self._outbox.parts
        while parts:
            try:
                if len(parts) == 1:
                    count = self._socket.send(parts[0])
                else:
                    count = self._socket.sendmsg(islice(parts, _MAX_PARTS))
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lose(f"sending failed: {error.strerror}")
                return True
            self._outbox.sent(count)
        blocked = bool(parts)
        if blocked is not self._writing:
            self._watch_writable(blocked)
        return not blocked

    def _watch_writable(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._fd, self._go_on)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._fd)
        self._writing = wanted

    def _lose(self, reason: str) -> None:
        """Give up the socket; what is in flight goes on, for nobody."""
        if self._lost:
            return
        self.reason = self.reason or reason
        self._lost = True
        self._stop_reading()
        self._watch_writable(False)
        self._outbox.clear()
        self._negotiation = None
        if self._transmission is not None:
            self._transmission.end()
        self._socket.close()
        self._finish_if_idle()

    # Progress: do all that can be done now, then decide what to wait for.

    def _go_on(self) -> None:
        if self._lost:
            self._outbox.clear()
        else:
            self._shake_hands()
            self._pump()
        self._decide_reading()
        if self._closing and self._outbox.parts and not self._in_flight:
            self._lose("the server hung up")
        self._finish_if_idle()

    def _shake_hands(self) -> None:
        while self._negotiation is not None and self._negotiate(self._negotiation):
            # There is more to answer, as soon as these answers have left.
            if not self._send():
                return

    def _pump(self) -> None:
        transmission = self._transmission
        while True:
            more = transmission is not None and transmission.run(_EARLY_FLUSH)
            if self._send() and more:
                continue
            if more and transmission is not None:
                # Meanwhile prepare what the limits admit; a writable socket brings us back here.
                transmission.run(self._options.limits.unsent)
            return

    def _negotiate(self, negotiation: Negotiation) -> bool:
        """Answer what has arrived; True when the client has to take answers before it goes on."""
        try:
            while (reply := negotiation.advance()) is not None:
                self._outbox.put(reply)
                # Not after the last answer: the export that it is about may be gone before that has left.
                if negotiation.outcome is None and self._outbox.size >= self._options.limits.unsent:
                    return True
        except ProtocolError as error:
            self._hang_up(str(error))
            return False
        if negotiation.closed:
            self._hang_up("the client left during the handshake")
        elif negotiation.outcome is not None:
            self._begin_transmission(negotiation, negotiation.outcome)
        return False

    def _begin_transmission(self, negotiation: Negotiation, outcome: Outcome) -> None:
        self._negotiation = None
        self._timer.cancel()
        self._export = self._exports.use(outcome)
        self._export.connected(self)
        transmission = Transmission(
            self._export.access,
            outcome,
            self._outbox,
            limits=self._options.limits,
            settled=self._settled,
        )
        transmission.preload(negotiation.rest())
        self._transmission = transmission

    def _hang_up(self, reason: str) -> None:
        """End the handshake; what is already answered is still sent."""
        self.reason = reason
        self._negotiation = None
        self._stop_reading()

    def _settled(self) -> None:
        transmission = self._transmission
        if transmission is not None and not transmission.in_flight:
            self._go_on()
        elif not self._flush_due:
            # Replies that become ready in one turn of the event loop leave together at its end.
            self._flush_due = True
            self._loop.call_soon(self._flush_settled)

    def _flush_settled(self) -> None:
        self._flush_due = False
        if not self.finished:
            self._go_on()

    def _decide_reading(self) -> None:
        if self._reading is _Reading.ENDED:
            return
        transmission = self._transmission
        if transmission is None:
            ready = self._outbox.size < self._options.limits.unsent
        elif transmission.ended:
            self.reason = self.reason or transmission.decoder.broken
            self._stop_reading()
            return
        else:
            ready = transmission.wants_input
        if ready:
            self._start_reading()
        else:
            self._pause_reading()

    # The end.

    @property
    def _in_flight(self) -> bool:
        return self._transmission is not None and self._transmission.busy

    def _finish_if_idle(self) -> None:
        if self._reading is not _Reading.ENDED or self._in_flight or self._outbox.parts or self.finished:
            return
        self._timer.cancel()
        self._closed.set_result(None)
        self._lost = True
        self._socket.close()
        if self._transmission is not None:
            # It is part of a cycle of references, which may be found much later.
            self._transmission.decoder.forget()
        if self._export is not None:
            self._export.disconnected(self)
        self._gone(self)

    def _handshake_timeout(self) -> None:
        self._lose(f"no export was chosen within {self._options.handshake_seconds:g} seconds")


def _prepare_socket(sock: socket.socket) -> None:
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    else:
        # It grows with the need for TCP only. The kernel gives less than that, but room for a reply of 256 KiB, which
        # would else take two calls and a turn of the event loop.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
