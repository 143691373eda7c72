"""Cuts schema text into tokens.

The dialect is JSON with single-quoted strings, `#` comments to the end of the line, and no numbers. A line
that is exactly `##` opens a documentation block that the next such line closes; the block is one token.
Source: "How to use the QAPI code generator", section "QAPI schema language" of the QEMU manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from qmpd.qapi.source import SchemaError, SourceInfo


class TokenKind(Enum):
    """What a token is."""

    PUNCTUATION = auto()
    STRING = auto()
    BOOLEAN = auto()
    DOC = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` is the punctuation, the string's value, `true` or `false`, or a doc block's text."""

    kind: TokenKind
    text: str
    line: int


_ESCAPES = "\\/'\""
_WORD = re.compile(r"[A-Za-z0-9_]+")


def tokenize(text: str, info: SourceInfo) -> Iterator[Token]:
    """The tokens of `text`, the last of kind END.

    :param info: the file; its line number is ignored.
    :raises SchemaError: for anything that is no token.
    """
    position, line = 0, 1
    while position < len(text):
        char = text[position]
        if char == "\n":
            position, line = position + 1, line + 1
        elif char in " \t":
            position += 1
        elif char == "#":
            end = _line_end(text, position)
            if text[position:end].rstrip() == "##" and _starts_line(text, position):
                token, position = _doc_block(text, position, line, info)
                yield token
                line += token.text.count("\n") + 1
            else:
                position = end
        elif char in "{}[]:,":
            yield Token(TokenKind.PUNCTUATION, char, line)
            position += 1
        elif char == "'":
            value, position = _string(text, position, info.at_line(line))
            yield Token(TokenKind.STRING, value, line)
        else:
            token, position = _word(text, position, line, info)
            yield token
    yield Token(TokenKind.END, "end of file", line)


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _starts_line(text: str, position: int) -> bool:
    return position == 0 or text[position - 1] == "\n"


def _word(text: str, position: int, line: int, info: SourceInfo) -> tuple[Token, int]:
    match = _WORD.match(text, position)
    if match is not None and match.group() in ("true", "false"):
        return Token(TokenKind.BOOLEAN, match.group(), line), match.end()
    if text[position] == '"':
        raise SchemaError(info.at_line(line), "strings are written in single quotes")
    stray = match.group() if match is not None else text[position]
    raise SchemaError(info.at_line(line), f"stray '{stray}'")


def _string(text: str, position: int, info: SourceInfo) -> tuple[str, int]:
    """The value of the string that opens at `position`, and where the text after it begins."""
    value: list[str] = []
    position += 1
    while True:
        if position >= len(text) or text[position] == "\n":
            raise SchemaError(info, "string lacks its closing quote")
        char = text[position]
        position += 1
        if char == "'":
            return "".join(value), position
        if char == "\\":
            char = text[position : position + 1]
            position += 1
            if not char or char not in _ESCAPES:
                raise SchemaError(info, f"unknown escape '\\{char}' in a string")
        elif not " " <= char <= "~":
            raise SchemaError(info, "strings hold printable ASCII only")
        value.append(char)


def _doc_block(text: str, position: int, line: int, info: SourceInfo) -> tuple[Token, int]:
    """The documentation block whose opening `##` is at `position`; its lines lose their `# `."""
    start_line = line
    position = _line_end(text, position) + 1
    lines: list[str] = []
    while position <= len(text) and position > 0:
        end = _line_end(text, position)
        line += 1
        content = text[position:end].rstrip()
        if content == "##":
            return Token(TokenKind.DOC, "\n".join(["", *lines]), start_line), end
        if end == len(text) and not content:
            break
        if not content.startswith("#"):
            raise SchemaError(info.at_line(line), "a line of a documentation block begins with '#'")
        if content.startswith("#") and len(content) > 1 and content[1] != " ":
            raise SchemaError(info.at_line(line), "a line of a documentation block begins with '# '")
        lines.append(content[2:])
        position = end + 1
    raise SchemaError(info.at_line(start_line), "documentation block lacks its closing '##'")
