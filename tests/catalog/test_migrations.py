"""The schema's versions: what migrations make is what the modules say, and who may use what."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import Connection

from qmpd.catalog import migrations, settings
from qmpd.catalog.catalog import Catalog
from qmpd.catalog.errors import WrongVersion
from qmpd.catalog.facade import reader, writer
from qmpd.catalog.tables import METADATA
from tests.catalog.conftest import Backend


async def test_models_and_migrations_agree(catalog: Catalog) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, METADATA)

    async with reader.primary.using(catalog.context()) as db:
        connection = await db.connection()
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(migrations.read_version) == migrations.HEAD


def test_the_head_is_the_newest_migration() -> None:
    assert max(migrations.known_versions()) == migrations.HEAD


async def test_daemons_that_start_at_once_upgrade_once(empty_backend: Backend) -> None:
    catalogs = [Catalog(empty_backend.url, service_id=f"s{number}") for number in range(4)]
    await asyncio.gather(*(catalog.open() for catalog in catalogs))
    await asyncio.gather(*(catalog.close() for catalog in catalogs))


async def test_a_newer_database_is_refused(catalog: Catalog, backend: Backend) -> None:
    async with writer.using(catalog.context()) as db:
        await db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    later = Catalog(backend.url, service_id="later")
    with pytest.raises(WrongVersion, match=r"version 9999 .* newer qmpd"):
        await later.open()
    await later.close()


NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("settings", sa.Column("note", sa.Text()))
    op.execute("UPDATE settings SET note = 'upgraded'")
    {last}
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the program a newer one, with a migration that ends with some statement."""

    def make(last: str) -> None:
        directory = tmp_path / "migrations"
        shutil.copytree(migrations.DIRECTORY, directory)
        (directory / "versions" / "0003_notes.py").write_text(NEXT.format(last=last))
        monkeypatch.setattr(migrations, "DIRECTORY", directory)
        monkeypatch.setattr(migrations, "HEAD", "0003")

    return make


async def look(catalog: Catalog, statement: str) -> list[Any]:
    """What a query finds."""
    async with reader.primary.using(catalog.context()) as db:
        return list(await db.scalars(text(statement)))


async def test_an_older_database_is_upgraded(
    catalog: Catalog, backend: Backend, next_version: Callable[[str], None]
) -> None:
    await settings.put(catalog.context(), "a", {"x": 1})
    next_version("pass")
    later = Catalog(backend.url, service_id="later")
    await later.open()
    assert await look(later, "SELECT note FROM settings") == ["upgraded"]
    assert await look(later, "SELECT version_num FROM alembic_version") == ["0003"]
    await later.close()


async def test_an_upgrade_that_fails_changes_nothing(
    catalog: Catalog, backend: Backend, next_version: Callable[[str], None]
) -> None:
    await settings.put(catalog.context(), "a", {"x": 1})
    next_version("raise ValueError('half-way')")
    later = Catalog(backend.url, service_id="later")
    with pytest.raises(ValueError, match="half-way"):
        await later.open()
    await later.close()
    assert await settings.get(catalog.context(), "a") == {"x": 1}
    assert await look(catalog, "SELECT version_num FROM alembic_version") == ["0002"]
    async with reader.primary.using(catalog.context()) as db:
        names = (await db.execute(text("SELECT * FROM settings"))).keys()
    assert "note" not in names


async def test_charges_of_the_first_version_stay(catalog: Catalog, backend: Backend) -> None:
    async with writer.using(catalog.context()) as db:
        await db.execute(text("DROP INDEX ix_quota_charges_job_row"))
        await db.execute(text("ALTER TABLE quota_charges DROP COLUMN job_row"))
        await db.execute(text("INSERT INTO quota_charges (service_id, resource, amount, time_us) "
                              "SELECT id, 'backup-bytes', 5, 1 FROM services"))
        await db.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    later = Catalog(backend.url, service_id="later")
    await later.open()
    assert await look(later, "SELECT amount FROM quota_charges WHERE job_row IS NULL") == [5]
    await later.close()


def test_a_daemon_without_a_catalog_imports_nothing_of_it() -> None:
    program = """
import sys, qmpd.__main__, qmpd.daemon
from qmpd.options import parse_options
daemon = qmpd.daemon.Daemon(parse_options([], "0"))
foreign = ("sqlalchemy", "oslo_db", "alembic", "aiosqlite", "asyncpg", "greenlet", "sqlite3", "qmpd.catalog")
print([name for name in sys.modules if name.startswith(foreign)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
