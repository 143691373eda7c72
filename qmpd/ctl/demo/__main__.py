"""`python -m qmpd.ctl.demo`: run the story; exit status 0 only when every check held."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from qmpd.ctl.demo.layers import Layers
from qmpd.ctl.demo.narrator import Narrator
from qmpd.ctl.demo.server import Server
from qmpd.ctl.demo.story import CheckFailed, Story
from qmpd.ctl.failure import CtlError


async def tell(directory: Path, narrator: Narrator) -> None:
    """Tell the story of the raw disks, then the chapter about qcow2; each starts and stops its own daemon.

    :raise CheckFailed: something is not as it should be.
    :raise CtlError: the daemon refused or vanished.
    """
    task = asyncio.current_task()
    if task is not None:
        # As Ctrl-C does: nothing may be left behind, neither a daemon nor files.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    server = Server(directory)
    async with server.running() as session:
        await Story(directory, server, session, narrator).tell()
    await Layers(directory, narrator).tell()


def main() -> int:
    """Run the demo in a temporary directory and return its exit status."""
    narrator = Narrator()
    with tempfile.TemporaryDirectory(prefix="qmpd-demo-") as directory:
        try:
            asyncio.run(tell(Path(directory), narrator))
        except (CheckFailed, CtlError, OSError) as error:
            narrator.failure(str(error))
            return 1
        except (KeyboardInterrupt, asyncio.CancelledError):
            narrator.failure("interrupted")
            return 130
    narrator.summary()
    return 0


if __name__ == "__main__":
    sys.exit(main())
