"""`qmpctl catalog`: checks that find what is wrong and nothing else, an export of everything, upgrades."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner, Result

from qmpd.catalog import backups, bitmaps, events, groups, jobs, maintenance, migrations, quotas, services, volumes
from qmpd.catalog.backups import Backup
from qmpd.catalog.bitmaps import Bitmap
from qmpd.catalog.catalog import FILE_NAME, Catalog, sqlite_url, state_url
from qmpd.catalog.events import EventRecord
from qmpd.catalog.facade import writer
from qmpd.catalog.quotas import QuotaUsage, Resource
from qmpd.catalog.tables import METADATA
from qmpd.ctl.cli import app
from tests.catalog.conftest import Backend, register


async def fill(catalog: Catalog) -> None:
    """Something of everything."""
    ctx = catalog.context()
    await services.reserve_sequence(ctx, 100)
    await volumes.put(ctx, "d", driver="raw", definition={"driver": "raw"}, position=1)
    await groups.begin(ctx, "g0", "grouped")
    await bitmaps.add(ctx, "u0", "d", "b0", granularity=65536, length=1)
    for sync in ("full", "incremental", "incremental"):
        row = await jobs.begin(ctx, "j", "backup", group_uuid="g0")
        number = await backups.begin(ctx, "d", sync, size=1, job_row=row, bitmap_uuid="u0")
        await backups.end(ctx, number, "completed")
        await jobs.end(ctx, row, "completed")
    await quotas.use(ctx, {Resource.JOBS: 1})
    await quotas.reserve(ctx, {Resource.JOBS: 2})
    await events.append_many(ctx, [EventRecord(1, 1, "STOP", {"ä": None})])


async def spoil(catalog: Catalog, *statements: Any) -> list[str]:
    """What is wrong after some statements."""
    async with writer.using(catalog.context()) as db:
        for statement in statements:
            await db.execute(statement)
    return await maintenance.problems(catalog.context())


async def test_nothing_is_wrong(catalog: Catalog) -> None:
    assert await maintenance.problems(catalog.context()) == []
    await fill(catalog)
    assert await maintenance.problems(catalog.context()) == []


async def test_broken_chains(catalog: Catalog) -> None:
    await fill(catalog)
    found = await spoil(catalog, update(Backup).where(Backup.id == 2).values(chain_id=2))
    assert found == ["backup 2 stands on backup 1 of another chain", "backup 3 stands on backup 2 of another chain"]
    found = await spoil(catalog, update(Backup).where(Backup.id == 2).values(chain_id=1, parent_id=3))
    assert "backup 2 stands on backup 3, which is not completed or came later" in found
    found = await spoil(
        catalog,
        update(Backup).where(Backup.id == 2).values(parent_id=1, outcome="failed"),
        update(Bitmap).values(last_backup_id=2),
        update(Backup).where(Backup.id == 1).values(chain_id=7),
    )
    assert "backup 3 stands on backup 2, which is not completed or came later" in found
    assert "bitmap u0 was last used by backup 2, which is not completed" in found
    assert "backup 1 stands on none, but is not the first of its chain" in found


async def test_leftovers_quotas_and_numbers(catalog: Catalog) -> None:
    await fill(catalog)
    await jobs.begin(catalog.context(), "j", "backup")
    await services.stopped(catalog.context())
    found = await spoil(
        catalog,
        update(QuotaUsage).where(QuotaUsage.scope == "one").values(reserved=5, in_use=-1),
        update(services.Service).values(reserved_seq=0),
    )
    assert found == [
        "job 4 runs, but its daemon has ended",
        "quota of jobs for one: 5 are reserved, but reservations hold 2",
        "quota of jobs for one: -1 are in use",
        "service one has event 1, but had no right to numbers beyond 0",
    ]


async def test_a_changed_schema(catalog: Catalog) -> None:
    found = await spoil(catalog, text("DROP TABLE settings"), text("ALTER TABLE jobs ADD COLUMN colour TEXT"))
    assert sorted(found) == ["schema: add table 'settings'", "schema: remove column jobs 'colour'"]


async def test_rows_that_refer_to_nothing(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "c.db"
    shutil.copyfile(sqlite_template, path)
    catalog = Catalog(sqlite_url(path), service_id="one")
    await catalog.open()
    await register(catalog)
    await catalog.close()
    import sqlite3

    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO settings VALUES ('two', 'k', '{}')")
    await catalog.open()
    assert await maintenance.problems(catalog.context()) == [
        "table settings: row 1 refers to a row of services that is not there"
    ]
    await catalog.close()


async def test_an_export_has_every_row(catalog: Catalog) -> None:
    await fill(catalog)
    found = [entry async for entry in maintenance.rows(catalog.context())]
    tables = [table for table, _ in found]
    assert {table: tables.count(table) for table in ("services", "backups", "jobs", "reservations", "events")} == {
        "services": 1, "backups": 3, "jobs": 3, "reservations": 1, "events": 1
    }
    assert tables == sorted(tables, key=[table.name for table in METADATA.sorted_tables].index)
    assert json.loads(json.dumps(found)) == [list(entry) for entry in found]
    assert [row["data"] for table, row in found if table == "events"] == [{"ä": None}]


# -- the program


def qmpctl(*words: object) -> Result:
    """Run `qmpctl catalog` in this process: a process of its own spends a second on imports."""
    return CliRunner().invoke(app, ["catalog", *map(str, words)])


def test_qmpctl_on_a_state_directory(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    missing = qmpctl("check", "--state-dir", directory)
    assert missing.exit_code == 3 and "there is no file" in missing.stderr
    assert not list(directory.iterdir())
    made = qmpctl("upgrade", "--state-dir", directory)
    assert (made.exit_code, made.stdout) == (0, f"the catalog has version {migrations.HEAD}\n")
    assert (directory / FILE_NAME).exists()

    async def work() -> None:
        catalog = Catalog(state_url(directory), service_id="one")
        await catalog.open()
        await register(catalog)
        await fill(catalog)
        await spoil(catalog, update(Backup).where(Backup.id == 2).values(outcome="failed"))
        await catalog.close()

    asyncio.run(work())
    found = qmpctl("check", "--state-dir", directory)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "backup 3 stands on backup 2, which is not completed or came later",
        f"version {migrations.HEAD}, 1 problem",
    ]
    assert len(json.loads(qmpctl("check", "--state-dir", directory, "--json").stdout)["problems"]) == 1
    lines = [json.loads(line) for line in qmpctl("export", "--state-dir", directory).stdout.splitlines()]
    assert lines[0]["catalog"] == migrations.HEAD
    assert [line["row"]["id"] for line in lines[1:] if line["table"] == "backups"] == [1, 2, 3]


def test_a_reader_who_has_enough(tmp_path: Path) -> None:
    """`qmpctl catalog export | head -1` ends in silence, however much there was to say."""
    directory = tmp_path / "state"
    directory.mkdir()

    async def work() -> None:
        catalog = Catalog(state_url(directory), service_id="one")
        await catalog.open()
        await register(catalog)
        many = [EventRecord(number, 1, "STOP", {"text": "x" * 1000}) for number in range(1, 500)]
        await events.append_many(catalog.context(), many)
        await catalog.close()

    asyncio.run(work())
    export = [sys.executable, "-m", "qmpd.ctl.main", "catalog", "export", "--state-dir", str(directory)]
    with subprocess.Popen(export, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None and program.stderr is not None
        assert "catalog" in json.loads(program.stdout.readline())
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait() == 0


def test_no_room_for_what_is_exported(tmp_path: Path) -> None:
    assert qmpctl("upgrade", "--state-dir", tmp_path).exit_code == 0
    export = [sys.executable, "-m", "qmpd.ctl.main", "catalog", "export", "--state-dir", str(tmp_path)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(export, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "qmpctl: Error: No space left on device\n")


def test_qmpctl_on_a_database(empty_backend: Backend) -> None:
    if empty_backend.name == "postgresql":
        empty = qmpctl("check", "--catalog", empty_backend.url)
        assert empty.exit_code == 1 and "qmpctl catalog upgrade" in empty.stderr
    assert qmpctl("upgrade", "--catalog", empty_backend.url).exit_code == 0
    sound = qmpctl("check", "--catalog", empty_backend.url)
    assert (sound.exit_code, sound.stdout) == (0, f"version {migrations.HEAD}, 0 problems\n")


@pytest.mark.parametrize("words", [["check"], ["export", "--state-dir", "/", "--catalog", "sqlite:///x"]])
def test_qmpctl_wants_one_catalog(words: list[str]) -> None:
    done = qmpctl(*words)
    assert done.exit_code == 2 and "either --state-dir DIR or --catalog URL" in done.stderr
