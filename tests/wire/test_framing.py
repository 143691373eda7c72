"""The framer: any chunking gives the same values, nothing raises, limits end in one error, and resync."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.wire.framing import Framer
from qmpd.wire.lenient import LenientParser, Malformed
from tests.soak import count
from tests.wire.odd_input import CASES, PROBE, name_of

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn")), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=20,
)
LAYOUTS = st.sampled_from(
    (
        lambda value: json.dumps(value),
        lambda value: json.dumps(value, separators=(",", ":")),
        lambda value: json.dumps(value, indent=2),
        lambda value: json.dumps(value, ensure_ascii=False),
    )
)
PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"'",
        b'"',
        b"\\",
        b"\n",
        b"\xff",
        b"\xfe",
        b"\x00",
        b"\xc3",
        b"1",
        b"-",
        b"0",
        b".5",
        b"e",
        b"true",
        b"nul",
        b'"a"',
        b"'b'",
        b'"execute"',
        b"\\u00e9",
        b"\\ud83d",
        b'{"execute":"x","id":1}\n',
        b" ",
    ]
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces that end at `cuts`."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def feed_all(framer: Framer | LenientParser, chunks: list[bytes]) -> list[object]:
    return [value for chunk in chunks for value in framer.feed(chunk)]


@settings(max_examples=count(150, 5000), deadline=None)
@given(
    st.lists(st.tuples(VALUES, LAYOUTS, st.sampled_from(["\n", "\r\n", " ", "\n\n"])), max_size=6),
    st.lists(st.integers(0, 1 << 16), max_size=12),
)
def test_values_survive_any_chunking(messages: list[tuple[object, object, str]], cuts: list[int]) -> None:
    text = "".join(layout(value) + end for value, layout, end in messages)  # type: ignore[operator]
    values = feed_all(Framer(), cut(text.encode(), cuts))
    assert values == [value for value, _, _ in messages]


@settings(max_examples=count(300, 20000), deadline=None)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=30), st.lists(st.integers(0, 1 << 16), max_size=12))
def test_garbage_never_raises_and_chunking_does_not_matter(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    whole = feed_all(Framer(), [data])
    assert repr(feed_all(Framer(), cut(data, cuts))) == repr(whole)
    assert repr(feed_all(LenientParser(), [data[i : i + 1] for i in range(len(data))])) == repr(whole)


@settings(max_examples=count(100, 5000), deadline=None)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=20))
def test_after_a_reset_byte_the_next_message_is_understood(pieces: list[bytes]) -> None:
    # The line end closes what a string may have swallowed; 0xFF alone would be skipped right after an error.
    values = feed_all(Framer(), [b"".join(pieces), b"\n\xff\n", PROBE])
    assert values[-1] == json.loads(PROBE)


@pytest.mark.parametrize(("data", "replies"), CASES, ids=name_of)
@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_odd_input_leaves_the_framer_in_sync(data: bytes, replies: int, chunk: int) -> None:
    stream = data + PROBE
    values = feed_all(Framer(), [stream[i : i + chunk] for i in range(0, len(stream), chunk)])
    assert values[-1] == json.loads(PROBE)
    assert len(values) == replies + 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", (1 << 64) - 1),
        ("18446744073709551616", 18446744073709551616.0),
        ("-9223372036854775808", -(1 << 63)),
        ("-9223372036854775809", -9223372036854775809.0),
        ("-0", 0),
        ("1e3", 1000.0),
        ("'it\\'s \"so\"'", 'it\'s "so"'),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("'\\u003a'", ":"),
    ],
)
def test_scalars_become_what_qemu_makes_of_them(text: str, value: object) -> None:
    for framer in (Framer(), LenientParser()):
        (result,) = framer.feed(f"[{text}]\n".encode())
        assert repr(result) == repr([value])


@pytest.mark.parametrize(
    "lines",
    [
        b'{"a":1,"a":2}\n',
        b'{"a":{"b":1,"b":2}}\n{"c":3}\n',
        b'{"a":"x:y","b":1,"b":2}\n',
        b'{"a":"\\u003a","b":1,"b":2}\n',
        b'[1]\n{"b":1,"b":2}\n',
        b'{"arguments":{"a":1,"a":1}}\n',
    ],
)
def test_a_key_that_stands_twice_is_refused(lines: bytes) -> None:
    refused = [value for value in Framer().feed(lines) if isinstance(value, Malformed)]
    assert len(refused) == 1
    assert "stands twice" in refused[0].desc


def test_colons_in_strings_are_no_reason_to_refuse() -> None:
    line = b'{"execute":"x","arguments":{"file":"nbd://h:10809/a","t":["12:30"]},"id":"a:b"}\n'
    assert Framer().feed(line) == [json.loads(line)]


@pytest.mark.parametrize(
    "message",
    [
        b"[" * 40 + b"]" * 40,
        b'{"a":[' + b"1," * 200 + b"1]}",
        b'{"a":"' + b"x" * 2000 + b'"}',
        b'{"a":' + b"1" * 2000 + b"}",
        b"[" + b" " * 2000 + b"]",
    ],
    ids=["nesting", "tokens", "string", "number", "spaces"],
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_message_beyond_a_limit_is_refused_once(message: bytes, chunk: int) -> None:
    framer = Framer(max_bytes=1000, max_nesting=30, max_tokens=100)
    stream = message + b"\n" + PROBE
    values = feed_all(framer, [stream[i : i + chunk] for i in range(0, len(stream), chunk)])
    assert len(values) == 2
    assert isinstance(values[0], Malformed)
    assert "the most that is accepted" in values[0].desc
    assert values[1] == json.loads(PROBE)


def test_a_message_that_never_ends_does_not_swallow_the_next_request() -> None:
    values = Framer(max_nesting=30).feed(b"[{" * 500 + b"\n" + PROBE)
    assert isinstance(values[0], Malformed)
    assert values[1:] == [json.loads(PROBE)]


def test_white_space_between_messages_is_no_message() -> None:
    framer = Framer(max_bytes=100)
    for _ in range(50):
        assert framer.feed(b" \r\n" * 20) == []
    assert framer.feed(PROBE) == [json.loads(PROBE)]


@pytest.mark.parametrize("text", [b'"' + b"x" * (4 << 20) + b'"', b"[" + b"12,\n" * (1 << 18) + b"1]"])
def test_small_chunks_cost_what_large_ones_do(text: bytes) -> None:
    def seconds(chunk: int) -> float:
        framer = Framer()
        start = time.process_time()
        for begin in range(0, len(text), chunk):
            framer.feed(text[begin : begin + chunk])
        assert framer.feed(b"\n") == [] and framer.feed(PROBE) == [json.loads(PROBE)]
        return time.process_time() - start

    # Quadratic work would make a factor of hundreds out of it.
    assert seconds(1 << 12) < 20 * seconds(1 << 18) + 1
