"""The commands on jobs and transactions as the dispatcher runs them: arguments, replies, classes of errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qmpd.api.tables import COMMANDS, EVENTS
from qmpd.commands.jobs import JobCommands
from qmpd.commands.transaction import TransactionCommands
from qmpd.errors import DeviceNotActive, GenericError, QMPError
from qmpd.jobs.job import Job
from qmpd.jobs.state import JobStatus
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.transaction.engine import TransactionEngine
from qmpd.transaction.env import CompletionMode
from tests.jobs.fakes import Work, World


class Server(World):
    """A world with a dispatcher, which holds every reply against the schema."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[CompletionMode] = []
        engine = TransactionEngine(self.graph, self.jobs, self.events, None)  # type: ignore[arg-type]
        self.dispatcher = Dispatcher(COMMANDS, check_replies=True)
        self.dispatcher.register(JobCommands(self.jobs))
        self.dispatcher.register(TransactionCommands(engine))

    async def execute(self, name: str, **arguments: Any) -> Any:
        handler = self.dispatcher.lookup(name)
        context = RequestContext(1, 1, None, 0.0)
        return json.loads(await self.dispatcher.run_async(handler, context, arguments))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.jobs.shutdown()
    for name, data in server.events.all:
        EVENTS[name].check(data)


async def started(server: Server, name: str = "j0", **options: Any) -> Work:
    job = server.add(name, **options)
    await server.start(job)
    return job


@pytest.mark.parametrize("family", ["job", "block-job"])
async def test_a_life(server: Server, family: str) -> None:
    """Every verb in either spelling."""
    key = {"id": "j0"} if family == "job" else {"device": "j0"}
    job = await started(server, auto_finalize=False, auto_dismiss=False)
    assert await server.execute(f"{family}-pause", **key) == {}
    assert (await server.execute("query-jobs"))[0]["status"] == "paused"
    assert await server.execute(f"{family}-resume", **key) == {}
    assert await server.execute("block-job-set-speed", device="j0", speed=4096) == {}
    assert (await server.execute("query-block-jobs"))[0]["speed"] == 4096
    job.transition_to_ready()
    assert await server.execute(f"{family}-complete", **key) == {}
    await server.until_status(job, JobStatus.PENDING)
    assert await server.execute(f"{family}-finalize", id="j0") == {}
    assert (await server.execute("query-jobs"))[0]["status"] == "concluded"
    assert await server.execute(f"{family}-dismiss", id="j0") == {}
    assert await server.execute("query-jobs") == await server.execute("query-block-jobs") == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("job-cancel", {"id": "j0"}),
        ("block-job-cancel", {"device": "j0"}),
        ("block-job-cancel", {"device": "j0", "force": True}),
    ],
)
async def test_cancel(server: Server, name: str, arguments: dict[str, Any]) -> None:
    job = await started(server, auto_dismiss=False)
    assert await server.execute(name, **arguments) == {}
    await server.until_status(job, JobStatus.CONCLUDED)
    assert (await server.execute("query-jobs"))[0]["error"] == "Operation canceled"
    with pytest.raises(GenericError, match=r"'j0'.*'concluded'.*'cancel'"):
        await server.execute(name, **arguments)


async def test_a_ready_job_is_cancelled_softly_by_one_command_only(server: Server) -> None:
    for name, arguments, end in (
        ("block-job-cancel", {"device": "j0"}, "COMPLETED"),
        ("block-job-cancel", {"device": "j0", "force": True}, "CANCELLED"),
        ("job-cancel", {"id": "j0"}, "CANCELLED"),
    ):
        server.events.all.clear()
        job = server.add("j0")
        job.gets_ready = job.soft_cancel = True
        await server.start(job)
        await server.execute(name, **arguments)
        await server.until_status(job, JobStatus.NULL)
        assert end in server.events.of("j0")


UNKNOWN = [
    *[
        (f"job-{verb}", {"id": "j1"}, GenericError)
        for verb in ("pause", "resume", "complete", "cancel", "finalize", "dismiss")
    ],
    *[
        (f"block-job-{verb}", {"device": "j1"}, DeviceNotActive)
        for verb in ("pause", "resume", "complete", "cancel")
    ],
    *[(f"block-job-{verb}", {"id": "j1"}, DeviceNotActive) for verb in ("finalize", "dismiss")],
    ("block-job-set-speed", {"device": "j1", "speed": 1}, DeviceNotActive),
]


@pytest.mark.parametrize(("name", "arguments", "error"), UNKNOWN)
async def test_no_such_job(
    server: Server, name: str, arguments: dict[str, Any], error: type[QMPError]
) -> None:
    await started(server)
    with pytest.raises(QMPError, match="'j1'") as caught:
        await server.execute(name, **arguments)
    assert caught.type is error


class Plain(Job):
    """A job that is no block job."""

    job_type = "create"

    async def run(self) -> None:
        await self.sleep(3600)


async def test_a_job_that_is_no_block_job(server: Server) -> None:
    job = Plain("j0", auto_dismiss=False)
    server.jobs.add(job)
    job.start()
    assert len(await server.execute("query-jobs")) == 1 and await server.execute("query-block-jobs") == []
    with pytest.raises(DeviceNotActive):
        await server.execute("block-job-pause", device="j0")
    await server.execute("job-cancel", id="j0")
    await server.events.until("j0 concluded")
    assert [name for name, _data in server.events.all] == ["JOB_STATUS_CHANGE"] * 4


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("job-pause", {}),
        ("job-pause", {"id": 5}),
        ("job-pause", {"device": "j0"}),
        ("block-job-set-speed", {"device": "j0", "speed": "fast"}),
        ("block-job-set-speed", {"device": "j0", "speed": -1}),
        ("block-job-set-speed", {"device": "j0", "speed": True}),
        ("block-job-cancel", {"device": "j0", "force": "yes"}),
        ("transaction", {}),
        ("transaction", {"actions": [{"type": "nope", "data": {}}]}),
        ("transaction", {"actions": [{"type": "abort"}]}),
        ("transaction", {"actions": [{"type": "abort", "data": {"x": 1}}]}),
        ("transaction", {"actions": [], "properties": {"completion-mode": "both"}}),
    ],
)
async def test_bad_arguments(server: Server, name: str, arguments: dict[str, Any]) -> None:
    job = await started(server)
    with pytest.raises(GenericError):
        await server.execute(name, **arguments)
    assert job.status is JobStatus.RUNNING and job.speed == 0


@pytest.mark.parametrize("mode", [None, "individual", "grouped"])
async def test_transaction(server: Server, mode: str | None) -> None:
    more = {} if mode is None else {"properties": {"completion-mode": mode}}
    assert await server.execute("transaction", actions=[], **more) == {}
    with pytest.raises(GenericError, match="abort"):
        await server.execute("transaction", actions=[{"type": "abort", "data": {}}] * 2, **more)


async def test_the_reply_to_a_finalize_comes_after_the_events_of_the_end(server: Server) -> None:
    job = await started(server, auto_finalize=False)
    job.finish()
    await server.until_status(job, JobStatus.PENDING)
    async with server.graph.exclusive():
        client = asyncio.ensure_future(server.execute("job-finalize", id="j0"))
        await server.settle()
        assert not client.done()
    await client
    assert server.events.of("j0")[-1] == "null"
