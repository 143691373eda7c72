"""Character devices without anything behind them: `null`, and memory that keeps the last bytes."""

from __future__ import annotations

from qmpd.chardev.base import Chardev
from qmpd.chardev.endpoint import MakeEndpoint
from qmpd.chardev.specs import NullSpec, RingbufSpec
from qmpd.chardev.transport import SinkTransport


class _Sink(Chardev):
    """A device that gives its user nothing to read."""

    _transport: SinkTransport | None = None

    async def open_device(self) -> None:
        """Nothing to open."""

    async def serve_device(self, make: MakeEndpoint) -> None:
        self._transport = SinkTransport(make(None), self.take, self._over)

    def close_device(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def take(self, data: bytes | bytearray | memoryview) -> None:
        """What is written to the device goes here."""

    def _over(self) -> None:
        self._transport = None


class NullChardev(_Sink):
    """Forgets everything."""

    filename = "null"

    def __init__(self, spec: NullSpec) -> None:
        super().__init__(spec)


class RingbufChardev(_Sink):
    """Keeps the last bytes that were written to it, until they are read."""

    def __init__(self, spec: RingbufSpec) -> None:
        super().__init__(spec)
        self._size = spec.size
        self._kind = spec.kind
        self._bytes = bytearray()

    @property
    def filename(self) -> str:
        return self._kind

    async def open_device(self) -> None:
        if self._size < 0 or self._size & (self._size - 1):
            raise ValueError(f"'size' is {self._size}; it has to be a power of two")

    def take(self, data: bytes | bytearray | memoryview) -> None:
        self._bytes += memoryview(data)[max(0, len(data) - self._size) :]
        del self._bytes[: max(0, len(self._bytes) - self._size)]

    def write(self, data: bytes) -> None:
        """Write as a user of the device would."""
        if self.log is not None:
            self.log.write(data)
        self.take(data)

    def read(self, size: int) -> bytes:
        """Take out the oldest `size` bytes, or all if they are fewer."""
        taken = bytes(self._bytes[:size])
        del self._bytes[:size]
        return taken
