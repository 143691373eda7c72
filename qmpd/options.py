"""The command line, in qemu-storage-daemon's spelling, to typed options in the order in which they were given.

Options begin with one dash or two; a value follows as the next word or behind `=`. This module only reads text:
what it takes is checked where it is used, and it never opens, binds or starts anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qmpd.monitor.chardev import ChardevOptions, SocketChardev, StdioChardev
from qmpd.sockets import Address, FdAddress, InetAddress, UnixAddress

USAGE = """\
Usage: qmpd [options]
A storage daemon that speaks QMP.

  -h, --help             show this help and exit
  -V, --version          show the version and exit
  -T, --trace <text>     accepted and ignored

  --chardev socket,id=<id>,path=<path>[,server=on|off][,wait=on|off]
            [,reconnect=<seconds>][,abstract=on|off][,tight=on|off]
  --chardev socket,id=<id>,host=<host>,port=<port>[,to=<port>]
            [,ipv4=on|off][,ipv6=on|off][,server=on|off][,wait=on|off]
            [,reconnect=<seconds>]
  --chardev socket,id=<id>,fd=<number>[,server=on|off][,wait=on|off]
  --chardev stdio,id=<id>
                         open a character device for a monitor
  --monitor [chardev=]<id>[,mode=control][,pretty=on|off]
                         serve QMP on a character device
  --qmp unix:<path>[,server=on|off][,wait=on|off]
  --qmp tcp:<host>:<port>[,server=on|off][,wait=on|off]
                         both of the above in one
  --blockdev [driver=]<driver>[,node-name=<name>][,<key>=<value>...] | <JSON>
                         add a block node
  --object [qom-type=]<type>,id=<id>[,<property>=<value>...] | <JSON>
  --object help | <type>,help
                         make an object; list the types, or a type's properties
  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<number>]
  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>[,...]
                         start the NBD server
  --export [type=]nbd,id=<id>,node-name=<name>[,name=<name>][,writable=on|off]
                         export a block node
  --daemonize            go to the background once everything is up
  --pidfile <path>       write the process id to a file, and lock it

