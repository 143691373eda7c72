"""The image file that a job copies into, made or opened on behalf of a command that names a file.

What becomes of the file if the command fails, `qmpd.block.new_file` tells. All methods are to be called within
`graph.exclusive()`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmpd.block.chain import skip_filters
from qmpd.block.drivers import make_driver
from qmpd.block.new_file import NewFile
from qmpd.block.node import BlockNode, NodeOptions
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.drivers.qcow2.creating import NewImage
    from qmpd.block.graph import BlockGraph

_FORMATS = ("file", "qcow2", "raw")
_FOREIGN_MAGIC = {b"KDMV": "vmdk", b"<<< ": "vdi", b"vhdx": "vhdx", b"cone": "vpc"}
_NO_WAIT = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""A pipe or a terminal must not keep anybody waiting for its other end."""


class TargetFile:
    """One target.

    :param name: the file's name as the client gave it.
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
        in_use = [path for node in self._graph.nodes.values() for path in node.driver.host_paths()]
        self._file = NewFile(self._name)
        await self._graph.pool.run(_make, self._file, source.length, image, in_use)

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
        from qmpd.block.filenames import validate

        protocol, found = await self._graph.pool.run(_examine, self._name)
        format_name = self._format or found
        if format_name not in _FORMATS:
            raise GenericError(
                f"Target '{self._name}' is an image of format '{format_name}', which cannot be written here; if its "
                "contents are to be overwritten as raw bytes, say format=raw"
            )
        if members.get("backing") is not None and format_name != "qcow2":
            raise _no_backing(format_name)
        tree: dict[str, Any] = {"driver": protocol, "filename": self._name}
        if format_name != "file":
            tree = {"driver": format_name, "file": tree}
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
        if ":" not in name.partition("/")[0]:
            name = os.path.abspath(name)  # noqa: PTH100 - text that an image will hold, no file to be opened
        image = NewImage(length, backing_file=name, backing_format=base.driver.format_name)
    image.header()
    return image


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


def _examine(name: str) -> tuple[str, str]:
    """The driver for that host file, and the format that its first bytes tell of.

    :raises GenericError: there is no such file, or it is of a format that qmpd cannot write.
    """
    try:
        mode = Path(name).stat().st_mode
        with open(os.open(name, os.O_RDONLY | _NO_WAIT), "rb") as file:
            magic = file.read(4) or b""
    except OSError as error:
        raise GenericError(f"Target '{name}' cannot be opened: {os_error_text(error)}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise GenericError(f"Target '{name}' is neither a regular file nor a disk")
    return "host_device" if stat.S_ISBLK(mode) else "file", _FOREIGN_MAGIC.get(magic) or _own_format(magic)


def _own_format(magic: bytes) -> str:
    return "qcow2" if magic == b"QFI\xfb" else "raw"
