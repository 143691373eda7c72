"""Scripts as people have them for QEMU, run as they are: they know nothing of qmpd, and what they print is the same."""

import sys
from pathlib import Path

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import MIB
from iotests.harness.tools import assert_same, run

SCRIPTS = Path(__file__).with_name("scripts")


@pytest.fixture
def server(launch: Launcher) -> Server:
    """A server with a second monitor, which is left to the script."""
    return launch(monitors=2)


@pytest.fixture
def socket(server: Server) -> str:
    """The path of the second monitor."""
    return str(server.monitor_paths[1])


def test_python_with_the_legacy_interface(socket: str, scratch: Scratch) -> None:
    """qemu.qmp.legacy: commands, errors as replies, events waited for."""
    disk, copy = scratch.disk("disk", 4 * MIB, seed=1), scratch.disk("copy", 4 * MIB)
    said = run(sys.executable, SCRIPTS / "backup.py", socket, disk.path, copy.path).splitlines()
    assert said == [
        "QEMU 7, oob",
        "bitmap: {'return': {}, 'id': 'b1'}",
        "full: BLOCK_JOB_COMPLETED",
        "incremental: BLOCK_JOB_COMPLETED",
        "wrong: refused, GenericError",
        "then: BLOCK_EXPORT_DELETED",
        "nodes left: 0",
    ]
    assert_same(disk.path, copy.path)


def test_shell_through_socat(server: Server, socket: str) -> None:
    """All in one piece, in single quotes; errors among it, and an end."""
    said = run(SCRIPTS / "inventory.sh", socket).splitlines()
    assert said == [
        '"node-name": "two"',
        '"node-name": "one"',
        '"id": "it"',
        '"class": "CommandNotFound"',
        '"class": "GenericError"',
        '"id": "end"',
    ]
    assert server.wait_exit() == 0


def test_shell_through_nc(server: Server, socket: str, scratch: Scratch) -> None:
    """A dialogue: answers are looked for with patterns, so that blanks in them count."""
    disk, copy = scratch.disk("disk", MIB, seed=1), scratch.disk("copy", MIB)
    said = run(SCRIPTS / "mirror.sh", socket, disk.path, copy.path).splitlines()
    assert said == [
        "connected",
        *["ok"] * 3,
        'error: "GenericError"',
        "ok",
        "BLOCK_JOB_READY",
        "ok",
        "BLOCK_JOB_COMPLETED",
        "the end",
    ]
    assert server.wait_exit() == 0
    assert_same(disk.path, copy.path)
