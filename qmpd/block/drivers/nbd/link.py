"""Getting connections to an NBD server: the first one, and another one when one is lost.

When a connection is lost, requests wait for the next one for as long as the client has asked for (`reconnect-delay`),
and are sent again then; after that time they fail at once, until there is a connection. Attempts go on all the while,
less and less often, also where connections come about and are lost again before they are of any use. A server that
breaks the protocol is not asked again, as in QEMU.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qmpd.block.drivers.nbd.connection import Connection, ConnectionLost, shake_hands
from qmpd.block.drivers.nbd.handshake import Refused, ServerExport, handshake
from qmpd.errors import GenericError, os_error_text
from qmpd.nbd.numbers import ProtocolError, TransmissionFlag
from qmpd.sockets import Address, FdAddress, connect

_log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS = 60.0
_ANSWER_SECONDS = 5.0
"""How long a server may take to answer what nobody needs any more."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 16.0
_LOSSES_TOLD = 2
"""Of connections that are lost one after the other, with nothing answered in between."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be connected to.

    :param context: the metadata context to be asked instead of the usual one.
    :param open_timeout: seconds that the first connection may take to come about; 0 for one attempt.
    :param reconnect_delay: seconds that requests wait for another connection.
    """

    address: Address
    export: str
    context: str | None
    open_timeout: float
    reconnect_delay: float
    keep_alive: bool

    def __str__(self) -> str:
        return f"NBD server '{self.address}'"


