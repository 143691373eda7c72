"""Snapshots inside images, of all disks at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qmpd.block.chain import skip_filters
from qmpd.block.node import BlockNode

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph


def disks_with_snapshots(graph: BlockGraph) -> list[tuple[str, list[Any]]]:
    """The writable disks whose images can have snapshots, and those that they have (`SnapshotInfo`).

    Disks are the media of drives, and nodes that nobody uses, or somebody who is not a node.
    """
    found = []
    for name, node in _disks(graph):
        driver = skip_filters(node).driver
        if driver.supports_internal_snapshots and not node.read_only:
            snapshots: Any = driver.image_details().get("snapshots", [])
            found.append((name, snapshots))
    return found


def _disks(graph: BlockGraph) -> Iterator[tuple[str, BlockNode]]:
    """All disks by the names of drives or nodes, drives first."""
    media = {drive.medium: drive.label for drive in graph.drives}
    for node, name in media.items():
        if node is not None:
            yield name, node
    for node in graph.nodes.values():
        if node not in media and (not node.parents or _is_used_as_disk(node)):
            yield node.node_name, node


def _is_used_as_disk(node: BlockNode) -> bool:
    return any(not isinstance(child.owner, BlockNode) for child in node.parents)
