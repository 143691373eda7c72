"""Puts the errors of databases and drivers into our words.

SQLite tells by its message alone, PostgreSQL by a code (SQLSTATE; appendix "PostgreSQL Error Codes" of its manual).
What is not a fault of the database stays what it is.
"""

from __future__ import annotations

import socket
from sqlite3 import Error as SQLiteError
from sqlite3 import IntegrityError

from oslo_db import exception as oslo
from sqlalchemy import exc as sqlalchemy

from qmpd.catalog.errors import CatalogUnavailable, ConstraintViolated, TransactionMisuse
from qmpd.errors import os_error_text

_READ_ONLY_TEXT = "attempt to write a readonly database"
_READ_ONLY_CODE = "25006"

# The first one found in SQLite's message counts.
_SQLITE = (
    ("is locked", "is locked by another process"),
    ("readonly database", "cannot be written: the database file or its directory is read-only"),
    ("database or disk is full", "cannot be written: the disk is full"),
    ("unable to open database file", "cannot be opened: the database file or its directory cannot be used"),
    ("disk i/o error", "cannot be used: the disk reports an I/O error"),
    ("not a database", "cannot be used: the file is not an SQLite database"),
    ("malformed", "is damaged: the database file is malformed"),
    ("no such table", "is not complete: the database has lost a table"),
)

# How asyncpg puts it, without a code; the last one when it notices at a bad moment.
_CONNECTION_LOST = ("connection is closed", "connection was closed", "connection lost", "another operation")

# The longest prefix of the code that is found here counts.
_POSTGRESQL = {
    "08": "has lost its connection to the database server",
    "25006": "cannot be written: the database server is read-only",
    "28": "cannot be reached: the database server refuses the user or the password",
    "3D": "cannot be reached: the database does not exist on the server",
    "40": "was changed by others at the same moment; try again",
    "42P01": "is not complete: the database has lost a table",
    "53": "cannot be used: the database server is out of resources",
    "53100": "cannot be written: the database server's disk is full",
    "53300": "cannot be reached: the database server has too many clients",
    "55P03": "is locked by another process",
    "57": "was interrupted by the database server",
    "57P01": "has lost its connection: the database server is shutting down, or ended it",
    "57P03": "cannot be reached: the database server is starting or shutting down",
    "58": "cannot be used: the database server reports a system error",
    "XX": "is damaged: the database server reports an internal error",
}

_FAULTS = (oslo.DBError, sqlalchemy.DBAPIError, SQLiteError)
_INTEGRITY = "23"


def translated(error: BaseException, *, reading: bool) -> Exception | None:
    """What `error`, met in a transaction, is in our words; None if it is no fault of the database.

    :param reading: the transaction was a reader's, so a refused write is the program's mistake.
    """
    if isinstance(error, sqlalchemy.TimeoutError):
        return CatalogUnavailable("is busy: all connections to the database are in use")
    if not isinstance(error, _FAULTS) and not _is_asyncpg(error):
        return None
    cause = _cause(error)
    if isinstance(cause, IntegrityError) or _code(cause).startswith(_INTEGRITY):
        return ConstraintViolated(str(cause))
    if reading and _is_refused_write(cause):
        return TransactionMisuse("a reader of the catalog tried to write")
    return CatalogUnavailable(_reason(cause))


def connect_fault(error: Exception, place: str) -> CatalogUnavailable:
    """What it means that no connection to the database at `place` could be made because of `error`."""
    if isinstance(error, TimeoutError):
        return CatalogUnavailable(f"at {place} cannot be reached: the database server does not answer in time")
    if isinstance(error, socket.gaierror):
        # Its number is none of an operating system's.
        return CatalogUnavailable(f"at {place} cannot be reached: {error.strerror}")
    if isinstance(error, OSError):
        return CatalogUnavailable(f"at {place} cannot be reached: {os_error_text(error)}")
    return CatalogUnavailable(f"at {place} {_reason(_cause(error))}")


def _cause(error: BaseException) -> BaseException:
    """The driver's own error under those that SQLAlchemy and oslo.db wrap around it."""
    while True:
        inner = getattr(error, "orig", None) or getattr(error, "inner_exception", None)
        if inner is None and getattr(error, "sqlstate", None) is None:
            inner = error.__cause__ if _is_asyncpg(error.__cause__) else None
        if not isinstance(inner, BaseException) or inner is error:
            return error
        error = inner


def _is_asyncpg(error: BaseException | None) -> bool:
    """Whether it is an error of PostgreSQL's driver, which a daemon on SQLite does not import."""
    return type(error).__module__.startswith("asyncpg.")


def _is_refused_write(cause: BaseException) -> bool:
    return _code(cause) == _READ_ONLY_CODE or _READ_ONLY_TEXT in str(cause).lower()


def _code(cause: BaseException) -> str:
    """The SQLSTATE; empty if there is none."""
    code = getattr(cause, "sqlstate", None)
    return code if isinstance(code, str) else ""


def _reason(cause: BaseException) -> str:
    code = _code(cause)
    for length in (5, 2):
        if code[:length] in _POSTGRESQL:
            return _POSTGRESQL[code[:length]]
    text = str(cause).lower()
    for part, reason in _SQLITE:
        if part in text:
            return reason
    if any(part in text for part in _CONNECTION_LOST):
        return _POSTGRESQL["08"]
    return f"cannot be used: {str(cause).strip() or type(cause).__name__}"
