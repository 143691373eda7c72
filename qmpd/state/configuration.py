"""What a daemon is made of, as records: nodes, objects, the NBD server, exports, bitmaps, as they are at this moment.

A node's record is the definition that makes it again as it is now, not as it was made: children that have a name of
their own are named, whatever snapshots and jobs have put there since; what jobs have inserted for their time is left
out. Nodes that live by being defined in place are part of the definition above them.

Records are compared with those that are stored, so that only differences are written. Must never wait.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmpd.state.bitmap_files import BitmapFiles
from qmpd.state.kept_bitmap import image_of

if TYPE_CHECKING:
    from qmpd.block.dirty_bitmap import DirtyBitmap
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode
    from qmpd.export.manager import ExportManager
    from qmpd.objects.base import UserObject

_GENERATED = "#"
_HOST_FILES = frozenset({"file", "host_device", "host_cdrom"})
_LIST_ROLE = "children."
"""How the roles of children begin that a definition has in a list."""
_SECRET_TYPES = frozenset({"secret", "secret_keyring"})


@dataclasses.dataclass(frozen=True, slots=True)
class NodeState:
    """How to make a node again.

    :ivar filename: under which queries show it; a path is a whole one.
    :ivar names: names that were generated for nodes in its definition, by the name of the node above and the role.
    :ivar made_read_only: it has become read-only after it was made: below an overlay, for instance.
    """

    name: str
    driver: str
    definition: Mapping[str, Any]
    filename: str | None
    size: int
    names: Mapping[str, str]
    made_read_only: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectState:
    """How to make an object again."""

    name: str
    qom_type: str
    properties: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class ExportState:
    """How to make an export again; `settings` are `BlockExportOptions`."""

    name: str
    kind: str
    node_name: str
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class BitmapState:
    """What there is to say about a bitmap besides its bits.

    :ivar persistent: it comes back at the next start, as one does not that a group of jobs has added and may take away.
    :ivar storage: "state", "image" or "memory".
    """

    bitmap: DirtyBitmap
    node_name: str
    image: str | None
    name: str
    granularity: int
    length: int
    recording: bool
    persistent: bool
    inconsistent: bool
    storage: str


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """All of it, each kind in the order in which it has to be made again."""

    objects: Mapping[str, ObjectState]
    nodes: Mapping[str, NodeState]
    server: Mapping[str, Any] | None
    exports: Mapping[str, ExportState]
    bitmaps: Mapping[DirtyBitmap, BitmapState]


class Observer:
    """Looks at a daemon's parts."""

    def __init__(self, graph: BlockGraph, exports: ExportManager, files: BitmapFiles) -> None:
        self._graph = graph
        self._exports = exports
        self._files = files

    def look(self) -> Configuration:
        """The configuration as it is now."""
        return Configuration(
            {found.object_id: _object_state(found) for found in self._graph.objects if _can_be_stored(found)},
            {node.node_name: _node_state(node) for node in _in_order(self._own_nodes())},
            _server_state(self._exports.server_definition),
            {state.name: state for state in self._export_states()},
            {state.bitmap: state for state in self._bitmap_states()},
        )

    def _own_nodes(self) -> list[BlockNode]:
        """The nodes that are made by a definition of their own."""
        return [node for node in self._graph.nodes.values() if _has_own_life(node)]

    def _export_states(self) -> Iterable[ExportState]:
        for export in self._exports.all():
            if export.shutting_down or export.definition is None:
                continue
            node = _below_jobs(export.backend.node).node_name
            yield ExportState(export.export_id, export.kind, node, {**export.definition, "node-name": node})

    def _bitmap_states(self) -> Iterable[BitmapState]:
        going = self._graph.going()
        for node in self._graph.nodes.values():
            if node in going:
                continue
            for bitmap in reversed(list(node.bitmaps)):
                # One that is hidden is there until the group that removes it has ended; helpers have no name.
                if bitmap.name is not None:
                    yield self._bitmap_state(node, bitmap, bitmap.name)

    def _bitmap_state(self, node: BlockNode, bitmap: DirtyBitmap, name: str) -> BitmapState:
        kept = self._files.find(bitmap)
        in_image = bitmap.persistent if kept is None else kept.in_image
        storage = "image" if in_image else "memory" if kept is None else "state"
        return BitmapState(
            bitmap,
            node.node_name,
            kept.image if kept is not None else image_of(node) if storage == "image" else None,
            name,
            bitmap.granularity,
            bitmap.length,
            bitmap.recording,
            bitmap.persistent and not bitmap.on_trial,
            bitmap.inconsistent,
            storage,
        )


