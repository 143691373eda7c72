"""Every kind of job while qemu-io writes to its disk, paused, resumed and changed in speed at random moments.

Whatever the job does to the chain of images, afterwards the disk shows all that was written, and a backup shows the
disk as it stood when the job began. Seeds are printed; `QMPD_SEED` runs each test once with that seed.
"""

import contextlib
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.chains import SIZE, Chain
from iotests.harness.images import KIB
from iotests.harness.qmp import QMPRefused
from iotests.harness.tools import qemu_img
from tests.soak import count

JOB = "j"
SPEEDS = (KIB, 64 * KIB, 1024 * KIB, 16 * 1024 * KIB)
WRITES = 250


@dataclass(frozen=True)
class Kind:
    """A kind of job on the chain i0 <- i1 <- i2 whose top is exported.

    :ivar arguments: of the command, besides job-id and speed.
    :ivar shows: which file shows the disk afterwards; None for the one that did before.
    :ivar target: the job has a qcow2 image `target` of its own.
    :ivar frozen: the target shows the disk as it stood at the start.
    """

    command: str
    arguments: dict[str, Any]
    shows: str | None = None
    target: bool = False
    frozen: bool = False


KINDS = {
    "backup": Kind("blockdev-backup", {"device": "i2", "target": "target", "sync": "full"}, target=True, frozen=True),
    "mirror": Kind("blockdev-mirror", {"device": "i2", "target": "target", "sync": "full"}, "target", target=True),
    "active-mirror": Kind(
        "blockdev-mirror",
        {"device": "i2", "target": "target", "sync": "full", "copy-mode": "write-blocking"},
        "target",
        target=True,
    ),
    "commit": Kind("block-commit", {"device": "i2", "top-node": "i1", "base-node": "i0"}),
    "active-commit": Kind("block-commit", {"device": "i2", "base-node": "i0"}, "i0"),
    "stream": Kind("block-stream", {"device": "i2"}),
    "stream-to-base": Kind("block-stream", {"device": "i2", "base-node": "i0"}),
}


def seeds() -> list[int]:
    """The seeds of this run."""
    if "QMPD_SEED" in os.environ:
        return [int(os.environ["QMPD_SEED"])]
    return [random.SystemRandom().getrandbits(32) for _ in range(count(1, 20))]


class Writer:
    """A qemu-io that writes all over the exported disk; the model has all of it from the start."""

    def __init__(self, uri: str, model: bytearray, generator: random.Random) -> None:
        self._commands = [self._command(model, generator, number) for number in range(WRITES)]
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "raw", uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    @staticmethod
    def _command(model: bytearray, generator: random.Random, number: int) -> str:
        length = generator.choice((1, 1, 8, 128, 300)) * 512
        offset = generator.randrange(0, len(model) - length + 1, 512)
        pattern = generator.choice((0, *range(1, 256)))
        model[offset : offset + length] = bytes([pattern]) * length
        if number % 40 == 39:
            return f"write -q -P {pattern} {offset} {length}\nflush"
        return f"write -q -z {offset} {length}" if pattern == 0 else f"write -q -P {pattern} {offset} {length}"

    def feed(self, parts: int) -> None:
        """Hand over one of so many equal parts of the writes."""
        assert self._process.stdin is not None
        size = -(-WRITES // parts)
        part, self._commands = self._commands[:size], self._commands[size:]
        self._process.stdin.write("".join(f"{command}\n" for command in part).encode())
        self._process.stdin.flush()

    def finish(self) -> None:
        """Wait until all is written."""
        self.feed(1)
        output, _ = self._process.communicate(timeout=120)
        text = output.decode(errors="backslashreplace")
        assert self._process.returncode == 0 and "failed" not in text and "error" not in text.lower(), text


def meddle(server: Server, generator: random.Random) -> None:
    """Do something to the job, which may have ended by itself meanwhile."""

    verb, arguments = generator.choice(
        (
            ("job-pause", {"id": JOB}),
            ("job-resume", {"id": JOB}),
            ("block-job-pause", {"device": JOB}),
            ("block-job-resume", {"device": JOB}),
            ("block-job-set-speed", {"device": JOB, "speed": generator.choice(SPEEDS)}),
            ("query-block-jobs", {}),
        )
    )
    with contextlib.suppress(QMPRefused):  # it was (not) paused already, or is over
        server.qmp.command(verb, arguments)


def let_it_end(server: Server) -> None:
    """Full speed, and completion where the job waits for it."""
    with contextlib.suppress(QMPRefused):
        server.qmp.command("block-job-set-speed", device=JOB, speed=0)
    with contextlib.suppress(QMPRefused):
        server.qmp.command("job-resume", id=JOB)
    while not server.qmp.seen("BLOCK_JOB_COMPLETED"):
        states = {job["id"]: job["status"] for job in server.qmp.command("query-jobs")}
        if states.get(JOB) == "ready":
            server.qmp.command("job-complete", id=JOB)
            break
    server.qmp.wait_job(JOB, "null")
    (end,) = server.qmp.seen("BLOCK_JOB_COMPLETED")
    assert "error" not in end.data, end


def add_target(server: Server, scratch: Scratch) -> Path:
    """An empty qcow2 image of the disk's length as the node `target`."""
    path = scratch / "target.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "target", "file": file})
    return path


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_lost(launch: Launcher, scratch: Scratch, name: str) -> None:
    kind = KINDS[name]
    for seed in seeds():
        print(f"QMPD_SEED={seed}", flush=True)
        generator = random.Random(seed)
        chain = Chain(scratch, [SIZE] * 3, seed=seed)
        server = launch()
        chain.add_to(server)
        target = add_target(server, scratch) if kind.target else None
        uri = server.export("i2")
        before = bytes(chain.model)
        server.qmp.command(kind.command, {"job-id": JOB, "speed": generator.choice(SPEEDS[:2]), **kind.arguments})
        writer = Writer(uri, chain.model, generator)
        for _ in range(8):
            writer.feed(8)
            meddle(server, generator)
        let_it_end(server)
        writer.finish()
        assert server.terminate() == 0
        if kind.frozen:
            assert target is not None
            chain.assert_shows_model(target, model=before)
            assert before != bytes(chain.model), "nothing was written: the test proves nothing"
        shown = {"target": target, "i0": chain.paths[0], None: chain.paths[2]}[kind.shows]
        assert shown is not None
        chain.assert_shows_model(shown)
        for path in (*chain.paths, *([target] if target else [])):
            path.unlink()
