"""AES in CBC mode against the published examples."""

from __future__ import annotations

import pytest

from qmpd.objects.aes import decrypt_cbc

KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
IV = bytes(range(16))
# NIST SP 800-38A, F.2.6, with a block of padding behind it.
CIPHER = bytes.fromhex(
    "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
    "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
)
PLAIN = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
PADDING = bytes.fromhex("3f461796d6b0d6b2e0c2a72b4d80e644")


def test_the_published_example() -> None:
    assert decrypt_cbc(KEY, IV, CIPHER + PADDING) == PLAIN


@pytest.mark.parametrize(
    ("key", "cipher"),
    [
        ("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        ("000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"),
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "8ea2b7ca516745bfeafc49904b496089"),
    ],
)
def test_other_keys(key: str, cipher: str) -> None:
    """FIPS 197, appendix C; the plain block is made to be padding by the vector."""
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    vector = bytes(byte ^ 16 for byte in plain)
    assert decrypt_cbc(bytes.fromhex(key), vector, bytes.fromhex(cipher)) == b""


@pytest.mark.parametrize("data", [b"", b"x", CIPHER[:-1], CIPHER])
def test_what_is_not_padded_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"multiple|padding"):
        decrypt_cbc(KEY, IV, data)
