"""The demo as a whole: it succeeds, leaves nothing behind, and does not claim what it has not seen."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qmpd.ctl.demo.layers import Layers
from qmpd.ctl.demo.narrator import Narrator
from qmpd.ctl.demo.server import Server
from qmpd.ctl.demo.story import CheckFailed, Story
from qmpd.ctl.failure import CommandFailed, ConnectFailed
from qmpd.ctl.session import Address, Session, connect

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files go where the test sees what is left of them; QEMU is not there."""
    return os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/nowhere"}


def test_the_demo_holds_without_qemu_and_cleans_up(tmp_path: Path, environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "qmpd.ctl.demo"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "BLOCK_JOB_COMPLETED" in done.stdout
    assert "BLOCK_JOB_CANCELLED" in done.stdout
    assert "qemu-img is not installed" in done.stdout
    assert "index-inc.qcow2 reads as the disk stood" in done.stdout
    assert done.stdout.rstrip().endswith("checks held.")
    assert list(tmp_path.iterdir()) == []


async def test_a_daemon_that_does_not_come_up(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="ended at once, with status 3"):
        async with Server(tmp_path, (sys.executable, "-c", "raise SystemExit(3)")).running():
            pass


async def test_the_daemon_ends_with_its_block_even_after_a_failure(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with pytest.raises(CheckFailed):
        async with server.running() as session:
            await session.execute("query-version")
            raise CheckFailed("on purpose")
    with pytest.raises(ConnectFailed):
        async with connect(Address(path=str(server.qmp))):
            pass


class Forgetful(Session):
    """A session with a daemon that loses a bitmap's contents behind the story's back."""

    async def execute(self, command: str, arguments: object = None, *, oob: bool = False) -> object:  # type: ignore[override]
        result = await super().execute(command, arguments, oob=oob)  # type: ignore[arg-type]
        if command == "query-named-block-nodes":
            await self.clear()
        return result

    async def clear(self) -> None:
        with contextlib.suppress(CommandFailed):
            await super().execute("block-dirty-bitmap-clear", {"node": "tables", "name": "since-backup"})


async def test_a_lost_bitmap_is_noticed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with pytest.raises(CheckFailed):
        async with server.running() as session:
            session.__class__ = Forgetful
            await Story(tmp_path, server, session, Narrator()).tell()


class Tampering(Layers):
    """A chapter whose last backup is not what the disk was."""

    async def _verify(self) -> None:
        with open(self._expected("index-inc"), "r+b") as file:
            file.seek(12 << 20)
            byte = file.read(1)[0]
            file.seek(12 << 20)
            file.write(bytes([byte ^ 1]))
        await super()._verify()


@pytest.mark.parametrize("with_qemu", [True, False])
async def test_a_wrong_qcow2_backup_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_qemu: bool
) -> None:
    if not with_qemu:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CheckFailed, match=r"index-inc\.qcow2"):
        await Tampering(tmp_path, Narrator()).tell()
