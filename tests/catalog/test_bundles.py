"""The bundles' functions, on both backends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from qmpd.catalog import (
    attachments,
    backups,
    bitmaps,
    events,
    groups,
    jobs,
    objects,
    retention,
    services,
    settings,
    snapshots,
    volumes,
)
from qmpd.catalog.attachments import Attachment, AttachmentClient
from qmpd.catalog.base import Base, now_us
from qmpd.catalog.bitmaps import Bitmap
from qmpd.catalog.catalog import Catalog
from qmpd.catalog.errors import ConstraintViolated, NotFound
from qmpd.catalog.events import EventRecord
from qmpd.catalog.facade import reader, writer
from qmpd.catalog.retention import Pruned
from qmpd.catalog.snapshots import Snapshot
from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.state import job_history
from qmpd.state.ended import EndedBackups, JobEnd
from qmpd.state.journal import Journal
from tests.catalog.conftest import OpenCatalog, register

FUTURE = 1 << 60

Row = TypeVar("Row", bound=Base)


async def rows(catalog: Catalog, table: type[Row], **values: object) -> list[Row]:
    """The rows of a table with certain values, newest first."""
    async with reader.primary.using(catalog.context()) as db:
        query = select(table).filter_by(**values).order_by(table.__table__.c.id.desc())
        return list(await db.scalars(query))


async def add_bitmap(catalog: Catalog, uuid: str, **options: Any) -> None:
    await bitmaps.add(catalog.context(), uuid, "disk", "b0", granularity=65536, length=1 << 30, **options)


async def backed_up(catalog: Catalog, sync: str, bitmap_uuid: str | None, outcome: str = "completed") -> int:
    """A backup from begin to end; its number."""
    ctx = catalog.context()
    number = await backups.begin(ctx, "disk", sync, size=1 << 30, bitmap_uuid=bitmap_uuid, target_node="t")
    await backups.end(ctx, number, outcome, copied=4096)
    return number


async def test_a_service_finds_what_its_last_run_left(catalog: Catalog) -> None:
    ctx = catalog.context()
    await services.reserve_sequence(ctx, 100)
    await services.reserve_sequence(ctx, 50)
    crashed = await register(catalog, boot_id="another")
    assert crashed is not None
    assert (crashed.clean, crashed.boot_id, crashed.reserved_seq) == (False, "boot", 100)
    await services.stopped(ctx)
    clean = await register(catalog)
    assert clean is not None and clean.clean and clean.boot_id == "another" and clean.stopped_us is not None
    mine = await services.get(ctx)
    assert not mine.clean and mine.stopped_us is None and mine.reserved_seq == 100


async def test_a_service_without_a_heartbeat_is_down(open_catalog: OpenCatalog) -> None:
    one, two, three = [await open_catalog(name) for name in ("one", "two", "three")]
    assert await register(await open_catalog("four")) is not None
    later = now_us() + services.DOWN_AFTER_US
    async with writer.using(one.context()) as db:
        (await db.get_one(services.Service, "one")).heartbeat_us = later
    await services.stopped(three.context())
    listed = await services.listed(two.context())
    assert [(s.id, s.is_alive(later)) for s in listed] == [
        ("four", False), ("one", True), ("three", False), ("two", False)
    ]
    assert [s.id for s in await services.listed(two.context(), after="four", limit=2)] == ["one", "three"]
    await services.heartbeat(two.context())
    assert (await services.get(two.context())).is_alive(now_us())


async def test_settings(catalog: Catalog) -> None:
    ctx = catalog.context()
    assert await settings.get(ctx, "nbd-server") is None
    await settings.put(ctx, "nbd-server", {"addr": {"type": "unix"}})
    await settings.put(ctx, "nbd-server", {"addr": {"type": "inet"}, "n": [1, None, "ä"]})
    assert await settings.get(ctx, "nbd-server") == {"addr": {"type": "inet"}, "n": [1, None, "ä"]}
    await settings.remove(ctx, "nbd-server")
    await settings.remove(ctx, "nbd-server")
    assert await settings.get(ctx, "nbd-server") is None


async def test_volumes_come_back_in_order(catalog: Catalog) -> None:
    ctx = catalog.context()
    await volumes.put(ctx, "top", driver="qcow2", definition={"driver": "qcow2", "file": "base"}, position=2)
    await volumes.put(ctx, "base", driver="file", definition={"driver": "file"}, position=1, filename="/b", size=7)
    await volumes.put(ctx, "cli", driver="file", definition={}, position=0, origin="command-line")
    assert [v.node_name for v in await volumes.restorable(ctx)] == ["base", "top"]
    await volumes.put(ctx, "base", driver="file", definition={"driver": "file"}, position=1, filename="/b", size=9)
    await volumes.put(ctx, "top", driver="qcow2", definition={"driver": "qcow2"}, position=2)
    base, top = await volumes.restorable(ctx)
    assert (base.size, base.filename, top.definition) == (9, "/b", {"driver": "qcow2"})
    with pytest.raises(NotFound, match="'nowhere'"):
        await volumes.put_volume_metadata(ctx, "nowhere", {"a": "b"})


ODD = {
    "with NUL": ("a\0b", "a\\x00b"),
    "not UTF-8": (os.fsdecode(b"/disks/\xff\xfe.raw"), "/disks/\\udcff\\udcfe.raw"),
    "beyond the first plane": ("\U0001f4be", "\U0001f4be"),
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_text(catalog: Catalog, name: str) -> None:
    """Columns keep it readable, JSON as it is; it can be asked for as it is."""
    given, stored = ODD[name]
    ctx = catalog.context()
    definition = {"filename": given, given: [given, 1e300, -0.5, (1 << 64) - 1, None, True]}
    await volumes.put(ctx, given, driver="raw", definition=definition, position=1, filename=given)
    (found,) = await volumes.listed(ctx, node_name=given)
    assert (found.node_name, found.filename, found.definition) == (stored, stored, definition)
    assert list(found.definition) == ["filename", given]
    job = await jobs.begin(ctx, "j", "backup")
    await jobs.end(ctx, job, "failed", error=f"cannot open {given}")
    told = [EventRecord(1, 1, "BLOCK_JOB_ERROR", {"device": given})]
    await events.append_many(ctx, told)
    assert await events.since(ctx, 0) == told
    assert await volumes.remove(ctx, given)


async def test_a_removed_volume_is_history_and_its_name_is_free(catalog: Catalog) -> None:
    ctx = catalog.context()
    first = await volumes.put(ctx, "d", driver="raw", definition={}, position=1)
    assert await volumes.put(ctx, "d", driver="raw", definition={"x": 1}, position=1) == first
    assert await volumes.remove(ctx, "d") and not await volumes.remove(ctx, "d")
    second = await volumes.put(ctx, "d", driver="file", definition={}, position=3)
    assert second > first
    assert [v.id for v in await volumes.listed(ctx)] == [second]
    assert [v.id for v in await volumes.listed(ctx, deleted=True)] == [first]
    assert [v.id for v in await volumes.listed(ctx, deleted=None, node_name="d")] == [second, first]


async def test_daemons_are_kept_apart(open_catalog: OpenCatalog) -> None:
    one, two = await open_catalog("one"), await open_catalog("two")
    for catalog in (one, two):
        await volumes.put(catalog.context(), "d", driver="raw", definition={"of": catalog.service_id}, position=1)
    assert [v.definition for v in await volumes.restorable(one.context())] == [{"of": "one"}]
    assert len(await volumes.listed(one.context())) == 2
    assert [v.service_id for v in await volumes.listed(one.context(), service_id="two")] == ["two"]
    job = await jobs.begin(one.context(), "j", "backup")
    with pytest.raises(NotFound):
        await jobs.end(two.context(), job, "completed")


async def test_volume_metadata(catalog: Catalog) -> None:
    ctx = catalog.context()
    number = await volumes.put(ctx, "d", driver="raw", definition={}, position=1)
    await volumes.put_volume_metadata(ctx, "d", {"a": "1", "b": "2"})
    await volumes.put_volume_metadata(ctx, "d", {"a": "3"})
    assert await volumes.volume_metadata(ctx, [number, number + 1]) == {number: {"a": "3", "b": "2"}}
    with pytest.raises(NotFound):
        await volumes.put_volume_metadata(ctx, "e", {})


async def test_objects(catalog: Catalog) -> None:
    ctx = catalog.context()
    await objects.put(ctx, "tg1", qom_type="throttle-group", properties={"limits": {"iops-total": 9}}, position=2)
    await objects.put(ctx, "tg0", qom_type="throttle-group", properties={}, position=1)
    await objects.put(ctx, "tg0", qom_type="throttle-group", properties={"x-iops-total": 1}, position=1)
    assert [(o.object_id, o.properties) for o in await objects.restorable(ctx)] == [
        ("tg0", {"x-iops-total": 1}), ("tg1", {"limits": {"iops-total": 9}})
    ]
    await objects.remove(ctx, "tg0")
    assert [o.object_id for o in await objects.restorable(ctx)] == ["tg1"]


async def test_attachments_and_their_clients(catalog: Catalog) -> None:
    ctx = catalog.context()
    number = await attachments.put(ctx, "e0", kind="nbd", node_name="d", settings={"writable": True}, position=1)
    first = await attachments.connected(ctx, "e0", "unix:1")
    second = await attachments.connected(ctx, "e0", "unix:2")
    assert first is not None
    await attachments.disconnected(ctx, first)
    assert [(c.id, c.disconnected_us is None) for c in await rows(catalog, AttachmentClient, attachment_id=number)] == [
        (second, True), (first, False)
    ]
    await attachments.all_disconnected(ctx)
    assert all(c.disconnected_us is not None for c in await rows(catalog, AttachmentClient, attachment_id=number))
    assert [a.export_id for a in await attachments.restorable(ctx)] == ["e0"]
    assert await attachments.remove(ctx, "e0") and not await attachments.remove(ctx, "e0")
    assert await attachments.restorable(ctx) == []
    assert [a.export_id for a in await rows(catalog, Attachment)] == ["e0"]
    assert await attachments.connected(ctx, "e0", "unix:3") is None


async def test_snapshots(catalog: Catalog) -> None:
    ctx = catalog.context()
    inner = await snapshots.add(ctx, "internal", "d", name="s0")
    outer = await snapshots.add(ctx, "external", "d", overlay="top")
    assert [s.id for s in await rows(catalog, Snapshot, node_name="d")] == [outer, inner]
    assert await snapshots.remove(ctx, "d", "s0") and not await snapshots.remove(ctx, "d", "s0")
    assert [s.overlay for s in await rows(catalog, Snapshot, deleted_us=None)] == ["top"]


async def test_bitmaps(catalog: Catalog) -> None:
    ctx = catalog.context()
    await add_bitmap(catalog, "u0", persistent=True, storage="state", bits_file="u0.bits")
    await add_bitmap(catalog, "u1")
    await bitmaps.update(ctx, "u0", recording=False, image_mtime_ns=5, inconsistent=True)
    (mine,) = await rows(catalog, Bitmap, uuid="u0")
    assert (mine.recording, mine.image_mtime_ns, mine.inconsistent, mine.bits_file) == (False, 5, True, "u0.bits")
    assert [b.uuid for b in await bitmaps.restorable(ctx)] == ["u0"]
    assert [b.uuid for b in await rows(catalog, Bitmap, node_name="disk")] == ["u1", "u0"]
    assert await bitmaps.remove(ctx, "u0") and not await bitmaps.remove(ctx, "u0")
    assert await bitmaps.restorable(ctx) == []
    assert [b.uuid for b in await rows(catalog, Bitmap) if b.removed_us is not None] == ["u0"]
    with pytest.raises(NotFound, match="'u9'"):
        await bitmaps.update(ctx, "u9", recording=True)


async def test_groups_and_their_jobs(catalog: Catalog) -> None:
    ctx = catalog.context()
    async with writer.using(ctx):
        await groups.begin(ctx, "g0", "grouped")
        first = await jobs.begin(ctx, "j0", "backup", device="d0", group_uuid="g0")
        second = await jobs.begin(ctx, "j1", "backup", group_uuid="g0", speed=7)
    await groups.begin(ctx, "g1", "individual")
    assert [g.uuid for g in await groups.unsettled(ctx)] == ["g0", "g1"]
    await jobs.progress(ctx, second, offset=10, len=20, speed=3)
    running = [(job.id, job.offset, job.len, job.speed) for job in await jobs.listed(ctx, outcome="running")]
    assert running == [(second, 10, 20, 3), (first, 0, 0, 0)]
    async with writer.using(ctx):
        await jobs.end(ctx, first, "failed", error="no space", offset=5, len=9)
        await jobs.end(ctx, second, "cancelled")
        await groups.settle(ctx, "g0", "failed")
    assert [g.uuid for g in await groups.listed(ctx, outcome="failed")] == ["g0"]
    assert [j.error for j in (await jobs.of_groups(ctx, ["g0", "g1"]))["g0"]] == ["no space", None]
    assert [j.job_id for j in await jobs.listed(ctx, group_uuid="g0")] == ["j1", "j0"]
    assert [j.job_id for j in await jobs.listed(ctx, outcome="failed", type="backup")] == ["j0"]
    with pytest.raises(NotFound):
        await groups.settle(ctx, "g9", "failed")


async def test_what_ran_when_the_daemon_died_is_lost(catalog: Catalog) -> None:
    ctx = catalog.context()
    ended, gone = await jobs.begin(ctx, "ended", "backup"), await jobs.begin(ctx, "gone", "backup")
    await jobs.end(ctx, ended, "completed")
    for uuid in ("frozen", "other"):
        await add_bitmap(catalog, uuid)
        await backed_up(catalog, "full", uuid)
        await backups.begin(ctx, "d", "incremental", size=1, bitmap_uuid=uuid, job_row=gone)
    for row in (ended, gone):
        await jobs.progress(ctx, row, offset=7, len=9, speed=0)
    copied = await jobs.lose_running(ctx, "the daemon died")
    assert copied == {gone: 7}
    await backups.lose_running(ctx, "the daemon died", frozen={"frozen"}, copied=copied)
    lost = await jobs.listed(ctx, outcome="lost")
    assert [(j.id, j.error) for j in lost] == [(gone, "the daemon died")]
    assert [job.offset for job in await jobs.listed(ctx, outcome="completed")] == [0]
    assert [backup.copied for backup in await backups.listed(ctx, outcome="lost")] == [7, 7]
    # One that may have given up what was copied tells nothing any more of the last completed backup.
    assert (await rows(catalog, Bitmap, uuid="frozen"))[0].last_backup_id is not None
    assert (await rows(catalog, Bitmap, uuid="other"))[0].last_backup_id is None


async def test_ends_that_the_last_run_could_not_store(catalog: Catalog, tmp_path: Path) -> None:
    """They are stored unless they have been, and as much of a file that is damaged as can be read."""
    ctx = catalog.context()
    await add_bitmap(catalog, "u0")
    stored = await jobs.begin(ctx, "stored", "backup")
    await jobs.end(ctx, stored, "failed")
    await groups.begin(ctx, "g0", "grouped")
    row = await jobs.begin(ctx, "j", "backup", group_uuid="g0")
    backup = await backups.begin(ctx, "d", "full", size=1, bitmap_uuid="u0", job_row=row)
    file = EndedBackups(tmp_path / "ended")
    file.note(stored, backup, JobEnd("cancelled", None))
    file.note(row, backup, JobEnd("completed", "file \udcff is odd", 7, 9, True, ("g0", "completed")))
    with (tmp_path / "ended").open("ab") as damaged:
        damaged.write(b"[1, 2")
    await EndedBackups(tmp_path / "ended").recover(ctx)
    assert [(j.outcome, j.offset) for j in await jobs.listed(ctx)] == [("completed", 7), ("failed", 0)]
    assert [(b.outcome, b.copied) for b in await backups.listed(ctx)] == [("completed", 7)]
    assert (await rows(catalog, Bitmap, uuid="u0"))[0].last_backup_id == backup
    assert [group.outcome for group in await groups.listed(ctx)] == ["completed"]
    file.forget()
    await file.recover(ctx)


async def test_pages(catalog: Catalog) -> None:
    ctx = catalog.context()
    numbers = [await jobs.begin(ctx, f"j{number}", "backup") for number in range(7)]
    found: list[int] = []
    after = None
    while batch := await jobs.listed(ctx, after=after, limit=3):
        found += [job.id for job in batch]
        after = found[-1]
    assert found == numbers[::-1]


async def test_a_chain_of_backups(catalog: Catalog) -> None:
    ctx = catalog.context()
    await add_bitmap(catalog, "u0")
    full = await backed_up(catalog, "full", "u0")
    first = await backed_up(catalog, "incremental", "u0")
    failed = await backed_up(catalog, "incremental", "u0", outcome="failed")
    second = await backed_up(catalog, "bitmap", "u0")
    other = await backed_up(catalog, "full", None)
    assert [b.id for b in await backups.chain(ctx, second)] == [full, first, second]
    assert [b.id for b in await backups.chain(ctx, failed)] == [full, first, failed]
    assert [b.id for b in await backups.listed(ctx, chain_id=full)] == [second, failed, first, full]
    assert await bitmaps.end_chain(ctx, "u0") == second
    assert (await rows(catalog, Bitmap, uuid="u0"))[0].last_backup_id is None
    await backups.resume_chain(ctx, "u0", 99)
    await backups.resume_chain(ctx, "u0", second)
    assert (await rows(catalog, Bitmap, uuid="u0"))[0].last_backup_id == second
    anew = await backed_up(catalog, "full", "u0")
    third = await backed_up(catalog, "incremental", "u0")
    assert [b.id for b in await backups.chain(ctx, third)] == [anew, third]
    assert {b.chain_id for b in await backups.listed(ctx)} == {full, other, anew}
    assert (await rows(catalog, Bitmap, uuid="u0"))[0].last_backup_id == third
    await backups.put_backup_metadata(ctx, full, {"host": "db1"})
    assert await backups.backup_metadata(ctx, [full, first]) == {full: {"host": "db1"}}
    with pytest.raises(NotFound):
        await backups.chain(ctx, 99)


async def test_events_by_number(catalog: Catalog) -> None:
    ctx = catalog.context()
    assert (await events.first_seq(ctx), await events.last_seq(ctx)) == (0, 0)
    told = [EventRecord(seq, seq * 10, "STOP" if seq % 2 else "RESUME", {"n": seq}) for seq in range(5, 12)]
    await events.append_many(ctx, told[:4])
    await events.append_many(ctx, told)
    await events.append_many(ctx, [])
    assert await events.since(ctx, 0) == told
    assert await events.since(ctx, 8, limit=2) == told[4:6]
    assert (await events.first_seq(ctx), await events.last_seq(ctx)) == (5, 11)
    assert [e.seq for e in await events.listed(ctx, name="STOP", since_us=70, until_us=110)] == [9, 7]
    assert [e.seq for e in await events.listed(ctx, after=8, limit=2)] == [7, 6]


async def test_retention_by_count_and_age(catalog: Catalog) -> None:
    ctx = catalog.context()
    await events.append_many(ctx, [EventRecord(seq, seq, "STOP", {}) for seq in range(1, 11)])
    await groups.begin(ctx, "g0", "grouped")
    ended = await jobs.begin(ctx, "j", "backup", group_uuid="g0")
    await jobs.end(ctx, ended, "completed")
    running = await jobs.begin(ctx, "j", "backup")
    with pytest.raises(GenericError, match="older-than"):
        await retention.prune(ctx)
    assert await retention.prune(ctx, older_than_us=4) == Pruned(events=3, jobs=0, groups=0, backups=0)
    assert await retention.prune(ctx, older_than_us=FUTURE, keep=5) == Pruned(events=2, jobs=0, groups=0, backups=0)
    assert [e.seq for e in await events.since(ctx, 0)] == [6, 7, 8, 9, 10]
    assert await retention.prune(ctx, keep=0) == Pruned(events=5, jobs=1, groups=0, backups=0)
    await groups.settle(ctx, "g0", "completed")
    assert await retention.prune(ctx, keep=0) == Pruned(events=0, jobs=0, groups=1, backups=0)
    assert [j.id for j in await jobs.listed(ctx)] == [running]


async def test_retention_of_what_is_no_more(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes, but for what backups that stay are of."""
    monkeypatch.setattr(retention, "_PIECE", 1)
    ctx = catalog.context()
    names = ("old", "backed-up", "there")
    for name in names:
        await volumes.put(ctx, name, driver="raw", definition={}, position=1)
        await volumes.put_volume_metadata(ctx, name, {"why": "test"})
        await add_bitmap(catalog, name)
    await backups.begin(ctx, "backed-up", "full", size=1, bitmap_uuid="backed-up")
    for name in names[:2]:
        await volumes.remove(ctx, name)
        await bitmaps.remove(ctx, name)
    # The same name again, of which there is no backup.
    await volumes.put(ctx, "backed-up", driver="raw", definition={}, position=1)
    await volumes.remove(ctx, "backed-up")
    gone = await attachments.put(ctx, "gone", kind="nbd", node_name="d", settings={}, position=1)
    used = await attachments.put(ctx, "used", kind="nbd", node_name="d", settings={}, position=1)
    for name in ("gone", "used", "used", "used"):
        number = await attachments.connected(ctx, name, "unix:1")
        assert number is not None
        await attachments.disconnected(ctx, number)
    still = await attachments.connected(ctx, "used", "unix:2")
    await attachments.remove(ctx, "gone")
    for name in ("gone", "there"):
        await snapshots.add(ctx, "internal", "d", name=name)
    await snapshots.remove(ctx, "d", "gone")
    assert await retention.prune(ctx, older_than_us=1) == Pruned(events=0, jobs=0, groups=0, backups=0)
    assert len(await volumes.listed(ctx, deleted=None)) == 4
    await retention.prune(ctx, older_than_us=FUTURE)
    left = await volumes.listed(ctx, deleted=None)
    assert [volume.node_name for volume in left] == ["there", "backed-up"]
    assert set(await volumes.volume_metadata(ctx, list(range(9)))) == {volume.id for volume in left}
    assert [bitmap.uuid for bitmap in await rows(catalog, Bitmap)] == ["there", "backed-up"]
    assert [one.export_id for one in await rows(catalog, Attachment)] == ["used"]
    assert await rows(catalog, AttachmentClient, attachment_id=gone) == []
    assert [client.id for client in await rows(catalog, AttachmentClient, attachment_id=used)] == [still]
    assert [snapshot.name for snapshot in await rows(catalog, Snapshot)] == ["there"]


