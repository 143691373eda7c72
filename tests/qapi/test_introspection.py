"""`query-qmp-schema` against the real programs: what both have must be the same in every member.

Type names are masked, so the comparison walks from each command and event along the references of both sides at once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from qmpd.api.introspection import schema_info
from qmpd.api.tables import COMMANDS, EVENTS

Entities = dict[str, dict[str, Any]]

PEERS = {
    "qemu-storage-daemon": ["--chardev", "stdio,id=c", "--monitor", "chardev=c"],
    "qemu-system-x86_64": ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"],
}

# The storage daemon has no machine whose state could be asked for, and no devices with histograms.
ABSENT = {
    "qemu-storage-daemon": {"query-status", "query-name", "block-latency-histogram-set"},
    "qemu-system-x86_64": set[str](),
}

# What QEMU has and qmpd does not have yet; anything else that differs is a mistake.
DRIVERS = [
    "blklogwrites", "blkreplay", "blkverify", "bochs", "cloop", "dmg",
    "ftp", "ftps", "gluster", "host_cdrom", "http", "https", "iscsi", "luks", "nbd", "nfs", "nvme",
    "parallels", "qcow", "qed", "rbd", "replication", "ssh", "vdi", "vhdx", "vmdk",
    "vpc", "vvfat",
]  # fmt: skip
OBJECTS = [
    "authz-listfile", "authz-pam", "can-bus", "can-host-socketcan", "colo-compare", "cryptodev-backend",
    "cryptodev-backend-builtin", "cryptodev-backend-lkcf", "cryptodev-vhost-user", "dbus-vmstate", "filter-buffer",
    "filter-dump", "filter-mirror", "filter-redirector", "filter-replay", "filter-rewriter", "input-barrier",
    "input-linux", "main-loop", "memory-backend-epc", "memory-backend-file", "memory-backend-memfd",
    "memory-backend-ram", "pef-guest", "pr-manager-helper", "qtest", "rng-builtin", "rng-egd", "rng-random",
    "s390-pv-guest", "secret_keyring", "sev-guest", "thread-context", "tls-cipher-suites", "x-remote-object",
    "x-vfio-user-server",
]  # fmt: skip
EXPECTED = {
    *(("object-add.qom-type", "value", name) for name in OBJECTS),
    *(
        (f"{place}.driver", "value", name)
        for place in ("blockdev-add", "blockdev-create.options", "x-blockdev-amend.options")
        for name in DRIVERS
    ),
    *(("query-named-block-nodes[].image.format-specific.type", "value", name) for name in ("luks", "rbd", "vmdk")),
    # Encryption is out of scope.
    *(
        (place, "member", "encrypt")
        for place in (
            "blockdev-add",
            "blockdev-create.options",
            "x-blockdev-amend.options",
            "query-named-block-nodes[].image.format-specific.data",
        )
    ),
    *(("block-export-add.type", "value", name) for name in ("fuse", "vduse-blk", "vhost-user-blk")),
}


def ask(program: str) -> Entities:
    """The interface of the installed `program`; skips the test where there is none."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    with subprocess.Popen([program, *PEERS[program]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None and peer.stdout is not None
        for name in ("qmp_capabilities", "query-qmp-schema"):
            peer.stdin.write(json.dumps({"execute": name}) + "\n")
        peer.stdin.flush()
        replies = (json.loads(line) for line in peer.stdout)
        schema = next(reply["return"] for reply in replies if isinstance(reply.get("return"), list))
        # Only now: a QEMU that ends does not wait until all of a long reply is read.
        peer.stdin.write(json.dumps({"execute": "quit"}) + "\n")
        peer.stdin.flush()
        peer.stdout.read()
    return {entity["name"]: entity for entity in schema}


OURS_ALONE = {
    # QEMU amends nothing but encryption over QMP; qmpd amends what qemu-img can.
    "x-blockdev-amend.options:member": {"version", "backing-file", "backing-fmt", "lazy-refcounts", "refcount-bits"},
    # Of QEMU 9.1.
    "drive-backup:member": {"discard-source"},
    "blockdev-backup:member": {"discard-source"},
}
"""What qmpd has and QEMU has not, by place."""


