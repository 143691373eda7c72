"""What the commands of `qmpctl` do, once their options are understood.

Each function opens a session, does one thing and returns the exit status; failures leave as `CtlError`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from qmpd.ctl.display import Bars, JsonLines, Lines, event_line, job_line, job_table, outline, to_json
from qmpd.ctl.failure import CommandFailed, ExitStatus, TimedOut, UsageError
from qmpd.ctl.joblist import Job
from qmpd.ctl.session import Address, Session, connect
from qmpd.ctl.values import ServerSchema, build_arguments
from qmpd.ctl.watch import JobWatch, all_completed


async def run(
    target: str,
    command: str,
    words: Sequence[str],
    oob: bool,
    wait: bool,
    timeout: float | None,
    *,
    as_json: bool,
) -> ExitStatus:
    """Run one command; with `wait`, also wait for the jobs whose ids stand in its arguments."""
    if timeout is not None and not wait:
        raise UsageError("--timeout says how long to --wait, which is missing")
    words = [_read_file(word) if word.startswith("@") else word for word in words]
    async with connect(Address.parse(target)) as session:
        schema = await _schema(session) if words else ServerSchema()
        arguments = build_arguments(command, words, schema)
        result = await session.execute(command, arguments or None, oob=oob)
        if not wait:
            _print_result(result, as_json=as_json)
            return ExitStatus.OK
        names = list(dict.fromkeys(_job_ids(arguments)))
        grouped = arguments.get("properties") == {"completion-mode": "grouped"}
        with _progress(as_json) as display:
            watch = JobWatch(session, display, groups=dict.fromkeys(names, "group") if grouped else None)
            ended = await watch.until_over_known(names, timeout)
        if not ended:
            _print_result(result, as_json=as_json)
            print("qmpctl: the command has started no job to wait for", file=sys.stderr)
        return _outcome(ended)


async def hmp(target: str, lines: Sequence[str], *, as_json: bool) -> ExitStatus:
    """Carry out lines of the monitor for people, one after the other; those of standard input if there are none."""
    async with connect(Address.parse(target)) as session:
        for line in lines or _typed_lines():
            text = str(await session.execute("human-monitor-command", {"command-line": line.rstrip("\n")}))
            print(to_json(text) if as_json else text.replace("\r\n", "\n"), end="\n" if as_json else "", flush=True)
    return ExitStatus.OK


def _typed_lines() -> Iterator[str]:
    """The lines of standard input."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"line {number} of the input is not UTF-8") from error


def _read_file(word: str) -> str:
    """The text that `@FILE` stands for."""
    name = word[1:]
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{name}': {error}") from error


async def _schema(session: Session) -> ServerSchema:
    """The server's schema; an empty one where the server does not tell it."""
    try:
        return ServerSchema(await session.execute("query-qmp-schema"))
    except CommandFailed:
        return ServerSchema()


def _job_ids(arguments: Any) -> Iterator[str]:
    """The ids of the jobs that a command starts: its `job-id`s, and `device` where there is none."""
    if isinstance(arguments, dict):
        name = arguments.get("job-id", arguments.get("device"))
        if isinstance(name, str):
            yield name
    members = arguments.values() if isinstance(arguments, dict) else arguments
    for member in members:
        if isinstance(member, (dict, list)):
            yield from _job_ids(member)


def _print_result(result: Any, *, as_json: bool) -> None:
    if as_json:
        print(to_json(result))
    elif result in ({}, []):
        print("ok" if result == {} else "(none)")
    else:
        print("\n".join(outline(result)))


async def events(
    target: str, names: Sequence[str], count: int | None, timeout: float | None, *, as_json: bool
) -> ExitStatus:
    """Print `count` events whose name matches one of `names`; all that come when there is no count."""
    seen = 0
    async with connect(Address.parse(target)) as session:
        try:
            async with asyncio.timeout(timeout):
                while count is None or seen < count:
                    event = await session.next_event()
                    if not names or any(fnmatchcase(str(event["event"]), name) for name in names):
                        seen += 1
                        print(to_json(dict(event)) if as_json else event_line(event), flush=True)
        except TimeoutError as error:
            if count is None:
                return ExitStatus.OK
            raise TimedOut(f"{seen} of {count} events came within {timeout:g} s") from error
    return ExitStatus.OK


async def list_jobs(target: str, ids: Sequence[str], *, as_json: bool) -> ExitStatus:
    """Print the jobs as they stand now."""
    async with connect(Address.parse(target)) as session:
        jobs = await JobWatch(session).refresh()
    missing = [name for name in ids if name not in {job.job_id for job in jobs}]
    if missing:
        raise UsageError(f"there is no job '{missing[0]}'")
    _print_jobs([job for job in jobs if not ids or job.job_id in ids], as_json=as_json)
    return ExitStatus.OK


def _print_jobs(jobs: list[Job], *, as_json: bool) -> None:
    if as_json:
        print(to_json([job.as_dict() for job in jobs]))
    elif not jobs:
        print("no jobs")
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(job_table(jobs))
    else:
        print("\n".join(job_line(job) for job in jobs))


async def follow_jobs(
    target: str,
    ids: Sequence[str],
    interval: float,
    timeout: float | None,
    *,
    show_progress: bool,
    as_json: bool,
) -> ExitStatus:
    """Wait until the jobs (all that there are, when no ids are given) are over; outcome as exit status."""
    async with connect(Address.parse(target)) as session:
        if not show_progress:
            ended = await JobWatch(session, None, interval).until_over(ids, timeout)
            _print_jobs(ended, as_json=as_json)
            return _outcome(ended)
        with _progress(as_json) as display:
            ended = await JobWatch(session, display, interval).until_over(ids, timeout)
    if not ended and not as_json:
        print("no jobs")
    return _outcome(ended)


def _progress(as_json: bool) -> Lines | Bars:
    if as_json:
        return JsonLines()
    return Bars() if sys.stdout.isatty() else Lines()


def _outcome(jobs: list[Job]) -> ExitStatus:
    return ExitStatus.OK if all_completed(jobs) else ExitStatus.FAILED
