"""The last chapter: the same grouped backups with qcow2 disks, over a restart of the daemon.

All images are made by qmpd itself, so the chapter needs nothing installed. It judges by the demo's own account of
the disks' contents: raw files that qmpd never opened. The images are held against it by qemu-img where that is
installed, and otherwise read back through NBD from a daemon that was not there when they were written; the
narration says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmpd.ctl.demo.disks import GRANULARITY, MIB, Disk, sparse_copy
from qmpd.ctl.demo.narrator import Narrator
from qmpd.ctl.demo.server import Server
from qmpd.ctl.demo.story import BITMAP, CheckFailed, bitmap_count, grouped
from qmpd.ctl.display import human_bytes
from qmpd.ctl.joblist import Job
from qmpd.ctl.nbdclient import NbdClient
from qmpd.ctl.session import Session
from qmpd.ctl.watch import JobWatch, all_completed

SIZE = 32 * MIB
_JOB_SECONDS = 120.0
_SEED = 11


@dataclass(frozen=True, slots=True)
class Layered:
    """A qcow2 disk on a raw base.

    :param account: what the disk should hold, kept by the demo beside it.
    """

    account: Disk
    base: Path

    @property
    def name(self) -> str:
        """The node's and the export's name."""
        return self.account.name

    def write(self, client: NbdClient, regions: Sequence[tuple[int, int]]) -> None:
        """Write fresh contents to (offset, length) regions through NBD, and into the account."""
        for offset, length in regions:
            data = self.account.write(client, offset, length)
            with open(self.account.path, "r+b") as file:
                file.seek(offset)
                file.write(data)
        client.flush()


class Layers:
    """The chapter about qcow2.

    :param directory: for all files; the caller removes it.
    """

    def __init__(self, directory: Path, narrator: Narrator) -> None:
        self._directory = directory
        self._narrator = narrator
        self._disks = [
            Layered(
                account=Disk(name, directory / f"{name}-account.raw", SIZE, random.Random(seed)),
                base=directory / f"{name}-base.raw",
            )
            for seed, name in enumerate(("mail", "index"), _SEED)
        ]

    async def tell(self) -> None:
        """Run the chapter.

        :raise CheckFailed: at the first thing that is not as it should be.
        """
        self._narrator.chapter("The same with qcow2, and with bitmaps that outlive the daemon")
        self._narrator.say("Two more disks: qcow2 images that hold only what differs from their backing files. qmpd")
        self._narrator.say("makes the images, and stores a bitmap that is persistent in its image when it closes it.")
        self._make_bases()
        async with self._daemon() as session:
            await self._full_backup(session)
        self._narrator.say("The daemon has ended. A new one opens the same images.")
        async with self._daemon() as session:
            await self._incremental_backup(session)
        await self._verify()

    # Steps

    def _make_bases(self) -> None:
        for disk in self._disks:
            disk.account.fill([(0, 2 * MIB), (20 * MIB, 2 * MIB)])
            sparse_copy(disk.account.path, disk.base)

    async def _full_backup(self, session: Session) -> None:
        for disk in self._disks:
            on_base = {"backing-file": disk.base.name, "backing-fmt": "raw"}
            await self._create(session, disk.name, on_base)
            await self._create(session, f"{disk.name}-full", {})
            await self._open(session, disk.name)
            await self._open(session, f"{disk.name}-full")
        await self._serve(session)
        await self._write([(1 * MIB, 1 * MIB), (10 * MIB, 300_000)])
        actions: list[dict[str, Any]] = [
            {
                "type": "block-dirty-bitmap-add",
                "data": {"node": disk.name, "name": BITMAP, "granularity": GRANULARITY, "persistent": True},
            }
            for disk in self._disks
        ]
        for disk in self._disks:
            disk.account.dirty.clear()
        await self._backup(session, "full", actions, {"sync": "full"})
        await self._write([(12 * MIB, MIB), (21 * MIB, 70_000)])
        await self._check_bitmaps(session, "the bitmaps hold exactly what was written since")

    async def _incremental_backup(self, session: Session) -> None:
        for disk in self._disks:
            await self._open(session, disk.name)
        await self._check_bitmaps(session, "the new daemon found the bitmaps in the images")
        await self._serve(session)
        await self._write([(12 * MIB + 500_000, 4096), (30 * MIB, 5000)])
        for disk in self._disks:
            on_full = {"backing-file": f"{disk.name}-full.qcow2", "backing-fmt": "qcow2"}
            await self._create(session, f"{disk.name}-inc", on_full)
            await self._open(session, f"{disk.name}-inc")
        await self._backup(session, "inc", [], {"sync": "incremental", "bitmap": BITMAP})
        for disk in self._disks:
            disk.account.dirty.clear()
        await self._check_bitmaps(session, "both bitmaps started afresh")

    async def _verify(self) -> None:
        """Hold both backups of each disk against the demo's account of it."""
        images = [f"{disk.name}-{label}" for disk in self._disks for label in ("full", "inc")]
        qemu_img = shutil.which("qemu-img")
        if qemu_img is None:
            self._narrator.say("qemu-img is not installed, so no other program judges these images: a fresh qmpd")
            self._narrator.say("process serves them, and the demo compares what it reads with its own account.")
            async with self._daemon() as session:
                await self._verify_by_reading(session, images)
            return
        for disk in self._disks:
            await self._run(f"qemu-img check finds nothing wrong with {disk.name}.qcow2", qemu_img, disk.name)
        for name in images:
            await self._run(f"qemu-img check finds nothing wrong with {name}.qcow2", qemu_img, name)
            words = ("compare", "-f", "qcow2", "-F", "raw", str(self._image(name)), str(self._expected(name)))
            await self._run(f"qemu-img compare: {name}.qcow2 is the disk as it stood", qemu_img, name, words)

    async def _verify_by_reading(self, session: Session, images: Sequence[str]) -> None:
        for name in images:
            await self._open(session, name, read_only=True)
        await self._serve(session, images, writable=False)
        for name in images:
            same = await asyncio.to_thread(self._reads_as_expected, name)
            self._check(same, f"{name}.qcow2 reads as the disk stood when the backup began")

    def _reads_as_expected(self, name: str) -> bool:
        with NbdClient.connect_unix(self._server.nbd, name) as client, open(self._expected(name), "rb") as file:
            if client.size != SIZE:
                return False
            return all(client.read(offset, MIB) == file.read(MIB) for offset in range(0, SIZE, MIB))

    # What the steps are made of

    @contextlib.asynccontextmanager
    async def _daemon(self) -> AsyncIterator[Session]:
        self._server = Server(self._directory)
        self._narrator.command_line(self._server.command_line)
        async with self._server.running() as session:
            yield session
            self._narrator.sent("quit", {})

    def _image(self, name: str) -> Path:
        return self._directory / f"{name}.qcow2"

    def _expected(self, name: str) -> Path:
        return self._directory / f"{name}-expected.raw"

    async def _create(self, session: Session, name: str, options: Mapping[str, Any]) -> None:
        """Make a qcow2 image: first the file, then the format in it."""
        file = {"driver": "file", "filename": str(self._image(name))}
        for what in ({**file, "size": 0}, {"driver": "qcow2", "file": file, "size": SIZE, **options}):
            job_id = f"create-{what['driver']}-{name}"
            await self._execute(session, "blockdev-create", {"job-id": job_id, "options": what})
            jobs = await JobWatch(session).until_over_known([job_id], _JOB_SECONDS)
            if len(jobs) != 1 or not all_completed(jobs):
                raise CheckFailed(f"the job '{job_id}' did not complete: {[job.error for job in jobs]}")
            await session.execute("job-dismiss", {"id": job_id})

    async def _open(self, session: Session, name: str, *, read_only: bool = False) -> None:
        file = {"driver": "file", "filename": str(self._image(name))}
        node = {"driver": "qcow2", "node-name": name, "read-only": read_only, "file": file}
        await self._execute(session, "blockdev-add", node)

    async def _serve(self, session: Session, names: Sequence[str] = (), *, writable: bool = True) -> None:
        address = {"type": "unix", "data": {"path": str(self._server.nbd)}}
        await self._execute(session, "nbd-server-start", {"addr": address})
        for name in names or [disk.name for disk in self._disks]:
            export = {"type": "nbd", "id": f"export-{name}", "node-name": name, "name": name, "writable": writable}
            await self._execute(session, "block-export-add", export)

    async def _write(self, regions: Sequence[tuple[int, int]]) -> None:
        for disk in self._disks:
            await asyncio.to_thread(self._write_one, disk, regions)
        amount = human_bytes(sum(length for _, length in regions))
        self._narrator.say(f"NBD: {amount} written to each disk, at {len(regions)} places")

    def _write_one(self, disk: Layered, regions: Sequence[tuple[int, int]]) -> None:
        with NbdClient.connect_unix(self._server.nbd, disk.name) as client:
            disk.write(client, regions)

    async def _backup(
        self, session: Session, label: str, actions: Sequence[Mapping[str, Any]], how: Mapping[str, Any]
    ) -> None:
        """Back both disks up to their targets of that label in one grouped transaction."""
        names = [f"{disk.name}-{label}" for disk in self._disks]
        backups = [
            {"type": "blockdev-backup", "data": {"job-id": name, "device": disk.name, "target": name, **how}}
            for name, disk in zip(names, self._disks, strict=True)
        ]
        for name, disk in zip(names, self._disks, strict=True):
            disk.account.freeze(self._expected(name))
        await self._execute(session, "transaction", grouped([*actions, *backups]))
        jobs = await self._follow(session, label, names)
        self._check(len(jobs) == len(names) and all_completed(jobs), "both jobs completed")

    async def _follow(self, session: Session, label: str, names: Sequence[str]) -> list[Job]:
        with self._narrator.progress() as display:
            watch = JobWatch(session, display, groups=dict.fromkeys(names, label))
            return await watch.until_over_known(names, _JOB_SECONDS)

    async def _execute(self, session: Session, command: str, arguments: Mapping[str, Any]) -> None:
        self._narrator.sent(command, arguments)
        await session.execute(command, arguments)

    # Checks

    def _check(self, holds: bool, text: str) -> None:
        if not holds:
            raise CheckFailed(f"this does not hold: {text}")
        self._narrator.checked(text)

    async def _check_bitmaps(self, session: Session, text: str) -> None:
        """Both bitmaps count exactly what the demo wrote since they were last started afresh."""
        nodes = {node["node-name"]: node for node in await session.execute("query-named-block-nodes")}
        for disk in self._disks:
            count, expected = bitmap_count(nodes[disk.name]), disk.account.dirty_bytes
            if count != expected:
                raise CheckFailed(f"the bitmap of '{disk.name}' counts {count} dirty bytes, not {expected}")
        told = ", ".join(f"{disk.name} {human_bytes(disk.account.dirty_bytes)}" for disk in self._disks)
        self._check(True, f"{text} ({told})")

    async def _run(self, text: str, program: str, name: str, words: Sequence[str] = ()) -> None:
        """Have qemu-img judge an image: `check` unless other words are given."""
        words = words or ("check", "-q", "-f", "qcow2", str(self._image(name)))
        process = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.DEVNULL)
        self._check(await process.wait() == 0, text)
