"""The file of a drive with `snapshot=on` has no name for longer than it takes to open it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from qmpd.block.drivers.qcow2 import creating
from tests.lab import Lab

LINE = "drive_add 0 if=none,id=d,file=null-co://,format=raw,snapshot=on"


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    lab = Lab(tmp_path)
    yield lab
    await lab.close()


async def test_it_is_open_and_has_no_name(lab: Lab) -> None:
    assert await lab.execute("human-monitor-command", command_line=LINE) == b'"OK\\r\\n"'
    assert list(lab.path.iterdir()) == []


async def test_it_cannot_be_written(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(creating, "create_in_file", fail)
    answer = orjson.loads(await lab.execute("human-monitor-command", command_line=LINE))
    assert "No space left" in answer
    assert list(lab.path.iterdir()) == [] and not lab.graph.nodes


async def test_nobody_waits_for_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client goes away while the file is being written."""
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()
    write = creating.create_in_file

    def slow(*arguments: Any) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)
        write(*arguments)

    monkeypatch.setattr(creating, "create_in_file", slow)
    adding = asyncio.ensure_future(lab.execute("human-monitor-command", command_line=LINE))
    await begun.wait()
    assert len(list(lab.path.iterdir())) == 1
    adding.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert list(lab.path.iterdir()) == [] and not lab.graph.nodes
