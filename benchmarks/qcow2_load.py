"""Loads on qcow2 images: the backups and NBD requests of `block_load`, with the format in between.

Images are made by qemu-img for each sample from the raw ones of the stage, so both servers start from the same.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.block_load import dirty, requests_a_second, scattering_step, timed_backup
from benchmarks.stage import KIB, Stage
from iotests.harness import Server
from iotests.harness.tools import qemu_img

_EMPTY = 4 << 30


def _add(server: Server, path: Path, node: str) -> None:
    file = {"driver": "file", "filename": str(path)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": node, "discard": "unmap", "file": file})


@contextlib.contextmanager
def _image(stage: Stage, name: str, source: Path | None, length: int) -> Iterator[Path]:
    """A qcow2 image with the contents of `source`, or empty; gone after the sample."""
    path = stage.directory / f"{name}.qcow2"
    if source is None:
        qemu_img("create", "-q", "-f", "qcow2", path, str(length))
    else:
        qemu_img("convert", "-f", "raw", "-O", "qcow2", source, path)
    try:
        yield path
    finally:
        path.unlink()


@contextlib.contextmanager
def _disks(stage: Stage) -> Iterator[Server]:
    """A server with the sparse image as the node `disk`, and an empty one of its length as `target`."""
    with (
        _image(stage, "source", stage.sparse.path, stage.sparse.length) as source,
        _image(stage, "target", None, stage.sparse.length) as target,
        stage.server() as server,
    ):
        _add(server, source, "disk")
        _add(server, target, "target")
        yield server


def full_backup(stage: Stage) -> float:
    """Seconds for a full backup of the sparse image."""
    with _disks(stage) as server:
        stage.settle(for_a_copy=True)
        return timed_backup(server, "full")


def incremental_backup(stage: Stage) -> float:
    """Seconds for an incremental backup of one percent of the image."""
    with _disks(stage) as server:
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        dirty(server.export("disk"), stage.sparse.length)
        server.qmp.command("block-export-del", id="export-disk", mode="hard")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        stage.settle(for_a_copy=True)
        return timed_backup(server, "incremental", bitmap="b")


def _requests(stage: Stage, source: Path | None, length: int, number: int, *, write: bool) -> float:
    step = scattering_step(length, 4 * KIB)
    with _image(stage, "disk", source, length) as path, stage.server() as server:
        _add(server, path, "disk")
        uri = server.export("disk")
        stage.settle()
        return requests_a_second(uri, size=4 * KIB, depth=16, number=number, step=step, write=write)


def read_4k_16(stage: Stage) -> float:
    """4 KiB reads all over an allocated image, 16 in flight."""
    return _requests(stage, stage.dense.path, stage.dense.length, stage.sizes.requests * 4, write=False)


def write_empty(stage: Stage) -> float:
    """4 KiB writes all over an empty image, 16 in flight: nearly each allocates a cluster."""
    return _requests(stage, None, _EMPTY, stage.sizes.requests, write=True)
