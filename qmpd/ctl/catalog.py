"""`qmpctl catalog`: works on the catalog's database itself, with or without daemons that use it.

Besides `check` the one command of qmpctl that needs no server, and the one module of it that uses the catalog.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.ctl.display import to_json
from qmpd.ctl.failure import CommandFailed, ConnectFailed, ExitStatus, UsageError

if TYPE_CHECKING:
    from qmpd.catalog.catalog import Catalog

TIME_LIMIT = 24 * 3600.0
"""Seconds that a check or an export may take."""


async def upgrade(state_dir: Path | None, url: str | None, *, as_json: bool) -> ExitStatus:
    """Make the database what this program works with; a new one if there is none."""
    from qmpd.catalog.migrations import HEAD

    async with _catalog(state_dir, url) as catalog:
        await catalog.open()
    _say({"version": HEAD}, f"the catalog has version {HEAD}", as_json=as_json)
    return ExitStatus.OK


async def check(state_dir: Path | None, url: str | None, *, as_json: bool) -> ExitStatus:
    """Look whether the database is sound; OK only if nothing is wrong."""
    async with _catalog(state_dir, url) as catalog:
        from qmpd.catalog import maintenance

        version = await catalog.open_as_it_is()
        maintenance.require_current(version)
        found = await maintenance.problems(catalog.context())
    number = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    lines = [*found, f"version {version}, {number}"]
    _say({"version": version, "problems": found}, "\n".join(lines), as_json=as_json)
    return ExitStatus.FAILED if found else ExitStatus.OK


async def export(state_dir: Path | None, url: str | None) -> ExitStatus:
    """Write everything to standard output: a line of JSON about the database, then one for each row."""
    async with _catalog(state_dir, url) as catalog:
        from qmpd.catalog import maintenance

        version = await catalog.open_as_it_is()
        maintenance.require_current(version)
        sys.stdout.write(to_json({"catalog": version, "exported": time.time_ns() // 1000}) + "\n")
        # Closed before the catalog is, also when our reader has enough.
        async with contextlib.aclosing(maintenance.rows(catalog.context())) as rows:
            async for table, row in rows:
                sys.stdout.write(to_json({"table": table, "row": row}) + "\n")
    return ExitStatus.OK


@contextlib.asynccontextmanager
async def _catalog(state_dir: Path | None, url: str | None) -> AsyncIterator[Catalog]:
    """The catalog that the options name, not yet open; its failures as those of qmpctl."""
    if (state_dir is None) == (url is None):
        raise UsageError("which catalog? Give either --state-dir DIR or --catalog URL")
    from qmpd.catalog.catalog import Catalog, state_url
    from qmpd.catalog.errors import CatalogUnavailable
    from qmpd.errors import QMPError

    try:
        catalog = Catalog(url or state_url(state_dir or Path()), service_id="qmpctl", time_limit=TIME_LIMIT)
        try:
            yield catalog
        finally:
            await catalog.close()
    except CatalogUnavailable as error:
        raise ConnectFailed(error.desc) from error
    except QMPError as error:
        raise CommandFailed(str(error.error_class), error.desc) from error


def _say(data: dict[str, object], words: str, *, as_json: bool) -> None:
    sys.stdout.write((to_json(data) if as_json else words) + "\n")
