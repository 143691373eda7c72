"""One connection to an NBD server, from the handshake to the end: it owns the socket, and knows what is under way.

The socket is used directly, without a transport. Requests made in one turn of the event loop leave in one `sendmsg` at
its end; data is received into the readers' own buffers. An `Exchange` that was begun ends only when its reply is
complete or the connection is lost, whatever becomes of the task that waits for it, for until then the server may still
write to its range, or the kernel into its buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from itertools import islice

from qmpd.block.driver import Buffer
from qmpd.block.drivers.nbd.handshake import Script, ServerExport
from qmpd.block.drivers.nbd.replies import Exchange, ReplyDecoder
from qmpd.block.iopool import IOFuture
from qmpd.errors import os_error_text
from qmpd.nbd.numbers import Command, ProtocolError

_MAX_PARTS = 256
_READS_IN_A_ROW = 16
"""After so many receipts it is somebody else's turn."""


class ConnectionLost(Exception):
    """There will be no reply, since the connection has ended."""


async def shake_hands(sock: socket.socket, script: Script) -> ServerExport:
    """Play a script to its end.

    :param sock: connected and non-blocking; stays the caller's.
    :raises OSError: the connection failed.
    :raises ConnectionLost: the server hung up.
    :raises ProtocolError, Refused: as the script says.
    """
    loop = asyncio.get_running_loop()
    step = next(script)
    while True:
        try:
            if isinstance(step, int):
                step = script.send(await _receive(loop, sock, step))
            else:
                await loop.sock_sendall(sock, step)
                step = next(script)
        except StopIteration as end:
            outcome: ServerExport = end.value
            return outcome


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket, length: int) -> bytes:
    # Not a byte more than that: what follows belongs to the transmission.
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = await loop.sock_recv_into(sock, view)
        if not count:
            raise ConnectionLost("the server hung up during the handshake")
        view = view[count:]
    return bytes(data)


class Connection:
    """The transmission phase of one connection.

    :param sock: owned by the connection from here on.
    :param lost: called once, when it is lost by itself (not by `close`); the exchanges that were under way have been
        ended by then. Its argument says why, and whether the server has broken the protocol.
    :ivar answered: whether any request has had its reply; known when the connection has ended.
    """

    def __init__(self, sock: socket.socket, export: ServerExport, lost: Callable[[str, bool], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._fd = sock.fileno()
        self._lost = lost
        self._decoder = ReplyDecoder(structured=export.structured, context=export.context)
        self._unsent: deque[Buffer] = deque()
        self._cookie = 0
        self._flush_due = False
        self._writing = False
        self._open = True
        self.answered = False
        self.export = export
        self._loop.add_reader(self._fd, self._readable)

    def begin(self, exchange: Exchange) -> IOFuture[None]:
        """Send a request. The future is done when its reply is complete.

        It raises `ConnectionLost` if there will be none; its buffer and payload are not touched any more then.
        """
        done: IOFuture[None] = IOFuture(loop=self._loop)
        exchange.restart(done)
        if not self._open:
            done.set_exception(ConnectionLost())
            return done
        self._cookie += 1
        self._decoder.expect(self._cookie, exchange)
        self._unsent.append(exchange.header(self._cookie))
        if exchange.payload is not None:
            self._unsent.append(memoryview(exchange.payload).cast("B"))
        if not (self._flush_due or self._writing):
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return done

    def close(self) -> None:
        """Say goodbye and hang up; nothing may be under way."""
        if self._open and not self._unsent:
            with contextlib.suppress(OSError):  # the server will notice all the same
                self._socket.send(Exchange(Command.DISC, 0, 0).header(0))
        self._end()

    def give_up(self, reason: str) -> None:
        """Take the connection for lost if anything is under way."""
        if self._open and self._decoder.exchanges:
            self._lose(reason)

    def _flush(self) -> None:
        self._flush_due = False
        if self._open:
            self._send()

    def _send(self) -> None:
        """Send what the server takes."""
        unsent = self._unsent
        while unsent:
            try:
                count = self._socket.sendmsg(islice(unsent, _MAX_PARTS))
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lose(f"sending failed: {os_error_text(error)}")
                return
            while unsent and count >= len(unsent[0]):
                count -= len(unsent.popleft())
            if count:
                unsent[0] = memoryview(unsent[0])[count:]
        if bool(unsent) is not self._writing:
            self._writing = bool(unsent)
            if self._writing:
                self._loop.add_writer(self._fd, self._send)
            else:
                self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        decoder = self._decoder
        try:
            for _ in range(_READS_IN_A_ROW):
                buffer = decoder.buffer()
                count = self._socket.recv_into(buffer)
                if not count:
                    self._lose("the server hung up")
                    return
                decoder.received(count)
                if count < len(buffer):
                    return
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(f"receiving failed: {os_error_text(error)}")
        except ProtocolError as error:
            self._lose(str(error), broken=True)

    def _lose(self, reason: str, *, broken: bool = False) -> None:
        self._end()
        self._lost(reason, broken)

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fd)
        if self._writing:
            self._loop.remove_writer(self._fd)
        self._socket.close()
        self._unsent.clear()
        exchanges, self._decoder.exchanges = self._decoder.exchanges, {}
        self.answered = self._cookie > len(exchanges)
        for exchange in exchanges.values():
            if not exchange.done.done():
                exchange.done.set_exception(ConnectionLost())
