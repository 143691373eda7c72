"""Opening what somebody only names: which format an image has, and the options for an image named in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.filenames import Tree, complete, full_name, parse_filename, validate
from qmpd.block.node import NodeOptions
from qmpd.block.opening import open_inline
from qmpd.errors import GenericError, os_error_text

if TYPE_CHECKING:
    from qmpd.api.models import BlockdevOptions
    from qmpd.block.graph import BlockGraph
    from qmpd.block.node import BlockNode

_MAGICS = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"<<< ": "vdi", b"vhdx": "vhdx", b"cone": "vpc"}


async def probe_format(graph: BlockGraph, protocol: Tree, what: str) -> str:
    """The format that the first bytes of an image tell of, `raw` if none; call within `graph.exclusive()`.

    It may be one that qmpd does not know, so that nobody takes such an image for a raw one.

    :param protocol: the options of the image's protocol layer.
    :param what: what they are for, for errors.
    :raises GenericError: it cannot be opened or read.
    """
    options = validate(protocol, what)
    node = await open_inline(graph, options, NodeOptions(read_only=True), protocol=True)
    try:
        start = bytearray(min(4, node.length))
        await node.preadv(0, memoryview(start))
    except OSError as error:
        raise GenericError(f"The first bytes of {what} cannot be read: {os_error_text(error)}") from error
    finally:
        await graph.close_unused(node)
    return format_of(start)


def format_of(start: bytes | bytearray) -> str:
    """The format that an image with these first bytes has, `raw` if they tell of none."""
    return _MAGICS.get(bytes(start[:4]), "raw")


async def image_tree(graph: BlockGraph, name: str, format_name: str | None, what: str) -> Tree:
    """The options of an image from its name, its format included; call within `graph.exclusive()`.

    :param format_name: its format, which counts for more than what a `json:` name says; None for what that says, or the
        image's first bytes. The driver of the protocol itself (`file`) stands for the bare protocol.
    :raises GenericError: the name does not say what is to be opened, or that cannot be read.
    """
    tree = parse_filename(name)
    if name.startswith("json:"):
        tree = complete(tree)
        if format_name is not None:
            tree = tree if "file" in tree else {"file": tree}
            tree["driver"] = format_name
        elif "driver" not in tree and isinstance(tree.get("file"), dict):
            tree["driver"] = await probe_format(graph, dict(tree["file"]), what)
        return tree
    if format_name == tree["driver"]:
        return tree
    return {"driver": format_name or await probe_format(graph, tree, what), "file": tree}


async def backing_options(image: BlockNode, name: str, format_name: str | None) -> BlockdevOptions:
    """What to open for the backing file `name` of `image`; call within `graph.exclusive()`.

    :param format_name: its format; None for what its first bytes say.
    :raises GenericError: the name does not say, or the file cannot be read.
    """
    what = f"the backing file '{name[:200]}'"
    full = full_name(name, image)
    if full is None:
        raise GenericError(f"The name of {what} is relative, and the image that it stands in lies in no directory")
    return validate(await image_tree(image.graph, full, format_name, what), what)
