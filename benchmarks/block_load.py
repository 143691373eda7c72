"""Loads on the data path: backups, and an NBD export under qemu-img bench and nbdcopy.

Images are in the page cache, targets start empty, and what earlier samples left dirty is written back first.
"""

import random
import re
import subprocess
import time

from benchmarks.stage import KIB, Stage
from iotests.harness import Server
from iotests.harness.tools import run

_CLUSTER = 64 * KIB
_LONG = 600.0


def timed_backup(server: Server, sync: str, **options: str) -> float:
    """Seconds from sending the command to the event that the job completed."""
    qmp = server.qmp
    qmp.patience = _LONG
    start = time.perf_counter()
    qmp.command("blockdev-backup", job_id="j", device="disk", target="target", sync=sync, **options)
    event = qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
    elapsed = time.perf_counter() - start
    assert "error" not in event.data, event
    return elapsed


def full_backup(stage: Stage) -> float:
    """Seconds for a full backup of the sparse image to an empty raw file."""
    stage.read([stage.sparse])
    with stage.target() as target, stage.server() as server:
        server.add_raw(stage.sparse, "disk")
        server.add_raw(target, "target")
        stage.settle(for_a_copy=True)
        return timed_backup(server, "full")


def incremental_backup(stage: Stage) -> float:
    """Seconds for an incremental backup of one percent of the image, in clusters all over it."""
    stage.read([stage.sparse])
    with stage.target() as target, stage.server() as server:
        server.add_raw(stage.sparse, "disk")
        server.add_raw(target, "target")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        dirty(server.export("disk"), stage.sparse.length)
        server.qmp.command("block-export-del", id="export-disk", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        stage.settle(for_a_copy=True)
        return timed_backup(server, "incremental", bitmap="b")


def dirty(uri: str, length: int) -> None:
    """Write one percent of the clusters, through the server."""
    clusters = length // _CLUSTER
    chosen = random.Random(3).sample(range(clusters), clusters // 100)
    commands = "".join(f"write -q -P 85 {cluster * _CLUSTER} {_CLUSTER}\n" for cluster in chosen)
    done = subprocess.run(
        ["qemu-io", "-f", "raw", uri], input=commands, capture_output=True, text=True, timeout=_LONG, check=True
    )
    assert "failed" not in done.stdout + done.stderr, done.stdout


def scattering_step(length: int, size: int) -> int:
    """A step in bytes that takes qemu-img bench all over an image of `length` in requests of `size`.

    qemu-img bench adds the step to the offset, modulo the length. An odd number of requests near the golden section
    of their count visits each place once before it comes back to the first, and never stays near the last one. The
    step has to stay below 2 GiB.
    """
    places = length // size
    step = round(places * 0.381966) | 1
    while step * size >= 1 << 31:
        step = (step // 2) | 1
    return step * size


def _nbd_bench(stage: Stage, *, size: int, depth: int, number: int, write: bool = False) -> float:
    """Requests a second of qemu-img bench on an export of the dense image."""
    stage.read([stage.dense])
    step = scattering_step(stage.dense.length, size)
    with stage.server() as server:
        server.add_raw(stage.dense, "disk")
        uri = server.export("disk")
        stage.settle()
        return requests_a_second(uri, size=size, depth=depth, number=number, step=step, write=write)


def requests_a_second(uri: str, *, size: int, depth: int, number: int, step: int, write: bool) -> float:
    """What qemu-img bench makes of an export."""
    words = ["-f", "raw", "-c", str(number), "-d", str(depth), "-s", str(size), "-S", str(step)]
    output = run("qemu-img", "bench", *words, *(["-w"] if write else []), uri)
    seconds = re.search(r"completed in ([0-9.]+) seconds", output)
    assert seconds is not None, output
    return number / float(seconds[1])


def read_4k_1(stage: Stage) -> float:
    """4 KiB reads all over the image, one at a time."""
    return _nbd_bench(stage, size=4 * KIB, depth=1, number=stage.sizes.requests)


def read_4k_16(stage: Stage) -> float:
    """4 KiB reads all over the image, 16 in flight."""
    return _nbd_bench(stage, size=4 * KIB, depth=16, number=stage.sizes.requests * 4)


def write_4k_1(stage: Stage) -> float:
    """4 KiB writes all over the image, one at a time."""
    return _nbd_bench(stage, size=4 * KIB, depth=1, number=stage.sizes.requests, write=True)


def write_4k_16(stage: Stage) -> float:
    """4 KiB writes all over the image, 16 in flight."""
    return _nbd_bench(stage, size=4 * KIB, depth=16, number=stage.sizes.requests * 4, write=True)


def read_256k(stage: Stage) -> float:
    """256 KiB reads all over the image, 4 in flight."""
    return _nbd_bench(stage, size=256 * KIB, depth=4, number=stage.sizes.requests // 2)


def nbdcopy_image(stage: Stage) -> float:
    """Seconds for nbdcopy to read the sparse image, holes and all, and throw it away."""
    stage.read([stage.sparse])
    with stage.server() as server:
        server.add_raw(stage.sparse, "disk", read_only=True)
        uri = server.export("disk", writable=False)
        stage.settle()
        start = time.perf_counter()
        run("nbdcopy", uri, "null:")
        return time.perf_counter() - start
