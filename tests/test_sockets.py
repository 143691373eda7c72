"""Addresses that nobody can listen at or connect to, and what is left of a socket that has gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from qmpd.sockets import FdAddress, InetAddress, ListeningSockets, UnixAddress, connect


@pytest.mark.parametrize("port", ["99999", "65536", "-1", " -1", "+70000", "no-such-service"])
async def test_ports_that_are_none(port: str) -> None:
    address = InetAddress("127.0.0.1", port)
    with pytest.raises(OSError, match="out of range" if port != "no-such-service" else "no meaning"):
        await ListeningSockets.open(address, 1)
    with pytest.raises(OSError, match="out of range" if port != "no-such-service" else "no meaning"):
        await connect(address)


def test_which_ports_are_tried() -> None:
    assert list(InetAddress("h", "10", to=12).ports()) == ["10", "11", "12"]
    assert list(InetAddress("h", "10").ports()) == ["10"]
    assert list(InetAddress("h", "http", to=90).ports()) == ["http"]


async def test_an_inherited_listener_stays_open_when_its_copy_closes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        given.set_inheritable(True)
        for _ in range(2):
            listening = await ListeningSockets.open(FdAddress(given.fileno()), 1)
            assert [sock.getsockname() for sock in listening.sockets] == [given.getsockname()]
            with pytest.raises(OSError, match="in use"):
                await ListeningSockets.open(FdAddress(given.fileno()), 1)
            listening.close()
            os.fstat(given.fileno())


async def test_only_what_was_handed_over_can_be_named(tmp_path: Path) -> None:
    """A number that somebody makes up may be that of another client's connection, or of an image."""
    one, other = socket.socketpair()
    with one, other, (tmp_path / "image").open("w+b") as image:
        for number in (one.fileno(), image.fileno(), 1 << 40):
            for use in (connect(FdAddress(number)), ListeningSockets.open(FdAddress(number), 1)):
                with pytest.raises(OSError, match="handed"):
                    await use
        os.set_inheritable(image.fileno(), True)
        with pytest.raises(OSError, match="socket"):
            await connect(FdAddress(image.fileno()))
        image.write(b"still open")
        one.set_inheritable(True)
        taken = await connect(FdAddress(one.fileno()))
        with pytest.raises(OSError, match="in use"):
            await connect(FdAddress(one.fileno()))
        taken.detach()


async def test_a_file_that_somebody_else_has_taken_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening = await ListeningSockets.open(UnixAddress(str(path)), 1)
    path.unlink()
    path.write_text("mine")
    listening.close()
    assert path.read_text() == "mine"


async def test_a_socket_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening = await ListeningSockets.open(UnixAddress(str(path)), 1)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="another process listens"):
        await ListeningSockets.open(UnixAddress(str(path)), 1)
    client = await connect(UnixAddress(str(path)))
    client.close()
    listening.close()
    assert not path.exists()
