"""A monitor with a handful of commands made for tests, and a small asynchronous client.

Leans on the monitor alone: the commands' table is a fake with the generated table's interface.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qmpd.chardev.kinds import make_chardev
from qmpd.chardev.specs import SocketSpec
from qmpd.errors import DeviceNotFound
from qmpd.monitor.connection import Connection
from qmpd.monitor.context import RawJSON, RequestContext
from qmpd.monitor.dispatcher import Dispatcher, command
from qmpd.monitor.events import EventBus
from qmpd.monitor.server import Monitor
from qmpd.sockets import UnixAddress

VERSION = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "test"}
TIMEOUT = 60.0


@dataclass(frozen=True)
class FakeInfo:
    """An entry of the table of commands; `members` are the arguments that may be given."""

    members: tuple[str, ...] = ()
    allow_oob: bool = False

    @property
    def arg_type(self) -> str | None:
        return "Arg" if self.members else None

    @property
    def validate(self) -> Callable[[Mapping[str, object]], Any]:
        return self._validate

    def _validate(self, arguments: Mapping[str, object]) -> Any:
        for name in arguments:
            if name not in self.members:
                raise ValueError(f"member '{name}' is unexpected")
        return dict(arguments)

    def check_return(self, value: object) -> None:
        if value == "wrong":
            raise ValueError("the result is not what the schema says")


COMMANDS: dict[str, FakeInfo] = {
    "qmp_capabilities": FakeInfo(("enable",)),
    "query-version": FakeInfo(),
    "echo": FakeInfo(("data", "more")),
    "context": FakeInfo(),
    "wait": FakeInfo(("gate", "data")),
    "later": FakeInfo(("data",)),
    "overtake": FakeInfo(("data",), allow_oob=True),
    "emit": FakeInfo(("count", "size")),
    "fail-device": FakeInfo(),
    "fail-os": FakeInfo(),
    "fail-bug": FakeInfo(),
    "fail-later": FakeInfo(),
    "large": FakeInfo(("size",)),
    "wrong": FakeInfo(),
    "stop": FakeInfo(),
}


class Family:
    """The commands of the table."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    @command("qmp_capabilities")
    def capabilities(self, ctx: RequestContext, args: dict[str, Any]) -> None:
        assert ctx.session is not None
        ctx.session.negotiate(args.get("enable", ()))

    @command("query-version")
    def version(self, ctx: RequestContext, args: None) -> RawJSON:
        return RawJSON(json.dumps(VERSION).encode())

    @command("echo")
    def echo(self, ctx: RequestContext, args: dict[str, Any]) -> object:
        return args

    @command("context")
    def context(self, ctx: RequestContext, args: None) -> object:
        peer = ctx.peer
        return {
            "request": ctx.request_id,
            "session": ctx.session_id,
            "peer": None if peer is None else [peer.pid, peer.uid, peer.gid],
            "time": ctx.time,
        }

    @command("wait")
    async def wait(self, ctx: RequestContext, args: dict[str, Any]) -> object:
        """Wait for the test to open a gate."""
        gate = self._rig.gate(args["gate"])
        gate.entered.set()
        await gate.opened.wait()
        gate.left.set()
        return args

    @command("later")
    async def later(self, ctx: RequestContext, args: dict[str, Any]) -> object:
        await asyncio.sleep(0)
        return args

    @command("overtake")
    def overtake(self, ctx: RequestContext, args: dict[str, Any]) -> object:
        return args

    @command("emit")
    def emit(self, ctx: RequestContext, args: dict[str, Any]) -> None:
        for number in range(args.get("count", 1)):
            self._rig.events.emit("TEST", {"number": number, "fill": "x" * args.get("size", 0)})

    @command("fail-device")
    def fail_device(self, ctx: RequestContext, args: None) -> None:
        raise DeviceNotFound("node 'x' does not exist")

    @command("fail-os")
    def fail_os(self, ctx: RequestContext, args: None) -> None:
        raise OSError(errno.ENOSPC, "whatever")

    @command("fail-bug")
    def fail_bug(self, ctx: RequestContext, args: None) -> None:
        raise RuntimeError("bug")

    @command("fail-later")
    async def fail_later(self, ctx: RequestContext, args: None) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("later bug")

    @command("large")
    def large(self, ctx: RequestContext, args: dict[str, Any]) -> object:
        return {"fill": "x" * args.get("size", 0)}

    @command("wrong")
    def wrong(self, ctx: RequestContext, args: None) -> object:
        return "wrong"

    @command("stop")
    def stop(self, ctx: RequestContext, args: None) -> None:
        self._rig.monitor.stop()


class Gate:
    """What a `wait` command goes through."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.left = asyncio.Event()


class _WatchedMonitor(Monitor):
    """A monitor that tells when sessions come and go."""

    changed: asyncio.Event | None = None

    def closed(self, connection: Connection) -> None:
        super().closed(connection)
        if self.changed is not None:
            self.changed.set()


class Rig:
    """The monitor under test, listening at `path`."""

    def __init__(self, path: Path, *, pretty: bool = False, check_replies: bool = False) -> None:
        self.path = path
        self.events = EventBus()
        self.dispatcher = Dispatcher(COMMANDS, check_replies=check_replies)
        self.dispatcher.register(Family(self))
        self.monitor = _WatchedMonitor(self.dispatcher, self.events, self.spawn, VERSION)
        self._pretty = pretty
        self._gates: dict[str, Gate] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[Client] = []
        options = SocketSpec("c", UnixAddress(str(path)), server=True, wait=False)
        self._chardev = make_chardev(options, self.spawn)

    def spawn(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def gate(self, name: str) -> Gate:
        return self._gates.setdefault(name, Gate())

    async def start(self) -> None:
        await self._chardev.open()
        await self._chardev.serve(lambda on_closed: self.monitor.connection(pretty=self._pretty, on_closed=on_closed))

    async def connect(self, *, negotiate: bool = True, oob: bool = False) -> Client:
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=64 << 20)
        client = Client(reader, writer)
        self._clients.append(client)
        assert "QMP" in await client.read()
        if negotiate:
            arguments = {"enable": ["oob"]} if oob else {}
            assert await client.call("qmp_capabilities", **arguments) == {}
        return client

    async def until_sessions(self, number: int) -> None:
        """Wait until no more than `number` sessions are left."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.monitor.connections) > number:
                self.monitor.changed = asyncio.Event()
                await self.monitor.changed.wait()

    async def close(self) -> None:
        self._chardev.close()
        for gate in self._gates.values():
            gate.opened.set()
        await self.monitor.close()
        await asyncio.gather(*self._tasks)
        for client in self._clients:
            client.writer.close()


class Client:
    """One session, from the client's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, name: str, identity: object = None, *, oob: bool = False, **arguments: object) -> None:
        message: dict[str, object] = {"exec-oob" if oob else "execute": name}
        if arguments:
            message["arguments"] = arguments
        if identity is not None:
            message["id"] = identity
        self.send(json.dumps(message).encode() + b"\n")

    async def read_line(self) -> bytes:
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.readline()

    async def read(self) -> Any:
        """The next message."""
        line = await self.read_line()
        assert line.endswith(b"\r\n"), line
        return orjson.loads(line)  # the standard library's decoder gives up at depths that are allowed

    async def call(self, name: str, **arguments: object) -> Any:
        """Execute a command; its result."""
        self.request(name, **arguments)
        return (await self.read())["return"]

    async def at_end(self) -> bool:
        """Whether the server has closed the connection and nothing was left to read."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read() == b""
