"""What the recorder stores when nobody waits for it: all that nobody can refuse any more, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qmpd.catalog import objects, services
from qmpd.catalog.catalog import Catalog, sqlite_url
from qmpd.state import recorder as recorder_module
from qmpd.state.configuration import Configuration, ObjectState
from qmpd.state.recorder import StateRecorder


class Graph:
    """As much of a graph as the recorder needs while there are no nodes."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self.lock:
            yield


class Parts:
    """A daemon of objects only, and who looks at it.

    :ivar when_seen: called by the next look, once.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.when_seen: Callable[[], None] = lambda: None

    def look(self) -> Configuration:
        found = Configuration({name: ObjectState(name, "iothread", {}) for name in self.names}, {}, None, {}, {})
        when_seen, self.when_seen = self.when_seen, lambda: None
        when_seen()
        return found


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"), service_id="one")
    await catalog.open()
    await services.register(
        catalog.context(), host="host", name="name", pid=1, boot_id="boot", state_dir="/state", version="0"
    )
    yield catalog
    await catalog.close()


@pytest.fixture
async def parts() -> Parts:
    return Parts()


@pytest.fixture
async def recorder(catalog: Catalog, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> StateRecorder:
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0)
    nobody: Any = None
    graph: Any = Graph()
    observer: Any = parts
    return StateRecorder(catalog, nobody, graph, observer, nobody, nobody)


async def stored(catalog: Catalog, *names: str) -> None:
    """Wait until the catalog has these objects."""
    async with asyncio.timeout(30):
        while [found.object_id for found in await objects.restorable(catalog.context())] != list(names):
            pass


async def test_a_bug_does_not_end_it(
    catalog: Catalog, parts: Parts, recorder: StateRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and what comes later is stored."""

    def fail() -> None:
        raise ValueError("a bug")

    parts.names, parts.when_seen = ["a"], fail
    with caplog.at_level(logging.ERROR):
        recorder.later()
        await stored(catalog, "a")
    assert "a bug" in caplog.text


async def test_a_change_while_it_stores(catalog: Catalog, parts: Parts, recorder: StateRecorder) -> None:
    """What comes too late for one look is seen by the next."""

    def change() -> None:
        parts.names = ["a", "b"]
        recorder.later()

    parts.names, parts.when_seen = ["a"], change
    recorder.later()
    await stored(catalog, "a", "b")


async def test_nobody_sees_what_is_half_done(catalog: Catalog, parts: Parts, recorder: StateRecorder) -> None:
    """Who does not hold the graph waits for whoever does."""
    graph: Any = recorder._graph
    async with graph.exclusive():
        parts.names = ["half-done"]
        saving = asyncio.create_task(recorder.hold_and_save(catalog.context()))
        recorder.later()
        for _ in range(10):
            await asyncio.sleep(0)
        parts.names = ["done"]
    await saving
    await stored(catalog, "done")
    await recorder.close()
