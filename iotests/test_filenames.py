"""The names by which images name their backing files: paths, protocols and options, as QEMU takes them."""

import json
from typing import Any

import pytest

from iotests.harness import Scratch, Server
from iotests.harness.images import MIB
from iotests.harness.tools import qemu_img

SIZE = MIB


def node(server: Server, name: str) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes."""
    nodes: list[dict[str, Any]] = server.qmp.command("query-named-block-nodes")
    return next(entry for entry in nodes if entry["node-name"] == name)


def drivers(server: Server) -> list[str]:
    """The drivers of all nodes."""
    return sorted(entry["drv"] for entry in server.qmp.command("query-named-block-nodes", flat=True))


def overlay(server: Server, scratch: Scratch, backing: str, backing_format: str | None) -> dict[str, Any]:
    """The entry of an image that is opened over the backing file that its header names."""
    top = scratch.made_by_qemu_img("top", SIZE, "qcow2").path
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", backing, "-F", backing_format or "raw", top)
    if backing_format is None:
        # What becomes of the extension that holds the format is that nobody knows it any more.
        content = top.read_bytes()
        top.write_bytes(content.replace(b"\xe2\x79\x2a\xca", b"\x11\x22\x33\x44", 1))
    file = {"driver": "file", "filename": str(top)}
    server.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "top", "file": file})
    return node(server, "top")


def as_json(**options: Any) -> str:
    return "json:" + json.dumps(options)


@pytest.mark.parametrize(
    ("name", "backing_format", "below"),
    [
        ("base.img", "raw", ["file", "raw"]),
        ("base.img", None, ["file", "raw"]),
        ("base.img", "file", ["file"]),
        ("BASE", "raw", ["file", "raw"]),
        ("file:BASE", "raw", ["file", "raw"]),
        ("blkdebug::BASE", "raw", ["blkdebug", "file", "raw"]),
        ("blkdebug::BASE", None, ["blkdebug", "file", "raw"]),
        ("JSON-FILE", None, ["file"]),
        ("JSON-RAW", "raw", ["file", "raw"]),
        ("JSON-DOTTED", "raw", ["file", "raw"]),
        ("JSON-DOTTED", None, ["file", "raw"]),
        ("JSON-QCOW2", "raw", ["file", "raw"]),
        ("null-co://", "raw", ["null-co", "raw"]),
    ],
)
def test_backing_names(
    server: Server, scratch: Scratch, name: str, backing_format: str | None, below: list[str]
) -> None:
    """An image's name for its backing file leads to the same nodes, shown under the same names."""
    path = str(scratch.disk("base", SIZE).path)
    described = {
        "JSON-FILE": as_json(driver="file", filename=path),
        "JSON-RAW": as_json(driver="raw", file={"driver": "file", "filename": path}),
        "JSON-DOTTED": as_json(**{"file.filename": path}),
        "JSON-QCOW2": as_json(driver="qcow2", file={"driver": "file", "filename": path}),
    }
    given = described.get(name) or name.replace("BASE", path)
    entry = overlay(server, scratch, given, backing_format)
    assert drivers(server) == sorted([*below, "file", "qcow2"])
    shown = path if "base" in given and not given.startswith("blkdebug:") else given
    assert entry["backing_file"] == shown
    assert entry["image"]["backing-image"]["filename"] == shown
    assert entry["image"]["full-backing-filename"] == (path if given == "base.img" else given)


@pytest.mark.parametrize(
    "name", ["foo:x", "file:base.img", "json:{bad", "json:[]", "blkdebug:base.img", "null-co://x", "missing"]
)
def test_names_of_no_use(server: Server, scratch: Scratch, name: str) -> None:
    """What leads nowhere is refused when the image is opened. (A path after `file:` is no name beside the image.)"""
    scratch.disk("base", SIZE)
    top = scratch.made_by_qemu_img("top", SIZE, "qcow2").path
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", name, "-F", "raw", top)
    file = {"driver": "file", "filename": str(top)}
    server.qmp.refused("blockdev-add", {"driver": "qcow2", "node-name": "top", "file": file})
    assert server.node_names() == set()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"driver": "null-co"}, "null-co://"),
        ({"driver": "null-aio", "latency-ns": 1}, "null-aio://"),
        ({"driver": "null-co", "size": 4096}, {"driver": "null-co", "size": 4096}),
        ({"driver": "blkdebug", "image": {"driver": "null-co"}}, "blkdebug::null-co://"),
        ({"driver": "raw", "file": {"driver": "null-co"}}, "null-co://"),
        (
            {"driver": "raw", "file": {"driver": "null-co", "read-zeroes": True}},
            {"driver": "raw", "file": {"driver": "null-co", "read-zeroes": True}},
        ),
        (
            {"driver": "raw", "size": 4096, "file": {"driver": "null-co"}},
            {"driver": "raw", "size": 4096, "file": {"driver": "null-co"}},
        ),
    ],
)
def test_shown_names(server: Server, options: dict[str, Any], name: str | dict[str, Any]) -> None:
    """A node is shown under the name that leads to it, or with its options where no name does."""
    server.qmp.command("blockdev-add", {**options, "node-name": "n"})
    shown = node(server, "n")["file"]
    assert (json.loads(shown.removeprefix("json:")) if shown.startswith("json:") else shown) == name
