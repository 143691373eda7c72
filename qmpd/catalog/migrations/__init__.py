"""The schema's versions: Alembic migrations, one module each in `versions/`, numbered.

`upgrade` is run at every start. A database that is up to date costs two queries; Alembic is imported only for others.
A new version is a module `NNNN_what.py` in `versions/` and the number in `HEAD`; a test holds the tables of the
modules against what the migrations make.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.catalog.errors import WrongVersion

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

HEAD = "0002"
"""The version that this program works with."""

DIRECTORY = Path(__file__).parent
"""Where Alembic finds what to run."""

_LOCK = 0x716D7064
"""The advisory lock of PostgreSQL under which a database is upgraded; held to the end of the transaction."""


def upgrade(connection: Connection) -> None:
    """Bring the database to `HEAD`, within the connection's open transaction.

    Daemons that start at the same time wait for each other: SQLite's transaction has the write lock from its
    beginning, PostgreSQL has a lock for it.

    :raises WrongVersion: it is newer.
    """
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    version = read_version(connection)
    if version == HEAD:
        return
    refuse_newer(version)

    from alembic import command

    command.upgrade(_config(connection), HEAD)


def read_version(connection: Connection) -> str | None:
    """The database's version; None for an empty one."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def refuse_newer(version: str | None) -> None:
    """See that this program knows `version`.

    :raises WrongVersion: it does not.
    """
    if version is not None and version not in known_versions():
        raise WrongVersion(
            f"the catalog has version {version} and this program knows none beyond {HEAD}: "
            "it was written by a newer qmpd, which is the one to use it"
        )


def known_versions() -> set[str]:
    """The versions that there are migrations for."""
    return {path.name.partition("_")[0] for path in (DIRECTORY / "versions").glob("[0-9]*_*.py")}


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
