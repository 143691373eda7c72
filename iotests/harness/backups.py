"""Volumes for backup tests: a disk, a target for its backups, and a way to make just that target fail.

A target that shall fail lies `FAR` into its host file (the raw driver's `offset`), all others at its start. A
limit on the server's file size (`Server.file_size_limit`) then makes every write to the far target fail with
EFBIG and touches nothing else: it needs no root, works with any server, and is lifted again for the retry.
"""

from dataclasses import dataclass
from typing import Any

from iotests.harness.images import MIB, Disk, Scratch
from iotests.harness.servers import Server
from iotests.harness.tools import run

FAR = 64 * MIB
SLOW = 1024
"""A job speed in bytes per second at which a backup of some MiB outlasts every test."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk and its backup target, each open as a node: `name` and `target_name`."""

    server: Server
    disk: Disk
    target: Disk
    target_offset: int

    @property
    def name(self) -> str:
        """Node of the disk."""
        return self.disk.name

    @property
    def target_name(self) -> str:
        """Node of the target."""
        return self.target.name

    @property
    def job(self) -> str:
        """The job id that `backup` uses."""
        return f"job-{self.name}"

    def backup(self, sync: str = "full", **options: Any) -> dict[str, Any]:
        """Arguments of a blockdev-backup of the disk to the target; options by keyword, dashes as
        underscores.
        """
        members = {key.replace("_", "-"): value for key, value in options.items()}
        return {
            "job-id": self.job,
            "device": self.name,
            "target": self.target_name,
            "sync": sync,
            **members,
        }

    def start(self, sync: str = "full", **options: Any) -> str:
        """Run that backup; gives the job id."""
        self.server.qmp.command("blockdev-backup", self.backup(sync, **options))
        return self.job

    def run(self, sync: str = "full", **options: Any) -> None:
        """Run that backup and wait for its success."""
        qmp = self.server.qmp
        done = len(qmp.seen("BLOCK_JOB_COMPLETED", device=self.job))
        job = self.start(sync, **options)
        qmp.wait_job(job, "null")
        ends = qmp.seen("BLOCK_JOB_COMPLETED", device=job)
        assert len(ends) == done + 1, f"{job} did not complete: {self.server.trace().of(job).text()}"
        assert "error" not in ends[-1].data, ends[-1]

    def target_is(self, reference: Disk) -> bool:
        """Whether qemu-img finds the target's contents identical with those of another disk."""
        return "Images are identical" in self._compare(reference)

    def assert_target_is(self, reference: Disk) -> None:
        """Fail with qemu-img's own words when the target differs from another disk."""
        output = self._compare(reference)
        assert "Images are identical" in output, f"{self.target_name} and {reference.path}: {output}"

    def _compare(self, reference: Disk) -> str:
        target = (
            f"driver=raw,offset={self.target_offset},size={self.target.length},"
            f"file.driver=file,file.filename={self.target.path}"
        )
        other = f"driver=raw,file.driver=file,file.filename={reference.path}"
        return run("qemu-img", "compare", "-U", "--image-opts", target, other, ok=(0, 1))


def await_first_chunk(server: Server, *jobs: str) -> None:
    """Wait until each of these slow jobs has copied its first chunk and sleeps.

    From then on none of them has a request in flight, so that a limit set now hits only what is let go afterwards.
    """
    for job in jobs:
        while (info := server.qmp.block_job(job)) is not None and info["offset"] == 0:
            server.check()


def volume(
    server: Server, scratch: Scratch, name: str, length: int = 4 * MIB, *, seed: int = 1, far: bool = False
) -> Volume:
    """Make a disk full of noise and its empty target, and open both; `far` for a target that can be made to
    fail.
    """
    disk = scratch.full_disk(name, length, seed=seed)
    return with_target(server, scratch, disk, far=far)


def with_target(server: Server, scratch: Scratch, disk: Disk, *, far: bool = False, open_disk: bool = True) -> Volume:
    """A target for a disk; opens both (the disk only if it is not open yet)."""
    if open_disk:
        server.add_raw(disk)
    offset = FAR if far else 0
    target = scratch.disk(f"{disk.name}-target{'-far' if far else ''}", offset + disk.length)
    made = Volume(server, disk, Disk(target.path, disk.length), offset)
    server.add_raw(target.path, made.target_name, **({"offset": offset, "size": disk.length} if far else {}))
    return made
