"""Push backups with checkpoints, as libvirt makes them.

A checkpoint is a bitmap that records from its moment until the next one. A backup since some checkpoint is one
transaction: the bitmap of the new checkpoint begins, the newest one stops, a bitmap for this backup alone is made
and everything since that checkpoint is merged into it, and the job that uses it starts.
"""

from dataclasses import dataclass, field

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import assert_same, qemu_io

LENGTH = 4 * MIB
Action = tuple[str, dict[str, object]]


@dataclass
class Guarded:
    """A disk under checkpoints, and the bitmaps that stand for them, oldest first."""

    server: Server
    scratch: Scratch
    disk: Disk
    checkpoints: list[str] = field(default_factory=list)
    made: int = 0

    @property
    def node(self) -> str:
        """The node, which has the disk's name."""
        return self.disk.name

    def write(self, pattern: int, *places: int) -> None:
        """A guest writes 40 KiB at places given in KiB."""
        commands = [f"write -q -P {pattern} {place * KIB} 40k" for place in places]
        qemu_io(self.server.nbd_uri(self.node), *commands)

    def begin(self, target: str, since: int | None) -> list[Action]:
        """The actions of a backup to the node `target` of all that changed since a checkpoint; None for everything."""
        name = f"c{self.made}"
        self.made += 1
        actions: list[Action] = [("block-dirty-bitmap-add", {"node": self.node, "name": name})]
        if self.checkpoints:
            actions.append(("block-dirty-bitmap-disable", {"node": self.node, "name": self.checkpoints[-1]}))
        job: dict[str, object] = {"job-id": target, "device": self.node, "target": target, "sync": "full"}
        if since is not None:
            merged: dict[str, object] = {"node": self.node, "target": "tmp", "bitmaps": self.checkpoints[since:]}
            actions.append(("block-dirty-bitmap-add", {"node": self.node, "name": "tmp", "disabled": True}))
            actions.append(("block-dirty-bitmap-merge", merged))
            job |= {"sync": "incremental", "bitmap": "tmp"}
        self.checkpoints.append(name)
        return [*actions, ("blockdev-backup", job)]

    def end(self, target: str) -> None:
        """The backup has to end well; its own bitmap goes."""
        event = self.server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=target)
        assert "error" not in event.data, event
        self.server.qmp.wait_job(target, "null")
        if "tmp" in self.server.bitmaps(self.node):
            self.server.qmp.command("block-dirty-bitmap-remove", node=self.node, name="tmp")
        self.server.qmp.command("blockdev-del", node_name=target)

    def target(self, name: str, start: Disk | None) -> Disk:
        """A node to back up to: empty, or with what an earlier backup has."""
        made = self.scratch.disk(name, LENGTH) if start is None else self.scratch.copy(start, name)
        self.server.add_raw(made)
        return made


@pytest.fixture
def disks(server: Server, scratch: Scratch) -> list[Guarded]:
    """Two disks with noise, exported."""
    made = [Guarded(server, scratch, scratch.disk(f"vd{letter}", LENGTH, seed=ord(letter))) for letter in "ab"]
    for one in made:
        server.add_raw(one.disk)
        server.export(one.node)
    return made


def back_up(disks: list[Guarded], number: int, starts: list[Disk] | None, since: int | None) -> list[Disk]:
    """Back all disks up at one moment, with writes while the jobs run; each backup is the disk as it stood."""
    begun = [None] * len(disks) if starts is None else starts
    targets = [one.target(f"{one.node}-{number}", start) for one, start in zip(disks, begun, strict=True)]
    moments = [one.scratch.copy(one.disk, f"{one.node}-moment") for one in disks]
    actions = [action for one, target in zip(disks, targets, strict=True) for action in one.begin(target.name, since)]
    disks[0].server.transaction(*actions)
    for one, target, moment in zip(disks, targets, moments, strict=True):
        one.write(200 + number, 100 * number, 3000)
        one.end(target.name)
        assert_same(target.path, moment.path)
    return targets


def test_backups_since_any_checkpoint(disks: list[Guarded]) -> None:
    full = back_up(disks, 0, None, None)
    for one in disks:
        one.write(1, 0, 700, 2000)
    first = back_up(disks, 1, full, 0)
    for one in disks:
        one.write(2, 640, 2600)
    second = back_up(disks, 2, first, 1)
    for one in disks:
        one.write(3, 1200)
    back_up(disks, 3, second, 2)
    back_up(disks, 4, full, 0)
    for one in disks:
        recording = {name: bitmap["recording"] for name, bitmap in one.server.bitmaps(one.node).items()}
        assert recording == {"c0": False, "c1": False, "c2": False, "c3": False, "c4": True}


def test_a_checkpoint_in_the_middle_is_given_up(disks: list[Guarded]) -> None:
    """What it has recorded goes to the one before it, so that nothing is missing from a backup since that."""
    full = back_up(disks, 0, None, None)
    for one in disks:
        one.write(1, 300, 900)
    back_up(disks, 1, full, 0)
    for one in disks:
        one.write(2, 1500)
    back_up(disks, 2, full, 0)
    for one in disks:
        one.server.transaction(
            ("block-dirty-bitmap-merge", {"node": one.node, "target": "c0", "bitmaps": ["c1"]}),
            ("block-dirty-bitmap-remove", {"node": one.node, "name": "c1"}),
        )
        one.checkpoints.remove("c1")
        one.write(3, 2100)
    back_up(disks, 3, full, 0)
