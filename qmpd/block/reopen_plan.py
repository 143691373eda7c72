"""From the options of a `blockdev-reopen` to the list of nodes that take part, with what is to hold for each.

The options of a node are given in full, as in `blockdev-add`: what is left out goes back to its default. Some options
can be changed by everybody (`_COMMON`), some because the driver can (`BlockDriver.mutable_options`), children as far
as they are the file or the backing image; all others have to be as they were. A child that was defined in place is
given by a definition again, and reopened with it, or by its node's name, and keeps its own options; any other child is
given by its name. (QEMU, docs of `blockdev-reopen` in qapi/block-core.json.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qmpd.block.chain import skip_implicit_filters
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.opening import node_options
from qmpd.block.reopen import Reopening, with_children
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions
    from qmpd.block.graph import BlockGraph

_COMMON = frozenset(
    {"driver", "node-name", "discard", "cache", "read-only", "auto-read-only", "detect-zeroes"}
)
_REPLACEABLE = ("file", "backing")


def plan(graph: BlockGraph, definitions: Sequence[BlockdevOptions]) -> list[Reopening]:
    """The nodes to be reopened, parents before their children.

    :raises GenericError: a node is not named or does not exist, or an option cannot be changed.
    """
    entries: dict[BlockNode, Reopening] = {}
    for definition in definitions:
        if definition.node_name is None:
            raise GenericError("'node-name' is missing: it says which node is to be reopened")
        node = graph.lookup_node(definition.node_name)
        flags = dataclasses.replace(node_options(definition), chain=node.options.chain)
        _Planner(graph, entries).add(node, definition, flags)
    return _parents_first(entries)


class _Planner:
    """Collects what one definition asks for. What a later definition says of a node holds."""

    def __init__(self, graph: BlockGraph, entries: dict[BlockNode, Reopening]) -> None:
        self._graph = graph
        self._entries = entries

    def add(self, node: BlockNode, definition: BlockdevOptions, flags: NodeOptions) -> None:
        """Reopen `node` with these options, and with it all below that its options say something about."""
        _check_options(node, definition)
        if not (node.options.active and flags.active):
            raise _cannot_change(node, "active", "blockdev-set-active makes nodes active and inactive")
        entry = Reopening(node, flags, definition)
        self._entries[node] = entry
        for role in _roles(node, definition):
            attribute = role.replace("-", "_")
            if attribute not in definition.model_fields_set:
                self._left_out(entry, role)
            else:
                self._given(entry, role, getattr(definition, attribute))

    def _left_out(self, entry: Reopening, role: str) -> None:
        if role == "backing" and role in entry.node.children:
            raise GenericError(
                f"'backing' is missing for node '{entry.node.node_name}': name its backing image, or say null for none"
            )
        self._keep(entry, role)

    def _given(self, entry: Reopening, role: str, value: BlockdevOptions | str | None) -> None:
        node = entry.node
        child = node.children.get(role)
        if value is None or isinstance(value, str):
            self._refer(entry, role, value)
        elif child is None or child.node.inherits_from is not node:
            raise _cannot_change(node, f"{role}.driver", "that child was not defined in place: give its node's name")
        else:
            below = child.node
            inherited = _inherited(entry.flags, role)
            flags = node_options(value, inherited, protocol=below.inherits_protocol)
            self.add(below, value, dataclasses.replace(flags, chain=below.options.chain))

    def _refer(self, entry: Reopening, role: str, name: str | None) -> None:
        node = entry.node
        child = node.children.get(role)
        target = None if name is None else self._graph.lookup_node(name)
        if child is None and target is None:
            return
        if child is not None and target in (child.node, skip_implicit_filters(child.node)):
            self._keep(entry, role)
            return
        if role not in _REPLACEABLE:
            raise _cannot_change(node, role, "only the file and the backing image can be replaced")
        if child is not None and child.node.implicit:
            raise _cannot_change(node, role, f"'{child.node.node_name}' was put there by a job")
        entry.children[role] = target

    def _keep(self, entry: Reopening, role: str) -> None:
        """The child stays what it is; if it was defined in place, it inherits what is new."""
        child = entry.node.children.get(role)
        if child is None or child.node.inherits_from is not entry.node or child.node.definition is None:
            return
        below = child.node
        flags = node_options(below.definition, _inherited(entry.flags, role), protocol=below.inherits_protocol)
        for one in with_children(below, dataclasses.replace(flags, chain=below.options.chain)):
            if one.node not in self._entries:
                self._entries[one.node] = one


def _inherited(flags: NodeOptions, role: str) -> NodeOptions:
    """What a child in that role takes over; nobody writes to a backing image."""
    if role != "backing":
        return flags
    return dataclasses.replace(flags, read_only=True, auto_read_only=False, detect_zeroes="off")


def _roles(node: BlockNode, definition: BlockdevOptions) -> Iterable[str]:
    """The children that the node has, or that its options could give it."""
    return dict.fromkeys([*node.children, *(role for role in _REPLACEABLE if hasattr(definition, role))])


def _check_options(node: BlockNode, definition: BlockdevOptions) -> None:
    """Pass if all that is different can be changed.

    :raises GenericError: the first option that cannot.
    """
    driver, before = node.driver, node.definition
    if str(definition.driver) != driver.format_name:
        raise _cannot_change(node, "driver", f"it is '{driver.format_name}'")
    if definition.node_name not in (None, node.node_name):
        raise _cannot_change(node, "node-name", "a node keeps its name")
    if driver.mutable_options is None or before is None:
        raise GenericError(f"Node '{node.node_name}' cannot be reopened: driver '{driver.format_name}' cannot do that")
    free = _COMMON | driver.mutable_options | set(_roles(node, definition))
    for attribute, field in type(definition).model_fields.items():
        name = field.alias or attribute
        if name in free:
            continue
        given, was_given = attribute in definition.model_fields_set, attribute in before.model_fields_set
        if given and not (was_given and getattr(definition, attribute) == getattr(before, attribute)):
            raise _cannot_change(node, name, "that is settled when a node is opened")
        if was_given and not given:
            raise GenericError(
                f"Option '{name}' of node '{node.node_name}' cannot go back to its default; give it as it was"
            )


def _cannot_change(node: BlockNode, option: str, reason: str) -> GenericError:
    return GenericError(f"Option '{option}' of node '{node.node_name}' cannot be changed: {reason}")


def _parents_first(entries: dict[BlockNode, Reopening]) -> list[Reopening]:
    order: list[Reopening] = []
    seen: set[BlockNode] = set()

    def visit(node: BlockNode) -> None:
        if node in seen:
            return
        seen.add(node)
        for child in node.children.values():
            visit(child.node)
        if node in entries:
            order.append(entries[node])

    for node in entries:
        visit(node)
    return order[::-1]
