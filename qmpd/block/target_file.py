"""The image file that a job copies into, made or opened on behalf of a command that names a file.

What becomes of the file if the command fails, `qmpd.block.new_file` tells. All methods are to be called within
`graph.exclusive()`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from qmpd.block.backend import BlockBackend
from qmpd.block.chain import skip_filters
from qmpd.block.drivers import make_driver
from qmpd.block.filenames import has_protocol, parse_filename, validate
from qmpd.block.new_file import NewFile
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.block.permissions import Perm
from qmpd.block.probing import image_tree
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.creating import NewImage
    from qmpd.block.graph import BlockGraph

_FORMATS = ("file", "host_device", "nbd", "qcow2", "raw")

class TargetFile:
    """One target.

    :param name: the file's name as the client gave it, or any other that `parse_filename` understands.
    :param format_name: its format; None for that of `source` if the file is made, or what the file's first bytes say.
    :ivar node: the open node, None before `open`; it lives as long as it is used.
    :raises GenericError: no file can have that name, or there is no such format.
    """

    def __init__(self, graph: BlockGraph, name: str, format_name: str | None) -> None:
        if not name:
            raise GenericError("The name of the file is empty")
        if "\0" in name:
            raise GenericError("The name of the file has a null character in it, which no file name can have")
        if format_name is not None:
            _check_format(format_name)
        self._graph = graph
        self._tree = parse_filename(name)
        self._name = name
        self._format = format_name
        self._file: NewFile | None = None
        self.node: BlockNode | None = None

    async def make(self, source: BlockNode, backing: BlockNode | None) -> None:
        """Make the file, for a disk of the size of `source`, with `backing` as its backing image.

        :raises GenericError: it cannot be; `undo` has to be called then, too.
        """
        if self._format is None:
            self._format = "qcow2" if skip_filters(source).driver.format_name == "qcow2" else "raw"
        if backing is not None and self._format != "qcow2":
            raise _no_backing(self._format)
        image = _new_image(source.length, backing) if self._format == "qcow2" else None
        if self._tree.get("driver") != "file":
            await self._make_elsewhere(source.length, image)
            return
        in_use = [path for node in self._graph.nodes.values() for path in node.driver.host_paths()]
        self._file = NewFile(self._tree["filename"])
        await self._graph.pool.run(_make, self._file, source.length, image, in_use)

    async def _make_elsewhere(self, length: int, image: NewImage | None) -> None:
        """Make an image in a place that is there, and of a size that nobody can change.

        :raises GenericError: it is too small, or cannot be written.
        """
        from qmpd.block.opening import open_inline

        if "file" in self._tree:
            raise GenericError("A 'json:' name describes an image that is there: say mode=existing")
        options = validate(self._tree, "the target")
        node = await open_inline(self._graph, options, NodeOptions(discard_unmap=True), protocol=True)
        backend = BlockBackend(self._graph, "", Perm.WRITE | Perm.RESIZE, Perm.ALL)
        try:
            backend.attach(node)
            await _write_image(backend, length, image)
        except OSError as error:
            raise GenericError(f"Target '{self._name}' cannot be written: {os_error_text(error)}") from error
        finally:
            if backend.root is not None:
                backend.detach()
            # Its server may take one client at a time.
            await self._graph.close_unused(node)

    async def open(
        self,
        source: BlockNode,
        *,
        node_name: str | None = None,
        flags: NodeOptions | None = None,
        alone: bool = False,
        **members: Any,
    ) -> BlockNode:
        """Open the file, with the cache of `source`.

        :param node_name: the node's name, None for a generated one.
        :param flags: the options that all drivers share; None for those of a copy that is closed when it is done.
        :param alone: leave the backing file that the image names, if any, unopened.
        :param members: further members of the format's `BlockdevOptions`.
        :raises GenericError: it cannot be opened.
        """
        tree = await image_tree(self._graph, self._name, self._format, f"target '{self._name}'")
        format_name = str(tree.get("driver"))
        if format_name not in _FORMATS:
            raise GenericError(
                f"Target '{self._name}' is an image of format '{format_name}', which cannot be written here; if its "
                "contents are to be overwritten as raw bytes, say format=raw"
            )
        if members.get("backing") is not None and format_name != "qcow2":
            raise _no_backing(format_name)
        tree.update(members)
        if node_name is not None:
            tree["node-name"] = node_name
        if alone and format_name == "qcow2":
            tree["backing"] = None
        options = flags or NodeOptions(
            cache_direct=source.options.cache_direct,
            cache_no_flush=source.options.cache_no_flush,
            discard_unmap=True,
            detect_zeroes="unmap",
        )
        definition = validate(tree, "the target")
        self.node = await self._graph.open_node(make_driver(tree["driver"]), definition, options, node_name)
        return self.node

    def undo(self) -> None:
        """Leave everything as it was. Plain, cannot fail."""
        if self.node is not None:
            self._graph.discard_if_unused(self.node)
        if self._file is not None:
            self._file.undo()

    async def keep(self) -> None:
        """The file stays, whatever becomes of the job."""
        if self._file is not None:
            await self._graph.pool.run(self._file.keep)


def _check_format(name: str) -> None:
    if name in _FORMATS:
        return
    from qmpd.api.models import BlockdevDriver

    known = ", ".join(f"'{one}'" for one in _FORMATS)
    what = "is no image format" if name in {driver.value for driver in BlockdevDriver} else "is not known"
    raise GenericError(f"'format' is '{name}', which {what}; a target can be one of {known}")


def _no_backing(format_name: str) -> GenericError:
    return GenericError(
        f"'format' is '{format_name}', which has no backing images; where nothing is copied the target has to show one"
    )


def _new_image(length: int, backing: BlockNode | None) -> NewImage:
    from qmpd.block.drivers.qcow2.creating import NewImage

    if backing is None:
        image = NewImage(length)
    else:
        base = skip_filters(backing)
        name = base.driver.filename()
        if not has_protocol(name):
            name = os.path.abspath(name)  # noqa: PTH100 - text that an image will hold, no file to be opened
        image = NewImage(length, backing_file=name, backing_format=base.driver.format_name)
    image.header()
    return image


async def _write_image(target: BlockBackend, length: int, image: NewImage | None) -> None:
    """Write an empty image; a raw one of at least that length, which begins like no other format.

    :raises GenericError: there is not enough room.
    """
    from qmpd.block.drivers.qcow2.creating import create

    if image is not None:
        await create(target, image)
        return
    if target.node.length < length:
        raise GenericError(f"The target has {target.node.length} bytes; it needs {length}, and cannot be made larger")
    await target.pwritev(0, bytes(min(512, length)))


# Below: functions that run in workers.


def _make(file: NewFile, length: int, image: NewImage | None, in_use: list[str]) -> None:
    from qmpd.block.drivers.qcow2.creating import create_in_file

    fd = file.make(in_use)
    try:
        if image is None:
            os.ftruncate(fd, length)
        else:
            create_in_file(fd, image)
    except OSError as error:
        raise GenericError(f"File '{file.name}' cannot be written: {os_error_text(error)}") from error
    finally:
        os.close(fd)
    file.sync_directory()