class Link:
    """The way to one export.

    :param delay: waits for so many seconds, or less if the daemon is to end.
    :ivar connection: None while there is none.
    """

    def __init__(self, goal: Goal, delay: Callable[[float], Awaitable[None]]) -> None:
        self.connection: Connection | None = None
        self._goal = goal
        self._delay = delay
        self._first: ServerExport
        self._tasks: set[asyncio.Task[None]] = set()
        self._back: asyncio.Future[bool] | None = None
        self._impatient = 0
        self._losses = 0
        self._next_pause = _FIRST_PAUSE
        self._connected_at = 0.0

    async def open(self) -> ServerExport:
        """Get the first connection.

        :raises GenericError: the server cannot be reached, or has no such export.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._goal.open_timeout
        left = self._goal.open_timeout or _HANDSHAKE_SECONDS
        pause = _FIRST_PAUSE
        while True:
            try:
                self.connection = await self._connect(left)
            except GenericError:
                left = deadline - loop.time()
                if left <= pause or not await self._pause(pause):
                    raise
            else:
                self._connected_at = loop.time()
                self._first = self.connection.export
                return self._first
            left -= pause
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def wait(self) -> Connection:
        """The connection, when there is one again.

        :raises OSError: EIO, there is none, or none in time.
        """
        if self.connection is None and self._back is not None:
            await asyncio.shield(self._back)
        if self.connection is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.connection

    def impatience_begin(self) -> None:
        """Until `impatience_end`, requests do not wait for another connection, and for an answer not long."""
        self._impatient += 1
        self._end_waiting(False)
        if self.connection is not None:
            self._start(self._give_up_later(self.connection))

    def impatience_end(self) -> None:
        """Take back one `impatience_begin`."""
        self._impatient -= 1

    async def _give_up_later(self, connection: Connection) -> None:
        await self._delay(_ANSWER_SECONDS)
        if self._impatient:
            connection.give_up(f"there is no answer in {_ANSWER_SECONDS:.0f} s, and nobody needs it any more")

    async def close(self) -> None:
        """Say goodbye to the server; nothing may be under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end_waiting(False)
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    async def _pause(self, seconds: float) -> bool:
        """Wait; False if there is no time for that, since the daemon is to end."""
        loop = asyncio.get_running_loop()
        over = loop.time() + seconds
        await self._delay(seconds)
        return loop.time() >= over - 0.1

    async def _connect(self, seconds: float) -> Connection:
        goal = self._goal
        try:
            sock, export = await self._negotiate_in_time(min(seconds, _HANDSHAKE_SECONDS))
        except TimeoutError as error:
            raise GenericError(f"{goal} takes too long to answer") from error
        except (OSError, ValueError, OverflowError) as error:
            reason = os_error_text(error) if isinstance(error, OSError) else str(error)
            raise GenericError(f"{goal} cannot be reached: {reason}") from error
        except ConnectionLost as error:
            raise GenericError(f"{goal} hung up before export '{goal.export}' was open") from error
        except (ProtocolError, Refused) as error:
            raise GenericError(f"{goal} is of no use: {error}") from error
        return Connection(sock, export, self._lost)

    async def _negotiate_in_time(self, seconds: float) -> tuple[socket.socket, ServerExport]:
        """Get a connection; when the daemon is to end there is no time for that.

        :raises TimeoutError: it takes longer.
        """
        loop = asyncio.get_running_loop()

        def end(_: asyncio.Future[None]) -> None:
            if waiting:
                limit.reschedule(loop.time())

        waiting = True
        async with asyncio.timeout(None) as limit:
            over = asyncio.ensure_future(self._delay(seconds))
            over.add_done_callback(end)
            try:
                return await self._negotiate()
            finally:
                waiting = False
                over.cancel()

    async def _negotiate(self) -> tuple[socket.socket, ServerExport]:
        goal = self._goal
        sock = await connect(goal.address)
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(goal.keep_alive))
            return sock, await shake_hands(sock, handshake(goal.export, goal.context))
        except BaseException:
            sock.close()
            raise

    # Losing it.

    def _lost(self, reason: str, broken: bool) -> None:
        connection, self.connection = self.connection, None
        held = asyncio.get_running_loop().time() - self._connected_at
        if held >= _LONGEST_PAUSE or (connection is not None and connection.answered):
            self._losses, self._next_pause = 0, _FIRST_PAUSE
        self._losses += 1
        again = "" if self._losses == 1 else " again (the next ones are not told before there is an answer)"
        level = logging.WARNING if self._losses <= _LOSSES_TOLD else logging.DEBUG
        _log.log(level, "the connection to %s is lost%s: %s", self._goal, again, reason)
        if broken or isinstance(self._goal.address, FdAddress):
            return
        if self._goal.reconnect_delay and not self._impatient:
            self._back = asyncio.get_running_loop().create_future()
            self._start(self._be_patient())
        self._start(self._reconnect())

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _be_patient(self) -> None:
        """Let requests wait for as long as was asked for."""
        back = self._back
        await self._delay(self._goal.reconnect_delay)
        if back is self._back:
            self._end_waiting(False)

    def _end_waiting(self, connected: bool) -> None:
        back, self._back = self._back, None
        if back is not None:
            back.set_result(connected)

    async def _reconnect(self) -> None:
        if self._losses > 1 and not await self._pause_longer():
            return
        while True:
            try:
                connection = await self._connect(_HANDSHAKE_SECONDS)
                self._check_same(connection)
            except GenericError as error:
                _log.info("no new connection yet: %s", error.desc)
            else:
                level = logging.WARNING if self._losses < _LOSSES_TOLD else logging.DEBUG
                _log.log(level, "there is a new connection to %s", self._goal)
                self.connection = connection
                self._connected_at = asyncio.get_running_loop().time()
                self._end_waiting(True)
                return
            if not await self._pause_longer():
                return

    async def _pause_longer(self) -> bool:
        """`_pause`, each time twice as long as the last."""
        pause = self._next_pause
        self._next_pause = min(2 * pause, _LONGEST_PAUSE)
        return await self._pause(pause)

    def _check_same(self, connection: Connection) -> None:
        """Pass if requests made for the export as it was fit what it is now.

        :raises GenericError: they do not; the connection is closed.
        """
        before, now = self._first, connection.export
        if now.length < before.length:
            problem = f"is smaller than it was ({now.length} bytes instead of {before.length})"
        elif now.has(TransmissionFlag.READ_ONLY) and not before.has(TransmissionFlag.READ_ONLY):
            problem = "is read-only now"
        elif now.smallest > before.smallest or now.largest < before.largest:
            problem = "has other limits for requests than it had"
        else:
            return
        connection.close()
        raise GenericError(f"Export '{self._goal.export}' of {self._goal} {problem}")
