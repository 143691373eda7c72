"""Bytes in any chunking to JSON values: the fast way for what is strict JSON, the lenient way for the rest.

Complete lines of strict JSON, which is what clients send, go through orjson as a whole. What orjson refuses,
or takes more liberally than QEMU does (keys that stand twice, code points that are no characters), meets
`qmpd.wire.lenient`, and so does a line that is cut by the end of a read: it may already hold a complete
message that must not wait. Nothing here knows of QMP, and nothing that is fed raises.
"""

from __future__ import annotations

import re
from typing import cast

import orjson

from qmpd.wire.lenient import MAX_MESSAGE_BYTES, MAX_NESTING, MAX_TOKENS, LenientParser

STRICT_BYTES = 1 << 20
"""The most that is tried the fast way at once, in bytes."""

_ALL_OBJECTS = {dict}
_SUSPECT = re.compile(rb"\\u|[^\x00-\x7f]")
"""What makes the cheap checks of `_unique_keys` unsound, or may stand for what is no character."""


class Framer:
    """Bytes in, JSON values out; what was not JSON comes out as `Malformed` in its place.

    :param max_bytes: longest message, in bytes.
    :param max_nesting: how deep arrays and objects may be nested.
    :param max_tokens: most tokens in one message.
    """

    __slots__ = ("_lenient", "_strict_limit")

    def __init__(
        self,
        max_bytes: int = MAX_MESSAGE_BYTES,
        max_nesting: int = MAX_NESTING,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self._lenient = LenientParser(max_bytes, max_nesting, max_tokens)
        # What is no longer than this is within the limits (orjson's own limit of nesting is QEMU's).
        self._strict_limit = min(STRICT_BYTES, max_bytes, max_tokens)
        if max_nesting < MAX_NESTING:
            self._strict_limit = 0

    def feed(self, data: bytes) -> list[object]:
        """Take the next bytes; the values (and errors) that they complete, in order."""
        if not self._lenient.in_sync or len(data) > self._strict_limit:
            return self._feed_rest(data)
        if data[-1:] == b"\n" or data[-1:] == b"}":
            values = _strict_lines(data)
            return self._lenient.feed(data) if values is None else values
        cut = data.rfind(b"\n") + 1
        values = _strict_lines(data[:cut]) if cut else []
        if values is None:
            return self._lenient.feed(data)
        return values + self._lenient.feed(data[cut:])

    def feed_strict(self, data: bytes) -> list[object] | None:
        """Like `feed`, but only if that is quick: None (and nothing taken) when it wants the lenient parser."""
        if not self._lenient.in_sync or len(data) > self._strict_limit:
            return None
        return _strict_lines(data) if data[-1:] in (b"\n", b"}") else None

    def _feed_rest(self, data: bytes) -> list[object]:
        """The rest of what the lenient parser has begun; what comes after its line may be strict again."""
        cut = data.find(b"\n") + 1
        if not cut or len(data) > self._strict_limit:
            return self._lenient.feed(data)
        values = self._lenient.feed(data[:cut])
        if cut == len(data):
            return values
        feed = self.feed if self._lenient.in_sync else self._lenient.feed
        return values + feed(data[cut:])


def _strict_lines(data: bytes) -> list[object] | None:
    """The values of complete lines, one each; None when a line is not strict JSON or wants a closer look."""
    if _SUSPECT.search(data):
        return None
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    try:
        values: list[object] = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return None
    return values if _unique_keys(values, lines, data) else None


def _unique_keys(values: list[object], lines: list[bytes], data: bytes) -> bool:
    """Whether no object in `values` can have lost a key that stood there twice.

    Each key in the text has a colon of its own, so there are as many colons as keys that came out (and colons
    within strings that came out) exactly when none was lost. A wrong alarm costs time only.
    """
    if set(map(type, values)) == _ALL_OBJECTS:
        objects = cast(list[dict[str, object]], values)
        arguments = [inner for value in objects if type(inner := value.get("arguments")) is dict]
        if data.count(b":") == sum(map(len, objects)) + sum(map(len, arguments)):
            return True
    return all(line.count(b":") == _colons(value) for value, line in zip(values, lines, strict=True))


def _colons(value: object) -> int:
    """How many colons the JSON text of `value` has, if it has no escapes."""
    total = 0
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            total += item.count(":")
        elif isinstance(item, dict):
            total += len(item)
            todo += item
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return total
