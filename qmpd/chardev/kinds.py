"""The character device that a spec describes. Kinds other than sockets are loaded when one is made."""

from __future__ import annotations

from qmpd.chardev.base import Chardev, Spawn
from qmpd.chardev.sockets import ConnectingChardev, ListeningChardev
from qmpd.chardev.specs import (
    ChardevSpec,
    FileSpec,
    NullSpec,
    PipeSpec,
    PtySpec,
    RingbufSpec,
    SerialSpec,
    SocketSpec,
    StdioSpec,
    UdpSpec,
)


def make_chardev(spec: ChardevSpec, spawn: Spawn) -> Chardev:
    """The device, not yet open.

    :param spawn: runs the client that connects again in the background.
    """
    match spec:
        case SocketSpec():
            return ListeningChardev(spec) if spec.server else ConnectingChardev(spec, spawn)
        case StdioSpec() | FileSpec() | PipeSpec() | SerialSpec():
            return _make_stream(spec)
        case PtySpec():
            from qmpd.chardev.pty import PtyChardev

            return PtyChardev(spec)
        case NullSpec():
            from qmpd.chardev.memory import NullChardev

            return NullChardev(spec)
        case RingbufSpec():
            from qmpd.chardev.memory import RingbufChardev

            return RingbufChardev(spec)
        case UdpSpec():
            from qmpd.chardev.udp import UdpChardev

            return UdpChardev(spec)


def _make_stream(spec: StdioSpec | FileSpec | PipeSpec | SerialSpec) -> Chardev:
    from qmpd.chardev.streams import FileChardev, PipeChardev, SerialChardev, StdioChardev

    match spec:
        case StdioSpec():
            return StdioChardev(spec)
        case FileSpec():
            return FileChardev(spec)
        case PipeSpec():
            return PipeChardev(spec)
        case SerialSpec():
            return SerialChardev(spec)
