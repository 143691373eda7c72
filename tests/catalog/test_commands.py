"""The commands that ask the catalog, through the dispatcher, with every reply held against the schema."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from qmpd.api.tables import COMMANDS
from qmpd.catalog import backups, bitmaps, events, groups, jobs, quotas, services, volumes
from qmpd.catalog.catalog import Catalog
from qmpd.catalog.events import EventRecord
from qmpd.catalog.quotas import Resource
from qmpd.commands.catalog import CatalogCommands
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import Dispatcher
from tests.catalog.conftest import OpenCatalog


class Client:
    """Runs commands on a catalog."""

    def __init__(self, catalog: Catalog | None) -> None:
        self._dispatcher = Dispatcher(COMMANDS, check_replies=True)
        self._dispatcher.register(CatalogCommands(lambda: catalog))
        self.names = list(self._dispatcher.handlers)

    async def run(self, command: str, **arguments: Any) -> Any:
        """Execute `catalog-...`; what it returns."""
        members = {name.replace("_", "-"): value for name, value in arguments.items()}
        handler = self._dispatcher.lookup(f"catalog-{command}")
        context = RequestContext(5, 6, None, time.time())
        return orjson.loads(await self._dispatcher.run_async(handler, context, members))


@pytest.fixture
def client(catalog: Catalog) -> Client:
    """A client of the catalog."""
    return Client(catalog)


async def test_without_a_catalog_they_say_how_to_have_one() -> None:
    client = Client(None)
    needed: dict[str, dict[str, Any]] = {
        "catalog-query-backup-chain": {"backup": 1},
        "catalog-set-quota": {"resource": "jobs", "limit": 1},
        "catalog-prune": {"keep": 1},
    }
    assert len(client.names) == 10
    for name in client.names:
        with pytest.raises(GenericError, match="--state-dir"):
            await client.run(name.removeprefix("catalog-"), **needed.get(name, {}))


async def test_groups_jobs_and_backups(client: Client, catalog: Catalog) -> None:
    ctx = RequestContext(5, 6, None, 0.0, None, catalog)
    await groups.begin(ctx, "g0", "grouped")
    row = await jobs.begin(ctx, "j0", "backup", device="d0", group_uuid="g0", speed=3)
    await bitmaps.add(ctx, "u0", "d0", "b0", granularity=65536, length=1)
    full = await backups.begin(
        ctx, "d0", "full", size=7, job_row=row, group_uuid="g0", bitmap_uuid="u0", bitmap_name="b0", target_node="t",
        target_filename="/t",
    )
    running = await client.run("query-jobs")
    assert running == [
        {
            "id": row, "service": "one", "job-id": "j0", "type": "backup", "device": "d0", "group": "g0",
            "created": running[0]["created"], "outcome": "running", "offset": 0, "len": 0, "speed": 3,
        }
    ]
    assert abs(running[0]["created"] / 1e6 - time.time()) < 3600
    await jobs.end(ctx, row, "failed", error="no space", offset=1, len=2)
    await backups.end(ctx, full, "completed", copied=5)
    await groups.settle(ctx, "g0", "failed")
    (group,) = await client.run("query-groups")
    assert group["completion-mode"] == "grouped" and (group["session"], group["request"]) == (6, 5)
    assert [job["error"] for job in group["jobs"]] == ["no space"] and group["settled"] >= group["created"]
    increment = await backups.begin(ctx, "d0", "incremental", size=7, bitmap_uuid="u0", bitmap_name="b0")
    await backups.put_backup_metadata(ctx, full, {"why": "nightly", "by": "cron"})
    chain = await client.run("query-backup-chain", backup=increment)
    assert [(backup["id"], backup["chain"], backup.get("parent")) for backup in chain] == [
        (full, full, None), (increment, full, full)
    ]
    assert chain[0] == {
        "id": full, "service": "one", "job": row, "group": "g0", "node-name": "d0", "sync": "full", "bitmap": "b0",
        "chain": full, "target": "t", "filename": "/t", "size": 7, "copied": 5, "started": chain[0]["started"],
        "ended": chain[0]["ended"], "outcome": "completed",
        "metadata": [{"key": "by", "value": "cron"}, {"key": "why", "value": "nightly"}],
    }
    assert await client.run("query-backups") == chain[::-1]
    with pytest.raises(GenericError, match="no backup with the number 99"):
        await client.run("query-backup-chain", backup=99)


async def test_filters(client: Client, catalog: Catalog) -> None:
    ctx = catalog.context()
    await groups.begin(ctx, "g0", "grouped")
    for name, kind, outcome in (("a", "backup", "failed"), ("b", "mirror", "completed"), ("a", "mirror", "lost")):
        await jobs.end(ctx, await jobs.begin(ctx, name, kind, group_uuid="g0" if name == "b" else None), outcome)

    async def found(**filters: Any) -> list[int]:
        return [job["id"] for job in await client.run("query-jobs", **filters)]

    everything = await found()
    third, second, first = everything
    assert await found(job_id="a") == [third, first]
    assert await found(type="mirror", outcome="lost") == [third]
    assert await found(group="g0") == [second]
    assert await found(limit=1) == [third]
    assert await found(after=third, limit=1) == [second]
    now = int(time.time() * 1e6)
    assert await found(until=now + 3600_000_000) == everything == await found(since=0)
    assert await found(since=now + 3600_000_000) == []
    for limit in (0, 1001, -5):
        with pytest.raises(GenericError, match="'limit' must be from 1 to 1000"):
            await found(limit=limit)
    with pytest.raises(GenericError, match="'outcome'"):
        await found(outcome="lucky")


async def test_volumes(client: Client, catalog: Catalog) -> None:
    ctx = catalog.context()
    definition = {"driver": "raw", "file": {"driver": "file", "filename": "/d"}}
    await volumes.put(ctx, "d", driver="raw", definition=definition, position=1, filename="/d", size=5)
    await volumes.put_volume_metadata(ctx, "d", {"vm": "web"})
    (volume,) = await client.run("query-volumes")
    assert volume == {
        "id": volume["id"], "service": "one", "node-name": "d", "driver": "raw", "definition": definition,
        "filename": "/d", "size": 5, "origin": "client", "created": volume["created"],
        "metadata": [{"key": "vm", "value": "web"}],
    }
    assert await client.run("query-volumes", deleted=True) == await client.run("query-volumes", node_name="e") == []
    await volumes.remove(ctx, "d")
    (gone,) = await client.run("query-volumes", deleted=True)
    assert gone["deleted"] >= gone["created"]


async def test_events(client: Client, catalog: Catalog) -> None:
    told = [EventRecord(1, 10, "STOP", {}), EventRecord(2, 20, "JOB_STATUS_CHANGE", {"id": "j"})]
    await events.append_many(catalog.context(), told)
    assert await client.run("query-events") == [
        {"seq": 2, "time": 20, "event": "JOB_STATUS_CHANGE", "data": {"id": "j"}},
        {"seq": 1, "time": 10, "event": "STOP"},
    ]
    assert await client.run("query-events", event="STOP", since=5, until=15, service="one", after=2)
    with pytest.raises(GenericError, match="one daemon at a time"):
        await client.run("query-events", service="*")


async def test_several_daemons(open_catalog: OpenCatalog) -> None:
    one, two = await open_catalog("one"), await open_catalog("two")
    for catalog in (one, two):
        await jobs.begin(catalog.context(), f"of-{catalog.service_id}", "backup")
    client = Client(two)

    async def names(**filters: Any) -> list[str]:
        return [job["job-id"] for job in await client.run("query-jobs", **filters)]

    assert await names() == ["of-two"]
    assert await names(service="one") == ["of-one"]
    assert await names(service="*") == ["of-two", "of-one"]
    await services.stopped(one.context())
    listed = await client.run("query-services")
    assert [(s["id"], s["self"], s["alive"], "stopped" in s) for s in listed] == [
        ("one", False, False, True), ("two", True, True, False)
    ]
    assert [s["id"] for s in await client.run("query-services", alive=True)] == ["two"]
    assert [s["id"] for s in await client.run("query-services", alive=False)] == ["one"]
    assert [s["id"] for s in await client.run("query-services", after="one", limit=1)] == ["two"]


async def test_quotas(client: Client, catalog: Catalog) -> None:
    await client.run("set-quota", resource="jobs", limit=2)
    await client.run("set-quota", resource="jobs", limit=9, scope="all")
    held = await quotas.reserve(catalog.context(), {Resource.JOBS: 2})
    assert await client.run("query-quotas", resource="jobs") == [
        {"resource": "jobs", "scope": "daemon", "limit": 2, "in-use": 0, "reserved": 2},
        {"resource": "jobs", "scope": "all", "limit": 9, "in-use": 0, "reserved": 2},
    ]
    await quotas.use(catalog.context(), {Resource.JOBS: 2}, instead_of=held.values())
    assert [quota["in-use"] for quota in await client.run("query-quotas", scope="daemon")] == [2, 0, 0]
    await client.run("set-quota", resource="jobs", limit=-1)
    assert (await client.run("query-quotas", resource="jobs", scope="daemon"))[0]["limit"] == -1
    with pytest.raises(GenericError, match="not -2"):
        await client.run("set-quota", resource="jobs", limit=-2)


async def test_prune(client: Client, catalog: Catalog) -> None:
    now = int(time.time() * 1e6)
    await events.append_many(catalog.context(), [EventRecord(1, now - 10_000_000_000, "STOP", {})])
    await events.append_many(catalog.context(), [EventRecord(2, now, "STOP", {})])
    nothing = {"events": 0, "jobs": 0, "groups": 0, "backups": 0}
    assert await client.run("prune", older_than=100_000) == nothing
    assert await client.run("prune", older_than=(1 << 63) - 1, keep=(1 << 63) - 1) == nothing
    assert await client.run("prune", older_than=3600) == nothing | {"events": 1}
    assert await client.run("prune", keep=1) == nothing
    assert await client.run("prune", keep=0) == nothing | {"events": 1}
    for arguments in ({}, {"keep": -1}, {"older_than": -1}):
        with pytest.raises(GenericError, match=r"'older-than'|'keep'"):
            await client.run("prune", **arguments)