async def test_clients_that_wait_to_be_stored_are_bounded(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While the database fails, clients come and go; who came before its export is stored is not noted either."""
    ctx = catalog.context()
    number = await attachments.put(ctx, "e", kind="nbd", node_name="d", settings={}, position=1)
    monkeypatch.setattr(job_history, "MAX_CLIENTS", 3)
    journal = Journal(catalog)
    jobs_of_nobody: Any = None
    history = job_history.JobHistory(journal, jobs_of_nobody, EndedBackups(tmp_path / "ended"))
    for name in ("early", *["e"] * 9):
        history.disconnected(history.connected(name, "unix:1"))
    storing = asyncio.ensure_future(journal.run())
    assert await journal.flush(60)
    assert len(await rows(catalog, AttachmentClient, attachment_id=number)) == 2
    history.disconnected(history.connected("e", "unix:1"))
    assert await journal.flush(60)
    storing.cancel()
    found = await rows(catalog, AttachmentClient, attachment_id=number)
    assert len(found) == 3 and all(client.disconnected_us is not None for client in found)


async def test_many_events_go_in_several_transactions(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_PIECE", 3)
    ctx = catalog.context()
    await events.append_many(ctx, [EventRecord(seq, seq, "STOP", {}) for seq in range(1, 11)])
    before = catalog.counters.transactions
    assert (await retention.prune(ctx, older_than_us=FUTURE, keep=2)).events == 8
    # Those, the history before them, and after them connections and what is no more.
    assert catalog.counters.transactions == before + 4 + 1 + 2
    assert [event.seq for event in await events.since(ctx, 0)] == [9, 10]


async def test_retention_never_breaks_a_chain(catalog: Catalog) -> None:
    ctx = catalog.context()
    await add_bitmap(catalog, "u0")
    old = [await backed_up(catalog, "full", "u0"), await backed_up(catalog, "incremental", "u0")]
    new = [await backed_up(catalog, "full", "u0")]
    new += [await backed_up(catalog, "incremental", "u0") for _ in range(3)]
    assert (await retention.prune(ctx, keep=1)).backups == len(old)
    assert [b.id for b in await backups.chain(ctx, new[-1])] == new
    assert (await retention.prune(ctx, older_than_us=FUTURE)).backups == 0
    await bitmaps.remove(ctx, "u0")
    running = await backups.begin(ctx, "d", "full", size=1)
    assert (await retention.prune(ctx, older_than_us=FUTURE)).backups == len(new)
    assert [b.id for b in await backups.listed(ctx)] == [running]


class Oops(Exception):
    """What a test throws."""


async def everything(catalog: Catalog) -> list[Any]:
    """What is stored in the bundles that `test_one_transaction_over_five_bundles` writes to."""
    ctx = catalog.context()
    return [
        await volumes.listed(ctx),
        await rows(catalog, Attachment),
        await groups.listed(ctx),
        await jobs.listed(ctx),
        await rows(catalog, Bitmap),
        await backups.listed(ctx),
    ]


@pytest.mark.parametrize("how", ["raises", "constraint", "cancelled"])
async def test_one_transaction_over_five_bundles(catalog: Catalog, how: str) -> None:
    """It fails in the last of them: nothing is stored."""

    @writer
    async def command(ctx: RequestContext, *, fail: bool) -> None:
        await volumes.put(ctx, "disk", driver="raw", definition={}, position=1)
        await attachments.put(ctx, "e0", kind="nbd", node_name="disk", settings={}, position=1)
        await groups.begin(ctx, "g0", "grouped")
        job = await jobs.begin(ctx, "j0", "backup", group_uuid="g0")
        await bitmaps.add(ctx, "u0", "disk", "b0", granularity=65536, length=1)
        if fail and how == "constraint":
            await backups.begin(ctx, "disk", "full", size=1, job_row=job + 1)
        await backups.begin(ctx, "disk", "full", size=1, job_row=job, bitmap_uuid="u0")
        if fail and how == "raises":
            raise Oops
        if fail:
            raise asyncio.CancelledError

    nothing = await everything(catalog)
    expected = {"raises": Oops, "constraint": ConstraintViolated, "cancelled": asyncio.CancelledError}[how]
    with pytest.raises(expected):
        await command(catalog.context(), fail=True)
    assert await everything(catalog) == nothing == [[]] * 6
    before = catalog.counters.transactions
    await command(catalog.context(), fail=False)
    assert catalog.counters.transactions == before + 1
    assert [len(found) for found in await everything(catalog)] == [1] * 6
