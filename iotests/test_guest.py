"""A guest that boots from exports and writes to them while its disks are backed up, and what is restored of it.

The machine is QEMU's, under emulation: its firmware boots GRUB from an export, that boots Debian's kernel, and the
kernel has its root on the same disk and files on a second one. What it says was safe on the disks before a backup
began has to be in that backup, and the guest's own check of file systems has to find nothing wrong with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.guest import Guest, exported, plain
from iotests.harness.guest_disk import FILES, LOADED, data_disk, system_disk
from iotests.harness.tools import assert_same, qemu_img
from tests.soak import count

INCREMENTS = count(2, 8)
BATCH = count(5, 20)
"""Files that are written to each disk before a backup begins, and while it runs."""

SLOW = 1
"""A speed at which a job copies one piece and then sleeps for hours."""

DIRECTORIES = (f"/{FILES}", f"/mnt/{FILES}")
"""Where the running guest has the files of the system disk and of the data disk."""

HARMLESS = re.compile(
    r"/dev/\w+: (recovering journal|Setting free (inodes|blocks) count to .*|.* files .* blocks)"
    r"|e2fsck \d.*|Pass \d.*|"
)
"""What a check may say of a file system that was sound when the machine lost its power."""


@dataclass(frozen=True, slots=True)
class Backup:
    """Images of the disks at one moment; `synced` are the checksums of the files that were safe by then."""

    images: Sequence[Path]
    synced: dict[str, str]
    frozen: bool

    def restored(self, scratch: Scratch) -> list[Disk]:
        """Raw disks with what the images and those below them hold."""
        disks = []
        for image in self.images:
            path = scratch / f"{image.stem}-restored.img"
            qemu_img("convert", "-O", "raw", image, path)
            disks.append(Disk(path, path.stat().st_size))
        return disks

    def files(self, directory: str) -> dict[str, str]:
        """Checksums of what has to be in a directory, by name."""
        paths = {Path(path): checksum for path, checksum in self.synced.items()}
        return {path.name: checksum for path, checksum in paths.items() if str(path.parent) == directory}


class Backups:
    """Backups of a guest's disks, each upon the one before it."""

    def __init__(self, server: Server, scratch: Scratch, disks: Sequence[Disk]) -> None:
        self.server = server
        self.scratch = scratch
        self.disks = disks
        self.made: list[Backup] = []

    def begin(self, synced: dict[str, str], *, frozen: bool = False, speed: int = 0) -> None:
        """Start the jobs of the next backup as a group."""
        images = [self._target(disk) for disk in self.disks]
        pairs = list(zip(self.disks, images, strict=True))
        mode = {"speed": speed} | ({"sync": "incremental", "bitmap": "b"} if self.made else {"sync": "full"})
        bitmaps = [("block-dirty-bitmap-add", {"node": disk.name, "name": "b"}) for disk in self.disks]
        jobs = [
            ("blockdev-backup", {"job-id": image.stem, "device": disk.name, "target": image.stem, **mode})
            for disk, image in pairs
        ]
        self.server.transaction(*([] if self.made else bitmaps), *jobs, grouped=True)
        self.made.append(Backup(images, synced, frozen))

    def hasten(self) -> None:
        """Let the jobs, which were slow so far, go as fast as they can."""
        for image in self.made[-1].images:
            self.server.qmp.command("block-job-set-speed", device=image.stem, speed=0)

    def finish(self) -> None:
        """Wait until the jobs are over; every one has to end well."""
        qmp = self.server.qmp
        for job in [image.stem for image in self.made[-1].images]:
            qmp.wait_job(job, "null")
            end = qmp.wait_event("BLOCK_JOB_COMPLETED", device=job)
            assert "error" not in end.data, end
            qmp.command("blockdev-del", node_name=job)

    def _target(self, disk: Disk) -> Path:
        """A new image, over that of the backup before if there is one, as a node of the same name."""
        number = len(self.made)
        path = self.scratch / f"{disk.name}-{number}.qcow2"
        below = ("-b", f"{disk.name}-{number - 1}.qcow2", "-F", "qcow2") if number else ()
        qemu_img("create", "-q", "-f", "qcow2", *below, path, str(disk.length))
        file = {"driver": "file", "filename": str(path)}
        self.server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": path.stem, "file": file})
        return path


