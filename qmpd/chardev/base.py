"""What all character devices have in common.

A device hands bytes to its user and takes bytes from it, and knows nothing of what is spoken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from qmpd.chardev.endpoint import MakeEndpoint
from qmpd.chardev.log import LogFile, LoggedEndpoint
from qmpd.chardev.specs import ChardevSpec

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Chardev(ABC):
    """An open character device.

    :param spec: what it is.
    """

    streams: ClassVar[bool] = True
    """Whether it carries a stream of bytes, so that there can be a user."""

    def __init__(self, spec: ChardevSpec) -> None:
        self.spec = spec
        self.in_use = False
        self.log: LogFile | None = None

    @property
    @abstractmethod
    def filename(self) -> str:
        """The device in words, as QEMU spells it."""

    async def open(self) -> None:
        """Bind and listen, or connect, or open files.

        :raises OSError: that cannot be done (an address that no system call takes: ValueError or OverflowError).
        """
        if self.spec.log is not None:
            self.log = LogFile(self.spec.log)
        await self.open_device()

    async def serve(self, make: MakeEndpoint) -> None:
        """Hand connections to the user, from now on.

        :raises OSError: that cannot be done.
        """
        log = self.log
        await self.serve_device(make if log is None else lambda on_closed: LoggedEndpoint(make(on_closed), log))

    async def hold(self) -> None:  # noqa: B027
        """Take connections, from now on, and leave what they send unread: the device has no user."""

    def stop(self) -> None:  # noqa: B027
        """Take no more connections; those that there are go on."""

    def close(self) -> None:
        """End all connections at once, and give back all that `open` took."""
        self.stop()
        self.close_device()
        if self.log is not None:
            self.log.close()
            self.log = None

    def send_break(self) -> None:  # noqa: B027
        """Send the break signal, if the device has such a thing."""

    @abstractmethod
    async def open_device(self) -> None:
        """`open`, without what all devices have in common; likewise the next two."""

    @abstractmethod
    async def serve_device(self, make: MakeEndpoint) -> None: ...

    @abstractmethod
    def close_device(self) -> None: ...
