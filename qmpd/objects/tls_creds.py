"""Objects `tls-creds-anon`, `tls-creds-psk` and `tls-creds-x509`: what one end of a TLS connection has to show.

The files in `dir` are read and checked when the object is made, in a thread of their own; their names and formats are
QEMU's. Certificates are checked by a handshake in memory, in which a client who knows only `ca-cert.pem` has to accept
them.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qmpd.errors import GenericError, os_error_text
from qmpd.objects.base import Offload, Property, UserObject, changeable, fixed
from qmpd.objects.secret import find_secret

if TYPE_CHECKING:
    from qmpd.objects.tree import ObjectTree

DEFAULT_USER = "qemu"

_WRONG_PURPOSE = 26
"""OpenSSL's number for a certificate that is for other purposes; GnuTLS, and so QEMU, takes it."""


class TlsCreds(UserObject):
    """What all credentials have.

    :ivar directory: where the files are; empty for none.
    """

    type_name: ClassVar[str] = "tls-creds"
    properties: ClassVar[tuple[Property, ...]] = (
        fixed("endpoint", "QCryptoTLSCredsEndpoint", "endpoint"),
        fixed("dir", "string", "directory"),
        changeable("verify-peer", "bool", "verify_peer"),
        fixed("priority", "string", "priority"),
    )

    endpoint = "client"
    directory = ""
    verify_peer = True
    priority = ""

    async def load(self, offload: Offload) -> None:
        await offload(self._load)

    def _load(self) -> None:
        """Read the files and check them; runs in a thread."""

    def _need_directory(self) -> None:
        if not self.directory:
            raise GenericError("'dir' is missing: it is the directory with the credentials' files")

    def _file(self, name: str) -> str:
        """The path of a file that has to be there and be readable."""
        path = Path(self.directory) / name
        try:
            with path.open("rb"):
                return str(path)
        except (OSError, ValueError) as error:
            reason = os_error_text(error) if isinstance(error, OSError) else str(error)
            raise GenericError(f"The credentials in '{path}' cannot be read: {reason}") from error

    def _has(self, name: str) -> bool:
        return (Path(self.directory) / name).exists()

    def _check_dh_parameters(self) -> None:
        if self.endpoint != "server" or not self.directory or not self._has("dh-params.pem"):
            return
        path = self._file("dh-params.pem")
        with _told("The DH parameters in '%s' cannot be loaded", path):
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_dh_params(path)


_LOADED = Property("loaded", "bool", lambda self: True)


class TlsCredsAnon(TlsCreds):
    """Encryption alone."""

    type_name: ClassVar[str] = "tls-creds-anon"
    properties: ClassVar[tuple[Property, ...]] = (_LOADED,)

    def _load(self) -> None:
        self._check_dh_parameters()


class TlsCredsPsk(TlsCreds):
    """Keys that both ends have.

    :ivar keys: hexadecimal digits, by user.
    """

    type_name: ClassVar[str] = "tls-creds-psk"
    properties: ClassVar[tuple[Property, ...]] = (_LOADED, fixed("username", "string", "username"))

    username = ""

    def __init__(self, object_id: str, tree: ObjectTree) -> None:
        super().__init__(object_id, tree)
        self.keys: dict[str, str] = {}

    def _load(self) -> None:
        self._need_directory()
        path = self._file("keys.psk")
        if self.endpoint == "server" and self.username:
            raise GenericError("'username' is for clients; a server takes any user of 'keys.psk'")
        self._check_dh_parameters()
        with _told("The keys in '%s' cannot be read", path):
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        for line in lines:
            name, colon, key = line.strip().rpartition(":")
            if colon:
                self.keys[name] = key
        user = self.username or DEFAULT_USER
        if self.endpoint == "client" and user not in self.keys:
            raise GenericError(f"User '{user}' has no key in '{path}'")


class TlsCredsX509(TlsCreds):
    """Certificates."""

    type_name: ClassVar[str] = "tls-creds-x509"
    properties: ClassVar[tuple[Property, ...]] = (
        _LOADED,
        fixed("sanity-check", "bool", "sanity_check"),
        fixed("passwordid", "string", "passwordid"),
    )

    sanity_check = True
    passwordid = ""

    def _load(self) -> None:
        self._need_directory()
        authority = self._file("ca-cert.pem")
        pair = self._own_files()
        self._check_dh_parameters()
        password = find_secret(self, self.passwordid) if self.passwordid else None
        with _told("The authority's certificate in '%s' cannot be loaded", authority):
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.load_verify_locations(authority)
        if pair is None:
            return
        with _told("The certificate and the key in '%s' and '%s' cannot be loaded", *pair):
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(*pair, password=lambda: password or b"")
        if self.sanity_check:
            client.check_hostname = False
            _check_accepted(server, client, pair[0], authority)

    def _own_files(self) -> tuple[str, str] | None:
        """Certificate and key; a client may do without."""
        names = f"{self.endpoint}-cert.pem", f"{self.endpoint}-key.pem"
        if self.endpoint == "client" and not any(map(self._has, names)):
            return None
        return self._file(names[0]), self._file(names[1])


@contextmanager
def _told(sentence: str, *paths: str) -> Iterator[None]:
    """Turn what goes wrong in the block into the reason behind a sentence."""
    try:
        yield
    except ssl.SSLError as error:
        raise GenericError(f"{sentence % paths}: {error.reason or error}") from error
    except OSError as error:
        raise GenericError(f"{sentence % paths}: {os_error_text(error)}") from error
    except ValueError as error:
        raise GenericError(f"{sentence % paths}: {error}") from error


def _check_accepted(server: ssl.SSLContext, client: ssl.SSLContext, certificate: str, authority: str) -> None:
    """Let both shake hands in memory.

    :raises GenericError: the client does not accept the server's certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        # Three passages: hello, certificate, end.
        for end in ends * 3:
            _go_on(end)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code != _WRONG_PURPOSE:
            raise GenericError(
                f"The certificate in '{certificate}' is not accepted by those who trust '{authority}': "
                f"{error.verify_message}"
            ) from error
    except ssl.SSLError as error:
        raise GenericError(f"The certificate in '{certificate}' cannot be used: {error.reason}") from error


def _go_on(end: ssl.SSLObject) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return


def find_server_creds(found: UserObject | None, object_id: str) -> TlsCreds:
    """The credentials that a server names.

    :raises GenericError: there are none of that id, or they are for a client.
    """
    if found is None:
        raise GenericError(f"There are no TLS credentials with the id '{object_id}'")
    if not isinstance(found, TlsCreds):
        raise GenericError(f"Object '{object_id}' is no TLS credentials")
    if found.endpoint != "server":
        raise GenericError(f"The TLS credentials '{object_id}' are for a client; a server needs 'endpoint': 'server'")
    return found
