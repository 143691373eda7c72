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
        listening = await ListeningSockets.open(FdAddress(given.fileno()), 1)
        assert [sock.getsockname() for sock in listening.sockets] == [given.getsockname()]
        listening.close()
        os.fstat(given.fileno())


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
