"""Objects: made, found, changed, deleted, by command and on the command line."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import SERVER_KINDS, Launcher, QMPRefused, Scratch, Server
from iotests.harness.images import MIB

LIMITS = [
    f"{kind}-{end}{suffix}"
    for kind in ("iops", "bps")
    for end in ("total", "read", "write")
    for suffix in ("", "-max", "-max-length")
] + ["iops-size"]


def properties(server: Server, path: str) -> dict[str, Any]:
    """All properties of an object by name."""
    listed = server.qmp.command("qom-list", path=path)
    return {item["name"]: server.qmp.command("qom-get", path=path, property=item["name"]) for item in listed}


def types(server: Server, path: str) -> dict[str, str]:
    """The types of an object's properties by name."""
    return {item["name"]: item["type"] for item in server.qmp.command("qom-list", path=path)}


def refused(server: Server, command: str, **members: Any) -> str:
    """The class of the error that a command has to end with."""
    with pytest.raises(QMPRefused) as caught:
        server.qmp.command(command, **members)
    return caught.value.error_class


def add(server: Server, qom_type: str, object_id: str, **members: Any) -> None:
    server.qmp.command("object-add", qom_type=qom_type, id=object_id, **members)


class TestTree:
    """Where objects are."""

    def test_paths(self, server: Server) -> None:
        assert "objects" not in types(server, "/")
        add(server, "throttle-group", "g")
        add(server, "iothread", "io")
        assert types(server, "/")["objects"] == "child<container>"
        assert types(server, "/objects") == {
            "type": "string",
            "g": "child<throttle-group>",
            "io": "child<iothread>",
        }
        assert server.qmp.command("qom-get", path="/objects", property="g") == "/objects/g"
        for path in ("/objects/g", "objects/g", "g", "//objects//g/"):
            assert server.qmp.command("qom-get", path=path, property="type") == "throttle-group"

    def test_what_is_not_there_and_ids(self, server: Server) -> None:
        add(server, "throttle-group", "g")
        for command, members in (
            ("qom-list", {}),
            ("qom-get", {"property": "type"}),
            ("qom-set", {"property": "type", "value": 1}),
        ):
            assert refused(server, command, path="/objects/nope", **members) == "DeviceNotFound"
            assert refused(server, command, path="nope", **members) == "DeviceNotFound"
        assert refused(server, "qom-get", path="g", property="nope") == "GenericError"
        assert refused(server, "qom-set", path="g", property="nope", value=1) == "GenericError"
        assert refused(server, "qom-set", path="g", property="type", value="x") == "GenericError"
        assert refused(server, "qom-set", path="/objects", property="g", value="x") == "GenericError"
        assert refused(server, "object-del", id="nope") == "GenericError"
        for wrong in ("g", "", "1g", "a b"):
            assert refused(server, "object-add", qom_type="iothread", id=wrong) == "GenericError"
        server.qmp.command("object-del", id="g")
        add(server, "iothread", "g")
        assert types(server, "/objects")["g"] == "child<iothread>"

    WRONG: tuple[dict[str, Any], ...] = (
        {},
        {"qom-type": "iothread"},
        {"qom-type": "nonsense", "id": "x"},
        {"qom-type": "memory-backend-ram", "id": "x", "size": 1},
        {"qom-type": "iothread", "id": "x", "nope": 1},
        {"qom-type": "iothread", "id": "x", "poll-max-ns": "1"},
        {"qom-type": "authz-simple", "id": "x"},
        {"qom-type": "authz-list", "id": "x", "rules": [{"match": "a"}]},
        {"qom-type": "throttle-group", "id": "x", "limits": 1},
        {"qom-type": "throttle-group", "id": "x", "limits": {"nope": 1}},
    )

    def test_refusals(self, server: Server) -> None:
        for wrong in self.WRONG:
            server.qmp.refused("object-add", wrong)
        assert "objects" not in types(server, "/") or types(server, "/objects") == {"type": "string"}

    def test_types(self, server: Server) -> None:
        listed = {item["name"]: item for item in server.qmp.command("qom-list-types", implements="user-creatable")}
        for name, parent in (
            ("authz-list", "authz"),
            ("authz-simple", "authz"),
            ("iothread", "event-loop-base"),
            ("secret", "secret_common"),
            ("throttle-group", "object"),
            ("tls-creds-anon", "tls-creds"),
            ("tls-creds-psk", "tls-creds"),
            ("tls-creds-x509", "tls-creds"),
        ):
            assert listed[name] == {"name": name, "parent": parent}
        assert "tls-creds" not in {item["name"] for item in server.qmp.command("qom-list-types")}
        abstract = {item["name"]: item for item in server.qmp.command("qom-list-types", abstract=True)}
        assert abstract["tls-creds"] == {"name": "tls-creds", "parent": "object", "abstract": True}
        assert server.qmp.command("qom-list-types", implements="nonsense") == []
        assert refused(server, "qom-list-properties", typename="nonsense") == "DeviceNotFound"

    PROPERTIES: tuple[tuple[str, set[str]], ...] = (
        ("throttle-group", {"limits", *(f"x-{name}" for name in LIMITS)}),
        ("secret", {"data", "file", "format", "iv", "keyid", "loaded"}),
        ("secret_common", {"format", "iv", "keyid", "loaded"}),
        ("tls-creds-anon", {"dir", "endpoint", "loaded", "priority", "verify-peer"}),
        ("tls-creds-psk", {"dir", "endpoint", "loaded", "priority", "username", "verify-peer"}),
        (
            "tls-creds-x509",
            {"dir", "endpoint", "loaded", "passwordid", "priority", "sanity-check", "verify-peer"},
        ),
        (
            "iothread",
            {
                "aio-max-batch",
                "poll-grow",
                "poll-max-ns",
                "poll-shrink",
                "thread-pool-max",
                "thread-pool-min",
            },
        ),
        ("authz-list", {"policy", "rules"}),
        ("authz-simple", {"identity"}),
        ("container", set()),
    )

    def test_properties_of_types(self, server: Server) -> None:
        for typename, names in self.PROPERTIES:
            listed = server.qmp.command("qom-list-properties", typename=typename)
            assert {item["name"] for item in listed} == {"type", *names}, typename


