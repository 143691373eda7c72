"""Character devices and monitors: `--chardev`, `--monitor` and their shorthand `--qmp`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from qmpd.chardev.specs import (
    AVAILABLE,
    REFUSED,
    RINGBUF_SIZE,
    ChardevSpec,
    FileSpec,
    LogSpec,
    NullSpec,
    PipeSpec,
    PtySpec,
    RingbufSpec,
    SerialSpec,
    SocketSpec,
    StdioSpec,
    UdpSpec,
)
from qmpd.options.addresses import read_address
from qmpd.options.model import ChardevOption, MonitorOption, Option
from qmpd.options.trees import read_tree
from qmpd.qapi.values import Values, pairs
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")

_ALIASES = {"tty": "serial", "parport": "parallel"}

_FLAGS = (
    *("abstract", "append", "clipboard", "delay", "ipv4", "ipv6", "logappend", "mouse", "mux", "nodelay", "server"),
    *("signal", "telnet", "tight", "tn3270", "wait", "websocket"),
)
_NUMBERS = ("cols", "debug", "height", "reconnect", "rows", "to", "width")
_TEXTS = (
    *("backend", "chardev", "fd", "host", "id", "input-path", "localaddr", "localport", "logfile", "name", "path"),
    *("port", "size", "tls-authz", "tls-creds"),
)


PARAMETERS = {
    **dict.fromkeys((key for key in _TEXTS if key not in ("id", "size")), "string"),
    **dict.fromkeys(_FLAGS, "boolean"),
    **dict.fromkeys(_NUMBERS, "number"),
    "size": "size",
}
"""The parameters of `--chardev` and their types, as QEMU calls them."""


def chardev_help(text: str) -> str:
    """The types of character devices, whatever was asked."""
    return "\n  ".join(["Types of character devices:", *AVAILABLE]) + "\n"


def read_chardev(text: str) -> ChardevOption:
    """Read the value of `--chardev`."""
    values = Values(pairs(text, "backend"))
    identity = values.text("id")
    if not _IDENTIFIER.fullmatch(identity):
        raise ValueError(f"parameter 'id' must be letters, digits, '-', '.' or '_' behind a letter, not '{identity}'")
    backend = values.text("backend")
    backend = _ALIASES.get(backend, backend)
    if backend in REFUSED:
        raise ValueError(f"chardev type '{backend}' is not available: {REFUSED[backend]}")
    if backend not in _MAKERS:
        raise ValueError(f"chardev type '{backend}' does not exist; there are {', '.join(AVAILABLE)}")
    if values.maybe_flag("mux"):
        raise ValueError(f"parameter 'mux' must be off: {REFUSED['mux']}")
    append = values.flag("logappend", False)
    logfile = values.maybe("logfile")
    spec = _MAKERS[backend](identity, values, None if logfile is None else LogSpec(logfile, append))
    _check_unused(values)
    return ChardevOption(f"--chardev {text}", spec)


def _check_unused(values: Values) -> None:
    """As in QEMU, a parameter of another type of device is read, and has no effect."""
    for key in values.unused():
        if key in _FLAGS:
            values.maybe_flag(key)
        elif key in _NUMBERS:
            values.number(key, 0)
        elif key in _TEXTS:
            values.drop(key)
    values.finish()


def _socket(identity: str, values: Values, log: LogSpec | None) -> SocketSpec:
    return _socket_at(identity, read_address(values), values, log)


def _socket_at(identity: str, address: Address, values: Values, log: LogSpec | None) -> SocketSpec:
    for key in ("telnet", "tn3270", "websocket"):
        if values.maybe_flag(key):
            raise ValueError(f"parameter '{key}' is not available; there are only plain sockets")
    for key in ("tls-creds", "tls-authz"):
        if values.has(key):
            raise ValueError(f"parameter '{key}' is not available; chardevs do not speak TLS")
    if values.has("delay") and values.has("nodelay"):
        raise ValueError("parameters 'delay' and 'nodelay' exclude each other")
    server = values.flag("server", False)
    reconnect = values.number("reconnect", 0)
    if server and reconnect:
        raise ValueError("parameter 'reconnect' is for clients; it does not go with 'server=on'")
    if reconnect and isinstance(address, FdAddress):
        raise ValueError("parameter 'reconnect' needs an address to connect to again, which 'fd' is not")
    if not server and values.has("wait"):
        raise ValueError("parameter 'wait' is for servers; it needs 'server=on'")
    return SocketSpec(identity, address, server, values.flag("wait", True), reconnect, log=log)


def _udp(identity: str, values: Values, log: LogSpec | None) -> UdpSpec:
    ipv4, ipv6 = values.maybe_flag("ipv4"), values.maybe_flag("ipv6")
    if not values.text("port"):
        raise ValueError("parameter 'port' must not be empty")
    remote = InetAddress(values.text("host", "") or "localhost", values.text("port"), 0, ipv4, ipv6)
    local = None
    if values.has("localaddr") or values.has("localport"):
        local = InetAddress(values.text("localaddr", ""), values.text("localport", "") or "0", 0, ipv4, ipv6)
    return UdpSpec(identity, remote, local, log=log)


def _ringbuf(kind: str) -> Callable[[str, Values, LogSpec | None], RingbufSpec]:
    def make(identity: str, values: Values, log: LogSpec | None) -> RingbufSpec:
        return RingbufSpec(identity, values.size("size", RINGBUF_SIZE), kind, log=log)

    return make


def _file(identity: str, values: Values, log: LogSpec | None) -> FileSpec:
    append = values.flag("append", False)
    return FileSpec(identity, values.text("path"), values.maybe("input-path"), append, log=log)


_MAKERS: dict[str, Callable[[str, Values, LogSpec | None], ChardevSpec]] = {
    "file": _file,
    "memory": _ringbuf("memory"),
    "null": lambda identity, values, log: NullSpec(identity, log=log),
    "pipe": lambda identity, values, log: PipeSpec(identity, values.text("path"), log=log),
    "pty": lambda identity, values, log: PtySpec(identity, log=log),
    "ringbuf": _ringbuf("ringbuf"),
    "serial": lambda identity, values, log: SerialSpec(identity, values.text("path"), log=log),
    "socket": _socket,
    "stdio": lambda identity, values, log: StdioSpec(identity, log=log),
    "udp": _udp,
}


class QmpReader:
    """Reads the values of `--qmp`, the shorthand for a chardev and its monitor; numbers the chardevs."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, text: str) -> list[Option]:
        identity = f"compat_monitor{self._number}"
        self._number += 1
        source = f"--qmp {text}"
        return [ChardevOption(source, _read_qmp(text, identity)), MonitorOption(source, identity, False)]


