"""Driver `commit_top`: stands on the topmost image that a commit job is about to take out of a chain.

A filter that shows what is below it, but needs nothing of it and leaves everything to others: what the job writes to
the base shows through the images between before their own contents hide it, and those images belong to the job.
"""

from __future__ import annotations

from typing import Any

from qmpd.block.driver import FilterDriver, OpenContext
from qmpd.block.permissions import Perm
from qmpd.errors import GenericError


class CommitTopDriver(FilterDriver):
    """The filter; for jobs only."""

    main_child = "backing"

    def __init__(self) -> None:
        super().__init__("commit_top")

    async def open(self, options: Any, context: OpenContext) -> None:
        raise GenericError("A node of driver 'commit_top' is made by a job; it cannot be made by hand")

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        return Perm.NONE, Perm.ALL