def numbers(batch: int) -> range:
    """The numbers of the files of a batch."""
    return range(batch * BATCH, (batch + 1) * BATCH)


def back_up(guest: Guest, backups: Backups, number: int, *, frozen: bool) -> None:
    """One backup that begins amid the guest's writes (with frozen file systems, if so) and ends after more of them."""
    before, during = numbers(2 * number), numbers(2 * number + 1)
    guest.write(before, *DIRECTORIES)
    guest.wait_for(*(f"{directory}/{before[1]}" for directory in DIRECTORIES))
    if frozen:
        guest.run("fsfreeze --freeze /mnt && fsfreeze --freeze /")
    guest.catch_up()
    backups.begin(dict(guest.synced), frozen=frozen, speed=SLOW)
    if frozen:
        guest.run("fsfreeze --unfreeze / && fsfreeze --unfreeze /mnt")
    guest.write(during, *DIRECTORIES)
    guest.wait_for(*(f"{directory}/{file}" for directory in DIRECTORIES for file in (*before, *during)))
    backups.hasten()
    backups.finish()


def assert_sound(lines: Sequence[str], device: str, *, frozen: bool) -> None:
    """Judge what `check` said of a device: nothing to repair but what a loss of power leaves, or nothing at all."""
    *said, verdict = lines
    assert all(HARMLESS.fullmatch(line) for line in said), "\n".join(said)
    found = re.fullmatch(rf"checked {device} (\d+) ([01]) 0", verdict)
    assert found, "\n".join(lines)
    if frozen:
        assert found.groups() == ("0", "0"), "\n".join(lines)


def checksums(guest: Guest, directory: str) -> dict[str, str]:
    """Checksums of all files in a directory, by name."""
    pairs = [line.split() for line in guest.run(f"sha256sum {directory}/*")]
    return {Path(path).name: checksum for checksum, path in pairs}


def assert_holds(guest: Guest, device: str, backup: Backup, directory: str) -> None:
    """Check a restored file system within the guest, and read all files that it has to have."""
    assert_sound(guest.run(f"check {device}"), device, frozen=backup.frozen)
    guest.run(f"mount -t ext4 -o ro {device} /mnt")
    assert checksums(guest, f"/mnt/{FILES}").items() >= backup.files(directory).items()
    guest.run("umount /mnt")


def assert_restored(scratch: Scratch, backups: Sequence[Backup]) -> None:
    """Boot from the system disk of the first of these backups, and look at all the others from there."""
    disks = [disk for backup in backups for disk in backup.restored(scratch)]
    letters = iter(ascii_lowercase)
    with Guest(plain(*disks)) as guest:
        loaded, *said = guest.boot()
        assert loaded.endswith(LOADED)
        for backup in backups:
            system, data = f"/dev/vd{next(letters)}1", f"/dev/vd{next(letters)}"
            if backup is backups[0]:
                assert_sound(said, system, frozen=backup.frozen)
                assert checksums(guest, DIRECTORIES[0]).items() >= backup.files(DIRECTORIES[0]).items()
            else:
                assert_holds(guest, system, backup, DIRECTORIES[0])
            assert_holds(guest, data, backup, DIRECTORIES[1])
        guest.power_off()


@pytest.mark.qmpd_only("bitmaps are added in a grouped transaction")
def test_a_guest_is_backed_up_while_it_runs(server: Server, scratch: Scratch) -> None:
    disks = [system_disk(scratch, "system"), data_disk(scratch, "data")]
    for disk in disks:
        server.add_raw(disk)
        server.export(disk.name)
    backups = Backups(server, scratch, disks)
    with Guest(exported(server, *disks)) as guest:
        loaded, *said = guest.boot()
        assert loaded.endswith(LOADED)
        assert_sound(said, "/dev/vda1", frozen=True)
        guest.run("mount -t ext4 /dev/vdb /mnt")
        for number in range(1 + INCREMENTS):
            back_up(guest, backups, number, frozen=number > 0 and number % 2 == 0)
        guest.power_off()
    backups.begin(dict(guest.synced))
    backups.finish()
    for disk, image in zip(disks, backups.made[-1].images, strict=True):
        assert_same(disk.path, image, other_format="qcow2")
    assert_restored(scratch, [backups.made[1], backups.made[0], *backups.made[2:-1]])
