"""The command `transaction`: hands its list of actions to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command
from qmpd.transaction.engine import ActionRequest
from qmpd.transaction.env import CompletionMode

if TYPE_CHECKING:
    from qmpd.api import models
    from qmpd.transaction.engine import TransactionEngine


class TransactionCommands:
    """`transaction`."""

    def __init__(self, engine: TransactionEngine) -> None:
        self._engine = engine

    @command("transaction")
    async def transaction(self, ctx: RequestContext, args: models.QObjTransactionArg) -> None:
        """Carry out all actions or none."""
        mode = CompletionMode.INDIVIDUAL
        if args.properties is not None and args.properties.completion_mode is not None:
            mode = CompletionMode(args.properties.completion_mode.value)
        requests = [ActionRequest(action.type.value, action.data) for action in args.actions]
        await self._engine.run(requests, mode, ctx)
