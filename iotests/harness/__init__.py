"""What every black-box suite stands on: servers, a QMP client, scratch images and the judges of their
contents.

Leans on the standard library and on the installed QEMU and libnbd tools. Must never import qmpd: what it
knows of the daemon is what any client could know.
"""

from iotests.harness.images import Disk, Scratch
from iotests.harness.qmp import Event, QMPClient, QMPRefused, QMPTimeout
from iotests.harness.servers import (
    SERVER_KINDS,
    Launcher,
    QemuStorageDaemon,
    QemuSystem,
    QmpdServer,
    Server,
    ServerDied,
)
from iotests.harness.trace import Trace, trace_of

__all__ = [
    "SERVER_KINDS",
    "Disk",
    "Event",
    "Launcher",
    "QMPClient",
    "QMPRefused",
    "QMPTimeout",
    "QemuStorageDaemon",
    "QemuSystem",
    "QmpdServer",
    "Scratch",
    "Server",
    "ServerDied",
    "Trace",
    "trace_of",
]
