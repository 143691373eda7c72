"""Tells of a transaction whose end nobody saw whether it was stored.

A connection that is lost while a transaction is being committed leaves that open. So such a transaction leaves a
mark, the last thing it does, and whoever has lost sight of it looks whether that is there. Looking waits for a
transaction that the server has not finished with: it takes the lock of the row that the mark is in.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from qmpd.catalog import settings

if TYPE_CHECKING:
    from qmpd.monitor.context import RequestContext


class Mark:
    """The marks of transactions that come one after the other.

    :param key: the setting that holds the last one.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._last = ""

    async def leave(self, context: RequestContext) -> None:
        """Leave a new mark in the transaction that is open."""
        self._last = str(uuid.uuid4())
        await settings.put(context, self._key, {"last": self._last})

    async def is_there(self, context: RequestContext) -> bool:
        """Whether the transaction that left the last mark was stored.

        :raises CatalogUnavailable: that cannot be found out now.
        """
        found = await settings.get_settled(context, self._key)
        return found is not None and found["last"] == self._last
