"""The schema's versions: what migrations make is what the modules say, and who may use what."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import Connection

from qmpd.catalog import migrations
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
