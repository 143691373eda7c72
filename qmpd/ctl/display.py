"""How jobs, events and values look: rich on a terminal, plain lines elsewhere, JSON where asked for.

The only module of `qmpctl` that writes to standard output. rich is imported when a terminal is there to
enjoy it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qmpd.ctl.joblist import Job, Outcome

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_STEP = 0.1
"""Plain lines report progress in steps of this fraction."""


def human_bytes(count: float) -> str:
    """`1.5 MiB` for 1572864."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def to_json(value: object) -> str:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def outline(value: Any, indent: int = 0) -> list[str]:
    """A JSON value as indented `name: value` lines, lists as dashes."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        return [line for name, member in value.items() for line in _labelled(f"{pad}{name}:", member, indent + 1)]
    if isinstance(value, list):
        return [line for element in value for line in _dashed(element, indent)]
    return [f"{pad}{scalar(value)}"]


def _labelled(label: str, value: Any, indent: int) -> list[str]:
    if isinstance(value, (Mapping, list)) and value:
        return [label, *outline(value, indent)]
    return [f"{label} {scalar(value)}"]


def _dashed(element: Any, indent: int) -> list[str]:
    pad = "  " * indent
    if not isinstance(element, (Mapping, list)) or not element:
        return [f"{pad}- {scalar(element)}"]
    first, *rest = outline(element, indent + 1)
    return [f"{pad}- {first.lstrip()}", *rest]


def scalar(value: Any) -> str:
    """A leaf: text as it is where that is unmistakable, everything else as JSON."""
    if isinstance(value, str) and value and value.strip() == value and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False)


def event_line(event: Mapping[str, Any]) -> str:
    """`TIME NAME member=value ...` for a human."""
    stamp = event.get("timestamp", {})
    when = "-"
    if stamp.get("seconds", -1) >= 0:
        local = datetime.fromtimestamp(stamp["seconds"]).astimezone()
        when = f"{local:%Y-%m-%d %H:%M:%S}.{stamp['microseconds']:06d}"
    data = event.get("data", {})
    members = " ".join(
        f"{name}={scalar(value) if not isinstance(value, (dict, list)) else to_json(value)}"
        for name, value in data.items()
    )
    return f"{when} {event['event']} {members}".rstrip()


def state_of(job: Job) -> str:
    """The one word that matters: how it ended, or what it is doing; an I/O error shows."""
    if job.outcome is not None:
        return str(job.outcome)
    return job.status if job.io_status == "ok" else f"{job.status}, {job.io_status}"


def job_line(job: Job) -> str:
    """One job on one plain line."""
    kind = [job.job_type] if job.job_type != "?" else []  # quickly over, it was never asked about
    kind += [f"group {job.group}"] if job.group else []
    name = f"{job.job_id} ({' '.join(kind)})" if kind else job.job_id
    amount = f", {human_bytes(job.current)} of {human_bytes(job.total)}" if job.counts_bytes else ""
    error = f": {job.error}" if job.error else ""
    return f"{name} {state_of(job)}, {job.fraction:4.0%}{amount}{error}"


class Lines:
    """Progress for a pipe or a log: a line when a job changes its state or is another tenth further."""

    def __init__(self, render: Callable[[Job], str] = job_line, prefix: str = "") -> None:
        self._render = render
        self._prefix = prefix
        self._said: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def show(self, jobs: list[Job]) -> None:
        """Print what is new."""
        for job in jobs:
            said = (state_of(job), int(job.fraction / _STEP))
            if self._said.get(job.job_id) != said:
                self._said[job.job_id] = said
                print(f"{self._prefix}{self._render(job)}", flush=True)


class JsonLines(Lines):
    """As `Lines`, one JSON object a line."""

    def __init__(self) -> None:
        super().__init__(lambda job: to_json(job.as_dict()))


class Bars:
    """Live progress bars, one a job and one a group, for a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._live: Live | None = None
        self._rates = RateMeter()

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(console=self._console, auto_refresh=False)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, jobs: list[Job]) -> None:
        """Draw all of them anew."""
        if self._live is not None:
            self._live.update(job_table(jobs, self._rates), refresh=True)


class RateMeter:
    """How fast each job moves, in its own units per second, smoothed over about a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, tuple[float, int, float]] = {}

    def rate(self, job: Job) -> float:
        """The present rate; tells the meter where the job stands now."""
        now = self._clock()
        then, amount, rate = self._last.get(job.job_id, (now, job.current, 0.0))
        elapsed = now - then
        if job.current < amount:
            elapsed, rate, amount = 0.0, 0.0, job.current
        if elapsed >= 0.1:
            weight = min(1.0, elapsed)
            rate += ((job.current - amount) / elapsed - rate) * weight
            then, amount = now, job.current
        self._last[job.job_id] = (then, amount, rate)
        return 0.0 if job.over else rate


_STYLES = {
    Outcome.COMPLETED: "green",
    Outcome.FAILED: "bold red",
    Outcome.CANCELLED: "yellow",
    Outcome.UNKNOWN: "yellow",
}


def job_table(jobs: Iterable[Job], rates: RateMeter | None = None) -> RenderableType:
    """Jobs as a table with bars; the members of a group stand under a bar of their own."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=False)
    for title in ("job", "type", "state", "progress", "", "amount"):
        table.add_column(title, justify="right" if title == "amount" else "left", overflow="fold")
    for group, members in grouped(jobs):
        if group is not None:
            _add_group(table, group, members)
        for job in members:
            _add_job(table, job, "  " if group is not None else "", rates)
    return table


def grouped(jobs: Iterable[Job]) -> list[tuple[str | None, list[Job]]]:
    """Jobs by group in the order of their first member; each job without a group stands alone."""
    found: list[tuple[str | None, list[Job]]] = []
    places: dict[str, list[Job]] = {}
    for job in jobs:
        if job.group is not None and job.group in places:
            places[job.group].append(job)
            continue
        members = [job]
        if job.group is not None:
            places[job.group] = members
        found.append((job.group, members))
    return found


def _add_group(table: Any, group: str, members: list[Job]) -> None:
    total = sum(job.total for job in members)
    current = sum(job.current for job in members)
    done = sum(job.over for job in members)
    table.add_row(
        group,
        "group",
        f"{done} of {len(members)} over",
        _bar(current / total if total else 0.0),
        f"{current / total if total else 0:4.0%}",
        f"{human_bytes(current)}/{human_bytes(total)}",
        style="bold",
    )


def _add_job(table: Any, job: Job, indent: str, rates: RateMeter | None) -> None:
    from rich.text import Text

    rate = rates.rate(job) if rates is not None else 0.0
    amount = f"{human_bytes(job.current)}/{human_bytes(job.total)}" if job.counts_bytes else ""
    if rate > 0 and job.counts_bytes:
        amount += f"  {human_bytes(rate)}/s"
    state = state_of(job) + (f": {job.error}" if job.error else "")
    table.add_row(
        Text(f"{indent}{job.job_id}"),
        "" if job.job_type == "?" else job.job_type,
        Text(state, style=_STYLES.get(job.outcome, "") if job.outcome else ""),
        _bar(job.fraction),
        f"{job.fraction:4.0%}",
        amount,
    )


def _bar(fraction: float) -> RenderableType:
    """A bar in colours that every terminal has."""
    from rich.progress_bar import ProgressBar

    return ProgressBar(1.0, fraction, width=30, complete_style="cyan", finished_style="green")
