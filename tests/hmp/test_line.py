"""Lines of the monitor for people: words, quotation marks, arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.hmp.line import Arguments, Kind, LineError, Parameter, read_arguments, split

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
BARE = st.text("abcXYZ019._-/=,:'\\", min_size=1, max_size=8)

MIRROR = (
    Parameter("reuse", Kind.FLAG, letter="n"),
    Parameter("full", Kind.FLAG, letter="f"),
    Parameter("device", Kind.DEVICE),
    Parameter("target", Kind.FILE),
    Parameter("format", Kind.TEXT, optional=True),
)
RESIZE = (Parameter("device", Kind.DEVICE), Parameter("size", Kind.SIZE))
OBJECT = (Parameter("object", Kind.REST),)


def quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def read(parameters: tuple[Parameter, ...], line: str) -> Arguments:
    return read_arguments("it", parameters, line, 0)


@given(st.lists(WORDS))
def test_every_word_can_be_quoted(words: list[str]) -> None:
    assert [word.text for word in split(" ".join(map(quoted, words)))] == words


@given(st.lists(st.tuples(BARE, st.text(" \t", min_size=1))))
def test_bare_words_end_at_blanks(words: list[tuple[str, str]]) -> None:
    line = "".join(word + blank for word, blank in words)
    assert [(word.text, line[word.start :].startswith(word.text)) for word in split(line)] == [
        (word, True) for word, _ in words
    ]


@given(st.text(max_size=40))
def test_no_line_is_worse_than_refused(line: str) -> None:
    for parameters in (MIRROR, RESIZE, OBJECT):
        try:
            read(parameters, line)
        except LineError as error:
            assert str(error)


@pytest.mark.parametrize("line", ['"a', '"a\\', '"a\\x"', 'a "', '"\\'])
def test_quotation_marks_and_escapes(line: str) -> None:
    with pytest.raises(LineError):
        split(line)


def test_quotation_marks_within_a_word_are_letters() -> None:
    assert [(word.text, word.quoted) for word in split('a"b c" "d""e"')] == [
        ('a"b', False),
        ('c"', False),
        ("d", True),
        ("e", True),
    ]


@pytest.mark.parametrize("line", ["-n -f d t", "-f -n d t", "-n d -f t", "-f d t -n"])
def test_flags_in_any_order(line: str) -> None:
    arguments = read(MIRROR, line)
    assert arguments.flag("reuse") and arguments.flag("full")
    assert (arguments.text("device"), arguments.text("target"), arguments.maybe("format")) == ("d", "t", None)


def test_a_quoted_word_is_no_flag() -> None:
    arguments = read(MIRROR, '"-n" "-f" -x')
    assert not arguments.flag("reuse")
    assert [arguments.text(name) for name in ("device", "target", "format")] == ["-n", "-f", "-x"]


@pytest.mark.parametrize("line", ["", "d", "-n d", "-x d t", "-nf d t", "- d t", "d t f more"])
def test_what_is_missing_or_too_much(line: str) -> None:
    with pytest.raises(LineError, match=r"^it: "):
        read(MIRROR, line)


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5 << 20), ("0", 0), ("1.5", 3 << 19), ("512B", 512), ("1b", 1), ("2k", 2048), ("3G", 3 << 30)],
)
def test_sizes_are_in_mib(text: str, size: int) -> None:
    assert read(RESIZE, f"d {text}").number("size") == size


@pytest.mark.parametrize("text", ["x", "-1", "5z", "1..5", "k", '""', "1.5b"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(LineError):
        read(RESIZE, f"d {text}")


def test_the_rest_of_a_line_behind_words() -> None:
    parameters = (Parameter("json", Kind.FLAG, letter="j"), Parameter("path", Kind.TEXT), Parameter("value", Kind.REST))
    arguments = read(parameters, '-j "/a b"  {"c": "d} ')
    assert (arguments.flag("json"), arguments.text("path"), arguments.text("value")) == (True, "/a b", '{"c": "d}')
    for line in ("-j /a", "", "-x /a b"):
        with pytest.raises(LineError):
            read(parameters, line)


def test_the_rest_of_a_line() -> None:
    assert read(OBJECT, '  secret,id=a "b  c ').text("object") == 'secret,id=a "b  c'
    with pytest.raises(LineError):
        read(OBJECT, "   ")
