"""What jobs that work their way along a disk share: several pieces under way at a time, error policy, speed, pauses.

A `PieceSource` says which pieces of the disk there are to do and does one; `PiecewiseJob.work` keeps a few of them
going, comes to rest when it is to pause, and deals with those that fail.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

from qmpd.block.block_copy import MAX_PARALLEL, CopyError
from qmpd.jobs.block_job import BlockJob, ErrorAction

RETRY_SECONDS = 0.1
"""Pause before a piece is tried again that failed and whose failure was to be ignored."""

CHUNK = 1 << 20
"""Bytes of data in one piece."""

P = TypeVar("P")


class PieceSource(Protocol[P]):
    """The work of a job, piece by piece."""

    async def claim_next(self, chunk: int) -> P | None:
        """The next piece, of `chunk` bytes at most (or one cluster); None when nothing is left to claim.

        :raises CopyError: it cannot be told what is to do.
        """

    async def perform(self, piece: P) -> None:
        """Do a piece.

        :raises CopyError: it failed, and is to do again.
        """

    def bytes_of(self, piece: P) -> int:
        """Bytes of the disk that a piece stands for."""


class PiecewiseJob(BlockJob, Generic[P]):
    """A job that does its work in pieces."""

    def __init__(
        self,
        job_id: str,
        *,
        speed: int,
        on_error: str,
        auto_finalize: bool,
        auto_dismiss: bool,
    ) -> None:
        super().__init__(job_id, speed=speed, auto_finalize=auto_finalize, auto_dismiss=auto_dismiss)
        self._on_error = on_error
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[tuple[P | None, CopyError]] = []

    async def work(self, source: PieceSource[P]) -> None:
        """Do all pieces; raises what is to be reported."""
        try:
            await self._go_through(source)
        finally:
            while self._running:
                await asyncio.wait(self._running)

    async def ignore(self, source: PieceSource[P], piece: P | None, error: CopyError) -> None:
        """What to do about a failure that the client wants to be ignored; by default it is tried again a bit later."""
        await self.sleep(RETRY_SECONDS)

    async def _go_through(self, source: PieceSource[P]) -> None:
        while True:
            await self.pause_point()
            await self._handle_failures(source)
            if self.pause_requested:
                continue
            await self.throttle(0)
            piece = await self._claim(source)
            if piece is not None:
                self.rate_limit.charge(source.bytes_of(piece))
                self._spawn(source, piece)
                if len(self._running) >= MAX_PARALLEL:
                    await self._one_done()
            elif self._running:
                await self._one_done()
            elif not self._failures:
                return

    async def _claim(self, source: PieceSource[P]) -> P | None:
        try:
            return await source.claim_next(self._chunk())
        except CopyError as error:
            self._failures.append((None, error))
            return None

    def _chunk(self) -> int:
        # A slow job goes in small steps, so that it is smooth and reacts to a new speed.
        return min(CHUNK, max(self.speed // 10, 1)) if self.speed else CHUNK

    def _spawn(self, source: PieceSource[P], piece: P) -> None:
        running = asyncio.get_running_loop().create_task(self._perform(source, piece))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _perform(self, source: PieceSource[P], piece: P) -> None:
        try:
            await source.perform(piece)
        except CopyError as error:
            self._failures.append((piece, error))

    async def _one_done(self) -> None:
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _handle_failures(self, source: PieceSource[P]) -> None:
        failures, self._failures = self._failures, []
        for piece, failure in failures:
            action = self.error_action(self._on_error, failure.cause, is_read=failure.is_read)
            if action is ErrorAction.REPORT:
                raise failure.cause
            if action is ErrorAction.IGNORE:
                await self.ignore(source, piece, failure)
            else:
                # Pieces that were under way fail for the same reason; they are tried again with this one.
                await self.pause_point()
                self._failures.clear()
                return

    def quiescent(self) -> bool:
        return not self._running

    async def on_pause(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
