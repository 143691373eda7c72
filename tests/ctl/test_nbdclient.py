"""The demo's NBD client against a scripted server: what it sends, and what it makes of bad answers."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from qmpd.ctl import nbdclient
from qmpd.ctl.nbdclient import NbdClient, NbdError

HELLO = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3)


def option_reply(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, 7, kind, len(payload)) + payload


EXPORT = option_reply(3, struct.pack(">HQH", 0, 4096, 1)) + option_reply(1)


def receive(peer: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = peer.recv(length - len(data))
        assert piece
        data += piece
    return data


def handshake(peer: socket.socket, replies: bytes = EXPORT, hello: bytes = HELLO) -> None:
    peer.sendall(hello)
    flags, magic, option, length = struct.unpack(">I8sII", receive(peer, 20))
    assert (flags, magic, option) == (3, b"IHAVEOPT", 7)
    assert receive(peer, length) == struct.pack(">I", 2) + b"d0" + b"\0\0"
    peer.sendall(replies)


def talk(path: Path, server: Callable[[socket.socket], None], client: Callable[[NbdClient], None]) -> None:
    """Run a scripted server in a thread and a client against it."""
    failures: list[BaseException] = []

    def serve(listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
            with peer:
                server(peer)
        except BaseException as error:
            failures.append(error)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with NbdClient.connect_unix(path, "d0") as connection:
                client(connection)
        finally:
            thread.join()
    assert not failures, failures


def request(peer: socket.socket) -> tuple[int, int, int, int, int]:
    """One request's flags, type, cookie, offset and length."""
    magic, *rest = struct.unpack(">IHHQQI", receive(peer, 28))
    assert magic == 0x25609513
    flags, kind, cookie, offset, length = rest
    return flags, kind, cookie, offset, length


def reply(cookie: int, error: int = 0) -> bytes:
    return struct.pack(">IIQ", 0x67446698, error, cookie)


def test_reads_writes_and_flushes(tmp_path: Path) -> None:
    def server(peer: socket.socket) -> None:
        handshake(peer)
        flags, kind, cookie, offset, length = request(peer)
        assert (flags, kind, offset, length) == (1, 1, 512, 3)
        assert receive(peer, 3) == b"abc"
        peer.sendall(reply(cookie))
        flags, kind, cookie, offset, length = request(peer)
        assert (flags, kind, offset, length) == (0, 0, 8, 4)
        peer.sendall(reply(cookie) + b"wxyz")
        asked = request(peer)
        assert asked[1] == 3
        peer.sendall(reply(asked[2]))
        assert request(peer)[1] == 2

    def client(connection: NbdClient) -> None:
        assert (connection.size, connection.flags) == (4096, 1)
        connection.write(512, b"abc", fua=True)
        assert connection.read(8, 4) == b"wxyz"
        connection.flush()

    talk(tmp_path / "s", server, client)


def test_long_requests_are_cut_into_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbdclient, "MAX_REQUEST", 4)

    def server(peer: socket.socket) -> None:
        handshake(peer)
        for offset, length in ((10, 4), (14, 2)):
            _, kind, cookie, *where = request(peer)
            assert (kind, where) == (1, [offset, length])
            receive(peer, length)
            peer.sendall(reply(cookie))
        for offset, length in ((10, 4), (14, 2)):
            _, kind, cookie, *where = request(peer)
            assert (kind, where) == (0, [offset, length])
            peer.sendall(reply(cookie) + b"x" * length)
        request(peer)

    def client(connection: NbdClient) -> None:
        connection.write(10, b"abcdef")
        assert connection.read(10, 6) == b"xxxxxx"

    talk(tmp_path / "s", server, client)


def test_an_error_reply_keeps_the_connection(tmp_path: Path) -> None:
    def server(peer: socket.socket) -> None:
        handshake(peer)
        peer.sendall(reply(request(peer)[2], 28))
        peer.sendall(reply(request(peer)[2]))
        request(peer)

    def client(connection: NbdClient) -> None:
        with pytest.raises(NbdError, match="No space left"):
            connection.read(0, 512)
        connection.flush()

    talk(tmp_path / "s", server, client)


@pytest.mark.parametrize(
    ("replies", "hello", "words"),
    [
        (option_reply(0x80000006, b"no such export"), HELLO, "no such export"),
        (option_reply(0x80000006), HELLO, "no export 'd0'"),
        (b"x" * 20, HELLO, "no option reply"),
    ],
)
def test_a_refused_or_broken_negotiation(tmp_path: Path, replies: bytes, hello: bytes, words: str) -> None:
    with pytest.raises(NbdError, match=words):
        talk(tmp_path / "s", lambda peer: handshake(peer, replies, hello), lambda connection: None)


def test_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    with pytest.raises(NbdError, match="fixed newstyle"):
        talk(tmp_path / "s", lambda peer: peer.sendall(b"x" * 18), lambda connection: None)


def test_a_server_that_hangs_up(tmp_path: Path) -> None:
    def server(peer: socket.socket) -> None:
        handshake(peer)
        request(peer)

    with pytest.raises(NbdError, match="closed the connection"):
        talk(tmp_path / "s", server, lambda connection: connection.flush())


def test_a_reply_to_another_request(tmp_path: Path) -> None:
    def server(peer: socket.socket) -> None:
        handshake(peer)
        peer.sendall(reply(request(peer)[2] + 1))
        peer.recv(28)

    with pytest.raises(NbdError, match="does not belong"):
        talk(tmp_path / "s", server, lambda connection: connection.flush())
