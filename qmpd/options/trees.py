"""Values of options that are an object: JSON, or key=value text."""

from __future__ import annotations

from typing import Any


def read_tree(text: str, type_name: str, implied_key: str | None) -> dict[str, Any]:
    """The object, with the strings of key=value text converted as the schema says.

    :param type_name: the schema's type.
    :param implied_key: the key of the first value if that has none.
    :raises ValueError: for text that cannot be read.
    """
    if text.startswith("{"):
        return read_json(text)
    from qmpd.api.keyval_types import TYPES
    from qmpd.qapi import keyval

    tree = keyval.convert(keyval.parse(text, implied_key), type_name, TYPES)
    assert isinstance(tree, dict)
    return tree


def read_json(text: str) -> dict[str, Any]:
    """A JSON object.

    :raises ValueError: it is none.
    """
    from qmpd.wire.framing import Framer

    values = Framer().feed(text.encode(errors="surrogateescape"))
    if len(values) == 1 and isinstance(values[0], dict):
        return values[0]
    raise ValueError("the text begins like a JSON object but is none")
