"""Walking the chain of images below a node, through filters, and freezing a piece of it while a job works on it.

A node shows either one node as it is (a filter), or its own data over those of its backing node (copy on write). Jobs
that work on a chain (commit, stream, mirror) freeze its edges: nobody may attach, move or remove one meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from qmpd.block.backend import BlockBackend
from qmpd.block.driver import FilterDriver
from qmpd.block.filenames import full_name, has_protocol
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.child import Child
    from qmpd.block.node import BlockNode


def cow_child(node: BlockNode) -> Child | None:
    """The edge to the backing node of a format, None for a filter or where there is none."""
    return None if node.driver.is_filter else node.children.get("backing")


def filter_or_cow_child(node: BlockNode) -> Child | None:
    """The edge down the chain, whether the node is a filter or stands over a backing node."""
    if node.driver.is_filter and node.driver.main_child is not None:
        return node.children.get(node.driver.main_child)
    return cow_child(node)


def below(node: BlockNode) -> BlockNode | None:
    """The next node down the chain, filters included."""
    child = filter_or_cow_child(node)
    return None if child is None else child.node


def chain(top: BlockNode) -> Iterator[BlockNode]:
    """`top` and everything below it in its chain, filters included."""
    node: BlockNode | None = top
    while node is not None:
        yield node
        node = below(node)


def skip_filters(node: BlockNode) -> BlockNode:
    """The first node from `node` down that is no filter."""
    while node.filtered is not None:
        node = node.filtered
    return node


def skip_implicit_filters(node: BlockNode) -> BlockNode:
    """The first node from `node` down that is no filter made on behalf of a job."""
    while node.implicit and node.filtered is not None:
        node = node.filtered
    return node


def top_of_guards(node: BlockNode) -> BlockNode:
    """Where a new user of `node` has to come in: above the filters by which jobs see all that is written to it."""
    while True:
        owners = (child.owner for child in node.parents)
        guard = next((owner for owner in owners if _guards(owner, node)), None)
        if guard is None:
            return node
        node = guard


def _guards(owner: object, node: BlockNode) -> TypeGuard[BlockNode]:
    driver = getattr(owner, "driver", None)
    return isinstance(driver, FilterDriver) and driver.guards_source and driver.below is node


def backing_node(node: BlockNode) -> BlockNode | None:
    """The image that shows through `node`, behind all filters; None at the end of the chain."""
    child = cow_child(skip_filters(node))
    return None if child is None else skip_filters(child.node)


def image_by_file(top: BlockNode, name: str) -> BlockNode | None:
    """The image below `top` whose file has the name `name`, as its overlay would name it or as it is; None for none."""
    overlay = skip_filters(top)
    while (image := backing_node(overlay)) is not None:
        filename = image.driver.filename()
        if name in (filename, overlay.driver.recorded_backing()[0]):
            return image
        full = full_name(name, overlay)
        if full and not has_protocol(filename) and Path(full).resolve() == Path(filename).resolve():
            return image
        overlay = image
    return None


def overlay_of(top: BlockNode, image: BlockNode) -> BlockNode | None:
    """The image in the chain of `top` whose backing node (behind filters) is `image`; None if there is none."""
    image = skip_filters(image)
    node: BlockNode | None = skip_filters(top)
    while node is not None:
        under = backing_node(node)
        if under is image:
            return node
        node = under
    return None


def overlays(node: BlockNode) -> list[BlockNode]:
    """The images that are backed by `node`, or by filters on it."""
    from qmpd.block.node import BlockNode

    found: list[BlockNode] = []
    waiting = [node]
    while waiting:
        for child in waiting.pop().parents:
            owner = child.owner
            if not isinstance(owner, BlockNode):
                continue
            if child is cow_child(owner):
                found.append(owner)
            elif child is filter_or_cow_child(owner):
                waiting.append(owner)
    return found


def check_is_root(node: BlockNode) -> None:
    """Pass if `node` is the top of a disk: neither another node nor a job uses it.

    :raises GenericError: it is not.
    """
    for child in node.parents:
        if not isinstance(child.owner, BlockBackend):
            raise GenericError(
                f"Node '{node.node_name}' is used by {child.owner.describe()}; what is needed is the top of a disk"
            )


def check_not_frozen(top: BlockNode, base: BlockNode | None) -> None:
    """Pass if no edge from `top` down to `base` (to the end, when None) is frozen.

    :raises GenericError: one is.
    """
    for child in _edges(top, base):
        if child.frozen:
            raise GenericError(
                f"The edge '{child.name}' from {child.owner.describe()} to node '{child.node.node_name}' is frozen: a "
                "job works on this chain of images"
            )


def freeze(top: BlockNode, base: BlockNode | None) -> list[Child]:
    """Freeze all edges from `top` down to `base` (to the end, when None); give them for `unfreeze`.

    :raises GenericError: one of them is frozen already; nothing has changed then.
    """
    check_not_frozen(top, base)
    edges = list(_edges(top, base))
    for child in edges:
        child.frozen = True
    return edges


def unfreeze(edges: list[Child]) -> None:
    """Undo `freeze`; empties the list, so that doing it twice is harmless."""
    for child in edges:
        child.frozen = False
    edges.clear()


def _edges(top: BlockNode, base: BlockNode | None) -> Iterator[Child]:
    node = top
    while node is not base:
        child = filter_or_cow_child(node)
        if child is None:
            return
        yield child
        node = child.node