def _has_own_life(node: BlockNode) -> bool:
    """The node was made by name, or took over a disk and has no definition above it."""
    if node.implicit or node.definition is None:
        return False
    if node.monitor_owned:
        return True
    return node.inherits_from is None and bool(node.parents) and not node.node_name.startswith(_GENERATED)


def _in_order(nodes: list[BlockNode]) -> list[BlockNode]:
    """Oldest first, but none before those that its definition names."""
    order: dict[BlockNode, None] = {}
    own = set(nodes)

    def visit(node: BlockNode) -> None:
        if node in order:
            return
        for child in node.children.values():
            visit(_below_jobs(child.node))
        if node in own:
            order[node] = None

    for node in nodes:
        visit(node)
    return list(order)


def _node_state(node: BlockNode) -> NodeState:
    names: dict[str, str] = {}
    definition = _definition(node, names)
    definition["node-name"] = node.node_name
    made_read_only = node.read_only and not (definition.get("read-only") or definition.get("auto-read-only"))
    return NodeState(
        node.node_name,
        node.driver.format_name,
        definition,
        whole_name(node),
        node.length,
        names,
        made_read_only,
    )


def whole_name(node: BlockNode) -> str | None:
    """The name under which queries show a node, wherever the next daemon starts: a path is a whole one."""
    name = node.driver.filename()
    if not name or ":" in name.partition("/")[0]:
        return name or None
    return str(Path(name).absolute())


def _definition(node: BlockNode, names: dict[str, str]) -> dict[str, Any]:
    """The definition that makes `node` as it is now."""
    definition: dict[str, Any] = node.definition.to_json()
    _make_paths_whole(definition)
    members = []
    for role, child in node.children.items():
        below = _below_jobs(child.node)
        if below.node_name.startswith(_GENERATED):
            names[f"{node.node_name}/{role}"] = below.node_name
        found = _child_definition(node, below, names)
        if role.startswith(_LIST_ROLE):
            members.append(found)
        elif isinstance(found, str) or role in definition:
            # A definition that the options lack comes from the image itself, which will give it again.
            definition[role] = found
    if members:
        definition["children"] = members
    if node.driver.supports_backing and "backing" not in node.children:
        definition["backing"] = None
    return definition


def _make_paths_whole(definition: dict[str, Any]) -> None:
    """The next daemon may be started in another directory."""
    if definition["driver"] in _HOST_FILES:
        definition["filename"] = str(Path(definition["filename"]).absolute())
    server = definition.get("server")
    if isinstance(server, dict) and server.get("type") == "unix" and not server.get("abstract"):
        definition["server"] = {**server, "path": str(Path(server["path"]).absolute())}


def _server_state(definition: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The arguments of nbd-server-start, with a path that holds in any directory."""
    if definition is None or definition["addr"]["type"] != "unix" or definition["addr"]["data"].get("abstract"):
        return definition
    data = definition["addr"]["data"]
    return {**definition, "addr": {"type": "unix", "data": {**data, "path": str(Path(data["path"]).absolute())}}}


def _child_definition(node: BlockNode, below: BlockNode, names: dict[str, str]) -> dict[str, Any] | str:
    """How the definition of `node` speaks of `below`: by a definition in place, or by its name."""
    if below.inherits_from is not node or below.definition is None:
        return below.node_name
    definition = _definition(below, names)
    if not below.node_name.startswith(_GENERATED):
        definition["node-name"] = below.node_name
    return definition


def _below_jobs(node: BlockNode) -> BlockNode:
    """The first node from `node` down that has a definition: below the filters of jobs."""
    while node.definition is None and node.filtered is not None:
        node = node.filtered
    return node


def _can_be_stored(found: UserObject) -> bool:
    """A secret that was given in so many words stays in memory."""
    return found.type_name not in _SECRET_TYPES or "data" not in found.definition


def _object_state(found: UserObject) -> ObjectState:
    return ObjectState(found.object_id, found.type_name, dict(found.definition))
