"""What character devices there can be, as data: one class a kind, the same from the command line and from QMP."""

from __future__ import annotations

from dataclasses import dataclass

from qmpd.sockets import Address, InetAddress

RINGBUF_SIZE = 65536


@dataclass(frozen=True, slots=True)
class LogSpec:
    """Where a copy of all that is written to a device goes.

    :param append: behind what the file has; otherwise it is emptied.
    """

    path: str
    append: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    log: LogSpec | None = None


@dataclass(frozen=True, slots=True)
class SocketSpec(_Common):
    """A socket.

    :param server: listen; otherwise connect.
    :param wait: as server, `open` waits for the first client.
    :param reconnect: as client, seconds until a lost connection is tried again; 0 for never.
    """

    id: str
    address: Address
    server: bool = False
    wait: bool = True
    reconnect: int = 0


@dataclass(frozen=True, slots=True)
class StdioSpec(_Common):
    """Standard input and output."""

    id: str


@dataclass(frozen=True, slots=True)
class FileSpec(_Common):
    """A file that is written to.

    :param input: a file that is read from, or None.
    :param append: write behind what the file has; otherwise it is emptied.
    """

    id: str
    output: str
    input: str | None = None
    append: bool = False


@dataclass(frozen=True, slots=True)
class PipeSpec(_Common):
    """Two named pipes, `path.in` and `path.out`, or one, `path`."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class SerialSpec(_Common):
    """A serial line of the host, or any other terminal."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class PtySpec(_Common):
    """A new pseudo terminal, of which somebody else uses the other side."""

    id: str


@dataclass(frozen=True, slots=True)
class NullSpec(_Common):
    """Takes everything and gives nothing."""

    id: str


@dataclass(frozen=True, slots=True)
class RingbufSpec(_Common):
    """Memory that keeps the last bytes that were written.

    :param size: how many bytes, a power of two.
    :param kind: which of its two names it was asked for by, `ringbuf` or `memory`.
    """

    id: str
    size: int = RINGBUF_SIZE
    kind: str = "ringbuf"


@dataclass(frozen=True, slots=True)
class UdpSpec(_Common):
    """Datagrams.

    :param remote: where they go.
    :param local: where they come to, or None for a port that the kernel picks.
    """

    id: str
    remote: InetAddress
    local: InetAddress | None = None


ChardevSpec = SocketSpec | StdioSpec | FileSpec | PipeSpec | SerialSpec | PtySpec | NullSpec | RingbufSpec | UdpSpec

AVAILABLE = ("file", "memory", "null", "pipe", "pty", "ringbuf", "serial", "socket", "stdio", "udp")
"""The kinds that can be made, by QEMU's names."""

_NO_MACHINE = "it belongs to a virtual machine, and there is none here"
_NO_DISPLAY = "there is no display here"

REFUSED = {
    "parallel": "parallel ports are not supported",
    "mux": "there is nothing here that could share a device; give each monitor a chardev of its own",
    "msmouse": _NO_MACHINE,
    "wctablet": _NO_MACHINE,
    "braille": _NO_MACHINE,
    "testdev": _NO_MACHINE,
    "console": "there is no console of that kind on this system",
    "spicevmc": _NO_DISPLAY,
    "spiceport": _NO_DISPLAY,
    "qemu-vdagent": _NO_DISPLAY,
    "dbus": _NO_DISPLAY,
    "vc": _NO_DISPLAY,
}
"""The kinds that QEMU has and qmpd has not, and why."""
