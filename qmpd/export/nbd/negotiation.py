"""The NBD handshake as a state machine (sans-I/O): bytes in, replies out, in the end an `Outcome`.

What for: fixed newstyle negotiation with every option QEMU's server has. Follows the NBD project's
`doc/proto.md` (sections "Handshake", "Option types", "Metadata querying"). Must never touch a socket, and never keeps
more of a client's bytes than one option of bounded length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from qmpd.nbd.numbers import (
    ALLOCATION_DEPTH,
    BASE_ALLOCATION,
    DIRTY_BITMAP,
    GREETING_MAGIC,
    MAX_PAYLOAD,
    MAX_STRING,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY_HEADER,
    OPTION_REPLY_MAGIC,
    PREFERRED_BLOCK,
    HandshakeFlag,
    Info,
    Option,
    ProtocolError,
    Reply,
    TransmissionFlag,
)

_KNOWN_FLAGS = int(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")

_WILDCARDS = ("base:", "qemu:", DIRTY_BITMAP)
"""Queries that stand for all contexts so named, but only when listing."""

_ID_ALLOCATION = 0
_ID_DEPTH = 1
_ID_FIRST_BITMAP = 2


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """What a client is told of an export.

    :param length: bytes.
    :param flags: without SEND_DF, which depends on the client.
    :param alignment: smallest block a client that obeys block sizes may use (bytes).
    :param bitmaps: names of the dirty bitmaps shown as metadata contexts.
    """

    name: str
    description: str | None
    length: int
    flags: TransmissionFlag
    alignment: int = 1
    allocation_depth: bool = False
    bitmaps: tuple[str, ...] = ()

    def contexts(self) -> Iterator[tuple[int, str]]:
        """All metadata contexts of the export: (id, name)."""
        yield _ID_ALLOCATION, BASE_ALLOCATION
        if self.allocation_depth:
            yield _ID_DEPTH, ALLOCATION_DEPTH
        for number, name in enumerate(self.bitmaps, _ID_FIRST_BITMAP):
            yield number, DIRTY_BITMAP + name


class ExportDirectory(Protocol):
    """Where the handshake looks exports up."""

    def find(self, name: str) -> ExportInfo | None:
        """The export of that name."""

    def infos(self) -> Sequence[ExportInfo]:
        """Every export, in the order in which they are listed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A handshake that led to an export.

    :param contexts: negotiated metadata contexts, (id, name), in the order of their ids.
    """

    export: ExportInfo
    structured: bool
    contexts: tuple[tuple[int, str], ...]


class _Invalid(Exception):
    """An option that is refused while the handshake goes on."""

    def __init__(self, kind: Reply, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Negotiation:
    """One client's handshake.

    Send `greeting` first. Then `feed()` what arrives and call `advance()` until it gives None, sending each
    result. `outcome` is set when transmission begins (`rest()` then has the bytes that already belong to it);
    `closed` when the client left in good order.
    """

    MAX_OPTIONS = 4096
    """Most options in one handshake."""
    MAX_OPTION = 256 << 10
    """Longest option that is looked at (bytes); a longer one is skipped and refused."""

    greeting = GREETING_MAGIC + OPTION_MAGIC + _U16.pack(_KNOWN_FLAGS)

    def __init__(self, exports: ExportDirectory) -> None:
        self._exports = exports
        self._input = bytearray()
        self._flags: int | None = None
        self._skip = 0
        self._options = 0
        self._structured = False
        self._contexts: tuple[str, tuple[tuple[int, str], ...]] | None = None
        self.outcome: Outcome | None = None
        self.closed = False
        self._handlers: dict[int, Callable[[int, bytes], bytes]] = {
            Option.EXPORT_NAME: self._export_name,
            Option.ABORT: self._abort,
            Option.LIST: self._list,
            Option.STARTTLS: self._start_tls,
            Option.INFO: self._info,
            Option.GO: self._info,
            Option.STRUCTURED_REPLY: self._structured_reply,
            Option.LIST_META_CONTEXT: self._meta_context,
            Option.SET_META_CONTEXT: self._meta_context,
        }

    def feed(self, data: bytes | memoryview) -> None:
        """Take received bytes."""
        self._input += data

    def rest(self) -> bytes:
        """Bytes received beyond the handshake's end; each is given once."""
        rest = bytes(self._input)
        self._input.clear()
        return rest

    def advance(self) -> bytes | None:
        """Handle at most one message.

        :returns: the answer (may be empty), or None when more input is needed or the handshake is over.
        :raises ProtocolError: there is nothing left but to hang up.
        """
        if self.outcome is not None or self.closed:
            return None
        if self._skip:
            dropped = min(self._skip, len(self._input))
            del self._input[:dropped]
            self._skip -= dropped
        if self._skip:
            return None
        return self._client_flags() if self._flags is None else self._option()

    def _client_flags(self) -> bytes | None:
        if len(self._input) < _U32.size:
            return None
        (flags,) = _U32.unpack_from(self._input)
        del self._input[: _U32.size]
        if flags & ~_KNOWN_FLAGS:
            raise ProtocolError(f"client flags {flags:#x} are not known")
        self._flags = flags
        return b""

    def _option(self) -> bytes | None:
        if len(self._input) < OPTION_HEADER.size:
            return None
        magic, option, length = OPTION_HEADER.unpack_from(self._input)
        self._check_header(magic, option, length)
        if option not in self._handlers or length > self.MAX_OPTION:
            return self._refuse_unread(option, length)
        end = OPTION_HEADER.size + length
        if len(self._input) < end:
            return None
        data = bytes(memoryview(self._input)[OPTION_HEADER.size : end])
        del self._input[:end]
        self._options += 1
        try:
            return self._handlers[option](option, data)
        except _Invalid as error:
            return _reply(option, error.kind, error.text.encode()[:MAX_STRING])

    def _check_header(self, magic: bytes, option: int, length: int) -> None:
        if magic != OPTION_MAGIC:
            raise ProtocolError(f"an option starts with {magic!r} in place of {OPTION_MAGIC!r}")
        if self._options >= self.MAX_OPTIONS:
            raise ProtocolError(f"the client sent more than {self.MAX_OPTIONS} options")
        if length > MAX_PAYLOAD:
            raise ProtocolError(f"option {option} is {length} bytes long; {MAX_PAYLOAD} is the maximum")
        if option == Option.EXPORT_NAME and length > MAX_STRING:
            raise ProtocolError(f"an export name of {length} bytes; {MAX_STRING} is the maximum")
        if option != Option.EXPORT_NAME and not (self._flags or 0) & HandshakeFlag.FIXED_NEWSTYLE:
            raise ProtocolError(f"option {option} needs the fixed newstyle handshake")

    def _refuse_unread(self, option: int, length: int) -> bytes:
        del self._input[: OPTION_HEADER.size]
        self._skip = length
        self._options += 1
        if option in self._handlers:
            text = f"option {option} is {length} bytes long; {self.MAX_OPTION} is the maximum"
            return _reply(option, Reply.ERR_TOO_BIG, text.encode())
        return _reply(option, Reply.ERR_UNSUP, f"option {option} is not supported".encode())

    def _export_name(self, option: int, data: bytes) -> bytes:
        info = self._exports.find(_text(data))
        if info is None:
            # This option has no error reply (proto.md, "NBD_OPT_EXPORT_NAME").
            raise ProtocolError(f"there is no export named '{_shown(data)}'")
        self._finish(info)
        padding = b"" if (self._flags or 0) & HandshakeFlag.NO_ZEROES else bytes(124)
        return struct.pack(">QH", info.length, self._flags_of(info)) + padding

    def _abort(self, option: int, data: bytes) -> bytes:
        self.closed = True
        return _reply(option, Reply.ACK)

    def _list(self, option: int, data: bytes) -> bytes:
        _no_data(option, data)
        replies = []
        for info in self._exports.infos():
            name = info.name.encode()
            description = (info.description or "").encode()
            replies.append(_reply(option, Reply.SERVER, _U32.pack(len(name)) + name + description))
        return b"".join(replies) + _reply(option, Reply.ACK)

    def _start_tls(self, option: int, data: bytes) -> bytes:
        _no_data(option, data)
        raise _Invalid(Reply.ERR_POLICY, "TLS is not configured on this server")

    def _structured_reply(self, option: int, data: bytes) -> bytes:
        _no_data(option, data)
        if self._structured:
            raise _Invalid(Reply.ERR_INVALID, "structured replies are already negotiated")
        self._structured = True
        return _reply(option, Reply.ACK)

    def _info(self, option: int, data: bytes) -> bytes:
        fields = _Fields(data)
        raw_name = fields.string("export name")
        count = fields.number(_U16, "the number of information requests")
        wanted = [fields.number(_U16, "an information request") for _ in range(count)]
        fields.end(option)
        info = self._find(raw_name)
        obeys = Info.BLOCK_SIZE in wanted
        if option == Option.INFO and not obeys and info.alignment > 1:
            raise _Invalid(Reply.ERR_BLOCK_SIZE_REQD, "ask for the block sizes to use this export")
        replies = [_reply(option, Reply.INFO, data) for data in self._info_items(info, option, wanted)]
        if option == Option.GO:
            self._finish(info)
        return b"".join(replies) + _reply(option, Reply.ACK)

    def _info_items(self, info: ExportInfo, option: int, wanted: Sequence[int]) -> Iterator[bytes]:
        if Info.NAME in wanted:
            yield _U16.pack(Info.NAME) + info.name.encode()
        if info.description:
            yield _U16.pack(Info.DESCRIPTION) + info.description.encode()
        # A client that does not ask for block sizes does not know that it has to obey them.
        told = info.alignment if option == Option.INFO or Info.BLOCK_SIZE in wanted else 1
        yield struct.pack(">HIII", Info.BLOCK_SIZE, told, max(PREFERRED_BLOCK, told), MAX_PAYLOAD)
        yield struct.pack(">HQH", Info.EXPORT, info.length, self._flags_of(info))

    def _meta_context(self, option: int, data: bytes) -> bytes:
        listing = option == Option.LIST_META_CONTEXT
        if not listing:
            if not self._structured:
                raise _Invalid(Reply.ERR_INVALID, "metadata contexts need structured replies, negotiated first")
            self._contexts = None
        fields = _Fields(data)
        raw_name = fields.string("export name")
        count = fields.number(_U32, "the number of queries")
        if count > len(data):
            raise _Invalid(Reply.ERR_INVALID, f"option {option} announces {count} queries and has fewer")
        queries = {_text(fields.string("query", limited=False)) for _ in range(count)}
        fields.end(option)
        info = self._find(raw_name)
        available = tuple(info.contexts())
        if listing and not queries:
            chosen = available
        else:
            chosen = tuple((number, name) for number, name in available if _matches(name, queries, listing))
        if not listing:
            self._contexts = (info.name, chosen)
        replies = [
            _reply(option, Reply.META_CONTEXT, _U32.pack(0 if listing else number) + name.encode())
            for number, name in chosen
        ]
        return b"".join(replies) + _reply(option, Reply.ACK)

    def _find(self, raw_name: bytes) -> ExportInfo:
        info = self._exports.find(_text(raw_name))
        if info is None:
            raise _Invalid(Reply.ERR_UNKNOWN, f"there is no export named '{_shown(raw_name)}'")
        return info

    def _flags_of(self, info: ExportInfo) -> int:
        return info.flags | (TransmissionFlag.SEND_DF if self._structured else 0)

    def _finish(self, info: ExportInfo) -> None:
        contexts: tuple[tuple[int, str], ...] = ()
        if self._contexts is not None and self._contexts[0] == info.name:
            contexts = self._contexts[1]
        self.outcome = Outcome(info, self._structured, contexts)


