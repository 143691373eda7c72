"""How a job ended, told from answers and events in every order in which they may come."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.ctl.joblist import JobList, Outcome


def change(status: str, job_id: str = "j") -> dict[str, Any]:
    return {"event": "JOB_STATUS_CHANGE", "data": {"id": job_id, "status": status}}


def last_words(name: str, error: str | None = None, job_id: str = "j") -> dict[str, Any]:
    data: dict[str, Any] = {"device": job_id, "type": "backup", "len": 8, "offset": 4, "speed": 0}
    if error is not None:
        data["error"] = error
    return {"event": name, "data": data}


def answer(status: str, error: str | None = None, job_id: str = "j") -> dict[str, Any]:
    info = {"id": job_id, "type": "backup", "status": status, "current-progress": 2, "total-progress": 8}
    return info if error is None else {**info, "error": error}


COMPLETED = [change("waiting"), change("pending"), last_words("BLOCK_JOB_COMPLETED")]
FAILED = [change("aborting"), last_words("BLOCK_JOB_COMPLETED", "No space left on device")]
CANCELLED = [change("aborting"), last_words("BLOCK_JOB_CANCELLED")]


@pytest.mark.parametrize(
    ("events", "outcome"),
    [(COMPLETED, Outcome.COMPLETED), (FAILED, Outcome.FAILED), (CANCELLED, Outcome.CANCELLED)],
)
@pytest.mark.parametrize("end", [["concluded", "null"], ["null"]])
@pytest.mark.parametrize("start", ["by event", "by answer"])
def test_events_tell_how_a_vanishing_job_ended(
    events: list[dict[str, Any]], outcome: Outcome, end: list[str], start: str
) -> None:
    jobs = JobList()
    if start == "by event":
        jobs.feed(change("created"))
        jobs.feed(change("running"))
    else:
        jobs.update([answer("running")])
    for event in events:
        assert jobs.feed(event)
        assert jobs.ended("j") is None
    for status in end:
        jobs.feed(change(status))
    ended = jobs.ended("j")
    assert ended is not None
    assert ended.outcome is outcome
    assert (ended.error is not None) == (outcome is Outcome.FAILED)
    jobs.update([])
    assert jobs.ended("j") == ended


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.COMPLETED),
        ("No space left on device", Outcome.FAILED),
        ("Operation canceled", Outcome.CANCELLED),
    ],
)
def test_an_answer_tells_how_a_kept_job_ended(error: str | None, outcome: Outcome) -> None:
    jobs = JobList()
    jobs.update([answer("concluded", error)])
    ended = jobs.ended("j")
    assert ended is not None
    assert (ended.outcome, ended.error) == (outcome, error)


def test_a_job_without_block_events_fails_by_its_status() -> None:
    jobs = JobList()
    for status in ("created", "running", "aborting", "concluded"):
        jobs.feed(change(status))
    ended = jobs.ended("j")
    assert ended is not None
    assert ended.outcome is Outcome.FAILED


def test_a_job_that_vanished_without_a_word_is_unknown() -> None:
    jobs = JobList()
    jobs.update([answer("running")])
    jobs.update([])
    ended = jobs.ended("j")
    assert ended is not None
    assert ended.outcome is Outcome.UNKNOWN


def test_a_job_younger_than_the_answer_is_not_lost() -> None:
    jobs = JobList()
    jobs.feed(change("created"))
    jobs.update([])
    assert jobs.ended("j") is None


def test_an_older_answer_does_not_revive_a_job() -> None:
    jobs = JobList()
    jobs.update([answer("running")])
    for event in [*COMPLETED, change("concluded"), change("null")]:
        jobs.feed(event)
    jobs.update([answer("running")])
    job = jobs.get("j")
    assert job is not None
    assert job.over


def test_the_last_words_of_a_job_never_seen_tell_nothing() -> None:
    jobs = JobList()
    jobs.feed(change("concluded"))
    jobs.feed(change("null"))
    assert jobs.jobs == []
    assert jobs.ended("j") is None


def test_a_name_used_again_is_a_new_job_but_the_first_end_stays() -> None:
    jobs = JobList()
    for event in [change("created"), *FAILED, change("concluded"), change("null"), change("created")]:
        jobs.feed(event)
    job, ended = jobs.get("j"), jobs.ended("j")
    assert job is not None
    assert ended is not None
    assert not job.over
    assert ended.outcome is Outcome.FAILED
    for event in [*COMPLETED, change("concluded")]:
        jobs.feed(event)
    again = jobs.get("j")
    assert again is not None
    assert again.outcome is Outcome.COMPLETED


def test_details_come_from_the_block_jobs() -> None:
    jobs = JobList()
    jobs.update([answer("running")], [{"device": "j", "speed": 7, "io-status": "nospace"}])
    job = jobs.get("j")
    assert job is not None
    assert (job.speed, job.io_status, job.fraction) == (7, "nospace", 0.25)
    assert job.as_dict()["io-status"] == "nospace"


def test_a_group_that_the_caller_knows_and_one_that_the_server_tells() -> None:
    jobs = JobList({"j": "mine", "k": "mine"})
    jobs.feed(change("created"))
    jobs.update([answer("running"), {**answer("running", job_id="k"), "group": "theirs"}])
    assert [job.group for job in jobs.jobs] == ["mine", "theirs"]


def test_other_events_are_none_of_its_business() -> None:
    assert not JobList().feed({"event": "SHUTDOWN", "data": {}})
