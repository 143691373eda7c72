"""A backup is the disk as it stood when its transaction committed, whatever is written to it meanwhile.

Seeds are printed; `QMPD_SEED` runs a test once with that seed.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from iotests.harness import Disk, Scratch, Server
from iotests.harness.backups import SLOW, Volume, with_target
from iotests.harness.images import KIB, MIB
from tests.soak import count

LENGTH = 8 * MIB
BLOCK = 4 * KIB


def seeds() -> Iterator[int]:
    """The seeds of this run, each printed before it is used."""
    if "QMPD_SEED" in os.environ:
        chosen = [int(os.environ["QMPD_SEED"])]
    else:
        chosen = [random.SystemRandom().getrandbits(32) for _ in range(count(5, 50))]
    for seed in chosen:
        print(f"QMPD_SEED={seed}", flush=True)
        yield seed


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a single byte value; offset and length are multiples of `BLOCK`."""

    offset: int
    length: int
    value: int

    def apply(self, contents: bytearray) -> None:
        """Do it to a model of the disk."""
        contents[self.offset : self.offset + self.length] = bytes([self.value]) * self.length


def writes(generator: random.Random, number: int) -> list[Write]:
    """Writes all over the disk, many of them overlapping."""
    made = []
    for _ in range(number):
        length = BLOCK * generator.choice((1, 1, 2, 5, 16, 40))
        offset = BLOCK * generator.randrange((LENGTH - length) // BLOCK + 1)
        made.append(Write(offset, length, generator.randrange(1, 256)))
    return made


class Writer:
    """A qemu-io that works through its commands while the test goes on."""

    def __init__(self, uri: str) -> None:
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "raw", uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def feed(self, commands: list[str]) -> None:
        """Hand over commands; blocks when qemu-io falls behind by more than a pipe's worth."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{command}\n" for command in commands).encode())
        self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until all is written."""
        output, _ = self._process.communicate(timeout=120)
        text = output.decode(errors="backslashreplace")
        assert self._process.returncode == 0 and "failed" not in text and "error" not in text.lower(), text


def concurrent(made: list[Write]) -> list[str]:
    """qemu-io commands that keep several of the writes in flight, with a flush now and then."""
    commands = []
    for number, write in enumerate(made):
        commands.append(f"aio_write -q -P {write.value} {write.offset} {write.length}")
        if number % 16 == 15:
            commands.append("aio_flush")
    return [*commands, "aio_flush"]


def one_by_one(made: list[Write]) -> list[str]:
    """qemu-io commands of which each waits for the one before."""
    return [f"write -q -P {write.value} {write.offset} {write.length}" for write in made]


@pytest.fixture
def copy(server: Server, scratch: Scratch) -> Volume:
    """A disk with noise and holes, its target, and an export."""
    disk = scratch.disk("disk", LENGTH, seed=11, pieces=60)
    made = with_target(server, scratch, disk)
    server.export("disk")
    return made


def refill(disk: Disk, seed: int) -> None:
    """Other contents for the next run, written behind the server's back while nobody else reads or writes."""
    disk.scatter(random.Random(seed), 20, 256 * KIB)


def test_copy_equals_the_disk_at_the_commit(server: Server, scratch: Scratch, copy: Volume) -> None:
    """The disk is idle at the commit and copied aside; then it is overwritten everywhere while the job runs."""
    for seed in seeds():
        generator = random.Random(seed)
        refill(copy.disk, seed)
        job = copy.start(speed=SLOW, x_perf={"max-workers": generator.choice((1, 3, 64))})
        reference = scratch.copy(copy.disk, "reference")
        writer = Writer(server.nbd_uri("disk"))
        writer.feed(concurrent(writes(generator, 200)))
        server.qmp.command("block-job-set-speed", device=job, speed=0)
        writer.finish()
        server.qmp.wait_job(job, "null")
        copy.assert_target_is(reference)
        assert not copy.target_is(copy.disk), "nothing was written: the test proves nothing"


def test_copy_is_one_moment_of_a_stream_of_writes(server: Server, scratch: Scratch, copy: Volume) -> None:
    """The commit falls between two writes of a stream: the copy holds the first so many, and none of the rest."""
    for seed in seeds():
        generator = random.Random(seed)
        start = bytearray(copy.disk.path.read_bytes())
        made = writes(generator, 600)
        early = generator.randrange(100, 300)
        writer = Writer(server.nbd_uri("disk"))
        writer.feed(one_by_one(made[:early]))
        copy.start()
        writer.feed(one_by_one(made[early:]))
        writer.finish()
        server.qmp.wait_job(copy.job, "null")
        moment = moment_of(start, made, copy.target.path.read_bytes())
        assert moment is not None, f"the copy is the disk at no moment (seed {seed})"
        for write in made[:moment]:
            write.apply(start)
        moment_disk = scratch.disk("moment", LENGTH)
        moment_disk.write(0, bytes(start))
        copy.assert_target_is(moment_disk)


def moment_of(start: bytearray, made: list[Write], copied: bytes) -> int | None:
    """After how many of the writes the disk was what was copied; None if it never was."""
    contents = bytearray(start)
    wrong = {
        offset
        for offset in range(0, LENGTH, BLOCK)
        if contents[offset : offset + BLOCK] != copied[offset : offset + BLOCK]
    }
    for number, write in enumerate(made):
        if not wrong:
            return number
        write.apply(contents)
        for offset in range(write.offset, write.offset + write.length, BLOCK):
            if contents[offset : offset + BLOCK] == copied[offset : offset + BLOCK]:
                wrong.discard(offset)
            else:
                wrong.add(offset)
    return None if wrong else len(made)


def test_incremental_chain_under_load(server: Server, scratch: Scratch, copy: Volume) -> None:
    """Incrementals taken while writes go on: when the writes stop, the next one makes the target equal the disk."""
    generator = random.Random(12)
    server.transaction(("block-dirty-bitmap-add", {"node": "disk", "name": "b"}), ("blockdev-backup", copy.backup()))
    server.qmp.wait_job(copy.job, "null")
    for _ in range(count(4, 40)):
        writer = Writer(server.nbd_uri("disk"))
        writer.feed(concurrent(writes(generator, 60)))
        copy.run("incremental", bitmap="b")
        writer.finish()
        copy.run("incremental", bitmap="b")
        copy.assert_target_is(copy.disk)
        assert server.bitmaps("disk")["b"]["count"] == 0
