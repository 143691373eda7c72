"""Files and graphs after snapshots that came to nothing, in places that no client can reach on purpose."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS
from qmpd.block.new_file import NewFile
from qmpd.block.services import BlockServices
from qmpd.errors import GenericError
from qmpd.jobs.manager import JobManager
from qmpd.monitor.context import RequestContext
from qmpd.transaction.engine import ActionRequest, TransactionEngine
from qmpd.transaction.env import CompletionMode
from tests.block.conftest import Bench, read

CONTEXT = RequestContext(request_id=1, session_id=1, peer=None, time=0.0)
LENGTH = 1 << 20


class Snapshots:
    """A bench with an engine, and a disk `d` that is in use."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.jobs = JobManager(bench.graph, bench.events)
        services = BlockServices(bench.graph, bench.pool, bench.events)
        self.engine = TransactionEngine(bench.graph, self.jobs, bench.events, services)

    async def run(self, *requests: ActionRequest) -> None:
        await self.engine.run(requests, CompletionMode.INDIVIDUAL, CONTEXT)

    def sync(self, node: str, overlay: str) -> ActionRequest:
        arguments = {
            "node-name": node,
            "snapshot-file": str(self.bench.path / overlay),
            "snapshot-node-name": overlay,
        }
        model = COMMANDS["blockdev-snapshot-sync"].validate(arguments)
        return ActionRequest("blockdev-snapshot-sync", model)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.close()
    assert not bench.graph.nodes


async def test_users_wait_until_the_outcome_is_known(bench: Bench) -> None:
    """A write that comes while the transaction is prepared goes to the overlay as a whole."""
    snapshots = Snapshots(bench)
    user = bench.backend(await bench.disk("d", bytes(LENGTH)))
    await user.pwritev(0, b"a" * 512)
    running = [user.pwritev(number * 512, b"b" * 512) for number in range(1, 8)]
    await asyncio.gather(snapshots.run(snapshots.sync("d", "one"), snapshots.sync("one", "two")), *running)
    assert user.node.node_name == "two"
    assert await read(user, 0, 4096) == b"a" * 512 + b"b" * (4096 - 512)
    await user.pwritev(0, b"c" * 512)
    assert bench.content("d")[:512] == b"a" * 512
    user.detach()


async def test_a_write_error_while_the_overlay_is_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = Snapshots(bench)
    user = bench.backend(await bench.disk("d", bytes(LENGTH)))
    files = set(os.listdir(bench.path))

    def full(*_: Any) -> int:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr("qmpd.block.drivers.qcow2.creating.os.pwrite", full)
        with pytest.raises(GenericError, match="No space left"):
            await snapshots.run(snapshots.sync("d", "one"))
    assert set(os.listdir(bench.path)) == files
    assert user.node.node_name == "d" and "one" not in bench.graph.nodes
    await snapshots.run(snapshots.sync("d", "one"))
    assert user.node.node_name == "one"
    user.detach()


async def test_an_image_of_this_daemon_is_not_put_aside(bench: Bench) -> None:
    """Not even if it was opened without a lock."""
    snapshots = Snapshots(bench)
    user = bench.backend(await bench.disk("d", bytes(LENGTH)))
    (bench.path / "other").write_bytes(b"x" * 512)
    await bench.add(driver="file", filename=str(bench.path / "other"), locking="off", **{"node-name": "other-file"})
    request = snapshots.sync("d", "top")
    request = ActionRequest(
        request.kind, request.data.model_copy(update={"snapshot_file": str(bench.path / "other")})
    )
    with pytest.raises(GenericError, match="in use"):
        await snapshots.run(request)
    assert (bench.path / "other").read_bytes() == b"x" * 512
    user.detach()


def test_a_file_that_somebody_else_made_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "new"
    file = NewFile(str(path))
    os.close(file.make([]))
    path.rename(tmp_path / "moved")
    path.write_bytes(b"theirs")
    file.undo()
    assert path.read_bytes() == b"theirs"


def test_links_lead_to_the_file_that_is_made(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    for undone in (True, False):
        file = NewFile(str(link))
        fd = file.make([])
        os.write(fd, b"after")
        os.close(fd)
        if undone:
            file.undo()
        else:
            file.keep()
        assert target.read_bytes() == (b"before" if undone else b"after")
        assert link.is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "target"]


@pytest.mark.parametrize("name", ["", "with\0null", "no/such/directory/file"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(GenericError):
        NewFile(name).make([])
