"""Options that are QMP commands: their text becomes the command's arguments, by the types of the schema."""

from __future__ import annotations

from typing import Any

from qmpd.options.addresses import legacy_address
from qmpd.options.model import BlockdevOption, DeviceOption, ExportOption, NbdServerOption, ObjectOption, OptionError


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


def read_blockdev(text: str) -> BlockdevOption:
    """Read the value of `--blockdev`."""
    return BlockdevOption(f"--blockdev {text}", _tree(text, "BlockdevOptions", "driver"))


def read_device(text: str) -> DeviceOption:
    """Read the value of `--device`."""
    if text.startswith("{"):
        arguments = _json_object(text)
    else:
        from qmpd.qapi.values import pairs

        arguments = dict(pairs(text, "driver"))
    return DeviceOption(f"--device {text}", arguments)


def read_object(text: str) -> ObjectOption:
    """Read the value of `--object`."""
    arguments = _tree(text, "ObjectOptions", "qom-type")
    return ObjectOption(f"--object {arguments.get('qom-type', '')},id={arguments.get('id', '')}", arguments)


def asks_for_help(text: str) -> bool:
    """Whether the value of an option asks what could be given."""
    return text in ("help", "?") or text.endswith((",help", ",?"))


def device_help(text: str) -> str:
    """The kinds of devices, or the properties of one.

    :raises OptionError: there is no such kind.
    """
    from qmpd.devices.kinds import find_kind, kinds
    from qmpd.errors import GenericError

    if "," not in text:
        return "\n  ".join(["Kinds of devices:", *sorted(kinds())]) + "\n"
    try:
        kind = find_kind(text.partition(",")[0].removeprefix("driver="))
    except GenericError as error:
        raise OptionError(f"--device {text}: {error.desc}") from error
    known = (f"{one.name}=<{one.type}>" for one in kind.properties.values())
    return "\n  ".join([f"Properties of {kind.name}:", *known]) + "\n"


def object_help(text: str) -> str:
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


def read_nbd_server(text: str) -> NbdServerOption:
    """Read the value of `--nbd-server`."""
    return NbdServerOption(f"--nbd-server {text}", legacy_address(_tree(text, "NbdServerOptions", None)))


def read_export(text: str) -> ExportOption:
    """Read the value of `--export`."""
    return ExportOption(f"--export {text}", _tree(text, "BlockExportOptions", "type"))
