"""The life cycle of a job: which state may follow which, and which verb is legal in which state.

Two rules keep it honest. Everything that decides whether a transition or a verb is legal stands in the two
tables of this file; and this file knows nothing else: no job, no event, no clock. The names are those of
QEMU's published `JobStatus` and `JobVerb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from qmpd.errors import GenericError


class JobStatus(StrEnum):
    """Where a job stands (QEMU's `JobStatus`)."""

    UNDEFINED = "undefined"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    STANDBY = "standby"
    WAITING = "waiting"
    PENDING = "pending"
    ABORTING = "aborting"
    CONCLUDED = "concluded"
    NULL = "null"


class JobVerb(StrEnum):
    """What a client may ask of a job (QEMU's `JobVerb`)."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    SET_SPEED = "set-speed"
    COMPLETE = "complete"
    FINALIZE = "finalize"
    DISMISS = "dismiss"
    CHANGE = "change"


_S = JobStatus

TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    _S.UNDEFINED: frozenset({_S.CREATED}),
    _S.CREATED: frozenset({_S.RUNNING, _S.ABORTING, _S.NULL}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.READY, _S.WAITING, _S.ABORTING}),
    _S.PAUSED: frozenset({_S.RUNNING}),
    _S.READY: frozenset({_S.STANDBY, _S.WAITING, _S.ABORTING}),
    _S.STANDBY: frozenset({_S.READY}),
    _S.WAITING: frozenset({_S.PENDING, _S.ABORTING}),
    _S.PENDING: frozenset({_S.ABORTING, _S.CONCLUDED}),
    _S.ABORTING: frozenset({_S.ABORTING, _S.CONCLUDED}),
    _S.CONCLUDED: frozenset({_S.NULL}),
    _S.NULL: frozenset(),
}

_ACTIVE = frozenset({_S.CREATED, _S.RUNNING, _S.PAUSED, _S.READY, _S.STANDBY})

VERBS: Mapping[JobVerb, frozenset[JobStatus]] = {
    JobVerb.CANCEL: _ACTIVE | {_S.WAITING, _S.PENDING},
    JobVerb.PAUSE: _ACTIVE,
    JobVerb.RESUME: _ACTIVE,
    JobVerb.SET_SPEED: _ACTIVE,
    JobVerb.COMPLETE: frozenset({_S.READY, _S.STANDBY}),
    JobVerb.FINALIZE: frozenset({_S.PENDING}),
    JobVerb.DISMISS: frozenset({_S.CONCLUDED}),
    JobVerb.CHANGE: _ACTIVE,
}


class IllegalTransition(RuntimeError):
    """The daemon tried a step that the life cycle does not have: always a bug, never a client's fault."""


def check_transition(job_id: str, old: JobStatus, new: JobStatus) -> None:
    """Raise `IllegalTransition` unless a job may go from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"job '{job_id}' cannot go from '{old}' to '{new}'")


def check_verb(job_id: str, status: JobStatus, verb: JobVerb) -> None:
    """Raise `GenericError` unless a job in `status` accepts `verb`."""
    if status not in VERBS[verb]:
        legal = ", ".join(f"'{state}'" for state in JobStatus if state in VERBS[verb])
        raise GenericError(f"Job '{job_id}' is '{status}' and does not accept '{verb}', which needs {legal}")
