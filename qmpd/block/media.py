"""Opening the medium of a drive: from a file name and options of its nodes to a node.

Nobody made such a node by name, so it lives as long as it is used. A format that is not given is found out by the
first bytes of the image. Where those tell of nothing, so that the image must be raw, nobody may write into its first
sector what would make it another format's, as in QEMU: the next one to open it would be taken in. All functions are to
be called within `graph.exclusive()`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from typing import TYPE_CHECKING, Any

from qmpd.block.drivers import make_driver
from qmpd.block.filenames import Tree, parse_filename, validate
from qmpd.block.node import NodeOptions
from qmpd.block.opening import node_options
from qmpd.block.probing import probe_format
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.block.drive import MediumDefaults
    from qmpd.block.drive_options import DriveRequest
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode

_SIZES = {"size", "offset", "cache-size", "l2-cache-size", "refcount-cache-size", "l2-cache-entry-size"}

_log = logging.getLogger(__name__)


async def open_medium(graph: BlockGraph, request: DriveRequest) -> BlockNode:
    """Open the medium that a drive is to have.

    :raises GenericError: it cannot be opened, or no options say what it is.
    """
    defaults = request.defaults
    tree = _shared_options(_with_plain_sizes(request.tree), defaults)
    if request.discard_unmap:
        tree["discard"] = "unmap"
    if request.snapshot:
        defaults = dataclasses.replace(defaults, read_only=True)
        tree["read-only"] = "on"
    if request.aio is not None and isinstance(tree.get("file"), dict):
        tree["file"] = {"aio": request.aio, **tree["file"]}
    node = await _open(graph, tree, request.file, defaults, request.aio)
    try:
        if request.snapshot:
            return await _put_snapshot_on(graph, node)
        return _fill_while_read(graph, node) if request.copy_on_read else node
    except BaseException:
        graph.discard_if_unused(node)
        raise


async def open_file(graph: BlockGraph, name: str, format_name: str | None, defaults: MediumDefaults) -> BlockNode:
    """Open a medium by its file name.

    :param format_name: None to have it found out.
    :raises GenericError: it cannot be opened.
    """
    tree = _shared_options({} if format_name is None else {"driver": format_name}, defaults)
    return await _open(graph, tree, name, defaults, None)


def _shared_options(tree: Tree, defaults: MediumDefaults) -> Tree:
    cache = {
        "direct": "on" if defaults.cache_direct else "off",
        "no-flush": "on" if defaults.cache_no_flush else "off",
    }
    read_only = "on" if defaults.read_only else "off"
    return {"read-only": read_only, "auto-read-only": "on", "cache": cache, **tree}


def _with_plain_sizes(tree: Tree) -> Tree:
    """`tree` with sizes as numbers of bytes: here, and unlike in blockdev-add, they may have suffixes.

    :raises GenericError: one is no size.
    """
    from qmpd.qapi.keyval import KeyvalError, convert

    made: Tree = {key: _with_plain_sizes(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for key in _SIZES & made.keys():
        if isinstance(made[key], str) and made[key][-1:].isalpha():
            try:
                made[key] = str(convert(made[key], "size", {}, key))
            except KeyvalError as error:
                raise GenericError(str(error)) from error
    return made


async def _open(
    graph: BlockGraph, tree: Tree, file: str | None, defaults: MediumDefaults, aio: str | None
) -> BlockNode:
    if file:
        tree = _named(tree, file, aio)
    what = f"the medium '{file}'" if file else "the medium"
    probed = "driver" not in tree
    if probed:
        tree = {**tree, "driver": await _probe(graph, tree, what)}
    options = validate(tree, what)
    flags = node_options(options)
    # Here, and unlike in blockdev-add, QEMU takes it without discard=unmap, too.
    flags = dataclasses.replace(flags, detect_zeroes=defaults.detect_zeroes)
    node = await graph.open_node(make_driver(str(options.driver)), options, flags, options.node_name)
    if probed and node.driver.format_name == "raw":
        _log.warning(
            "the format of %s is not given, and was taken to be raw: its first sector cannot be made that of another "
            "format; say format=raw to lift that",
            what,
        )
        _guard(node)
    return node


def _named(tree: Tree, file: str, aio: str | None) -> Tree:
    """Options of the root, and a file name beside them, as one tree."""
    if isinstance(tree.get("file"), dict) and "filename" in tree["file"]:
        raise GenericError("'file' and 'file.filename' are the same; give one of them")
    named = parse_filename(file)
    if file.startswith("json:"):
        return {**named, **tree}
    if _is_protocol(tree.get("driver")):
        return {**named, **tree}
    if aio is not None and named["driver"] in ("file", "host_device"):
        named["aio"] = aio
    below = tree.get("file")
    return {**tree, "file": {**named, **below} if isinstance(below, dict) else named}


def _is_protocol(name: object) -> bool:
    return isinstance(name, str) and make_driver(name).is_protocol


async def _probe(graph: BlockGraph, tree: Tree, what: str) -> str:
    below: Any = tree.get("file")
    if isinstance(below, str):
        raise GenericError(f"'format' is missing: with 'file' a node, the options have to say what {what} is")
    if not isinstance(below, dict):
        raise GenericError("'file' is missing: nothing says where the medium is")
    if "driver" not in below:
        below = {**parse_filename(str(below.get("filename", ""))), **below}
    return await probe_format(graph, below, what)


def _guard(node: BlockNode) -> None:
    from qmpd.block.drivers.raw import RawDriver

    assert isinstance(node.driver, RawDriver)
    node.driver.guards_start = True


def _fill_while_read(graph: BlockGraph, node: BlockNode) -> BlockNode:
    """Put a copy-on-read filter on top of a medium; queries do not show it."""
    from qmpd.block.drivers.copy_on_read import CopyOnReadDriver

    driver = CopyOnReadDriver()
    driver.guards_source = True
    top = graph.insert_filter(driver, node, None, {})
    top.implicit = True
    return top


async def _put_snapshot_on(graph: BlockGraph, base: BlockNode) -> BlockNode:
    """Put an overlay on top of a medium that goes away when it is closed."""
    made: list[str] = []
    try:
        await graph.pool.run(_make_overlay, base.length, made)
        tree = {
            "driver": "qcow2",
            "file": {"driver": "file", "filename": made[0]},
            "backing": base.node_name,
        }
        options = validate(tree, "the temporary overlay")
        flags = NodeOptions(cache_no_flush=True, discard_unmap=True)
        return await graph.open_node(make_driver("qcow2"), options, flags, None)
    finally:
        for path in made:
            await graph.pool.run(os.unlink, path)


def _make_overlay(length: int, made: list[str]) -> None:
    """Make the file of an overlay, in a worker.

    :param made: gets its path, also if this fails half-way or nobody waits for it any more.
    :raises GenericError: it cannot be written.
    """
    from qmpd.block.drivers.qcow2.creating import NewImage, create_in_file

    try:
        fd, path = tempfile.mkstemp(prefix="qmpd-snapshot-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        made.append(path)
        try:
            create_in_file(fd, NewImage(length))
        finally:
            os.close(fd)
    except OSError as error:
        raise GenericError(f"The temporary overlay cannot be made: {os_error_text(error)}") from error
