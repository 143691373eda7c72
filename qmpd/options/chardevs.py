"""Character devices and monitors: `--chardev`, `--monitor` and their shorthand `--qmp`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qmpd.monitor.chardev import ChardevOptions, SocketChardev, StdioChardev
from qmpd.options.addresses import read_address, read_port
from qmpd.options.model import ChardevOption, MonitorOption, Option, OptionError
from qmpd.qapi.values import Values, pairs
from qmpd.sockets import Address, InetAddress, UnixAddress

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def read_chardev(text: str) -> ChardevOption:
    """Read the value of `--chardev`."""
    values = Values(pairs(text, "backend"))
    backend = values.text("backend")
    identity = values.text("id")
    if not _IDENTIFIER.fullmatch(identity):
        raise ValueError(f"parameter 'id' must be letters, digits, '-', '.' or '_' behind a letter, not '{identity}'")
    if backend == "socket":
        chardev: ChardevOptions = _socket(identity, read_address(values), values)
    elif backend == "stdio":
        values.drop("signal", "mux")
        chardev = StdioChardev(identity)
    else:
        raise ValueError(f"chardev type '{backend}' does not exist; 'socket' and 'stdio' do")
    values.finish()
    return ChardevOption(f"--chardev {text}", chardev)


def _socket(identity: str, address: Address, values: Values) -> SocketChardev:
    server = values.flag("server", False)
    reconnect = values.number("reconnect", 0)
    values.drop("delay", "nodelay")
    if server and reconnect:
        raise ValueError("parameter 'reconnect' is for clients; it does not go with 'server=on'")
    if not server and values.has("wait"):
        raise ValueError("parameter 'wait' is for servers; it needs 'server=on'")
    return SocketChardev(identity, address, server, values.flag("wait", True), reconnect)


def read_monitor(text: str) -> MonitorOption:
    """Read the value of `--monitor`."""
    values = Values(pairs(text, "chardev"))
    values.drop("id")
    mode = values.text("mode", "control")
    if mode != "control":
        raise ValueError(f"parameter 'mode' must be 'control', not '{mode}'")
    option = MonitorOption(f"--monitor {text}", values.text("chardev"), values.flag("pretty", False))
    values.finish()
    return option


class QmpReader:
    """Reads the values of `--qmp`, the shorthand for a chardev and its monitor; numbers the chardevs."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, text: str) -> list[Option]:
        identity = f"compat_monitor{self._number}"
        self._number += 1
        return _read_qmp(text, identity)


def _read_qmp(text: str, identity: str) -> list[Option]:
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
            read_port(port),
            values.number("to", 0),
            values.maybe_flag("ipv4"),
            values.maybe_flag("ipv6"),
        )
    elif where == "stdio":
        values.finish()
        return _qmp_steps(text, StdioChardev(identity))
    else:
        raise ValueError("a monitor's place is 'unix:PATH', 'tcp:HOST:PORT' or 'stdio'")
    chardev = _socket(identity, address, values)
    values.finish()
    return _qmp_steps(text, chardev)


def _qmp_steps(text: str, chardev: ChardevOptions) -> list[Option]:
    source = f"--qmp {text}"
    return [ChardevOption(source, chardev), MonitorOption(source, chardev.id, False)]


def check_chardevs(steps: Sequence[Option]) -> None:
    """Each monitor has a chardev of its own that is given before it.

    :raises OptionError: with the message for the user.
    """
    free: set[str] = set()
    seen: set[str] = set()
    for step in steps:
        if isinstance(step, ChardevOption):
            if step.chardev.id in seen:
                raise OptionError(f"{step.source}: chardev id '{step.chardev.id}' is used twice")
            seen.add(step.chardev.id)
            free.add(step.chardev.id)
        elif isinstance(step, MonitorOption):
            if step.chardev not in seen:
                raise OptionError(f"{step.source}: chardev '{step.chardev}' does not exist; give it before")
            if step.chardev not in free:
                raise OptionError(f"{step.source}: chardev '{step.chardev}' has a monitor already")
            free.remove(step.chardev)