def _read_qmp(text: str, identity: str) -> ChardevSpec:
    where, _, rest = text.partition(",")
    kind, _, place = where.partition(":")
    values = Values(pairs(rest, None))
    address: Address
    if kind == "unix" and place:
        address = UnixAddress(place, values.flag("abstract", False), values.flag("tight", True))
    elif kind == "tcp" and ":" in place:
        host, _, port = place.rpartition(":")
        address = InetAddress(
            host.removeprefix("[").removesuffix("]"),
            port,
            values.number("to", 0),
            values.maybe_flag("ipv4"),
            values.maybe_flag("ipv6"),
        )
    elif where == "stdio":
        values.finish()
        return StdioSpec(identity)
    else:
        raise ValueError("a monitor's place is 'unix:PATH', 'tcp:HOST:PORT' or 'stdio'")
    spec = _socket_at(identity, address, values, None)
    values.drop("delay", "nodelay")
    values.finish()
    return spec


def read_monitor(text: str) -> MonitorOption:
    """Read the value of `--monitor`."""
    tree = read_tree(text, "MonitorOptions", "chardev")
    for key in tree:
        if key not in ("chardev", "id", "mode", "pretty"):
            raise ValueError(f"parameter '{key}' is unknown here")
    for key in ("chardev", "id"):
        _check_text(tree, key)
    if "chardev" not in tree:
        raise ValueError("parameter 'chardev' is missing")
    if tree.get("mode", "control") != "control":
        raise ValueError(f"parameter 'mode' must be 'control', not '{tree['mode']}'")
    pretty = tree.get("pretty", False)
    if not isinstance(pretty, bool):
        raise ValueError("parameter 'pretty' must be on or off")
    return MonitorOption(f"--monitor {text}", tree["chardev"], pretty)


def _check_text(tree: dict[str, Any], key: str) -> None:
    if not isinstance(tree.get(key, ""), str):
        raise ValueError(f"parameter '{key}' must be text")
