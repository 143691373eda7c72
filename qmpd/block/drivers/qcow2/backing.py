"""Which image an image names as its backing file: from the header's text to options that can be opened.

The name may be relative to the directory of the image, begin with `file:`, or be a `json:` object of options with
nested or dotted keys. Without a format in the header the backing file's first bytes decide, as in QEMU.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions
    from qmpd.block.node import BlockNode

_QCOW2_MAGIC = b"QFI\xfb"
_MAX_NESTING = 64


def full_name(name: str, image: str) -> str:
    """The backing file's name, found from the place of `image`."""
    if name.startswith("json:"):
        return name
    name = name.removeprefix("file:")
    if name.startswith("/") or image.startswith("json:") or not image:
        return name
    return os.path.join(os.path.dirname(image), name)  # noqa: PTH118, PTH120 - text as the user knows it


def probe_format(path: str) -> str:
    """`qcow2` or `raw`, by the first bytes of a file.

    :raises GenericError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return "qcow2" if file.read(4) == _QCOW2_MAGIC else "raw"
    except OSError as error:
        raise GenericError(f"Backing file '{path}' cannot be opened: {error.strerror}") from error


def nested(options: dict[str, Any]) -> dict[str, Any]:
    """Options with dotted keys as a tree.

    :raises GenericError: a key is given in both forms.
    """
    tree: dict[str, Any] = {}
    for key, value in options.items():
        place = tree
        *path, last = key.split(".")
        if len(path) > _MAX_NESTING:
            raise GenericError(f"'{key[:60]}...' is nested too deeply")
        for part in path:
            below = place.setdefault(part, {})
            if not isinstance(below, dict):
                raise GenericError(f"'{key}' contradicts '{part}' beside it")
            place = below
        inner = nested(value) if isinstance(value, dict) else value
        if last in place and not (isinstance(place[last], dict) and isinstance(inner, dict)):
            raise GenericError(f"'{key}' is given twice")
        if isinstance(inner, dict) and isinstance(place.get(last), dict):
            place[last].update(inner)
        else:
            place[last] = inner
    return tree


def options_for(name: str, format_name: str | None, image: str) -> BlockdevOptions:
    """What to open for the backing file `name` of `image`.

    :raises GenericError: the name does not say.
    """
    full = full_name(name, image)
    if full.startswith("json:"):
        tree = _parse_json(full[5:])
        if format_name is not None:
            if "file" not in tree and "filename" in tree:
                tree = {"file": tree}
            tree.setdefault("driver", format_name)
    else:
        tree = {"file": {"driver": "file", "filename": full}}
        tree["driver"] = format_name or probe_format(full)
    if tree.get("driver") == "file":
        tree = {"driver": "raw", "file": tree.get("file", tree)}
    return validate(tree, f"the backing file '{name[:200]}'")


def definition_of(node: BlockNode) -> dict[str, Any]:
    """Options that open the same image as `node` again."""
    driver = node.driver
    if driver.is_filter and node.filtered is not None:
        return definition_of(node.filtered)
    name = driver.filename()
    if name.startswith("json:"):
        return _parse_json(name[5:])
    if driver.main_child is not None:
        return {"driver": driver.format_name, "file": definition_of(node.children[driver.main_child].node)}
    named = {"filename": name} if driver.host_paths() else {}
    return {"driver": driver.format_name, **named, **driver.runtime_options()}


def validate(tree: dict[str, Any], what: str) -> BlockdevOptions:
    """A tree of options as a model.

    :raises GenericError: they do not fit the schema.
    """
    from qmpd.api.models import BlockdevOptions as Options

    adapter: TypeAdapter[BlockdevOptions] = TypeAdapter(Options)
    try:
        return adapter.validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise GenericError(f"What the image says about {what} cannot be opened: {place}: {first['msg']}") from error


def _parse_json(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenericError("The name of the backing file begins with 'json:' and is no JSON") from error
    if not isinstance(tree, dict):
        raise GenericError("The name of the backing file begins with 'json:' and is no JSON object")
    return nested(tree)
