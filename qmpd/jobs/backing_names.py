"""The names of backing files that a job writes into images, and puts back when it comes to nothing after all.

By the time a job does this, an image reads the same over its old backing file and over its new one, so neither a
crash between header and graph nor a name that cannot be put back costs any data.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qmpd.block.reopen import set_read_only
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode


class BackingNames:
    """What one job has changed."""

    def __init__(self, graph: BlockGraph) -> None:
        self._graph = graph
        self._changed: list[tuple[BlockNode, str, str]] = []

    async def change(self, image: BlockNode, name: str, backing_format: str) -> None:
        """Let `image` name another backing file; an empty name is none. Within `exclusive()`.

        A read-only image is writable meanwhile.

        :raises GenericError: it cannot be done.
        """
        before = image.driver.recorded_backing()
        await write_backing_name(self._graph, image, name, backing_format)
        self._changed.append((image, *before))

    def put_back(self) -> None:
        """Let all images name what they did, at the end of the exclusive section. Plain, cannot fail."""
        changed, self._changed = self._changed, []

        async def restore() -> None:
            for image, name, backing_format in reversed(changed):
                if self._graph.nodes.get(image.node_name) is image:
                    with suppress(GenericError):
                        await write_backing_name(self._graph, image, name, backing_format)

        if changed:
            self._graph.defer(restore)


async def write_backing_name(graph: BlockGraph, image: BlockNode, name: str, backing_format: str | None) -> None:
    """Let an image name another backing file. Within `exclusive()`; a read-only image is writable meanwhile.

    :param backing_format: None to leave it as it is.
    :raises GenericError: it cannot be done.
    """
    read_only = image.read_only
    if read_only:
        await set_read_only(graph, image, read_only=False)
    try:
        async with graph.drained([image]):
            # What the new name relies on comes first.
            await image.flush()
            await image.driver.set_backing_name(name, backing_format)
    except OSError as error:
        raise GenericError(f"Node '{image.node_name}' could not be flushed: {os_error_text(error)}") from error
    finally:
        if read_only:
            await set_read_only(graph, image, read_only=True)
