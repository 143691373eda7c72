"""What a human and a script get to see."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.ctl.display import JsonLines, Lines, RateMeter, event_line, grouped, human_bytes, job_table, outline
from qmpd.ctl.joblist import Job, Outcome

RUNNING = Job("j", "backup", "running", 0, 100)


def test_lines_come_when_the_state_or_a_tenth_changes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(prefix="> ")
    for current in (0, 1, 9, 10, 19, 95):
        lines.show([replace(RUNNING, current=current)])
    lines.show([replace(RUNNING, current=95, outcome=Outcome.FAILED, error="No space left on device")])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert all(line.startswith("> j (backup) ") for line in printed)
    assert "failed" in printed[-1]
    assert printed[-1].endswith("No space left on device")


def test_bytes_are_shown_of_jobs_that_count_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.show([replace(RUNNING, current=50), Job("make", "create", "running", 0, 1)])
    done = Outcome.COMPLETED
    lines.show([replace(RUNNING, current=50, outcome=done), Job("make", "create", outcome=done)])
    lines.show([Job("quick", outcome=Outcome.COMPLETED), Job("quicker", group="g", outcome=Outcome.FAILED)])
    assert capsys.readouterr().out.splitlines() == [
        "j (backup) running,  50%, 50 B of 100 B",
        "make (create) running,   0%",
        "j (backup) completed, 100%, 50 B of 100 B",
        "make (create) completed, 100%",
        "quick completed, 100%",
        "quicker (group g) failed,   0%",
    ]


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLines().show([replace(RUNNING, outcome=Outcome.COMPLETED, group="g")])
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["outcome"], told["group"]) == ("j", "completed", "g")


def test_the_table_shows_each_job_and_each_group() -> None:
    from rich.console import Console

    out = io.StringIO()
    jobs = [replace(RUNNING, group="night"), Job("[k]", "mirror", "ready", 3, 4), Job("l", group="night")]
    Console(file=out, width=120).print(job_table(jobs, RateMeter()))
    text = out.getvalue()
    assert all(word in text for word in ("night", "0 of 2 over", "[k]", "mirror", "75%"))


def test_groups_keep_the_order_of_their_first_member() -> None:
    a, b, c = Job("a", group="g"), Job("b"), Job("c", group="g")
    assert grouped([a, b, c]) == [("g", [a, c]), (None, [b])]


def test_a_rate_is_bytes_per_second() -> None:
    now = 0.0
    meter = RateMeter(lambda: now)
    assert meter.rate(RUNNING) == 0
    now = 2.0
    assert meter.rate(replace(RUNNING, current=50)) == 25
    assert meter.rate(replace(RUNNING, current=50, outcome=Outcome.COMPLETED)) == 0
    now = 3.0
    assert meter.rate(replace(RUNNING, current=0)) == 0


def test_an_event_is_one_line() -> None:
    event = {
        "event": "BLOCK_JOB_ERROR",
        "data": {"device": "j", "n": 1, "list": [1]},
        "timestamp": {"seconds": 0, "microseconds": 5},
    }
    line = event_line(event)
    assert line.endswith("BLOCK_JOB_ERROR device=j n=1 list=[1]")
    assert ".000005" in line
    assert event_line({"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}) == "- STOP"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_bytes_for_humans(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_an_outline_reads_like_a_list() -> None:
    value = {"a": 1, "b": {"c": "x y", "d": []}, "e": [{"f": None, "g": ""}, 2]}
    assert outline(value) == ["a: 1", "b:", "  c: x y", "  d: []", "e:", "  - f: null", '    g: ""', "  - 2"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_anything_has_an_outline_of_printable_lines(value: object) -> None:
    assert all("\n" not in line for line in outline(value) if line.isprintable())