class _Fields:
    """Takes an option's data apart, refusing what is shorter or longer than it says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def number(self, form: struct.Struct, what: str) -> int:
        if self._position + form.size > len(self._data):
            raise _Invalid(Reply.ERR_INVALID, f"the option ends before {what}")
        (value,) = form.unpack_from(self._data, self._position)
        self._position += form.size
        return int(value)

    def string(self, what: str, *, limited: bool = True) -> bytes:
        length = self.number(_U32, f"the length of the {what}")
        if length > len(self._data) - self._position:
            raise _Invalid(Reply.ERR_INVALID, f"the {what} is longer than its option")
        if limited and length > MAX_STRING:
            raise _Invalid(
                Reply.ERR_INVALID, f"the {what} is {length} bytes long; {MAX_STRING} is the maximum"
            )
        self._position += length
        return self._data[self._position - length : self._position]

    def end(self, option: int) -> None:
        if self._position != len(self._data):
            extra = len(self._data) - self._position
            raise _Invalid(Reply.ERR_INVALID, f"option {option} has {extra} bytes too many")


def _matches(name: str, queries: set[str], listing: bool) -> bool:
    if name in queries:
        return True
    return listing and any(query in queries and name.startswith(query) for query in _WILDCARDS)


def _no_data(option: int, data: bytes) -> None:
    if data:
        raise _Invalid(Reply.ERR_INVALID, f"option {option} takes no data, {len(data)} bytes given")


def _text(raw: bytes) -> str:
    # Names are compared, never interpreted; what is not UTF-8 cannot equal any of ours.
    return raw.decode("utf-8", "surrogateescape")


def _shown(raw: bytes) -> str:
    return raw[:256].decode("utf-8", "replace")


def _reply(option: int, kind: Reply, data: bytes = b"") -> bytes:
    return OPTION_REPLY_HEADER.pack(OPTION_REPLY_MAGIC, option, kind, len(data)) + data