Options that build something are carried out in the order in which they stand.
"""


class OptionError(Exception):
    """The command line is wrong; says where and what would have been right."""


@dataclass(frozen=True, slots=True)
class ChardevOption:
    """`--chardev`; `source` is the option as it was written, for messages (here and below)."""

    source: str
    chardev: ChardevOptions


@dataclass(frozen=True, slots=True)
class MonitorOption:
    """`--monitor`."""

    source: str
    chardev: str
    pretty: bool


@dataclass(frozen=True, slots=True)
class BlockdevOption:
    """`--blockdev`; `arguments` are those of blockdev-add."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectOption:
    """`--object`; `arguments` are those of object-add. `source` leaves out the properties: they may be secret."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NbdServerOption:
    """`--nbd-server`; `arguments` are those of nbd-server-start."""

    source: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportOption:
    """`--export`; `arguments` are those of block-export-add."""

    source: str
    arguments: dict[str, Any]


Option = ChardevOption | MonitorOption | ObjectOption | BlockdevOption | NbdServerOption | ExportOption


@dataclass(frozen=True, slots=True)
class Options:
    """All of the command line.

    :param steps: what is to be built, in order.
    :param daemonize: go to the background when everything is up.
    :param pidfile: where the process id is written, or None.
    :param answer: text to print instead of running (`--help`, `--version`), or None.
    """

    steps: tuple[Option, ...] = ()
    daemonize: bool = False
    pidfile: str | None = None
    answer: str | None = None


_WITH_VALUE = ("chardev", "monitor", "qmp", "object", "blockdev", "nbd-server", "export", "pidfile", "trace")
_WITHOUT_VALUE = ("daemonize", "help", "version")
_SHORT = {"h": "help", "V": "version", "T": "trace"}
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def parse_options(words: Sequence[str], version: str) -> Options:
    """Read the words behind the program's name.

    :param version: what `--version` prints.
    :raises OptionError: with the message for the user.
    """
    steps: list[Option] = []
    daemonize = False
    pidfile: str | None = None
    compat = 0
    for name, value in _split(words):
        if name == "help":
            return Options(answer=USAGE)
        if name == "version":
            return Options(answer=f"qmpd version {version}\n")
        if name == "object" and _asks_for_help(value):
            return Options(answer=_object_help(value))
        if name == "daemonize":
            daemonize = True
        elif name == "pidfile":
            pidfile = value
        elif name == "qmp":
            steps += _located(name, value, lambda text, number=compat: _qmp(text, number))  # type: ignore[misc]
            compat += 1
        elif name in _READERS:
            steps.append(_located(name, value, _READERS[name]))
    _check_chardevs(steps)
    return Options(tuple(steps), daemonize, pidfile)


def _split(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options' full names and values."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word in ("-", "--"):
            raise OptionError(f"{word}: unexpected argument; options begin with '--'")
        name, equals, value = word.lstrip("-").partition("=")
        name = _full_name(word, name)
        if name in _WITHOUT_VALUE:
            if equals:
                raise OptionError(f"--{name}: takes no value")
            yield name, ""
            continue
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise OptionError(f"--{name}: needs a value") from None
        yield name, value


def _full_name(word: str, name: str) -> str:
    """The option that `name` is, or is the beginning of."""
    known = _WITH_VALUE + _WITHOUT_VALUE
    if name in _SHORT and not word.startswith("--"):
        return _SHORT[name]
    if name in known:
        return name
    candidates = [candidate for candidate in known if name and candidate.startswith(name)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise OptionError(f"--{name}: is short for any of {', '.join(candidates)}")
    raise OptionError(f"{word}: unknown option; see 'qmpd --help'")


def _located(name: str, value: str, read: Callable[[str], Any]) -> Any:
    """`read(value)`, with the option named in whatever goes wrong."""
    try:
        return read(value)
    except ValueError as error:
        if name == "object":  # its properties may be secret
            raise OptionError(f"--object: {error}") from error
        raise OptionError(f"--{name} {value}: {error}") from error


def _check_chardevs(steps: list[Option]) -> None:
    """Each monitor has a chardev of its own that is given before it."""
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


# -- chardevs


def _chardev(text: str) -> ChardevOption:
    values = _Values(_pairs(text, "backend"))
    backend = values.text("backend")
    identity = values.text("id")
    if not _IDENTIFIER.fullmatch(identity):
        raise ValueError(f"parameter 'id' must be letters, digits, '-', '.' or '_' behind a letter, not '{identity}'")
    if backend == "socket":
        chardev: ChardevOptions = _socket(identity, _address(values), values)
    elif backend == "stdio":
        values.drop("signal", "mux")
        chardev = StdioChardev(identity)
    else:
        raise ValueError(f"chardev type '{backend}' does not exist; 'socket' and 'stdio' do")
    values.finish()
    return ChardevOption(f"--chardev {text}", chardev)


def _socket(identity: str, address: Address, values: _Values) -> SocketChardev:
    server = values.flag("server", False)
    reconnect = values.number("reconnect", 0)
    values.drop("delay", "nodelay")
    if server and reconnect:
        raise ValueError("parameter 'reconnect' is for clients; it does not go with 'server=on'")
    if not server and values.has("wait"):
        raise ValueError("parameter 'wait' is for servers; it needs 'server=on'")
    return SocketChardev(identity, address, server, values.flag("wait", True), reconnect)


def _address(values: _Values) -> Address:
    kinds = [key for key in ("path", "host", "port", "fd") if values.has(key)]
    if kinds == ["path"]:
        return UnixAddress(values.text("path"), values.flag("abstract", False), values.flag("tight", True))
    if kinds == ["fd"]:
        return FdAddress(values.number("fd", 0))
    if "port" in kinds and not {"path", "fd"} & set(kinds):
        return InetAddress(
            values.text("host", ""),
            _port(values.text("port")),
            values.number("to", 0),
            values.maybe_flag("ipv4"),
            values.maybe_flag("ipv6"),
        )
    raise ValueError("a socket needs one of 'path', 'fd', or 'host' and 'port'")


def _port(text: str) -> str:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise ValueError(f"parameter 'port' must be a number below 65536, not '{text}'")
    return text


def _qmp(text: str, number: int) -> list[Option]:
    """The shorthand for a chardev and its monitor."""
    where, _, rest = text.partition(",")
    kind, _, place = where.partition(":")
    values = _Values(_pairs(rest, None))
    address: Address
    if kind == "unix" and place:
        address = UnixAddress(place, values.flag("abstract", False), values.flag("tight", True))
    elif kind == "tcp" and ":" in place:
        host, _, port = place.rpartition(":")
        address = InetAddress(
            host.removeprefix("[").removesuffix("]"),
            _port(port),
            values.number("to", 0),
            values.maybe_flag("ipv4"),
            values.maybe_flag("ipv6"),
        )
    elif where == "stdio":
        values.finish()
        return _qmp_steps(text, StdioChardev(f"compat_monitor{number}"))
    else:
        raise ValueError("a monitor's place is 'unix:PATH', 'tcp:HOST:PORT' or 'stdio'")
    chardev = _socket(f"compat_monitor{number}", address, values)
    values.finish()
    return _qmp_steps(text, chardev)


def _qmp_steps(text: str, chardev: ChardevOptions) -> list[Option]:
    source = f"--qmp {text}"
    return [ChardevOption(source, chardev), MonitorOption(source, chardev.id, False)]


def _monitor(text: str) -> MonitorOption:
    values = _Values(_pairs(text, "chardev"))
    values.drop("id")
    mode = values.text("mode", "control")
    if mode != "control":
        raise ValueError(f"parameter 'mode' must be 'control', not '{mode}'")
    option = MonitorOption(f"--monitor {text}", values.text("chardev"), values.flag("pretty", False))
    values.finish()
    return option


def _pairs(text: str, implied_key: str | None) -> dict[str, str]:
    """`key=value,...`; `,,` stands for a comma; a bare `key` is `key=on`, a bare `nokey` is `key=off`."""
    pairs: dict[str, str] = {}
    words = [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")] if text else []
    for index, word in enumerate(words):
        key, equals, value = word.partition("=")
        if not equals and index == 0 and implied_key is not None:
            key, value = implied_key, word
        elif not equals:
            key, value = (word[2:], "off") if word.startswith("no") and word != "nodelay" else (word, "on")
        pairs[key] = value
    return pairs


class _Values:
    """The parameters of one option; what nobody asked for is an error in the end."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = pairs
        self._used: set[str] = set()

    def has(self, key: str) -> bool:
        return key in self._pairs

    def text(self, key: str, default: str | None = None) -> str:
        self._used.add(key)
        value = self._pairs.get(key, default)
        if value is None:
            raise ValueError(f"parameter '{key}' is missing")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.maybe_flag(key)
        return default if value is None else value

    def maybe_flag(self, key: str) -> bool | None:
        self._used.add(key)
        value = self._pairs.get(key)
        if value is None:
            return None
        if value in ("on", "yes", "true", "y"):
            return True
        if value in ("off", "no", "false", "n"):
            return False
        raise ValueError(f"parameter '{key}' must be 'on' or 'off', not '{value}'")

    def number(self, key: str, default: int) -> int:
        self._used.add(key)
        value = self._pairs.get(key, str(default))
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"parameter '{key}' must be a number, not '{value}'")
        return int(value)

    def drop(self, *keys: str) -> None:
        """Parameters that change nothing here."""
        self._used.update(keys)

    def finish(self) -> None:
        for key in self._pairs:
            if key not in self._used:
                raise ValueError(f"parameter '{key}' is unknown here")


