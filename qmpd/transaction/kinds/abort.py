"""The action `abort`: makes its transaction fail, so that clients can try out the way back."""

from __future__ import annotations

from qmpd.errors import GenericError
from qmpd.transaction.action import TransactionAction


class AbortAction(TransactionAction):
    """Fails."""

    kind = "abort"

    async def prepare(self) -> None:
        """Refuse."""
        raise GenericError("Transaction aborted by its 'abort' action, as it was asked to")
