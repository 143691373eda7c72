"""Putting an overlay on top of a node: its users go over to the overlay, which stands on the node from then on.

Plain calls, to be made while both nodes are drained and the graph is held. Both steps can be taken back exactly, also
when further overlays were put on top and taken off in between.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qmpd.block.permissions import Perm
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.child import Child
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode

_log = logging.getLogger(__name__)


class Overlay:
    """One overlay.

    :param base: the node that becomes its backing image.
    :param top: the overlay itself.
    """

    def __init__(self, graph: BlockGraph, base: BlockNode, top: BlockNode) -> None:
        self._graph = graph
        self._base = base
        self._top = top
        self._moved: list[Child] | None = None

    @property
    def node(self) -> BlockNode:
        """The overlay's node."""
        return self._top

    def check(self) -> None:
        """Pass if `top` can be an overlay.

        Whoever only writes to it does not rely on what it shows, such as a job that mirrors a disk into it.

        :raises GenericError: somebody reads it, it has a backing image, or is of a format without.
        """
        top = self._top
        if top.cumulative_perm & Perm.CONSISTENT_READ:
            raise GenericError(f"Node '{top.node_name}' cannot be the overlay: {_reader(top)} uses it already")
        if "backing" in top.children:
            raise GenericError(
                f"Node '{top.node_name}' cannot be the overlay: it has the backing image "
                f"'{top.children['backing'].node.node_name}'; open it with 'backing' null"
            )
        if not top.driver.supports_backing:
            raise GenericError(
                f"Node '{top.node_name}' cannot be the overlay: driver '{top.driver.format_name}' has no backing images"
            )

    def put_on(self) -> None:
        """Let all users of the base use the overlay.

        :raises GenericError: that would be a loop, somebody relies on an edge, or permissions conflict; all is as
            before.
        """
        users = list(self._base.parents)
        self._graph.set_child(self._top, "backing", self._base)
        try:
            self._graph.replace_node(self._base, self._top)
        except BaseException:
            self._graph.set_child(self._top, "backing", None)
            raise
        self._moved = [child for child in users if child.node is self._top]

    def take_off(self) -> None:
        """Undo `put_on`, if it was done. Plain, cannot fail."""
        moved, self._moved = self._moved, None
        if moved is None:
            return
        # What the users are moved to has just been theirs. Only another program that has locked the image in this
        # very moment can stand in the way.
        try:
            self._graph.move_back(moved, self._base)
        except GenericError as error:
            _log.error("node '%s' is used without its lock: %s", self._base.node_name, error.desc)
        self._graph.set_child(self._top, "backing", None)
        self._graph.discard_if_unused(self._top)


def _reader(node: BlockNode) -> str:
    return next(child.owner.describe() for child in node.parents if child.perm & Perm.CONSISTENT_READ)
