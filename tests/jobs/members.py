"""Jobs of every kind with disks of their own, as members of a group: started, brought to any end, and judged.

Each kind is an entry of `KINDS`. A member's disk has `CLUSTERS` clusters. Its guest writes to the first half only; an
error is injected at a random request for the second half, most of which is still to be done when it is: until its
turn comes to end, a job is so slow that it does nothing after its first request.
"""

from __future__ import annotations

import errno
import random
from abc import ABC, abstractmethod
from typing import Any

from qmpd.block.backend import BlockBackend
from qmpd.jobs.backup import BackupJob
from qmpd.jobs.block_job import BlockJob
from qmpd.jobs.state import JobStatus
from tests.lab import Fault, Lab
from tests.qcow2.support import create

CLUSTER = 65536
CLUSTERS = 16
LENGTH = CLUSTER * CLUSTERS
HALF = CLUSTERS // 2
CRAWL = 1
"""Bytes per second at which a job outlasts every test."""


class Member(ABC):
    """One job to be, its disks, and a guest who writes to them.

    :ivar model: what the guest has to read.
    :ivar faults: what lets requests of the disks fail, by name of the disk.
    """

    command: str
    ends_by_itself = True

    def __init__(self, lab: Lab, name: str, rng: random.Random) -> None:
        self.lab = lab
        self.name = name
        self.job_id = f"job-{name}"
        self.rng = rng
        self.model = bytearray()
        self.faults: dict[str, Fault] = {}
        self.broken: str | None = None
        self.user: BlockBackend

    @property
    def job(self) -> BlockJob:
        """The job; it has to be there."""
        return self.lab.jobs.lookup_block_job(self.job_id)

    @property
    def over(self) -> bool:
        """Whether the job has done its work, one way or the other."""
        job = self.lab.jobs.find(self.job_id)
        return job is None or job.over

    # What a kind fills in.

    @abstractmethod
    async def make(self) -> None:
        """Make the disks, and the guest (`user`)."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments of the command, without the job's name and speed."""

    @abstractmethod
    def weak_places(self) -> list[tuple[str, str, list[int]]]:
        """Where an error can be injected: disk, kind of request, clusters."""

    @abstractmethod
    async def judge(self, success: bool) -> None:
        """Check the disks after the end of the group. The guest's view has been checked."""

    # Its life.

    async def start(self) -> None:
        """Run the command."""
        await self.lab.execute(self.command, job_id=self.job_id, speed=CRAWL, **self.arguments())

    async def write(self) -> None:
        """The guest writes a few times."""
        for _ in range(self.rng.randrange(4)):
            length = self.rng.choice([512, 4096, CLUSTER, 2 * CLUSTER])
            offset = self.rng.randrange((HALF * CLUSTER - length) // 512 + 1) * 512
            data = self.rng.randbytes(length)
            if self.rng.random() < 0.2:
                data = bytes(length)
                await self.user.pwrite_zeroes(offset, length, may_unmap=self.rng.random() < 0.5)
            else:
                await self.user.pwritev(offset, data)
            self.model[offset : offset + length] = data
            self.wrote(offset, length)

    def wrote(self, offset: int, length: int) -> None:  # noqa: B027
        """Told what the guest has written."""

    def hurry(self) -> None:
        """Let the job work at full speed."""
        self.job.set_speed(0)

    async def succeed(self) -> None:
        """Let the job do its work to the end."""
        self.hurry()
        await self.lab.until(lambda: self.over)

    async def fail(self) -> None:
        """Let one of the job's requests fail, and wait for the end that this brings."""
        disk, iotype, clusters = self.rng.choice(self.weak_places())
        offset = self.rng.choice(clusters) * CLUSTER + self.rng.randrange(CLUSTER)
        self.broken = f"{iotype} of {disk} at {offset}"
        self.faults[disk].at_sector(iotype, offset // 512 * 512, errno.EIO)
        self.hurry()
        await self.lab.until(lambda: self.over)

    async def cancel(self) -> None:
        """Cancel the job for good."""
        await self.lab.execute("job-cancel", id=self.job_id)

    async def finish(self, success: bool) -> None:
        """After the end: nothing fails any more, and everything is as it has to be."""
        for fault in self.faults.values():
            fault.repair()
        assert await self.lab.content(self.user) == self.model, f"{self.name}: the guest has lost a write"
        await self.judge(success)

    # Disks.

    async def raw(self, role: str, content: bytes) -> str:
        """A raw disk; gives its name."""
        name = f"{self.name}-{role}"
        self.faults[name] = await self.lab.disk(name, content)
        return name

    async def qcow2(self, role: str, backing: str | None = None, fmt: str = "qcow2") -> str:
        """An empty qcow2 disk, on top of another one; gives its name."""
        name = f"{self.name}-{role}"
        chain = ("-b", self.lab.file(backing), "-F", fmt) if backing else ()
        create(self.lab.file(name), LENGTH, *chain)
        self.faults[name] = await self.lab.add(name, "qcow2", backing=backing)
        return name

    async def fill(self, disk: str, clusters: list[int]) -> None:
        """Write noise to clusters of the model and of a disk that nobody uses yet."""
        node = self.lab.graph.lookup(disk)
        for cluster in clusters:
            data = self.rng.randbytes(CLUSTER)
            await node.pwritev(cluster * CLUSTER, data)
            self.model[cluster * CLUSTER : (cluster + 1) * CLUSTER] = data

    async def bytes_of(self, disk: str) -> bytes:
        """The contents of a disk."""
        return await self.lab.content(self.lab.graph.lookup(disk))

    def some_of(self, first: int, end: int, least: int) -> list[int]:
        """Some clusters of a range, in order."""
        return sorted(self.rng.sample(range(first, end), self.rng.randint(least, end - first)))


def covered(offset: int, length: int) -> set[int]:
    """The clusters that a write touches."""
    return set(range(offset // CLUSTER, -(-(offset + length) // CLUSTER)))


class Backup(Member):
    """A backup of a raw disk, or of an overlay, to a raw or qcow2 target."""

    command = "blockdev-backup"

    def __init__(
        self, lab: Lab, name: str, rng: random.Random, *, sync: str, mode: str | None = None, overlay: bool = False
    ) -> None:
        super().__init__(lab, name, rng)
        self.sync, self.mode, self.overlay = sync, mode, overlay
        self.ends_by_itself = sync != "none"
        self.before: set[int] = set()
        self.since: set[int] = set()
        self.stored: set[int] = set(range(CLUSTERS))
        self.frozen = b""

    async def make(self) -> None:
        self.model = bytearray(self.rng.randbytes(LENGTH))
        if self.overlay:
            base = await self.raw("base", bytes(self.model))
            self.source = await self.qcow2("source", base, "raw")
            chosen = [*self.some_of(0, HALF, 2), *self.some_of(HALF, CLUSTERS, 2)]
            await self.fill(self.source, chosen)
            self.stored = set(chosen)
        else:
            self.source = await self.raw("source", bytes(self.model))
        self.to_qcow2 = self.rng.random() < 0.3
        self.target = await (self.qcow2("target") if self.to_qcow2 else self.raw("target", bytes(LENGTH)))
        self.user = self.lab.guest(self.source)
        if self.mode is not None:
            await self.lab.execute("block-dirty-bitmap-add", node=self.source, name="b", granularity=CLUSTER)
            for cluster in [*self.some_of(0, HALF, 2), *self.some_of(HALF, CLUSTERS, 2)]:
                data = self.rng.randbytes(CLUSTER)
                await self.user.pwritev(cluster * CLUSTER, data)
                self.model[cluster * CLUSTER : (cluster + 1) * CLUSTER] = data
                self.before.add(cluster)
                self.stored.add(cluster)

    def arguments(self) -> dict[str, Any]:
        self.frozen = bytes(self.model)
        self.before |= self.since
        self.stored |= self.since
        self.since.clear()
        bitmap = {} if self.mode is None else {"bitmap": "b", "bitmap_mode": self.mode}
        return {
            "device": self.source,
            "target": self.target,
            "sync": self.sync,
            "x_perf": {"max-workers": 1, "max-chunk": CLUSTER},
            **bitmap,
        }

    def wrote(self, offset: int, length: int) -> None:
        self.since |= covered(offset, length)

    @property
    def wanted(self) -> set[int]:
        """The clusters that the backup copies."""
        if self.sync in ("incremental", "bitmap"):
            return self.before
        return self.stored if self.sync == "top" else set(range(CLUSTERS))

    def weak_places(self) -> list[tuple[str, str, list[int]]]:
        job = self.job
        assert isinstance(job, BackupJob)
        # When a guest has had everything saved that comes before, the first request was for the second half.
        late = sorted(cluster for cluster in self.wanted if cluster >= HALF and job.copy.todo[cluster])
        places = []
        if not self.overlay:
            places.append((self.source, "read", late))
        if not self.to_qcow2:
            places.append((self.target, "write", late))
        return places or [(f"{self.name}-target", "write", [])]

    async def fail(self) -> None:
        if self.sync == "none":
            await self._fail_by_a_guest()
        elif self.to_qcow2 and (self.overlay or self.rng.random() < 0.5):
            event = self.rng.choice(["write_aio", "cluster_alloc", "pwritev"])
            number = self.rng.randint(1, 2)
            self.broken = f"{event} {number} of the target"
            self.faults[self.target].at_event(event, number, errno.ENOSPC)
            self.hurry()
            await self.lab.until(lambda: self.over)
        else:
            await super().fail()

    async def _fail_by_a_guest(self) -> None:
        """The background does nothing here: it is a guest's write for which old data cannot be saved."""
        self.broken = "old data of a guest's write"
        self.faults[self.target].at_event("write_aio", 1, errno.EIO)
        cluster = self.rng.randrange(HALF, CLUSTERS)
        data = self.rng.randbytes(512)
        await self.user.pwritev(cluster * CLUSTER, data)
        self.model[cluster * CLUSTER : cluster * CLUSTER + 512] = data
        self.wrote(cluster * CLUSTER, 512)
        await self.lab.until(lambda: self.over)

    async def judge(self, success: bool) -> None:
        target = await self.bytes_of(self.target)
        if success:
            for cluster in range(CLUSTERS):
                place = slice(cluster * CLUSTER, (cluster + 1) * CLUSTER)
                good = {self.frozen[place]} if cluster in self.wanted else {bytes(CLUSTER)}
                if self.sync == "top":
                    # Saved for a guest before it was known that the image below has it too: no harm in that.
                    good.add(self.frozen[place])
                assert target[place] in good, f"{self.name}: cluster {cluster} of the target"
        if self.mode is not None:
            self._judge_bitmap(success, target)

    def _judge_bitmap(self, success: bool, target: bytes) -> None:
        bitmap = self.lab.graph.lookup(self.source).bitmaps.lookup("b")
        bits = {at for at in range(CLUSTERS) if bitmap.snapshot()[at]}
        if self.mode == "never" or (self.mode == "on-success" and not success):
            assert bits == self.before | self.since, f"{self.name}: bitmap"
        elif success:
            assert bits == self.since, f"{self.name}: bitmap"
        else:
            assert self.since <= bits <= self.before | self.since, f"{self.name}: bitmap"
            for cluster in self.before - bits:
                place = slice(cluster * CLUSTER, (cluster + 1) * CLUSTER)
                assert target[place] == self.frozen[place], f"{self.name}: cluster {cluster} was not copied"


class Mirror(Member):
    """A mirror of a raw disk; in the end the guest is on the target, or the target is a copy (`soft`)."""

    command = "blockdev-mirror"

    def __init__(self, lab: Lab, name: str, rng: random.Random, *, copy_mode: str, soft: bool = False) -> None:
        super().__init__(lab, name, rng)
        self.copy_mode, self.soft = copy_mode, soft
        self.final: bytes | None = None

    async def make(self) -> None:
        self.model = bytearray(self.rng.randbytes(LENGTH))
        self.source = await self.raw("source", bytes(self.model))
        self.target = await self.raw("target", bytes(LENGTH))
        self.user = self.lab.guest(self.source)

    def arguments(self) -> dict[str, Any]:
        return {
            "device": self.source,
            "target": self.target,
            "sync": "full",
            "copy_mode": self.copy_mode,
            "granularity": CLUSTER,
            "buf_size": CLUSTER,
        }

    def weak_places(self) -> list[tuple[str, str, list[int]]]:
        late = list(range(HALF, CLUSTERS))
        return [(self.source, "read", late), (self.target, "write", late)]

    async def succeed(self) -> None:
        self.hurry()
        await self.lab.until(lambda: self.over or self.job.status is JobStatus.READY)
        await self.write()
        if self.soft:
            await self.lab.execute("block-job-cancel", device=self.job_id)
        else:
            await self.lab.execute("job-complete", id=self.job_id)
        await self.lab.until(lambda: self.over)

    async def judge(self, success: bool) -> None:
        moved = success and not self.soft
        assert self.user.node.node_name == (self.target if moved else self.source)
        if success:
            assert await self.bytes_of(self.target) == self.model, f"{self.name}: the target is no copy"


KINDS: dict[str, tuple[type[Member], dict[str, Any]]] = {
    "backup full": (Backup, {"sync": "full"}),
    "backup top": (Backup, {"sync": "top", "overlay": True}),
    "backup none": (Backup, {"sync": "none"}),
    "backup incremental": (Backup, {"sync": "incremental", "mode": "on-success"}),
    "backup bitmap never": (Backup, {"sync": "bitmap", "mode": "never"}),
    "backup bitmap always": (Backup, {"sync": "bitmap", "mode": "always"}),
    "mirror background": (Mirror, {"copy_mode": "background"}),
    "mirror write-blocking": (Mirror, {"copy_mode": "write-blocking"}),
    "mirror to a copy": (Mirror, {"copy_mode": "background", "soft": True}),
}
"""What a job can be: its class, and what makes it that kind."""


def make_member(kind: str, lab: Lab, name: str, rng: random.Random) -> Member:
    """A member of that kind."""
    cls, options = KINDS[kind]
    return cls(lab, name, rng, **options)
