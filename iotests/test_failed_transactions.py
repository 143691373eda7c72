"""A transaction that fails has not happened: whatever it held, in whatever order, everything is as it was.

The lists of actions are generated; the seed is in the test's name.
"""

import random
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.backups import Volume, volume
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import qemu_io
from tests.soak import count

Action = tuple[str, dict[str, Any]]


def _two_disks(server: Server, scratch: Scratch) -> list[Volume]:
    """Two exported disks with the bitmaps a, b and c (disabled), of different granularity and contents."""
    volumes = [volume(server, scratch, name, MIB, seed=seed) for seed, name in enumerate(("one", "two"))]
    for disk in volumes:
        for name, granularity in (("a", 512), ("b", 64 * KIB), ("c", 4 * KIB)):
            bitmap = {"node": disk.name, "name": name, "granularity": granularity, "disabled": name == "c"}
            server.qmp.command("block-dirty-bitmap-add", bitmap)
        uri = server.export(disk.name)
        qemu_io(uri, "write 64k 100k", "write 900k 3k")
        server.qmp.command("block-dirty-bitmap-clear", node=disk.name, name="a")
        qemu_io(uri, "write 0 5k")
    return volumes


def _state(server: Server) -> object:
    """All that a client can see of nodes, edges, bitmaps and jobs."""
    nodes = {}
    for node in server.node_names():
        bitmaps = server.bitmaps(node)
        nodes[node] = {name: (info, server.bitmap_sha256(node, name)) for name, info in bitmaps.items()}
    edges = server.qmp.command("x-debug-query-block-graph")["edges"]
    plain = sorted((edge["name"], edge["perm"], edge["shared-perm"]) for edge in edges)
    return nodes, plain, server.qmp.command("query-jobs")


def _good_action(generator: random.Random, disks: list[Volume]) -> Action:
    """An action that mostly succeeds by itself."""
    disk, other = generator.sample(disks, 2)
    node, foreign = disk.name, {"node": other.name, "name": "b"}
    actions: list[Action] = [
        ("block-dirty-bitmap-add", {"node": node, "name": "new"}),
        ("block-dirty-bitmap-remove", {"node": node, "name": "a"}),
        ("block-dirty-bitmap-clear", {"node": node, "name": generator.choice("abc")}),
        ("block-dirty-bitmap-enable", {"node": node, "name": generator.choice("abc")}),
        ("block-dirty-bitmap-disable", {"node": node, "name": generator.choice("abc")}),
        ("block-dirty-bitmap-merge", {"node": node, "target": "c", "bitmaps": ["a", foreign]}),
        ("block-dirty-bitmap-merge", {"node": node, "target": "new", "bitmaps": ["b"]}),
        ("blockdev-backup", disk.backup("incremental", bitmap="b")),
        ("blockdev-backup", disk.backup("bitmap", bitmap="a", bitmap_mode="always")),
        ("blockdev-backup", disk.backup(filter_node_name="filter")),
    ]
    return generator.choice(actions)


def _bad_action(generator: random.Random, disks: list[Volume]) -> Action:
    """An action that fails whatever stands before it."""
    disk = generator.choice(disks)
    actions: list[Action] = [
        ("abort", {}),
        ("block-dirty-bitmap-clear", {"node": disk.name, "name": "none"}),
        ("block-dirty-bitmap-add", {"node": disk.name, "name": "b"}),
        ("blockdev-backup", disk.backup(filter_node_name=disk.name)),
        ("blockdev-backup", {**disk.backup(), "target": "none"}),
    ]
    return generator.choice(actions)


@pytest.mark.qmpd_only("QEMU refuses bitmap actions in a group, and a backup that never began changes its bitmap")
@pytest.mark.parametrize("seed", range(count(4, 40)))
def test_whatever_fails_changes_nothing(server: Server, scratch: Scratch, seed: int) -> None:
    generator = random.Random(seed)
    disks = _two_disks(server, scratch)
    before = _state(server)
    for _ in range(25):
        actions = [_good_action(generator, disks) for _ in range(generator.randint(0, 6))]
        actions.insert(generator.randint(0, len(actions)), _bad_action(generator, disks))
        body: dict[str, Any] = {"actions": [{"type": kind, "data": data} for kind, data in actions]}
        if generator.random() < 0.5:
            body["properties"] = {"completion-mode": "grouped"}
        server.qmp.refused("transaction", body)
        assert _state(server) == before, actions


@pytest.mark.qmpd_only("a backup that never began leaves the last bit of its bitmap alone, which QEMU does not promise")
def test_a_backup_that_never_began_has_not_synchronized_its_bitmap(server: Server, scratch: Scratch) -> None:
    disk = _two_disks(server, scratch)[0]
    before = _state(server)
    backup = disk.backup("bitmap", bitmap="a", bitmap_mode="always")
    actions = [{"type": "blockdev-backup", "data": backup}, {"type": "abort", "data": {}}]
    server.qmp.refused("transaction", {"actions": actions})
    assert _state(server) == before
