"""Credentials: which files there have to be, and what is wrong with those that are.

`certificates` holds an authority's certificate, a server's and a client's with their keys, the same server's that has
expired, and the server's key under the password `open-sesame`. All are valid from 2000 to 2100, and for tests only.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.iopool import IOPool
from qmpd.errors import GenericError
from qmpd.objects.tls_creds import TlsCredsPsk, find_server_creds
from qmpd.objects.tree import ObjectTree

CERTIFICATES = Path(__file__).parent / "certificates"


@pytest.fixture
async def tree() -> Any:
    pool = IOPool()
    yield ObjectTree(pool.run)
    await pool.close()


def directory(path: Path, **files: str) -> str:
    """A directory with some of the certificates; `server_cert="x.pem"` takes `x.pem` as `server-cert.pem`."""
    for name, source in files.items():
        shutil.copyfile(CERTIFICATES / source, path / f"{name.replace('_', '-')}.pem")
    return str(path)


SERVER = {"ca_cert": "ca-cert.pem", "server_cert": "server-cert.pem", "server_key": "server-key.pem"}
CLIENT = {"ca_cert": "ca-cert.pem", "client_cert": "client-cert.pem", "client_key": "client-key.pem"}


@pytest.mark.parametrize(
    ("endpoint", "files"),
    [("server", SERVER), ("client", CLIENT), ("client", {"ca_cert": "ca-cert.pem"})],
    ids=["server", "client", "client-without"],
)
async def test_certificates(tree: ObjectTree, tmp_path: Path, endpoint: str, files: dict[str, str]) -> None:
    await tree.add("tls-creds-x509", "t", {"dir": directory(tmp_path, **files), "endpoint": endpoint})
    assert tree.get("t", "endpoint") == endpoint
    assert tree.get("t", "verify-peer") is True
    assert tree.get("t", "loaded") is True
    tree.set("t", "verify-peer", False)
    assert tree.get("t", "verify-peer") is False
    for name in ("dir", "endpoint", "priority", "passwordid"):
        with pytest.raises(GenericError):
            tree.set("t", name, "client")


BROKEN: dict[str, tuple[dict[str, str | None], str]] = {
    "no authority": ({"ca_cert": None}, "ca-cert"),
    "no certificate": ({"server_cert": None}, "server-cert"),
    "no key": ({"server_key": None}, "server-key"),
    "another authority": ({"ca_cert": "other-ca-cert.pem"}, "not accepted"),
    "expired": ({"server_cert": "expired-cert.pem"}, "expired"),
    "a key of somebody else": ({"server_key": "client-key.pem"}, "cannot be loaded"),
    "a key for a certificate": ({"server_cert": "server-key.pem"}, "cannot be loaded"),
    "a key for an authority": ({"ca_cert": "server-key.pem"}, "cannot be loaded"),
    "not an authority": ({"ca_cert": "server-cert.pem"}, "not accepted"),
    "a key under a password": ({"server_key": "encrypted-key.pem"}, "cannot be loaded"),
    "parameters that are none": ({"dh_params": "server-key.pem"}, "DH"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_wrong_with_certificates(tree: ObjectTree, tmp_path: Path, case: str) -> None:
    change, reason = BROKEN[case]
    files = {name: source for name, source in {**SERVER, **change}.items() if source is not None}
    with pytest.raises(GenericError, match=reason):
        await tree.add("tls-creds-x509", "t", {"dir": directory(tmp_path, **files), "endpoint": "server"})


async def test_without_sanity_check_what_loads_will_do(tree: ObjectTree, tmp_path: Path) -> None:
    files = {**SERVER, "server_cert": "expired-cert.pem", "ca_cert": "other-ca-cert.pem"}
    given = {"dir": directory(tmp_path, **files), "endpoint": "server", "sanity-check": False}
    await tree.add("tls-creds-x509", "t", given)


async def test_a_certificate_for_another_purpose_is_taken(tree: ObjectTree, tmp_path: Path) -> None:
    files = {**SERVER, "server_cert": "client-cert.pem", "server_key": "client-key.pem"}
    await tree.add("tls-creds-x509", "t", {"dir": directory(tmp_path, **files), "endpoint": "server"})


async def test_a_key_under_a_password(tree: ObjectTree, tmp_path: Path) -> None:
    given = {
        "dir": directory(tmp_path, **{**SERVER, "server_key": "encrypted-key.pem"}),
        "endpoint": "server",
        "passwordid": "s",
    }
    with pytest.raises(GenericError, match="secret"):
        await tree.add("tls-creds-x509", "t", given)
    await tree.add("secret", "s", {"data": "wrong"})
    with pytest.raises(GenericError, match="cannot be loaded"):
        await tree.add("tls-creds-x509", "t", given)
    tree.remove("s")
    await tree.add("secret", "s", {"data": "open-sesame"})
    await tree.add("tls-creds-x509", "t", given)


@pytest.mark.parametrize("kind", ["tls-creds-x509", "tls-creds-psk"])
@pytest.mark.parametrize("given", [{}, {"dir": ""}, {"dir": "/nonexistent"}, {"dir": "nul\0l"}])
async def test_a_directory_is_needed(tree: ObjectTree, kind: str, given: dict[str, str]) -> None:
    with pytest.raises(GenericError):
        await tree.add(kind, "t", given)


async def test_keys_that_both_ends_have(tree: ObjectTree, tmp_path: Path) -> None:
    keys = tmp_path / "keys.psk"
    keys.write_text("qemu:0123\nfred:4567\n")
    made = await tree.add("tls-creds-psk", "server", {"dir": str(tmp_path), "endpoint": "server"})
    assert isinstance(made, TlsCredsPsk)
    assert made.keys == {"qemu": "0123", "fred": "4567"}
    await tree.add("tls-creds-psk", "client", {"dir": str(tmp_path)})
    await tree.add("tls-creds-psk", "fred", {"dir": str(tmp_path), "username": "fred"})
    with pytest.raises(GenericError, match="george"):
        await tree.add("tls-creds-psk", "george", {"dir": str(tmp_path), "username": "george"})
    with pytest.raises(GenericError, match="username"):
        given = {"dir": str(tmp_path), "username": "fred", "endpoint": "server"}
        await tree.add("tls-creds-psk", "wrong", given)
    keys.write_bytes(b"\xff\xfe")
    with pytest.raises(GenericError, match="cannot be read"):
        await tree.add("tls-creds-psk", "binary", {"dir": str(tmp_path)})


async def test_anonymous(tree: ObjectTree, tmp_path: Path) -> None:
    await tree.add("tls-creds-anon", "a", {})
    await tree.add("tls-creds-anon", "b", {"endpoint": "server", "dir": str(tmp_path), "priority": "NORMAL"})
    (tmp_path / "dh-params.pem").write_text("junk")
    with pytest.raises(GenericError, match="DH"):
        await tree.add("tls-creds-anon", "c", {"endpoint": "server", "dir": str(tmp_path)})


async def test_what_a_server_can_use(tree: ObjectTree, tmp_path: Path) -> None:
    await tree.add("tls-creds-anon", "client", {})
    await tree.add("tls-creds-anon", "server", {"endpoint": "server"})
    await tree.add("iothread", "io", {})
    assert find_server_creds(tree.find("server"), "server") is tree.find("server")
    for name, reason in (("client", "client"), ("io", "no TLS"), ("nope", "no TLS")):
        with pytest.raises(GenericError, match=reason):
            find_server_creds(tree.find(name), name)
