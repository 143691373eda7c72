"""Catalogs to test with: on SQLite, and on a PostgreSQL that the tests start themselves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qmpd.catalog import services
from qmpd.catalog.catalog import Catalog, sqlite_url
from tests.postgres import Cluster

BACKENDS = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Backend:
    """A database."""

    name: str
    url: str


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with all tables and nothing in them."""
    path = tmp_path_factory.mktemp("catalog") / "template.db"
    asyncio.run(_make_tables(sqlite_url(path)))
    return path


@pytest.fixture(scope="session")
def postgresql_template(cluster: Cluster) -> str:
    """The name of a PostgreSQL database with all tables and nothing in them."""
    name = cluster.new_database()
    asyncio.run(_make_tables(cluster.url(name)))
    return name


async def _make_tables(url: str) -> None:
    catalog = Catalog(url, service_id="nobody")
    await catalog.open()
    await catalog.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A database with tables, of each kind in turn."""
    if request.param == "sqlite":
        path = tmp_path / "catalog.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return Backend("sqlite", sqlite_url(path))
    cluster: Cluster = request.getfixturevalue("cluster")
    template: str = request.getfixturevalue("postgresql_template")
    return Backend("postgresql", cluster.url(cluster.new_database(template)))


@pytest.fixture(params=BACKENDS)
def empty_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A database without tables, of each kind in turn."""
    if request.param == "sqlite":
        return Backend("sqlite", sqlite_url(tmp_path / "catalog.db"))
    cluster: Cluster = request.getfixturevalue("cluster")
    return Backend("postgresql", cluster.url(cluster.new_database()))


OpenCatalog = Callable[..., Any]


@pytest.fixture
async def open_catalog(backend: Backend) -> AsyncIterator[OpenCatalog]:
    """Opens catalogs on the backend's database, each as a daemon that has registered."""
    async with AsyncExitStack() as stack:

        async def open_one(service_id: str = "one", **options: Any) -> Catalog:
            catalog = Catalog(backend.url, service_id=service_id, **options)
            stack.push_async_callback(catalog.close)
            await catalog.open()
            await register(catalog)
            return catalog

        yield open_one


@pytest.fixture
async def catalog(open_catalog: OpenCatalog) -> Catalog:
    """A catalog, opened."""
    opened: Catalog = await open_catalog()
    return opened


async def register(catalog: Catalog, boot_id: str = "boot") -> services.ServiceRecord | None:
    """Make the row of the catalog's daemon."""
    return await services.register(
        catalog.context(), host="host", name="name", pid=1, boot_id=boot_id, state_dir="/state", version="0"
    )
