"""File names: from the text by which somebody names an image to the options that open it.

A name is a path, a protocol with something after it (`nbd://host/export`, `blkdebug:rules:image`), or `json:` with the
options themselves. What follows here is what QEMU makes of such text (its block layer's rules for protocol prefixes,
and its documentation of image names); `parse_filename` is the only place that knows. Options are trees: objects with
the schema's names, strings where a name held nothing else; `validate` makes a model of them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from qmpd.errors import GenericError
from qmpd.nbd.numbers import DEFAULT_PORT

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions
    from qmpd.block.node import BlockNode

Tree = dict[str, Any]

_PROTOCOL = re.compile(r"([^/:]*):")
_URL = re.compile(r"[a-z+]+://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:[^@]*@)?(\[[^]]*\]|[^:\[]*)(?::([0-9]{0,9}))?")
_HOST_AND_PORT = re.compile(r"(?:\[([^]]*)\]|([^:]*)):([^,]+)")
_EXPORT_NAME = ":exportname="
_MAX_NESTING = 64
_SHOWN = 200


def has_protocol(name: str) -> bool:
    """Whether a name begins with a protocol: it has a colon, and no slash before it."""
    return _PROTOCOL.match(name) is not None


def parse_filename(name: str) -> Tree:
    """The options that a file name stands for: those of the protocol, or of whatever a `json:` name describes.

    Looks at the file system for one thing: whether a path leads to a device, which has a driver of its own.

    :raises GenericError: the name is empty or ill-formed, or its protocol is not known.
    """
    if not name:
        raise GenericError("A file name is empty")
    if name.startswith("json:"):
        return _parse_json(name)
    match = _PROTOCOL.match(name)
    if _is_device(name):
        return {"driver": "host_device", "filename": name}
    if match is None:
        return {"driver": "file", "filename": name}
    parser = _PARSERS.get(match[1])
    if parser is None:
        raise GenericError(
            f"File name '{name[:_SHOWN]}' begins with the protocol '{match[1][:_SHOWN]}', which is not known here; "
            "a path with a colon in it can be written './...'"
        )
    return parser(name)


def full_name(name: str, image: BlockNode) -> str | None:
    """The name by which a file that `image` names is found: a relative path counts from the image's directory.

    None if the image lies in no directory and the name needs one.
    """
    if not name or name.startswith("/") or has_protocol(name):
        return name
    place = _path_of(image)
    if place is None:
        return None
    return os.path.join(os.path.dirname(place), name)  # noqa: PTH118, PTH120 - text as the user knows it


def is_same_path(one: str | None, other: str) -> bool:
    """Whether two names are the same path, one of them counted from the working directory."""
    if one is None or has_protocol(one) or has_protocol(other):
        return False
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100 - text only, nothing is looked at


def _path_of(image: BlockNode) -> str | None:
    """The path of the host file in which an image lies, whatever filters and formats are above it."""
    node = image
    while (main := node.driver.main_child) is not None:
        child = node.children.get(main)
        if child is None:
            return None
        node = child.node
    paths = node.driver.host_paths()
    return paths[0] if paths else None


def validate(tree: Tree, what: str) -> BlockdevOptions:
    """A tree of options as a model, after `complete` and with strings read as what the schema wants.

    :param what: what the options are for, for the error.
    :raises GenericError: they do not fit the schema.
    """
    from pydantic import TypeAdapter, ValidationError

    from qmpd.api.keyval_types import TYPES
    from qmpd.api.models import BlockdevOptions as Options
    from qmpd.qapi.keyval import KeyvalError, convert

    adapter: TypeAdapter[BlockdevOptions] = TypeAdapter(Options)
    try:
        return adapter.validate_python(convert(complete(tree), "BlockdevOptions", TYPES))
    except KeyvalError as error:
        raise GenericError(f"The options of {what} cannot be read: {error}") from error
    except ValidationError as error:
        from qmpd.qapi.explain import explain

        raise GenericError(f"The options of {what} do not fit: {explain(error, TYPES)}") from error


def complete(tree: Tree) -> Tree:
    """Options with what QEMU fills in: the driver of a child that has a file name, and the place of an NBD server.

    An NBD server's address may be written as `host` and `port`, or `path`, beside the other options.
    """
    tree = {key: complete(_protocol(key, value)) if isinstance(value, dict) else value for key, value in tree.items()}
    if tree.get("driver") == "nbd" and "server" not in tree:
        place = {key: tree.pop(key) for key in ("path", "host", "port") if key in tree}
        if "path" in place:
            tree["server"] = {"type": "unix", "path": place["path"]}
        elif "host" in place:
            tree["server"] = {"type": "inet", "host": place["host"], "port": place.get("port", str(DEFAULT_PORT))}
    return tree


def _protocol(role: str, child: Tree) -> Tree:
    name = child.get("filename")
    if role == "backing" or "driver" in child or not isinstance(name, str):
        return child
    return {"driver": "host_device" if _is_device(name) else "file", **child}


def _is_device(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - text as the user knows it, which may be no path at all
    except (OSError, ValueError):
        return False
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


# json:


def _parse_json(name: str) -> Tree:
    from qmpd.wire.framing import Framer

    # A byte that no text has ends what was begun, so that text that breaks off is reported, too.
    values = Framer().feed(name.removeprefix("json:").encode(errors="surrogateescape") + b"\n\xff")
    if len(values) != 2 or not isinstance(values[0], dict):
        raise GenericError(f"File name '{name[:_SHOWN]}' begins with 'json:', and what follows is no JSON object")
    return nested(values[0])


def nested(options: Tree, depth: int = 0) -> Tree:
    """Options with dotted keys as a tree, numbers and truth values as the text that would be typed for them.

    :raises GenericError: a key is given in both forms, or all is nested too deeply.
    """
    tree: Tree = {}
    for key, value in options.items():
        place = tree
        *path, last = key.split(".")
        if len(path) + depth > _MAX_NESTING:
            raise GenericError(f"'{key[:_SHOWN]}' is nested too deeply")
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise GenericError(f"'{key[:_SHOWN]}' contradicts '{part}' beside it")
        _put(place, last, _plain(value, depth + len(path) + 1))
    return {key: _with_list(value) for key, value in tree.items()}


def _put(place: Tree, key: str, value: object) -> None:
    present = place.get(key)
    if isinstance(present, dict) and isinstance(value, dict):
        for inner, one in value.items():
            _put(present, inner, one)
    elif key in place:
        raise GenericError(f"'{key[:_SHOWN]}' is given twice")
    else:
        place[key] = value


def _plain(value: object, depth: int) -> object:
    match value:
        case dict():
            return nested(value, depth)
        case list():
            if depth > _MAX_NESTING:
                raise GenericError("The options are nested too deeply")
            return [_plain(one, depth + 1) for one in value]
        case bool():
            return "on" if value else "off"
        case int() | float():
            return str(value)
    return value


def _with_list(value: object) -> object:
    """A list for an object whose keys are its indexes (`children.0`, `children.1`)."""
    if not isinstance(value, dict) or not value or set(value) != {str(number) for number in range(len(value))}:
        return value
    return [value[str(number)] for number in range(len(value))]


# Protocols. What is after the colon may again look like a protocol: a path is then kept from being taken for one.


def _parse_path(name: str) -> Tree:
    driver, _, path = name.partition(":")
    return {"driver": driver, "filename": f"./{path}" if has_protocol(path) else path}


def _parse_null(name: str) -> Tree:
    driver, _, rest = name.partition(":")
    if rest != "//":
        raise GenericError(f"File name '{name[:_SHOWN]}' is not understood; it can only be '{driver}://'")
    return {"driver": driver}


def _parse_blkdebug(name: str) -> Tree:
    if name.count("blkdebug:") > _MAX_NESTING:
        raise GenericError(f"File name '{name[:_SHOWN]}' is nested too deeply")
    config, colon, image = name.removeprefix("blkdebug:").partition(":")
    if not colon:
        raise GenericError(f"File name '{name[:_SHOWN]}' names no image; it is written 'blkdebug:[RULES]:IMAGE'")
    rules = {"config": config} if config else {}
    return {"driver": "blkdebug", **rules, "image": parse_filename(image)}


def _parse_nbd(name: str) -> Tree:
    if "://" in name:
        return _parse_nbd_url(name)
    if not name.startswith("nbd:"):
        raise _no_url(name, "it is not of that form")
    place, marker, export = name.removeprefix("nbd:").partition(_EXPORT_NAME)
    if marker and not export:
        raise GenericError(f"File name '{name[:_SHOWN]}' has an empty export name; leave out '{_EXPORT_NAME}'")
    return _nbd(_nbd_place(place, name), export)


def _nbd_place(place: str, name: str) -> Tree:
    if place.startswith("unix:"):
        return {"type": "unix", "path": place.removeprefix("unix:")}
    match = _HOST_AND_PORT.fullmatch(place)
    if match is None:
        raise GenericError(
            f"File name '{name[:_SHOWN]}' names no NBD server; it is written 'nbd:HOST:PORT' or 'nbd:unix:PATH', and "
            f"'{_EXPORT_NAME}NAME' may follow"
        )
    return {"type": "inet", "host": match[1] or match[2] or "", "port": match[3]}


def _parse_nbd_url(name: str) -> Tree:
    url = _URL.fullmatch(name)
    authority = None if url is None else _AUTHORITY.fullmatch(url[1])
    if url is None or authority is None:
        raise _no_url(name, "it is not of that form")
    export = unquote(url[2]).lstrip("/")
    parameters = [pair.partition("=") for pair in re.split("[&;]", url[3] or "") if pair]
    if name.startswith("nbd+unix:"):
        if url[1]:
            raise _no_url(name, "there can be no host beside a socket")
        if [key for key, _, _ in parameters] != ["socket"]:
            raise _no_url(name, "'?socket=PATH' has to follow, and nothing else")
        return _nbd({"type": "unix", "path": unquote(parameters[0][2])}, export)
    if not authority[1]:
        raise _no_url(name, "the host is missing")
    if parameters:
        raise _no_url(name, f"there is no parameter '{parameters[0][0][:_SHOWN]}'")
    port = int(authority[2] or 0) or DEFAULT_PORT
    return _nbd({"type": "inet", "host": unquote(authority[1].strip("[]")), "port": str(port)}, export)


def _nbd(server: Tree, export: str) -> Tree:
    return {"driver": "nbd", "server": server, "export": export} if export else {"driver": "nbd", "server": server}


def _no_url(name: str, reason: str) -> GenericError:
    return GenericError(
        f"File name '{name[:_SHOWN]}' cannot be used: {reason}; it is written 'nbd://HOST[:PORT]/[EXPORT]' or "
        "'nbd+unix:///[EXPORT]?socket=PATH'"
    )


_PARSERS: dict[str, Callable[[str], Tree]] = {
    "file": _parse_path,
    "host_device": _parse_path,
    "null-co": _parse_null,
    "null-aio": _parse_null,
    "blkdebug": _parse_blkdebug,
    "nbd": _parse_nbd,
    "nbd+tcp": _parse_nbd,
    "nbd+unix": _parse_nbd,
}
