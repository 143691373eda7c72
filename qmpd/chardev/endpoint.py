"""Whoever uses a character device (a monitor), as the device meets it: a function that makes an `Endpoint`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Endpoint(asyncio.Protocol):
    """The user's end of one connection.

    :ivar transport: the connection, None before it is made and after it is over.
    """

    transport: asyncio.Transport | None = None


MakeEndpoint = Callable[[Callable[[], None] | None], Endpoint]
"""Makes the user's end of a connection; it calls the function it is given when the connection is over."""
