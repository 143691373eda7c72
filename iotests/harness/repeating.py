"""Clients that do one thing over and over, from a thread of their own, while a test does something else."""

import threading
import time
from abc import ABC, abstractmethod
from typing import Generic, Protocol, Self, TypeVar

PATIENCE = 120.0
"""Seconds after which a client that does not get on is a failure."""


class _Closable(Protocol):
    def close(self) -> None:
        """End the connection."""


Client = TypeVar("Client", bound=_Closable)


class Repeating(ABC, Generic[Client]):
    """Repeats `step` while in the block; what a step raises is raised at the block's end, or by `go_on`.

    :param client: its connection, closed at the end.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._done = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
        if self._error is not None:
            raise self._error

    def go_on(self, steps: int, seconds: float = 0.0) -> None:
        """Return when so many more steps were done, and so much time has passed."""
        end = time.monotonic() + seconds
        while steps > 0 or time.monotonic() < end:
            assert self._done.acquire(timeout=PATIENCE), "the client does not get on"
            if self._error is not None:
                raise self._error
            steps -= 1

    @abstractmethod
    def step(self) -> None:
        """What is repeated; it is done once at least."""

    def _work(self) -> None:
        try:
            while True:
                self.step()
                self._done.release()
                if self._stop.is_set():
                    return
        except BaseException as error:
            self._error = error
            self._done.release()
