"""The object types of `crypto.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations


from pydantic import Field

from qmpd.api.enums import QCryptoSecretFormat, QCryptoTLSCredsEndpoint
from qmpd.qapi.model import Maybe, Model

__all__ = [
    "SecretCommonProperties",
    "SecretProperties",
    "TlsCredsProperties",
    "TlsCredsAnonProperties",
    "TlsCredsPskProperties",
    "TlsCredsX509Properties",
]


class SecretCommonProperties(Model):
    """What all secrets have."""

    loaded: Maybe[bool] = None
    """the secret has been read; it always is, so setting this is refused"""

    format: Maybe[QCryptoSecretFormat] = None
    """how it is written down (default: 'raw')"""

    keyid: Maybe[str] = None
    """the secret that it is encrypted with; a key for AES-256 in CBC mode"""

    iv: Maybe[str] = None
    """the initialisation vector of that encryption, 16 bytes in base64"""


class TlsCredsProperties(Model):
    """What all TLS credentials have."""

    verify_peer: Maybe[bool] = Field(default=None, alias="verify-peer")
    """the other end has to prove who it is (default: true)"""

    dir: Maybe[str] = None
    """the directory with the credentials' files"""

    endpoint: Maybe[QCryptoTLSCredsEndpoint] = None
    """which end they are for (default: 'client')"""

    priority: Maybe[str] = None
    """which algorithms are allowed, as GnuTLS writes it"""


class SecretProperties(SecretCommonProperties):
    """A secret that is given in place or in a file; one of the two."""

    data: Maybe[str] = None
    """the secret itself"""

    file: Maybe[str] = None
    """the path of the file that it is in"""


class TlsCredsAnonProperties(TlsCredsProperties):
    """Encryption without proof of who is at either end."""

    loaded: Maybe[bool] = None
    """the files have been read; they always are, so setting this is refused"""


class TlsCredsPskProperties(TlsCredsProperties):
    """Keys that both ends have, in the file 'keys.psk'."""

    loaded: Maybe[bool] = None
    """the file has been read; it always is, so setting this is refused"""

    username: Maybe[str] = None
    """the name whose key a client uses (default: 'qemu')"""


class TlsCredsX509Properties(TlsCredsProperties):
    """Certificates, in the files 'ca-cert.pem', 'server-cert.pem', 'server-key.pem', 'client-cert.pem' and
    'client-key.pem'.
    """

    loaded: Maybe[bool] = None
    """the files have been read; they always are, so setting this is refused"""

    sanity_check: Maybe[bool] = Field(default=None, alias="sanity-check")
    """the certificates are checked before they are used (default: true)"""

    passwordid: Maybe[str] = None
    """the secret that the private key is encrypted with"""