class TestThrottleGroup:
    """Limits as they are given and told; what they do is in test_throttle.py."""

    def test_defaults_and_both_spellings(self, server: Server) -> None:
        add(server, "throttle-group", "g")
        told = server.qmp.command("qom-get", path="g", property="limits")
        assert told == {name: int(name.endswith("-length")) for name in LIMITS}
        given = {name: 1000 + number for number, name in enumerate(LIMITS) if "-total" not in name}
        given |= {name: 2000 + value for name, value in given.items() if name.endswith("-max")}
        add(server, "throttle-group", "new", limits=given)
        add(server, "throttle-group", "old", **{f"x-{name}": value for name, value in given.items()})
        for path in ("new", "old"):
            told = server.qmp.command("qom-get", path=path, property="limits")
            assert {name: value for name, value in told.items() if name in given} == given
            for name in LIMITS:
                assert server.qmp.command("qom-get", path=path, property=f"x-{name}") == told[name]

    def test_changes(self, server: Server) -> None:
        """What a change leaves out stays; a change that makes no sense changes nothing."""
        add(server, "throttle-group", "g", limits={"iops-total": 100, "bps-read": 200})
        change = {"iops-total-max": 1000, "iops-total-max-length": 5}
        server.qmp.command("qom-set", path="g", property="limits", value=change)
        server.qmp.command("qom-set", path="g", property="limits", value={})
        told = server.qmp.command("qom-get", path="g", property="limits")
        expected = {name: int(name.endswith("-length")) for name in LIMITS}
        assert told == expected | {"iops-total": 100, "bps-read": 200} | change
        for wrong in ({"bps-total": 1}, {"iops-total": 2000}, {"nope": 1}, 5, {"bps-write": -1}):
            assert refused(server, "qom-set", path="g", property="limits", value=wrong) == "GenericError"
        assert refused(server, "qom-set", path="g", property="x-iops-total", value=7) == "GenericError"
        assert server.qmp.command("qom-get", path="g", property="limits") == told

    SENSELESS: tuple[dict[str, int], ...] = (
        {"iops-total": 5, "iops-read": 5},
        {"bps-total": 5, "bps-write": 5},
        {"iops-total": -1},
        {"iops-total": 10**15 + 1},
        {"iops-total": 5, "iops-total-max": 4},
        {"iops-total-max": 4},
        {"iops-total": 5, "iops-total-max": 6, "iops-total-max-length": 0},
        {"iops-total": 5, "iops-total-max-length": 2},
        {"iops-total": 5, "iops-total-max": 6, "iops-total-max-length": 1 << 32},
        {"bps-total": 5, "bps-total-max": 10**15, "bps-total-max-length": 2},
        {"iops-size": 4096},
        {"iops-size": 4096, "bps-total": 5},
    )

    def test_limits_that_make_no_sense(self, server: Server) -> None:
        for wrong in self.SENSELESS:
            older = {f"x-{name}": value for name, value in wrong.items()}
            for members in ({"limits": wrong}, older):
                server.qmp.refused("object-add", {"qom-type": "throttle-group", "id": "g", **members})
        add(server, "throttle-group", "g")

    def test_in_use(self, server: Server) -> None:
        add(server, "throttle-group", "g")
        server.add_null("n", MIB)
        server.qmp.command("blockdev-add", driver="throttle", node_name="t", throttle_group="g", file="n")
        assert refused(server, "object-del", id="g") == "GenericError"
        server.qmp.command("blockdev-del", node_name="t")
        server.qmp.command("object-del", id="g")


