"""The demo's own judges: a judge that overlooks a difference would prove nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from qmpd.ctl.demo.disks import GRANULARITY, MIB, Disk, empty_file, first_difference, sparse_copy


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk("d", tmp_path / "d.raw", 16 * MIB, random.Random(1))
    made.fill([(0, MIB), (9 * MIB, 5 * MIB)])
    return made


def test_a_copy_is_equal_and_as_sparse(disk: Disk, tmp_path: Path) -> None:
    copy = disk.freeze(tmp_path / "copy")
    assert first_difference(disk.path, copy) is None
    assert copy.stat().st_size == disk.size
    assert copy.stat().st_blocks <= disk.path.stat().st_blocks


@pytest.mark.parametrize("offset", [0, MIB - 1, MIB, 5 * MIB + 7, 13 * MIB, 16 * MIB - 1])
def test_one_other_byte_is_found_on_either_side(disk: Disk, tmp_path: Path, offset: int) -> None:
    copy = sparse_copy(disk.path, tmp_path / "copy")
    with open(copy, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    assert first_difference(disk.path, copy) == offset
    assert first_difference(copy, disk.path) == offset


def test_zeroes_and_holes_are_the_same(tmp_path: Path) -> None:
    hole = empty_file(tmp_path / "hole", 2 * MIB)
    zeroes = tmp_path / "zeroes"
    zeroes.write_bytes(bytes(2 * MIB))
    assert first_difference(hole, zeroes) is None


def test_another_length_is_a_difference(tmp_path: Path) -> None:
    assert first_difference(empty_file(tmp_path / "a", MIB), empty_file(tmp_path / "b", 2 * MIB)) == MIB


def test_the_account_of_writes_counts_granules_touched(disk: Disk) -> None:
    class Sink:
        def write(self, offset: int, data: bytes) -> None:
            assert len(data) > 0

    disk.write(Sink(), GRANULARITY - 1, 2)  # type: ignore[arg-type]
    disk.write(Sink(), 5 * GRANULARITY, GRANULARITY)  # type: ignore[arg-type]
    assert disk.dirty == {0, 1, 5}
    assert disk.dirty_bytes == 3 * GRANULARITY
