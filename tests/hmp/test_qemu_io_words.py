"""qemu-io's commands as text: words, options, numbers; and what they print."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.hmp.qemu_io import report
from qmpd.hmp.qemu_io.pieces import PIECE, Filling, pieces
from qmpd.hmp.qemu_io.table import COMMANDS
from qmpd.hmp.qemu_io.words import (
    LONGEST,
    BadCommand,
    BadUsage,
    read_integer,
    read_lengths,
    read_options,
    read_pattern,
    read_size,
    split,
)

LETTERS = "abCl:pP:qs:v"
FLAGS = st.sampled_from("abCpqv")


@given(st.lists(st.text("abc-\"'\t\\0", min_size=1)))
def test_words_are_what_stands_between_blanks(words: list[str]) -> None:
    assert split("  ".join(words)) == words


@given(st.lists(FLAGS), st.lists(st.text("0123456789kMG", min_size=1)), st.randoms())
def test_options_may_stand_anywhere(flags: list[str], operands: list[str], random: object) -> None:
    words = [*operands]
    for flag in flags:
        words.insert(random.randint(0, len(words)), f"-{flag}")  # type: ignore[attr-defined]
    found = read_options(words, LETTERS)
    assert found.operands == operands
    assert set(found.options) == set(flags)


def test_values_and_the_end_of_options() -> None:
    found = read_options(["-P0xff", "5", "-s", "7", "-qv", "--", "-x"], LETTERS)
    assert found.options == {"P": "0xff", "s": "7", "q": "", "v": ""}
    assert found.operands == ["5", "-x"]
    for line in ("-z", "-P", "-5 0", "--help", "-qz"):
        with pytest.raises(BadUsage):
            read_options(line.split(), LETTERS)


@given(st.text(max_size=12))
def test_numbers_are_read_or_refused(text: str) -> None:
    for reader in (read_size, read_integer, read_pattern):
        try:
            value = reader(text)
        except BadCommand as error:
            assert str(error)
        else:
            assert isinstance(value, int)


@given(st.integers(0, (1 << 63) - 1))
def test_every_number_of_bytes(value: int) -> None:
    assert read_size(str(value)) == read_size(hex(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1k", 1024), ("1K", 1024), ("1.5k", 1536), ("1.k", 1024), ("010", 10), ("3b", 3), ("7E", 7 << 60)],
)
def test_suffixes(text: str, value: int) -> None:
    assert read_size(text) == value


@pytest.mark.parametrize("text", ["8E", "-1", "", "1e3", ".5k", "1.5", "x", "1kk", "9" * 5000])
def test_no_sizes(text: str) -> None:
    with pytest.raises(BadCommand):
        read_size(text)


def test_patterns_are_bytes() -> None:
    assert [read_pattern(text) for text in ("0", "255", "0xff", "0377", "+1")] == [0, 255, 255, 255, 1]
    for text in ("256", "-1", "0400", "1k", "", "09", "1" * 5000):
        with pytest.raises(BadCommand):
            read_pattern(text)


def test_the_longest_request() -> None:
    assert read_lengths([str(LONGEST)]) == [LONGEST]
    for texts in ([str(LONGEST + 1)], ["1G", "1G"]):
        with pytest.raises(BadCommand):
            read_lengths(texts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (0.25, "0.250000 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.500 KiB"),
        (1 << 20, "1 MiB"),
        (5 << 30, "5 GiB"),
        (7 << 60, "7 EiB"),
        (1024.25, "1 KiB"),
    ],
)
def test_human_sizes(value: float, text: str) -> None:
    assert report.human_size(value) == text


def test_times() -> None:
    assert report.human_time(0.254) == "00.25 sec"
    assert report.human_time(61.5) == "0:01:01.50"
    assert report.clock_time(3723.25) == "1:02:03.25"


def test_results() -> None:
    assert report.transfer("read", 512, 1024, 0.5) == (
        "read 1024/1024 bytes at offset 512\n1 KiB, 1 ops; 00.50 sec (2 KiB/sec and 2.0000 ops/sec)\n"
    )
    assert report.transfer_for_machines(1024, 0.5) == "1024,1,0:00:00.50,2048.000,2.000\n"
    assert "inf" not in report.transfer("read", 0, 0, 0.0)


@given(st.binary(max_size=100), st.integers(0, 1 << 40))
def test_dumps_have_all_bytes(data: bytes, offset: int) -> None:
    lines = report.dump(memoryview(data), offset).splitlines()
    rows = [line.split("  ") for line in lines]
    assert b"".join(bytes.fromhex(row[1]) for row in rows) == data
    assert [int(row[0].rstrip(":"), 16) for row in rows] == list(range(offset, offset + len(data), 16))
    assert all(len(row[2]) == len(bytes.fromhex(row[1])) for row in rows)


@given(st.integers(0, 1 << 40), st.integers(0, 5 * PIECE))
def test_pieces_cover_a_range(offset: int, length: int) -> None:
    found = list(pieces(offset, length))
    assert sum(size for _, size in found) == length
    assert all(at + size == following for (at, size), (following, _) in itertools.pairwise(found))
    assert found[0][0] == offset and all(size <= PIECE for _, size in found)


@given(st.binary(min_size=1, max_size=9), st.integers(0, 100), st.integers(0, 60))
def test_a_filling_goes_on_from_piece_to_piece(pattern: bytes, position: int, length: int) -> None:
    assert bytes(Filling(pattern, 200).at(position, length)) == (pattern * 200)[position : position + length]


def test_the_table() -> None:
    names = [name for command in COMMANDS for name in (command.name, command.alias) if name]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        assert command.objection_to(command.least) is None
        assert command.least == 0 or command.objection_to(command.least - 1)
