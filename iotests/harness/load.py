"""A guest that writes all the time and takes down how long it was kept waiting."""

import threading
import time
from pathlib import Path
from typing import Self

from iotests.harness.images import KIB
from iotests.harness.nbd import WRITE, RawNbd

PATIENCE = 120.0
"""Seconds until a guest that gets no answer is a failure."""


class Load:
    """Writes to an export, one request after the other, from a thread of its own.

    :ivar longest: seconds that the slowest request took.
    """

    def __init__(self, socket: Path, export: str, length: int) -> None:
        self._client = RawNbd.attached(socket, export)
        self._client.sock.settimeout(PATIENCE)
        self._length = length
        self._stop = threading.Event()
        self._answered = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
        if self._error is not None:
            raise self._error

    def go_on(self, requests: int, seconds: float = 0.0) -> None:
        """Return when so many more requests were answered, and so much time has passed."""
        end = time.monotonic() + seconds
        while requests > 0 or time.monotonic() < end:
            assert self._answered.acquire(timeout=PATIENCE), "the guest does not get on"
            requests -= 1

    def _work(self) -> None:
        offset = 0
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                reply = self._client.request(WRITE, offset, 4 * KIB, data=bytes(4 * KIB))
                self.longest = max(self.longest, time.monotonic() - begun)
                assert reply.error == 0, reply
                offset = (offset + 68 * KIB) % self._length & -4 * KIB
                self._answered.release()
        except BaseException as error:
            self._error = error
