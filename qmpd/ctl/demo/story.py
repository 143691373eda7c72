"""The story that the demo tells, step by step, and the checks that make it more than a story.

Everything is done through QMP and NBD, as any backup tool would do it, and judged from the outside: raw files
are read directly, and bitmaps are held against the demo's own account of its writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qmpd.ctl.demo.disks import GRANULARITY, MIB, Disk, empty_file, first_difference, sparse_copy
from qmpd.ctl.demo.narrator import Narrator
from qmpd.ctl.demo.server import Server
from qmpd.ctl.display import human_bytes
from qmpd.ctl.joblist import Job, Outcome
from qmpd.ctl.nbdclient import NbdClient
from qmpd.ctl.session import Session
from qmpd.ctl.watch import JobWatch, all_completed

BITMAP = "since-backup"
SLOW = 1 * MIB
"""Bytes a second: slow enough that a job is still running while the demo writes."""
FULL_AT = 200 * MIB
"""Where the failing target is 'full': inside the journal disk, beyond the end of the tables disk."""
_JOB_SECONDS = 120.0
_SEED = 7


class CheckFailed(Exception):
    """Something that the demo was to show does not hold."""


class Story:
    """The demo from the first disk to the last check.

    :param directory: for all files; the caller removes it.
    :param session: an open QMP session with the daemon.
    """

    def __init__(self, directory: Path, server: Server, session: Session, narrator: Narrator) -> None:
        self._directory = directory
        self._server = server
        self._session = session
        self._narrator = narrator
        self._disks = [
            Disk("tables", directory / "tables.raw", 128 * MIB, random.Random(_SEED)),
            Disk("journal", directory / "journal.raw", 320 * MIB, random.Random(_SEED + 1)),
        ]
        self._events: list[Mapping[str, Any]] = []

    async def tell(self) -> None:
        """Run every chapter.

        :raise CheckFailed: at the first thing that is not as it should be.
        """
        await self._make_disks()
        await self._open_disks()
        await self._full_backup()
        await self._work()
        await self._incremental_backup()
        await self._failing_backup()
        self._narrator.chapter("The daemon is told to quit")
        self._narrator.sent("quit", {})

    # Chapters

    async def _make_disks(self) -> None:
        tables, journal = self._disks
        self._narrator.chapter("Two disks of one machine")
        self._narrator.say(
            "A database keeps its tables on one disk and its journal on another. A backup of it is only worth"
        )
        self._narrator.say(
            "having when both disks are from the same moment, and when either both are saved or neither is."
        )
        tables.fill([(0, 6 * MIB), (40 * MIB, 5 * MIB), (100 * MIB, 3 * MIB)])
        journal.fill([(0, 4 * MIB), (150 * MIB, 8 * MIB), (300 * MIB, 6 * MIB)])
        for disk in self._disks:
            self._narrator.say(f"{disk.path.name}: {human_bytes(disk.size)}, mostly holes")

    async def _open_disks(self) -> None:
        self._narrator.chapter("qmpd opens both and serves them over NBD")
        self._narrator.command_line(self._server.command_line)
        for disk in self._disks:
            await self._open(disk.name, disk.path)
        address = {"type": "unix", "data": {"path": str(self._server.nbd)}}
        await self._execute("nbd-server-start", {"addr": address})
        for disk in self._disks:
            export = {"type": "nbd", "id": f"export-{disk.name}", "node-name": disk.name}
            await self._execute("block-export-add", {**export, "name": disk.name, "writable": True})
            with self._client(disk) as client:
                self._check(client.size == disk.size, f"NBD export '{disk.name}' has {human_bytes(client.size)}")

    async def _full_backup(self) -> None:
        self._narrator.chapter("A full backup of both, as one transaction")
        self._narrator.say(
            "One command adds a dirty bitmap to each disk, which from now on notes every change, and copies"
        )
        self._narrator.say("both disks as they stand at that moment. Grouped: all of it succeeds, or none of it.")
        actions: list[dict[str, Any]] = []
        for disk in self._disks:
            target = empty_file(self._directory / f"{disk.name}-full.raw", disk.size)
            await self._open(f"{disk.name}-full", target)
            bitmap = {"node": disk.name, "name": BITMAP, "granularity": GRANULARITY}
            actions.append({"type": "block-dirty-bitmap-add", "data": bitmap})
        actions += [self._backup(disk, "full", {"sync": "full"}) for disk in self._disks]
        frozen = self._freeze("full")
        await self._execute("transaction", grouped(actions))
        jobs = await self._follow("full")
        self._check(all_completed(jobs), "both jobs completed")
        await self._verify("full", frozen)
        await self._check_bitmaps("nothing was written yet, and the bitmaps agree")

    async def _work(self) -> None:
        self._narrator.chapter("The machine works on")
        self._narrator.say("It writes to both disks through NBD; qmpd marks each piece in the disk's bitmap.")
        tables, journal = self._disks
        await asyncio.to_thread(self._write, tables, [(2 * MIB, 2 * MIB), (64 * MIB, MIB), (110 * MIB, 3 * MIB)])
        await asyncio.to_thread(self._write, journal, [(150 * MIB, 3 * MIB), (180 * MIB, 4 * MIB)])
        await self._check_bitmaps("the bitmaps hold exactly what was written")

    async def _incremental_backup(self) -> None:
        self._narrator.chapter("An incremental backup of both, while the machine keeps writing")
        self._narrator.say("Only what the bitmaps name is copied, onto a copy of the full backup. The jobs are slowed")
        self._narrator.say("down, so that the machine can overwrite data that they have not reached: qmpd saves the")
        self._narrator.say("old data first, and the backup still is the disks as they stood when it began.")
        command = await self._prepare_incremental("inc1", after="full")
        frozen = self._freeze("inc1")
        await self._execute("transaction", command)
        for disk in self._disks:
            disk.dirty.clear()
        async with self._following("inc1") as watching:
            await self._overwrite()
            running = await self._running_jobs()
            self._check(len(running) == 2, "both jobs were still running when the last write was done")
            await self._hurry(running)
            self._check(all_completed(await watching), "both jobs completed")
        await self._verify("inc1", frozen)
        await self._check_bitmaps("each bitmap was replaced by exactly what was written meanwhile")

    async def _overwrite(self) -> None:
        """Write to places that the jobs have not reached, and to others."""
        tables, journal = self._disks
        await asyncio.to_thread(self._write, tables, [(111 * MIB, 2 * MIB), (64 * MIB, 300_000), (20 * MIB, 5000)])
        await asyncio.to_thread(self._write, journal, [(182 * MIB, 2 * MIB), (152 * MIB, 4096), (10 * MIB, 512)])

    async def _failing_backup(self) -> None:
        tables, journal = self._disks
        self._narrator.chapter("One target fails: nothing is lost, on either disk")
        await asyncio.to_thread(self._write, tables, [(5 * MIB, 4 * MIB)])
        await asyncio.to_thread(self._write, journal, [(100 * MIB, 3 * MIB), (300 * MIB, 2 * MIB)])
        command = await self._prepare_incremental("inc2", after="inc1")
        self._narrator.say("From here on the operating system refuses qmpd any write beyond the first")
        self._narrator.say(f"{human_bytes(FULL_AT)} of a file, as a full disk would. The journal's target will")
        self._narrator.say("run into that, the tables' will not.")
        with self._server.file_size_limit(FULL_AT):
            await self._fail_once(command)
        await self._check_bitmaps("both bitmaps were given back: all they held, and what was written meanwhile")
        self._narrator.chapter("There is room again: the very same command, once more")
        frozen = self._freeze("inc2")
        await self._execute("transaction", command)
        for disk in self._disks:
            disk.dirty.clear()
        await self._hurry(await self._running_jobs())
        self._check(all_completed(await self._follow("inc2")), "both jobs completed")
        await self._verify("inc2", frozen)
        await self._check_bitmaps("nothing was written since, and the bitmaps agree")

    async def _fail_once(self, command: Mapping[str, Any]) -> None:
        tables, journal = self._disks
        self._events.clear()
        await self._execute("transaction", command)
        async with self._following("inc2") as watching:
            await asyncio.to_thread(self._write, tables, [(90 * MIB, MIB)])
            await asyncio.to_thread(self._write, journal, [(102 * MIB, 2 * MIB)])
            # The tables' job stays slow, so that it is the failure that ends it.
            await self._hurry([name for name in await self._running_jobs() if name.startswith(journal.name)])
            outcomes = {job.job_id: job for job in await watching}
        for event in self._events:
            if event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
                self._narrator.event(event)
        failed, cancelled = outcomes[f"{journal.name}-inc2"], outcomes[f"{tables.name}-inc2"]
        self._check(
            failed.outcome is Outcome.FAILED and bool(failed.error),
            f"the journal's job says that it failed: {failed.error}",
        )
        self._check(cancelled.outcome is Outcome.CANCELLED, "the tables' job was cancelled with it, and says so")

    # What the chapters are made of

    async def _open(self, node: str, path: Path) -> None:
        file = {"driver": "file", "filename": str(path)}
        await self._execute("blockdev-add", {"driver": "raw", "node-name": node, "file": file})

    def _backup(self, disk: Disk, label: str, how: Mapping[str, Any]) -> dict[str, Any]:
        """The action that backs one disk up to its target of that label."""
        name = f"{disk.name}-{label}"
        return {
            "type": "blockdev-backup",
            "data": {"job-id": name, "device": disk.name, "target": name, **how},
        }

    async def _prepare_incremental(self, label: str, *, after: str) -> dict[str, Any]:
        """Lay out the targets, copies of the backup before, and return the transaction."""
        for disk in self._disks:
            before = self._directory / f"{disk.name}-{after}.raw"
            target = sparse_copy(before, self._directory / f"{disk.name}-{label}.raw")
            await self._open(f"{disk.name}-{label}", target)
        how = {"sync": "incremental", "bitmap": BITMAP, "speed": SLOW}
        return grouped([self._backup(disk, label, how) for disk in self._disks])

    def _freeze(self, label: str) -> list[Path]:
        """Copies of both disks as they stand, by the demo's own hand: what a backup made now should equal."""
        return [disk.freeze(self._directory / f"{disk.name}-{label}-expected.raw") for disk in self._disks]

    def _client(self, disk: Disk) -> NbdClient:
        return NbdClient.connect_unix(self._server.nbd, disk.name)

    def _write(self, disk: Disk, regions: Sequence[tuple[int, int]]) -> None:
        """Write to (offset, length) regions of a disk through NBD."""
        with self._client(disk) as client:
            for offset, length in regions:
                disk.write(client, offset, length)
            client.flush()
        amount = human_bytes(sum(length for _, length in regions))
        self._narrator.say(f"NBD: {amount} written to '{disk.name}', at {len(regions)} place(s)")

    async def _running_jobs(self) -> list[str]:
        return [job["id"] for job in await self._session.execute("query-jobs") if job["status"] == "running"]

    async def _hurry(self, names: Sequence[str]) -> None:
        for name in names:
            await self._execute("block-job-set-speed", {"device": name, "speed": 0})

    async def _follow(self, label: str) -> list[Job]:
        """Show the two jobs of that label until they are over."""
        names = [f"{disk.name}-{label}" for disk in self._disks]
        with self._narrator.progress() as display:
            groups = dict.fromkeys(names, label)
            watch = JobWatch(self._session, display, on_event=self._events.append, groups=groups)
            return await watch.until_over_known(names, _JOB_SECONDS)

    @contextlib.asynccontextmanager
    async def _following(self, label: str) -> AsyncIterator[asyncio.Task[list[Job]]]:
        """Show the jobs of that label while the block does something else; the task gives how they ended."""
        task = asyncio.create_task(self._follow(label))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _execute(self, command: str, arguments: Mapping[str, Any]) -> Any:
        self._narrator.sent(command, arguments)
        return await self._session.execute(command, arguments)

    # Checks

    def _check(self, holds: bool, text: str) -> None:
        if not holds:
            raise CheckFailed(f"this does not hold: {text}")
        self._narrator.checked(text)

    async def _check_bitmaps(self, text: str) -> None:
        """Both bitmaps count exactly the bytes that the demo wrote since they were last started afresh."""
        nodes = await self._session.execute("query-named-block-nodes")
        counts = {node["node-name"]: bitmap_count(node) for node in nodes}
        for disk in self._disks:
            count, expected = counts[disk.name], disk.dirty_bytes
            if count != expected:
                raise CheckFailed(f"the bitmap of '{disk.name}' counts {count} dirty bytes, not {expected}")
        told = ", ".join(f"{disk.name} {human_bytes(disk.dirty_bytes)}" for disk in self._disks)
        self._check(True, f"{text} ({told})")

    async def _verify(self, label: str, frozen: Sequence[Path]) -> None:
        """The targets of that label, taken from qmpd, equal what the disks held when the backup began."""
        for disk, expected in zip(self._disks, frozen, strict=True):
            name = f"{disk.name}-{label}"
            await self._session.execute("blockdev-del", {"node-name": name})
            target = self._directory / f"{name}.raw"
            difference = await asyncio.to_thread(first_difference, target, expected)
            if difference is not None:
                raise CheckFailed(f"{target.name} differs from the disk as it stood, first at byte {difference}")
            self._check(True, f"{target.name} is '{disk.name}' as it stood when the backup began")
            await self._compare_with_qemu_img(target, expected)

    async def _compare_with_qemu_img(self, target: Path, expected: Path) -> None:
        """A second opinion where QEMU's tool is installed."""
        program = shutil.which("qemu-img")
        if program is None:
            return
        words = ("compare", "-f", "raw", "-F", "raw", str(target), str(expected))
        process = await asyncio.create_subprocess_exec(program, *words, stdout=asyncio.subprocess.DEVNULL)
        self._check(await process.wait() == 0, f"qemu-img compare agrees about {target.name}")


def grouped(actions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A transaction whose jobs share one fate."""
    return {"actions": list(actions), "properties": {"completion-mode": "grouped"}}


def bitmap_count(node: Mapping[str, Any]) -> int | None:
    """The dirty bytes that the demo's bitmap counts on a node; None when the node has no such bitmap."""
    counts = {bitmap.get("name"): bitmap["count"] for bitmap in node.get("dirty-bitmaps", [])}
    return counts.get(BITMAP)
