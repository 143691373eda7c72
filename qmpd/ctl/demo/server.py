"""The demo's qmpd: a real process, started as an operator would start it, and its limits."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shlex
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from qmpd.ctl.failure import ConnectFailed, CtlError
from qmpd.ctl.session import Address, Session, connect

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0


class Server:
    """A storage daemon that lives as long as a `with` block.

    :param directory: where its sockets go.
    :param program: the words that start the daemon.
    """

    def __init__(self, directory: Path, program: Sequence[str] = (sys.executable, "-m", "qmpd")) -> None:
        self.qmp = directory / "qmp.sock"
        self.nbd = directory / "nbd.sock"
        chardev = f"socket,id=qmp,path={self.qmp},server=on,wait=off"
        self._words = [*program, "--chardev", chardev, "--monitor", "chardev=qmp"]
        self._process: Process | None = None

    @property
    def command_line(self) -> str:
        """What one would type to start it."""
        return shlex.join(["qmpd", *self._words[-4:]])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Session]:
        """Start the daemon, hand out a session, and stop the daemon whatever happens.

        :raise ConnectFailed: it does not come up.
        :raise CtlError: it does not end well after `quit`.
        """
        # Errors of the daemon go to our standard error, where they belong.
        self._process = await asyncio.create_subprocess_exec(*self._words, stdin=DEVNULL)
        try:
            async with contextlib.AsyncExitStack() as stack:
                session = await self._connect(stack)
                yield session
                await self._quit(session)
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Session:
        """Knock until the socket is there: a process that starts has no other way to say that it is ready."""
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            try:
                return await stack.enter_async_context(connect(Address(path=str(self.qmp))))
            except ConnectFailed:
                if self._process.returncode is not None:
                    status = self._process.returncode
                    raise ConnectFailed(f"the daemon ended at once, with status {status}") from None
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.02)

    async def _quit(self, session: Session) -> None:
        assert self._process is not None
        await session.execute("quit")
        try:
            status = await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            raise CtlError(f"the daemon did not end within {_STOP_SECONDS:.0f} s after 'quit'") from None
        if status != 0:
            raise CtlError(f"the daemon ended with status {status} after 'quit'")

    @contextlib.contextmanager
    def file_size_limit(self, limit: int) -> Iterator[None]:
        """For the length of a `with` block, let each write of the daemon beyond `limit` bytes of a file fail.

        The kernel refuses such writes (RLIMIT_FSIZE, error EFBIG) as it refuses those to a full disk; unlike
        a full disk this needs no root.
        """
        assert self._process is not None
        pid = self._process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
