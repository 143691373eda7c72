"""What can go wrong with the catalog, and whose fault it is.

What a client can meet is a `QMPError`; the two last ones are mistakes of the program. The
databases' own errors become these in `faults`. Imports no database code, so that anybody may catch them.
"""

from __future__ import annotations

from qmpd.errors import GenericError


class NoCatalog(GenericError):
    """The daemon has no catalog."""

    def __init__(self) -> None:
        super().__init__("this daemon keeps no catalog; start it with --state-dir DIR to have one")


class CatalogUnavailable(GenericError):
    """The database does not do what it should: gone, locked, full, read-only, too slow.

    Nothing of the transaction was stored, unless it was lost while it was being committed: then nobody knows.

    :param reason: what is wrong, the rest of a sentence that begins with "the catalog ".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the catalog {reason}")


class WrongVersion(GenericError):
    """The database belongs to another version of the program."""


class NotFound(GenericError):
    """The catalog has no such entry."""


class OverQuota(GenericError):
    """A limit stands in the way.

    :ivar resource: of what there would be too much.
    :ivar limit: how much there may be.
    :ivar in_use: how much there is, including what is reserved.
    :ivar asked: how much more was asked for.
    """

    def __init__(self, resource: str, limit: int, in_use: int, asked: int, scope: str) -> None:
        super().__init__(
            f"quota of {resource!r} for {scope}: the limit is {limit}, {in_use} are in use, {asked} more were asked for"
        )
        self.resource = resource
        self.limit = limit
        self.in_use = in_use
        self.asked = asked


class ConstraintViolated(RuntimeError):
    """The program wants to store what contradicts what is stored, such as a name twice."""


class TransactionMisuse(RuntimeError):
    """The program asks for a transaction that cannot be: a writer within a reader, changes made by a reader,
    the newest state within a transaction that reads from a replica, one transaction in two tasks."""
