"""The loop that follows jobs until they are over.

Asks for progress at an interval and listens to events in between, since progress makes no events. Leans on
`Session` and `JobList`; what is seen goes to a display, which only shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from qemu.qmp import Message

from qmpd.ctl.failure import CommandFailed, TimedOut, UsageError
from qmpd.ctl.joblist import Job, JobList, Outcome
from qmpd.ctl.session import Session

INTERVAL_SECONDS = 0.25
"""Time between two questions for progress, unless the caller says otherwise."""


class Display(Protocol):
    """Something that shows jobs."""

    def show(self, jobs: list[Job]) -> None:
        """Show these jobs; called after each change and at each interval."""


class Silent:
    """The display that shows nothing."""

    def show(self, jobs: list[Job]) -> None:
        """Nothing to see."""


class JobWatch:
    """Follows the jobs of one session.

    :param interval: seconds between two questions for progress.
    :param on_event: called with each event about a job, in order.
    :param groups: job id to group, where the caller knows it.
    """

    def __init__(
        self,
        session: Session,
        display: Display | None = None,
        interval: float = INTERVAL_SECONDS,
        on_event: Callable[[Message], None] | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> None:
        self.list = JobList(groups)
        self._session = session
        self._display = display or Silent()
        self._interval = interval
        self._has_block_jobs = True
        self._on_event = on_event

    async def refresh(self) -> list[Job]:
        """Ask the server once and return all jobs that are known.

        :raise CtlError: the server has no `query-jobs`, or went away.
        """
        jobs = await self._session.execute("query-jobs")
        block_jobs = await self._query_block_jobs() if jobs else []
        self._drain()
        self.list.update(jobs, block_jobs)
        return self.list.jobs

    async def _query_block_jobs(self) -> list[dict[str, object]]:
        if not self._has_block_jobs:
            return []
        try:
            answer: list[dict[str, object]] = await self._session.execute("query-block-jobs")
        except CommandFailed:
            self._has_block_jobs = False
            return []
        return answer

    def _drain(self) -> None:
        for event in self._session.waiting_events():
            self._feed(event)

    def _feed(self, event: Message) -> bool:
        about_job = self.list.feed(event)
        if about_job and self._on_event is not None:
            self._on_event(event)
        return about_job

    async def until_over(self, job_ids: Collection[str] = (), timeout: float | None = None) -> list[Job]:
        """Follow jobs until they are over and return how they ended.

        :param job_ids: those to wait for; all that the server has now when empty.
        :param timeout: in seconds; None waits without limit.
        :raise UsageError: there is no such job, and no event told of its end.
        :raise TimedOut: some are not over in time.
        """
        present = await self.refresh()
        names = list(dict.fromkeys(job_ids)) or [job.job_id for job in present]
        for name in names:
            if self.list.get(name) is None:
                raise UsageError(
                    f"there is no job '{name}'; one that is over is forgotten unless it was "
                    "started with auto-dismiss=false"
                )
        return await self._follow(names, timeout)

    async def until_over_known(self, job_ids: Collection[str], timeout: float | None = None) -> list[Job]:
        """As `until_over`, for jobs that the caller's own command made: one of them may be over and gone
        already, since the events told how it ended."""
        self._drain()
        await self.refresh()
        return await self._follow([name for name in dict.fromkeys(job_ids) if self.list.get(name)], timeout)

    async def _follow(self, names: list[str], timeout: float | None) -> list[Job]:
        try:
            async with asyncio.timeout(timeout):
                while self._unfinished(names):
                    self._display.show(self._selected(names))
                    await self._step()
        except TimeoutError as error:
            left = ", ".join(self._unfinished(names))
            raise TimedOut(f"not over within {timeout:g} s: {left}") from error
        ended = self._selected(names)
        self._display.show(ended)
        return ended

    def _unfinished(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.list.ended(name) is None]

    def _selected(self, names: Iterable[str]) -> list[Job]:
        jobs = (self.list.ended(name) or self.list.get(name) for name in names)
        return [job for job in jobs if job is not None]

    async def _step(self) -> None:
        """Until something happened to a job, or for one interval; then see how far all are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval):
                while not self._feed(await self._session.next_event()):
                    pass
        await self.refresh()


def all_completed(jobs: Iterable[Job]) -> bool:
    """Whether every one of the jobs ended well."""
    return all(job.outcome is Outcome.COMPLETED for job in jobs)
