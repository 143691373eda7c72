"""Values to JSON text as QEMU writes it: `", "` and `": "` as separators, ASCII only, CR LF after a message.

Leans on the C encoder of the standard library (orjson writes other separators and raw UTF-8). Nothing here
knows of QMP.

Names of files may be any bytes; what is no UTF-8 in them is a lone surrogate in Python's strings. JSON text must not
have those (many parsers refuse it whole), so they are told as U+FFFD, as QEMU does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii

LINE_END = b"\r\n"

_encode = json.JSONEncoder(allow_nan=False).encode
_encode_pretty = json.JSONEncoder(allow_nan=False, indent=4).encode
_SURROGATES = re.compile(r"\\\\|(?:\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|(\\ud[89a-f][0-9a-f]{2})")


def encode(value: object) -> bytes:
    """`value` (JSON-ready) as one line of JSON, without the line end.

    :raises TypeError: for what JSON cannot hold.
    :raises ValueError: for numbers that JSON cannot hold.
    """
    try:
        return _clean(_encode(value))
    except RecursionError:
        return _clean("".join(_encode_deep(value)))


def encode_pretty(value: object) -> bytes:
    """`value` (JSON-ready) as JSON over several lines, indented by four, without the line end."""
    try:
        return _clean(_encode_pretty(value))
    except RecursionError:
        return encode(value)


def encode_string(text: str) -> bytes:
    """`text` as a JSON string."""
    return _clean(encode_basestring_ascii(text))


def _clean(text: str) -> bytes:
    """JSON text without lone surrogates. Pairs stand for characters, and behind a backslash it is no escape."""
    if "\\ud" in text:
        text = _SURROGATES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return text.encode("ascii")


class _Text(str):
    """A piece of JSON text that stands among values to be encoded."""

    __slots__ = ()


def _encode_deep(value: object) -> Iterator[str]:
    """The JSON text of a value nested deeper than the C encoder goes, piece by piece."""
    todo: list[object] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _Text):
            yield item
        elif isinstance(item, dict):
            yield "{"
            todo.append(_Text("}"))
            members = list(item.items())
            for index in range(len(members) - 1, -1, -1):
                key, member = members[index]
                todo += [member, _Text(f"{', ' if index else ''}{encode_basestring_ascii(key)}: ")]
        elif isinstance(item, list | tuple):
            yield "["
            todo.append(_Text("]"))
            for index in range(len(item) - 1, -1, -1):
                todo += [item[index], _Text(", " if index else "")]
        else:
            yield _encode(item)
