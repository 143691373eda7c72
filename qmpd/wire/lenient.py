"""QEMU's lenient JSON, taken in piece by piece: any chunking, any number of values, never an exception.

This is what meets input that strict JSON parsing refuses, or that has not arrived in full. It accepts what
QEMU's parser accepts: values one after the other with or without white space between them, single-quoted
strings, `\\'` as an escape. It keeps QEMU's way of finding the end of a message and of coming back into sync:

* A message ends where its braces and brackets balance, or where one of the two counts turns negative.
* A syntax error is reported at the end of its message; the rest of that message is skipped.
* A byte that starts no token (0xFF above all) ends the message at once, with an error. What follows is
  skipped up to the next structural or control character, or 0xFE/0xFF.
* A message beyond a limit is refused *once* and skipped to its end. (QEMU would parse the remains as new
  messages.) An object that looks like a request, `{"execute"`, also ends the skipping, so that a message that
  never ends does not swallow what comes after it.

The work for a chunk is linear in its length, whatever came before: a token that is cut by the end of a chunk
is remembered with the lexer's state and never scanned again.

The interface is `LenientParser.feed`; it leans on `re` alone and knows nothing of QMP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

MAX_MESSAGE_BYTES = 64 << 20
MAX_NESTING = 1024
MAX_TOKENS = 2 << 20

INT64_MIN = -(1 << 63)
UINT64_MAX = (1 << 64) - 1

_CONTROL = rb"\x00-\x1f\xfe\xff"
_DQ_BODY = rb'(?:[^"\\' + _CONTROL + rb"]++|\\[^" + _CONTROL + rb"])*+"
_SQ_BODY = rb"(?:[^'\\" + _CONTROL + rb"]++|\\[^" + _CONTROL + rb"])*+"
_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:"
    rb"([\[\]{},:])"
    rb'|"(' + _DQ_BODY + rb')"'
    rb"|'(" + _SQ_BODY + rb")'"
    rb"|(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)(?=[^0-9.eE])"
    rb"|([a-z]++)(?=[^a-z])"
    rb")"
)
_PUNCTUATION, _DQ_STRING, _SQ_STRING, _NUMBER, _KEYWORD = 1, 2, 3, 4, 5
_STRING_BODY = {0x22: re.compile(_DQ_BODY), 0x27: re.compile(_SQ_BODY)}
_SPACE = re.compile(rb"[ \t\r\n]*+")
_DIGITS = re.compile(rb"[0-9]*+")
_LETTERS = re.compile(rb"[a-z]*+")
_SKIP = re.compile(rb"[^" + _CONTROL + rb"{}\[\]:,]*+")

_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))")
_SIMPLE_ESCAPES = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_KEYWORDS: dict[bytes, object] = {b"true": True, b"false": False, b"null": None}
_REQUEST_KEYS = frozenset((b"execute", b"exec-oob"))
_KEPT_OF_SKIPPED = 16


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands in the list of values for a message that was not JSON; `desc` says why, for the client."""

    desc: str


class _Syntax(Exception):
    """What is wrong with the present message; never leaves this module."""


class _Lexer(Enum):
    """Where in a token the last chunk ended."""

    START = auto()
    STRING = auto()
    NUMBER = auto()
    KEYWORD = auto()
    RECOVERY = auto()


class _Expect(Enum):
    """What the grammar allows next inside a message."""

    VALUE = auto()
    VALUE_OR_END = auto()
    KEY = auto()
    KEY_OR_END = auto()
    COLON = auto()
    COMMA_OR_END = auto()


class _Number(Enum):
    """How far a number has come; see `_number_step`."""

    MINUS = auto()
    ZERO = auto()
    INTEGER = auto()
    POINT = auto()
    FRACTION = auto()
    EXPONENT = auto()
    EXPONENT_SIGN = auto()
    EXPONENT_DIGITS = auto()


