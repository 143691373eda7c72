"""One client's QMP session, sans-I/O: JSON values in, checked requests out; results in, reply lines out.

The session knows the greeting, the capabilities negotiation, the shape of a request, and the text of replies,
errors and events. It does not know which commands there are, and it never touches a socket: whoever holds it
feeds bytes to `receive` and writes what the other methods return.

Refusals of a request are `Refused`, in the request's place among the others, so that replies keep the order
of requests. What depends on the session's mode is asked when a request is about to run (`admit`), since a
request ahead of it may change the mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from qmpd.errors import CommandNotFound, ErrorClass, GenericError, QMPError
from qmpd.wire.encoding import LINE_END, encode, encode_pretty, encode_string
from qmpd.wire.framing import Framer
from qmpd.wire.lenient import Malformed

CAPABILITIES = ("oob",)
"""The capabilities that every greeting offers."""

EVENT_REPLAY = "event-replay"
"""The capability of a server that keeps events: they come with their sequence numbers."""

NEGOTIATION_COMMAND = "qmp_capabilities"

_REQUEST_MEMBERS = frozenset(("execute", "exec-oob", "arguments", "id"))
_MISSING = object()


class Mode(Enum):
    """What a session accepts: only the negotiation command, or everything but that."""

    NEGOTIATION = auto()
    COMMAND = auto()


class Request:
    """A request of the right shape.

    :ivar name: the command.
    :ivar arguments: its arguments as they came, or None.
    :ivar id_text: the JSON text of `id`, or None when the request has none.
    :ivar oob: True for `exec-oob`.
    """

    __slots__ = ("arguments", "id_text", "name", "oob")

    def __init__(self, name: str, arguments: dict[str, object] | None, id_text: bytes | None, oob: bool) -> None:
        self.name = name
        self.arguments = arguments
        self.id_text = id_text
        self.oob = oob


class Refused:
    """Input that is no request; `error` is the reply to it."""

    __slots__ = ("error", "id_text")

    def __init__(self, error: QMPError, id_text: bytes | None) -> None:
        self.error = error
        self.id_text = id_text


Incoming = Request | Refused


class Session:
    """The protocol state of one client.

    :param pretty: write replies and events over several lines, for human eyes.
    :param framer: how bytes become JSON values; a test may set other limits.
    :param offered: the capabilities that the greeting offers.
    :ivar numbered: events are wanted with their sequence numbers.
    """

    __slots__ = ("_framer", "mode", "numbered", "offered", "oob", "pretty")

    def __init__(
        self, *, pretty: bool = False, framer: Framer | None = None, offered: Sequence[str] = CAPABILITIES
    ) -> None:
        self._framer = framer or Framer()
        self.offered = offered
        self.numbered = False
        self.mode = Mode.NEGOTIATION
        self.oob = False
        self.pretty = pretty

    def greeting(self, version: object) -> bytes:
        """The first line to the client; `version` is what query-version returns."""
        return self._line({"QMP": {"version": version, "capabilities": list(self.offered)}})

    def negotiate(self, enable: Iterable[str]) -> None:
        """Carry out `qmp_capabilities`.

        :raises CommandNotFound: when the negotiation is already over.
        :raises GenericError: for a capability that the greeting did not offer.
        """
        if self.mode is Mode.COMMAND:
            raise CommandNotFound("Capabilities negotiation is already over; 'qmp_capabilities' is used once")
        wanted = set(enable)
        for capability in sorted(wanted.difference(self.offered)):
            available = ", ".join(repr(name) for name in self.offered)
            raise GenericError(f"Capability {capability!r} in member 'enable' is not available; there are {available}")
        self.oob = "oob" in wanted
        self.numbered = EVENT_REPLAY in wanted
        self.mode = Mode.COMMAND

    def receive(self, data: bytes) -> list[Incoming]:
        """The requests (and refusals) that `data` completes, in order."""
        return [self._check(value) for value in self._framer.feed(data)]

    def receive_strict(self, data: bytes) -> list[Incoming] | None:
        """Like `receive` for complete lines of strict JSON; None, and nothing is taken, for anything else."""
        values = self._framer.feed_strict(data)
        return None if values is None else [self._check(value) for value in values]

    def admit(self, request: Request) -> None:
        """Whether the session's mode allows `request` now.

        The negotiation command after the negotiation is refused when it is carried out, behind its arguments.

        :raises CommandNotFound: for anything but the negotiation command before the negotiation.
        :raises GenericError: for `exec-oob` without the capability.
        """
        if request.oob and not self.oob:
            raise GenericError("Member 'exec-oob' needs the capability 'oob'; use 'execute'")
        if self.mode is Mode.NEGOTIATION and request.name != NEGOTIATION_COMMAND:
            raise CommandNotFound(
                f"Command {request.name!r} is not available before the capabilities negotiation;"
                " send 'qmp_capabilities' first"
            )

    def reply(self, id_text: bytes | None, result: bytes) -> bytes:
        """The line that answers a request with `result`, which is JSON text."""
        if self.pretty:
            return self._reply_pretty(id_text, b'"return": ' + result)
        if id_text is None:
            return b'{"return": %b}\r\n' % result
        return b'{"return": %b, "id": %b}\r\n' % (result, id_text)

    def error(self, id_text: bytes | None, error_class: ErrorClass, desc: str) -> bytes:
        """The line that answers a request with an error."""
        body = b'"error": {"class": "%b", "desc": %b}' % (error_class.value.encode(), encode_string(desc))
        if self.pretty:
            return self._reply_pretty(id_text, body)
        if id_text is None:
            return b"{%b}\r\n" % body
        return b'{"id": %b, %b}\r\n' % (id_text, body)

    def _check(self, value: object) -> Incoming:
        """The request that `value` is, or why it is none."""
        if type(value) is not dict:
            if type(value) is Malformed:
                return Refused(GenericError(value.desc), None)
            return Refused(GenericError("A request must be a JSON object with the member 'execute'"), None)
        identity = value.get("id", _MISSING)
        if type(identity) is int:
            id_text: bytes | None = b"%d" % identity
        elif type(identity) is str:
            id_text = encode_string(identity)
        else:
            id_text = None if identity is _MISSING else encode(identity)
        name = value.get("execute")
        arguments = value.get("arguments")
        known = 1 + (identity is not _MISSING) + (arguments is not None)
        if type(name) is str and known == len(value) and (arguments is None or type(arguments) is dict):
            return Request(name, arguments, id_text, False)
        return _check_odd(value, id_text)

    def _line(self, value: object) -> bytes:
        return (encode_pretty(value) if self.pretty else encode(value)) + LINE_END

    def _reply_pretty(self, id_text: bytes | None, body: bytes) -> bytes:
        tail = b"" if id_text is None else b', "id": ' + id_text
        return reformat_pretty(b"{" + body + tail + b"}" + LINE_END)


def reformat_pretty(line: bytes) -> bytes:
    """A message line of ours as the same message over several lines; as it is if it goes too deep for that."""
    try:
        return encode_pretty(json.loads(line)) + LINE_END
    except RecursionError:
        return line


def event_line(name: str, data: object, seconds: int, microseconds: int) -> bytes:
    """The line that tells of an event at that wall clock time; an empty `data` is left out."""
    stamp = b'{"timestamp": {"seconds": %d, "microseconds": %d}, "event": %b' % (
        seconds,
        microseconds,
        encode_string(name),
    )
    if not data:
        return stamp + b"}\r\n"
    return b'%b, "data": %b}\r\n' % (stamp, encode(data))


def numbered_line(line: bytes, number: int) -> bytes:
    """The line of an event, with its sequence number."""
    return b'%b, "seq": %d}\r\n' % (line.rstrip()[:-1], number)


def _check_odd(value: dict[str, object], id_text: bytes | None) -> Incoming:
    """A request that is not of the common shape: out-of-band, or wrong."""
    for member in value:
        if member not in _REQUEST_MEMBERS:
            return Refused(
                GenericError(f"Member {member!r} of the request is unknown; 'execute', 'arguments', 'id' are"),
                id_text,
            )
    oob = "exec-oob" in value
    if oob and "execute" in value:
        return Refused(GenericError("Members 'execute' and 'exec-oob' exclude each other"), id_text)
    if not oob and "execute" not in value:
        return Refused(GenericError("The request lacks the member 'execute' with a command's name"), id_text)
    name = value["exec-oob" if oob else "execute"]
    if type(name) is not str:
        member = "exec-oob" if oob else "execute"
        return Refused(GenericError(f"Member {member!r} must be a string, the command's name"), id_text)
    arguments = value.get("arguments")
    if "arguments" in value and type(arguments) is not dict:
        return Refused(GenericError("Member 'arguments' must be an object"), id_text)
    return Request(name, arguments if type(arguments) is dict else None, id_text, oob)