class TestSecret:
    """Passwords and keys."""

    def test_properties(self, server: Server, scratch: Scratch) -> None:
        file = scratch / "password"
        file.write_bytes(b"open sesame\xff")
        add(server, "secret", "f", file=str(file))
        told = properties_but_data(server, "f")
        assert told == {"type": "secret", "file": str(file), "format": "raw", "iv": "", "keyid": "", "loaded": True}
        add(server, "secret", "b", data=base64.b64encode(b"\0\xff").decode(), format="base64")
        assert properties_but_data(server, "b")["format"] == "base64"
        for member in ("f", "b"):
            server.qmp.command("object-del", id=member)

    @pytest.mark.qmpd_only("QEMU shows what it was told")
    def test_never_shown(self, launch: Launcher) -> None:
        server = launch("--object", "secret,id=s,data=sesame")
        assert refused(server, "qom-get", path="s", property="data") == "GenericError"
        for wrong in ("secret,id=s,data=sesame,format=nonsense", "secret,id=s,data=sesame!,format=base64"):
            complaint = refused_program(server.kind, "--object", wrong)
            assert "secret" in complaint and "sesame" not in complaint

    WRONG: tuple[dict[str, Any], ...] = (
        {},
        {"data": "x", "file": "y"},
        {"file": "/nonexistent/file"},
        {"data": "!!!", "format": "base64"},
        {"data": "x", "format": "nonsense"},
        {"data": "x", "loaded": True},
        {"data": "x", "keyid": "nobody"},
        {"data": "x", "keyid": "io"},
        {"data": "x", "keyid": "short", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"data": "x" * 16, "keyid": "key"},
        {"data": "x" * 16, "keyid": "key", "iv": "AAAA"},
        {"data": "x" * 15, "keyid": "key", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
    )

    def test_refusals(self, server: Server) -> None:
        add(server, "iothread", "io")
        add(server, "secret", "short", data="short")
        add(server, "secret", "key", data="k" * 32)
        for wrong in self.WRONG:
            server.qmp.refused("object-add", {"qom-type": "secret", "id": "s", **wrong})
        assert "s" not in types(server, "/objects")

    def test_encrypted(self, server: Server) -> None:
        """As libvirt hands over passwords: a key first, then what is encrypted with it."""
        add(server, "secret", "key", data=base64.b64encode(bytes(range(32))).decode(), format="base64")
        vector = base64.b64encode(bytes(range(16))).decode()
        encrypted = base64.b64encode(bytes.fromhex("e698e5a761b4fa006c161d3a369d01ab")).decode()
        add(server, "secret", "s", data=encrypted, format="base64", keyid="key", iv=vector)
        told = properties_but_data(server, "s")
        assert (told["keyid"], told["iv"]) == ("key", vector)


def properties_but_data(server: Server, path: str) -> dict[str, Any]:
    """All properties of a secret but the one that is secret."""
    names = [item["name"] for item in server.qmp.command("qom-list", path=path)]
    assert "data" in names
    return {name: server.qmp.command("qom-get", path=path, property=name) for name in names if name != "data"}


class TestOthers:
    """Objects that are accepted and keep what they are told."""

    def test_what_they_keep(self, server: Server, scratch: Scratch) -> None:
        self.check_iothread(server)
        self.check_authz(server)
        self.check_tls_keys(server, scratch)
        self.check_tls_without_proof(server)

    def check_iothread(self, server: Server) -> None:
        add(server, "iothread", "io", poll_max_ns=100, thread_pool_min=2)
        server.qmp.command("qom-set", path="io", property="poll-grow", value=3)
        assert properties(server, "io") == {
            "type": "iothread",
            "aio-max-batch": 0,
            "poll-grow": 3,
            "poll-max-ns": 100,
            "poll-shrink": 0,
            "thread-pool-max": 64,
            "thread-pool-min": 2,
        }
        for name, value in (("poll-grow", -1), ("thread-pool-min", 65), ("thread-pool-max", 0), ("poll-shrink", "1")):
            assert refused(server, "qom-set", path="io", property=name, value=value) == "GenericError"
        server.qmp.command("object-del", id="io")

    def test_iothread_of_an_export(self, server: Server) -> None:
        server.add_null("n", MIB)
        assert refused_export(server, "n", iothread="nobody")
        add(server, "iothread", "io")
        server.export("n", iothread="io")
        if server.kind == "qmpd":  # QEMU deletes it, and crashes at its end
            assert refused(server, "object-del", id="io") == "GenericError"
        server.qmp.command("block-export-del", id="export-n")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED", id="export-n")
        server.qmp.command("object-del", id="io")

    def check_authz(self, server: Server) -> None:
        add(server, "authz-simple", "simple", identity="fred")
        assert properties(server, "simple") == {"type": "authz-simple", "identity": "fred"}
        rules = [{"match": "fred", "policy": "deny"}, {"match": "f*", "policy": "allow", "format": "glob"}]
        add(server, "authz-list", "list", rules=rules)
        assert properties(server, "list") == {"type": "authz-list", "policy": "deny", "rules": rules}
        server.qmp.command("qom-set", path="list", property="policy", value="allow")
        server.qmp.command("qom-set", path="list", property="rules", value=rules[:1])
        assert properties(server, "list") == {"type": "authz-list", "policy": "allow", "rules": rules[:1]}
        assert refused(server, "qom-set", path="list", property="policy", value="maybe") == "GenericError"

    def check_tls_keys(self, server: Server, scratch: Scratch) -> None:
        directory = str(scratch.directory)
        assert refused(server, "object-add", qom_type="tls-creds-psk", id="t", dir=directory) == "GenericError"
        (scratch / "keys.psk").write_text("qemu:00112233445566778899aabbccddeeff\n")
        add(server, "tls-creds-psk", "server", dir=directory, endpoint="server")
        add(server, "tls-creds-psk", "client", dir=directory)
        assert properties(server, "client") == {
            "type": "tls-creds-psk",
            "dir": directory,
            "endpoint": "client",
            "loaded": True,
            "priority": "",
            "username": "",
            "verify-peer": True,
        }
        for wrong in ({"username": "nobody"}, {"endpoint": "server", "username": "qemu"}, {"endpoint": "middle"}):
            answer = refused(server, "object-add", qom_type="tls-creds-psk", id="t", dir=directory, **wrong)
            assert answer == "GenericError"
        assert refused(server, "object-add", qom_type="tls-creds-psk", id="t") == "GenericError"

    def check_tls_without_proof(self, server: Server) -> None:
        add(server, "tls-creds-anon", "t", endpoint="server", priority="NORMAL", verify_peer=False)
        told = properties(server, "t")
        assert (told["endpoint"], told["priority"], told["verify-peer"]) == ("server", "NORMAL", False)
        server.qmp.command("qom-set", path="t", property="verify-peer", value=True)
        assert server.qmp.command("qom-get", path="t", property="verify-peer") is True

    CERTIFICATES = Path(__file__).parents[1] / "tests" / "objects" / "certificates"

    CHAINS: tuple[tuple[dict[str, str], bool], ...] = (
        ({}, True),
        ({"server-cert.pem": "expired-cert.pem"}, False),
        ({"ca-cert.pem": "other-ca-cert.pem"}, False),
        ({"server-key.pem": "client-key.pem"}, False),
        ({"ca-cert.pem": "server-cert.pem"}, False),
        ({"server-cert.pem": "server-key.pem"}, False),
        ({"dh-params.pem": "server-key.pem"}, False),
    )

    def test_tls_certificates(self, server: Server, scratch: Scratch) -> None:
        for number, (change, good) in enumerate(self.CHAINS):
            directory = scratch / f"tls{number}"
            directory.mkdir()
            names = {name: name for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem")} | change
            for name, source in names.items():
                (directory / name).write_bytes((self.CERTIFICATES / source).read_bytes())
            members = {"qom-type": "tls-creds-x509", "dir": str(directory), "endpoint": "server"}
            if good:
                server.qmp.command("object-add", {**members, "id": f"t{number}"})
            else:
                server.qmp.refused("object-add", {**members, "id": "t"})
            (directory / "server-key.pem").unlink()
            server.qmp.refused("object-add", {**members, "id": "t"})

    def test_credentials_of_the_nbd_server(self, server: Server) -> None:
        """Which ones it refuses; that it can use none yet is qmpd's own."""
        add(server, "iothread", "io")
        add(server, "tls-creds-anon", "client")
        address = {"type": "unix", "data": {"path": str(server.nbd_path)}}
        for name in ("nobody", "io", "client"):
            assert refused(server, "nbd-server-start", addr=address, tls_creds=name) == "GenericError"
        server.start_nbd()

    @pytest.mark.qmpd_only("QEMU's server speaks TLS")
    def test_no_tls_yet(self, server: Server) -> None:
        add(server, "tls-creds-anon", "t", endpoint="server")
        address = {"type": "unix", "data": {"path": str(server.nbd_path)}}
        assert refused(server, "nbd-server-start", addr=address, tls_creds="t") == "GenericError"


def run_program(kind: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a server that ends by itself."""
    return subprocess.run([*SERVER_KINDS[kind].program(), *words], capture_output=True, text=True, timeout=60)


def refused_program(kind: str, *words: str) -> str:
    """What a server says whose command line it has to refuse."""
    done = run_program(kind, *words)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.strip()
    return done.stderr


def refused_export(server: Server, node: str, **options: Any) -> bool:
    try:
        server.export(node, **options)
    except QMPRefused:
        return True
    return False


class TestCommandLine:
    """--object."""

    def test_spellings_and_order(self, launch: Launcher) -> None:
        """An object is there for whatever comes behind it."""
        older = "throttle-group,id=a,x-iops-total=5,x-iops-total-max=6"
        dotted = "qom-type=throttle-group,id=b,limits.iops-total=5,limits.iops-total-max=6"
        json_text = '{"qom-type": "throttle-group", "id": "c", "limits": {"iops-total": 5, "iops-total-max": 6}}'
        words = ["--blockdev", f"null-co,node-name=n,size={MIB}"]
        for name, text in (("a", older), ("b", dotted), ("c", json_text)):
            words += ["--object", text, "--blockdev", f"throttle,node-name=t{name},throttle-group={name},file=n"]
        server = launch(*words)
        for name in ("a", "b", "c"):
            told = server.qmp.command("qom-get", path=name, property="limits")
            assert (told["iops-total"], told["iops-total-max"]) == (5, 6)

    @pytest.mark.parametrize(
        "words",
        [
            ["--object", "nonsense,id=g"],
            ["--object", "throttle-group,id=g,limits.iops-total=5K"],
            ["--object", "throttle-group,id=g", "--object", "throttle-group,id=g"],
            ["--object", "secret,id=s,file=/nonexistent/file"],
        ],
        ids=str,
    )
    def test_refusals(self, server_kind: str, words: list[str]) -> None:
        refused_program(server_kind, *words)

    @pytest.mark.parametrize("text", ["help", "throttle-group,help"])
    def test_help(self, server_kind: str, text: str) -> None:
        done = run_program(server_kind, "--object", text)
        assert done.returncode == 0 and done.stderr == ""
        assert {"help": "throttle-group", "throttle-group,help": "x-iops-total=<int>"}[text] in done.stdout