_NUMBER_RUNS = frozenset((_Number.INTEGER, _Number.FRACTION, _Number.EXPONENT_DIGITS))
_NUMBER_ENDS = _NUMBER_RUNS | {_Number.ZERO}
_NUMBER_AFTER_DIGIT = {
    _Number.POINT: _Number.FRACTION,
    _Number.EXPONENT: _Number.EXPONENT_DIGITS,
    _Number.EXPONENT_SIGN: _Number.EXPONENT_DIGITS,
}


def _number_step(state: _Number, byte: int) -> _Number | None:
    """The state after `byte` (not one of a run of digits); None when `byte` does not continue the number."""
    if 0x30 <= byte <= 0x39:
        if state is _Number.MINUS:
            return _Number.ZERO if byte == 0x30 else _Number.INTEGER
        return _NUMBER_AFTER_DIGIT.get(state)
    if byte == 0x2E and state in (_Number.ZERO, _Number.INTEGER):
        return _Number.POINT
    if byte in b"eE" and state in (_Number.ZERO, _Number.INTEGER, _Number.FRACTION):
        return _Number.EXPONENT
    if byte in b"+-" and state is _Number.EXPONENT:
        return _Number.EXPONENT_SIGN
    return None


class LenientParser:
    """Bytes in, JSON values out; what was not JSON comes out as `Malformed` in its place.

    :param max_bytes: longest message, in bytes.
    :param max_nesting: how deep arrays and objects may be nested.
    :param max_tokens: most tokens in one message.
    """

    def __init__(
        self,
        max_bytes: int = MAX_MESSAGE_BYTES,
        max_nesting: int = MAX_NESTING,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_nesting = max_nesting
        self._max_tokens = max_tokens
        self._out: list[object] = []
        self._lexer = _Lexer.START
        self._partial: list[bytes] = []
        self._quote = 0
        self._escaped = False
        self._number = _Number.MINUS
        self._begin = 0
        self._size = 0
        self._start_message(0)

    @property
    def in_sync(self) -> bool:
        """True between two messages: nothing that was fed is waiting for its end."""
        return self._lexer is _Lexer.START and not self._tokens

    def feed(self, chunk: bytes) -> list[object]:
        """Take the next bytes; the values (and errors) that they complete, in order."""
        self._begin = 0
        pos = 0
        if self._lexer is not _Lexer.START:
            pos = self._resume(chunk)
        end = len(chunk)
        match = _TOKEN.match
        while pos < end:
            token = match(chunk, pos)
            if token is None:
                pos = self._lex_odd(chunk, pos)
                continue
            pos = token.end()
            kind = token.lastindex or 0
            self._token(kind, token[kind], pos)
        self._size = 0 if self.in_sync else self._size + end - self._begin
        if self._size > self._max_bytes:
            self._exceed_size()
        out, self._out = self._out, []
        return out

    # -- message life cycle

    def _start_message(self, pos: int) -> None:
        """Forget the present message; the next one begins at `pos` of the present chunk."""
        self._begin = pos
        self._size = 0
        self._tokens = 0
        self._braces = 0
        self._brackets = 0
        self._expect = _Expect.VALUE
        self._stack: list[tuple[list[object] | dict[str, object], str]] = []
        self._key = ""
        self._root: object = None
        self._failure: str | None = None
        self._discarding = False
        self._after_brace = False

    def _fail(self, desc: str) -> None:
        """The message is wrong; it is reported when it ends, and built no further."""
        self._failure = desc
        self._stack = []
        self._root = None

    def _exceed(self, desc: str) -> None:
        """The message is beyond a limit: report that now, skip the rest of it."""
        if self._discarding:
            return
        self._out.append(Malformed(desc))
        self._discarding = True
        self._fail(desc)

    def _exceed_size(self) -> None:
        self._exceed(f"The message is longer than {self._max_bytes} bytes, the most that is accepted")
        self._partial = []

    def _end_message(self, pos: int) -> None:
        """The message is complete at `pos`: hand it out."""
        if self._size + pos - self._begin > self._max_bytes:
            self._exceed_size()
        if not self._discarding:
            self._out.append(self._root if self._failure is None else Malformed(self._failure))
        self._start_message(pos)

    def _break_off(self, desc: str, pos: int) -> None:
        """No token starts here: the message ends at `pos` with an error, and the lexer seeks the next one."""
        if not self._discarding:
            self._out.append(Malformed(desc))
        self._partial = []
        self._start_message(pos)
        self._lexer = _Lexer.RECOVERY

    # -- lexer: what the one big expression did not match

    def _resume(self, chunk: bytes) -> int:
        """Go on with the token (or skipping) that the last chunk ended in; where the next token starts."""
        if self._lexer is _Lexer.STRING:
            return self._lex_string(chunk, 0)
        if self._lexer is _Lexer.NUMBER:
            return self._lex_number(chunk, 0, 0)
        if self._lexer is _Lexer.KEYWORD:
            return self._lex_keyword(chunk, 0)
        return self._recover(chunk, 0)

    def _lex_odd(self, chunk: bytes, pos: int) -> int:
        """A token that is not complete, or none at all; where to go on."""
        pos = _skip(_SPACE, chunk, pos)
        if pos == len(chunk):
            return pos
        byte = chunk[pos]
        if byte in b"\"'":
            self._quote = byte
            self._escaped = False
            return self._lex_string(chunk, pos + 1)
        if 0x30 <= byte <= 0x39 or byte == 0x2D:
            self._number = {0x2D: _Number.MINUS, 0x30: _Number.ZERO}.get(byte, _Number.INTEGER)
            return self._lex_number(chunk, pos, pos + 1)
        if 0x61 <= byte <= 0x7A:
            return self._lex_keyword(chunk, pos)
        self._break_off(f"JSON syntax error: byte 0x{byte:02x} starts no JSON value", pos + 1)
        return self._recover(chunk, pos + 1)

    def _lex_string(self, chunk: bytes, pos: int) -> int:
        """A string whose body goes on at `pos`."""
        self._lexer = _Lexer.STRING
        begin = pos
        if self._escaped and pos < len(chunk) and 0x20 <= chunk[pos] < 0xFE:
            self._escaped = False
            pos += 1
        if not self._escaped:
            pos = _skip(_STRING_BODY[self._quote], chunk, pos)
        if pos < len(chunk) and chunk[pos] == 0x5C and pos + 1 == len(chunk):
            self._escaped = True
            pos += 1
        self._keep(chunk[begin:pos])
        if pos == len(chunk):
            return pos
        if chunk[pos] == self._quote and not self._escaped:
            self._lexer = _Lexer.START
            self._token(_DQ_STRING, self._take_partial(), pos + 1)
            return pos + 1
        if chunk[pos] == 0x5C:
            pos += 1
        self._break_off(f"JSON syntax error: byte 0x{chunk[pos]:02x} is not allowed in a string", pos + 1)
        return self._recover(chunk, pos + 1)

    def _lex_number(self, chunk: bytes, begin: int, pos: int) -> int:
        """A number whose text in this chunk starts at `begin` and is lexed up to `pos`."""
        self._lexer = _Lexer.NUMBER
        state = self._number
        while True:
            if state in _NUMBER_RUNS:
                pos = _skip(_DIGITS, chunk, pos)
            if pos == len(chunk):
                break
            step = _number_step(state, chunk[pos])
            if step is None:
                return self._end_number(chunk, begin, pos, state)
            state = step
            pos += 1
        self._number = state
        self._keep(chunk[begin:pos])
        return pos

    def _end_number(self, chunk: bytes, begin: int, pos: int, state: _Number) -> int:
        """The byte at `pos` does not belong to the number: it ends it, or spoils it."""
        self._keep(chunk[begin:pos])
        if state in _NUMBER_ENDS and not (state is _Number.ZERO and 0x30 <= chunk[pos] <= 0x39):
            self._lexer = _Lexer.START
            self._token(_NUMBER, self._take_partial(), pos)
            return pos
        text = self._take_partial()[:40].decode("ascii") + ascii(chr(chunk[pos]))[1:-1]
        self._break_off(f"JSON syntax error: '{text}' is no number", pos + 1)
        return self._recover(chunk, pos + 1)

    def _lex_keyword(self, chunk: bytes, pos: int) -> int:
        """A run of lower-case letters that goes on at `pos`."""
        self._lexer = _Lexer.KEYWORD
        end = _skip(_LETTERS, chunk, pos)
        self._keep(chunk[pos:end])
        if end < len(chunk):
            self._lexer = _Lexer.START
            self._token(_KEYWORD, self._take_partial(), end)
        return end

    def _recover(self, chunk: bytes, pos: int) -> int:
        """Skip to the next byte that may start a message again."""
        pos = _skip(_SKIP, chunk, pos)
        self._begin = pos
        self._lexer = _Lexer.RECOVERY if pos == len(chunk) else _Lexer.START
        return pos

    def _keep(self, text: bytes) -> None:
        """Remember the part of a token in this chunk; of what is skipped, enough to know a request by."""
        if not self._discarding:
            self._partial.append(text)
        elif len(self._partial) < _KEPT_OF_SKIPPED:
            self._partial.append(text[:_KEPT_OF_SKIPPED])

    def _take_partial(self) -> bytes:
        text = b"".join(self._partial)
        self._partial = []
        return text

    # -- parser

    def _token(self, kind: int, text: bytes, pos: int) -> None:
        """One token more, which ends at `pos`: count it, build with it, see whether the message is over."""
        if self._discarding and self._starts_request(kind, text):
            self._start_message(pos)
            self._token(_PUNCTUATION, b"{", pos)
        self._tokens += 1
        if self._tokens > self._max_tokens:
            self._exceed(f"The message has more than {self._max_tokens} tokens, the most that is accepted")
        if kind == _PUNCTUATION:
            self._count_depth(text)
        if self._failure is None:
            try:
                self._build(kind, text)
            except _Syntax as error:
                self._fail(f"JSON syntax error: {error}")
        braces, brackets = self._braces, self._brackets
        if braces < 0 or brackets < 0 or (braces == 0 and brackets == 0):
            self._end_message(pos)

    def _count_depth(self, text: bytes) -> None:
        if text == b"{":
            self._braces += 1
        elif text == b"}":
            self._braces -= 1
        elif text == b"[":
            self._brackets += 1
        elif text == b"]":
            self._brackets -= 1
        if self._braces + self._brackets > self._max_nesting:
            self._exceed(f"The message is nested deeper than {self._max_nesting} levels, the most that is accepted")

    def _starts_request(self, kind: int, text: bytes) -> bool:
        """While skipping: whether this token is the first key of an object that looks like a request."""
        after_brace = self._after_brace
        self._after_brace = kind == _PUNCTUATION and text == b"{"
        return after_brace and kind in (_DQ_STRING, _SQ_STRING) and text in _REQUEST_KEYS

    def _build(self, kind: int, text: bytes) -> None:
        """Put one token into the value under construction; raises `_Syntax`."""
        if kind == _PUNCTUATION:
            self._punctuate(text)
        elif self._expect in (_Expect.KEY, _Expect.KEY_OR_END):
            if kind not in (_DQ_STRING, _SQ_STRING):
                raise _Syntax(f"expected a string as the key of an object, found {_quoted(text)}")
            self._take_key(_string(text))
        elif self._expect in (_Expect.VALUE, _Expect.VALUE_OR_END):
            if kind == _NUMBER:
                self._put(_number(text))
            elif kind == _KEYWORD:
                self._put(_keyword(text))
            else:
                self._put(_string(text))
        else:
            raise _Syntax(f"expected {self._wanted()}, found {_quoted(text)}")

    def _punctuate(self, text: bytes) -> None:
        expect = self._expect
        if text in b"{[" and expect in (_Expect.VALUE, _Expect.VALUE_OR_END):
            self._stack.append(({} if text == b"{" else [], self._key))
            self._expect = _Expect.KEY_OR_END if text == b"{" else _Expect.VALUE_OR_END
        elif text == b":" and expect is _Expect.COLON:
            self._expect = _Expect.VALUE
        elif text == b"," and expect is _Expect.COMMA_OR_END:
            self._expect = _Expect.KEY if isinstance(self._stack[-1][0], dict) else _Expect.VALUE
        elif self._closes(text):
            value, self._key = self._stack.pop()
            self._put(value)
        else:
            raise _Syntax(f"expected {self._wanted()}, found {_quoted(text)}")

    def _closes(self, text: bytes) -> bool:
        """Whether `text` ends the innermost container here."""
        if not self._stack:
            return False
        if isinstance(self._stack[-1][0], dict):
            return text == b"}" and self._expect in (_Expect.KEY_OR_END, _Expect.COMMA_OR_END)
        return text == b"]" and self._expect in (_Expect.VALUE_OR_END, _Expect.COMMA_OR_END)

    def _take_key(self, key: str) -> None:
        container = self._stack[-1][0]
        if key in container:
            raise _Syntax(f"key {key[:80]!r} stands twice in one object")
        self._key = key
        self._expect = _Expect.COLON

    def _put(self, value: object) -> None:
        """`value` is complete: put it where it belongs."""
        if not self._stack:
            self._root = value
            return
        container = self._stack[-1][0]
        if isinstance(container, dict):
            container[self._key] = value
        else:
            container.append(value)
        self._expect = _Expect.COMMA_OR_END

    def _wanted(self) -> str:
        """What the grammar would have allowed, in words."""
        if self._expect is _Expect.COMMA_OR_END:
            return "',' or '}'" if isinstance(self._stack[-1][0], dict) else "',' or ']'"
        return {
            _Expect.VALUE: "a value",
            _Expect.VALUE_OR_END: "a value or ']'",
            _Expect.KEY: "a key",
            _Expect.KEY_OR_END: "a key or '}'",
            _Expect.COLON: "':'",
        }[self._expect]


def _skip(run: re.Pattern[bytes], chunk: bytes, pos: int) -> int:
    """Where the run that starts at `pos` (and may be empty) ends."""
    match = run.match(chunk, pos)
    assert match is not None  # every such expression also matches the empty run
    return match.end()


def _quoted(text: bytes) -> str:
    """A token for an error description."""
    return repr(text[:40].decode("utf-8", "replace"))


def _keyword(text: bytes) -> object:
    if text not in _KEYWORDS:
        raise _Syntax(f"{_quoted(text)} is none of true, false and null")
    return _KEYWORDS[text]


def _number(text: bytes) -> int | float:
    """Integers within int64 and uint64 are exact, all others become doubles, as in QEMU."""
    if len(text) <= 20 and (text.isdigit() or text[1:].isdigit()):
        value = int(text)
        if INT64_MIN <= value <= UINT64_MAX:
            return value
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Syntax(f"number {_quoted(text)} is beyond the range of a double")
    return number


def _string(text: bytes) -> str:
    """The characters that the body of a string stands for."""
    try:
        body = text.replace(b"\xc0\x80", b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Syntax(f"a string is not valid UTF-8 ({error.reason} at byte {error.start})") from error
    if "\\" in body:
        body = _ESCAPE.sub(_unescape, body)
    if not body.isascii():
        _refuse_noncharacters(body)
    return body


def _unescape(match: re.Match[str]) -> str:
    high, low, unit, simple = match.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    if unit is not None:
        code = int(unit, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise _Syntax(f"escape \\u{unit} is half of a surrogate pair without the other half")
        return chr(code)
    if simple not in _SIMPLE_ESCAPES:
        raise _Syntax(f"escape \\{simple} in a string is unknown or not complete")
    return _SIMPLE_ESCAPES[simple]


_PLANE_ENDS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_NONCHARACTER = re.compile(f"[\\ufdd0-\\ufdef{_PLANE_ENDS}]")


def _refuse_noncharacters(body: str) -> None:
    """QEMU takes no code points that Unicode reserves as non-characters."""
    match = _NONCHARACTER.search(body)
    if match:
        raise _Syntax(f"U+{ord(match[0]):04X} in a string is not a Unicode character")
