"""The tree of objects and the kinds of objects, as the commands use them."""

from __future__ import annotations

import base64
import inspect
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.iopool import IOPool
from qmpd.commands.objects import ObjectCommands
from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.context import RequestContext
from qmpd.objects.authz import AuthzList, AuthzSimple
from qmpd.objects.secret import Secret
from qmpd.objects.tree import ObjectTree


class Rig:
    """A tree, and its commands as clients call them."""

    def __init__(self) -> None:
        self.pool = IOPool()
        self.tree = ObjectTree(self.pool.run)
        self._commands: Any = ObjectCommands(self.tree)

    async def add(self, qom_type: str, object_id: str, **properties: Any) -> Any:
        arguments = {"qom-type": qom_type, "id": object_id}
        arguments |= {name.replace("_", "-"): value for name, value in properties.items()}
        await self._commands.object_add(self._context(), COMMANDS["object-add"].validate(arguments))
        return self.tree.find(object_id)

    def call(self, name: str, **arguments: Any) -> Any:
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        method = getattr(self._commands, name.replace("-", "_"))
        result = method(self._context(), COMMANDS[name].validate(arguments))
        if not inspect.iscoroutine(result):
            return result
        # Of an object that a client has made, a property changes without waiting.
        with pytest.raises(StopIteration) as done:
            result.send(None)
        return done.value.value

    @staticmethod
    def _context() -> RequestContext:
        return RequestContext(1, 1, None, 0.0)


@pytest.fixture
async def rig() -> Any:
    rig = Rig()
    yield rig
    await rig.pool.close()


async def test_the_tree_shows_what_there_is(rig: Rig) -> None:
    assert rig.call("qom-list", path="/") == [{"name": "type", "type": "string"}]
    await rig.add("iothread", "io")
    await rig.add("throttle-group", "g")
    assert rig.call("qom-list", path="/")[1:] == [{"name": "objects", "type": "child<container>"}]
    assert rig.call("qom-list", path="/objects")[1:] == [
        {"name": "io", "type": "child<iothread>"},
        {"name": "g", "type": "child<throttle-group>"},
    ]
    assert rig.call("qom-get", path="/", property="objects") == "/objects"
    assert rig.call("qom-get", path="/objects", property="io") == "/objects/io"
    for path in ("/objects/io", "objects/io", "io", "//objects//io/", "io/"):
        assert rig.call("qom-get", path=path, property="type") == "iothread"


async def test_paths_that_lead_nowhere(rig: Rig) -> None:
    await rig.add("iothread", "objects")
    for path in ("/nope", "nope", "/objects/objects/type", "/objects/nope"):
        with pytest.raises(DeviceNotFound):
            rig.call("qom-list", path=path)
    for path in ("", "objects"):
        with pytest.raises(GenericError, match="ambiguous"):
            rig.call("qom-list", path=path)
        with pytest.raises(DeviceNotFound, match="ambiguous"):
            rig.call("qom-get", path=path, property="type")


async def test_ids(rig: Rig) -> None:
    await rig.add("iothread", "io")
    for wrong in ("io", "", "1x", "a b", "ä"):
        with pytest.raises(GenericError):
            await rig.add("iothread", wrong)
    rig.call("object-del", id="io")
    await rig.add("iothread", "io")
    with pytest.raises(GenericError, match="nope"):
        rig.call("object-del", id="nope")


async def test_an_object_that_fails_leaves_its_id_free(rig: Rig) -> None:
    with pytest.raises(GenericError):
        await rig.add("secret", "s", file="/nonexistent")
    await rig.add("secret", "s", data="x")


async def test_an_object_in_use_stays(rig: Rig) -> None:
    made = await rig.add("iothread", "io")
    made.use("a test")
    with pytest.raises(GenericError, match="a test"):
        rig.call("object-del", id="io")
    made.release("a test")
    rig.call("object-del", id="io")
    assert rig.call("qom-list", path="/objects")[1:] == []


