"""Snapshots inside images, of all disks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.node import BlockNode

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph


def disks_with_snapshots(graph: BlockGraph) -> list[tuple[str, list[Any]]]:
    """The writable disks whose images can have snapshots, and those that they have (`SnapshotInfo`).

    A disk is a node that somebody uses who is not a node, or that nobody uses.
    """
    disks = []
    for node in graph.nodes.values():
        image = node
        while image.filtered is not None:
            image = image.filtered
        if _is_disk(node) and not node.read_only and image.driver.format_name == "qcow2":
            disks.append((node.node_name, list(image.driver.image_details().get("snapshots", []))))  # type: ignore[call-overload]
    return disks


def _is_disk(node: BlockNode) -> bool:
    return not node.parents or any(not isinstance(child.owner, BlockNode) for child in node.parents)
