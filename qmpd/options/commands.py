"""Options that are QMP commands: their text becomes the command's arguments, by the types of the schema."""

from __future__ import annotations

from qmpd.options.addresses import legacy_address
from qmpd.options.model import BlockdevOption, DeviceOption, ExportOption, NbdServerOption, ObjectOption, OptionError
from qmpd.options.trees import read_json, read_tree


def read_blockdev(text: str) -> BlockdevOption:
    """Read the value of `--blockdev`."""
    return BlockdevOption(f"--blockdev {text}", read_tree(text, "BlockdevOptions", "driver"))


def read_device(text: str) -> DeviceOption:
    """Read the value of `--device`."""
    if text.startswith("{"):
        arguments = read_json(text)
    else:
        from qmpd.qapi.values import pairs

        arguments = dict(pairs(text, "driver"))
    return DeviceOption(f"--device {text}", arguments)


def read_object(text: str) -> ObjectOption:
    """Read the value of `--object`."""
    arguments = read_tree(text, "ObjectOptions", "qom-type")
    return ObjectOption(f"--object {arguments.get('qom-type', '')},id={arguments.get('id', '')}", arguments)


def asks_for_help(text: str) -> bool:
    """Whether the value of an option asks what could be given."""
    return text.removeprefix("backend=") in ("help", "?") or text.endswith((",help", ",?"))


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
    """The types of objects, or the properties of one that there is."""
    from qmpd.objects.types import user_class, user_types

    names = sorted(kind.name for kind in user_types())
    name = text.partition(",")[0].removeprefix("qom-type=")
    if name not in names:
        return "\n  ".join(["Types of objects:", *names]) + "\n"
    given = sorted((found.name, found.type) for found in user_class(name).all_properties() if found.set is not None)
    return "\n  ".join([f"Properties of {name}:", *(f"{key}=<{value}>" for key, value in given)]) + "\n"


def read_nbd_server(text: str) -> NbdServerOption:
    """Read the value of `--nbd-server`."""
    return NbdServerOption(f"--nbd-server {text}", legacy_address(read_tree(text, "NbdServerOptions", None)))


def read_export(text: str) -> ExportOption:
    """Read the value of `--export`."""
    return ExportOption(f"--export {text}", read_tree(text, "BlockExportOptions", "type"))
