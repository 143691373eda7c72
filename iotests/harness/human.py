"""The monitor for people, on both servers alike: what a line answers, wherever the server writes that.

QEMU writes what qemu-io's commands have to say to its standard output and answers an empty text; qmpd answers it.
"""

import re

from iotests.harness.servers import Launcher, Server

_REMARKS = re.compile(r"^blkdebug: .*\n", re.MULTILINE)
_TIMES = re.compile(r"; \d[\d:.]*(?: sec)? \([^)]*\)$", re.MULTILINE)
_MACHINE_TIMES = re.compile(r"^(\d+,1),[\d:.]+,[\d.]+,[\d.]+$", re.MULTILINE)


def launch_monitor(launch: Launcher, *arguments: str, kind: str | None = None) -> Server:
    """A server whose standard output can be read while it runs; of a kind, or of the kind that the test is run on."""
    kind = kind or launch.kind
    wrapper = ("stdbuf", "-oL") if kind == "qemu" else ()
    return launch.peer(kind, *arguments, wrapper=wrapper)


def answer(server: Server, line: str) -> str:
    """What a line has to say, with plain line ends, and without QEMU's remarks on breakpoints."""
    before = len(server.stderr)
    text: str = server.qmp.command("human-monitor-command", {"command-line": line})
    return _REMARKS.sub("", (server.stderr[before:] + text).replace("\r\n", "\n"))


def qemu_io_answer(server: Server, disk: str, command: str) -> str:
    """What a command of qemu-io has to say, without times."""
    return without_times(answer(server, f'qemu-io {disk} "{command}"'))


def without_times(text: str) -> str:
    """What qemu-io has said, without what depends on the clock."""
    return _MACHINE_TIMES.sub(r"\1", _TIMES.sub("", text))
