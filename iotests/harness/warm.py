"""Processes that begin with qmpd's modules imported: forks of one process that has them.

Importing is most of what a start costs, and the tests start thousands. What runs in a fork is what `python -m qmpd`
runs, with words, environment, directory and standard streams of its own. Nothing is forked that waits or computes: the
process that forks has one thread and no event loop. Under `QMPD_SOAK=1` (`make soak`), in benchmarks, and where a test
wraps the command, servers start as users start them.
"""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

LONGEST = 1 << 20
"""Bytes of a request: an environment and a command line."""


class Process(Protocol):
    """What the harness needs of a process, as of `subprocess.Popen`."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None:
        """The exit status, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, `timeout` seconds at most (then subprocess.TimeoutExpired); the exit status."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if it still runs."""

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""


class WarmProcess:
    """A fork that runs `python -m qmpd` with some words; a `Process`.

    :param output: standard output and standard error.
    """

    def __init__(self, words: Sequence[str], output: BinaryIO) -> None:
        self.returncode: int | None = None
        self._words = list(words)
        self._forker = _forker()
        request = {"words": self._words, "environment": dict(os.environ), "directory": os.getcwd()}
        self.pid: int = self._forker.ask(request, (output.fileno(),))
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """As of `Process`."""
        if self.returncode is None and self._has_ended(0):
            self.returncode = self._forker.ask({"ended": self.pid})
            os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As of `Process`."""
        if self.returncode is None and not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(self._words, timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, sig: int, /) -> None:
        """As of `Process`."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._end, sig)

    def kill(self) -> None:
        """As of `Process`."""
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, timeout: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))


class _Forker:
    """The process that forks, as its parent sees it. It ends when nobody holds the other end of its socket."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._turn = threading.Lock()
        words = [sys.executable, "-m", "iotests.harness.forker", str(other.fileno())]
        with other:
            self._process = subprocess.Popen(words, pass_fds=(other.fileno(),), cwd=Path(__file__).parents[2])

    def ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> int:
        """Send a request, wait for the answer."""
        with self._turn:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            answer = self._socket.recv(LONGEST)
        assert answer, "the process that forks has died"
        number: int = json.loads(answer)
        return number


@functools.cache
def _forker() -> _Forker:
    return _Forker()
