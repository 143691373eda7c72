"""Stands between a client and a server on Unix sockets, and makes trouble when told to."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

PATIENCE = 90.0


class Relay:
    """Listens at `path` and passes everything on to `beyond`.

    :param is_open: clients are let through at once, or not before `open`.
    """

    def __init__(self, path: Path, beyond: Path, *, is_open: bool = True) -> None:
        self.path = path
        self._beyond = beyond
        self._opened = threading.Event()
        if is_open:
            self._opened.set()
        self._arrived = threading.Event()
        self._lock = threading.Lock()
        self._loss: tuple[bytes, bytes] | None = None
        self._lost = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def await_client(self) -> None:
        """Wait until somebody stands there."""
        assert self._arrived.wait(PATIENCE), "nobody comes"

    def open(self) -> None:
        """Let everybody pass from now on."""
        self._opened.set()

    def lose_answer(self, beginning: bytes, end: bytes) -> None:
        """Let one client, who says `beginning` and then `end`, hear nothing more: the server's answer is lost."""
        self._lost.clear()
        self._loss = beginning, end

    def await_loss(self) -> None:
        """Wait until that has happened."""
        assert self._lost.wait(PATIENCE), "nobody says that"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._arrived.set()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._opened.wait(PATIENCE)
        server = socket.socket(socket.AF_UNIX)
        self._sockets.append(server)
        try:
            server.connect(str(self._beyond))
        except OSError:
            client.close()
            return
        deaf = threading.Event()
        threading.Thread(target=self._pass_requests, args=(client, server, deaf), daemon=True).start()
        threading.Thread(target=self._pass_answers, args=(server, client, deaf), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                said += data
                if self._loses(said):
                    deaf.set()
                if b"COMMIT" in data or b"ROLLBACK" in data:
                    said = b""
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _pass_answers(self, server: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if deaf.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    self._lost.set()
                    return
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    def _loses(self, said: bytes) -> bool:
        with self._lock:
            if self._loss is None:
                return False
            beginning, end = self._loss
            found = said.find(beginning)
            if found < 0 or end not in said[found:]:
                return False
            self._loss = None
            return True
