"""What a command handler is told about the request it answers, and how it may answer.

Leans on nothing but the standard library; it must stay cheap, one context is made for each command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from qmpd.wire.session import Session


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who connected to a Unix socket, as the kernel saw it then."""

    pid: int
    uid: int
    gid: int


class RequestContext(NamedTuple):
    """The circumstances of one command.

    :ivar request_id: counts the requests of the daemon's life, from 1.
    :ivar session_id: counts its sessions, from 1; 0 for what the command line asked for.
    :ivar peer: who sent it, where that is known.
    :ivar time: when it was taken up, in seconds since the epoch.
    :ivar session: the protocol session, for `qmp_capabilities` alone.
    """

    request_id: int
    session_id: int
    peer: PeerCredentials | None
    time: float
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class RawJSON:
    """A result that is JSON text already: one line, ASCII, with QEMU's separators."""

    data: bytes
