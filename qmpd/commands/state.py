"""Commands on what outlives the daemon: events that were missed, and what could not be made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjForgetUnrestoredArg, QObjReplayEventsArg
    from qmpd.state.state import State

_DEFAULT_LIMIT = 1000
_MAX_LIMIT = 10_000


class StateCommands:
    """replay-events, query-unrestored, forget-unrestored.

    :param state: gives the daemon's state, None if it has no state directory.
    """

    def __init__(self, state: Callable[[], State | None]) -> None:
        self._state = state

    @command("replay-events")
    async def replay_events(self, ctx: RequestContext, args: QObjReplayEventsArg) -> dict[str, Any]:
        """Events that a client has missed.

        :raises GenericError: there is no state directory, a number is out of range, or the catalog does not answer.
        """
        limit = _DEFAULT_LIMIT if args.limit is None else args.limit
        if args.since < 0:
            raise GenericError(f"'since' is {args.since}; it must not be negative")
        if not 1 <= limit <= _MAX_LIMIT:
            raise GenericError(f"'limit' is {limit}; it has to be from 1 to {_MAX_LIMIT}")
        history = self._needed().history
        if history is None:
            raise GenericError("The daemon has not started yet")
        found = await history.since(ctx, args.since, limit)
        return {
            "events": [
                {
                    "seq": event.seq,
                    "timestamp": dict(zip(("seconds", "microseconds"), divmod(event.time_us, 1_000_000), strict=True)),
                    "event": event.name,
                    **({"data": event.data} if event.data else {}),
                }
                for event in found.events
            ],
            "first": found.first,
            "last": found.last,
        }

    @command("query-unrestored")
    def query_unrestored(self, ctx: RequestContext, args: None) -> list[dict[str, Any]]:
        """What could not be made again, and bitmaps that wait for their image."""
        state = self._state()
        found = () if state is None else state.unrestored()
        return [{"kind": one.kind, "name": one.name, "reason": one.reason} for one in found]

    @command("forget-unrestored")
    async def forget_unrestored(self, ctx: RequestContext, args: QObjForgetUnrestoredArg) -> None:
        """Give up something that `query-unrestored` tells of.

        :raises GenericError: there is no such thing.
        """
        await self._needed().forget(ctx, str(args.kind), args.name)

    def _needed(self) -> State:
        state = self._state()
        if state is None:
            raise GenericError("This daemon keeps no state; start it with --state-dir DIR")
        return state
