"""Helpers for tests of mirrors: starting and ending the job, its story in words, and guests that write meanwhile."""

import random
import subprocess
from typing import Any

from iotests.harness import nbd as wire
from iotests.harness.images import KIB, MIB, Disk
from iotests.harness.nbd import RawNbd
from iotests.harness.repeating import Repeating
from iotests.harness.servers import Server

LEN = 4 * MIB
JOB = "j"


def mirror(
    server: Server, device: str = "disk", target: str = "disk-target", sync: str = "full", **options: Any
) -> None:
    """Start a mirror as job `JOB`."""
    server.qmp.command("blockdev-mirror", job_id=JOB, device=device, target=target, sync=sync, **options)


def ready(server: Server, job: str = JOB) -> None:
    """Wait until the job has become ready."""
    server.qmp.wait_event("BLOCK_JOB_READY", device=job)


def complete(server: Server, job: str = JOB) -> None:
    """Let a ready job switch over; return when it is gone."""
    server.qmp.command("job-complete", id=job)
    server.qmp.wait_job(job, "null")
    end = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=job)
    assert "error" not in end.data, end


def story(server: Server, job: str = JOB) -> list[str]:
    """The job's events so far, in words: states in small letters, others without their prefix."""
    words: list[str] = []
    for event in server.qmp.events:
        if event.data.get("id", event.data.get("device")) != job:
            continue
        if event.name == "JOB_STATUS_CHANGE":
            words.append(event.data["status"])
        else:
            error = " error" if "error" in event.data else ""
            words.append(event.name.removeprefix("BLOCK_JOB_") + error)
    return words


BEGIN = ["created", "running"]
READY = [*BEGIN, "ready", "READY"]
SUCCESS = ["waiting", "pending", "COMPLETED", "concluded", "null"]
CANCELLED = ["aborting", "CANCELLED", "concluded", "null"]


def assert_nothing_left(server: Server, nodes: set[str]) -> None:
    """No job and no filter; every node can be deleted by whoever made it."""
    assert server.qmp.command("query-jobs") == []
    assert server.node_names() == nodes


def exported_node(server: Server) -> str:
    """The node under the one export."""
    (export,) = server.qmp.command("query-block-exports")
    return str(export["node-name"])


class Guest(Repeating[RawNbd]):
    """Writes to an export all the time, and keeps a file with what should be there.

    :param model: a copy of the disk.
    """

    def __init__(self, server: Server, export: str, model: Disk, seed: int = 1) -> None:
        super().__init__(RawNbd.attached(server.nbd_path, export))
        self._model = model
        self._random = random.Random(seed)

    def step(self) -> None:
        choose = self._random
        length = min(choose.choice([512, 4 * KIB, 60 * KIB, 64 * KIB, 200 * KIB]), self._model.length)
        offset = choose.randrange(0, (self._model.length - length) // 512 + 1) * 512
        if choose.random() < 0.25:
            flags = choose.choice([0, wire.NO_HOLE])
            reply = self._client.request(wire.WRITE_ZEROES, offset, length, flags)
            data = bytes(length)
        else:
            data = choose.randbytes(length)
            reply = self._client.request(wire.WRITE, offset, length, data=data)
        assert reply.error == 0, reply
        self._model.write(offset, data)


class Load:
    """A qemu-io process that writes to an export for a while; the model gets the same."""

    def __init__(self, server: Server, export: str, model: Disk, *, seed: int, writes: int = 400) -> None:
        choose = random.Random(seed)
        words = ["qemu-io", "-f", "raw"]
        for _ in range(writes):
            length = choose.choice([512, 4 * KIB, 64 * KIB, 130 * KIB])
            offset = choose.randrange(0, (model.length - length) // 512 + 1) * 512
            if choose.random() < 0.2:
                words += ["-c", f"write -z {offset} {length}"]
                model.write(offset, bytes(length))
            else:
                pattern = choose.randint(1, 255)
                words += ["-c", f"write -P {pattern} {offset} {length}"]
                model.write(offset, bytes([pattern]) * length)
        self._process = subprocess.Popen(
            [*words, server.nbd_uri(export)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def finish(self) -> None:
        """Wait for its end; every write has to have succeeded."""
        output, _ = self._process.communicate(timeout=90)
        assert self._process.returncode == 0 and b"failed" not in output, output
