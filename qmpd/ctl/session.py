"""One QMP session: an address, a connection, commands and events, and every failure put into words.

Leans on `qemu.qmp.QMPClient` for the protocol. Must never print, and never let an exception of that library
or of the operating system through: what goes wrong leaves here as a `CtlError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import (
    ConnectError,
    EventListener,
    ExecInterruptedError,
    ExecuteError,
    Message,
    QMPClient,
    QMPError,
    Runstate,
    StateError,
)
from qemu.qmp.qmp_client import NegotiationError

from qmpd.ctl.failure import CommandFailed, ConnectFailed, ServerLost, UsageError

GREETING_SECONDS = 10.0
"""How long a server that accepted the connection may take to greet."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a QMP server listens: a Unix socket's path, or a TCP host and port."""

    path: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `PATH`, `HOST:PORT`, `[V6ADDRESS]:PORT`, or either with `unix:` or `tcp:` in front.

        :raise UsageError: when the text is neither.
        """
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest:
            return cls(path=rest)
        if kind == "tcp" and rest:
            return cls._parse_tcp(rest, text)
        if not text:
            raise UsageError("the socket's address is empty: give a path or HOST:PORT")
        if "/" in text or ":" not in text or Path(text).exists():
            return cls(path=text)
        return cls._parse_tcp(text, text)

    @classmethod
    def _parse_tcp(cls, text: str, whole: str) -> Address:
        host, _, port = text.rpartition(":")
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"'{whole}' is no HOST:PORT: the port must be a number from 1 to 65535")
        return cls(host=host.strip("[]") or "localhost", port=int(port))

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def for_client(self) -> str | tuple[str, int]:
        """In the form that `qemu.qmp` takes."""
        return self.path if self.path is not None else (self.host, self.port)


class _EventQueue(EventListener):
    """A listener without the library's ever-growing history: `events --follow` may run for months."""

    async def put(self, event: Message) -> None:
        if self.accept(event):
            await self._queue.put(event)


class Session:
    """An open session. Make one with `connect`; events are kept from the first moment on."""

    def __init__(self, client: QMPClient, events: EventListener, address: Address) -> None:
        self.address = address
        self._client = client
        self._events = events
        self._gone: asyncio.Task[Runstate] = asyncio.create_task(client.runstate_changed())
        # Kept over a cancelled wait: a task thrown away just as it finished would take its event with it.
        self._next: asyncio.Task[Message] | None = None

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None, *, oob: bool = False) -> Any:
        """Run one command and return what it returns.

        :raise CommandFailed: the server answered with an error.
        :raise ServerLost: the session ended before the answer.
        """
        try:
            return await self._client.execute(command, arguments, oob=oob)
        except ExecuteError as error:
            raise CommandFailed(error.error_class, str(error)) from error
        except (ExecInterruptedError, StateError) as error:
            raise await self._lost(f"before it answered '{command}'") from error

    def waiting_events(self) -> list[Message]:
        """The events that have arrived and were not taken yet."""
        first = [self._take_next()] if self._next is not None and self._next.done() else []
        return first + self._events.clear()

    async def next_event(self) -> Message:
        """The next event, waiting for it if need be; a cancelled wait loses none.

        :raise ServerLost: the session ended, and no event is left over.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._events.get())
        await asyncio.wait({self._next, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        if not self._next.done() and not self._events.empty():
            await asyncio.wait({self._next})
        if self._next.done():
            return self._take_next()
        raise await self._lost("while it was listened to")

    def _take_next(self) -> Message:
        assert self._next is not None
        event = self._next.result()
        self._next = None
        return event

    async def _lost(self, when: str) -> ServerLost:
        cause = "it closed the connection"
        try:
            if self._client.runstate != Runstate.IDLE:
                await self._client.disconnect()
        except (OSError, QMPError) as error:
            cause = str(error) or type(error).__name__
        except EOFError:
            pass
        return ServerLost(f"the server at {self.address} went away {when}: {cause}")

    async def close(self) -> None:
        """End the session; a server that is gone already is no error."""
        self._gone.cancel()
        if self._next is not None:
            self._next.cancel()
        await _leave(self._client)


async def _leave(client: QMPClient) -> None:
    with contextlib.suppress(OSError, EOFError, QMPError):
        if client.runstate != Runstate.IDLE:
            await client.disconnect()


@contextlib.asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Session]:
    """Open a session for the length of a `with` block.

    :raise ConnectFailed: with the reason in words.
    """
    # The library logs each failure before it raises it; the user gets our one sentence instead.
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    client = QMPClient("qmpctl")
    client.events.event_filter = lambda event: False
    events = _EventQueue()
    client.register_listener(events)
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            await client.connect(address.for_client)
    except TimeoutError as error:
        raise ConnectFailed(
            f"{address} sent no greeting within {GREETING_SECONDS:.0f} s; "
            "a server that serves one client at a time may be busy with another"
        ) from error
    except ConnectError as error:
        raise ConnectFailed(why_not(address, error.exc)) from error
    except AssertionError as error:
        # The library asserts that the session it has just opened is still open; the server may have left.
        await _leave(client)
        raise ConnectFailed(why_not(address, EOFError())) from error
    session = Session(client, events, address)
    try:
        yield session
    finally:
        await session.close()


def why_not(address: Address, cause: BaseException) -> str:
    """The sentence for a connection that did not come about because of `cause`."""
    if isinstance(cause, FileNotFoundError):
        return f"there is no socket {address}; is the server running, and is that its --chardev path?"
    if isinstance(cause, ConnectionRefusedError):
        return f"{address} refused the connection: no server is listening there any more"
    if isinstance(cause, PermissionError):
        return f"no permission to connect to {address}; run as the user that the server runs as"
    if isinstance(cause, NegotiationError):
        return f"{address} greeted, but refused the capabilities negotiation: {cause.exc}"
    if isinstance(cause, EOFError):
        return f"{address} closed the connection before the session was open"
    if isinstance(cause, OSError):
        return f"cannot connect to {address}: {cause.strerror or cause}"
    return f"{address} answered, but not with a QMP greeting; is it the monitor's socket?"
