"""The state tables against the published life cycle: every pair of states, every verb in every state."""

from __future__ import annotations

import itertools

import pytest

from qmpd.errors import ErrorClass, GenericError
from qmpd.jobs.state import IllegalTransition, JobStatus, JobVerb, check_transition, check_verb

STATES = [
    "undefined",
    "created",
    "running",
    "paused",
    "ready",
    "standby",
    "waiting",
    "pending",
    "aborting",
    "concluded",
    "null",
]

LIFE_CYCLE = {
    "undefined": "created",
    "created": "running aborting null",
    "running": "paused ready waiting aborting",
    "paused": "running",
    "ready": "standby waiting aborting",
    "standby": "ready",
    "waiting": "pending aborting",
    "pending": "aborting concluded",
    "aborting": "aborting concluded",
    "concluded": "null",
    "null": "",
}

VERBS = {
    "cancel": "created running paused ready standby waiting pending",
    "pause": "created running paused ready standby",
    "resume": "created running paused ready standby",
    "set-speed": "created running paused ready standby",
    "complete": "ready standby",
    "finalize": "pending",
    "dismiss": "concluded",
    "change": "created running paused ready standby",
}


def test_the_names_are_the_published_ones() -> None:
    assert [status.value for status in JobStatus] == STATES
    assert sorted(verb.value for verb in JobVerb) == sorted(VERBS)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(STATES, STATES)))
def test_every_pair_of_states(old: str, new: str) -> None:
    if new in LIFE_CYCLE[old].split():
        check_transition("j", JobStatus(old), JobStatus(new))
    else:
        with pytest.raises(IllegalTransition, match=f"'j'.*'{old}'.*'{new}'"):
            check_transition("j", JobStatus(old), JobStatus(new))


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(VERBS, STATES)))
def test_every_verb_in_every_state(verb: str, status: str) -> None:
    if status in VERBS[verb].split():
        check_verb("j", JobStatus(status), JobVerb(verb))
    else:
        with pytest.raises(GenericError) as caught:
            check_verb("j", JobStatus(status), JobVerb(verb))
        assert caught.value.error_class is ErrorClass.GENERIC_ERROR
        for word in ("'j'", f"'{status}'", f"'{verb}'"):
            assert word in caught.value.desc
