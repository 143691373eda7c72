"""Work that goes on to its end when the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def see_through(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Wait for `work` to end, whatever happens to the caller's task; give a cancellation that came meanwhile.

    The caller has to raise it, when it has done what is to be done after `work`.

    :raises Exception: what `work` raised.
    """
    running = asyncio.ensure_future(work)
    late: asyncio.CancelledError | None = None
    while True:
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            if running.cancelled():
                raise
            late = error
        except Exception as error:
            if late is not None:
                raise late from error
            raise
        else:
            return late
