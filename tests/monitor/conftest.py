"""Monitor tests run on uvloop, as the daemon does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from tests.monitor.rig import Rig


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A monitor on a Unix socket with a few commands of the tests' own."""
    rig = Rig(tmp_path / "qmp")
    await rig.start()
    try:
        yield rig
    finally:
        await rig.close()
