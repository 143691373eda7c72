"""Takes out of replies and events what may differ between any two runs: times, generated names, paths, wording.

What is left has to be equal. Progress becomes `whole` or `part`, measured numbers become `number`, and texts for humans
become `text`, so that their being there still counts. Lists of QOM's properties and types come in no order.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_GENERATED = re.compile(r"#block\d+")

_DROPPED = {"timestamp", "actual-size", "active"}
"""Members that say something about the moment or the host, or that only later versions of QEMU have everywhere."""

_OF_QOM = {"name", "type", "description", "default-value", "parent", "abstract"}
"""All members of what tells of a property or a type."""

_FOR_HUMANS = {"desc", "msg", "reason"}

_PROGRESS = (("offset", "len"), ("current-progress", "total-progress"))
"""Members that say how far a job is, and what they count up to."""


class Normalizer:
    """Normalizes all that one server says in one recording: a generated name stays the same throughout."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._generated: dict[str, str] = {}

    def value(self, value: Any) -> Any:
        """A JSON value without what may differ."""
        match value:
            case dict():
                return self._object(value)
            case list() if value and all(isinstance(item, dict) and _is_of_qom(item) for item in value):
                return sorted((self.value(item) for item in value), key=lambda item: str(item["name"]))
            case list():
                return [self.value(item) for item in value]
            case str() if value.startswith("json:"):
                return {"json:": _plain(self.value(json.loads(value.removeprefix("json:"))))}
            case str():
                return self._text(value)
        return value

    def _text(self, text: str) -> str:
        return _GENERATED.sub(self._number, text.replace(self._directory, "DIR"))

    def _number(self, name: re.Match[str]) -> str:
        return self._generated.setdefault(name[0], f"#block<{len(self._generated)}>")

    def _object(self, members: Mapping[str, Any]) -> dict[str, Any]:
        for is_this, normal in _SHAPES:
            if is_this(members):
                members = normal(members)
        found = {}
        for key, value in members.items():
            if key in _FOR_HUMANS or (key == "error" and isinstance(value, str)):
                found[key] = "text"
            elif key not in _DROPPED:
                found[key] = self.value(value)
        return found


def _is_of_qom(members: Mapping[str, Any]) -> bool:
    """Whether this tells of a property or a type, of which nobody promises the order."""
    return "name" in members and members.keys() <= _OF_QOM


def _plain(value: Any) -> Any:
    """Options in a file name: QEMU leaves those from its command line as text."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case bool():
            return "on" if value else "off"
    return str(value)


def _job(members: Mapping[str, Any]) -> dict[str, Any]:
    """Progress, and whether a job happens to sleep at the moment."""
    changed = {key: value for key, value in members.items() if key != "busy"}
    for reached, total in _PROGRESS:
        if reached in changed and total in changed:
            changed[reached] = "whole" if changed[reached] == changed[total] else "part"
    return changed


def _version(members: Mapping[str, Any]) -> dict[str, Any]:
    """The version of the interface is what counts."""
    numbers = members["qemu"]
    return {"qemu": {**numbers, "micro": "number"}, "package": "text"}


def _statistics(members: Mapping[str, Any]) -> dict[str, Any]:
    """Counters of requests: that they are there, and of which kind."""
    return {key: "number" if type(value) is int else value for key, value in members.items()}


def _graph(members: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of nodes are chance; their names are not. Edges and permissions come in no order."""
    names = {node["id"]: f"{node['type']} {node['name']}" for node in members["nodes"]}
    nodes = [{key: value for key, value in node.items() if key != "id"} for node in members["nodes"]]
    edges = [
        {
            **edge,
            "parent": names[edge["parent"]],
            "child": names[edge["child"]],
            "perm": sorted(edge["perm"]),
            "shared-perm": sorted(edge["shared-perm"]),
        }
        for edge in members["edges"]
    ]
    places = {name: place for place, name in enumerate(names.values())}
    edges.sort(key=lambda edge: (places[edge["parent"]], edge["name"], places[edge["child"]], edge["perm"]))
    return {"nodes": nodes, "edges": edges}


_SHAPES: list[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], dict[str, Any]]]] = [
    (lambda members: "offset" in members and "len" in members and "speed" in members, _job),
    (lambda members: "current-progress" in members, _job),
    (lambda members: "package" in members and "qemu" in members, _version),
    (lambda members: "rd_operations" in members, _statistics),
    (lambda members: "nodes" in members and "edges" in members, _graph),
]
"""Objects that need more than their members' names to be known, and how they are normalized."""
