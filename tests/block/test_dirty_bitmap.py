"""The bitmap against a set of integers: one integer for each dirty piece."""

from __future__ import annotations

import errno
import hashlib
import mmap
from collections.abc import Callable
from itertools import pairwise

import pytest
from bitarray import bitarray
from bitarray.util import zeros
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qmpd.block.dirty_bitmap import (
    MAX_BITS,
    MAX_GRANULARITY,
    Allocate,
    BitmapStore,
    DirtyBitmap,
    check_granularity,
    default_granularity,
)
from qmpd.errors import GenericError
from tests.soak import count

GRANULARITIES = st.sampled_from([512, 1024, 4096, 65536])
LENGTHS = st.integers(0, 600).map(lambda sectors: sectors * 512) | st.integers(0, 300_000)
EXAMPLES = settings(max_examples=count(150, 5000), deadline=None)


def in_memory_map(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size)


ALLOCATORS = st.sampled_from([None, in_memory_map])


def pieces(bitmap: DirtyBitmap) -> set[int]:
    """The dirty pieces by their index, straight from the bits."""
    return {index for index, bit in enumerate(bitmap.snapshot()) if bit}


def touched(offset: int, length: int, granularity: int) -> set[int]:
    return set(range(offset // granularity, (offset + length - 1) // granularity + 1)) if length else set()


def model_sha256(dirty: set[int], size: int) -> str:
    words = [0] * max(-(-size // 64), 1)
    for index in dirty:
        words[index // 64] |= 1 << index % 64
    return hashlib.sha256(b"".join(word.to_bytes(8, "little") for word in words)).hexdigest()


def filled(length: int, granularity: int, dirty: set[int]) -> DirtyBitmap:
    bitmap = DirtyBitmap("filled", length, granularity)
    for index in dirty:
        bitmap.set(index * granularity, 1)
    return bitmap


@st.composite
def contents(draw: st.DrawFn, length: int | None = None) -> tuple[int, int, set[int]]:
    """(length, granularity, dirty pieces) that fit together."""
    length = draw(LENGTHS) if length is None else length
    granularity = draw(GRANULARITIES)
    size = -(-length // granularity)
    dirty = draw(st.sets(st.integers(0, size - 1), max_size=40)) if size else set()
    return length, granularity, dirty


class BitmapMachine(RuleBasedStateMachine):
    """Any sequence of operations on one bitmap of a store, with its successor and its twin."""

    @initialize(length=LENGTHS, granularity=GRANULARITIES, disabled=st.booleans(), allocate=ALLOCATORS)
    def start(self, length: int, granularity: int, disabled: bool, allocate: Allocate | None) -> None:
        self.length, self.granularity = length, granularity
        self.store = BitmapStore("node")
        self.bitmap = DirtyBitmap("b", length, granularity, disabled=disabled, allocate=allocate)
        self.store.add(self.bitmap)
        self.dirty: set[int] = set()
        self.enabled = not disabled
        self.after: set[int] | None = None
        self.twin: tuple[set[int], bool] | None = None

    def window(self, data: st.DataObject) -> tuple[int, int]:
        offset = data.draw(st.integers(0, self.length - 1))
        return offset, data.draw(st.integers(1, self.length - offset))

    @precondition(lambda self: self.length > 0)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        offset, length = self.window(data)
        self.store.mark(offset, length)
        marked = touched(offset, length, self.granularity)
        if self.enabled:
            if self.after is None:
                self.dirty |= marked
            else:
                self.after |= marked
        if self.twin is not None and self.twin[1]:
            self.twin[0].update(marked)

    @precondition(lambda self: self.length > 0)
    @rule(data=st.data())
    def set(self, data: st.DataObject) -> None:
        offset, length = self.window(data)
        self.bitmap.set(offset, length)
        self.dirty |= touched(offset, length, self.granularity)

    @precondition(lambda self: self.length > 0)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        offset, length = self.window(data)
        self.bitmap.reset(offset, length)
        self.dirty -= touched(offset, length, self.granularity)

    @rule()
    def clear(self) -> None:
        self.bitmap.clear()
        self.dirty = set()

    @rule()
    def take_and_restore(self) -> None:
        bits = self.bitmap.take()
        assert self.bitmap.count == 0
        self.bitmap.restore(bits)

    @rule(length=LENGTHS)
    def resize(self, length: int) -> None:
        self.length = length
        self.store.resize(length)
        size = -(-length // self.granularity)
        for dirty in (self.dirty, self.after, self.twin and self.twin[0]):
            if dirty is not None:
                dirty.intersection_update(range(size))

    @precondition(lambda self: self.after is None)
    @rule(enable=st.booleans())
    def switch(self, enable: bool) -> None:
        self.enabled = enable
        if enable:
            self.bitmap.enable()
        else:
            self.bitmap.disable()

    @precondition(lambda self: self.after is None and self.twin is None)
    @rule(allocate=ALLOCATORS)
    def move(self, allocate: Allocate | None) -> None:
        self.bitmap.move(allocate, None)

    @precondition(lambda self: self.after is None)
    @rule()
    def freeze(self) -> None:
        self.bitmap.freeze()
        self.after = set()

    @precondition(lambda self: self.after is not None)
    @rule(success=st.booleans())
    def thaw(self, success: bool) -> None:
        assert self.after is not None
        if success:
            self.bitmap.abdicate()
            self.dirty = self.after
        else:
            self.bitmap.reclaim()
            self.dirty |= self.after
        self.after = None

    @precondition(lambda self: self.after is None and self.twin is None)
    @rule()
    def make_twin(self) -> None:
        self.bitmap.make_twin()
        self.twin = set(self.dirty), self.enabled

    @precondition(lambda self: self.after is None and self.twin is not None)
    @rule(adopt=st.booleans())
    def end_twin(self, adopt: bool) -> None:
        assert self.twin is not None
        if adopt:
            self.bitmap.adopt_twin()
            self.dirty, self.enabled = self.twin
        else:
            self.bitmap.drop_twin()
        self.twin = None

    @invariant()
    def same_bits(self) -> None:
        if hasattr(self, "bitmap"):
            assert pieces(self.bitmap) == self.dirty
            assert self.bitmap.count == len(self.dirty) * self.granularity
            assert self.bitmap.sha256() == model_sha256(self.dirty, -(-self.length // self.granularity))

    @invariant()
    def same_state(self) -> None:
        if hasattr(self, "bitmap"):
            frozen = self.after is not None
            assert self.bitmap.frozen is self.bitmap.busy is frozen
            assert self.bitmap.recording is self.enabled
            assert self.bitmap.enabled is (self.enabled and not frozen)
            assert len(self.store) == 1 + frozen + (self.twin is not None)
            assert len(self.store.info()) == 1 + frozen


TestBitmapMachine = BitmapMachine.TestCase
TestBitmapMachine.settings = settings(
    max_examples=count(60, 3000), stateful_step_count=count(30, 60), deadline=None
)


@EXAMPLES
@given(contents(), st.data())
def test_extents_and_next(content: tuple[int, int, set[int]], data: st.DataObject) -> None:
    length, granularity, dirty = content
    bitmap = filled(length, granularity, dirty)
    offset = data.draw(st.integers(0, length + 1000))
    end = data.draw(st.none() | st.integers(0, length + 1000))
    stop = length if end is None else min(end, length)
    # Nothing changes inside a piece: the window's start and the beginnings of pieces are all there is to see.
    points = [p for p in sorted({offset, *range(0, length, granularity)}) if offset <= p < stop]
    dirty_points = [p for p in points if p // granularity in dirty]
    clean_points = [p for p in points if p // granularity not in dirty]
    assert bitmap.next_dirty(offset, end) == (dirty_points[0] if dirty_points else None)
    assert bitmap.next_clean(offset, end) == (clean_points[0] if clean_points else None)
    extents = list(bitmap.dirty_extents(offset, None if end is None else max(end - offset, 0)))
    assert all(offset <= start < start + size <= stop for start, size in extents)
    assert all(start + size < later for (start, size), (later, _) in pairwise(extents))
    assert [p for p in points if any(a <= p < a + size for a, size in extents)] == dirty_points


@EXAMPLES
@given(st.data(), LENGTHS)
def test_merge_across_granularities(data: st.DataObject, length: int) -> None:
    _, granularity, dirty = data.draw(contents(length))
    _, other_granularity, other_dirty = data.draw(contents(length))
    bitmap = filled(length, granularity, dirty)
    other = filled(length, other_granularity, other_dirty)
    expected = set(dirty)
    for index in other_dirty:
        start = index * other_granularity
        expected |= touched(start, min(other_granularity, length - start), granularity)
    bitmap.merge_from(other)
    assert pieces(bitmap) == expected
    assert pieces(other) == other_dirty


def test_merge_with_itself_changes_nothing() -> None:
    bitmap = filled(100_000, 512, {1, 5, 190})
    bitmap.merge_from(bitmap)
    assert pieces(bitmap) == {1, 5, 190}


def test_merge_of_the_extreme_granularities() -> None:
    fine, coarse = filled(1 << 20, 512, {7}), filled(1 << 20, MAX_GRANULARITY, {0})
    fine_into_coarse = filled(1 << 20, MAX_GRANULARITY, set())
    fine_into_coarse.merge_from(fine)
    assert pieces(fine_into_coarse) == {0}
    fine.merge_from(coarse)
    assert fine.count == 1 << 20


def test_merge_of_another_length_is_refused() -> None:
    bitmap = filled(4096, 512, {1})
    with pytest.raises(GenericError, match="8192 bytes"):
        bitmap.merge_from(filled(8192, 512, {2}))
    assert pieces(bitmap) == {1}


def test_merge_bits_gives_back_what_was_not_copied() -> None:
    bitmap = filled(10 * 4096, 4096, {0})
    left = zeros(5, endian="little")
    left[2] = 1
    bitmap.merge_bits(left, 8192)
    assert pieces(bitmap) == {0, 4, 5}


def test_merge_bits_drops_what_lies_beyond_the_end() -> None:
    bitmap = filled(5 * 512, 512, set())
    bitmap.merge_bits(bitarray("1" * 64, endian="little"), 512)
    assert pieces(bitmap) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("granularity", [0, 1, 256, 511, 513, 3 << 10, 1 << 32, -512])
def test_bad_granularity_is_refused(granularity: int) -> None:
    with pytest.raises(GenericError, match="power of two"):
        check_granularity(granularity)


@pytest.mark.parametrize(
    ("cluster", "granularity"),
    [(None, 65536), (0, 65536), (512, 4096), (4096, 4096), (32768, 32768), (1 << 21, 65536)],
)
def test_default_granularity(cluster: int | None, granularity: int) -> None:
    assert default_granularity(cluster) == granularity


def test_more_bits_than_memory_allows_is_refused() -> None:
    with pytest.raises(GenericError, match="granularity"):
        DirtyBitmap("b", 1 << 62, 512)
    store = BitmapStore("node")
    for name, granularity in (("coarse", 65536), ("fine", 512)):
        store.add(DirtyBitmap(name, 1 << 20, granularity))
    with pytest.raises(GenericError, match=str(MAX_BITS)):
        store.check_resize(1 << 43)
    store.check_resize(1 << 42)


def test_a_write_beyond_the_end_stays_out_of_the_padding() -> None:
    bitmap = filled(3 * 512, 512, set())
    bitmap.set(2 * 512, 100 * 512)
    bitmap.set(50 * 512, 512)
    assert pieces(bitmap) == {2}


def test_no_room_where_it_is_to_move() -> None:
    """It stays where it is, whole, and grows there."""

    def full(size: int) -> bytearray:
        raise OSError(errno.ENOSPC, "full")

    bitmap = filled(10 * 512, 512, {3})
    with pytest.raises(OSError):
        bitmap.move(full, None)
    bitmap.resize(100 * 512)
    assert list(bitmap.dirty_extents()) == [(3 * 512, 512)]


def test_allocated_buffer_holds_the_bits_and_is_read_at_the_start() -> None:
    buffer = bytearray(8)
    buffer[0] = 0b1000_0001
    buffer[7] = 0xFF
    bitmap = DirtyBitmap("b", 10 * 512, 512, allocate=lambda size: buffer)
    assert pieces(bitmap) == {0, 7}
    bitmap.set(9 * 512, 512)
    assert buffer[1] == 0b10
    assert buffer[7] == 0
    bits = bitmap.take()
    assert buffer == bytes(8)
    bitmap.restore(bits)
    assert buffer[:2] == bytes([0b1000_0001, 0b10])


def test_restore_refuses_bits_of_another_length() -> None:
    bitmap = filled(512, 512, set())
    with pytest.raises(ValueError, match="128 bits"):
        bitmap.restore(zeros(128, endian="little"))


@pytest.mark.parametrize("mode", ["abdicate", "reclaim"])
def test_a_disabled_bitmap_has_a_disabled_successor(mode: str) -> None:
    store = BitmapStore("node")
    bitmap = filled(10 * 512, 512, {3})
    bitmap.disable()
    store.add(bitmap)
    bitmap.freeze()
    store.mark(0, 512)
    assert not bitmap.recording
    getattr(bitmap, mode)()
    assert pieces(bitmap) == (set() if mode == "abdicate" else {3})
    assert not bitmap.recording
    assert len(store) == 1


def test_freeze_of_a_busy_bitmap_is_refused() -> None:
    bitmap = filled(512, 512, set())
    bitmap.freeze()
    with pytest.raises(GenericError, match="busy"):
        bitmap.freeze()
    bitmap.reclaim()
    bitmap.lock()
    with pytest.raises(GenericError, match="busy"):
        bitmap.freeze()


def test_locks_are_counted() -> None:
    bitmap = filled(512, 512, set())
    bitmap.lock()
    bitmap.lock()
    bitmap.unlock()
    assert bitmap.busy
    assert bitmap.locked
    bitmap.unlock()
    assert not bitmap.busy
    with pytest.raises(RuntimeError):
        bitmap.unlock()


@pytest.mark.parametrize(
    "misuse",
    [DirtyBitmap.abdicate, DirtyBitmap.reclaim, DirtyBitmap.drop_twin, DirtyBitmap.adopt_twin],
)
def test_ending_what_was_not_begun_is_a_bug(misuse: Callable[[DirtyBitmap], None]) -> None:
    with pytest.raises(RuntimeError):
        misuse(filled(512, 512, set()))


def test_state_checks() -> None:
    bitmap = filled(512, 512, set())
    bitmap.check()
    bitmap.read_only = True
    with pytest.raises(GenericError, match="read-only"):
        bitmap.check()
    bitmap.check(allow_ro=True)
    bitmap.inconsistent = True
    with pytest.raises(GenericError, match="inconsistent"):
        bitmap.check(allow_ro=True)
    bitmap.check(allow_ro=True, allow_inconsistent=True)
    bitmap.lock()
    with pytest.raises(GenericError, match="busy"):
        bitmap.check(allow_ro=True, allow_inconsistent=True)
    bitmap.check(allow_busy=True, allow_ro=True, allow_inconsistent=True)


class TestStore:
    def test_names(self) -> None:
        store = BitmapStore("node")
        bitmap = filled(512, 512, set())
        store.add(bitmap)
        assert store.find("filled") is store.lookup("filled") is bitmap
        assert store.find("other") is None
        with pytest.raises(GenericError, match="has no bitmap 'other'"):
            store.lookup("other")
        with pytest.raises(GenericError, match="already has a bitmap 'filled'"):
            store.add(filled(512, 512, set()))
        with pytest.raises(GenericError, match="empty"):
            store.check_name("")
        store.check_name("x" * 1023)
        store.check_name("é" * 511)
        for name in ("x" * 1024, "é" * 512):
            with pytest.raises(GenericError, match="1023 bytes"):
                store.check_name(name)
        store.remove(bitmap)
        assert store.find("filled") is None
        store.discard(bitmap)
        with pytest.raises(KeyError):
            store.remove(bitmap)

    def test_a_hidden_bitmap_keeps_its_name_and_goes_on_recording(self) -> None:
        store = BitmapStore("node")
        bitmap = filled(512, 512, set())
        store.add(bitmap)
        bitmap.hide()
        assert store.find("filled") is None
        assert store.info() == []
        with pytest.raises(GenericError, match="being removed"):
            store.check_name("filled")
        store.mark(0, 1)
        assert bitmap.count == 512
        bitmap.unhide()
        assert store.find("filled") is bitmap

    def test_only_what_records_is_marked(self) -> None:
        store = BitmapStore("node")
        store.mark(0, 512)
        on, off = DirtyBitmap("on", 8192, 512), DirtyBitmap("off", 8192, 512, disabled=True)
        store.add(on)
        store.add(off)
        store.mark(512, 513)
        assert (pieces(on), pieces(off)) == ({1, 2}, set())
        on.disable()
        off.enable()
        store.mark(0, 1)
        assert (pieces(on), pieces(off)) == ({1, 2}, {0})
        store.remove(off)
        store.mark(4096, 1)
        assert pieces(off) == {0}

    def test_info(self) -> None:
        store = BitmapStore("node")
        first = DirtyBitmap("first", 8192, 512, persistent=True)
        second = DirtyBitmap("second", 8192, 4096, disabled=True)
        store.add(first)
        store.add(second)
        first.set(0, 512)
        first.freeze()
        store.mark(0, 1024)
        second.inconsistent = True
        assert store.info() == [
            {"recording": True, "persistent": False, "busy": False, "granularity": 512, "count": 1024},
            {
                "name": "second",
                "recording": False,
                "persistent": False,
                "busy": False,
                "inconsistent": True,
                "granularity": 4096,
                "count": 0,
            },
            {
                "name": "first",
                "recording": True,
                "persistent": True,
                "busy": True,
                "granularity": 512,
                "count": 512,
            },
        ]

    def test_changes_of_bits_are_told_once_until_looked_at_again(self) -> None:
        told: list[str] = []
        store = BitmapStore("node", on_change=lambda: told.append("changed"))
        store.add(DirtyBitmap("b", 8192, 512))
        store.info()
        told.clear()
        store.mark(0, 512)
        store.mark(512, 512)
        assert len(told) == 1
        store.info()
        store.mark(0, 512)
        assert len(told) == 2

    @pytest.mark.parametrize(
        "change",
        [
            DirtyBitmap.clear,
            DirtyBitmap.disable,
            DirtyBitmap.enable,
            DirtyBitmap.lock,
            DirtyBitmap.hide,
            DirtyBitmap.freeze,
            DirtyBitmap.take,
            lambda bitmap: bitmap.reset(0, 512),
            lambda bitmap: bitmap._store.resize(4096),
            lambda bitmap: bitmap._store.remove(bitmap),
        ],
    )
    def test_every_change_is_told(self, change: Callable[[DirtyBitmap], object]) -> None:
        told: list[str] = []
        store = BitmapStore("node", on_change=lambda: told.append("changed"))
        bitmap = DirtyBitmap("b", 8192, 512)
        store.add(bitmap)
        store.info()
        told.clear()
        change(bitmap)
        assert told