async def test_properties_that_cannot_be(rig: Rig) -> None:
    await rig.add("throttle-group", "g")
    for name, value in (
        ("nope", 1),
        ("type", "x"),
        ("x-iops-total", 1),
        ("limits", 1),
        ("limits", {"nope": 1}),
        ("limits", {"iops-total": "1"}),
    ):
        with pytest.raises(GenericError, match=name):
            rig.call("qom-set", path="g", property=name, value=value)
    with pytest.raises(GenericError, match="iops-total"):
        rig.call("qom-set", path="g", property="limits", value={"iops-total": -1})
    with pytest.raises(GenericError, match="nope"):
        rig.call("qom-get", path="g", property="nope")
    with pytest.raises(GenericError):
        rig.call("qom-set", path="/objects", property="g", value="x")


async def test_limits_change_in_part(rig: Rig) -> None:
    await rig.add("throttle-group", "g", x_iops_total=5, x_bps_read=6, limits={"iops-total": 7})
    assert rig.call("qom-get", path="g", property="x-iops-total") == 7
    rig.call("qom-set", path="g", property="limits", value={"iops-total-max": 70, "iops-total-max-length": 3})
    rig.call("qom-set", path="g", property="limits", value={})
    told = rig.call("qom-get", path="g", property="limits")
    assert (told["iops-total"], told["iops-total-max"], told["iops-total-max-length"]) == (7, 70, 3)
    assert told["bps-read"] == 6
    with pytest.raises(GenericError, match="bps-total"):
        rig.call("qom-set", path="g", property="limits", value={"bps-total": 1, "iops-total": 1})
    assert rig.call("qom-get", path="g", property="limits") == told


async def test_iothread(rig: Rig) -> None:
    await rig.add("iothread", "io", poll_max_ns=5)
    rig.call("qom-set", path="io", property="thread-pool-min", value=64)
    for name, value in (("thread-pool-min", 65), ("thread-pool-max", 63), ("poll-grow", -1), ("aio-max-batch", -1)):
        with pytest.raises(GenericError):
            rig.call("qom-set", path="io", property=name, value=value)
    names = [item["name"] for item in rig.call("qom-list", path="io")]
    told = {name: rig.call("qom-get", path="io", property=name) for name in names}
    assert told == {
        "type": "iothread",
        "poll-max-ns": 5,
        "poll-grow": 0,
        "poll-shrink": 0,
        "aio-max-batch": 0,
        "thread-pool-min": 64,
        "thread-pool-max": 64,
    }
    with pytest.raises(GenericError):
        await rig.add("iothread", "io2", thread_pool_min=65)


async def test_types(rig: Rig) -> None:
    names = {item["name"] for item in rig.call("qom-list-types")}
    assert {"secret", "throttle-group", "container"} <= names
    assert not {"object", "tls-creds"} & names
    made = {item["name"]: item for item in rig.call("qom-list-types", implements="user-creatable")}
    assert set(made) == {
        "authz-list",
        "authz-simple",
        "iothread",
        "secret",
        "throttle-group",
        "tls-creds-anon",
        "tls-creds-psk",
        "tls-creds-x509",
    }
    assert made["secret"] == {"name": "secret", "parent": "secret_common"}
    abstract = {item["name"]: item for item in rig.call("qom-list-types", abstract=True, implements="tls-creds")}
    assert abstract["tls-creds"] == {"name": "tls-creds", "parent": "object", "abstract": True}
    assert len(abstract) == 4
    assert rig.call("qom-list-types", implements="nope") == []
    with pytest.raises(DeviceNotFound):
        rig.call("qom-list-properties", typename="nope")


async def test_every_type_tells_what_its_objects_have(rig: Rig) -> None:
    for item in rig.call("qom-list-types", abstract=True):
        properties = rig.call("qom-list-properties", typename=item["name"])
        assert properties[0] == {"name": "type", "type": "string"}
        assert len({found["name"] for found in properties}) == len(properties)


