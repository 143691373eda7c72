"""Object `secret`: a password or a key, given in place or in a file, plain or encrypted with another secret.

What it holds is for those who look it up in the tree. It is never shown: neither by a query, nor in a message.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import ClassVar

from qmpd.errors import GenericError, os_error_text
from qmpd.objects.base import Offload, Property, UserObject, fixed

_KEY = 32
_VECTOR = 16
"""Bytes of a key and an initialisation vector of AES-256 in CBC mode."""

_LARGEST = 1 << 20
"""Bytes of the largest secret that is read from a file: nobody has a password of a mebibyte."""


def _hidden(self: Secret) -> object:
    raise GenericError(f"'data' of secret '{self.object_id}' is not shown to anybody")


def _take_data(self: Secret, value: str) -> None:
    self.check_changeable("data")
    self.data = value


def _take_file(self: Secret, value: str) -> None:
    self.check_changeable("file")
    self.file = value


class SecretCommon(UserObject):
    """What all secrets have.

    :ivar value: the secret itself.
    """

    type_name: ClassVar[str] = "secret_common"
    properties: ClassVar[tuple[Property, ...]] = (
        Property("loaded", "bool", lambda self: True),
        fixed("format", "QCryptoSecretFormat", "format"),
        fixed("keyid", "string", "keyid"),
        fixed("iv", "string", "iv"),
    )

    format = "raw"
    keyid = ""
    iv = ""
    value = b""


class Secret(SecretCommon):
    """The object."""

    type_name: ClassVar[str] = "secret"
    properties: ClassVar[tuple[Property, ...]] = (
        Property("data", "string", _hidden, _take_data),
        Property("file", "string", lambda self: self.file or "", _take_file),
    )

    data: str | None = None
    file: str | None = None

    async def load(self, offload: Offload) -> None:
        if self.data is not None and self.file is not None:
            raise GenericError("'data' and 'file' do not go together: a secret is in one place")
        if self.data is not None:
            raw = self.data.encode(errors="surrogateescape")
        elif self.file is not None:
            path = self.file
            raw = await offload(lambda: _read(path))
        else:
            raise GenericError("'data' or 'file' is missing: one of them has the secret")
        self.data = None
        value = decode_base64(raw, "The secret") if self.format == "base64" else raw
        if self.keyid:
            key, iv = self._key(), self._vector()
            value = await offload(lambda: _decrypt(key, iv, value))
        self.value = value

    def _key(self) -> bytes:
        key = find_secret(self, self.keyid)
        if len(key) != _KEY:
            raise GenericError(f"Secret '{self.keyid}' has {len(key)} bytes; a key for AES-256 has {_KEY}")
        return key

    def _vector(self) -> bytes:
        if not self.iv:
            raise GenericError("'iv' is missing; a secret with a 'keyid' is decrypted with it")
        iv = decode_base64(self.iv.encode(errors="surrogateescape"), "'iv'")
        if len(iv) != _VECTOR:
            raise GenericError(f"'iv' has {len(iv)} bytes; it has to have {_VECTOR}")
        return iv


def _decrypt(key: bytes, iv: bytes, value: bytes) -> bytes:
    from qmpd.objects.aes import decrypt_cbc

    try:
        return decrypt_cbc(key, iv, value)
    except ValueError as error:
        raise GenericError(f"The secret cannot be decrypted: {error}") from error


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise GenericError(f"The secret in '{path}' cannot be read: {reason}") from error
    if len(raw) > _LARGEST:
        raise GenericError(f"The secret in '{path}' has more than {_LARGEST} bytes")
    return raw


def decode_base64(text: bytes, what: str) -> bytes:
    """What base64 text stands for; line ends, and padding that is missing or too much, are forgiven.

    :param what: what the text is, for messages.
    :raises GenericError: it is no base64 text.
    """
    packed = b"".join(text.splitlines()).rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise GenericError(f"{what} is not base64 text") from None


def find_secret(owner: UserObject, object_id: str) -> bytes:
    """The secret that another object names.

    :raises GenericError: there is no such secret.
    """
    found = owner.tree.find(object_id)
    if found is None:
        raise GenericError(f"There is no secret with the id '{object_id}'")
    if not isinstance(found, SecretCommon):
        raise GenericError(f"Object '{object_id}' is no secret")
    return found.value
