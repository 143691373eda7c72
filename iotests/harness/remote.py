"""NBD servers that are somebody else's: what a server under test connects to as a client."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from iotests.harness.images import Disk, Scratch
from iotests.harness.servers import START_TIMEOUT, _listens


class QemuNbd:
    """A qemu-nbd that exports one image under the name `x`, and can be killed and started again.

    :ivar uri: of the export.
    """

    def __init__(self, scratch: Scratch, image: Disk | Path, *options: str, image_format: str = "raw") -> None:
        image = image.path if isinstance(image, Disk) else image
        self.path = scratch / f"{image.stem}.sock"
        self.uri = f"nbd+unix:///x?socket={self.path}"
        self._argv = ["qemu-nbd", "-t", "-k", str(self.path), "-x", "x", "-f", image_format]
        self._argv += options if any(option.startswith("--shared") for option in options) else ["--shared=0", *options]
        self._argv.append(str(image))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "QemuNbd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(self._argv)
        deadline = time.monotonic() + START_TIMEOUT
        while not _listens(self.path):
            assert self._process.poll() is None and time.monotonic() < deadline, "qemu-nbd did not start"
            time.sleep(0.01)  # a listening socket announces itself in no other way

    def kill(self) -> None:
        """Kill it, if it runs, as if its host had died."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it hold its connections, and answer nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def options(self, **more: Any) -> dict[str, Any]:
        """The options of a node on the export."""
        return {"driver": "nbd", "server": {"type": "unix", "path": str(self.path)}, "export": "x", **more}