async def test_secrets_in_place(rig: Rig) -> None:
    plain = await rig.add("secret", "plain", data="hällo")
    packed = await rig.add("secret", "packed", data=base64.b64encode(b"\0\xff").decode(), format="base64")
    loose = await rig.add("secret", "loose", data="aGVs\nbG8", format="base64")
    assert isinstance(plain, Secret)
    assert (plain.value, packed.value, loose.value) == ("hällo".encode(), b"\0\xff", b"hello")
    for name in ("plain", "packed"):
        with pytest.raises(GenericError, match="not shown"):
            rig.call("qom-get", path=name, property="data")
        assert rig.call("qom-get", path=name, property="loaded") is True


async def test_secrets_in_files(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xffline\n")
    made = await rig.add("secret", "s", file=str(file))
    assert made.value == b"\xffline\n"
    assert rig.call("qom-get", path="s", property="file") == str(file)
    file.write_bytes(bytes(2 << 20))
    with pytest.raises(GenericError, match="more than"):
        await rig.add("secret", "large", file=str(file))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"data": "x", "file": "y"},
        {"file": ""},
        {"file": "/nonexistent"},
        {"file": "nul\0l"},
        {"data": "!", "format": "base64"},
        {"data": "x", "loaded": True},
        {"data": "x", "keyid": "nope"},
        {"data": "x", "keyid": "io"},
        {"data": "x", "keyid": "short", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"data": "x", "keyid": "key"},
        {"data": "x", "keyid": "key", "iv": "AAAA"},
        {"data": "x", "keyid": "key", "iv": "!"},
        {"data": "x", "keyid": "key", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"data": "AAAAAAAAAAAAAAAAAAAAAA==", "format": "base64", "keyid": "key", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
    ],
)
async def test_secrets_that_cannot_be(rig: Rig, wrong: dict[str, Any]) -> None:
    await rig.add("iothread", "io")
    await rig.add("secret", "short", data="short")
    await rig.add("secret", "key", data="k" * 32)
    with pytest.raises(GenericError) as caught:
        await rig.add("secret", "s", **wrong)
    assert "k" * 32 not in caught.value.desc
    assert rig.tree.find("s") is None


async def test_a_secret_under_another_one(rig: Rig) -> None:
    """What libvirt does with every password: a key of the process, and passwords encrypted with it."""
    key, vector = bytes(range(32)), bytes(range(16))
    # openssl enc -aes-256-cbc -K $key -iv $vector
    encrypted = bytes.fromhex("e698e5a761b4fa006c161d3a369d01ab")
    await rig.add("secret", "master", data=base64.b64encode(key).decode(), format="base64")
    made = await rig.add(
        "secret",
        "s",
        data=base64.b64encode(encrypted).decode(),
        format="base64",
        keyid="master",
        iv=base64.b64encode(vector).decode(),
    )
    assert made.value == b"open sesame"
    rig.call("object-del", id="master")


async def test_who_is_let_in(rig: Rig) -> None:
    simple = await rig.add("authz-simple", "simple", identity="fred")
    rules = [
        {"match": "fred", "policy": "deny"},
        {"match": "f*", "policy": "allow", "format": "glob"},
    ]
    listed = await rig.add("authz-list", "listed", rules=rules)
    assert isinstance(simple, AuthzSimple) and isinstance(listed, AuthzList)
    assert simple.allows("fred") and not simple.allows("f")
    assert [listed.allows(user) for user in ("fred", "fritz", "george")] == [False, True, False]
    rig.call("qom-set", path="listed", property="policy", value="allow")
    assert listed.allows("george")
    assert rig.call("qom-get", path="listed", property="rules") == rules
    rig.call("qom-set", path="listed", property="rules", value=[])
    assert listed.allows("fred")
    for name, value in (("policy", "maybe"), ("rules", [{"match": "x"}]), ("rules", {})):
        with pytest.raises(GenericError):
            rig.call("qom-set", path="listed", property=name, value=value)
