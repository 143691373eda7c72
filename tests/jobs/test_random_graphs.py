"""Random graphs under random jobs, with a model of every disk: nothing that was written is ever lost.

Hypothesis builds disks (raw, qcow2, chains of images, filters), starts jobs of all kinds on them, alone and in groups,
drives those with every verb, writes meanwhile, keeps bitmaps, and lets requests fail. After each step:

* every disk reads as the model says, as its guest sees it;
* no bitmap lacks a bit for what was written while it recorded;
* what a job calls complete is complete;
* the graph is sound and every use, blocker, frozen edge and busy bitmap belongs to a job (`tests.invariants`).

At the end everything is let go, and nothing may be left; qemu-img has nothing to say against the images.

When a job ends is not always the same in two runs, so no rule is made possible or impossible by that: hypothesis has to
be able to play a run again.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qmpd.block import chain
from qmpd.block.backend import BlockBackend
from qmpd.block.drivers.blkdebug_rules import RuleSet
from qmpd.block.node import BlockNode
from qmpd.errors import QMPError
from qmpd.jobs.state import VERBS, JobStatus, JobVerb
from tests import invariants
from tests.jobs.members import CRAWL
from tests.lab import Fault, Lab
from tests.qcow2 import support
from tests.soak import count

CLUSTER = 65536
LENGTH = 8 * CLUSTER
UNIT = 4096
"""What bits are checked for: no granularity here is smaller."""

MAX_DISKS = 3
QUIET_TURNS = 5
"""Turns of the event loop in which nothing happens, after which nothing will: who was woken has run by then."""

SEED = st.integers(0, 1 << 32)
ERRORS = (errno.EIO, errno.ENOSPC)
FILTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "blkdebug": ("image", {}),
    "copy-on-read": ("file", {}),
    "throttle": ("file", {"throttle_group": "unlimited"}),
}
"""Filters that a disk can have from the beginning: what they call the node below, and what else they need."""


@dataclass(eq=False)
class Disk:
    """A disk that a guest uses."""

    name: str
    user: BlockBackend
    model: bytearray = field(repr=False)

    @property
    def root(self) -> str:
        """The node that the guest writes to, apart from the filters of jobs."""
        node = self.user.node
        while node.node_name.startswith("#") and node.filtered is not None:
            node = node.filtered
        return node.node_name


@dataclass(eq=False)
class Bitmap:
    """A bitmap, with what it has to know at least.

    :ivar must: units that were written while it recorded, and have not been cleared since.
    :ivar since: the same since a job has frozen it, None when none has.
    """

    node: str
    name: str
    granularity: int
    recording: bool = True
    must: set[int] = field(default_factory=set)
    since: set[int] | None = None


@dataclass(eq=False)
class Running:
    """A job, and what it has to have done when it says that it is complete."""

    job_id: str
    kind: str
    disk: Disk
    target: str | None = None
    frozen: bytes | None = field(default=None, repr=False)
    bitmap: Bitmap | None = None
    keeps_bits: bool = True


class Template:
    """An empty qcow2 image, made once, since qemu-img takes longer than all else."""

    def __init__(self) -> None:
        self._content: bytes | None = None

    def write_to(self, path: Path) -> None:
        """Make `path` such an image."""
        if self._content is None:
            support.create(path, LENGTH)
            self._content = path.read_bytes()
        path.write_bytes(self._content)


class RandomGraphs(RuleBasedStateMachine):
    """Drives a daemon in a loop of its own; each rule lets everything run that can run."""

    template = Template()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.path = Path(tempfile.mkdtemp(prefix="qmpd-graphs-"))
        self.lab = Lab(self.path)
        self.names = itertools.count()
        self.disks: list[Disk] = []
        self.bitmaps: list[Bitmap] = []
        self.running: list[Running] = []
        self.faults: dict[str, Fault] = {}
        self.kept_rules: dict[str, RuleSet] = {}
        self.spared = 0
        self.done: list[str] = []

    # Helpers.

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a step to its end, let everything settle, and see what has ended."""

        async def turn() -> Any:
            result = await coroutine
            await self.settle()
            await self.look_at_ends()
            return result

        return self.loop.run_until_complete(asyncio.wait_for(turn(), 60))

    async def settle(self) -> None:
        """Wait until every job stands, and every group that can end has ended."""
        quiet = 0
        while quiet < QUIET_TURNS:
            if any(job.busy or self._about_to_end(job) for job in self.lab.jobs.jobs):
                quiet = 0
                await self.lab.daemon.pool.run(int)  # to a worker and back, as the jobs' requests go
            else:
                quiet += 1
                await asyncio.sleep(0)

    def _about_to_end(self, job: Any) -> bool:
        if job.status is JobStatus.CONCLUDED or not job.started:
            return False
        group = job.txn
        if group.failed or all(member.over for member in group.members):
            return job.status is not JobStatus.PENDING or all(member.auto_finalize for member in group.members)
        return False

    async def attempt(self, command: str, /, **arguments: Any) -> bool:
        """Run a command; False when it is refused, which is never wrong, whatever has been done before."""
        try:
            await self.lab.execute(command, **arguments)
        except QMPError:
            return False
        self.done.append(command)
        return True

    def new_name(self, kind: str) -> str:
        return f"{kind}{next(self.names)}"

    async def image(self, fmt: str, **options: Any) -> str:
        """An empty image, open as a node. Gives its name."""
        name = self.new_name("n")
        path = self.lab.file(name)
        if fmt == "qcow2":
            self.template.write_to(path)
        else:
            path.write_bytes(b"")
            with path.open("r+b") as file:
                file.truncate(LENGTH)
        self.faults[name] = await self.lab.add(name, fmt, **options)
        return name

    def written_nodes(self, disk: Disk) -> Iterator[str]:
        """The nodes that a guest's write goes through, down to the one that stores it."""
        node: BlockNode | None = disk.user.node
        while node is not None:
            yield node.node_name
            node = node.filtered

    def note_write(self, disk: Disk, offset: int, length: int) -> None:
        units = set(range(offset // UNIT, (offset + length - 1) // UNIT + 1))
        nodes = set(self.written_nodes(disk))
        for bitmap in self.bitmaps:
            if bitmap.node in nodes and bitmap.recording:
                (bitmap.must if bitmap.since is None else bitmap.since).update(units)

    async def guest_write(self, disk: Disk, offset: int, data: bytes, zero: bool) -> None:
        """A guest's write. What one that has failed leaves is anybody's guess: the model takes what is there."""
        self.note_write(disk, offset, len(data))
        try:
            if zero:
                data = bytes(len(data))
                await disk.user.pwrite_zeroes(offset, len(data), may_unmap=bool(offset & CLUSTER))
            else:
                await disk.user.pwritev(offset, data)
        except OSError:
            data = await self.without_faults(lambda: self.part(disk.user, offset, len(data)))
        disk.model[offset : offset + len(data)] = data

    async def part(self, user: BlockBackend | BlockNode, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        await user.preadv(offset, memoryview(buffer))
        return bytes(buffer)

    async def without_faults(self, request: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """What a request gives when nothing fails; the faults are back when the last of such requests is over."""
        if not self.spared:
            self.kept_rules = {name: fault.driver.rules for name, fault in self.faults.items()}
            for fault in self.faults.values():
                fault.driver.rules = RuleSet()
        self.spared += 1
        try:
            return await request()
        finally:
            self.spared -= 1
            if not self.spared:
                for name, rules in self.kept_rules.items():
                    self.faults[name].driver.rules = rules

    # What is done. Each rule does one thing, chosen by a seed: small numbers, which hypothesis prefers, make all sorts.

    @initialize(seed=SEED)
    def first_disk(self, seed: int) -> None:
        self.do(self.lab.execute("object-add", qom_type="throttle-group", id="unlimited"))
        self.do(self._add_disk(random.Random(seed)))

    @precondition(lambda self: len(self.disks) < MAX_DISKS)
    @rule(seed=SEED)
    def add_disk(self, seed: int) -> None:
        self.do(self._add_disk(random.Random(seed)))

    @rule(seed=SEED)
    def write(self, seed: int) -> None:
        self.do(self._write(random.Random(seed)))

    @rule(seed=SEED)
    def write_while_jobs_run(self, seed: int) -> None:
        """Guests write to all disks while jobs get to work."""
        self.do(self._burst(random.Random(seed)))

    @rule(seed=SEED)
    def flush_or_put_an_overlay_on(self, seed: int) -> None:
        rng = random.Random(seed)
        self.do(self._snapshot(rng) if rng.random() < 0.6 else self._flush(rng))

    @rule(seed=SEED)
    def change_bitmaps(self, seed: int) -> None:
        rng = random.Random(seed)
        change = rng.choice([self._add_bitmap, self._add_bitmap, self._merge_bitmaps, self._change_bitmap])
        self.do(change(rng))

    @rule(seed=SEED)
    def start_a_job(self, seed: int) -> None:
        rng = random.Random(seed)
        kinds = [*[self._start_backup] * 4, self._start_group, *[self._start_mirror] * 3]
        start = rng.choice([*kinds, self._start_commit, self._start_commit, self._start_stream])
        self.do(start(rng))

    @rule(seed=SEED)
    def start_another_job(self, seed: int) -> None:
        self.start_a_job(seed + 1)

    @rule(seed=SEED)
    def let_a_job_finish(self, seed: int) -> None:
        """Everything that a client does to see a job through."""
        self.do(self._finish(random.Random(seed)))

    @rule(seed=SEED)
    def use_a_verb(self, seed: int) -> None:
        self.do(self._verb(random.Random(seed)))

    @rule(seed=SEED)
    def let_something_fail(self, seed: int) -> None:
        self.do(self._inject(random.Random(seed)))

    @rule()
    def repair(self) -> None:
        self.repair_all()

    # Disks.

    async def _add_disk(self, rng: random.Random) -> None:
        name = await self.image(rng.choice(["raw", "qcow2"]))
        top = name
        filter_driver = rng.choice([None, *FILTERS])
        if filter_driver is not None:
            top = self.new_name("f")
            child, options = FILTERS[filter_driver]
            members = {"driver": filter_driver, "node_name": top, "discard": "unmap", child: name, **options}
            await self.lab.execute("blockdev-add", **members)
        self.disks.append(Disk(name, self.lab.guest(top), bytearray(LENGTH)))
        if rng.random() < 0.7:
            await self._make_bitmap(top, rng)
        for _ in range(rng.randrange(6)):
            await self._one_write(self.disks[-1], rng)

    async def _one_write(self, disk: Disk, rng: random.Random) -> None:
        length = rng.choice([512, 4096, 10_000, CLUSTER, 2 * CLUSTER])
        offset = rng.choice([rng.randrange(LENGTH - length), rng.randrange((LENGTH - length) // CLUSTER + 1) * CLUSTER])
        await self.guest_write(disk, offset, rng.randbytes(length), rng.random() < 0.25)

    async def _write(self, rng: random.Random) -> None:
        for _ in range(rng.randint(1, 3)):
            await self._one_write(rng.choice(self.disks), rng)

    async def _burst(self, rng: random.Random) -> None:
        await self._hurry(rng.random() < 0.5)
        writes = []
        for disk in self.disks:
            for place in rng.sample(range(8), 3):
                length = rng.choice([512, 4096, CLUSTER])
                offset = place * CLUSTER + rng.randrange(CLUSTER - length + 1)
                writes.append(self.guest_write(disk, offset, rng.randbytes(length), rng.random() < 0.3))
        await asyncio.gather(*writes)

    async def _flush(self, rng: random.Random) -> None:
        try:
            await rng.choice(self.disks).user.flush()
        except OSError:
            return

    async def _snapshot(self, rng: random.Random) -> None:
        overlay = await self.image("qcow2", backing=None)
        if not await self.attempt("blockdev-snapshot", node=rng.choice(self.disks).root, overlay=overlay):
            await self.drop(overlay)

    async def drop(self, name: str) -> None:
        """Delete a node that nobody uses, if so."""
        if await self.attempt("blockdev-del", node_name=name):
            self.faults.pop(name, None)
            self.bitmaps = [bitmap for bitmap in self.bitmaps if bitmap.node != name]

    # Bitmaps.

    async def _add_bitmap(self, rng: random.Random) -> None:
        nodes = [name for name in self.written_nodes(rng.choice(self.disks)) if not name.startswith("#")]
        await self._make_bitmap(nodes[rng.choice([0, 0, -1])], rng)

    async def _make_bitmap(self, node: str, rng: random.Random) -> None:
        name, disabled = self.new_name("b"), rng.random() < 0.2
        granularity = rng.choice([UNIT, CLUSTER])
        options = {"node": node, "name": name, "granularity": granularity, "disabled": disabled}
        if await self.attempt("block-dirty-bitmap-add", **options):
            self.bitmaps.append(Bitmap(node, name, granularity, not disabled))

    async def _change_bitmap(self, rng: random.Random) -> None:
        if not self.bitmaps:
            return
        bitmap, verb = rng.choice(self.bitmaps), rng.choice(["enable", "disable", "clear", "remove"])
        if not await self.attempt(f"block-dirty-bitmap-{verb}", node=bitmap.node, name=bitmap.name):
            return
        if verb == "remove":
            self.bitmaps.remove(bitmap)
        elif verb == "clear":
            bitmap.must.clear()
        else:
            bitmap.recording = verb == "enable"

    async def _merge_bitmaps(self, rng: random.Random) -> None:
        if len(self.bitmaps) < 2:
            return
        one, other = rng.sample(self.bitmaps, 2)
        part = {"node": one.node, "name": one.name}
        arguments = {"node": other.node, "target": other.name, "bitmaps": [part]}
        if await self.attempt("block-dirty-bitmap-merge", **arguments):
            other.must |= one.must

    # Jobs.

    async def _start_backup(self, rng: random.Random) -> None:
        sync = rng.choice(["full", "full", "top", "none", "bitmap", "bitmap"])
        running, arguments = await self._backup(rng.choice(self.disks), sync, rng)
        if running is None:
            return
        if await self.attempt("blockdev-backup", **arguments, **self.job_options(rng)):
            self.running.append(running)
        else:
            await self._never_began(running)

    def weaken(self, target: str, rng: random.Random) -> None:
        """Let one of the first requests of some targets fail, or all from there on."""
        if rng.random() < 0.25:
            event = rng.choice(["pwritev", "pwritev", "pwritev_done", "flush_to_disk"])
            self.faults[target].at_event(event, rng.randint(1, 4), rng.choice(ERRORS), once=rng.random() < 0.5)

    def job_options(self, rng: random.Random) -> dict[str, Any]:
        """Options that all jobs with two disks have."""
        policy = rng.choice(["report", "stop", "enospc"])
        return {
            "speed": CRAWL if rng.random() < 0.8 else 0,
            "auto_finalize": rng.random() < 0.8,
            "auto_dismiss": rng.random() < 0.8,
            "on_source_error": policy,
            "on_target_error": policy,
        }

    async def _backup(self, disk: Disk, sync: str, rng: random.Random) -> tuple[Running | None, dict[str, Any]]:
        """A backup to be, with its new target."""
        bitmap = None
        here = [one for one in self.bitmaps if one.node == disk.root and one.since is None]
        if sync == "bitmap":
            if not here:
                return None, {}
            bitmap = rng.choice(here)
        target = await self.image(rng.choice(["raw", "qcow2"]))
        self.weaken(target, rng)
        frozen = bytes(disk.model) if sync == "full" else None
        mode = rng.choice(["on-success", "on-success", "never"])
        running = Running(self.new_name("j"), "backup", disk, target, frozen, bitmap, mode == "never")
        arguments = {"job_id": running.job_id, "device": disk.root, "target": target, "sync": sync}
        if bitmap is not None:
            arguments |= {"bitmap": bitmap.name, "bitmap_mode": mode}
            bitmap.since = set()
        return running, arguments

    async def _never_began(self, running: Running) -> None:
        self._settle_bitmap(running, success=False)
        if running.target is not None:
            await self.drop(running.target)

    async def _start_group(self, rng: random.Random) -> None:
        """Backups of all disks at one point in time."""
        begun: list[Running] = []
        actions = []
        for disk in self.disks:
            running, arguments = await self._backup(disk, rng.choice(["full", "full", "bitmap"]), rng)
            if running is not None:
                begun.append(running)
                members = arguments | self.job_options(rng)
                data = {key.replace("_", "-"): value for key, value in members.items()}
                actions.append({"type": "blockdev-backup", "data": data})
        mode = {"completion-mode": rng.choice(["grouped", "individual"])}
        if await self.attempt("transaction", actions=actions, properties=mode):
            self.running += begun
        else:
            for running in begun:
                await self._never_began(running)

    async def _start_mirror(self, rng: random.Random) -> None:
        disk = rng.choice(self.disks)
        target = await self.image(rng.choice(["raw", "qcow2"]))
        self.weaken(target, rng)
        running = Running(self.new_name("j"), "mirror", disk, target)
        arguments = {"job_id": running.job_id, "device": disk.root, "target": target, "sync": "full"}
        arguments["copy_mode"] = rng.choice(["background", "write-blocking"])
        if await self.attempt("blockdev-mirror", **arguments, **self.job_options(rng)):
            self.running.append(running)
        else:
            await self.drop(target)

    async def _start_commit(self, rng: random.Random) -> None:
        """Commit images of a disk's chain into one below them; often the topmost."""
        disk = max(rng.sample(self.disks, min(2, len(self.disks))), key=lambda one: len(self.chain_of(one)))
        nodes = self.chain_of(disk)
        if len(nodes) < 2:
            return
        low = rng.randrange(1, len(nodes))
        members: dict[str, Any] = {"device": disk.root, "base_node": nodes[low]}
        if rng.random() < 0.6:
            members["top_node"] = nodes[rng.randrange(low)]
        await self._start_on_chain("block-commit", disk, members, rng)

    async def _start_stream(self, rng: random.Random) -> None:
        """Let an image take over what some or all images below it hold."""
        disk = rng.choice(self.disks)
        nodes = self.chain_of(disk)
        place = rng.randrange(max(len(nodes) - 1, 1))
        members: dict[str, Any] = {"device": nodes[place]}
        if rng.random() < 0.6 and place + 1 < len(nodes):
            members["base_node"] = rng.choice(nodes[place + 1 :])
        await self._start_on_chain("block-stream", disk, members, rng)

    def chain_of(self, disk: Disk) -> list[str]:
        """The nodes that a client knows of in a disk's chain."""
        nodes = [node.node_name for node in chain.chain(self.lab.graph.lookup(disk.root))]
        return [name for name in nodes if not name.startswith("#")]

    async def _start_on_chain(self, command: str, disk: Disk, members: dict[str, Any], rng: random.Random) -> None:
        running = Running(self.new_name("j"), command, disk)
        given = self.job_options(rng)
        options = {name: value for name, value in given.items() if "error" not in name}
        options["on_error"] = given["on_source_error"]
        if await self.attempt(command, job_id=running.job_id, **members, **options):
            self.running.append(running)

    async def _verb(self, rng: random.Random) -> None:
        """A verb that the job's state takes, mostly."""
        if not self.running:
            return
        job = self.lab.jobs.lookup(rng.choice(self.running).job_id)
        legal = [name for name, states in VERBS.items() if job.status in states]
        name = rng.choice(list(JobVerb) if rng.random() < 0.1 else legal)
        if name is JobVerb.PAUSE and job.user_paused:
            name = JobVerb.RESUME
        if name is JobVerb.SET_SPEED:
            await self.attempt("block-job-set-speed", device=job.job_id, speed=rng.choice([0, CRAWL]))
        elif name is JobVerb.CANCEL and rng.random() < 0.5:
            await self.attempt("block-job-cancel", device=job.job_id, force=rng.random() < 0.3)
        else:
            await self.attempt(f"job-{name}", id=job.job_id)

    async def _finish(self, rng: random.Random) -> None:
        if not self.running:
            return
        job_id = rng.choice(self.running).job_id
        await self.attempt("job-resume", id=job_id)
        await self.attempt("block-job-set-speed", device=job_id, speed=0)
        await self.settle()
        if rng.random() < 0.5:
            await self._write(rng)
        await self.attempt("job-complete", id=job_id)
        await self.settle()
        await self.attempt("job-finalize", id=job_id)

    # Errors.

    async def _inject(self, rng: random.Random) -> None:
        """Let requests fail where a job works, if there is one."""
        places = [name for one in self.running for name in (one.target, one.disk.root) if name in self.faults]
        fault = self.faults[rng.choice(places or list(self.faults))]
        error, once = rng.choice(ERRORS), rng.random() < 0.5
        if rng.random() < 0.5:
            iotype = rng.choice(["read", "write", "write", "write-zeroes", "flush", "block-status"])
            fault.at_sector(iotype, rng.randrange(8) * CLUSTER, error, once=once)
        else:
            events = ["read_aio", "write_aio", "cluster_alloc", "l2_update", "refblock_update", "pwritev"]
            fault.at_event(rng.choice(events), rng.randint(1, 3), error, once=once)
        await self._hurry(rng.random() < 0.7)

    async def _hurry(self, wanted: bool) -> None:
        for running in self.running if wanted else ():
            await self.attempt("block-job-set-speed", device=running.job_id, speed=0)

    def repair_all(self) -> None:
        for fault in self.faults.values():
            fault.repair()

    # What has ended.

    async def look_at_ends(self) -> None:
        """Judge the jobs that have ended since the last time."""
        still = []
        for running in self.running:
            job = self.lab.jobs.find(running.job_id)
            if job is not None and job.status is not JobStatus.CONCLUDED:
                still.append(running)
                continue
            await self._judge(running)
            if job is not None:
                await self.attempt("job-dismiss", id=running.job_id)
        self.running = still

    async def _judge(self, running: Running) -> None:
        ends = [line for line in self.lab.events.of(running.job_id) if line.startswith(("COMPLETED", "CANCELLED"))]
        assert len(ends) == 1, f"{running}: {ends}"
        success = ends[0] == "COMPLETED"
        self._settle_bitmap(running, success=success)
        if running.target is None:
            return
        if success:
            await self._judge_target(running, running.target)
        if self.lab.graph.lookup(running.target).monitor_owned and running.disk.root != running.target:
            self.faults[running.target].repair()
            await self.drop(running.target)

    async def _judge_target(self, running: Running, target: str) -> None:
        expected = running.frozen if running.kind == "backup" else bytes(running.disk.model)
        if expected is not None:
            content = await self.without_faults(lambda: self.lab.content(self.lab.graph.lookup(target)))
            assert content == expected, f"{running} is complete, and its target is not"

    def _settle_bitmap(self, running: Running, *, success: bool) -> None:
        bitmap = running.bitmap
        if bitmap is None or bitmap.since is None:
            return
        kept = running.keeps_bits or not success
        bitmap.must = bitmap.must | bitmap.since if kept else bitmap.since
        bitmap.since = None

    # What always holds.

    @invariant()
    def the_graph_is_sound(self) -> None:
        invariants.check(self.lab.graph, self.lab.jobs)

    @invariant()
    def no_write_is_lost(self) -> None:
        for disk in self.disks:
            content = self.loop.run_until_complete(self.without_faults(lambda disk=disk: self.lab.content(disk.user)))
            wrong = [at for at in range(0, LENGTH, 512) if content[at : at + 512] != disk.model[at : at + 512]]
            assert not wrong, f"{disk.name} is wrong at {wrong[0]} and {len(wrong) - 1} more sectors"

    @invariant()
    def no_bit_is_missing(self) -> None:
        for bitmap in self.bitmaps:
            bits = self.lab.graph.lookup(bitmap.node).bitmaps.lookup(bitmap.name).everything()
            wanted = bitmap.must | (bitmap.since or set())
            missing = sorted(unit for unit in wanted if not bits[unit * UNIT // bitmap.granularity])
            assert not missing, f"bitmap {bitmap.name} of {bitmap.node} lacks {missing}"

    def teardown(self) -> None:
        try:
            self.repair_all()
            self.do(self.cancel_all())
            self.no_write_is_lost()
            self.no_bit_is_missing()
            self.do(self.end())
        finally:
            self.loop.run_until_complete(self.lab.close())
            self.loop.close()
            shutil.rmtree(self.path)

    async def cancel_all(self) -> None:
        """Cancel what still runs."""
        for running in list(self.running):
            await self.attempt("job-cancel", id=running.job_id)

    async def end(self) -> None:
        """Look at what is left when all jobs have ended."""
        invariants.check_at_rest(self.lab.graph, self.lab.jobs)
        invariants.check_files(self.lab.graph, self.path)
        for disk in self.disks:
            disk.user.detach()
        images = [name for name in self.faults if self.lab.graph.lookup(name).driver.format_name == "qcow2"]
        await self.lab.graph.close_all()
        assert not self.lab.graph.nodes and not invariants.open_files(self.path)
        for name in images:
            support.check(self.lab.file(name))


RandomGraphs.TestCase.settings = settings(
    max_examples=count(30, 2000),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRandomGraphs = RandomGraphs.TestCase
