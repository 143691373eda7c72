"""A guest that writes all the time and takes down how long it was kept waiting."""

import time
from pathlib import Path

from iotests.harness.images import KIB
from iotests.harness.nbd import WRITE, RawNbd
from iotests.harness.repeating import PATIENCE, Repeating


class Load(Repeating[RawNbd]):
    """Writes to an export, one request after the other.

    :ivar longest: seconds that the slowest request took.
    """

    def __init__(self, socket: Path, export: str, length: int) -> None:
        super().__init__(RawNbd.attached(socket, export))
        self._client.sock.settimeout(PATIENCE)
        self._length = length
        self._offset = 0
        self.longest = 0.0

    def step(self) -> None:
        begun = time.monotonic()
        reply = self._client.request(WRITE, self._offset, 4 * KIB, data=bytes(4 * KIB))
        self.longest = max(self.longest, time.monotonic() - begun)
        assert reply.error == 0, reply
        self._offset = (self._offset + 68 * KIB) % self._length & -4 * KIB
