"""The client's side of the NBD handshake (sans-I/O): a script that says what to send and how much to receive.

Fixed newstyle negotiation of one export with structured replies, one metadata context and block sizes, each only if
the server has it; NBD_OPT_EXPORT_NAME for a server that has not even NBD_OPT_GO. Follows the NBD project's
`doc/proto.md` (sections "Handshake", "Option types", "Metadata querying"). Nothing that a server says makes it wait for
more than a bounded number of bytes, or keeps it going for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from qmpd.nbd.numbers import (
    BASE_ALLOCATION,
    GREETING_MAGIC,
    MAX_PAYLOAD,
    MAX_STRING,
    OPTION_HEADER,
    OPTION_MAGIC,
    OPTION_REPLY_HEADER,
    OPTION_REPLY_MAGIC,
    REPLY_IS_ERROR,
    HandshakeFlag,
    Info,
    Option,
    ProtocolError,
    Reply,
    TransmissionFlag,
)

Script = Generator[bytes | int, bytes, "ServerExport"]
"""Yields bytes to send, or how many bytes to receive, which are then to be sent into it; returns the outcome."""

_Step = Generator[bytes | int, bytes, "_Answer"]

_GREETING = struct.Struct(">8s8sH")
_EXPORT_NAME_REPLY = struct.Struct(">QH")
_EXPORT_NAME_PADDING = 124
_INFO_KIND = struct.Struct(">H")
_INFO_EXPORT = struct.Struct(">QH")
_INFO_BLOCK_SIZE = struct.Struct(">III")
_U32 = struct.Struct(">I")
_MAX_REPLIES = 256
_MAX_REPLY = 2 * MAX_STRING + 64
_OLDSTYLE_MAGIC = b"\x00\x00\x42\x02\x81\x86\x12\x53"
_LARGEST_SECTOR = 64 << 10


class Refused(Exception):
    """The server speaks the protocol, and does not give what was asked for; says why."""


@dataclass(slots=True)
class ServerExport:
    """What the handshake has led to.

    :ivar length: bytes.
    :ivar flags: `TransmissionFlag`s.
    :ivar structured: replies may be structured.
    :ivar context: the id of the metadata context, None if there is none.
    :ivar smallest: requests have to be multiples of this many bytes.
    :ivar largest: the most bytes that a read or write may carry.
    """

    length: int = 0
    flags: int = 0
    structured: bool = False
    context: int | None = None
    smallest: int = 1
    largest: int = MAX_PAYLOAD

    def has(self, flag: TransmissionFlag) -> bool:
        """Whether the export can do something."""
        return bool(self.flags & TransmissionFlag.HAS_FLAGS and self.flags & flag)


class _Verdict(IntEnum):
    DONE = 0
    REFUSED = 1
    UNKNOWN = 2


class _Answer(NamedTuple):
    """How an option went, and the replies that came before its end."""

    verdict: _Verdict
    replies: list[tuple[int, bytes]]
    text: str


def handshake(export: str, context: str | None) -> Script:
    """The script for one export.

    :param context: the metadata context to be asked instead of `base:allocation`, which the server has to have then.
    :raises Refused: there is no such export or context, or the server needs something that is not here.
    :raises ProtocolError: what the server says makes no sense.
    """
    flags = _parse_greeting((yield _GREETING.size))
    known = flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)
    yield _U32.pack(known)
    found = ServerExport()
    if flags & HandshakeFlag.FIXED_NEWSTYLE:
        answer = yield from _option(Option.STRUCTURED_REPLY, b"")
        found.structured = answer.verdict is _Verdict.DONE
    if found.structured:
        yield from _ask_for_context(found, export, context or BASE_ALLOCATION)
    if context is not None and found.context is None:
        raise Refused(f"it has no metadata context '{context}' (x-dirty-bitmap) for export '{export}'")
    if flags & HandshakeFlag.FIXED_NEWSTYLE and (yield from _go(found, export)):
        return _checked(found)
    yield from _export_name(found, export, padded=not known & HandshakeFlag.NO_ZEROES)
    return _checked(found)


def _parse_greeting(data: bytes) -> int:
    magic, style, flags = _GREETING.unpack(data)
    if magic != GREETING_MAGIC:
        raise ProtocolError("the server does not speak NBD")
    if style == _OLDSTYLE_MAGIC:
        raise ProtocolError("the server speaks the oldest form of NBD, which has no export names")
    if style != OPTION_MAGIC:
        raise ProtocolError("the server's greeting is not that of NBD")
    return int(flags)


def _ask_for_context(found: ServerExport, export: str, context: str) -> Generator[bytes | int, bytes, None]:
    data = _string(export) + _U32.pack(1) + _string(context)
    answer = yield from _option(Option.SET_META_CONTEXT, data)
    if answer.verdict is not _Verdict.DONE:
        return
    for kind, payload in answer.replies:
        if kind != Reply.META_CONTEXT or len(payload) < _U32.size:
            raise ProtocolError("a metadata context is not told as such")
        if payload[_U32.size :] != context.encode(errors="surrogateescape"):
            raise ProtocolError("the server tells of a metadata context that was not asked for")
        (found.context,) = _U32.unpack_from(payload)


def _go(found: ServerExport, export: str) -> Generator[bytes | int, bytes, bool]:
    """Choose the export; False if the server does not know this way."""
    data = _string(export) + struct.pack(">HH", 1, Info.BLOCK_SIZE)
    answer = yield from _option(Option.GO, data)
    if answer.verdict is _Verdict.UNKNOWN:
        return False
    if answer.verdict is _Verdict.REFUSED:
        raise Refused(f"it does not give export '{export}'{answer.text}")
    told = False
    for kind, payload in answer.replies:
        if kind != Reply.INFO or len(payload) < _INFO_KIND.size:
            raise ProtocolError("a piece of information about the export is not told as such")
        told = _take_info(found, payload) or told
    if not told:
        raise ProtocolError("the server did not tell the export's size")
    return True


def _take_info(found: ServerExport, payload: bytes) -> bool:
    """Note what a piece of information says; True if it is the one that must not be missing."""
    (kind,) = _INFO_KIND.unpack_from(payload)
    body = payload[_INFO_KIND.size :]
    if kind == Info.EXPORT:
        if len(body) != _INFO_EXPORT.size:
            raise ProtocolError("the export's size is told in a wrong form")
        found.length, found.flags = _INFO_EXPORT.unpack(body)
        return True
    if kind == Info.BLOCK_SIZE:
        if len(body) != _INFO_BLOCK_SIZE.size:
            raise ProtocolError("the block sizes are told in a wrong form")
        found.smallest, _, largest = _INFO_BLOCK_SIZE.unpack(body)
        found.largest = min(largest, MAX_PAYLOAD)
    return False


def _export_name(found: ServerExport, export: str, *, padded: bool) -> Generator[bytes | int, bytes, None]:
    """Choose the export in the way that all servers know; one that has no such export hangs up."""
    name = export.encode(errors="surrogateescape")
    yield OPTION_HEADER.pack(OPTION_MAGIC, Option.EXPORT_NAME, len(name)) + name
    reply = yield _EXPORT_NAME_REPLY.size
    found.length, found.flags = _EXPORT_NAME_REPLY.unpack(reply)
    if padded:
        yield _EXPORT_NAME_PADDING


def _checked(found: ServerExport) -> ServerExport:
    smallest, largest = found.smallest, found.largest
    if not 0 < smallest <= _LARGEST_SECTOR or smallest & (smallest - 1):
        raise ProtocolError(f"the smallest block is {smallest} bytes, which is no power of two up to {_LARGEST_SECTOR}")
    if largest < smallest:
        raise ProtocolError(f"the largest block is {largest} bytes, less than the smallest of {smallest}")
    if found.length % smallest:
        raise ProtocolError(f"the export has {found.length} bytes, which is no multiple of its block of {smallest}")
    found.largest = largest // smallest * smallest
    return found


# Options.


def _option(option: Option, data: bytes) -> _Step:
    """Send an option and take in all replies to it.

    :raises Refused: the server answers nothing unless TLS is spoken.
    """
    yield OPTION_HEADER.pack(OPTION_MAGIC, option, len(data)) + data
    replies: list[tuple[int, bytes]] = []
    while len(replies) <= _MAX_REPLIES:
        magic, about, kind, length = OPTION_REPLY_HEADER.unpack((yield OPTION_REPLY_HEADER.size))
        if magic != OPTION_REPLY_MAGIC or about != option:
            raise ProtocolError(f"what should answer option {int(option)} is no reply to it")
        if length > _MAX_REPLY:
            raise ProtocolError(f"a reply to option {int(option)} has {length} bytes; {_MAX_REPLY} is the most")
        payload = (yield length) if length else b""
        if kind & REPLY_IS_ERROR:
            return _refusal(kind, payload, replies)
        if kind == Reply.ACK:
            return _Answer(_Verdict.DONE, replies, "")
        replies.append((kind, payload))
    raise ProtocolError(f"there are more than {_MAX_REPLIES} replies to option {int(option)}")


def _refusal(kind: int, payload: bytes, replies: list[tuple[int, bytes]]) -> _Answer:
    text = payload[:256].decode("utf-8", "replace")
    if kind == Reply.ERR_TLS_REQD:
        raise Refused("it wants to speak TLS, which is not possible here")
    verdict = _Verdict.UNKNOWN if kind == Reply.ERR_UNSUP else _Verdict.REFUSED
    return _Answer(verdict, replies, f": {text}" if text else "")


def _string(text: str) -> bytes:
    data = text.encode(errors="surrogateescape")
    return _U32.pack(len(data)) + data
