"""The action `blockdev-snapshot-sync`: the action makes or opens the overlay itself.

The overlay's node lives as long as it is used: nobody made it by name. What becomes of its file when the transaction
aborts, `qmpd.block.new_file` tells.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from qmpd.block.new_file import NewFile
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.errors import GenericError, os_error_text
from qmpd.transaction.kinds.bitmap_action import found_nodes
from qmpd.transaction.kinds.external_snapshot import ExternalSnapshot

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevSnapshotSync


class SnapshotIntoFile(ExternalSnapshot):
    """Puts an overlay from a file on top of a disk."""

    kind = "blockdev-snapshot-sync"

    data: BlockdevSnapshotSync
    _file: NewFile | None = None
    _opened: BlockNode | None = None

    def nodes(self) -> list[BlockNode]:
        """The disk."""
        return found_nodes(self.env.graph, *(name for name in (self.data.device, self.data.node_name) if name))

    def base_node(self) -> BlockNode:
        return self.env.graph.lookup_either(self.data.device, self.data.node_name)

    async def overlay_node(self, base: BlockNode) -> BlockNode:
        data = self.data
        if data.node_name is not None and data.snapshot_node_name is None:
            raise GenericError("'snapshot-node-name' is missing: the overlay of a node given by its name needs one")
        if data.snapshot_node_name is not None:
            self.env.graph.check_new_name(data.snapshot_node_name)
        _check_format(data.format or "qcow2")
        if str(data.mode or "absolute-paths") != "existing":
            await self._create(base)
        self._opened = await self._open(base)
        return self._opened

    async def _create(self, base: BlockNode) -> None:
        from qmpd.block.drivers.qcow2.creating import NewImage

        backing = base.driver.filename()
        if ":" not in backing.partition("/")[0]:
            backing = os.path.abspath(backing)  # noqa: PTH100 - text that an image will hold, no file to be opened
        image = NewImage(base.length, backing_file=backing, backing_format=base.driver.format_name)
        image.header()
        in_use = [path for node in self.env.graph.nodes.values() for path in node.driver.host_paths()]
        self._file = NewFile(self.data.snapshot_file)
        await self.env.services.pool.run(_make_image, self._file, image, in_use)

    async def _open(self, base: BlockNode) -> BlockNode:
        from qmpd.block.drivers import make_driver
        from qmpd.block.drivers.qcow2.backing import validate

        name = self.data.snapshot_file
        protocol = await self.env.services.pool.run(_protocol_of, name)
        tree = {"driver": "qcow2", "file": {"driver": protocol, "filename": name}, "backing": None}
        if self.data.snapshot_node_name is not None:
            tree["node-name"] = self.data.snapshot_node_name
        options = NodeOptions(
            read_only=base.read_only,
            auto_read_only=base.options.auto_read_only,
            cache_direct=base.options.cache_direct,
            cache_no_flush=base.options.cache_no_flush,
            discard_unmap=base.options.discard_unmap,
        )
        definition = validate(tree, "the overlay")
        return await self.env.graph.open_node(
            make_driver("qcow2"), definition, options, self.data.snapshot_node_name
        )

    def commit(self) -> None:
        """Without users to go over to it, nobody holds the overlay, and it is closed again."""
        super().commit()
        if self._file is not None:
            self.env.graph.defer(self._keep_file)
        if self._opened is not None:
            self.env.graph.discard_if_unused(self._opened)

    def abort(self) -> None:
        super().abort()
        if self._opened is not None:
            self.env.graph.discard_if_unused(self._opened)
        if self._file is not None:
            self._file.undo()

    async def _keep_file(self) -> None:
        assert self._file is not None
        await self.env.services.pool.run(self._file.keep)


def _check_format(name: str) -> None:
    """Pass if overlays of that format can be made and opened.

    :raises GenericError: they cannot.
    """
    if name == "qcow2":
        return
    from qmpd.api.models import BlockdevDriver

    if name in {driver.value for driver in BlockdevDriver}:
        raise GenericError(f"'format' is '{name}', which has no backing images; an overlay can be 'qcow2'")
    raise GenericError(f"'format' is '{name}', which is not known; an overlay can be 'qcow2'")


def _make_image(file: NewFile, image: object, in_use: list[str]) -> None:
    """In a worker: an empty image in a new file."""
    from qmpd.block.drivers.qcow2.creating import NewImage, create_in_file

    assert isinstance(image, NewImage)
    fd = file.make(in_use)
    try:
        create_in_file(fd, image)
    except OSError as error:
        raise GenericError(f"The overlay cannot be written: {os_error_text(error)}") from error
    finally:
        os.close(fd)
    file.sync_directory()


def _protocol_of(name: str) -> str:
    """In a worker: the driver for that host file."""
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        return "file"  # whose own complaint is the right one
    return "host_device" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else "file"
