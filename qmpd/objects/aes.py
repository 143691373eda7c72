"""Decrypts what is encrypted with AES in CBC mode: the secrets that management stacks hand over.

A few dozen bytes at a time, with keys that the same client has given: neither speed nor a steady running time matters,
so there is no need to depend on a cryptographic library for it. (FIPS 197, section 5.3; NIST SP 800-38A, section 6.2;
padding: RFC 5652, section 6.3.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

BLOCK = 16
"""Bytes."""


def decrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Decrypt whole blocks and take away their padding.

    :param key: 16, 24 or 32 bytes.
    :param iv: 16 bytes.
    :raises ValueError: the data are no whole blocks, or not padded as they should be: the key is another one.
    """
    if not data or len(data) % BLOCK:
        raise ValueError(f"{len(data)} bytes are no multiple of {BLOCK}")
    round_keys = list(_round_keys(key))
    plain = bytearray()
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        plain += _xor(_decrypt_block(block, round_keys), iv)
        iv = block
    padding = plain[-1]
    if not 1 <= padding <= BLOCK or plain[-padding:] != bytes([padding]) * padding:
        raise ValueError("the padding is wrong")
    return bytes(plain[:-padding])


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _double(value: int) -> int:
    return (value << 1) ^ 0x11B if value & 0x80 else value << 1


def _times(value: int, factor: int) -> int:
    """The product in the field that AES reckons in."""
    product = 0
    while factor:
        if factor & 1:
            product ^= value
        value, factor = _double(value), factor >> 1
    return product


def _substitution() -> bytes:
    """The table of FIPS 197, figure 7: the inverse in the field, and five rotations of it together."""
    table = bytearray(256)
    for value in range(256):
        inverse = next((other for other in range(256) if _times(value, other) == 1), 0)
        spread = inverse | inverse << 8
        mixed = 0x63
        for shift in range(4, 9):
            mixed ^= spread >> shift & 0xFF
        table[value] = mixed
    return bytes(table)


_SUBSTITUTE = _substitution()
_RESTORE = bytes(_SUBSTITUTE.index(value) for value in range(256))
_PRODUCTS = {factor: bytes(_times(value, factor) for value in range(256)) for factor in (9, 11, 13, 14)}
# Where each byte of a block is before its rows are shifted back; blocks are columns of four bytes.
_UNSHIFT = [(column - row) % 4 * 4 + row for column in range(4) for row in range(4)]


def _round_keys(key: bytes) -> Iterator[bytes]:
    """The key schedule: one block of key for each round, and one before."""
    size = len(key) // 4
    words = [key[start : start + 4] for start in range(0, len(key), 4)]
    constant = 1
    for number in range(size, 4 * (size + 7)):
        word = words[-1]
        if number % size == 0:
            word = (word[1:] + word[:1]).translate(_SUBSTITUTE)
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _double(constant)
        elif size > 6 and number % size == 4:
            word = word.translate(_SUBSTITUTE)
        words.append(_xor(words[-size], word))
    for start in range(0, len(words), 4):
        yield b"".join(words[start : start + 4])


def _decrypt_block(block: bytes, round_keys: list[bytes]) -> bytes:
    state = _xor(block, round_keys[-1])
    for number in range(len(round_keys) - 2, -1, -1):
        state = bytes(state[place] for place in _UNSHIFT).translate(_RESTORE)
        state = _xor(state, round_keys[number])
        if number:
            state = bytes(chain.from_iterable(_unmix(state[start : start + 4]) for start in range(0, BLOCK, 4)))
    return state


def _unmix(column: bytes) -> Iterator[int]:
    for row in range(4):
        a, b, c, d = column[row], column[(row + 1) % 4], column[(row + 2) % 4], column[(row + 3) % 4]
        yield _PRODUCTS[14][a] ^ _PRODUCTS[11][b] ^ _PRODUCTS[13][c] ^ _PRODUCTS[9][d]
