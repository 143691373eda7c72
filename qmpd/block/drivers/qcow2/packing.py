"""Tables on disk to arrays in memory and back: big-endian words, and reference counts of every width.

Plain functions over whole buffers; no loop over entries, no I/O.
"""

from __future__ import annotations

import sys
from array import array
from typing import cast

_TYPECODES = {3: "B", 4: "H", 5: "I", 6: "Q"}
_SWAP = sys.byteorder == "little"


def words(data: bytes | bytearray | memoryview) -> array[int]:
    """64-bit big-endian words as integers."""
    table = array("Q")
    table.frombytes(data)
    if _SWAP:
        table.byteswap()
    return table


def word_bytes(table: array[int]) -> bytes:
    """The bytes on disk of 64-bit words."""
    if not _SWAP:
        return table.tobytes()
    copy = table[:]
    copy.byteswap()
    return copy.tobytes()


def no_counts(entries: int, order: int) -> array[int]:
    """That many counts of zero, in an array that holds the largest one of 2^order bits."""
    code = _TYPECODES.get(order, "B")
    return array(code, bytes(entries * array(code).itemsize))


def counts(data: bytes | bytearray | memoryview, order: int) -> array[int]:
    """Reference counts of 2^order bits, one array item each."""
    if order >= 3:
        result = array(_TYPECODES[order])
        result.frombytes(data)
        if _SWAP:
            result.byteswap()
        return result
    width = 1 << order
    per_byte = 8 >> order
    mask = (1 << width) - 1
    raw = bytes(data)
    spread = bytearray(len(raw) * per_byte)
    for index in range(per_byte):
        spread[index::per_byte] = raw.translate(bytes((byte >> index * width) & mask for byte in range(256)))
    result = array("B")
    result.frombytes(spread)
    return result


def count_bytes(table: array[int], order: int) -> bytes:
    """The bytes on disk of reference counts; narrow ones in whole bytes."""
    if order >= 3:
        if not _SWAP:
            return table.tobytes()
        copy = table[:]
        copy.byteswap()
        return copy.tobytes()
    width = 1 << order
    per_byte = 8 >> order
    raw = table.tobytes()
    packed = 0
    for index in range(per_byte):
        shifted = raw[index::per_byte].translate(bytes((byte << index * width) & 0xFF for byte in range(256)))
        packed |= int.from_bytes(shifted, "big")
    return packed.to_bytes(len(raw) // per_byte, "big")


def find_zero_run(table: array[int], start: int, length: int) -> int:
    """The first place at or after `start` where `length` counts in a row are zero, -1 without one."""
    try:
        at = table.index(0, start)
    except ValueError:
        return -1
    if length == 1:
        return at
    size = table.itemsize
    raw = memoryview(cast("memoryview", table)).cast("B")
    needle = bytes(length * size)
    view = bytes(raw)
    place = at * size
    while True:
        place = view.find(needle, place)
        if place < 0:
            return -1
        if place % size == 0:
            return place // size
        place += size - place % size