# -- options that are commands


def _tree(text: str, type_name: str, implied_key: str | None) -> dict[str, Any]:
    """JSON, or key=value text with its strings converted as the schema says."""
    if text.startswith("{"):
        return _json_object(text)
    from qmpd.api.keyval_types import TYPES
    from qmpd.qapi import keyval

    tree = keyval.convert(keyval.parse(text, implied_key), type_name, TYPES)
    assert isinstance(tree, dict)
    return tree


def _json_object(text: str) -> dict[str, Any]:
    from qmpd.wire.framing import Framer

    values = Framer().feed(text.encode(errors="surrogateescape"))
    if len(values) == 1 and isinstance(values[0], dict):
        return values[0]
    raise ValueError("the text begins like a JSON object but is none")


def _blockdev(text: str) -> BlockdevOption:
    return BlockdevOption(f"--blockdev {text}", _tree(text, "BlockdevOptions", "driver"))


def _object(text: str) -> ObjectOption:
    arguments = _tree(text, "ObjectOptions", "qom-type")
    return ObjectOption(f"--object {arguments.get('qom-type', '')},id={arguments.get('id', '')}", arguments)


def _asks_for_help(text: str) -> bool:
    return text in ("help", "?") or text.endswith((",help", ",?"))


def _object_help(text: str) -> str:
    """The types of objects, or the properties of one.

    :raises OptionError: there is no such type.
    """
    from qmpd.objects.types import user_class, user_types

    names = sorted(kind.name for kind in user_types())
    if "," not in text:
        return "\n  ".join(["Types of objects:", *names]) + "\n"
    name = text.partition(",")[0].removeprefix("qom-type=")
    if name not in names:
        raise OptionError(f"--object {name}: there is no such type; there are {', '.join(names)}")
    given = sorted((found.name, found.type) for found in user_class(name).all_properties() if found.set is not None)
    return "\n  ".join([f"Properties of {name}:", *(f"{key}=<{value}>" for key, value in given)]) + "\n"


def _nbd_server(text: str) -> NbdServerOption:
    return NbdServerOption(f"--nbd-server {text}", _legacy_address(_tree(text, "NbdServerOptions", None)))


def _legacy_address(arguments: dict[str, Any]) -> dict[str, Any]:
    """The option's flat address in the form of nbd-server-start, which has its members below `data`."""
    address = arguments.get("addr")
    if not isinstance(address, dict) or "type" not in address:
        raise ValueError("parameter 'addr.type' is missing; it must be 'inet' or 'unix'")
    members = {key: value for key, value in address.items() if key != "type"}
    return {**arguments, "addr": {"type": address["type"], "data": members}}


def _export(text: str) -> ExportOption:
    return ExportOption(f"--export {text}", _tree(text, "BlockExportOptions", "type"))


_READERS: Mapping[str, Callable[[str], Option]] = {
    "chardev": _chardev,
    "monitor": _monitor,
    "object": _object,
    "blockdev": _blockdev,
    "nbd-server": _nbd_server,
    "export": _export,
}