class Comparison:
    """Walks both sides and collects differences: `(path, what, name)`."""

    def __init__(self, ours: Entities, theirs: Entities) -> None:
        self.ours, self.theirs = ours, theirs
        self.differences: set[tuple[str, str, str]] = set()
        self._seen: set[tuple[str, str]] = set()

    def entity(self, name: str) -> None:
        """Compare a command or event."""
        ours, theirs = self.ours[name], self.theirs[name]
        self._same(ours, theirs, name, "meta-type", "features", "allow-oob")
        self._type(ours["arg-type"], theirs["arg-type"], name)
        if ours["meta-type"] == "command":
            self._type(ours["ret-type"], theirs["ret-type"], name)

    def _same(self, ours: dict[str, Any], theirs: dict[str, Any], path: str, *keys: str) -> None:
        for key in keys:
            if ours.get(key) != theirs.get(key):
                self.differences.add((path, key, f"{ours.get(key)} != {theirs.get(key)}"))

    def _type(self, our_name: str, their_name: str, path: str) -> None:
        if (our_name, their_name) in self._seen:
            return
        self._seen.add((our_name, their_name))
        ours, theirs = self.ours[our_name], self.theirs[their_name]
        self._same(ours, theirs, path, "meta-type", "features", "json-type", "tag")
        match ours["meta-type"]:
            case "array":
                self._type(ours["element-type"], theirs["element-type"], f"{path}[]")
            case "enum":
                self._enum(ours, theirs, path)
            case "alternate":
                assert len(ours["members"]) == len(theirs["members"]), path
                for one, other in zip(ours["members"], theirs["members"], strict=True):
                    self._type(one["type"], other["type"], path)
            case "object":
                self._object(ours, theirs, path)

    def _enum(self, ours: dict[str, Any], theirs: dict[str, Any], path: str) -> None:
        assert [item["name"] for item in ours["members"]] == ours["values"]
        for _, one, other in self._pairs(ours["members"], theirs["members"], "name", f"{path}:value"):
            self._same(one, other, path, "features")

    def _object(self, ours: dict[str, Any], theirs: dict[str, Any], path: str) -> None:
        for name, one, other in self._pairs(ours["members"], theirs["members"], "name", f"{path}:member"):
            self._same(one, other, f"{path}.{name}", "features", "default")
            assert ("default" in one) == ("default" in other), f"{path}.{name}"
            self._type(one["type"], other["type"], f"{path}.{name}")
        mine, yours = ours.get("variants", []), theirs.get("variants", [])
        tag = f"{path}.{ours.get('tag')}:value"
        for _, one, other in self._pairs(mine, yours, "case", tag):
            self._type(one["type"], other["type"], path)

    def _pairs(
        self, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], key: str, place: str
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Items of the same name; what only they have is a difference, what only we have is refused."""
        mine = {item[key]: item for item in ours if item[key] not in OURS_ALONE.get(place, ())}
        yours = {item[key]: item for item in theirs}
        path, _, what = place.partition(":")
        assert list(mine) == [name for name in yours if name in mine], f"{place}: another order, or more than QEMU has"
        self.differences |= {(path, what, name) for name in yours if name not in mine}
        for name, item in mine.items():
            yield name, item, yours[name]


@pytest.mark.parametrize("program", PEERS)
def test_same_as_peer(program: str) -> None:
    theirs = ask(program)
    ours = {entity["name"]: entity for entity in schema_info()}
    assert set(COMMANDS) - set(theirs) == ABSENT[program]
    assert set(EVENTS) <= set(theirs)
    comparison = Comparison(ours, theirs)
    # Types are compared where they are met first; these lead to the paths that EXPECTED names.
    first = ["blockdev-add", "query-named-block-nodes"]
    for name in [*first, *COMMANDS, *EVENTS]:
        if name in theirs:
            comparison.entity(name)
    differences = {item for item in comparison.differences if not item[0].startswith("query-blockstats[].driver-spec")}
    assert differences == EXPECTED
    assert comparison.differences - differences == {
        ("query-blockstats[].driver-specific.driver", "value", name) for name in DRIVERS
    }


def test_numbering() -> None:
    """Names are masked as QEMU masks them: types are numbered in the order of their first use and appear in it."""
    entities = schema_info()
    kinds = [entity["meta-type"] for entity in entities]
    types = kinds.index("object")
    assert set(kinds[:types]) == {"command", "event"}
    assert not {"command", "event"} & set(kinds[types:])
    names = [entity["name"] for entity in entities[types:]]
    assert len(names) == len(set(names))
    numbers = [int(name) for name in names if name.isdigit()]
    assert numbers == sorted(numbers) == list(range(len(numbers)))
    builtins = {entity["name"] for entity in entities if entity["meta-type"] == "builtin"}
    assert builtins <= {"str", "int", "bool", "number", "any", "null"}


def test_every_reference_leads_somewhere() -> None:
    entities = schema_info()
    known = {entity["name"] for entity in entities}
    for entity in entities:
        items = [entity, *entity.get("members", []), *entity.get("variants", [])]
        for item in items:
            for key in ("arg-type", "ret-type", "element-type", "type"):
                assert item.get(key, "str") in known | {"str"}


def test_each_answer_is_a_copy() -> None:
    schema_info()[0]["name"] = "changed"
    assert schema_info()[0]["name"] != "changed"
