"""Chardevs: what listens where, who may connect, what is left behind, and who connects again."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import stat
from pathlib import Path

import pytest

from qmpd.chardev import sockets as chardev_sockets
from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import Endpoint
from qmpd.chardev.kinds import make_chardev
from qmpd.chardev.specs import ChardevSpec, SocketSpec
from qmpd.sockets import FdAddress, InetAddress, UnixAddress


class Greeter(Endpoint):
    """Sends a word and remembers that it was there."""

    def __init__(self, world: World, on_closed: object) -> None:
        self.world = world
        self.on_closed = on_closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"hello\n")  # type: ignore[attr-defined]
        self.world.arrived.put_nowait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.on_closed is not None:
            self.on_closed()  # type: ignore[operator]


class World:
    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Greeter] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []

    def make(self, options: ChardevSpec) -> Chardev:
        return make_chardev(options, lambda coro: self.tasks.append(asyncio.ensure_future(coro)))

    async def serve(self, options: ChardevSpec) -> Chardev:
        chardev = self.make(options)
        await chardev.open()
        await chardev.serve(lambda on_closed: Greeter(self, on_closed))
        return chardev


@pytest.fixture
def world() -> World:
    return World()


def unix_server(path: Path, *, wait: bool = False) -> SocketSpec:
    return SocketSpec("c", UnixAddress(str(path)), server=True, wait=wait)


async def greeting(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    line = await reader.readline()
    writer.close()
    return line


async def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_chardev(world: World, tmp_path: Path) -> None:
    path = tmp_path / "s"
    chardev = await world.serve(unix_server(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await greeting(path) == b"hello\n"
    chardev.close()
    assert not path.exists()


async def test_many_clients_share_a_socket(world: World, tmp_path: Path) -> None:
    chardev = await world.serve(unix_server(tmp_path / "s"))
    assert await asyncio.gather(*(greeting(tmp_path / "s") for _ in range(50))) == [b"hello\n"] * 50
    chardev.close()


async def test_a_stale_socket_file_is_replaced(world: World, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    chardev = await world.serve(unix_server(path))
    assert await greeting(path) == b"hello\n"
    chardev.close()


async def test_a_socket_in_use_and_other_files_are_left_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "s"
    chardev = await world.serve(unix_server(path))
    with pytest.raises(OSError, match="another process listens"):
        await world.make(unix_server(path)).open()
    assert await greeting(path) == b"hello\n"
    chardev.close()
    path.write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        await world.make(unix_server(path)).open()
    assert path.read_text() == "precious"


async def test_a_file_that_took_the_sockets_place_stays(world: World, tmp_path: Path) -> None:
    path = tmp_path / "s"
    chardev = await world.serve(unix_server(path))
    path.unlink()
    path.write_text("new")
    chardev.close()
    assert path.read_text() == "new"


async def test_wait_holds_until_the_first_client(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    chardev = world.make(unix_server(path, wait=True))
    opening = asyncio.ensure_future(chardev.open())
    await asyncio.sleep(0)  # its first step binds and listens
    assert not opening.done()
    reader, writer = await asyncio.open_unix_connection(str(path))
    await opening
    assert "waiting for connection" in capsys.readouterr().err
    await chardev.serve(lambda on_closed: Greeter(world, on_closed))
    assert await reader.readline() == b"hello\n"
    assert await greeting(path) == b"hello\n"
    writer.close()
    chardev.close()


async def test_abstract_names(world: World, tmp_path: Path) -> None:
    name = f"qmpd-test-{os.getpid()}"
    for tight in (True, False):
        address = UnixAddress(name, abstract=True, tight=tight)
        chardev = await world.serve(SocketSpec("c", address, server=True, wait=False))
        await world.serve(SocketSpec("d", address))
        assert (await world.arrived.get()) is not None
        chardev.close()


def free_port(family: int, host: str) -> int:
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6", "family"),
    [
        ("127.0.0.1", None, None, socket.AF_INET),
        ("localhost", True, None, socket.AF_INET),
        ("localhost", None, False, socket.AF_INET),
        ("::1", None, None, socket.AF_INET6),
        ("localhost", False, None, socket.AF_INET6),
    ],
)
async def test_tcp(world: World, host: str, ipv4: bool | None, ipv6: bool | None, family: int) -> None:
    numeric = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        port = free_port(family, numeric)
        socket.getaddrinfo(host, port, family)
    except OSError:
        pytest.skip(f"this host has no {host} there")
    address = InetAddress(host, str(port), 0, ipv4, ipv6)
    chardev = await world.serve(SocketSpec("c", address, server=True, wait=False))
    reader, writer = await asyncio.open_connection(numeric, port)
    assert await reader.readline() == b"hello\n"
    writer.close()
    client = await world.serve(SocketSpec("d", address))
    client.close()
    chardev.close()


async def test_tcp_tries_the_ports_up_to_the_last(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError):
            await world.make(SocketSpec("c", InetAddress("127.0.0.1", str(port)), server=True, wait=False)).open()
        address = InetAddress("127.0.0.1", str(port), to=port + 20)
        chardev = await world.serve(SocketSpec("c", address, server=True, wait=False))
        chardev.close()


async def test_names_without_address_are_refused(world: World) -> None:
    address = InetAddress("no-such-host.invalid", "1")
    with pytest.raises(OSError, match="no-such-host"):
        await world.make(SocketSpec("c", address)).open()


async def test_an_inherited_socket(world: World, tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.set_inheritable(True)
    chardev = await world.serve(SocketSpec("c", FdAddress(listening.detach()), server=True, wait=False))
    assert await greeting(tmp_path / "s") == b"hello\n"
    chardev.close()


@pytest.mark.parametrize("short_of", ["accepting", "watching"])
async def test_not_enough_descriptors(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_of: str
) -> None:
    """Whoever cannot be let in at once is let in when there is room again."""
    monkeypatch.setattr(chardev_sockets, "_PAUSE", 0.01)
    refused, held = asyncio.Event(), asyncio.Event()
    real_accept, real_epoll = socket.socket.accept, select.epoll

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        if short_of == "accepting" and not refused.is_set():
            refused.set()
            raise OSError(errno.EMFILE, "too many")
        return real_accept(self)

    def epoll() -> select.epoll:
        if short_of == "watching" and not refused.is_set():
            refused.set()
            raise OSError(errno.EMFILE, "too many")
        asyncio.get_running_loop().call_soon(held.set)
        return real_epoll()

    chardev = world.make(unix_server(tmp_path / "s"))
    await chardev.open()
    monkeypatch.setattr(socket.socket, "accept", accept)
    monkeypatch.setattr(select, "epoll", epoll)
    await chardev.hold()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    await refused.wait()
    if short_of == "watching":
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    await held.wait()
    assert not chardev.filename.startswith("disconnected")
    writer.close()
    chardev.close()


async def test_a_client_that_cannot_connect_fails(world: World, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await world.make(SocketSpec("c", UnixAddress(str(tmp_path / "s")))).open()


async def test_a_client_connects_again_when_asked_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    retried = asyncio.Event()

    def call_soon_instead(delay: float, function: object, *args: object) -> object:
        delays.append(delay)
        retried.set()
        return loop.call_soon(function, *args)  # type: ignore[arg-type]

    real = asyncio.get_running_loop
    monkeypatch.setattr(chardev_sockets.asyncio, "get_running_loop", lambda: Hurried(real(), call_soon_instead))
    client = await world.serve(SocketSpec("c", UnixAddress(str(path)), reconnect=5))
    await retried.wait()
    peers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_unix_server(lambda reader, writer: peers.put_nowait(writer), str(path))
    for _ in range(3):
        await world.arrived.get()
        (await peers.get()).transport.abort()
    assert set(delays) == {5}
    client.close()
    server.close()


class Hurried:
    """A loop whose timers run at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call_later: object) -> None:
        self._loop = loop
        self.call_later = call_later

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)
