"""What a command handler is told about the request it answers, and how it may answer.

Leans on nothing but the standard library; it must stay cheap, one context is made for each command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog
    from qmpd.wire.session import Session


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who connected to a Unix socket, as the kernel saw it then."""

    pid: int
    uid: int
    gid: int


class RequestContext:
    """The circumstances of one command.

    :ivar request_id: counts the requests of the daemon's life, from 1.
    :ivar session_id: counts its sessions, from 1; 0 for what the command line asked for.
    :ivar peer: who sent it, where that is known.
    :ivar time: when it was taken up, in seconds since the epoch.
    :ivar session: the protocol session, for `qmp_capabilities` alone.
    :ivar catalog: the daemon's catalog, if it has one. Its transactions hang on the context: see `qmpd.catalog.facade`.
    """

    __slots__ = ("_asyncio_facade_context", "catalog", "peer", "request_id", "session", "session_id", "time")

    _asyncio_facade_context: object

    def __init__(
        self,
        request_id: int,
        session_id: int,
        peer: PeerCredentials | None,
        time: float,
        session: Session | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        self.request_id = request_id
        self.session_id = session_id
        self.peer = peer
        self.time = time
        self.session = session
        self.catalog = catalog


@dataclass(frozen=True, slots=True)
class RawJSON:
    """A result that is JSON text already: one line, ASCII, with QEMU's separators."""

    data: bytes
