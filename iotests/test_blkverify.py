"""The filter that compares an image with a raw copy."""

import json
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import MIB, Disk
from iotests.harness.tools import assert_same, qemu_io, qemu_io_fails

SIZE = 4 * MIB


def options(raw: Disk, test: Path) -> dict[str, Any]:
    """The options of a node over a qcow2 image and its copy."""
    image = {"driver": "qcow2", "file": {"driver": "file", "filename": str(test)}}
    return {"driver": "blkverify", "raw": {"driver": "file", "filename": str(raw.path)}, "test": image}


def test_equal(server: Server, scratch: Scratch) -> None:
    """As long as both are equal nobody notices; both take the writes."""
    raw, test = scratch.disk("raw", SIZE), scratch.made_by_qemu_img("test", SIZE, "qcow2").path
    server.qmp.command("blockdev-add", {**options(raw, test), "node-name": "n"})
    uri = server.export("n")
    qemu_io(uri, "write -P 1 1000 100000", "discard 0 64k", "read -P 1 1000 1000", "flush", "write -P 2 2M 1M")
    if server.kind == "qmpd":  # QEMU 7.2 dies of a request to write zeroes
        qemu_io(uri, "write -z 2M 64k", "read -P 0 2M 64k", "read -P 2 2162688 64k")
    server.qmp.refused("block_resize", node_name="n", size=2 * SIZE)
    server.terminate()
    assert_same(raw.path, test, other_format="qcow2")


@pytest.mark.qmpd_only("QEMU ends itself")
def test_different(server: Server, scratch: Scratch) -> None:
    raw, test = scratch.disk("raw", SIZE), scratch.made_by_qemu_img("test", SIZE, "qcow2").path
    qemu_io(test, "write -P 1 1M 512", image_format="qcow2")
    server.qmp.command("blockdev-add", {**options(raw, test), "node-name": "n"})
    uri = server.export("n")
    qemu_io(uri, "read 0 1M", "read 1049088 1M")
    qemu_io_fails(uri, "read 0 2M")
    qemu_io(uri, "write -P 2 1M 512", "read 0 2M")


@pytest.mark.qmpd_only("QEMU finds out when it reads")
def test_copy_that_is_too_small(server: Server, scratch: Scratch) -> None:
    raw, test = scratch.disk("raw", SIZE // 2), scratch.made_by_qemu_img("test", SIZE, "qcow2").path
    server.qmp.refused("blockdev-add", {**options(raw, test), "node-name": "n"})
    assert server.node_names() == set()


@pytest.mark.qmpd_only("QEMU shows a name of its own")
def test_name(server: Server, scratch: Scratch) -> None:
    """The name that it is shown under opens the same again."""
    raw, test = scratch.disk("raw", SIZE), scratch.made_by_qemu_img("test", SIZE, "qcow2").path
    server.qmp.command("blockdev-add", {**options(raw, test), "node-name": "n"})
    nodes = server.qmp.command("query-named-block-nodes", flat=True)
    name = next(entry["file"] for entry in nodes if entry["node-name"] == "n")
    assert json.loads(name.removeprefix("json:")) == options(raw, test)
